package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// lineStream keeps what is sent, and when.
type lineStream struct {
	grpc.ServerStream
	ctx context.Context // as gRPC's streams have one

	mu   sync.Mutex
	sent []*executorv1.LogsResponse
	err  error
	over bool // the call has returned
	late bool // something was sent after that
}

func (l *lineStream) Context() context.Context { return l.ctx }

func (l *lineStream) Send(r *executorv1.LogsResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = l.late || l.over
	l.sent = append(l.sent, r)
	return l.err
}

func (l *lineStream) told() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.sent {
		for _, line := range r.GetLines() {
			all = append(all, line.GetText())
		}
	}
	return all
}

// printer is an executor whose logs are a function.
type printer struct {
	Executor
	logs func(ctx context.Context, out func(LogLine) error) error
}

func (p printer) Describe() Description { return Description{Name: "printer"} }

func (p printer) Logs(ctx context.Context, _ Step, _ LogQuery, out func(LogLine) error) error {
	return p.logs(ctx, out)
}

func callLogs(t *testing.T, stream *lineStream, logs func(ctx context.Context, out func(LogLine) error) error) error {
	t.Helper()
	stream.ctx = t.Context()
	err := newServer(printer{logs: logs}, Logger()).Logs(&executorv1.LogsRequest{Step: &executorv1.Step{}}, stream)
	stream.mu.Lock()
	stream.over = true
	stream.mu.Unlock()
	return err
}

func TestLinesThatComeTogetherAreSentTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := &lineStream{}
		err := callLogs(t, stream, func(_ context.Context, out func(LogLine) error) error {
			for n := range 1000 {
				if err := out(LogLine{Text: fmt.Sprint(n)}); err != nil {
					return err
				}
			}
			time.Sleep(time.Second) // on the test's own clock
			if n := len(stream.told()); n != 1000 {
				t.Errorf("%d lines are told a second later", n)
			}
			return out(LogLine{Text: "last"})
		})
		told := stream.told()
		if err != nil || len(told) != 1001 || told[1000] != "last" {
			t.Fatalf("%d lines, %v", len(told), err)
		}
		for n, text := range told[:1000] {
			if text != fmt.Sprint(n) {
				t.Fatalf("line %d is %q", n, text)
			}
		}
		if n := len(stream.sent); n > 6 {
			t.Errorf("%d messages for a thousand lines at once and one more", n)
		}
	})
}

func TestNothingIsSentOnceTheCallIsOver(t *testing.T) {
	tests := map[string]func(out func(LogLine) error) error{
		"and all is well": func(out func(LogLine) error) error { return out(LogLine{Text: "one"}) },
		"by a failure":    func(out func(LogLine) error) error { _ = out(LogLine{Text: "one"}); return Downstream("no") },
		"by a panic":      func(out func(LogLine) error) error { _ = out(LogLine{Text: "one"}); panic("on purpose") },
	}
	for name, logs := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stream := &lineStream{}
				var kept func(LogLine) error
				_ = callLogs(t, stream, func(_ context.Context, out func(LogLine) error) error {
					kept = out
					return logs(out)
				})
				if told := stream.told(); len(told) != 1 {
					t.Errorf("what was said before the end is %q", told)
				}
				if err := kept(LogLine{Text: "too late"}); err == nil {
					t.Error("a line that comes too late is no error, so that who tells it goes on for ever")
				}
				time.Sleep(time.Second)
				if stream.late || len(stream.told()) != 1 {
					t.Errorf("after the end: %q", stream.told())
				}
			})
		})
	}
}

func TestALogSourceLearnsThatNobodyHears(t *testing.T) {
	stream, gone := &lineStream{err: errors.New("gone")}, errors.New("")
	_ = callLogs(t, stream, func(_ context.Context, out func(LogLine) error) error {
		for range 10 * maxBatch {
			if gone = out(LogLine{Text: "x"}); gone != nil {
				return gone
			}
		}
		return nil
	})
	if gone == nil || len(stream.sent) != 1 {
		t.Errorf("%v after %d messages", gone, len(stream.sent))
	}
}

func TestLinesAreCutAndHideSecrets(t *testing.T) {
	stream := &lineStream{}
	err := callLogs(t, stream, func(ctx context.Context, out func(LogLine) error) error {
		Hide(ctx, "canary-value")
		if err := out(LogLine{Source: "web-1/canary-value", Text: "key=canary-value"}); err != nil {
			return err
		}
		return out(LogLine{Source: strings.Repeat("s", 1<<20), Text: strings.Repeat("t", 1<<20) + "\xff"})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range stream.sent {
		for _, l := range r.GetLines() {
			if strings.Contains(l.GetText()+l.GetSource(), "canary") || len(l.GetText()) > maxLine || len(l.GetSource()) > maxWord {
				t.Errorf("%.80q of %d bytes from %.80q", l.GetText(), len(l.GetText()), l.GetSource())
			}
		}
	}
}
