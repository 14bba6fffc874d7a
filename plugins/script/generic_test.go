package script

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestScriptsSeeWhatIsListedAndNothingElse(t *testing.T) {
	t.Setenv("BERTH_TEST_HOST_SECRET", "of the host")
	t.Setenv("AWS_PROFILE", "production")
	w := newWorld(t)
	dump := filepath.Join(w.state, "env")
	s := w.runs(`env -0 >$STATE/env; stat -c '%a %n' "$PWD" >$STATE/cwd; touch "$HOME/x" "$TMPDIR/y"; cat "$BERTH_STEP" >$STATE/step; [ -t 0 ] || ! read line`, map[string]any{
		"env": map[string]any{"STATE": w.state, "PLAIN": int64(5)}, "vars": []any{"LOG_LEVEL"}, "kubeconfig": true,
	})
	s.Settings["env"] = map[string]any{"PLATFORM": "yes"}
	s.Vars = map[string]string{"LOG_LEVEL": "debug", "PATH": "/evil", "LD_PRELOAD": "/evil.so"}
	s.Set = map[string]string{"image.tag": "$(reboot)"}
	s.Cluster = sdk.Cluster{Kubeconfig: "/etc/berth/kubeconfig", Context: "staging", Name: "stage"}
	w.must(s)
	data, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		name, value, _ := strings.Cut(entry, "=")
		got[name] = value
	}
	for name, want := range map[string]string{
		"PLAIN": "5", "PLATFORM": "yes", "LOG_LEVEL": "debug", "BERTH_VAR_LOG_LEVEL": "debug", "BERTH_VAR_PATH": "/evil", "PATH": os.Getenv("PATH"), "LANG": "C.UTF-8",
		"BERTH_APP": "shop", "BERTH_ENVIRONMENT": "pr-42", "BERTH_PART": "web", "BERTH_VERB": "deploy", "BERTH_NAMESPACE": "shop-pr-42", "BERTH_CLUSTER": "stage",
		"KUBECONFIG": "/etc/berth/kubeconfig", "BERTH_KUBE_CONTEXT": "staging",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	allowed := []string{"PLAIN", "PLATFORM", "LOG_LEVEL", "PATH", "LANG", "HOME", "TMPDIR", "PWD", "STATE", "KUBECONFIG", "SHLVL", "_", "OLDPWD"}
	for name := range got {
		if !slices.Contains(allowed, name) && !strings.HasPrefix(name, "BERTH_") || name == "BERTH_TEST_HOST_SECRET" {
			t.Errorf("a script sees %s", name)
		}
	}
	cwd, _ := os.ReadFile(filepath.Join(w.state, "cwd"))
	mode, dir, _ := strings.Cut(strings.TrimSpace(string(cwd)), " ")
	if mode != "700" || !strings.HasPrefix(dir, w.data) || got["HOME"] != dir {
		t.Errorf("the working directory is %s with mode %s, HOME %s", dir, mode, got["HOME"])
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the working directory is left")
	}
	step, _ := os.ReadFile(filepath.Join(w.state, "step"))
	if !strings.Contains(string(step), `"image.tag": "$(reboot)"`) {
		t.Errorf("the step's file is %s", step)
	}
}

func TestWhatAProgramSaysByItsExitStatus(t *testing.T) {
	t.Parallel()
	for sh, want := range map[string]struct {
		fault sdk.Fault
		retry bool
		text  string
	}{
		"echo no such plan; exit 65":         {sdk.FaultInvalid, false, "no such plan"},
		"echo the registry is away; exit 75": {sdk.FaultDownstream, true, "the registry is away"},
		"echo oops >&2; exit 1":              {sdk.FaultDownstream, false, "exit status 1. Its last line: oops."},
		"kill -SEGV $$":                      {sdk.FaultDownstream, true, "signal"},
		"echo a b >$BERTH_OUTPUTS":           {sdk.FaultDownstream, false, "line 1 is not NAME=VALUE"},
		"ln -sf /etc/passwd $BERTH_OUTPUTS":  {sdk.FaultDownstream, false, "no plain file"},
	} {
		w := newWorld(t)
		_, err := w.run(w.runs(sh, nil))
		if e := fault(t, err, want.fault); e.Retry != want.retry || !strings.Contains(e.Msg, want.text) {
			t.Errorf("%s: %+v", sh, e)
		}
	}
}

func TestProgramsThatCannotBeStartedSayWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for text, want := range map[string]string{
		"#!/none/such\n": "interpreter", "just text\n": "#!/bin/sh", "\x7fELFnothing": "#!/bin/sh",
	} {
		s := w.runs("", nil)
		list, _ := s.With["deploy"].([]any)
		if err := os.WriteFile(list[0].(string), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		_, err := w.run(s)
		if e := fault(t, err, sdk.FaultInvalid); !strings.Contains(e.Msg, want) {
			t.Error(e.Msg)
		}
	}
	s := w.runs("", nil)
	s.Vars = map[string]string{"BIG": strings.Repeat("x", 128<<10)}
	_, err := w.run(s)
	if e := fault(t, err, sdk.FaultInvalid); !strings.Contains(e.Msg, "MAX_ARG_STRLEN") {
		t.Error(e.Msg)
	}
}

func TestOutputsLinksAndAPlanOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.runs(`printf '# comment\n\nendpoint=db:5432\nempty=\n' >$BERTH_OUTPUTS; printf 'app,https://a.example.org\r\nbad,javascript:alert(1)\n"x,y",http://b/\n' >$BERTH_LINKS`, map[string]any{"cleanup": []any{"true"}})
	h := w.must(s)
	if h.outputs["endpoint"] != "db:5432" || h.outputs["url"] != "https://a.example.org" || !strings.Contains(h.text(), "it is no address") {
		t.Errorf("outputs %v, log %s", h.outputs, h.text())
	}
	o, err := w.x.Observe(t.Context(), s)
	if err != nil || o.Health != sdk.Unknown || len(o.Links) != 2 || o.Links[1].Name != "x,y" {
		t.Errorf("observed %+v, %v", o, err)
	}
	h = w.must(s) // the same step again
	if h.outputs["endpoint"] != "db:5432" || !strings.Contains(h.text(), "has done it already") {
		t.Errorf("the second try says %v, %s", h.outputs, h.text())
	}
	s.Verb, s.ID = sdk.Sleep, "sleep"
	if h := w.must(s); !strings.Contains(h.text(), "left as it is") {
		t.Errorf("a verb without a program says %s", h.text())
	}
	plan := w.runs("", map[string]any{"plan": []any{"sh", "-c", `echo hello; printf '{"summary":"two things","destructive":true,"cost":"a lot","inputs":{"image":"sha256:1"}}' >$BERTH_PLAN`}})
	p, err := w.x.Plan(t.Context(), plan)
	if err != nil || p.Summary != "two things" || !p.Destructive || p.Cost != "a lot" || p.Inputs["plan image"] != "sha256:1" || p.Diff != "hello" || len(p.Resources) != 1 {
		t.Errorf("plan %+v, %v", p, err)
	}
}

func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const canary = "canary-of-the-test"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	ref := map[string]any{"file": file}
	s := w.runs(`echo "$1 $TOKEN $OWN"; echo "$TOKEN" | base64; printf "u=$TOKEN\n" >$BERTH_OUTPUTS; printf "app,https://x/?t=$OWN\n" >$BERTH_LINKS; echo "it was $TOKEN" >&2; [ "$1" = "$OWN" ] && [ "$OWN" = `+canary+` ] && exit 1`, map[string]any{"env": map[string]any{"OWN": ref}, "vars": []any{"TOKEN"}})
	list, _ := s.With["deploy"].([]any)
	s.With["deploy"] = append(list, ref)
	s.Secrets = map[string]sdk.SecretRef{"TOKEN": {Name: "token", File: file}}
	h, err := w.run(s)
	e := fault(t, err, sdk.FaultDownstream)
	said := h.text() + e.Error()
	for _, f := range sdk.SecretForms(canary) {
		if strings.Contains(said, f) {
			t.Errorf("the secret is told as %q in %s", f, said)
		}
	}
	s.With["deploy"] = append(list, map[string]any{"file": file + "x"})
	_, err = w.run(s)
	if e := fault(t, err, sdk.FaultInvalid); !strings.Contains(e.Msg, "is not there") {
		t.Error(e.Msg)
	}
	// Taking away goes on without a secret that is gone.
	s.Verb, s.ID = sdk.Cleanup, "cleanup"
	s.Secrets["TOKEN"] = sdk.SecretRef{Name: "token", File: file + "x"}
	if h := w.must(s); !strings.Contains(h.text(), "going on without a secret") {
		t.Error(h.text())
	}
	_ = filepath.WalkDir(w.data, func(path string, _ os.DirEntry, _ error) error {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), canary) {
			t.Errorf("the secret is in %s", path)
		}
		return nil
	})
}

func TestLongLinesAreCutWithoutAPieceOfASecret(t *testing.T) {
	t.Parallel()
	m := &mask{}
	m.add("s3cret-s3cret-s3cret")
	for before := range 60 {
		raw := strings.Repeat("x", before) + "s3cret-s3cret-s3cret" + strings.Repeat("y", 60)
		got := m.text(raw, 50)
		if strings.Contains(got, "s3c") || len(got) > 55 {
			t.Errorf("%d before it: %q", before, got)
		}
	}
}

func FuzzConfigs(f *testing.F) {
	for _, s := range []string{"a,b\n", "\"a\"\"x\",\"b\nc\"\r\n", "a . b.,1\n", "a=b,c\n", "\ufeffa,b", "a,b,c\n", "\"", ",,\n", "a,\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		configs, err := parseConfigs(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, c := range configs {
			again, err := cleanKey(c.Key)
			if err != nil || again != c.Key || seen[c.Key] || strings.Contains(c.Key, "=") || strings.ContainsRune(c.Value.Text, 0) {
				t.Fatalf("%q gives the key %q", text, c.Key)
			}
			seen[c.Key] = true
		}
		if full := overlay(configs, configs); len(full) != len(configs) {
			t.Fatalf("%q over itself has %d configs, not %d", text, len(full), len(configs))
		}
		parseKeys(text)
	})
}

func FuzzOutputs(f *testing.F) {
	f.Add("a=b\n# c\nd=")
	f.Add("a=\x00")
	f.Fuzz(func(t *testing.T, text string) {
		outputs, err := parseOutputs(text)
		if err == nil && len(outputs) > maxOutputs {
			t.Fatal("too many outputs")
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add("a secret-value b\r\n\x1b[31mred\x00", 7)
	f.Fuzz(func(t *testing.T, text string, keep int) {
		m := &mask{}
		m.add("secret-value")
		eachLine(strings.NewReader(text), max(1, keep%5000)+m.room(), func(raw rawLine) {
			l := teller{mask: m}
			if got := l.shown(raw); strings.Contains(got, "secret-value") {
				t.Fatalf("%q", got)
			}
		})
	})
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(`{"summary":"x","resources":[{"kind":"a","name":"b","change":"create"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePlan(data)
		for _, r := range p.Resources {
			if err == nil && (r.Kind == "" || r.Name == "") {
				t.Fatal("a resource without a name")
			}
		}
	})
}

func TestNoTimeIsLostWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	least := time.Hour
	for range 5 { // a busy machine can hold one of them up; a wait that is built in, all
		began := time.Now()
		w.must(w.runs("true", nil))
		least = min(least, time.Since(began))
	}
	if least > 5*time.Second {
		t.Errorf("a program that does nothing takes %s", least)
	}
}
