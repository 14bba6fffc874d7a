package sdk

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

const (
	// maxBatch is how many lines one message carries, and batchTime how long the
	// first of them waits for others: a million lines are not a million messages.
	maxBatch  = 256
	batchTime = 20 * time.Millisecond
)

// Logs implements the protocol's Logs for a LogSource.
func (s *server) Logs(req *executorv1.LogsRequest, stream grpc.ServerStreamingServer[executorv1.LogsResponse]) error {
	return s.serve(stream.Context(), "Logs", func(ctx context.Context, hide *hider) error {
		source, ok := s.x.(LogSource)
		if !ok {
			return absent("this executor has no logs")
		}
		out := &batch{stream: stream}
		defer func() { _ = out.end() }() // after a panic too: what waits is told, and then no more
		err := source.Logs(ctx, stepFrom(req.GetStep(), false), queryFrom(req), func(l LogLine) error {
			l.Source, l.Text = hide.text(l.Source), hide.text(l.Text)
			return out.add(lineTo(l))
		})
		if failed := out.end(); err == nil {
			err = failed
		}
		return err
	})
}

// batch sends lines, those that come close together in one message.
type batch struct {
	mu     sync.Mutex
	stream grpc.ServerStreamingServer[executorv1.LogsResponse] // nil when the call is over
	lines  []*executorv1.LogLine
	timer  *time.Timer // runs while there are lines
	failed error
}

// errOver is what a line gets that comes after the end of its call.
var errOver = errors.New("the call for logs is over")

// add takes a line. It returns an error once one could not be sent.
func (b *batch) add(l *executorv1.LogLine) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stream == nil {
		return errOver
	}
	b.lines = append(b.lines, l)
	switch {
	case len(b.lines) >= maxBatch:
		b.flush()
	case len(b.lines) == 1:
		b.timer = time.AfterFunc(batchTime, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.flush()
		})
	}
	return b.failed
}

// flush sends what there is. The lock is held.
func (b *batch) flush() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if len(b.lines) > 0 && b.stream != nil && b.failed == nil {
		b.failed = b.stream.Send(&executorv1.LogsResponse{Lines: b.lines})
	}
	b.lines = nil
}

// end sends the rest; nothing is sent after it.
func (b *batch) end() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flush()
	b.stream = nil
	return b.failed
}
