package aws

import (
	"fmt"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// client is one of the test's own, beside the executor's.
func (w *world) s3() *s3.Client { return s3.NewFromConfig(w.Config(testRegion)) }

func TestABucketIsClosedEncryptedAndEmptiedOnlyWhenItIsOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	with := map[string]any{"s3": map[string]any{"versioning": true, "expire_days": int64(30), "noncurrent_days": int64(3), "kms_key": "alias/shop"}}
	out := w.must(t, w.step(sdk.Deploy, with))
	name := awssdk.String(out.outputs["name"])
	if !strings.HasPrefix(*name, "berth-shop-pr-42-db-") || out.outputs["arn"] != "arn:aws:s3:::"+*name {
		t.Errorf("outputs are %v", out.outputs)
	}
	before, changes := w.Dump(), w.Changes()
	w.must(t, w.step(sdk.Deploy, with))
	if w.Dump() != before || w.Changes() != changes {
		t.Error("the second deploy changed something")
	}
	rules, err := w.s3().GetBucketLifecycleConfiguration(t.Context(), &s3.GetBucketLifecycleConfigurationInput{Bucket: name})
	if err != nil || len(rules.Rules) != 3 {
		t.Errorf("lifecycle rules are %v (%v)", rules, err)
	}
	for i := range 3 {
		key := awssdk.String(fmt.Sprintf("a b/%d%%", i))
		if _, err := w.s3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: name, Key: key, Body: strings.NewReader("x")}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.s3().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: name, Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.s3().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: name, Key: awssdk.String("big")}); err != nil {
		t.Fatal(err)
	}
	before = w.Dump()
	plan, err := w.executor().Plan(t.Context(), w.step(sdk.Cleanup, with))
	if err != nil || !plan.Destructive || w.Dump() != before {
		t.Errorf("the plan of a cleanup: %+v, %v", plan, err)
	}
	w.must(t, w.step(sdk.Archive, with))
	if w.Dump() != before {
		t.Error("archive changed the bucket")
	}
	w.must(t, w.step(sdk.Cleanup, nil))
	if left := w.Things(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
}

func TestABucketWithoutTheMarksIsLeftAlone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		tags map[string]string
		want string
	}{
		"no tags at all":         {nil, "Berth did not make it"},
		"a stranger's tags":      {map[string]string{"team": "shop"}, "Berth did not make it"},
		"another environment's":  {map[string]string{"berth:app": "shop", "berth:environment": "pr-43", "berth:part": "db", "berth:installation": "berth-1"}, "shop/pr-43"},
		"another installation's": {map[string]string{"berth:app": "shop", "berth:environment": "pr-42", "berth:part": "db", "berth:installation": "berth-2"}, "another Berth"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{})
			step := w.step(sdk.Deploy, map[string]any{"s3": map[string]any{}})
			bucket := stepOwner(step).uniqueName(mostBucketName)
			conf := &types.CreateBucketConfiguration{LocationConstraint: testRegion, Tags: tagList(tt.tags, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })}
			if _, err := w.s3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket, CreateBucketConfiguration: conf}); err != nil {
				t.Fatal(err)
			}
			before := w.Dump()
			if _, err := w.executor().Plan(t.Context(), step); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("plan: %v", err)
			}
			if _, err := w.run(t, step); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("deploy: %v", err)
			}
			w.must(t, w.step(sdk.Cleanup, step.With))
			if w.Dump() != before {
				t.Error("the stranger's bucket was changed")
			}
		})
	}
}

func TestWhatIsChangedOutsideIsDriftAndPutRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	step := w.step(sdk.Deploy, map[string]any{"s3": map[string]any{}})
	name := awssdk.String(w.must(t, step).outputs["name"])
	before := w.Dump()
	if _, err := w.s3().DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: name}); err != nil {
		t.Fatal(err)
	}
	seen, err := w.executor().Observe(t.Context(), step)
	if err != nil || len(seen.Drift) != 1 || !strings.Contains(seen.Drift[0], "closed to the public") {
		t.Errorf("observed: %+v, %v", seen, err)
	}
	w.must(t, step)
	if w.Dump() != before {
		t.Error("it was not put right")
	}
}
