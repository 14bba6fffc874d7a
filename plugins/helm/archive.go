package helm

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// archive takes away what of the release runs, and keeps its data. What was
// there is remembered before anything goes, so that an archive that is
// interrupted goes on, and a restore brings exactly that back.
//
// Hooks for deletion do not run, since nothing is deleted for good, and what
// hooks made stays.
func (x *Executor) archive(ctx context.Context, step sdk.Step, out sdk.Events) error {
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
	return timedOut(limited, ctx, ses.archive(limited, step))
}

func (s *session) archive(ctx context.Context, step sdk.Step) error {
	what, err := s.archivable(ctx, step)
	if err != nil {
		return err
	}
	out := s.kube.out
	if len(what.past) == 0 {
		out.Log("there is no release " + s.settings.Release + " in namespace " + s.namespace + ", so nothing is to be archived")
		return nil
	}
	if what.past, err = s.recover(ctx, what.past); err != nil {
		return err
	}
	what.record.Step = kube.StepLabel(step.ID)
	if before := what.before; before.current(what.past) {
		what.record.merge(before)
	}
	if err := s.remember(ctx, step, what.record); err != nil {
		return err
	}
	out.Log("archiving release " + s.settings.Release + " as it is at " + what.record.revision() + "; the Secret " + s.archiveName() + " remembers it")
	if err := s.cluster.Retain(ctx, what.sets, what.record.Claims, s.kube.out); err != nil {
		return err
	}
	for _, o := range what.goes {
		out.Log("taking away " + o.Mapping.GroupVersionKind.Kind + " " + o.Name)
	}
	if err := s.takeAway(ctx, what.goes); err != nil {
		return err
	}
	for _, c := range what.record.Claims {
		out.Log("PersistentVolumeClaim " + c.String() + " stays, with its data")
	}
	return s.markArchived(step, what.past, what.record.Revision)
}

// revision names what is remembered, for people.
func (a *archived) revision() string {
	if a.Revision == 0 {
		return "no revision that was ever ready"
	}
	return fmt.Sprintf("revision %d (chart %s)", a.Revision, kube.Clip(a.Chart, 100))
}

// archivable is what an archive finds.
type archivable struct {
	past   []*release.Release
	before *archived // what an earlier archive remembers, nil without one
	record *archived
	goes   helmkube.ResourceList
	stays  []string // what stays though it runs, each with why
	sets   []*unstructured.Unstructured
}

// archivable looks at what there is of the release, and changes nothing.
func (s *session) archivable(ctx context.Context, step sdk.Step) (*archivable, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return nil, err
	}
	past, err := s.history(ctx)
	if err != nil || len(past) == 0 {
		return &archivable{}, err
	}
	for _, rel := range past {
		s.kube.mask.LearnValues(rel.Config)
		s.kube.mask.LearnObjects(manifestOf(rel))
	}
	own, err := s.holdings(ctx, past, step)
	if err != nil {
		return nil, err
	}
	if !own.release {
		return nil, sdk.Invalid("The release %q in namespace %q cannot be archived: %s.", s.settings.Release, s.namespace, own.stays)
	}
	if st := last(past).Info.Status; st == release.StatusUninstalling || st == release.StatusUninstalled {
		return nil, sdk.Invalid("The release %q was being cleaned up, and some of its data may be gone, so it cannot be archived. Clean it up to the end, or deploy it again.", s.settings.Release)
	}
	what := &archivable{past: past}
	if what.before, err = s.remembered(ctx); err != nil {
		return nil, err
	}
	what.record = &archived{Version: archiveVersion, Release: s.settings.Release, At: time.Now().UTC().Truncate(time.Second)}
	if err := what.record.about(lastReal(past)); err != nil {
		return nil, err
	}
	return what, s.gatherArchive(ctx, what)
}

// gatherArchive fills in what is live: what goes, what stays, and what of it is
// to be remembered.
func (s *session) gatherArchive(ctx context.Context, what *archivable) error {
	s.kube.lenient = true // kinds that are not known any more have no objects
	defer func() { s.kube.lenient = false }()
	seen := map[string]bool{}
	var candidates []*unstructured.Unstructured
	for i := len(what.past) - 1; i >= 0; i-- {
		for _, o := range manifestOf(what.past[i]) {
			if id := s.fullID(o); !seen[id] && !staysArchived(o) {
				seen[id] = true
				candidates = append(candidates, o)
			}
		}
	}
	list, err := s.kube.resourcesOf(candidates)
	if err != nil {
		return err
	}
	mine, err := s.owned(list)
	if err != nil {
		return err
	}
	claims, err := s.dataOf(ctx, what.past)
	if err != nil {
		return err
	}
	roots, err := s.cluster.ClaimOwners(ctx, claims)
	if err != nil {
		return err
	}
	for _, c := range claims {
		if c.DeletionTimestamp != nil {
			return sdk.Downstream("The volume claim %q is being deleted, and goes as soon as nothing uses it: with it goes its data. Nothing was archived. See `kubectl describe pvc %s -n %s`; clean up instead if the data may go.", c.Name, c.Name, c.Namespace)
		}
		what.record.Claims = append(what.record.Claims, kube.ClaimOf(c))
	}
	for _, r := range mine {
		u, ok := r.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		set := kube.GroupKind(u) == "StatefulSet.apps"
		if roots[u.GetUID()] && !set {
			what.stays = append(what.stays, fmt.Sprintf("%s %s stays and keeps running: volume claims with data belong to it, and would go with it", u.GetKind(), u.GetName()))
			continue
		}
		if set {
			what.sets = append(what.sets, u)
		}
		if fields := kube.Adjustments(u); len(fields) > 0 && u.GetDeletionTimestamp() == nil {
			kind := u.GroupVersionKind()
			what.record.Objects = append(what.record.Objects, kube.Adjusted{Group: kind.Group, Kind: kind.Kind, Namespace: u.GetNamespace(), Name: u.GetName(), Fields: fields})
		}
		what.goes = append(what.goes, r)
	}
	for _, line := range what.stays {
		s.kube.out.Log(line)
	}
	return nil
}

// staysArchived tells whether an object stays while its release is archived: it
// is data, holds credentials that data may depend on, or is to outlive the
// release anyway.
func staysArchived(o *unstructured.Unstructured) bool {
	switch o.GroupVersionKind().GroupKind().String() {
	case "StatefulSet.apps":
		return kept(o)
	case "Secret", "StorageClass.storage.k8s.io", "VolumeSnapshotClass.snapshot.storage.k8s.io":
		return true
	}
	return kept(o) || kube.TakesData(o)
}

// takeAway deletes resources and waits until they are gone, with their pods.
func (s *session) takeAway(ctx context.Context, resources helmkube.ResourceList) error {
	if len(resources) == 0 {
		return nil
	}
	var all []error
	// Those that have pods stay until their pods are gone: data is at rest then.
	var withPods, others helmkube.ResourceList
	for _, r := range resources {
		if u, ok := r.Object.(*unstructured.Unstructured); ok && len(kube.PodSpecs(u.Object)) > 0 {
			withPods = append(withPods, r)
		} else {
			others = append(others, r)
		}
	}
	if len(others) > 0 { // first: autoscalers are among them
		_, errs := s.kube.DeleteWithPropagationPolicy(others, metav1.DeletePropagationBackground)
		all = append(all, errs...)
	}
	if len(withPods) > 0 {
		_, errs := s.kube.DeleteWithPropagationPolicy(withPods, metav1.DeletePropagationForeground)
		all = append(all, errs...)
	}
	if len(all) > 0 {
		return all[0]
	}
	return s.kube.waiting().Removed(ctx, objectsOf(resources), s.settings.Timeout)
}

// markArchived makes the revision that stands for the archived release: what it
// deploys is what was kept, so that `helm list` still shows the release, `helm
// history` says what became of it, and an upgrade compares with what is there.
// A release that was never ready gets none; its next deploy is an install.
func (s *session) markArchived(step sdk.Step, past []*release.Release, revision int) error {
	rel, base := last(past), lastReal(past)
	if base == nil {
		return nil
	}
	if !isArchive(rel) || rel.Info.Status != release.StatusDeployed {
		manifest, err := keptManifest(base.Manifest)
		if err != nil {
			return sdk.Internal("The release's record cannot be written: %w", err)
		}
		labels := kube.StepOwner(step).Labels()
		labels[labelStep], labels[labelArchived] = kube.StepLabel(step.ID), strconv.Itoa(revision)
		rel = &release.Release{
			Name: base.Name, Namespace: base.Namespace, Chart: base.Chart, Config: base.Config, Manifest: manifest,
			Version: rel.Version + 1, Labels: labels,
			Info: &release.Info{
				FirstDeployed: base.Info.FirstDeployed, LastDeployed: helmtime.Now(), Status: release.StatusDeployed,
				Description: fmt.Sprintf("Archived by Berth: revision %d was taken away, and its data kept", revision),
			},
		}
		if err := s.storage.Create(rel); err != nil {
			return err
		}
	}
	for _, other := range past {
		if other != rel && other.Info.Status == release.StatusDeployed {
			other.Info.Status = release.StatusSuperseded
			if err := s.storage.Update(other); err != nil {
				return err
			}
		}
	}
	return nil
}

// keptManifest are the documents of a manifest that stay while it is archived,
// as they are written.
func keptManifest(manifest string) (string, error) {
	var b strings.Builder
	for _, doc := range documents(manifest) {
		objects, err := parseManifest(doc)
		if err != nil {
			return "", err
		}
		stay := 0
		for _, o := range objects {
			if staysArchived(o) {
				stay++
			}
		}
		switch {
		case stay == 0:
			continue
		case stay == len(objects):
			b.WriteString("---\n" + strings.TrimSuffix(doc, "\n") + "\n")
			continue
		}
		for _, o := range objects { // of a list, some
			if !staysArchived(o) {
				continue
			}
			text, err := written(o.Object)
			if err != nil {
				return "", err
			}
			b.WriteString("---\n" + text)
		}
	}
	return b.String(), nil
}

// planArchive says what an archive would take away, and what it would keep.
func (x *Executor) planArchive(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := readSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{
		Summary: "archive release " + s.Release,
		Inputs:  map[string]string{"release": step.Namespace + "/" + s.Release},
	}
	if step.Brief {
		return plan, nil
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	what, err := ses.archivable(ctx, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	if len(what.past) == 0 {
		plan.Summary += ": it is not there"
		return plan, nil
	}
	var b strings.Builder
	c := &kube.Changes{}
	for _, r := range what.goes {
		if u, ok := r.Object.(*unstructured.Unstructured); ok {
			o := u
			c.Removed = append(c.Removed, o)
			b.WriteString("- " + o.GetKind() + "/" + o.GetName() + "\n")
		}
	}
	for _, line := range what.stays {
		b.WriteString("# " + line + "\n")
	}
	for _, claim := range what.record.Claims {
		b.WriteString("# PersistentVolumeClaim " + claim.String() + " stays, with its data\n")
	}
	plan.Diff, plan.Resources = b.String(), c.Resources(step.Namespace)
	for i := range plan.Resources {
		plan.Resources[i].Destructive = false // the claims of a StatefulSet stay
	}
	plan.Summary += ": " + kube.Count(len(what.goes), "object") + " taken away, "
	if n := len(what.record.Claims); n > 0 {
		plan.Summary += kube.Count(n, "volume claim") + " kept (" + kube.NameClaims(what.record.Claims) + ")"
	} else {
		plan.Summary += "no volume claims to keep"
	}
	if freed := kube.NeedOf(c.Removed).String(); freed != "" {
		plan.Cost = "gives back " + freed
	}
	return plan, nil
}
