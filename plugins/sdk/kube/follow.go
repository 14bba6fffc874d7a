package kube

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/tools/cache"
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

// follow calls seen with everything that src lists, and again with everything
// that changes, until ctx ends. A change is seen as soon as the API server
// tells it. After each list it calls listed, so that the caller knows what is
// not there; it calls trouble with what goes wrong, and tries on.
func follow(ctx context.Context, src lister, seen func(o runtime.Object, gone bool), listed func(n int), trouble func(error)) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		if err := followOnce(ctx, src, seen, listed); err != nil && ctx.Err() == nil {
			trouble(err)
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

func followOnce(ctx context.Context, src lister, seen func(runtime.Object, bool), listed func(int)) error {
	list, err := src.list(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	n := 0
	err = meta.EachListItem(list, func(o runtime.Object) error {
		n++
		seen(o, false)
		return nil
	})
	if err != nil {
		return err
	}
	listed(n)
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
				seen(e.Object, false)
			case watch.Deleted:
				seen(e.Object, true)
			case watch.Error:
				return nil // too old a version, mostly: list again
			}
		}
	}
}

// one follows a single object by its name.
type one struct{ lw *cache.ListWatch }

func followObject(info *resource.Info) one {
	byName := fields.OneTermEqualSelector("metadata.name", info.Name)
	return one{cache.NewListWatchFromClient(info.Client, info.Mapping.Resource.Resource, info.Namespace, byName)}
}

func (f one) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	return f.lw.ListWithContext(ctx, o)
}

func (f one) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return f.lw.WatchWithContext(ctx, o)
}

// typedLister follows the objects of one of client-go's typed clients.
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
