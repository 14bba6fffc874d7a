package sdktest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// linesOf are the lines that q asks for, without following.
func (b *bench) linesOf(t *testing.T, q *executorv1.LogsRequest) []*executorv1.LogLine {
	t.Helper()
	q.Step = wire(t, b.do(sdk.Deploy))
	stream, err := b.client.Logs(b.context(t), q)
	var lines []*executorv1.LogLine
	for err == nil {
		var r *executorv1.LogsResponse
		if r, err = stream.Recv(); err == nil {
			b.heard(t, r.GetLines())
			lines = append(lines, r.GetLines()...)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatalf("Logs: %v", b.client.note("the error of Logs", err))
	}
	return lines
}

// heard looks at lines as they come.
func (b *bench) heard(t *testing.T, lines []*executorv1.LogLine) {
	t.Helper()
	for _, l := range lines {
		b.seen.text("the logs", l.GetSource(), l.GetText())
		if l.GetSource() == "" || strings.Contains(l.GetText(), "\n") {
			t.Errorf("a log line does not name its source, or is not one line: %v", l)
		}
	}
}

// ended waits until a call that streams has returned in the executor. Of a
// program that cannot be seen.
func (c *client) ended(t *testing.T, limit time.Duration) bool {
	t.Helper()
	if c.returned == nil {
		return true
	}
	select {
	case <-c.returned:
		return true
	case <-time.After(limit):
		return false
	}
}

// forget leaves behind what returned before.
func (c *client) forget() {
	for len(c.returned) > 0 {
		<-c.returned
	}
}

func (b *bench) logs(t *testing.T) {
	if !b.about.GetLogs() {
		t.Skip("the executor has no logs")
	}
	if b.Say != nil {
		b.Say(t, "sdktest says one")
		b.Say(t, "sdktest says two")
	}
	var all []*executorv1.LogLine
	within(b.HealthyWithin, func() bool {
		all = b.linesOf(t, &executorv1.LogsRequest{})
		return b.Say == nil || holds(all, "sdktest says two")
	})
	if b.Say != nil && (!holds(all, "sdktest says one") || !holds(all, "sdktest says two")) {
		t.Fatalf("Logs has not what the part's program printed; it has %d lines", len(all))
	}
	for i := 1; i < len(all); i++ {
		if before, now := all[i-1].GetTime(), all[i].GetTime(); before != nil && now != nil && now.AsTime().Before(before.AsTime()) {
			t.Errorf("Logs tells %q of %s after what was printed at %s", all[i].GetText(), now.AsTime(), before.AsTime())
		}
	}
	if len(all) > 0 {
		b.filtered(t, all[len(all)-1])
	}
	b.follow(t)
}

func holds(lines []*executorv1.LogLine, text string) bool {
	for _, l := range lines {
		if strings.Contains(l.GetText(), text) {
			return true
		}
	}
	return false
}

// filtered asks for lines like some, in each of the ways.
func (b *bench) filtered(t *testing.T, some *executorv1.LogLine) {
	t.Helper()
	pod, container, contained := strings.Cut(some.GetSource(), "/")
	for what, f := range map[string]struct {
		q    *executorv1.LogsRequest
		fits func(*executorv1.LogLine) bool
		skip bool
	}{
		"that hold a text": {
			q:    &executorv1.LogsRequest{Contains: some.GetText()},
			fits: func(l *executorv1.LogLine) bool { return strings.Contains(l.GetText(), some.GetText()) },
		},
		"of one pod": {
			q:    &executorv1.LogsRequest{Pod: pod},
			fits: func(l *executorv1.LogLine) bool { return strings.HasPrefix(l.GetSource(), pod) },
		},
		"of one container": {
			q:    &executorv1.LogsRequest{Container: container},
			fits: func(l *executorv1.LogLine) bool { return strings.HasSuffix(l.GetSource(), "/"+container) },
			skip: !contained,
		},
		"since a time": {
			q: &executorv1.LogsRequest{Since: some.GetTime()},
			// Kubernetes counts whole seconds.
			fits: func(l *executorv1.LogLine) bool {
				return !l.GetTime().AsTime().Before(some.GetTime().AsTime().Truncate(time.Second))
			},
			skip: some.GetTime() == nil,
		},
	} {
		if f.skip {
			continue
		}
		lines := b.linesOf(t, f.q)
		if len(lines) == 0 {
			t.Errorf("Logs has no lines %s, and there are some (%q)", what, some.GetText())
		}
		for _, l := range lines {
			if !f.fits(l) {
				t.Errorf("Logs was asked for lines %s (%v) and has %v", what, f.q, l)
				break
			}
		}
	}
	for what, q := range map[string]*executorv1.LogsRequest{
		"that hold a text that is nowhere": {Contains: "sdktest looks for what nobody prints"},
		"of a pod that is not there":       {Pod: "sdktest-no-such-pod"},
		"of a container that is not there": {Container: "sdktest-no-such-container"},
	} {
		if lines := b.linesOf(t, q); len(lines) > 0 {
			t.Errorf("Logs has lines %s: %v", what, lines[0])
		}
	}
	of := map[string]int{}
	for _, l := range b.linesOf(t, &executorv1.LogsRequest{Tail: 1}) {
		if of[l.GetSource()]++; of[l.GetSource()] == 2 {
			t.Errorf("Logs has more than the last line of %s, which was all that it was asked for", l.GetSource())
		}
	}
}

// follow sees that Logs goes on with what is printed, and ends with its call.
func (b *bench) follow(t *testing.T) {
	t.Helper()
	b.client.forget()
	ctx, cancel := context.WithCancel(b.context(t))
	defer cancel()
	stream, err := b.client.Logs(ctx, &executorv1.LogsRequest{Step: wire(t, b.do(sdk.Deploy)), Tail: 1, Follow: true})
	if err != nil {
		t.Fatalf("Logs: %v", err)
	}
	const line = "sdktest says three"
	if b.Say == nil {
		// Nothing more may come, so it is stopped after a moment in which it begins.
		timer := time.AfterFunc(500*time.Millisecond, cancel)
		defer timer.Stop()
	} else {
		deadline := time.AfterFunc(b.HealthyWithin, cancel)
		defer deadline.Stop()
		b.Say(t, line)
	}
	found := false
	for {
		r, err := stream.Recv()
		if err != nil {
			if code := status.Code(err); code != codes.Canceled {
				t.Fatalf("Logs ended by itself while it followed: %v", b.client.note("the error of Logs", err))
			}
			break
		}
		b.heard(t, r.GetLines())
		if holds(r.GetLines(), line) {
			found = true
			cancel()
		}
	}
	if b.Say != nil && !found {
		t.Errorf("Logs followed for %s and did not tell what was printed meanwhile", b.HealthyWithin)
	}
	if !b.client.ended(t, b.CancelWithin) {
		t.Errorf("Logs still goes on %s after the call was cancelled", b.CancelWithin)
	}
}
