package aws

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestDoctorLooksAtEveryPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{Roles: []string{prodRole}})
	w.SetFaults(awstest.Faults{Deny: func(call string) bool { return call == "secretsmanager:ListSecrets" }})
	scope := sdk.Scope{Settings: w.accounts()}
	look := func() map[string]sdk.Finding {
		all, err := w.executor().Check(t.Context(), scope)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]sdk.Finding{}
		for _, f := range all {
			out[f.Name] = f
		}
		return out
	}
	all := look()
	if len(all) != 5 {
		t.Fatalf("it looked at %v; want two regions of its own account, two of account closed, one of prod", all)
	}
	f := all["AWS eu-central-1"]
	if f.OK || !strings.Contains(f.Detail, "secretsmanager:ListSecrets") || f.Fix == "" || !json.Valid([]byte(f.Paste)) || !strings.Contains(f.Paste, "secretsmanager:ListSecrets") {
		t.Errorf("it says %+v", f)
	}
	w.Heal()
	all = look()
	if f := all["AWS eu-central-1"]; !f.OK || !strings.Contains(f.Detail, awstest.Account) {
		t.Errorf("it says %+v", f)
	}
	if f := all["AWS eu-west-1 of account prod"]; !f.OK {
		t.Errorf("it says %+v", f)
	}
	if f := all["AWS us-east-1 of account closed"]; f.OK || !strings.Contains(f.Detail, otherRole) {
		t.Errorf("it says %+v", f)
	}
	if n := w.Changes(); n > 0 {
		t.Errorf("it made %d changing calls", n)
	}
}

// TestTheRightsThatAreAskedForAreEnough holds each call of a whole life to the
// policy that the documentation and the doctor give.
func TestTheRightsThatAreAskedForAreEnough(t *testing.T) {
	t.Parallel()
	for name, with := range everyKind {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{Polls: 1})
			settings := w.settings()
			var granted []string
			var names []any
			for _, k := range kinds() {
				if _, ok := with[k.name]; !ok {
					continue
				}
				names = append(names, k.name)
				if len(rightsOf[k.name]) == 0 {
					t.Fatalf("there are no rights for the kind %s", k.name)
				}
				for _, r := range rightsOf[k.name] {
					granted = append(granted, r.actions...)
				}
			}
			settings["kinds"] = names
			for _, verb := range life {
				step := w.step(verb, with)
				step.Settings = settings
				w.must(t, step)
			}
			for _, c := range w.Calls() {
				if action := actionOf(c); action != "" && !slices.Contains(granted, action) {
					t.Errorf("it calls %s, and %s is not in the policy", c.Name(), action)
				}
			}
		})
	}
}

// actionOf is the IAM action of a call: its name, but for S3's, which are named
// after what they are about. Everybody may ask who they are.
func actionOf(c awstest.Call) string {
	if c.Service == "sts" {
		return ""
	}
	if c.Service != "s3" {
		return c.Name()
	}
	names := map[string]string{
		"ListObjectsV2": "ListBucket", "ListObjects": "ListBucket", "HeadBucket": "ListBucket", "ListObjectVersions": "ListBucketVersions", "DeleteObjects": "DeleteObject",
		"ListBuckets": "ListAllMyBuckets", "GetPublicAccessBlock": "GetBucketPublicAccessBlock", "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
		"GetBucketEncryption": "GetEncryptionConfiguration", "PutBucketEncryption": "PutEncryptionConfiguration",
		"GetBucketLifecycleConfiguration": "GetLifecycleConfiguration", "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
		"DeleteBucketLifecycle": "PutLifecycleConfiguration", "GetBucketCors": "GetBucketCORS", "PutBucketCors": "PutBucketCORS", "DeleteBucketCors": "PutBucketCORS",
		"ListMultipartUploads": "ListBucketMultipartUploads",
	}
	if name, ok := names[c.Operation]; ok {
		return "s3:" + name
	}
	return c.Name()
}
