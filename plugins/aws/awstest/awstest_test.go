package awstest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	taggingtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/berth-dev/berth/plugins/aws/awstest"
)

const region = "eu-central-1"

// code is that of an API error, "" for none.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// impatient is a configuration that tries once.
func impatient(s *awstest.Server) aws.Config {
	cfg := s.Config(region)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return cfg
}

func TestSTSTellsAccountsApart(t *testing.T) {
	const role = "arn:aws:iam::444455556666:role/berth"
	s := awstest.New(t, awstest.Options{Roles: []string{role}})
	ctx := t.Context()
	client := sts.NewFromConfig(impatient(s))
	if id := must[*sts.GetCallerIdentityOutput](t)(client.GetCallerIdentity(ctx, nil)); *id.Account != awstest.Account {
		t.Errorf("the account is %s", *id.Account)
	}
	if _, err := client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::444455556666:role/other"), RoleSessionName: aws.String("berth")}); code(err) != "AccessDenied" {
		t.Errorf("a role that is not known: %v", err)
	}
	out := must[*sts.AssumeRoleOutput](t)(client.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String("berth")}))
	cfg := impatient(s)
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	if id := must[*sts.GetCallerIdentityOutput](t)(sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)); *id.Account != "444455556666" {
		t.Errorf("the account of the role is %s", *id.Account)
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, "x", "another token")
	if _, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil); code(err) != "InvalidClientTokenId" {
		t.Errorf("a wrong token: %v", err)
	}
}

func TestRDSTakesItsTimeAndGuardsItsStates(t *testing.T) {
	s := awstest.New(t, awstest.Options{Polls: 2})
	ctx, client := t.Context(), rds.NewFromConfig(impatient(s))
	id := aws.String("berth-shop-pr-42-db")
	in := &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: id, DBInstanceClass: aws.String("db.t4g.micro"), Engine: aws.String("postgres"), AllocatedStorage: aws.Int32(20),
		MasterUsername: aws.String("berth"), ManageMasterUserPassword: aws.Bool(true), CopyTagsToSnapshot: aws.Bool(true),
		Tags: []rdstypes.Tag{{Key: aws.String("berth:app"), Value: aws.String("shop")}, {Key: aws.String("berth:environment"), Value: aws.String("pr-42")}, {Key: aws.String("berth:part"), Value: aws.String("db")}},
	}
	must[*rds.CreateDBInstanceOutput](t)(client.CreateDBInstance(ctx, in))
	if _, err := client.CreateDBInstance(ctx, in); code(err) != "DBInstanceAlreadyExists" {
		t.Errorf("made twice: %v", err)
	}
	if _, err := client.StopDBInstance(ctx, &rds.StopDBInstanceInput{DBInstanceIdentifier: id}); code(err) != "InvalidDBInstanceState" {
		t.Errorf("stopped while creating: %v", err)
	}
	var seen []string
	for len(seen) < 4 {
		out := must[*rds.DescribeDBInstancesOutput](t)(client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: id}))
		seen = append(seen, *out.DBInstances[0].DBInstanceStatus)
		if seen[len(seen)-1] == "available" && out.DBInstances[0].Endpoint == nil {
			t.Error("available without an endpoint")
		}
	}
	if want := []string{"creating", "creating", "available", "available"}; !slices.Equal(seen, want) {
		t.Errorf("statuses were %q, want %q", seen, want)
	}
	if _, err := client.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: id}); code(err) != "InvalidParameterCombination" {
		t.Errorf("deleted without a word on a snapshot: %v", err)
	}
	must[*rds.DeleteDBInstanceOutput](t)(client.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: id, FinalDBSnapshotIdentifier: aws.String("final-1")}))
	s.Settle()
	if _, err := client.DescribeDBInstances(ctx, &rds.DescribeDBInstancesInput{DBInstanceIdentifier: id}); code(err) != "DBInstanceNotFound" {
		t.Errorf("deleted, and still: %v", err)
	}
	snaps := must[*rds.DescribeDBSnapshotsOutput](t)(client.DescribeDBSnapshots(ctx, &rds.DescribeDBSnapshotsInput{DBSnapshotIdentifier: aws.String("final-1")}))
	if got := snaps.DBSnapshots[0]; *got.Status != "available" || len(got.TagList) != 3 {
		t.Errorf("the final snapshot is %s with tags %v", *got.Status, got.TagList)
	}
	if got := s.Things(); !slices.Equal(got, []string{"rds:snapshot final-1"}) {
		t.Errorf("left are %q", got)
	}
	must[*rds.RestoreDBInstanceFromDBSnapshotOutput](t)(client.RestoreDBInstanceFromDBSnapshot(ctx, &rds.RestoreDBInstanceFromDBSnapshotInput{DBInstanceIdentifier: id, DBSnapshotIdentifier: aws.String("final-1")}))
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
	out := must[*tagging.GetResourcesOutput](t)(tagging.NewFromConfig(impatient(s)).GetResources(ctx, &tagging.GetResourcesInput{
		ResourceTypeFilters: []string{"rds:db"}, TagFilters: []taggingtypes.TagFilter{{Key: aws.String("berth:app"), Values: []string{"shop"}}},
	}))
	if len(out.ResourceTagMappingList) != 1 || !strings.HasSuffix(*out.ResourceTagMappingList[0].ResourceARN, ":db:berth-shop-pr-42-db") {
		t.Errorf("tagged are %v", out.ResourceTagMappingList)
	}
}

func TestAuroraHoldsClusterAndInstancesTogether(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	ctx, client := t.Context(), rds.NewFromConfig(impatient(s))
	id := aws.String("c1")
	member := &rds.CreateDBInstanceInput{DBInstanceIdentifier: aws.String("c1-1"), DBInstanceClass: aws.String("db.serverless"), Engine: aws.String("aurora-postgresql"), DBClusterIdentifier: id}
	if _, err := client.CreateDBInstance(ctx, member); code(err) != "DBClusterNotFoundFault" {
		t.Errorf("a member of nothing: %v", err)
	}
	must[*rds.CreateDBClusterOutput](t)(client.CreateDBCluster(ctx, &rds.CreateDBClusterInput{
		DBClusterIdentifier: id, Engine: aws.String("aurora-postgresql"), MasterUsername: aws.String("berth"), ManageMasterUserPassword: aws.Bool(true),
		ServerlessV2ScalingConfiguration: &rdstypes.ServerlessV2ScalingConfiguration{MinCapacity: aws.Float64(0.5), MaxCapacity: aws.Float64(1)},
	}))
	must[*rds.CreateDBInstanceOutput](t)(client.CreateDBInstance(ctx, member))
	s.Settle()
	if _, err := client.DeleteDBCluster(ctx, &rds.DeleteDBClusterInput{DBClusterIdentifier: id, SkipFinalSnapshot: aws.Bool(true)}); code(err) != "InvalidDBClusterStateFault" {
		t.Errorf("deleted under its members: %v", err)
	}
	must[*rds.DeleteDBInstanceOutput](t)(client.DeleteDBInstance(ctx, &rds.DeleteDBInstanceInput{DBInstanceIdentifier: aws.String("c1-1"), SkipFinalSnapshot: aws.Bool(true)}))
	must[*rds.DeleteDBClusterOutput](t)(client.DeleteDBCluster(ctx, &rds.DeleteDBClusterInput{DBClusterIdentifier: id, FinalDBSnapshotIdentifier: aws.String("c1-final")}))
	s.Settle()
	if got := s.Things(); !slices.Equal(got, []string{"rds:cluster-snapshot c1-final"}) {
		t.Errorf("left are %q", got)
	}
}

func TestSecretsRememberTokensAndRecovery(t *testing.T) {
	s := awstest.New(t, awstest.Options{Page: 2})
	ctx, client := t.Context(), secretsmanager.NewFromConfig(impatient(s))
	name, token := aws.String("berth-shop-pr-42-key"), aws.String(strings.Repeat("a", 32))
	in := &secretsmanager.CreateSecretInput{Name: name, SecretString: aws.String("hunter22"), ClientRequestToken: token, Tags: []smtypes.Tag{{Key: aws.String("berth:app"), Value: aws.String("shop")}}}
	first := must[*secretsmanager.CreateSecretOutput](t)(client.CreateSecret(ctx, in))
	again := must[*secretsmanager.CreateSecretOutput](t)(client.CreateSecret(ctx, in))
	if *first.ARN != *again.ARN {
		t.Errorf("the same token made %s and %s", *first.ARN, *again.ARN)
	}
	in.SecretString = aws.String("another")
	if _, err := client.CreateSecret(ctx, in); code(err) != "ResourceExistsException" {
		t.Errorf("the same token with another value: %v", err)
	}
	if got := must[*secretsmanager.GetSecretValueOutput](t)(client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: first.ARN})); *got.SecretString != "hunter22" {
		t.Errorf("the value is %q", *got.SecretString)
	}
	must[*secretsmanager.DeleteSecretOutput](t)(client.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: name, RecoveryWindowInDays: aws.Int64(7)}))
	if _, err := client.CreateSecret(ctx, in); code(err) != "InvalidRequestException" {
		t.Errorf("made over one on its way out: %v", err)
	}
	must[*secretsmanager.RestoreSecretOutput](t)(client.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: name}))
	for _, n := range []string{"b", "c", "d"} {
		must[*secretsmanager.CreateSecretOutput](t)(client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &n, SecretString: aws.String("xxxx")}))
	}
	var all []string
	for pages := secretsmanager.NewListSecretsPaginator(client, &secretsmanager.ListSecretsInput{}); pages.HasMorePages(); {
		for _, one := range must[*secretsmanager.ListSecretsOutput](t)(pages.NextPage(ctx)).SecretList {
			all = append(all, *one.Name)
		}
	}
	if len(all) != 4 {
		t.Errorf("all pages have %q", all)
	}
}

func TestS3IsGuardedAroundGofakes3(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	ctx, client := t.Context(), s3.NewFromConfig(impatient(s))
	name := aws.String("berth-shop-pr-42-files-0a1b2c3d4e")
	where := &s3types.CreateBucketConfiguration{LocationConstraint: region}
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name}); code(err) != "IllegalLocationConstraintException" {
		t.Errorf("without a region: %v", err)
	}
	must[*s3.CreateBucketOutput](t)(client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name, CreateBucketConfiguration: where}))
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: name, CreateBucketConfiguration: where}); code(err) != "BucketAlreadyOwnedByYou" {
		t.Errorf("made twice: %v", err)
	}
	if _, err := client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: name}); code(err) != "NoSuchTagSet" {
		t.Errorf("tags of a bucket without: %v", err)
	}
	must[*s3.PutBucketTaggingOutput](t)(client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: name, Tagging: &s3types.Tagging{TagSet: []s3types.Tag{{Key: aws.String("berth:app"), Value: aws.String("shop & <co>")}}}}))
	if got := must[*s3.GetBucketTaggingOutput](t)(client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: name})); *got.TagSet[0].Value != "shop & <co>" {
		t.Errorf("tags are %v", got.TagSet)
	}
	must[*s3.PutBucketVersioningOutput](t)(client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: name, VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}}))
	must[*s3.PutBucketLifecycleConfigurationOutput](t)(client.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: name, LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{
		Rules: []s3types.LifecycleRule{{ID: aws.String("berth"), Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("")}, Expiration: &s3types.LifecycleExpiration{Days: aws.Int32(3)}}},
	}}))
	if got := must[*s3.GetBucketLifecycleConfigurationOutput](t)(client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: name})); *got.Rules[0].Expiration.Days != 3 {
		t.Errorf("the lifecycle is %v", got.Rules)
	}
	if got := must[*s3.GetPublicAccessBlockOutput](t)(client.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: name})); !*got.PublicAccessBlockConfiguration.BlockPublicAcls {
		t.Error("a new bucket is open")
	}
	for range 2 {
		must[*s3.PutObjectOutput](t)(client.PutObject(ctx, &s3.PutObjectInput{Bucket: name, Key: aws.String("a/b c"), Body: strings.NewReader("hello")}))
	}
	must[*s3.DeleteObjectOutput](t)(client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: name, Key: aws.String("a/b c")}))
	up := must[*s3.CreateMultipartUploadOutput](t)(client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: name, Key: aws.String("big")}))
	list := must[*s3.ListObjectVersionsOutput](t)(client.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: name}))
	if len(list.Versions) != 2 || len(list.DeleteMarkers) != 1 {
		t.Errorf("%d versions and %d delete markers", len(list.Versions), len(list.DeleteMarkers))
	}
	var objects []s3types.ObjectIdentifier
	for _, v := range list.Versions {
		objects = append(objects, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	for _, v := range list.DeleteMarkers {
		objects = append(objects, s3types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	if _, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name}); code(err) != "BucketNotEmpty" {
		t.Errorf("deleted with what is in it: %v", err)
	}
	must[*s3.DeleteObjectsOutput](t)(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: name, Delete: &s3types.Delete{Objects: objects}}))
	if _, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name}); code(err) != "BucketNotEmpty" {
		t.Errorf("deleted with an upload in parts: %v", err)
	}
	must[*s3.AbortMultipartUploadOutput](t)(client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: name, Key: aws.String("big"), UploadId: up.UploadId}))
	must[*s3.DeleteBucketOutput](t)(client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: name}))
	if left := s.Things(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	if v := s.Violations(); len(v) > 0 {
		t.Errorf("violations: %q", v)
	}
}

func TestFaultsStrikeWhenTheyAreTold(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	client := secretsmanager.NewFromConfig(impatient(s))
	create := func(ctx context.Context, name string) error {
		_, err := client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String("xxxx")})
		return err
	}
	s.SetFaults(awstest.Faults{ThrottleEvery: 2})
	if a, b := create(t.Context(), "a"), create(t.Context(), "b"); a != nil || code(b) != "ThrottlingException" {
		t.Errorf("throttled every second: %v, %v", a, b)
	}
	killed := make(chan struct{}, 1)
	s.SetFaults(awstest.Faults{KillAfterChange: 1, Struck: func() { killed <- struct{}{} }})
	if err := create(t.Context(), "c"); err == nil || len(killed) != 1 || !s.Dead() {
		t.Errorf("killed after the first change: %v", err)
	}
	if err := create(t.Context(), "d"); err == nil {
		t.Error("a dead server answered")
	}
	s.Heal()
	if err := create(t.Context(), "c"); code(err) != "ResourceExistsException" {
		t.Errorf("what was done before the cut is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.SetFaults(awstest.Faults{HangAt: 1, Struck: cancel})
	if err := create(ctx, "e"); err == nil || !slices.Contains(s.Things(), "secretsmanager:secret e") {
		t.Errorf("a call that is never answered: %v", err)
	}
	s.SetFaults(awstest.Faults{Deny: func(call string) bool { return call == "secretsmanager:CreateSecret" }})
	if err := create(t.Context(), "f"); code(err) != "AccessDeniedException" {
		t.Errorf("denied: %v", err)
	}
}

func TestWhatModelsDoNotAllowIsKept(t *testing.T) {
	s := awstest.New(t, awstest.Options{})
	client := secretsmanager.NewFromConfig(impatient(s))
	_, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("a"), ClientRequestToken: aws.String("short")})
	if code(err) != "ValidationException" {
		t.Errorf("a token that is too short: %v", err)
	}
	if v := s.Violations(); len(v) != 1 || !strings.Contains(v[0], "ClientRequestToken") {
		t.Errorf("violations: %q", v)
	}
}
