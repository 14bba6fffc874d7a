package kube

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// maxLogLine is the longest line that is told, in bytes. What is beyond is cut,
	// with a notice.
	maxLogLine = 16 << 10
	// lookAhead is how much more of a line is read before it is cut, so that a secret
	// that the cut would go through is known for one.
	lookAhead = sdk.MaxSecret
	// waitingLines is how many lines of a source wait for those of others.
	waitingLines = 8
	// maxTail is the most lines from the end that are asked for, of each source.
	maxTail = 10000
	// history is how far beyond its own beginning a call goes that does not follow: a
	// program that prints faster than it can be read has no last line. It leaves room
	// for nodes whose clocks are ahead.
	history = 5 * time.Minute
)

// entry is a line of a source.
type entry struct {
	sdk.LogLine
	order time.Time // its time, or that of the line before it where it has none
	from  *source
}

// merge tells what the sources have printed, in the order of its time. Each source
// is read in order, so that it is enough to look at the next line of each.
func (r *logReader) merge(ctx context.Context, all []*source) error {
	streams := make([]chan entry, len(all))
	failures := make(chan error, len(all))
	until := time.Now().Add(history)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i, s := range all {
		streams[i] = make(chan entry, waitingLines)
		go func() {
			defer close(streams[i])
			if err := r.past(ctx, s, until, streams[i]); err != nil {
				failures <- err
			}
		}()
	}
	next := &lineHeap{}
	take := func(i int) {
		if e, ok := <-streams[i]; ok {
			heap.Push(next, heapLine{e, i})
		}
	}
	for i := range streams {
		take(i)
	}
	for next.Len() > 0 {
		l, _ := heap.Pop(next).(heapLine)
		if err := r.tell(l.entry); err != nil {
			return err
		}
		take(l.of)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.unread(failures, len(all))
}

// unread makes of sources that could not be read an error when it is all of them
// and they are not tried again, and else a line.
func (r *logReader) unread(failures chan error, sources int) error {
	var first error
	n := 0
	for len(failures) > 0 {
		err := <-failures
		if n++; first == nil || apierrors.IsForbidden(err) {
			first = err
		}
	}
	switch {
	case first == nil:
		return nil
	case n == sources && !r.q.Follow, apierrors.IsForbidden(first):
		return first
	}
	return r.out(sdk.LogLine{Source: "berth", Text: Count(n, "log") + " could not be read: " + Redact(Clip(OneLine(first), 300))})
}

// tell passes on a line, and notes how far its source has been read.
func (r *logReader) tell(e entry) error {
	e.from.told = e.from.told.beyond(e.order)
	if !strings.Contains(e.Text, r.q.Contains) {
		return nil
	}
	return r.out(e.LogLine)
}

// past reads what a source has printed until now: what the container printed
// before it was last restarted, then what it has printed since.
func (r *logReader) past(ctx context.Context, s *source, until time.Time, to chan<- entry) error {
	send := func(e entry) error {
		if e.order.After(until) {
			return errEnough
		}
		select {
		case to <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if r.q.Tail > 0 {
		return r.tail(ctx, s, send)
	}
	var read mark
	var err error
	for _, previous := range []bool{true, false} {
		if previous && s.restarts == 0 {
			continue
		}
		// Between two runs of a container both are the same one.
		read, err = r.read(ctx, s, corev1.PodLogOptions{Previous: previous}, read, send)
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil && !silent(err) {
			return err
		}
	}
	return nil
}

// tail reads the last lines of a source that fit the query. When they are to hold
// a text, all has to be read for that.
func (r *logReader) tail(ctx context.Context, s *source, send func(entry) error) error {
	n := min(r.q.Tail, maxTail)
	var kept []entry
	begin := 0 // kept is a ring once it is full
	keep := func(e entry) error {
		switch {
		case !strings.Contains(e.Text, r.q.Contains):
		case len(kept) < n:
			kept = append(kept, e)
		default:
			kept[begin] = e
			begin = (begin + 1) % n
		}
		return nil
	}
	var options corev1.PodLogOptions
	if r.q.Contains == "" {
		lines := int64(n)
		options.TailLines = &lines
	}
	var got []entry
	for _, previous := range []bool{false, true} {
		if previous && (s.restarts == 0 || len(got) >= n) {
			break
		}
		kept, begin = nil, 0
		options.Previous = previous
		if _, err := r.read(ctx, s, options, mark{}, keep); err != nil && !silent(err) {
			return err
		}
		run := slices.Concat(kept[begin:], kept[:begin])
		// Between two runs of a container both are the same one.
		run = slices.DeleteFunc(run, func(e entry) bool { return len(got) > 0 && !e.order.Before(got[0].order) })
		got = slices.Concat(run, got)
	}
	for _, e := range got[max(0, len(got)-n):] {
		if err := send(e); err != nil {
			return err
		}
	}
	return nil
}

// errEnough ends the reading of a source that has been read far enough.
var errEnough = errors.New("enough")

// silent tells whether a log is rightly not there: the pod is gone, or its
// container has not begun, or has no log of a run before.
func silent(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) }

// read reads a source's log once, from where the query and what has been read
// already say, and passes each line on. It tells how far it came.
func (r *logReader) read(ctx context.Context, s *source, o corev1.PodLogOptions, from mark, each func(entry) error) (mark, error) {
	o.Container, o.Timestamps = s.container, true
	since := r.q.Since
	if from.at.After(since) {
		since = from.at
	}
	if !since.IsZero() {
		// The API counts whole seconds. What is too old is left out below.
		whole := metav1.NewTime(since.Truncate(time.Second))
		o.SinceTime = &whole
	}
	stream, err := r.Cluster.clientset.CoreV1().Pods(s.namespace).GetLogs(s.pod, &o).Stream(ctx)
	if err != nil {
		return from, err
	}
	defer func() { _ = stream.Close() }()
	lines := bufio.NewReaderSize(stream, 4<<10)
	read, skip := from, from.same
	order := from.at
	for {
		raw, more, err := readLine(lines)
		if err == nil || errors.Is(err, io.EOF) && len(raw) > 0 {
			e := r.entry(s, raw, more, order)
			order = e.order
			switch {
			case e.order.Before(r.q.Since), e.order.Before(from.at):
			case !from.at.IsZero() && e.order.Equal(from.at) && skip > 0:
				skip--
			default:
				if err := each(e); err != nil {
					return read, err
				}
				read = read.beyond(e.order)
			}
		}
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil { // what it had of the last line may be half of it, and is read again
			return read, err
		}
	}
}

// entry is a line as it is told: without its time, its secrets, and what is too
// much of it.
func (r *logReader) entry(s *source, raw []byte, more int, before time.Time) entry {
	e := entry{from: s, order: before, LogLine: sdk.LogLine{Source: s.String()}}
	stamp, text, ok := bytes.Cut(raw, []byte(" "))
	if at, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil {
		e.Time, e.order = at.UTC(), at.UTC()
	} else if ok || len(raw) > 0 {
		text = raw
	}
	line := strings.TrimSuffix(strings.ToValidUTF8(string(text), "�"), "\r")
	if r.Hide != nil {
		line = r.Hide(line)
	}
	if len(line) > maxLogLine {
		more += len(line) - maxLogLine
		line = strings.ToValidUTF8(line[:maxLogLine], "")
	}
	if more > 0 {
		line += " … (" + Count(more, "byte") + " more)"
	}
	e.Text = line
	return e
}

// readLine reads a line without its end, and no more of it than is looked at; more
// is how many bytes it has beyond. At the end of the log there is what is left.
func readLine(from *bufio.Reader) (line []byte, more int, err error) {
	for {
		part, err := from.ReadSlice('\n')
		ended := err == nil
		if ended {
			part = part[:len(part)-1]
		}
		room := min(maxLogLine+lookAhead-len(line), len(part))
		line = append(line, part[:room]...)
		more += len(part) - room
		switch {
		case ended:
			return line, more, nil
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return line, more, err
		}
	}
}

// lineHeap has the next line of each source, the earliest on top.
type lineHeap []heapLine

type heapLine struct {
	entry
	of int
}

func (h lineHeap) Len() int { return len(h) }
func (h lineHeap) Less(a, b int) bool {
	if !h[a].order.Equal(h[b].order) {
		return h[a].order.Before(h[b].order)
	}
	return h[a].of < h[b].of
}
func (h lineHeap) Swap(a, b int) { h[a], h[b] = h[b], h[a] }

// Push implements heap.Interface.
func (h *lineHeap) Push(x any) {
	if l, ok := x.(heapLine); ok {
		*h = append(*h, l)
	}
}

// Pop implements heap.Interface.
func (h *lineHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	*h = old[:len(old)-1]
	return l
}
