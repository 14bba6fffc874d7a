package kubernetes

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestSecretsFromAWS reads from a server that speaks as Secrets Manager does.
func TestSecretsFromAWS(t *testing.T) {
	const canary = "c4nary <from> aws"
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, _ := io.ReadAll(r.Body)
		var in struct {
			ID string `json:"SecretId"`
		}
		_ = json.Unmarshal(body, &in)
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/secretsmanager/") || !strings.HasSuffix(in.ID, "db-AbCdEf") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"ResourceNotFoundException","Message":"none"}`)
			return
		}
		text, _ := json.Marshal(map[string]any{"username": "shop", "password": canary, "port": 5432})
		_ = json.NewEncoder(w).Encode(map[string]any{"ARN": in.ID, "Name": "db", "SecretString": string(text)})
	}))
	defer server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
	const arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:db-AbCdEf"
	step := stepOf(t, map[string]any{"secrets": []any{map[string]any{"name": "db", "from": arn, "data": map[string]any{"extra": "plain"}}}})
	step.Settings = map[string]any{"aws": map[string]any{"endpoint": server.URL}}
	x := New(Options{})
	plan, err := x.Plan(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, x, step)
	got, err := client(t).CoreV1().Secrets(step.Namespace).Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil || string(got.Data["password"]) != canary || string(got.Data["port"]) != "5432" || string(got.Data["extra"]) != "plain" {
		t.Errorf("the Secret has %v, error %v", got.Data, err)
	}
	for _, form := range sdk.SecretForms(canary) {
		if strings.Contains(out.Text()+fmt.Sprint(plan), form) {
			t.Errorf("a secret is said as %q", form)
		}
	}
	step.With["secrets"] = []any{map[string]any{"name": "db", "from": arn + "x"}}
	fails(t, x, step, sdk.FaultInvalid, "has no secret")
	step.With["secrets"] = []any{map[string]any{"name": "db", "from": "(known after db)"}}
	if _, err := x.Plan(t.Context(), step); err != nil {
		t.Errorf("a plan of what is not known yet: %v", err)
	}
}
