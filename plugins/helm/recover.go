package helm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"helm.sh/helm/v3/pkg/action"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Annotations by which Helm knows its objects.
// Source: helm.sh/helm/v3/pkg/action, validate.go.
const (
	annotationRelease   = "meta.helm.sh/release-name"
	annotationNamespace = "meta.helm.sh/release-namespace"
)

// recover brings a release that something was interrupted in to a state from
// which Helm goes on. That is right because Berth lets one worker at a time
// near an environment: whoever began it is not at it any more.
func (s *session) recover(ctx context.Context, past []*release.Release) ([]*release.Release, error) {
	rel := last(past)
	if rel == nil {
		return past, nil
	}
	switch rel.Info.Status {
	case release.StatusPendingInstall, release.StatusPendingUpgrade, release.StatusPendingRollback, release.StatusUnknown:
		s.kube.out.Log(fmt.Sprintf("release %s was left %s at revision %d by something that was interrupted; going on from there", rel.Name, rel.Info.Status, rel.Version))
		rel.SetStatus(release.StatusFailed, "interrupted while "+rel.Info.Status.String())
		return past, s.storage.Update(rel)
	case release.StatusUninstalling, release.StatusUninstalled:
		s.kube.out.Log(fmt.Sprintf("release %s was being uninstalled; that is finished first", rel.Name))
		if err := s.uninstall(ctx, past); err != nil {
			return nil, err
		}
		return nil, s.purge(past)
	}
	return past, nil
}

// sweep deletes what earlier revisions left behind: objects that are in none of
// what is deployed now, and still marked as this release's. Helm compares with
// one revision only: the last that was deployed, or in a rollback the last.
func (s *session) sweep(past []*release.Release, now *release.Release) error {
	wanted := map[string]bool{}
	for _, o := range manifestOf(now) {
		wanted[s.fullID(o)] = true
	}
	var stray []*unstructured.Unstructured
	for i := len(past) - 1; i >= 0; i-- {
		for _, o := range manifestOf(past[i]) {
			if id := s.fullID(o); !wanted[id] && !kept(o) {
				wanted[id] = true
				stray = append(stray, o)
			}
		}
		if past[i].Info.Status != release.StatusFailed {
			break // what was before it went when it was deployed
		}
	}
	if len(stray) == 0 {
		return nil
	}
	list, err := s.kube.resourcesOf(stray)
	if err != nil {
		return err
	}
	mine, err := s.owned(list)
	if err != nil {
		return err
	}
	mine = slices.DeleteFunc(mine, func(r *resource.Info) bool {
		u, ok := r.Object.(*unstructured.Unstructured)
		return ok && u.GetDeletionTimestamp() != nil // Helm has seen to it
	})
	for _, r := range mine {
		s.kube.out.Log("deleting " + r.Mapping.GroupVersionKind.Kind + " " + r.Name + ", left behind by an earlier revision")
	}
	if len(mine) == 0 {
		return nil
	}
	_, errs := s.kube.Delete(mine)
	return firstOf(errs)
}

// unsettled is what revisions that failed may have put into objects, over what
// was deployed before them. Helm compares with the last deployed revision, or
// with nothing at all, and would let such fields stay for ever.
func (s *session) unsettled(past []*release.Release) map[string]*unstructured.Unstructured {
	first := len(past)
	for first > 0 && past[first-1].Info.Status == release.StatusFailed {
		first--
	}
	if first == len(past) {
		return nil
	}
	out := map[string]*unstructured.Unstructured{}
	for _, o := range manifestOf(deployed(past)) {
		out[s.fullID(o)] = o
	}
	for _, rel := range past[first:] {
		for _, o := range manifestOf(rel) {
			id := s.fullID(o)
			if under := out[id]; under != nil {
				out[id] = overlay(under, o)
			} else {
				out[id] = o
			}
		}
	}
	return out
}

// overlay has the fields of both objects; where both have one it is over's.
func overlay(under, over *unstructured.Unstructured) *unstructured.Unstructured {
	a, errA := under.MarshalJSON()
	b, errB := over.MarshalJSON()
	if errA != nil || errB != nil {
		return over
	}
	var merged []byte
	var err error
	if typed, unknown := scheme.Scheme.New(over.GroupVersionKind()); unknown == nil {
		merged, err = strategicpatch.StrategicMergePatch(a, b, typed)
	} else {
		merged, err = jsonpatch.MergePatch(a, b)
	}
	out := &unstructured.Unstructured{}
	if err != nil || out.UnmarshalJSON(merged) != nil {
		return over
	}
	return out
}

// fullID is an object's id with the namespace that it lands in.
func (s *session) fullID(o *unstructured.Unstructured) string { return kube.ID(o, s.namespace) }

// owned are those of list that are there and marked as this release's.
func (s *session) owned(list helmkube.ResourceList) (helmkube.ResourceList, error) {
	var out helmkube.ResourceList
	for _, r := range list {
		if err := r.Get(); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return nil, err
		}
		u, ok := r.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		a := u.GetAnnotations()
		if a[annotationRelease] == s.settings.Release && a[annotationNamespace] == s.namespace && a[keepPolicy] != "keep" {
			out = append(out, r)
		}
	}
	return out, nil
}

// uninstall deletes the release's objects and waits until they are gone. The
// record of it stays, as uninstalled, until purge: what comes after can then be
// taken up again when it is interrupted.
func (s *session) uninstall(ctx context.Context, past []*release.Release) error {
	s.kube.lenient = true
	defer func() { s.kube.lenient = false }()
	if rel := last(past); rel.Info.Status != release.StatusUninstalled {
		if rel.Info.Status.IsPending() || rel.Info.Status == release.StatusUnknown {
			rel.SetStatus(release.StatusFailed, "interrupted while "+rel.Info.Status.String())
			if err := s.storage.Update(rel); err != nil {
				return err
			}
		}
		a := action.NewUninstall(s.helm(ctx))
		a.KeepHistory, a.Wait, a.Timeout = true, true, s.settings.Timeout
		resp, err := a.Run(rel.Name)
		if err != nil {
			return s.kube.failed(err)
		}
		if resp != nil && resp.Info != "" {
			s.kube.out.Log("kept, as the chart says so (" + keepPolicy + ": keep): " + kube.OneLine(fmt.Errorf("%s", resp.Info)))
		}
	}
	// What older revisions left, and what an interruption did: Helm deletes only
	// what the last revision has.
	seen := map[string]bool{}
	var all []*unstructured.Unstructured
	for _, rel := range past {
		for _, o := range manifestOf(rel) {
			if id := s.fullID(o); !seen[id] && !kept(o) {
				seen[id] = true
				all = append(all, o)
			}
		}
	}
	list, err := s.kube.resourcesOf(all)
	if err != nil {
		return err
	}
	mine, err := s.owned(list)
	if err != nil {
		return err
	}
	hooks, err := s.hookObjects(past)
	if err != nil {
		return err
	}
	if mine = append(mine, hooks...); len(mine) == 0 {
		return nil
	}
	if _, errs := s.kube.Delete(mine); len(errs) > 0 {
		return errs[0]
	}
	return s.kube.waiting().Removed(ctx, objectsOf(mine), s.settings.Timeout)
}

// hookObjects are the objects of hooks that are still there. Helm leaves them;
// an environment that is cleaned up needs them no more.
func (s *session) hookObjects(past []*release.Release) (helmkube.ResourceList, error) {
	seen := map[string]bool{}
	var out helmkube.ResourceList
	for _, rel := range past {
		for _, h := range rel.Hooks {
			if h.LastRun.StartedAt.IsZero() {
				continue // it has made nothing; what has its name is something else
			}
			objects, err := parseManifest(h.Manifest)
			if err != nil || seen[h.Kind+"/"+h.Name] || h.Kind == "CustomResourceDefinition" || h.Kind == "Namespace" {
				continue
			}
			seen[h.Kind+"/"+h.Name] = true
			list, err := s.kube.resourcesOf(objects)
			if err != nil {
				return nil, err
			}
			for _, r := range list {
				err := r.Get()
				switch {
				case apierrors.IsNotFound(err):
				case err != nil:
					return nil, err
				default:
					if u, ok := r.Object.(*unstructured.Unstructured); ok && !kept(u) {
						out = append(out, r)
					}
				}
			}
		}
	}
	return out, nil
}

// purge deletes the records of the release, and what an archive remembers of it.
func (s *session) purge(past []*release.Release) error {
	if err := s.forget(s.kube.ctx); err != nil {
		return err
	}
	for _, rel := range past {
		if _, err := s.storage.Delete(rel.Name, rel.Version); err != nil && !errors.Is(err, driver.ErrReleaseNotFound) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func firstOf(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}
