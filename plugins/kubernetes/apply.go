package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// servedLimit is how long a kind may take to be served after it was established.
const servedLimit = 15 * time.Second

// applyAll applies objects, phase by phase, and notes in r what came of it. It
// calls between after each phase.
func (s *session) applyAll(ctx context.Context, all []*placed, r *record, between func(phase) error) error {
	var mu sync.Mutex
	for at := range phases {
		work := newCrew(ctx)
		var conflicts []string
		var kinds []*unstructured.Unstructured
		n := 0
		for _, p := range all {
			if p.phase != at {
				continue
			}
			n++
			if p.kind.Kind == "CustomResourceDefinition" {
				kinds = append(kinds, p.Unstructured)
			}
			work.do(func(ctx context.Context) error {
				made, err := s.applyOne(ctx, p)
				mu.Lock()
				defer mu.Unlock()
				if text := conflictText(p.Unstructured, err); text != "" {
					conflicts = append(conflicts, text)
					return nil // so that all of them are told at once
				}
				if err != nil {
					return explainApply(p, err)
				}
				r.Members[kube.ID(made, "")] = member{UID: string(made.GetUID()), Own: ownFields(made)}
				return nil
			})
		}
		if err := work.wait(); err != nil {
			return err
		}
		if len(conflicts) > 0 {
			return conflictError(conflicts)
		}
		if len(kinds) > 0 {
			if err := s.wait().Ready(ctx, kinds, untilDeadline(ctx)); err != nil {
				return err
			}
			s.cluster.Mapper().Reset()
		}
		if err := between(at); err != nil {
			return err
		}
	}
	return nil
}

// applyOne applies one object. One that is on its way out is waited for, and one
// that has a field which cannot change is made anew where the settings say so.
func (s *session) applyOne(ctx context.Context, p *placed) (*unstructured.Unstructured, error) {
	if p.live != nil && p.live.DeletionTimestamp != nil {
		if err := s.awaitGone(ctx, p.Unstructured); err != nil {
			return nil, err
		}
		p.live = nil
	}
	made, err := s.send(ctx, p, false)
	if p.live != nil && apierrors.IsInvalid(err) && immutable.MatchString(err.Error()) && s.settings.recreates(p.Unstructured) {
		s.out.Log("making " + kube.Title(p.Unstructured) + " anew: a field of it that cannot change is another")
		if err := s.remove(ctx, p.kind, p.live); err != nil {
			return nil, err
		}
		if err := s.awaitGone(ctx, p.Unstructured); err != nil {
			return nil, err
		}
		p.live = nil
		made, err = s.send(ctx, p, false)
	}
	if err == nil && (p.live == nil || p.live.ResourceVersion != made.GetResourceVersion()) {
		verb := "updated "
		if p.live == nil {
			verb = "created "
		}
		s.out.Log(verb + kube.Title(made))
	}
	return made, err
}

// immutable matches what API servers say of fields that cannot change.
var immutable = regexp.MustCompile(`(?i)field is immutable|are forbidden|updates to .* for fields other than|may not change`)

// recreates tells whether objects like u may be deleted to be made anew. A Job
// may unless the settings say otherwise: it has done its work.
func (s *settings) recreates(u *unstructured.Unstructured) bool {
	if s.raw.Recreate == nil {
		return kube.GroupKind(u) == "Job.batch"
	}
	return slices.ContainsFunc(kindNames(u), func(k string) bool { return contains(s.raw.Recreate, k) })
}

// send is the request that applies an object, or, dry, only says what would come
// of it. The uid keeps it from changing another object that has got its name
// since it was looked at.
func (s *session) send(ctx context.Context, p *placed, dry bool) (*unstructured.Unstructured, error) {
	u := p.DeepCopy()
	if p.live != nil {
		u.SetUID(p.live.UID)
		if err := s.keepScale(ctx, p, u); err != nil {
			return nil, err
		}
	}
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: s.settings.raw.Force}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	to := s.client(p.kind, p.GetNamespace())
	began := time.Now()
	for {
		made, err := to.Apply(ctx, u.GetName(), u, options)
		switch {
		case err == nil:
			return made, nil
		case !options.Force && onlyOwn(err):
			options.Force = true // what Berth itself set in another way, such as to put it to sleep
			continue
		case p.fresh && !dry && apierrors.IsNotFound(err) && time.Since(began) < servedLimit:
			select { // the kind is established, and one of the API servers does not serve it yet
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		return nil, err
	}
}

// keepScale leaves the number of pods to whatever scales the workload: applying
// another one would fight it.
func (s *session) keepScale(ctx context.Context, p *placed, u *unstructured.Unstructured) error {
	if !s.settings.scaled[p.kind.Kind+"/"+p.GetName()] {
		return nil
	}
	if _, there, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", "replicas"); !there {
		return nil
	}
	live, err := s.client(p.kind, p.GetNamespace()).Get(ctx, p.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if n, there, _ := unstructured.NestedInt64(live.Object, "spec", "replicas"); there {
		return unstructured.SetNestedField(u.Object, n, "spec", "replicas")
	}
	return nil
}

// scaledBy are the workloads, as Kind/name, that an autoscaler among objects
// scales.
func scaledBy(objects []*unstructured.Unstructured) map[string]bool {
	out := map[string]bool{}
	for _, u := range objects {
		switch kube.GroupKind(u) {
		case "HorizontalPodAutoscaler.autoscaling", "ScaledObject.keda.sh":
			kind, _, _ := unstructured.NestedString(u.Object, "spec", "scaleTargetRef", "kind")
			name, _, _ := unstructured.NestedString(u.Object, "spec", "scaleTargetRef", "name")
			out[orWord(kind, "Deployment")+"/"+name] = true
		}
	}
	return out
}

// otherManager is the manager in the message of a conflict.
// Source: sigs.k8s.io/structured-merge-diff/v6/merge, conflict.go, and
// k8s.io/apimachinery/pkg/util/managedfields/internal, conflict.go.
var otherManager = regexp.MustCompile(`conflict with "([^"]*)"`)

// causes are the fields that others manage, with who does.
func causes(err error) []metav1.StatusCause {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsConflict(err) || status.ErrStatus.Details == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(status.ErrStatus.Details.Causes), func(c metav1.StatusCause) bool {
		return c.Type != metav1.CauseTypeFieldManagerConflict
	})
}

// onlyOwn tells whether err is a conflict with nobody but Berth itself.
func onlyOwn(err error) bool {
	all := causes(err)
	return len(all) > 0 && !slices.ContainsFunc(all, func(c metav1.StatusCause) bool {
		m := otherManager.FindStringSubmatch(c.Message)
		return m == nil || m[1] != fieldManager && !strings.HasPrefix(m[1], fieldManager+"-")
	})
}

// conflictText names the fields that others manage, "" when err is another.
func conflictText(u *unstructured.Unstructured, err error) string {
	byManager := map[string][]string{}
	var order []string
	for _, c := range causes(err) {
		who := "somebody"
		if m := otherManager.FindStringSubmatch(c.Message); m != nil {
			who = fmt.Sprintf("%q", kube.Clip(m[1], 80))
		}
		if byManager[who] == nil {
			order = append(order, who)
		}
		byManager[who] = append(byManager[who], kube.Clip(c.Field, 120))
	}
	var parts []string
	for _, who := range order {
		fields := byManager[who]
		if n := len(fields); n > 5 {
			fields = append(fields[:5], fmt.Sprintf("%d more", n-5))
		}
		parts = append(parts, strings.Join(fields, ", ")+" by "+who)
	}
	if len(parts) == 0 {
		return ""
	}
	return kube.Title(u) + ": " + strings.Join(parts, "; ")
}

func conflictError(conflicts []string) error {
	slices.Sort(conflicts)
	if n := len(conflicts); n > 5 {
		conflicts = append(conflicts[:5], "and "+kube.Count(n-5, "other object"))
	}
	return sdk.Invalid("Fields that the part sets are managed by others: %s. Take them out of the manifests, or set `force: true` to take them over.", strings.Join(conflicts, "; "))
}

// typedPatch is how API servers begin what they say of fields that the kind of an
// object does not have, or that are of another type. They answer with an internal
// error, though it comes again however often it is tried.
// Source: k8s.io/apimachinery/pkg/util/managedfields/internal, structuredmerge.go, Apply.
var typedPatch = regexp.MustCompile(`failed to create typed patch object \([^)]*\): (errors:)?`)

// mistyped says which fields those are, "" when err is another.
func mistyped(err error) string {
	if err == nil || !apierrors.IsInternalError(err) {
		return ""
	}
	text := kube.OneLine(err)
	if at := typedPatch.FindStringIndex(text); at != nil {
		return strings.TrimSpace(text[at[1]:])
	}
	return ""
}

// explainApply says which object it was that the cluster refused.
func explainApply(p *placed, err error) error {
	title := kube.Clip(kube.Title(p.Unstructured), 160)
	switch {
	case apierrors.IsInvalid(err) && p.live != nil && immutable.MatchString(err.Error()):
		return &sdk.Error{Fault: sdk.FaultInvalid, Err: err, Msg: fmt.Sprintf("%s has a field that cannot change once it is made: %s. Give it another name, or add its kind to `recreate` to have it deleted and made anew.",
			title, kube.Clip(kube.OneLine(err), 400))}
	case mistyped(err) != "":
		return &sdk.Error{Fault: sdk.FaultInvalid, Err: err, Msg: "The cluster does not take " + title + ": " + kube.Clip(mistyped(err), 500) + "."}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return &sdk.Error{Fault: sdk.FaultInvalid, Err: err, Msg: "The cluster does not take " + title + ": " + kube.Clip(kube.OneLine(err), 500) + "."}
	}
	return fmt.Errorf("%s: %w", title, err)
}

// remove deletes an object that is this part's. The uid keeps it from deleting
// another one that has got its name since.
func (s *session) remove(ctx context.Context, k kindOf, live *metav1.PartialObjectMetadata) error {
	policy := metav1.DeletePropagationBackground
	err := s.client(k, live.Namespace).Delete(ctx, live.Name, metav1.DeleteOptions{
		PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &live.UID},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// awaitGone waits until objects are gone that are to be there again: they get no
// receipts.
func (s *session) awaitGone(ctx context.Context, objects ...*unstructured.Unstructured) error {
	wait := s.wait()
	wait.Gone = nil
	return wait.Removed(ctx, objects, untilDeadline(ctx))
}
