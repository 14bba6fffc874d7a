package awstest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/berth-dev/berth/plugins/aws/awstest"
)

const stackTemplate = `
Parameters:
  Delay: {Type: Number, Default: 0}
  Password: {Type: String, NoEcho: true, Default: hidden-one}
Resources:
  Jobs:
    Type: AWS::SQS::Queue
    Properties: {DelaySeconds: !Ref Delay}
  Kept:
    Type: AWS::ECR::Repository
    DeletionPolicy: Retain
    Properties: {RepositoryName: !Sub "kept/${AWS::StackName}"}
Outputs:
  URL: {Value: !Ref Jobs}
  ARN: {Value: !GetAtt Jobs.Arn}
`

func TestStacksComeAndGoWithTheirResources(t *testing.T) {
	s := awstest.New(t, awstest.Options{Polls: 1, Page: 3})
	ctx, client, name := t.Context(), cloudformation.NewFromConfig(impatient(s)), aws.String("berth-shop-pr-42-infra")
	delay := func(v string) []cfntypes.Parameter {
		return []cfntypes.Parameter{{ParameterKey: aws.String("Delay"), ParameterValue: &v}}
	}
	status := func() string {
		t.Helper()
		s.Settle()
		return string(must[*cloudformation.DescribeStacksOutput](t)(client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: name})).Stacks[0].StackStatus)
	}
	in := &cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(stackTemplate), ClientRequestToken: aws.String("t1"), Tags: []cfntypes.Tag{{Key: aws.String("berth:app"), Value: aws.String("shop")}}}
	first := must[*cloudformation.CreateStackOutput](t)(client.CreateStack(ctx, in))
	if again := must[*cloudformation.CreateStackOutput](t)(client.CreateStack(ctx, in)); *again.StackId != *first.StackId {
		t.Error("the same token made two stacks")
	}
	in.ClientRequestToken = aws.String("t2")
	if _, err := client.CreateStack(ctx, in); code(err) != "AlreadyExistsException" {
		t.Errorf("made twice: %v", err)
	}
	if got := status(); got != "CREATE_COMPLETE" {
		t.Fatalf("the stack is %s", got)
	}
	out := must[*cloudformation.DescribeStacksOutput](t)(client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: name})).Stacks[0]
	if len(out.Outputs) != 2 || !strings.HasPrefix(*out.Outputs[0].OutputValue, "arn:aws:sqs:") || *out.Parameters[1].ParameterValue != "****" {
		t.Errorf("outputs are %v, parameters %v", out.Outputs, out.Parameters)
	}
	update := func(v string) error {
		_, err := client.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: name, UsePreviousTemplate: aws.Bool(true), Parameters: delay(v)})
		return err
	}
	if err := update("0"); code(err) != "ValidationError" || !strings.Contains(err.Error(), "No updates") {
		t.Errorf("an update of nothing: %v", err)
	}
	if err := update("1000"); err != nil || status() != "UPDATE_ROLLBACK_COMPLETE" {
		t.Errorf("an update that a queue refuses: %v, %s", err, status())
	}
	if err := update("5"); err != nil || status() != "UPDATE_COMPLETE" {
		t.Errorf("an update: %v, %s", err, status())
	}
	n, failed := 0, 0
	for pages := cloudformation.NewDescribeStackEventsPaginator(client, &cloudformation.DescribeStackEventsInput{StackName: name}); pages.HasMorePages(); {
		for _, e := range must[*cloudformation.DescribeStackEventsOutput](t)(pages.NextPage(ctx)).StackEvents {
			if n++; e.ResourceStatus == "UPDATE_FAILED" {
				failed++
			}
		}
	}
	if n < 10 || failed != 1 {
		t.Errorf("%d events, %d failures", n, failed)
	}
	must[*cloudformation.UpdateTerminationProtectionOutput](t)(client.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: name, EnableTerminationProtection: aws.Bool(true)}))
	if _, err := client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: name}); code(err) != "ValidationError" {
		t.Errorf("deleted under protection: %v", err)
	}
	must[*cloudformation.UpdateTerminationProtectionOutput](t)(client.UpdateTerminationProtection(ctx, &cloudformation.UpdateTerminationProtectionInput{StackName: name, EnableTerminationProtection: aws.Bool(false)}))
	must[*cloudformation.DeleteStackOutput](t)(client.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: name}))
	s.Settle()
	if _, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: name}); code(err) != "ValidationError" {
		t.Errorf("deleted, and still: %v", err)
	}
	if got := must[*cloudformation.DescribeStacksOutput](t)(client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: first.StackId})); got.Stacks[0].StackStatus != "DELETE_COMPLETE" {
		t.Errorf("by its ID it is %s", got.Stacks[0].StackStatus)
	}
	if got := s.Things(); !slices.Equal(got, []string{"ecr:repository kept/berth-shop-pr-42-infra"}) {
		t.Errorf("left are %q", got)
	}
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

func TestAStackThatFailsIsRolledBackAndNeedsItsCapabilities(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	ctx, client, name := t.Context(), cloudformation.NewFromConfig(impatient(s)), aws.String("x")
	role := `{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"RoleName":"x"}}}}`
	if _, err := client.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: name, TemplateBody: &role, Capabilities: []cfntypes.Capability{"CAPABILITY_IAM"}}); code(err) != "InsufficientCapabilitiesException" {
		t.Errorf("a role with a name: %v", err)
	}
	must[*cloudformation.CreateStackOutput](t)(client.CreateStack(ctx, &cloudformation.CreateStackInput{StackName: name, TemplateBody: aws.String(stackTemplate), Parameters: []cfntypes.Parameter{{ParameterKey: aws.String("Delay"), ParameterValue: aws.String("1000")}}}))
	s.Settle()
	got := must[*cloudformation.DescribeStacksOutput](t)(client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: name})).Stacks[0]
	if got.StackStatus != "ROLLBACK_COMPLETE" {
		t.Errorf("the stack is %s", got.StackStatus)
	}
	if _, err := client.UpdateStack(ctx, &cloudformation.UpdateStackInput{StackName: name, TemplateBody: aws.String(stackTemplate)}); code(err) != "ValidationError" {
		t.Errorf("updated what never came to be: %v", err)
	}
	if left := s.Things(); !slices.Equal(left, []string{"cloudformation:stack x"}) {
		t.Errorf("left are %q", left)
	}
}

func TestRolesWithPoliciesStay(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	boundary := s.AddPolicy(awstest.Account, "boundary")
	ctx, client, name := t.Context(), iam.NewFromConfig(impatient(s)), aws.String("berth-shop-pr-42-app")
	trust := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`)
	in := &iam.CreateRoleInput{RoleName: name, Path: aws.String("/berth/"), AssumeRolePolicyDocument: trust, PermissionsBoundary: &boundary}
	must[*iam.CreateRoleOutput](t)(client.CreateRole(ctx, in))
	if _, err := client.CreateRole(ctx, in); code(err) != "EntityAlreadyExists" {
		t.Errorf("made twice: %v", err)
	}
	if _, err := client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("p"), PolicyDocument: trust}); code(err) != "MalformedPolicyDocument" {
		t.Errorf("a policy with a principal: %v", err)
	}
	policy := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	must[*iam.PutRolePolicyOutput](t)(client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("p"), PolicyDocument: policy}))
	if _, err := client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::" + awstest.Account + ":policy/none")}); code(err) != "NoSuchEntity" {
		t.Errorf("a policy that is not there: %v", err)
	}
	must[*iam.AttachRolePolicyOutput](t)(client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}))
	if _, err := client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); code(err) != "DeleteConflict" {
		t.Errorf("deleted with policies: %v", err)
	}
	if got := must[*iam.GetRoleOutput](t)(client.GetRole(ctx, &iam.GetRoleInput{RoleName: name})); !strings.HasPrefix(*got.Role.AssumeRolePolicyDocument, "%7B%22Version") || *got.Role.PermissionsBoundary.PermissionsBoundaryArn != boundary {
		t.Errorf("the role is %+v", got.Role)
	}
	must[*iam.DetachRolePolicyOutput](t)(client.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/ReadOnlyAccess")}))
	must[*iam.DeleteRolePolicyOutput](t)(client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("p")}))
	must[*iam.DeleteRoleOutput](t)(client.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}))
}
