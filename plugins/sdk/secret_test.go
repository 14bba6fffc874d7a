package sdk_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/status"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestSecretsAreFoundWhereTheReferencePoints(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	away := errors.New("the cluster is away")
	secrets := sdk.Secrets{
		Getenv: func(name string) string {
			return map[string]string{"KEY": "from-env", "SHORT": "abc", "BINARY": "abc\xff\x00def"}[name]
		},
		Kubernetes: func(_ context.Context, ref sdk.SecretRef) ([]byte, error) {
			switch ref.SecretNamespace + "/" + ref.SecretName + "/" + ref.SecretKey {
			case "shop-pr-1/db/password":
				return []byte("from-cluster\n"), nil
			case "infra/db/password":
				return nil, away
			}
			return nil, fmt.Errorf("no such key: %w", fs.ErrNotExist)
		},
	}
	tests := map[string]struct {
		ref   sdk.SecretRef
		want  string
		says  string // of an Invalid
		fails error
	}{
		"a variable":                              {ref: sdk.SecretRef{Env: "KEY"}, want: "from-env"},
		"a file, without its last line's end":     {ref: sdk.SecretRef{File: file("a", "one\ntwo\n")}, want: "one\ntwo"},
		"a file written elsewhere":                {ref: sdk.SecretRef{File: file("b", "value\r\n")}, want: "value"},
		"a file as long as can be":                {ref: sdk.SecretRef{File: file("c", strings.Repeat("x", sdk.MaxSecret)+"\n")}, want: strings.Repeat("x", sdk.MaxSecret)},
		"a Secret of the environment's namespace": {ref: sdk.SecretRef{SecretName: "db", SecretKey: "password"}, want: "from-cluster\n"},

		"a variable that is not set":      {ref: sdk.SecretRef{Name: "stripe", Env: "NONE"}, says: `The secret "stripe" (variable NONE) is not there`},
		"a variable that is no text":      {ref: sdk.SecretRef{Env: "BINARY"}, says: "is not text"},
		"a value that cannot be hidden":   {ref: sdk.SecretRef{Env: "SHORT"}, says: "too short"},
		"a file that is not there":        {ref: sdk.SecretRef{Name: "db", File: "/none/such"}, says: `The secret "db" (file /none/such) is not there`},
		"a file that is too long":         {ref: sdk.SecretRef{File: file("d", strings.Repeat("x", sdk.MaxSecret+1))}, says: "longer than 64 KiB"},
		"a file with nothing in it":       {ref: sdk.SecretRef{File: file("e", "\n")}, says: "is empty"},
		"a folder":                        {ref: sdk.SecretRef{File: dir}, says: "not a regular file"},
		"a pipe, which nobody writes to":  {ref: sdk.SecretRef{File: pipe}, says: "not a regular file"},
		"a Secret without that key":       {ref: sdk.SecretRef{Name: "db", SecretName: "db", SecretKey: "user"}, says: `(Kubernetes Secret shop-pr-1/db, key user) is not there`},
		"a cluster that does not answer":  {ref: sdk.SecretRef{SecretNamespace: "infra", SecretName: "db", SecretKey: "password"}, fails: away},
		"a reference that points nowhere": {ref: sdk.SecretRef{Name: "x"}, says: "neither"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			step := sdk.Step{Namespace: "shop-pr-1", Secrets: map[string]sdk.SecretRef{"V": tt.ref}}
			got, err := secrets.Resolve(t.Context(), step)
			switch e, ok := errors.AsType[*sdk.Error](err); {
			case tt.says != "":
				if !ok || e.Fault != sdk.FaultInvalid || !strings.Contains(e.Msg, tt.says) {
					t.Errorf("error %v, want %q", err, tt.says)
				}
			case tt.fails != nil:
				if !errors.Is(err, tt.fails) {
					t.Errorf("error %v, want %v", err, tt.fails)
				}
			case err != nil || got["V"] != tt.want:
				t.Errorf("got %.40q %v, want %.40q", got["V"], err, tt.want)
			}
		})
	}
}

func TestFaultsNeverTellAValue(t *testing.T) {
	const value = "ab\x00hunter2"
	_, err := sdk.Secrets{Getenv: func(string) string { return value }}.Resolve(t.Context(), sdk.Step{Secrets: map[string]sdk.SecretRef{"V": {Env: "KEY"}}})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

// written are texts with a secret in them, as programs write it.
func written(secret string) map[string]string {
	js, _ := json.Marshal(map[string]string{"k": secret})
	return map[string]string{
		"as it is":              "x" + secret + "y",
		"in JSON":               string(js),
		"quoted":                fmt.Sprintf("%q", secret),
		"in an address":         "https://x.example/?k=" + url.QueryEscape(secret),
		"as a password":         (&url.URL{Scheme: "http", User: url.UserPassword("u", secret), Host: "x"}).String(),
		"in base64":             base64.StdEncoding.EncodeToString([]byte(secret)),
		"in base64 for URLs":    base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"in basic auth":         base64.StdEncoding.EncodeToString([]byte("u:" + secret)),
		"behind two, in base64": base64.StdEncoding.EncodeToString([]byte("ab" + secret + "tail")),
		"one behind, in base64": base64.StdEncoding.EncodeToString([]byte("a" + secret + "z")),
	}
}

func TestFormsOfASecretAreFound(t *testing.T) {
	for _, secret := range []string{"hunter2-hunter2", "a\"b<c>&d\\e", "pass word/+?%", "ünïcödé-s3cret", "it's a s3cret", strings.Repeat("k", 1000)} {
		for how, text := range written(secret) {
			found := false
			for _, form := range sdk.SecretForms(secret) {
				found = found || strings.Contains(text, form)
			}
			if !found {
				t.Errorf("%q %s is not found in %.200q", secret, how, text)
			}
		}
	}
	lines := "-----BEGIN KEY-----\nc2VjcmV0LWxpbmU\n-----END KEY-----"
	if forms := sdk.SecretForms(lines); !contains(forms, "c2VjcmV0LWxpbmU") {
		t.Errorf("a line of a long one is not looked for: %q", forms)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func FuzzSecretForms(f *testing.F) {
	f.Add("hunter2")
	f.Add("a\nb\n\xff")
	f.Fuzz(func(t *testing.T, secret string) {
		last := len(secret)*100 + 100
		for _, form := range sdk.SecretForms(secret) {
			if form == "" || len(form) > last {
				t.Fatalf("forms of %q: %q", secret, sdk.SecretForms(secret))
			}
			last = len(form)
		}
	})
}

// talker tells all that it knows, wherever it can.
type talker struct{ panics bool }

func (talker) Describe() sdk.Description {
	return sdk.Description{Name: "talker", Version: "1.0.0", Verbs: []sdk.Verb{sdk.Deploy}}
}

func (t talker) told(ctx context.Context, s sdk.Step) (string, error) {
	values, err := sdk.Secrets{Getenv: func(string) string { return talked }}.Resolve(ctx, s)
	return "it is " + values["KEY"], err
}

func (t talker) Plan(ctx context.Context, s sdk.Step) (sdk.Plan, error) {
	text, err := t.told(ctx, s)
	return sdk.Plan{Summary: text, Diff: text, Cost: text, Inputs: map[string]string{text: text},
		Resources: []sdk.Resource{{Kind: text, Name: text, Namespace: text, Change: sdk.ChangeCreate}}}, err
}

func (t talker) Observe(ctx context.Context, s sdk.Step) (sdk.Observation, error) {
	text, err := t.told(ctx, s)
	return sdk.Observation{Text: text, Links: []sdk.Link{{Name: text, URL: "https://x/?t=" + url.QueryEscape(talked)}}, Drift: []string{text}}, err
}

func (t talker) Run(ctx context.Context, s sdk.Step, out sdk.Events) error {
	text, err := t.told(ctx, s)
	if err != nil {
		return err
	}
	out.Log(text)
	out.Log(strings.Repeat("x", 16<<10-len(text)) + text) // where a line is cut
	out.Progress(base64.StdEncoding.EncodeToString([]byte(text)), 1, 2)
	out.Output(text, text)
	out.Receipt(sdk.Resource{Kind: text, Name: text})
	if t.panics {
		panic(text)
	}
	return sdk.Downstream("It failed: %s: %w", text, errors.New(text))
}

const talked = `t0k<en>& "1" secret`

func TestNoSecretLeavesTheCallThatLookedItUp(t *testing.T) {
	step := &executorv1.Step{App: "shop", Environment: "pr-1", Part: "web", Verb: executorv1.Verb_VERB_DEPLOY, Namespace: "shop-pr-1",
		Secrets: map[string]*executorv1.SecretRef{"KEY": {Name: "key", From: &executorv1.SecretRef_Env{Env: "KEY"}}}}
	for name, panics := range map[string]bool{"an executor that tells it": false, "one that panics with it": true} {
		t.Run(name, func(t *testing.T) {
			x, _ := serve(t, talker{panics: panics})
			var told []string
			plan, err := x.Plan(t.Context(), &executorv1.PlanRequest{Step: step})
			told = append(told, fmt.Sprint(plan, err))
			seen, err := x.Observe(t.Context(), &executorv1.ObserveRequest{Step: step})
			told = append(told, fmt.Sprint(seen, err))
			stream, err := x.Run(t.Context(), &executorv1.RunRequest{Step: step})
			for err == nil {
				var r *executorv1.RunResponse
				r, err = stream.Recv()
				told = append(told, fmt.Sprint(r))
			}
			told = append(told, fmt.Sprint(err, status.Convert(err).Details()))
			if len(told) != 9 {
				t.Errorf("%d things were told, want 9", len(told))
			}
			for _, text := range told {
				for _, form := range append(sdk.SecretForms(talked), talked[:8]) {
					if strings.Contains(text, form) {
						t.Errorf("%q is in %.300s", form, text)
					}
				}
			}
		})
	}
}
