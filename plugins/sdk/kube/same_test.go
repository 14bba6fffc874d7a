package kube

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// same holds that ask has one answer, however often it is asked: none that hangs on
// the order in which Go happens to walk a map.
func same(t *testing.T, what string, ask func() string) {
	t.Helper()
	said := map[string]bool{}
	for range 30 {
		said[ask()] = true
	}
	if len(said) != 1 {
		t.Errorf("%s: %d different answers: %v", what, len(said), said)
	}
}

func TestTheSameIsSeenEachTime(t *testing.T) {
	t.Parallel()
	w := newPodWatch()
	made := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for i := range 9 { // of as many templates, all within one second
		w.seen(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("web-%d", i), Namespace: "n", UID: types.UID(fmt.Sprint(i)), CreationTimestamp: made, Labels: map[string]string{"pod-template-hash": fmt.Sprint(i)},
		}}, false, made.Time)
	}
	same(t, "the newest of pods that are equally old", func() string {
		var names []string
		for _, p := range w.of("n", labels.Everything()) {
			names = append(names, p.Name)
		}
		return fmt.Sprint(names)
	})
	older := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-z", Namespace: "n", UID: "z", CreationTimestamp: metav1.NewTime(made.Add(-time.Second)), Labels: map[string]string{"pod-template-hash": "z"}}}
	w.seen(older, false, made.Time)
	if got := w.of("n", labels.Everything()); len(got) != 9 || slices.Contains(got, older) {
		t.Errorf("the newest pods are %v", got)
	}

	v := &vigil{troubles: map[*target]error{}}
	for i := range 9 {
		at := &target{title: fmt.Sprint(i)}
		v.targets = append(v.targets, at)
		v.troubles[at] = apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, at.title, nil)
	}
	over, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	same(t, "which target may not be looked at", func() string { return v.blind().Error() })
	same(t, "which target could not be looked at in time", func() string { return v.ended(over).Error() })
}

func TestKindsAreLookedThroughInOneOrder(t *testing.T) {
	t.Parallel()
	list := metav1.APIResourceList{GroupVersion: "v1"}
	for i := range 9 {
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: fmt.Sprintf("kind%d", i), Namespaced: true, Verbs: []string{"list", "delete"}})
	}
	there := listable([]*metav1.APIResourceList{&list})
	slices.Reverse(list.APIResources) // discovery has those of one group in any order
	if back := listable([]*metav1.APIResourceList{&list}); len(there) != 9 || !slices.Equal(there, back) {
		t.Errorf("%v, then %v", there, back)
	}
}
