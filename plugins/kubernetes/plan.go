package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// planDeploy says what deploy would change: the API server is asked to apply
// every object without doing it, and what it says is compared with what is there.
func (x *Executor) planDeploy(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := readSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	w, err := x.gather(s, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{Summary: "apply " + kube.Count(len(w.objects), "object"), Inputs: w.inputs}
	if step.Brief {
		return plan, nil
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	ses, err := x.open(limited, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	if err := x.withSecrets(limited, s, step, w); err != nil {
		return sdk.Plan{}, timedOut(limited, ctx, err)
	}
	return plan, timedOut(limited, ctx, ses.plan(limited, w, &plan))
}

// plan says in plan what bring would do.
func (s *session) plan(ctx context.Context, w *wanted, plan *sdk.Plan) error {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return err
	}
	there, err := s.lookAtNamespace(ctx)
	if err != nil {
		return err
	}
	var r *record
	if there {
		if r, err = s.load(ctx); err != nil {
			return err
		}
	}
	all, err := s.place(w.objects)
	if err != nil {
		return err
	}
	for _, j := range w.jobs {
		j.object.SetNamespace(s.step.Namespace)
	}
	plan.Cost = kube.Cost(nil, w.objects)
	if r != nil && r.Digest == w.digest {
		if _, ok, err := s.intact(ctx, r); err != nil {
			return err
		} else if ok {
			plan.Resources = planJobs(w, r)
			plan.Summary = "nothing changes: " + kube.Count(len(w.objects), "object") + jobsIn(plan.Resources)
			return nil
		}
	}
	was, is, err := s.compared(ctx, all, there)
	if err != nil {
		return err
	}
	var gone []*found
	if r != nil {
		if gone, err = s.wouldPrune(ctx, r, all); err != nil {
			return err
		}
	}
	return s.tellPlan(plan, w, r, was, is, gone, there)
}

// lookAtNamespace tells whether the namespace is there to apply into. One that may
// not be looked at is taken to be.
func (s *session) lookAtNamespace(ctx context.Context) (bool, error) {
	ns, err := s.cluster.Clientset().CoreV1().Namespaces().Get(ctx, s.step.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case apierrors.IsForbidden(err):
		return true, nil
	case err != nil:
		return false, err
	case ns.DeletionTimestamp != nil:
		return false, nil // by the time of the deploy it is gone, or waited for
	}
	return true, kube.RefuseNamespace(ns, s.step)
}

// compared is what is there of all objects, and what applying them would make of
// it. Where the API server cannot be asked yet, since the namespace or the kind is
// still to be made, it is what the manifests say.
func (s *session) compared(ctx context.Context, all []*placed, there bool) (was, is []*unstructured.Unstructured, err error) {
	if there {
		if err := s.findLive(ctx, all); err != nil {
			return nil, nil, err
		}
	}
	olds, news := make([]*unstructured.Unstructured, len(all)), make([]*unstructured.Unstructured, len(all))
	conflicts, errs := make([]string, len(all)), make([]error, len(all))
	work := newCrew(ctx)
	for i, p := range all {
		news[i] = p.Unstructured
		if !there && p.GetNamespace() == s.step.Namespace || p.fresh && p.live == nil {
			continue
		}
		work.do(func(ctx context.Context) error {
			var is *unstructured.Unstructured
			if olds[i], is, conflicts[i], errs[i] = s.compareOne(ctx, p); is != nil {
				news[i] = is
			}
			return nil // so that what is told is not whatever was answered first
		})
	}
	if err := errors.Join(work.wait(), ctx.Err()); err != nil {
		return nil, nil, err
	}
	for _, err := range errs {
		if err != nil {
			return nil, nil, err
		}
	}
	if conflicts = slices.DeleteFunc(conflicts, func(text string) bool { return text == "" }); len(conflicts) > 0 {
		return nil, nil, conflictError(conflicts)
	}
	for i := range all {
		if olds[i] != nil {
			was = append(was, olds[i])
		}
		is = append(is, news[i])
	}
	return was, is, nil
}

// compareOne is what there is of an object, and what applying it would make of that;
// nil for either that there is not. A conflict is told apart from an error.
func (s *session) compareOne(ctx context.Context, p *placed) (was, is *unstructured.Unstructured, conflict string, err error) {
	if p.live != nil {
		got, err := s.client(p.kind, p.GetNamespace()).Get(ctx, p.GetName(), metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, nil, "", err
		}
		if err == nil {
			was = cleaned(got)
		}
	}
	made, err := s.send(ctx, p, true)
	conflict = conflictText(p.Unstructured, err)
	switch {
	case err == nil && was != nil:
		is = cleaned(made)
		dropMadeUp(p.Unstructured, was, is)
	case conflict != "":
	case p.live != nil && apierrors.IsInvalid(err) && immutable.MatchString(err.Error()) && s.settings.recreates(p.Unstructured):
	case err != nil:
		return was, nil, "", explainApply(p, err)
	}
	return was, is, conflict, nil
}

// dropMadeUp takes out of what would be what the API server only picks when it does
// what it is asked for: the addresses of a Service that has none and says none.
// Those that it answers with when it only tries are not the ones that it will have.
// Source: k8s.io/kubernetes/pkg/registry/core/service/ipallocator, DryRun.
func dropMadeUp(want, was, is *unstructured.Unstructured) {
	if kube.GroupKind(is) != "Service." {
		return
	}
	for _, field := range []string{"clusterIP", "clusterIPs"} {
		_, had, _ := unstructured.NestedFieldNoCopy(was.Object, "spec", field)
		_, wanted, _ := unstructured.NestedFieldNoCopy(want.Object, "spec", field)
		if !had && !wanted {
			unstructured.RemoveNestedField(is.Object, "spec", field)
		}
	}
}

// cleaned is an object without what the API server keeps about it.
func cleaned(u *unstructured.Unstructured) *unstructured.Unstructured {
	out := u.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(out.Object, "status")
	return out
}

// wouldPrune are the objects that a deploy would delete.
func (s *session) wouldPrune(ctx context.Context, r *record, all []*placed) ([]*found, error) {
	if !s.settings.prunes() {
		return nil, nil
	}
	wants := map[string]bool{}
	for _, p := range all {
		wants[kube.ID(p.Unstructured, "")] = true
	}
	have, err := s.members(ctx, r, true)
	if err != nil {
		return nil, err
	}
	gone, _ := prunable(have, wants)
	return gone, nil
}

func (s *session) tellPlan(plan *sdk.Plan, w *wanted, r *record, was, is []*unstructured.Unstructured, gone []*found, there bool) error {
	before := slices.Clone(was)
	for _, f := range gone {
		before = append(before, cleaned(s.content(r, f)))
	}
	old := kube.NewMasker(s.x.masking, nil, before).Like(s.mask)
	now := kube.NewMasker(s.x.masking, withoutNames(s.step.With), is).Like(s.mask)
	c, err := kube.Compare(before, is, old, now, nil)
	if err != nil {
		return err
	}
	jobs := planJobs(w, r)
	plan.Diff = c.Diff
	plan.Resources = append(c.Resources(s.step.Namespace), jobs...)
	if !there {
		plan.Resources = append([]sdk.Resource{{Kind: kube.KindNamespace, Name: s.step.Namespace, Change: sdk.ChangeCreate}}, plan.Resources...)
	}
	plan.Resources = kube.Once(plan.Resources)
	plan.Destructive = kube.AnyDestructive(plan.Resources)
	plan.Cost = kube.Cost(before, is)
	plan.Summary = summary(len(c.Added), len(c.Changed), len(c.Removed), len(is)) + jobsIn(jobs)
	return nil
}

// content is an object with all that is in it, where its record knows that or it
// was listed whole.
func (s *session) content(r *record, f *found) *unstructured.Unstructured {
	if f.full == nil {
		for _, o := range r.Objects {
			if u := kube.ObjectOf(o); kube.ID(u, "") == f.id() {
				return u
			}
		}
	}
	return f.object()
}

func summary(added, changed, removed, all int) string {
	if added+changed+removed == 0 {
		return "nothing changes: " + kube.Count(all, "object")
	}
	return fmt.Sprintf("%d to create, %d to change, %d to delete", added, changed, removed)
}

func jobsIn(jobs []sdk.Resource) string {
	if len(jobs) == 0 {
		return ""
	}
	return "; " + kube.Count(len(jobs), "job") + " to run"
}
