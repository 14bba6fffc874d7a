package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// together is how long lines wait for those of other sources that were printed
	// before them, and mostTogether how many do.
	together     = 150 * time.Millisecond
	mostTogether = 512
)

// containerKey tells containers apart.
type containerKey struct {
	pod       types.UID
	container string
}

// tailing is a source that is being followed.
type tailing struct {
	states chan source // the newest state of the container; the last one is over
	over   bool
}

// follow tells what is printed from now on, of the pods that there are, and of
// those that come. past are the sources that have been read, each as far as it was.
func (r *logReader) follow(ctx context.Context, past []*source) error {
	read := map[containerKey]mark{}
	for _, s := range past {
		read[containerKey{s.uid, s.container}] = s.told
	}
	f := &logFollow{logReader: r, read: read, tails: map[containerKey]*tailing{}, lines: make(chan entry, mostTogether), seen: make(chan podSeen), failed: make(chan error, 1)}
	for _, ns := range r.Namespaces {
		go f.watch(ctx, ns)
	}
	return f.run(ctx)
}

// logFollow is what follow knows; its maps belong to the goroutine of run.
type logFollow struct {
	*logReader
	read   map[containerKey]mark
	tails  map[containerKey]*tailing
	live   int // of tails, those that are not over
	lines  chan entry
	seen   chan podSeen
	failed chan error // nothing can be told any more
	batch  []entry
	toldOf bool // that sources are left out
}

type podSeen struct {
	pod  *corev1.Pod
	gone bool
}

// watch hands on the part's pods as they come, change and go.
func (f *logFollow) watch(ctx context.Context, namespace string) {
	pods := f.Cluster.clientset.CoreV1().Pods(namespace)
	fail := func(err error) {
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			select {
			case f.failed <- err:
			default:
			}
		}
	}
	follow(ctx, typedLister[*corev1.PodList]{lists: pods.List, watches: pods.Watch}, follower{
		seen: func(o runtime.Object, gone bool) {
			pod, ok := o.(*corev1.Pod)
			if !ok || !f.asked(pod) {
				return
			}
			ours, err := f.chains.ours(ctx, pod)
			if err != nil {
				fail(err)
				return
			}
			if !ours {
				return
			}
			select {
			case f.seen <- podSeen{pod, gone}:
			case <-ctx.Done():
			}
		},
		trouble: fail,
	})
}

func (f *logFollow) run(ctx context.Context) error {
	wait := time.NewTimer(together)
	wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-f.failed:
			return err
		case p := <-f.seen:
			if err := f.update(ctx, p); err != nil {
				return err
			}
		case e := <-f.lines:
			if len(f.batch) == 0 {
				wait.Reset(together)
			}
			if f.batch = append(f.batch, e); len(f.batch) < mostTogether {
				continue
			}
			if err := f.flush(); err != nil {
				return err
			}
		case <-wait.C:
			if err := f.flush(); err != nil {
				return err
			}
		}
	}
}

// flush tells the lines that came together, in the order of their time.
func (f *logFollow) flush() error {
	slices.SortStableFunc(f.batch, func(a, b entry) int { return a.order.Compare(b.order) })
	for i, e := range f.batch {
		f.batch[i] = entry{}
		if err := f.tell(e); err != nil {
			return err
		}
	}
	f.batch = f.batch[:0]
	return nil
}

// update takes in the newest state of a pod.
func (f *logFollow) update(ctx context.Context, p podSeen) error {
	over := p.gone || p.pod.Status.Phase == corev1.PodSucceeded || p.pod.Status.Phase == corev1.PodFailed
	for _, s := range f.containers(p.pod) {
		key := containerKey{p.pod.UID, s.container}
		t := f.tails[key]
		if t == nil {
			_, known := f.read[key]
			if !s.started || p.gone || known && over && !s.running {
				continue
			}
			if f.live >= maxSources {
				if err := f.tooMany(); err != nil {
					return err
				}
				continue
			}
			t = &tailing{states: make(chan source, 1)}
			f.tails[key] = t
			f.live++
			s.told = f.read[key]
			delete(f.read, key)
			go f.tailing(ctx, *s, t.states)
		}
		if p.gone {
			delete(f.tails, key)
		}
		if t.over {
			continue
		}
		if t.over = over; over {
			f.live--
		}
		select { // the newest state alone is of interest
		case <-t.states:
		default:
		}
		t.states <- *s
		if over {
			close(t.states)
		}
	}
	return nil
}

// tooMany tells once that sources are left out.
func (f *logFollow) tooMany() error {
	if f.toldOf {
		return nil
	}
	f.toldOf = true
	return f.out(sdk.LogLine{Source: "berth", Text: fmt.Sprintf("more than %d containers print: those beyond are left out; name a pod or a container to see them", maxSources)})
}

// Pauses before a log is opened again whose container runs on: a proxy or the
// API server has ended the connection.
const (
	firstReopen = 200 * time.Millisecond
	lastReopen  = 5 * time.Second
)

// tailing reads what a container prints, through its restarts, until it is over.
func (f *logFollow) tailing(ctx context.Context, s source, states <-chan source) {
	send := func(e entry) error {
		select {
		case f.lines <- e:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	read, run, pause, told := s.told, s.restarts, firstReopen, false
	state, open := s, true
	next := func(wait <-chan time.Time) {
		select {
		case newer, ok := <-states:
			if open = ok; ok {
				state = newer
			}
		case <-wait:
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		if state.restarts != run { // what was printed in between
			run, pause = state.restarts, firstReopen
			read, _ = f.logReader.read(ctx, &s, corev1.PodLogOptions{Previous: true}, read, send)
		}
		before := read
		var err error
		read, err = f.logReader.read(ctx, &s, corev1.PodLogOptions{Follow: open && state.running}, read, send)
		switch {
		case apierrors.IsForbidden(err):
			select {
			case f.failed <- err:
			default:
			}
			return
		case err != nil && !silent(err) && ctx.Err() == nil && !told:
			told = true
			_ = send(entry{from: &s, order: read.at, LogLine: sdk.LogLine{Source: s.String(), Text: "(its log cannot be read just now: " + Redact(Clip(OneLine(err), 200)) + ")"}})
		case err == nil:
			told = false
		}
		if !open {
			return
		}
		if read != before {
			pause = firstReopen
		}
		if !state.running && err == nil || silent(err) {
			next(nil) // nothing comes before its state changes
			continue
		}
		timer := time.NewTimer(pause)
		next(timer.C)
		timer.Stop()
		pause = min(2*pause, lastReopen)
	}
}
