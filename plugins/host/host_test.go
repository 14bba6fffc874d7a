package host_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/plugins/host"
)

func selfSum(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestExecutorDescribesPlansAndObserves(t *testing.T) {
	_, x := start(t, options(&buffer{}, host.Plugin{}))
	d, err := x.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Name != "test" || d.Version != "1.2.3" || d.Binary != selfSum(t) || len(d.Verbs) != 3 || d.Schema["type"] != "object" {
		t.Errorf("description %+v", d)
	}
	s := step("build", "count", uint64(1_000_000))
	s.Verb, s.Agreed = actions.VerbCleanup, map[string]string{"image a:1": "sha256:1"}
	plan, err := x.Plan(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Summary != "would build" || plan.Diff != "+a" || !plan.Destructive || plan.Part != "web" || plan.Use != "test" || plan.Executor != d.Binary {
		t.Errorf("plan %+v", plan)
	}
	if plan.Cost != "requests 1 CPU" || plan.ResourcesLeft != 0 || len(plan.Resources) != 2 || plan.Resources[0] != (actions.Resource{Kind: "Pod", Name: "a", Change: actions.ResourceCreate}) ||
		plan.Resources[1] != (actions.Resource{Kind: "Volume", Name: "v", Namespace: "n", Change: actions.ResourceDelete, Destructive: true}) {
		t.Errorf("cost %q, resources %+v, and %d more", plan.Cost, plan.Resources, plan.ResourcesLeft)
	}
	if plan.Inputs["image a:1"] != "sha256:1" {
		t.Errorf("what was agreed on did not arrive: inputs %v", plan.Inputs)
	}
	if got := plan.Inputs["count"]; got != "int64 1000000" {
		t.Errorf("a whole number arrived as %s", got)
	}
	o, err := x.Observe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if o.Health != actions.Degraded || o.Text != "so so" || o.Links[0].URL != "http://pr-42" || o.Drift[0] != "one" {
		t.Errorf("observation %+v", o)
	}
}

func TestRunHandsOutputsOnAndEventsInOrder(t *testing.T) {
	_, x := start(t, options(&buffer{}, host.Plugin{}))
	s := step("outputs")
	s.Namespace = "ns"
	s.Outputs = map[string]actions.Outputs{"db": {"endpoint": "db.example:5432"}}
	s.Cluster.Name = "staging"
	s.Agreed = map[string]string{"chart": "sha256:1"}
	out, err := x.Run(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out["endpoint"] != "db.ns" || out["from"] != "db.example:5432" || out["agreed"] != "sha256:1" || out["cluster"] != "staging" {
		t.Errorf("outputs %v", out)
	}
	next := 0
	_, err = x.Run(t.Context(), step("log", "text", "x"), func(e actions.Event) {
		if e.Part != "web" || e.Time.IsZero() {
			t.Errorf("event %+v", e)
		}
		if e.Text == fmt.Sprintf("line %d", next) {
			next++
		}
	})
	if err != nil || next != 1000 {
		t.Errorf("%d lines in order, error %v", next, err)
	}
}

func TestProgramGetsNothingOfTheEnvironmentThatIsNotListed(t *testing.T) {
	t.Setenv("BERTH_GITHUB_TOKEN", "ghp_do_not_pass_on")
	t.Setenv("WANTED", "yes")
	t.Setenv("API_TOKEN", "s3cr3t-value")
	dir := t.TempDir()
	o := options(&buffer{}, host.Plugin{Env: []string{"WANTED", "API_TOKEN", "LITERAL=1", "NOT_SET"}})
	o.Dir = dir
	_, x := start(t, o)
	out, err := x.Run(t.Context(), step("env"), nil)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{
		"PATH": true, "HOME": true, "TMPDIR": true, "TZ": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true,
		"KUBERNETES_SERVICE_HOST": true, "KUBERNETES_SERVICE_PORT": true,
		"WANTED": true, "API_TOKEN": true, "LITERAL": true,
		"BERTH_EXECUTOR": true, "BERTH_PARENT_PID": true, "BERTH_LIFELINE": true,
		"cwd": true, "pid": true, "ppid": true,
	}
	for name, value := range out {
		if !allowed[name] && !strings.HasPrefix(name, "PLUGIN_") {
			t.Errorf("%s reached the program: %s", name, value)
		}
	}
	if out["WANTED"] != "WANTED=yes" || out["LITERAL"] != "LITERAL=1" {
		t.Errorf("what is listed did not arrive: %v", out)
	}
	if got, _ := filepath.EvalSymlinks(out["cwd"]); got != dir {
		t.Errorf("the program runs in %s", out["cwd"])
	}
}

func TestPinnedProgramIsStartedOnlyWithItsSum(t *testing.T) {
	sum := selfSum(t)
	_, x := start(t, options(&buffer{}, host.Plugin{SHA256: strings.ToUpper(sum)}))
	if _, err := x.Describe(t.Context()); err != nil {
		t.Fatalf("the right sum: %v", err)
	}
	wrong := strings.Repeat("ab", 32)
	h, x := start(t, options(&buffer{}, host.Plugin{SHA256: wrong}))
	waits, cancel := context.WithTimeout(t.Context(), patience/2) // less than a call waits for a restart
	defer cancel()
	_, err := x.Describe(waits)
	if actions.CodeOf(err) != actions.CodeUnavailable || actions.Retryable(err) {
		t.Fatalf("a wrong sum: %v", err)
	}
	if msg := actions.Message(err); !strings.Contains(msg, wrong) || !strings.Contains(msg, sum) {
		t.Errorf("the message lacks a sum: %s", msg)
	}
	if s := h.Checks(t.Context())[0]; s.Up || !strings.Contains(s.Error, wrong) {
		t.Errorf("status %+v", s)
	}
}

func TestProgramsAreLookedForBesideTheBotAndOnPath(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin, path, dir := t.TempDir(), t.TempDir(), t.TempDir()
	link := func(at string) {
		if err := os.Symlink(self, at); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(bin, "berth-beside"))
	link(filepath.Join(path, "berth-onpath"))
	link(filepath.Join(dir, "mine"))
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "garbage"), []byte("\x7fnot a program"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	o := options(&buffer{}, host.Plugin{})
	o.BinDir, o.Dir = bin, dir
	o.Plugins = map[string]host.Plugin{
		"relative": {Path: "./mine"}, "named": {Path: "berth-onpath"},
		"absent": {Path: "./absent"}, "plain": {Path: "./plain"}, "folder": {Path: dir}, "garbage": {Path: "./garbage"},
	}
	h := host.New(o)
	defer h.Close(t.Context())
	for use, code := range map[string]actions.Code{
		"beside": "", "onpath": "", "relative": "", "named": "",
		"nowhere": actions.CodeInvalid, "Not A Name": actions.CodeInvalid, "../up": actions.CodeInvalid,
		"absent": actions.CodeUnavailable, "plain": actions.CodeUnavailable, "folder": actions.CodeUnavailable, "garbage": actions.CodeUnavailable,
	} {
		x, err := h.Executor(t.Context(), use)
		if err == nil {
			_, err = x.Describe(t.Context())
		}
		if actions.CodeOf(err) != code {
			t.Errorf("%s: %v, want code %q", use, err, code)
		}
	}
}

func TestStartReturnsWhenEachExecutorIsUpOrHasFailedOnce(t *testing.T) {
	log := &buffer{}
	o := options(log, host.Plugin{})
	o.Plugins["broken"] = host.Plugin{Path: o.Plugins["test"].Path, Args: []string{"exit"}}
	h := host.New(o)
	defer h.Close(t.Context())
	if err := h.Start(t.Context(), []string{"test", "broken", "unknown"}); err != nil {
		t.Fatal(err)
	}
	checks := h.Checks(t.Context())
	if len(checks) != 2 || checks[0].Name != "broken" || checks[0].Up || checks[1].Name != "test" || !checks[1].Up {
		t.Fatalf("checks %+v", checks)
	}
	if c := checks[1]; c.PID == 0 || c.Version != "1.2.3" || c.SHA256 != selfSum(t) || c.Restarts != 0 || c.Error != "" {
		t.Errorf("status %+v", c)
	}
	if !strings.Contains(checks[0].Error, "cannot find my licence") {
		t.Errorf("the program's last words are lost: %s", checks[0].Error)
	}
	if !strings.Contains(log.String(), "unknown") {
		t.Error("an executor that is not there is not logged")
	}
}

func TestFailedStarts(t *testing.T) {
	for name, tt := range map[string]struct {
		arg  string
		want string
		ends bool // the call does not wait for another try
	}{
		"a program that ends at once is tried again":   {arg: "exit"},
		"a program that is no executor is tried again": {arg: "babble"},
		"a schema that is none is the author's fault":  {arg: "bad-schema", want: "JSON Schema", ends: true},
		"a schema cannot read files":                   {arg: "greedy-schema", want: "JSON Schema", ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(&buffer{}, host.Plugin{Args: []string{tt.arg}})
			if !tt.ends {
				o.RestartWait = 500 * time.Millisecond
			}
			_, x := start(t, o)
			_, err := x.Describe(t.Context())
			if actions.CodeOf(err) != actions.CodeUnavailable || actions.Retryable(err) == tt.ends {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(actions.Message(err), tt.want) {
				t.Errorf("message %q", actions.Message(err))
			}
		})
	}
}

func TestCloseDoesNotWaitForAProgramThatNeverServes(t *testing.T) {
	o := options(&buffer{}, host.Plugin{Args: []string{"silent"}})
	h := host.New(o)
	if _, err := h.Executor(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > patience/2 { // it was given all of patience to serve
		t.Errorf("it took %s", took)
	}
	if _, err := h.Executor(t.Context(), "test"); actions.CodeOf(err) != actions.CodeUnavailable {
		t.Errorf("after Close: %v", err)
	}
}

func TestErrorsOfExecutors(t *testing.T) {
	_, x := start(t, options(&buffer{}, host.Plugin{}))
	for name, tt := range map[string]struct {
		step  actions.Step
		code  actions.Code
		retry bool
		msg   string
	}{
		"the user's fault":            {step("fail", "text", "invalid"), actions.CodeInvalid, false, "the chart is not there"},
		"the cluster's fault":         {step("fail", "text", "downstream"), actions.CodeDownstream, true, "the cluster refused"},
		"the executor's fault":        {step("fail", "text", "internal"), actions.CodeInternal, false, "a bug"},
		"an error of another type":    {step("fail"), actions.CodeInternal, false, "did not foresee"},
		"a panic fails its call only": {step("panic", "text", "hunter2"), actions.CodeInternal, false, "hit a bug"},
		"a key that is unknown":       {step("x", "nonsense", 1), actions.CodeInvalid, false, `with has "nonsense", which the executor does not know`},
		"a value of the wrong type":   {step("x", "count", "many"), actions.CodeInvalid, false, "with.count is of type string and has to be integer"},
		"a number that is too small":  {step("x", "count", -1), actions.CodeInvalid, false, "with.count is less than 0"},
		"a value that is no choice":   {step("x", "size", "huge"), actions.CodeInvalid, false, `with.size has to be one of "small", "large"`},
		"a key that is missing":       {step("x", "engine", map[string]any{}), actions.CodeInvalid, false, `with.engine lacks "class"`},
		"a number without end":        {step("x", "anything", uint64(1)<<63), actions.CodeInvalid, false, "with.anything is too large"},
		"text that is no text":        {step("x", "anything", []string{"\xff"}), actions.CodeInvalid, false, "with.anything.0 is not valid UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := x.Run(t.Context(), tt.step, nil)
			if actions.CodeOf(err) != tt.code || actions.Retryable(err) != tt.retry || !strings.Contains(actions.Message(err), tt.msg) {
				t.Errorf("code %s, retry %v, message %q", actions.CodeOf(err), actions.Retryable(err), actions.Message(err))
			}
		})
	}
	s := step("x")
	s.Verb = actions.VerbSleep
	if _, err := x.Run(t.Context(), s, nil); actions.CodeOf(err) != actions.CodeInvalid || !strings.Contains(actions.Message(err), "deploy, cleanup, archive") {
		t.Errorf("a verb that is unknown: %v", err)
	}
	if _, err := x.Plan(t.Context(), step("x", "count", "{{ .Outputs.db.count }}")); err != nil {
		t.Errorf("a template that cannot be filled in yet keeps a plan from being made: %v", err)
	}
	if _, err := x.Run(t.Context(), step("x", "count", "{{ .Outputs.db.count }}"), nil); actions.CodeOf(err) != actions.CodeInvalid {
		t.Errorf("a template that was not filled in runs: %v", err)
	}
}

func TestLogsAreForwardedCutAndMasked(t *testing.T) {
	t.Setenv("API_TOKEN", "s3cr3t-value")
	log := &buffer{}
	_, x := start(t, options(log, host.Plugin{Env: []string{"API_TOKEN"}}))
	var events strings.Builder
	_, err := x.Run(t.Context(), step("log", "text", "s3cr3t-value"), func(e actions.Event) { events.WriteString(e.Text + "\n") })
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`level=WARN msg="from the logger ***" executor=test key="value ***"`,
		`printed ***`, `printed after`, `raw ***`,
	} {
		waitFor(t, want, func() bool { return strings.Contains(log.String(), want) })
	}
	all := log.String() + events.String()
	if strings.Contains(all, "s3cr3t-value") {
		t.Error("the secret is in the log")
	}
	for line := range strings.Lines(all) {
		if len(line) > 17<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if !strings.Contains(events.String(), "secret ***") || !strings.Contains(events.String(), "not � text") {
		t.Error("an event is missing")
	}
	// What the program printed may not have harmed it, or the host.
	if _, err := x.Run(t.Context(), step("x"), nil); err != nil {
		t.Error(err)
	}
}
