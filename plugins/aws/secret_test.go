package aws

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// secretValue is what a secret holds.
func (w *world) secretValue(t *testing.T, name string) (map[string]string, error) {
	t.Helper()
	out, err := secretsmanager.NewFromConfig(w.Config(testRegion)).GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &name})
	if err != nil {
		return nil, err
	}
	var keys map[string]string
	return keys, json.Unmarshal([]byte(awssdk.ToString(out.SecretString)), &keys)
}

func TestASecretKeepsWhatWasGeneratedAndWhatOthersPutThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	name := "shop/pr-42"
	with := map[string]any{"secret": map[string]any{"name": name, "generate": map[string]any{"password": int64(20)}, "values": map[string]any{"username": "shop"}}}
	w.must(t, w.step(sdk.Deploy, with))
	first, err := w.secretValue(t, name)
	if err != nil || len(first["password"]) != 20 || first["username"] != "shop" {
		t.Fatalf("it has the keys of %d, %v", len(first), err)
	}
	first["by-hand"] = "kept"
	data, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secretsmanager.NewFromConfig(w.Config(testRegion)).PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &name, SecretString: awssdk.String(string(data))}); err != nil {
		t.Fatal(err)
	}
	with["secret"].(map[string]any)["values"] = map[string]any{"username": "shop2"}
	plan, err := w.executor().Plan(t.Context(), w.step(sdk.Deploy, with))
	if err != nil || !strings.Contains(plan.Diff, "username") || strings.Contains(plan.Diff, "password") {
		t.Errorf("the plan says %q, %v; want it to name the key that changes", plan.Diff, err)
	}
	w.must(t, w.step(sdk.Deploy, with))
	second, err := w.secretValue(t, name)
	if err != nil || second["password"] != first["password"] || second["username"] != "shop2" || second["by-hand"] != "kept" {
		t.Errorf("what was generated or put there by hand is gone, or what was to change is not changed (%v)", err)
	}
	w.must(t, w.step(sdk.Cleanup, nil)) // by its tags: its name is not the usual one
	if left := w.Things(); len(left) > 0 {
		t.Errorf("there is left %v", left)
	}
}

func TestADeletedSecretThatIsRetainedComesBackWithItsValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	with := map[string]any{"secret": map[string]any{}, "retain": "10d"}
	w.must(t, w.step(sdk.Deploy, with))
	first, err := w.secretValue(t, "berth-shop-pr-42-db")
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, w.step(sdk.Cleanup, with))
	if owned := w.Owned(); len(owned) > 0 || len(w.Things()) != 1 {
		t.Errorf("there is %v of %v", owned, w.Things())
	}
	w.must(t, w.step(sdk.Deploy, with))
	if second, err := w.secretValue(t, "berth-shop-pr-42-db"); err != nil || second["password"] != first["password"] {
		t.Errorf("it is another one than before (%v)", err)
	}
}

func TestPasswordsAreLongAndDiffer(t *testing.T) {
	t.Parallel()
	var seen []string
	for range 50 {
		p, err := password(24)
		if err != nil || len(p) != 24 || strings.Trim(p, passwordLetters) != "" || slices.Contains(seen, p) {
			t.Fatalf("%d characters, again %t, %v", len(p), slices.Contains(seen, p), err)
		}
		seen = append(seen, p)
	}
}
