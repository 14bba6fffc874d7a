package kubernetes

import (
	"context"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// found is an object of the part that is there.
type found struct {
	kind kindOf
	metav1.PartialObjectMetadata
	full *unstructured.Unstructured // of a kind that can be ready or not; nil of others
}

func (f *found) id() string { return kube.ID(f.object(), "") }

// object has the object's kind, name and namespace, or all of it where it was
// listed whole.
func (f *found) object() *unstructured.Unstructured {
	if f.full != nil {
		return f.full
	}
	u := f.kind.sample()
	u.SetName(f.Name)
	u.SetNamespace(f.Namespace)
	return u
}

// members lists what bears the mark of the part's set, of the kinds that its
// record names. Of kinds that can be ready the whole objects are fetched where
// whole is set, else metadata alone. What is not this part's in spite of its mark
// is left out.
func (s *session) members(ctx context.Context, r *record, whole bool) ([]*found, error) {
	var mu sync.Mutex
	var out []*found
	work := newCrew(ctx)
	for _, k := range r.Kinds {
		k, err := s.served(k)
		if err != nil {
			return nil, err
		}
		if k.Resource == "" {
			continue // the cluster does not have the kind any more, so there are none
		}
		places := append([]string{s.step.Namespace}, r.Places...)
		if !k.Namespaced {
			places = []string{""}
		}
		for _, namespace := range places {
			work.do(func(ctx context.Context) error {
				list, err := s.listKind(ctx, k, namespace, setID(r.name, s.step.Namespace), whole)
				mu.Lock()
				defer mu.Unlock()
				out = append(out, list...)
				return err
			})
		}
	}
	if err := work.wait(); err != nil {
		return nil, err
	}
	out = slices.DeleteFunc(out, func(f *found) bool {
		return !kube.LabelsOwner(f.Labels).SameEnvironment(r.owner)
	})
	slices.SortFunc(out, func(a, b *found) int { return strings.Compare(a.id(), b.id()) })
	return out, nil
}

// served fills in what a record that could only be read in part does not say of a
// kind, and finds the resource of one whose version is gone. Without a resource
// the cluster has no such kind.
func (s *session) served(k kindOf) (kindOf, error) {
	if k.Resource != "" {
		return k, nil
	}
	mapping, err := s.cluster.Mapper().RESTMapping(k.sample().GroupVersionKind().GroupKind())
	if err != nil {
		gone, err := s.cluster.KindGone(err)
		if gone {
			return kindOf{}, nil
		}
		return k, err
	}
	return kindOf{k.Group, mapping.GroupVersionKind.Version, k.Kind, mapping.Resource.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace}, nil
}

// readiness tells whether objects of a kind are listed whole, to tell how they
// are.
func (s *session) readiness(k kindOf) bool {
	u := k.sample()
	if slices.ContainsFunc(kindNames(u), func(name string) bool { return s.settings.rules.kinds[name] != nil }) {
		return true
	}
	return kube.Ruled(u) || !kube.Own(u) || kube.HasPods(u) || k.key() == "Ingress.networking.k8s.io"
}

func (s *session) listKind(ctx context.Context, k kindOf, namespace, set string, whole bool) ([]*found, error) {
	selector := labelPartOf + "=" + set
	var out []*found
	if whole && s.readiness(k) {
		list, err := s.client(k, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		switch {
		case apierrors.IsNotFound(err):
			return s.listAgain(ctx, k, namespace, set, whole)
		case err != nil:
			return nil, err
		}
		for i := range list.Items {
			u := &list.Items[i]
			f := &found{kind: k, full: u}
			f.ObjectMeta = metav1.ObjectMeta{
				Name: u.GetName(), Namespace: u.GetNamespace(), UID: u.GetUID(), Labels: u.GetLabels(), ResourceVersion: u.GetResourceVersion(),
				DeletionTimestamp: u.GetDeletionTimestamp(), ManagedFields: u.GetManagedFields(), Finalizers: u.GetFinalizers(), OwnerReferences: u.GetOwnerReferences(),
			}
			out = append(out, f)
		}
		return out, nil
	}
	list, err := s.cluster.ListMeta(ctx, k.gvr(), namespace, selector)
	if apierrors.IsNotFound(err) {
		return s.listAgain(ctx, k, namespace, set, whole)
	}
	for _, o := range list {
		out = append(out, &found{kind: k, PartialObjectMetadata: o})
	}
	return out, err
}

// listAgain lists a kind that the API server does not serve in the version that
// it had: in the one that it has now, if it has the kind at all.
func (s *session) listAgain(ctx context.Context, k kindOf, namespace, set string, whole bool) ([]*found, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return nil, err
	}
	now, err := s.served(kindOf{Group: k.Group, Kind: k.Kind})
	if err != nil || now.Resource == "" || now == k {
		return nil, err
	}
	return s.listKind(ctx, now, namespace, set, whole)
}

// intact tells whether what is there is what the record says Berth left: every
// object, each with all the fields that Berth owns, and nothing that waits to be
// pruned. It changes nothing and needs one list for each kind.
func (s *session) intact(ctx context.Context, r *record) ([]*found, bool, error) {
	all, err := s.members(ctx, r, true)
	if err != nil {
		return nil, false, err
	}
	left := 0
	for _, m := range r.Members {
		if !m.Kept {
			left++
		}
	}
	for _, f := range all {
		if f.Labels[labelJob] != "" {
			continue
		}
		m, known := r.Members[f.id()]
		switch {
		case !known || m.UID != string(f.UID) || f.DeletionTimestamp != nil:
			return all, false, nil
		case f.sleepMark():
			return all, false, nil // a deploy wakes it
		case m.Kept:
		case m.Own == "" || m.Own != ownFields(f):
			return all, false, nil
		default:
			left--
		}
	}
	return all, left == 0, nil
}

// prunable are those of all that the part wants no more, and those that stay
// though it does: claims, whose data goes with a cleanup alone.
func prunable(all []*found, wants map[string]bool) (gone, kept []*found) {
	for _, f := range all {
		switch {
		case f.Labels[labelJob] != "" || wants[f.id()]:
		case f.kind.key() == claimKind.key(), f.kind.key() == snapshotKind.key():
			kept = append(kept, f)
		default:
			gone = append(gone, f)
		}
	}
	return gone, kept
}

// prune deletes what an earlier deploy made and this one does not have.
func (s *session) prune(ctx context.Context, r *record, wants map[string]bool) error {
	all, err := s.members(ctx, r, false)
	if err != nil {
		return err
	}
	gone, kept := prunable(all, wants)
	for _, f := range kept {
		s.out.Log(kube.Title(f.object()) + " is not wanted any more, and stays until the environment is cleaned up: it has data")
		r.Members[f.id()] = member{UID: string(f.UID), Kept: true}
	}
	if !s.settings.prunes() {
		for _, f := range gone {
			s.out.Log(kube.Title(f.object()) + " is not wanted any more, and stays: `prune` is off")
			r.Members[f.id()] = member{UID: string(f.UID), Kept: true}
		}
		return nil
	}
	return s.takeAway(ctx, gone)
}

// takeAway deletes objects of the part and waits until they are gone, each with a
// receipt.
func (s *session) takeAway(ctx context.Context, all []*found) error {
	if len(all) == 0 {
		return nil
	}
	work := newCrew(ctx)
	var objects []*unstructured.Unstructured
	for _, f := range all {
		if f.kind.key() != "ServiceAccount." || f.Name != defaultServiceUser { // a namespace gets another of these at once
			objects = append(objects, f.object())
		}
		work.do(func(ctx context.Context) error {
			err := s.remove(ctx, f.kind, &f.PartialObjectMetadata)
			if err == nil {
				s.out.Log("deleting " + kube.Title(f.object()))
			}
			return err
		})
	}
	if err := work.wait(); err != nil {
		return err
	}
	return s.wait().Removed(ctx, objects, untilDeadline(ctx))
}

// resource is what a plan or a receipt calls an object.
func (f *found) resource(change sdk.Change) sdk.Resource {
	o := f.object()
	return sdk.Resource{Kind: f.kind.Kind, Name: f.Name, Namespace: f.Namespace, Change: change, Destructive: change == sdk.ChangeDelete && kube.TakesData(o)}
}
