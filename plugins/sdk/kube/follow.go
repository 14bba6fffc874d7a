package kube

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Pauses between attempts at watching. The first is short since most breaks are
// the server ending a watch that has been open for long.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 3 * time.Second
)

// lister lists and watches; client-go's typed clients and resource helpers both
// make one.
type lister interface {
	list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error)
	watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// follower is what a caller of follow wants to hear. All of it is called from one
// goroutine; a nil function is not called.
type follower struct {
	begin   func()                            // a list is about to be read
	seen    func(o runtime.Object, gone bool) // what is listed, and what changes
	listed  func()                            // the list is read: what was not seen since begin is not there
	trouble func(error)                       // what went wrong; it is tried again
}

// follow tells to of everything that src lists, and of everything that changes,
// until ctx ends. A change is seen as soon as the API server tells it.
func follow(ctx context.Context, src lister, to follower) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		if err := followOnce(ctx, src, to); err != nil && ctx.Err() == nil && to.trouble != nil {
			to.trouble(err)
		}
		if time.Since(began) > time.Minute {
			pause = firstPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		pause = min(2*pause, lastPause)
	}
}

func followOnce(ctx context.Context, src lister, to follower) error {
	list, err := src.list(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if to.begin != nil {
		to.begin()
	}
	err = meta.EachListItem(list, func(o runtime.Object) error {
		to.seen(o, false)
		return nil
	})
	if err != nil {
		return err
	}
	if to.listed != nil {
		to.listed()
	}
	version, err := meta.NewAccessor().ResourceVersion(list)
	if err != nil {
		return err
	}
	w, err := src.watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		return err
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			switch e.Type {
			case watch.Added, watch.Modified:
				to.seen(e.Object, false)
			case watch.Deleted:
				to.seen(e.Object, true)
			case watch.Error:
				return nil // too old a version, mostly: list again
			}
		}
	}
}

// typedLister follows the objects of one of client-go's clients, those of one
// kind or of any.
type typedLister[L runtime.Object] struct {
	lists   func(context.Context, metav1.ListOptions) (L, error)
	watches func(context.Context, metav1.ListOptions) (watch.Interface, error)
	fields  string
}

func (t typedLister[L]) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.FieldSelector = t.fields
	return t.lists(ctx, o)
}

func (t typedLister[L]) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = t.fields
	return t.watches(ctx, o)
}
