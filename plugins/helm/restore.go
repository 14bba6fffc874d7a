package helm

import (
	"context"
	"fmt"
	"maps"

	"helm.sh/helm/v3/pkg/action"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// inputArchive is the input that tells what a restore brings back.
const inputArchive = "archive"

// restore brings an archived release back: exactly as it was, or as the step
// says, over the data that was kept. It looks first whether that data is there,
// and does nothing when some is not.
func (x *Executor) restore(ctx context.Context, step sdk.Step, out sdk.Events) error {
	if !step.AsWas {
		return x.deploy(ctx, step, out)
	}
	s, err := readSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ses, err := x.open(limited, step, s, out)
	if err != nil {
		return err
	}
	how, err := ses.restorable(limited, step)
	if err != nil {
		return timedOut(limited, ctx, err)
	}
	if how.instead != "" {
		ses.kube.out.Log(how.instead)
		return x.deploy(ctx, step, out)
	}
	return timedOut(limited, ctx, ses.restoreAsWas(limited, step, how))
}

// comeback is how an archived release comes back as it was.
type comeback struct {
	past    []*release.Release
	record  *archived
	target  *release.Release // the revision that comes back
	done    bool             // this very step has brought it back already
	found   string           // the data
	instead string           // why the release is deployed from its settings instead, "" when it is not
}

// restorable finds out what was archived and whether its data is there. It
// changes nothing.
func (s *session) restorable(ctx context.Context, step sdk.Step) (*comeback, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return nil, err
	}
	past, err := s.history(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.refuseOthers(ctx, past, step); err != nil {
		return nil, err
	}
	how := &comeback{past: past}
	if how.record, err = s.remembered(ctx); err != nil {
		return nil, err
	}
	if rel := last(past); rel != nil && rel.Info.Status == release.StatusDeployed && rel.Labels[labelStep] == kube.StepLabel(step.ID) {
		how.target, how.done, how.found = rel, true, "it is back already"
		return how, nil
	}
	if err := s.refuseCleaned(past); err != nil {
		return nil, err
	}
	if !how.record.current(past) {
		if rel := deployed(past); rel != nil && !isArchive(rel) {
			how.instead = fmt.Sprintf("release %s was not archived, and is deployed at revision %d: it is deployed again as its settings say", rel.Name, rel.Version)
			return how, nil
		}
		return nil, sdk.Invalid("Nothing tells any more what was archived of release %q: the Secret %q is not in namespace %q, or is about another revision. Nothing was done. Restore with `--ref` to deploy it anew over what data there is, or clean it up.",
			s.settings.Release, s.archiveName(), s.namespace)
	}
	if how.found, err = s.checkData(ctx, how.record); err != nil {
		return nil, err
	}
	if how.target = lastReal(past); how.target == nil {
		how.instead = "release " + s.settings.Release + " had never become ready when it was archived: it is deployed as its settings say; " + how.found
	}
	return how, nil
}

// refuseCleaned refuses to bring back what a cleanup has begun to take away.
func (s *session) refuseCleaned(past []*release.Release) error {
	if rel := last(past); rel != nil && (rel.Info.Status == release.StatusUninstalling || rel.Info.Status == release.StatusUninstalled) {
		return sdk.Invalid("The release %q was being cleaned up, and some of its data may be gone, so it cannot be restored. Clean it up to the end, then deploy it again.", s.settings.Release)
	}
	return nil
}

func (s *session) restoreAsWas(ctx context.Context, step sdk.Step, how *comeback) error {
	out := s.kube.out
	if how.done {
		out.Log(fmt.Sprintf("release %s is back already, at revision %d, brought back by this very step", how.target.Name, how.target.Version))
		if err := s.forget(ctx); err != nil {
			return err
		}
		return s.tellOutputs(ctx, how.target)
	}
	if agreed, now := step.Agreed[inputArchive], how.record.input(); agreed != "" && agreed != now {
		return sdk.Invalid("What is archived changed after the plan was agreed on: it was %s, and is %s now. Ask for the restore again.", briefly(agreed), briefly(now))
	}
	out.Log("restoring release " + s.settings.Release + " as it was at " + how.record.revision() + "; " + how.found)
	s.kube.asWas = how.record.fields()
	rel, err := s.bringBack(ctx, step, how.past, how.target, false)
	if err != nil {
		return err
	}
	if err := s.forget(ctx); err != nil {
		return err
	}
	return s.tellOutputs(ctx, rel)
}

// input tells what is remembered, in a plan.
func (a *archived) input() string { return fmt.Sprintf("revision %d %s", a.Revision, a.Manifest) }

// bringBack makes a new revision that is what target was: its chart, values and
// manifest, as Helm's history has them. Hooks are those of a rollback.
func (s *session) bringBack(ctx context.Context, step sdk.Step, past []*release.Release, target *release.Release, hooks bool) (*release.Release, error) {
	objects := manifestOf(target)
	for _, rel := range past {
		s.kube.mask.LearnValues(rel.Config)
		s.kube.mask.LearnObjects(manifestOf(rel))
	}
	past, err := s.recover(ctx, past)
	if err != nil {
		return nil, err
	}
	if err := s.makeWay(ctx, objects); err != nil {
		return nil, err
	}
	s.kube.unsettled = s.unsettled(past)
	labels := maps.Clone(target.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, kube.StepOwner(step).Labels())
	labels[labelStep] = kube.StepLabel(step.ID)
	s.records.labels = labels
	a := action.NewRollback(s.helm(ctx))
	a.Version, a.MaxHistory, a.DisableHooks = target.Version, maxHistory, !hooks
	a.Wait, a.WaitForJobs, a.Timeout = s.settings.Wait, true, s.settings.Timeout
	err = a.Run(s.settings.Release)
	s.records.labels = nil
	rel, lastErr := s.storage.Last(s.settings.Release)
	if err != nil {
		if lastErr == nil && rel.Info.Status == release.StatusPendingRollback {
			// Helm leaves the record so when a hook fails.
			rel.SetStatus(release.StatusFailed, "Rollback failed")
			_ = s.storage.Update(rel) // what failed first is told; the next step finds out again
		}
		return nil, s.kube.failed(err)
	}
	if lastErr != nil {
		return nil, lastErr
	}
	return rel, s.sweep(past, rel)
}

// makeWay refuses objects that belong to something else by now, and waits until
// those are gone that an archive is still taking away.
func (s *session) makeWay(ctx context.Context, objects []*unstructured.Unstructured) error {
	list, err := s.kube.resourcesOf(objects)
	if err != nil {
		return err
	}
	var leaving helmkube.ResourceList
	for _, r := range list {
		if err := r.Get(); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return err
		}
		u, ok := r.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		a := u.GetAnnotations()
		switch {
		case u.GetDeletionTimestamp() != nil:
			leaving = append(leaving, r)
		case a[annotationRelease] != s.settings.Release || a[annotationNamespace] != s.namespace:
			return fmt.Errorf("%s %q in namespace %q exists and cannot be imported into the current release", u.GetKind(), u.GetName(), u.GetNamespace())
		}
	}
	if len(leaving) == 0 {
		return nil
	}
	return s.kube.waiting().Removed(ctx, objectsOf(leaving), s.settings.Timeout)
}

// overData looks, before a deploy, for what was archived: its data has to be all
// there, and what is still on its way out has to be gone.
func (s *session) overData(ctx context.Context, past []*release.Release, step sdk.Step) error {
	if step.Verb != sdk.Restore && !isArchive(deployed(past)) {
		return nil
	}
	record, found, err := s.archivedData(ctx, past, step)
	if err != nil || record == nil {
		return err
	}
	s.held = record
	s.kube.out.Log(found)
	return s.makeWay(ctx, manifestOf(lastReal(past)))
}

// archivedData is what a deploy over archived data finds: the record, nil without
// one, and a sentence on the data.
func (s *session) archivedData(ctx context.Context, past []*release.Release, step sdk.Step) (*archived, string, error) {
	if rel := last(past); rel != nil && rel.Info.Status == release.StatusDeployed && rel.Labels[labelStep] == kube.StepLabel(step.ID) && !isArchive(rel) {
		return nil, "it is back already", nil
	}
	if err := s.refuseCleaned(past); err != nil {
		return nil, "", err
	}
	record, err := s.remembered(ctx)
	if err != nil {
		return nil, "", err
	}
	if !record.current(past) {
		return nil, "nothing is archived", nil
	}
	found, err := s.checkData(ctx, record)
	return record, found, err
}

// archivedSight is what is seen of an archived release: it runs nothing, and its
// data is there, or what of it is not.
func (s *session) archivedSight(ctx context.Context, found *kube.Sight, past []*release.Release) (sdk.Observation, error) {
	o := sdk.Observation{Health: sdk.Absent, Text: "archived", Drift: found.Drift(s.kube.mask)}
	record, err := s.remembered(ctx)
	if err != nil {
		return sdk.Observation{}, err
	}
	if !record.current(past) {
		o.Drift = append(o.Drift, "Nothing tells any more what was archived.")
		return o, nil
	}
	gone, err := s.cluster.LostClaims(ctx, record.Claims)
	if err != nil {
		return sdk.Observation{}, err
	}
	for _, claim := range gone {
		o.Drift = append(o.Drift, "Data is gone: "+claim+".")
	}
	if n := len(record.Claims) - len(gone); n > 0 {
		o.Text += ", with " + kube.Count(n, "volume") + " kept"
	}
	return o, nil
}

// planRestore says what comes back, over which data, or why nothing can.
func (x *Executor) planRestore(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := readSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	if !step.AsWas {
		return x.planOverData(ctx, step, ses)
	}
	how, err := ses.restorable(ctx, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	if how.instead != "" {
		plan, err := x.planDeploy(ctx, step)
		plan.Summary += "; " + how.instead
		return plan, err
	}
	plan := sdk.Plan{Inputs: map[string]string{"release": step.Namespace + "/" + s.Release}}
	if how.done {
		plan.Summary = fmt.Sprintf("restore release %s: it is back already, at revision %d", s.Release, how.target.Version)
		return plan, nil
	}
	plan.Inputs[inputArchive] = how.record.input()
	plan.Summary = "restore release " + s.Release + " as it was at " + how.record.revision() + "; " + how.found
	if step.Brief {
		return plan, nil
	}
	err = x.tellComeback(&plan, how.past, how.target, step.Namespace, ses.kube.mask)
	return plan, err
}

// planOverData is the plan of a deploy over what was archived.
func (x *Executor) planOverData(ctx context.Context, step sdk.Step, ses *session) (sdk.Plan, error) {
	if _, err := ses.cluster.Reach(ctx); err != nil {
		return sdk.Plan{}, err
	}
	past, err := ses.history(ctx)
	if err != nil {
		return sdk.Plan{}, err
	}
	if err := ses.refuseRelease(past, step); err != nil {
		return sdk.Plan{}, err
	}
	_, found, err := ses.archivedData(ctx, past, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan, err := x.planDeploy(ctx, step)
	plan.Summary += "; " + found
	return plan, err
}

// tellComeback says in plan what changes when the release becomes what target
// was.
func (x *Executor) tellComeback(plan *sdk.Plan, past []*release.Release, target *release.Release, namespace string, given *kube.Masker) error {
	current := standing(past)
	before, after := manifestOf(current), manifestOf(target)
	c, err := kube.Compare(before, after, kube.NewMasker(x.masking, configOf(current), before).Like(given), kube.NewMasker(x.masking, target.Config, after).Like(given), kept)
	if err != nil {
		return err
	}
	plan.Diff, plan.Resources = c.Diff, c.Resources(namespace)
	plan.Destructive = kube.AnyDestructive(plan.Resources)
	plan.Cost = kube.Cost(before, after)
	return nil
}
