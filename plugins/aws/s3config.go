package aws

import (
	"context"
	"maps"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// changes are what makes the bucket what settings say, each found by a look.
func (t *bucket) changes(ctx context.Context, tags map[string]string) ([]change, error) {
	var out []change
	for _, compare := range []func(context.Context) (*change, error){t.closed, t.encrypted, t.versioned, t.expiring} {
		c, err := compare(ctx)
		if err != nil {
			return nil, err
		}
		if c != nil {
			out = append(out, *c)
		}
	}
	if !t.s.tagged(tags) {
		out = append(out, change{"gets other tags", func(ctx context.Context) error { return t.tag(ctx, tags) }})
	}
	return out, nil
}

// tag puts all tags: S3 takes them whole, so others' are put again.
func (t *bucket) tag(ctx context.Context, old map[string]string) error {
	all := maps.Clone(old)
	maps.Copy(all, t.s.tags())
	maps.DeleteFunc(all, func(k, _ string) bool { return strings.HasPrefix(k, "aws:") })
	_, err := t.s.s3().PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &t.name, Tagging: &types.Tagging{
		TagSet: tagList(all, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	}})
	return err
}

func (t *bucket) closed(ctx context.Context) (*change, error) {
	out, err := t.s.s3().GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &t.name})
	if err != nil && !isCode(err, "NoSuchPublicAccessBlockConfiguration") {
		return nil, err
	}
	if err == nil {
		c := out.PublicAccessBlockConfiguration
		if c != nil && awssdk.ToBool(c.BlockPublicAcls) && awssdk.ToBool(c.IgnorePublicAcls) && awssdk.ToBool(c.BlockPublicPolicy) && awssdk.ToBool(c.RestrictPublicBuckets) {
			return nil, nil
		}
	}
	yes := awssdk.Bool(true)
	return &change{"is closed to the public", func(ctx context.Context) error {
		_, err := t.s.s3().PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: &t.name, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: yes, IgnorePublicAcls: yes, BlockPublicPolicy: yes, RestrictPublicBuckets: yes,
		}})
		return err
	}}, nil
}

func (t *bucket) encrypted(ctx context.Context) (*change, error) {
	out, err := t.s.s3().GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &t.name})
	if err != nil && !isCode(err, "ServerSideEncryptionConfigurationNotFoundError") {
		return nil, err
	}
	want := types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}
	if t.KMSKey != "" {
		want = types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &t.KMSKey}
	}
	if err == nil && out.ServerSideEncryptionConfiguration != nil {
		for _, r := range out.ServerSideEncryptionConfiguration.Rules {
			have := r.ApplyServerSideEncryptionByDefault
			if have != nil && have.SSEAlgorithm == want.SSEAlgorithm && awssdk.ToString(have.KMSMasterKeyID) == t.KMSKey {
				return nil, nil
			}
		}
	}
	return &change{"gets another encryption", func(ctx context.Context) error {
		_, err := t.s.s3().PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: &t.name, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
			Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &want, BucketKeyEnabled: awssdk.Bool(t.KMSKey != "")}},
		}})
		return err
	}}, nil
}

func (t *bucket) versioned(ctx context.Context) (*change, error) {
	out, err := t.s.s3().GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &t.name})
	if err != nil {
		return nil, err
	}
	if (out.Status == types.BucketVersioningStatusEnabled) == t.Versioning {
		return nil, nil
	}
	// Versioning cannot be switched off again, only suspended.
	want, text := types.BucketVersioningStatusSuspended, "keeps no more versions"
	if t.Versioning {
		want, text = types.BucketVersioningStatusEnabled, "keeps versions"
	}
	return &change{text, func(ctx context.Context) error {
		_, err := t.s.s3().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &t.name, VersioningConfiguration: &types.VersioningConfiguration{Status: want}})
		return err
	}}, nil
}

// expiring compares the lifecycle. Rules that others added stay.
func (t *bucket) expiring(ctx context.Context) (*change, error) {
	out, err := t.s.s3().GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &t.name})
	if err != nil && !isCode(err, "NoSuchLifecycleConfiguration") {
		return nil, err
	}
	want := t.rules()
	if err == nil {
		if sameRules(out.Rules, want) {
			return nil, nil
		}
		want = append(want, slices.DeleteFunc(slices.Clone(out.Rules), func(r types.LifecycleRule) bool { return strings.HasPrefix(awssdk.ToString(r.ID), berthRule) })...)
	}
	return &change{"gets another lifecycle", func(ctx context.Context) error {
		_, err := t.s.s3().PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: &t.name, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: want}})
		return err
	}}, nil
}
