package aws

import (
	"slices"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

const testTemplate = `
Parameters:
  Delay: {Type: Number, Default: 0}
Resources:
  Jobs:
    Type: AWS::SQS::Queue
    Properties: {DelaySeconds: !Ref Delay}
  News:
    Type: AWS::SNS::Topic
Outputs:
  QueueURL: {Value: !Ref Jobs}
`

func stackWith(template string, more map[string]any) map[string]any {
	all := map[string]any{"template": template}
	for k, v := range more {
		all[k] = v
	}
	return map[string]any{"stack": all}
}

func TestAStackTellsItsEventsAndItsOutputs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1, Page: 4})
	out := w.must(t, w.step(sdk.Deploy, stackWith(testTemplate, nil)))
	if !strings.Contains(out.outputs["QueueURL"], "/berth-shop-pr-42-db-jobs-") || !slices.ContainsFunc(out.lines, func(l string) bool { return l == "CREATE_COMPLETE AWS::SQS::Queue Jobs" }) {
		t.Errorf("outputs %v, lines %q", out.outputs, out.lines)
	}
	owned, err := w.executor().Inventory(t.Context(), sdk.Scope{Installation: "berth-1", Settings: w.settings()})
	if err != nil || len(owned) != 1 {
		t.Errorf("the inventory is %+v, %v: what the stack made is the stack's", owned, err)
	}
	step := w.step(sdk.Deploy, stackWith(strings.Replace(testTemplate, "  News:\n    Type: AWS::SNS::Topic\n", "", 1), map[string]any{"parameters": map[string]any{"Delay": int64(7)}}))
	step.ID = "another"
	before := w.Dump()
	plan, err := w.executor().Plan(t.Context(), step)
	if err != nil || !plan.Destructive || !strings.Contains(plan.Diff, `- AWS::SNS::Topic "News"`) || !strings.Contains(plan.Diff, "other parameters: Delay") || w.Dump() != before {
		t.Errorf("the plan of an update: %+v, %v", plan, err)
	}
	w.must(t, step)
	if got := w.Things(); slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "sns:") }) {
		t.Errorf("left are %q", got)
	}
	before, step.ID = w.Dump(), "a third"
	w.must(t, step)
	if w.Dump() != before {
		t.Error("an update with nothing to change changed something")
	}
}

func TestAStackThatFailedSaysWhyAndIsMadeAnewByTheNextDeploy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Polls: 1})
	bad := w.step(sdk.Deploy, stackWith(testTemplate, map[string]any{"parameters": map[string]any{"Delay": int64(1000)}}))
	for range 2 { // the second is the same step, carried on: it is not tried again
		_, err := w.run(t, bad)
		if err == nil || !strings.Contains(err.Error(), "Jobs (AWS::SQS::Queue)") || !strings.Contains(err.Error(), "DelaySeconds") {
			t.Fatalf("the failure says %v", err)
		}
	}
	good := w.step(sdk.Deploy, stackWith(testTemplate, nil))
	good.ID = "another"
	w.must(t, good)
	bad.ID = "a third"
	if _, err := w.run(t, bad); err == nil || !strings.Contains(err.Error(), "UPDATE_ROLLBACK_COMPLETE") {
		t.Errorf("an update that fails: %v", err)
	}
	w.must(t, w.step(sdk.Cleanup, nil))
	if left := w.Things(); slices.ContainsFunc(left, func(s string) bool { return !strings.HasPrefix(s, "eks:") && !strings.HasPrefix(s, "iam:") }) {
		t.Errorf("left are %q", left)
	}
}

func TestAStacksSecretsAreNeverTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	t.Logf("the stand-in is at %s", w.URL)
	o := w.options()
	o.Getenv = func(string) string { return "canary-5d1e" }
	template := `{"Parameters":{"Token":{"Type":"String","NoEcho":true}},"Resources":{"S":{"Type":"AWS::SecretsManager::Secret","Properties":{"SecretString":{"Ref":"Token"}}}},
		"Outputs":{"Bad":{"Value":{"Fn::Sub":"x-${Token}"}},"ARN":{"Value":{"Fn::GetAtt":["S","Arn"]}}}}`
	step := w.step(sdk.Deploy, stackWith(template, map[string]any{"secrets": map[string]any{"Token": map[string]any{"env": "TOKEN"}}}))
	for _, id := range []string{"one", "two"} {
		out := &said{outputs: map[string]string{}}
		step.ID = id
		if err := New(o).Run(t.Context(), step, out); err != nil {
			t.Fatal(err)
		}
		if _, told := out.outputs["Bad"]; told || !strings.HasPrefix(out.outputs["ARN"], "arn:aws:secretsmanager:") {
			t.Errorf("outputs are %v", out.outputs)
		}
		if strings.Contains(strings.Join(out.lines, "\n"), "canary") {
			t.Errorf("the secret is in %q", out.lines)
		}
	}
	shown := w.step(sdk.Deploy, stackWith(strings.Replace(template, `,"NoEcho":true`, "", 1), map[string]any{"secrets": map[string]any{"Token": map[string]any{"env": "TOKEN"}}}))
	if _, err := w.run(t, shown); err == nil || !strings.Contains(err.Error(), "NoEcho") {
		t.Errorf("a secret that AWS would show: %v", err)
	}
}

func TestAStackMayDoWhatSettingsAllowAndStaysWhenProtected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	role := `{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{}}}}`
	step := w.step(sdk.Deploy, stackWith(role, map[string]any{"capabilities": []any{"CAPABILITY_IAM"}}))
	if _, err := w.run(t, step); err == nil || !strings.Contains(err.Error(), "do not allow") {
		t.Errorf("a capability that settings do not allow: %v", err)
	}
	if _, err := w.run(t, w.step(sdk.Deploy, stackWith(role, nil))); err == nil || !strings.Contains(err.Error(), "capabilities") {
		t.Errorf("a role without the capability: %v", err)
	}
	step.Settings["capabilities"] = []any{"CAPABILITY_IAM"}
	name := awssdk.String(w.must(t, step).outputs["name"])
	client := cloudformation.NewFromConfig(w.Config(testRegion))
	if _, err := client.UpdateTerminationProtection(t.Context(), &cloudformation.UpdateTerminationProtectionInput{StackName: name, EnableTerminationProtection: awssdk.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	before := w.Dump()
	if _, err := w.run(t, w.step(sdk.Cleanup, step.With)); err == nil || !strings.Contains(err.Error(), "protected") || w.Dump() != before {
		t.Errorf("a cleanup of a protected stack: %v", err)
	}
}
