package helm

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// leakyChart writes its values into every place that somebody may see.
func leakyChart(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: leaky\nversion: 1.0.0\n",
		"values.yaml":         "env: {}\nfail: \"\"\nhook: false\n",
		"templates/a.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {berth.dev/url: \"https://x.example.org/?k={{ .Values.env.FROM_ENV | urlquery }}\"}}\ndata:\n  plain: {{ .Values.env.FROM_ENV | quote }}\n  inside: {{ printf \"x-%s-y\" .Values.env.FROM_FILE | quote }}\n  basic: {{ printf \"u:%s\" .Values.env.FROM_CLUSTER | b64enc | quote }}\n  json: {{ .Values.env | toJson | quote }}\n",
		"templates/b.yaml":    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}], selector: {app: {{ .Values.env.FROM_ENV | b64enc | trimSuffix \"=\" | trimSuffix \"=\" }}}}\n",
		"templates/fail.yaml": "{{ if .Values.fail }}{{ fail (printf \"not with %s and %s\" .Values.env.FROM_ENV .Values.env.FROM_FILE) }}{{ end }}\n",
		"templates/NOTES.txt": "Log in with {{ .Values.env.FROM_CLUSTER }}.\n",
	})
	return dir
}

func TestSecretsReachTheChartAndNobodyElse(t *testing.T) {
	t.Parallel()
	const fromEnv, fromFile, fromCluster = "pin-4711", "quo\"te <and> space", "clusters-own-s3cret"
	environment := map[string]string{"STRIPE_KEY": fromEnv}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(fromFile+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := New(Options{Getenv: func(name string) string { return environment[name] }})
	step := preview(t, with("chart", leakyChart(t)))
	makeNamespace(t, step.Namespace, nil)
	secrets := client(t).CoreV1().Secrets(step.Namespace)
	kept := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "own"}, StringData: map[string]string{"key": fromCluster}}
	if _, err := secrets.Create(t.Context(), kept, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	step.Secrets = map[string]sdk.SecretRef{
		"FROM_ENV":     {Name: "stripe", Env: "STRIPE_KEY"},
		"FROM_FILE":    {Name: "db", File: file},
		"FROM_CLUSTER": {Name: "own", SecretName: "own", SecretKey: "key"},
	}
	clean := func(what, text string, values ...string) {
		t.Helper()
		for _, value := range append(values, fromEnv, fromFile, fromCluster) {
			for _, form := range sdk.SecretForms(value) {
				if strings.Contains(text, form) {
					t.Errorf("%s has %q:\n%s", what, form, text)
				}
			}
		}
	}

	p := plan(t, x, step)
	clean("the plan", fmt.Sprintf("%+v", p))
	brief := step
	brief.Brief, brief.Agreed = true, p.Inputs
	step.Agreed = p.Inputs
	out := run(t, x, step)
	clean("what the run said", out.Text()+fmt.Sprint(out.Outputs))
	got, err := client(t).CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil || got.Data["plain"] != fromEnv || got.Data["inside"] != "x-"+fromFile+"-y" || got.Data["basic"] != base64.StdEncoding.EncodeToString([]byte("u:"+fromCluster)) {
		t.Errorf("the chart got %v %v", got.Data, err)
	}
	rel := revisions(t, step)[0]
	clean("the release's notes", rel.Info.Notes+rel.Info.Description)
	if !strings.Contains(rel.Info.Notes, "Log in with ***") {
		t.Errorf("the notes are %q", rel.Info.Notes)
	}
	o := observe(t, x, step)
	clean("what is observed", fmt.Sprintf("%+v", o))

	// Another value under the same reference voids nothing, and shows as changed.
	const rotated = "pin-0815"
	environment["STRIPE_KEY"] = rotated
	if again := plan(t, x, brief); !maps.Equal(again.Inputs, p.Inputs) {
		t.Errorf("rotation changes the inputs from %v to %v", p.Inputs, again.Inputs)
	}
	step.Agreed = nil
	p = plan(t, x, step)
	clean("the plan after a rotation", fmt.Sprintf("%+v", p), rotated)
	if !strings.Contains(p.Diff, "-  plain: '*** (") || !strings.Contains(p.Diff, "+  plain: '*** (") {
		t.Errorf("the rotation does not show:\n%s", p.Diff)
	}

	// Secrets that the app no longer has are still in what is installed.
	less := step
	less.Secrets, less.Vars = nil, map[string]string{"FROM_ENV": "a", "FROM_FILE": "b", "FROM_CLUSTER": "c"}
	p = plan(t, New(Options{}), less)
	clean("the plan without secrets", fmt.Sprintf("%+v", p))

	step.ID += "-fails"
	step.Set = map[string]string{"fail": "yes"}
	_, err = x.Plan(t.Context(), step)
	e := fault(t, err, sdk.FaultInvalid, "not with "+"***")
	clean("the error", fmt.Sprint(e.Msg, e.Err), rotated)
	out, err = fails(t, x, step)
	e = fault(t, err, sdk.FaultInvalid)
	clean("the failure", fmt.Sprint(e.Msg, e.Err, out.Text()), rotated)
}

func TestASecretThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	x := New(Options{Getenv: os.Getenv})
	step := preview(t, with("chart", leakyChart(t)))
	for name, tt := range map[string]struct {
		ref  sdk.SecretRef
		says string
	}{
		"a variable":          {sdk.SecretRef{Name: "stripe", Env: "BERTH_TEST_NO_SUCH"}, `The secret "stripe" (variable BERTH_TEST_NO_SUCH) is not there`},
		"a file":              {sdk.SecretRef{Name: "stripe", File: "/none/such"}, `The secret "stripe" (file /none/such) is not there`},
		"a Kubernetes Secret": {sdk.SecretRef{Name: "stripe", SecretName: "none", SecretKey: "such"}, `The secret "stripe" (Kubernetes Secret ` + step.Namespace + `/none, key such) is not there`},
	} {
		step := step
		step.Secrets = map[string]sdk.SecretRef{"FROM_ENV": tt.ref}
		_, err := x.Plan(t.Context(), step)
		fault(t, err, sdk.FaultInvalid, tt.says)
		_, err = fails(t, x, step)
		fault(t, err, sdk.FaultInvalid, tt.says)
		t.Log(name)
	}
	// What takes away needs no secrets.
	step.Secrets = map[string]sdk.SecretRef{"FROM_ENV": {Env: "BERTH_TEST_NO_SUCH"}}
	run(t, x, verb(step, sdk.Archive))
	run(t, x, verb(step, sdk.Cleanup))
}
