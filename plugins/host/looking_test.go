package host_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/plugins/host"
	"github.com/berth-dev/berth/plugins/sdk"
)

// talker is a testExecutor that has logs and checks, as the text to look for and
// the namespace say.
type talker struct{ *testExecutor }

func (talker) Logs(ctx context.Context, step sdk.Step, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	say := func(text string) error {
		return out(sdk.LogLine{Time: time.Unix(7, 0), Source: "web-1/app", Text: text})
	}
	if q.Contains == "endless" {
		for n := 0; ; n++ {
			if err := say(fmt.Sprintf("line %d %s", n, strings.Repeat("x", 1000))); err != nil {
				return err
			}
		}
	}
	if err := say(fmt.Sprintf("%s %q %q %d %t %d %v", step.Part, q.Pod, q.Container, q.Tail, q.Follow, q.Since.Unix(), step.Settings["region"])); err != nil {
		return err
	}
	switch q.Contains {
	case "follow":
		<-ctx.Done()
		return ctx.Err()
	case "deaf":
		select {}
	case "fail":
		return sdk.Downstream("the cluster does not answer").WithRetry()
	case "panic":
		panic("on purpose")
	case "many":
		for n := range q.Tail {
			if err := say(fmt.Sprint(n)); err != nil {
				return err
			}
		}
	case "odd":
		return out(sdk.LogLine{Source: strings.Repeat("s", 1000), Text: "a \xff b " + os.Getenv("API_TOKEN") + strings.Repeat("y", 1<<20)})
	}
	return nil
}

func (talker) Check(_ context.Context, scope sdk.Scope) ([]sdk.Finding, error) {
	switch scope.Namespace {
	case "blind":
		return nil, sdk.Downstream("the cluster does not answer")
	case "many":
		all := make([]sdk.Finding, 200)
		for i := range all {
			all[i] = sdk.Finding{Name: fmt.Sprint(i), OK: true}
		}
		return all, nil
	}
	return []sdk.Finding{
		{Name: "cluster", OK: true, Detail: scope.Cluster.Name + " " + scope.Cluster.EKS.Name + " " + scope.Installation},
		{Name: "rights", Detail: "of " + scope.Namespace, Fix: "apply it", Paste: "kind: Role\nsecret: " + os.Getenv("API_TOKEN") + "\n"},
	}, nil
}

func talk(t *testing.T, args ...string) (*host.Host, actions.LogSource, actions.Executor) {
	t.Helper()
	t.Setenv("API_TOKEN", "s3cr3t-value")
	h, x := start(t, options(&buffer{}, host.Plugin{Args: append([]string{"talks", "settings"}, args...), Env: []string{"API_TOKEN"}, Settings: map[string]any{"region": "eu-central-1"}}))
	logs, ok := x.(actions.LogSource)
	if !ok {
		t.Fatal("it is no source of logs")
	}
	return h, logs, x
}

func TestLogsComeAsTheyWereAskedFor(t *testing.T) {
	_, logs, x := talk(t)
	if d, err := x.Describe(t.Context()); err != nil || !d.Logs || !d.Checks {
		t.Fatalf("%+v, %v", d, err)
	}
	looked := step("")
	looked.Verb = "" // looking is no verb
	var got []actions.LogLine
	take := func(l actions.LogLine) error { got = append(got, l); return nil }
	err := logs.Logs(t.Context(), looked, actions.LogQuery{Pod: "web", Container: "app", Tail: 1 << 40, Since: time.Unix(9, 0), Contains: "x"}, take)
	want := actions.LogLine{Time: time.Unix(7, 0).UTC(), Part: "web", Source: "web-1/app", Text: `web "web" "app" 2147483647 false 9 eu-central-1`}
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	got = nil
	const many = 50_000
	if err := logs.Logs(t.Context(), looked, actions.LogQuery{Contains: "many", Tail: many}, take); err != nil || len(got) != many+1 {
		t.Fatalf("%d lines, %v", len(got), err)
	}
	for n, l := range got[1:] {
		if l.Text != fmt.Sprint(n) {
			t.Fatalf("line %d is %q", n, l.Text)
		}
	}
	got = nil
	if err := logs.Logs(t.Context(), looked, actions.LogQuery{Contains: "odd"}, take); err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if l := got[1]; len(l.Source) > 300 || len(l.Text) > 40<<10 || !strings.HasPrefix(l.Text, "a \uFFFD b ***") || strings.Contains(l.Text, "s3cr3t") {
		t.Errorf("an odd line came as %.60q of %d bytes, from %d bytes", l.Text, len(l.Text), len(l.Source))
	}
	for _, q := range []actions.LogQuery{{Pod: "\xff"}, {Container: "\xff"}, {Contains: "\xff"}} {
		if err := logs.Logs(t.Context(), looked, q, take); actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestLogsEnd(t *testing.T) {
	enough := errors.New("enough")
	tests := map[string]struct {
		contains string
		out      error // that the first line is answered with
		leave    bool  // ctx ends at the first line
		dies     bool  // the executor does
		code     actions.Code
	}{
		"when the reader leaves":                             {contains: "follow", leave: true, code: actions.CodeCancelled},
		"when the reader of an executor that is deaf leaves": {contains: "deaf", leave: true, code: actions.CodeCancelled},
		"when the reader has had enough":                     {contains: "endless", out: enough},
		"when the executor fails":                            {contains: "fail", code: actions.CodeDownstream},
		"when the executor dies":                             {contains: "deaf", dies: true, code: actions.CodeUnavailable},
		"when the executor panics":                           {contains: "panic", code: actions.CodeInternal},
	}
	h, logs, x := talk(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			lines := 0
			err := logs.Logs(ctx, step(""), actions.LogQuery{Contains: tt.contains, Follow: tt.leave}, func(actions.LogLine) error {
				if lines++; tt.leave {
					leave()
				}
				if tt.dies {
					_ = syscall.Kill(h.Checks(ctx)[0].PID, syscall.SIGKILL)
				}
				return tt.out
			})
			if lines != 1 || tt.out != nil && !errors.Is(err, tt.out) || tt.out == nil && actions.CodeOf(err) != tt.code {
				t.Errorf("%d lines, %v", lines, err)
			}
			// And others are served as before.
			if _, err := x.Plan(t.Context(), step("build")); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

// TestASlowReaderHoldsTheExecutorUp reads a few lines of one that would print
// without end, and waits: what is not read must not pile up anywhere.
func TestASlowReaderHoldsTheExecutorUp(t *testing.T) {
	h, logs, _ := talk(t)
	ctx, leave := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer leave()
	lines := 0
	err := logs.Logs(ctx, step(""), actions.LogQuery{Contains: "endless", Follow: true}, func(actions.LogLine) error {
		if lines++; lines == 10 {
			<-ctx.Done()
		}
		return nil
	})
	if actions.CodeOf(err) != actions.CodeCancelled || lines > 2000 {
		t.Errorf("%d lines, %v", lines, err)
	}
	for _, s := range h.Checks(t.Context()) {
		if !s.Up {
			t.Errorf("%+v", s)
		}
		if mb := resident(t, s.PID); mb > 120 {
			t.Errorf("the executor takes %d MB for what nobody reads", mb)
		}
	}
}

func TestTheHostEndsThoughSomebodyFollows(t *testing.T) {
	h, logs, _ := talk(t)
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- logs.Logs(context.WithoutCancel(t.Context()), step(""), actions.LogQuery{Contains: "follow", Follow: true}, func(actions.LogLine) error {
			begun <- struct{}{}
			return nil
		})
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_ = h.Close(ctx)
	select {
	case err := <-ended:
		if code := actions.CodeOf(err); code != actions.CodeUnavailable && code != actions.CodeCancelled {
			t.Errorf("the follower is told %v", err)
		}
	case <-time.After(patience):
		t.Error("the follower follows a host that has ended")
	}
}

func TestChecksAreToldWithWhatToPaste(t *testing.T) {
	_, _, x := talk(t)
	checker, ok := x.(actions.Checker)
	if !ok {
		t.Fatal("it is no checker")
	}
	cluster := actions.Cluster{Name: "prod", EKS: actions.EKS{Name: "eks-prod", Region: "eu-central-1"}}
	found, err := checker.Check(t.Context(), cluster, "shop-x", "me")
	want := []actions.Finding{
		{Name: "cluster", OK: true, Detail: "prod eks-prod me"},
		{Name: "rights", Detail: "of shop-x", Fix: "apply it", Paste: "kind: Role\nsecret: ***\n"},
	}
	if err != nil || len(found) != 2 || found[0] != want[0] || found[1] != want[1] {
		t.Errorf("%+v, %v; want %+v", found, err, want)
	}
	if found, err = checker.Check(t.Context(), cluster, "many", ""); err != nil || len(found) > 65 {
		t.Errorf("%d findings, %v", len(found), err)
	}
	if _, err = checker.Check(t.Context(), cluster, "blind", ""); actions.CodeOf(err) != actions.CodeDownstream {
		t.Errorf("one that cannot look says %v", err)
	}
}

func TestAnExecutorWithoutLogsOrChecksSaysSo(t *testing.T) {
	_, x := start(t, options(&buffer{}, host.Plugin{}))
	if err := x.(actions.LogSource).Logs(t.Context(), step(""), actions.LogQuery{}, nil); actions.CodeOf(err) != actions.CodeInvalid {
		t.Errorf("logs: %v", err)
	}
	if _, err := x.(actions.Checker).Check(t.Context(), actions.Cluster{}, "", ""); actions.CodeOf(err) != actions.CodeInvalid {
		t.Errorf("checks: %v", err)
	}
	if d, err := x.Describe(t.Context()); err != nil || d.Logs || d.Checks {
		t.Errorf("%+v, %v", d, err)
	}
}

// resident is the memory of a process, in megabytes (2^20 bytes).
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("no /proc here: %v", err)
	}
	var kb int
	if _, rest, ok := strings.Cut(string(text), "VmRSS:"); ok {
		_, _ = fmt.Sscan(rest, &kb)
	}
	return kb >> 10
}
