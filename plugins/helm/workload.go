package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/berth-dev/berth/plugins/sdk"
)

// workloadVerbs are the verbs on running workloads that Describe names.
var workloadVerbs = []sdk.Verb{sdk.Restart, sdk.Sleep, sdk.Wake}

// replicated are the kinds whose pods spec.replicas counts.
var replicated = map[string]bool{"Deployment.apps": true, "StatefulSet.apps": true, "ReplicaSet.apps": true, "ReplicationController.": true}

// workloads opens a session and looks at those objects of the release that may
// have pods or decide how many there are. past is empty when there is no
// release. A release that is not step's is refused.
func (x *Executor) workloads(ctx context.Context, step sdk.Step, s settings, out sdk.Events) (*session, []*release.Release, *sight, error) {
	ses, err := x.open(ctx, step, s, out)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err := ses.cluster.capabilities(ctx); err != nil {
		return nil, nil, nil, err
	}
	past, err := ses.history(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(past) > 0 {
		own, err := ses.holdings(ctx, past, step)
		if err != nil {
			return nil, nil, nil, err
		}
		if !own.release {
			return nil, nil, nil, sdk.Invalid("The release %q in namespace %q is left alone: %s.", s.Release, ses.namespace, own.stays)
		}
	}
	objects := ses.current(past)
	for _, rel := range past {
		ses.kube.mask.learnValues(rel.Config)
	}
	ses.kube.mask.learnObjects(objects)
	seen, err := ses.look(ctx, objects)
	return ses, past, seen, err
}

// current are the objects of the release with pods, or that decide how many
// there are: those of the revision that was deployed last, and of what failed
// since, which may have made some as well.
func (s *session) current(past []*release.Release) []object {
	seen := map[string]bool{}
	var out []object
	add := func(rel *release.Release) {
		for _, o := range manifestOf(rel) {
			switch kind := groupKind(o.live()); {
			case seen[s.fullID(o)]:
			case replicated[kind], kind == "DaemonSet.apps", kind == "Pod.", kind == "Job.batch", dozers[kind] != nil:
				seen[s.fullID(o)] = true
				out = append(out, o)
			}
		}
	}
	add(deployed(past))
	for i := len(past) - 1; i >= 0 && past[i].Info.Status == release.StatusFailed; i-- {
		add(past[i])
	}
	return out
}

// amend patches a live object as change says, again with what it is then when
// somebody else was quicker. A change without content leaves it alone, and so
// does an object that is gone: then what comes back is nil.
func (k *kubeClient) amend(ctx context.Context, live *unstructured.Unstructured, change func(*unstructured.Unstructured) map[string]any) (*unstructured.Unstructured, error) {
	mapping, err := k.cluster.mapper.RESTMapping(live.GroupVersionKind().GroupKind(), live.GroupVersionKind().Version)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(k.cluster.config(ctx))
	if err != nil {
		return nil, err
	}
	objects := client.Resource(mapping.Resource).Namespace(live.GetNamespace())
	const tries = 20 // a controller that writes its status is quicker at times
	for try := 1; ; try++ {
		content := change(live)
		if content == nil {
			return live, nil
		}
		about, _ := content["metadata"].(map[string]any)
		if about == nil {
			about = map[string]any{}
			content["metadata"] = about
		}
		about["resourceVersion"], about["uid"] = live.GetResourceVersion(), string(live.GetUID())
		patch, err := json.Marshal(content)
		if err != nil {
			return nil, err
		}
		changed, err := objects.Patch(ctx, live.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: managedByBerth})
		switch {
		case err == nil:
			return changed, nil
		case apierrors.IsNotFound(err):
			return nil, nil
		case !apierrors.IsConflict(err) || try == tries:
			return nil, err
		}
		live, err = objects.Get(ctx, live.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// amendAll amends the objects side by side and calls did with what each was and
// is, where it changed. An interruption leaves some as they were, each of them
// whole.
func (k *kubeClient) amendAll(ctx context.Context, all []*unstructured.Unstructured, change func(*unstructured.Unstructured) map[string]any, did func(was, is *unstructured.Unstructured)) error {
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, u := range all {
		group.Go(func() error {
			was := u
			is, err := k.amend(side, u, func(live *unstructured.Unstructured) map[string]any {
				was = live
				return change(live)
			})
			if err == nil && is != nil && is != was {
				did(was, is)
			}
			return err
		})
	}
	return group.Wait()
}

// settled waits until the objects that have pods are as they are to be.
func (s *session) settled(ctx context.Context, f *sight) error {
	if !s.settings.Wait {
		return nil
	}
	var objects []object
	for _, o := range f.objects {
		if kind := groupKind(o.want.live()); o.live != nil && (replicated[kind] || kind == "DaemonSet.apps") {
			objects = append(objects, o.want)
		}
	}
	list, err := s.kube.resourcesOf(objects)
	if err != nil {
		return err
	}
	return s.kube.wait(ctx, list, s.settings.Timeout, rollout)
}

// nothingDeployed is what a verb on a release says that is not there.
func (s *session) nothingDeployed() error {
	return sdk.Invalid("There is no release %s in namespace %s: deploy the environment first.", s.settings.Release, s.namespace)
}

// planWorkloads is the plan of a verb that patches objects of the release: each
// object that change has something for is told, with the lines that differ.
func (x *Executor) planWorkloads(ctx context.Context, step sdk.Step, title string, change func(*unstructured.Unstructured) map[string]any) (sdk.Plan, *session, *sight, error) {
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Plan{}, nil, nil, err
	}
	plan := sdk.Plan{Summary: title + " release " + s.Release, Inputs: map[string]string{"release": step.Namespace + "/" + s.Release}}
	if step.Brief {
		return plan, nil, nil, nil
	}
	ses, past, f, err := x.workloads(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, nil, nil, err
	}
	if deployed(past) == nil && step.Verb != sdk.Sleep {
		return sdk.Plan{}, nil, nil, ses.nothingDeployed()
	}
	var b strings.Builder
	for _, o := range f.objects {
		if o.live == nil {
			continue
		}
		content := change(o.live)
		if content == nil {
			continue
		}
		plan.Resources = append(plan.Resources, sdk.Resource{Kind: o.want.kind(), Name: o.want.name(), Namespace: o.live.GetNamespace(), Change: sdk.ChangeUpdate})
		title := o.live.GetNamespace() + "/" + o.want.kind() + "/" + o.want.name()
		fmt.Fprintf(&b, "--- now/%s\n+++ planned/%s\n%s", title, title, patchLines(o.live.Object, content))
	}
	plan.Diff = ses.kube.mask.text(b.String())
	return plan, ses, f, nil
}

// patchLines shows a merge patch as lines that go and come.
func patchLines(live, patch map[string]any) string {
	var at []string
	leaves(patch, nil, func(path []string) { at = append(at, strings.Join(path, "\x00")) })
	var b strings.Builder
	for _, joined := range sortedStrings(at) {
		path := strings.Split(joined, "\x00")
		name := strings.Join(path, ".")
		if was, ok, _ := unstructured.NestedFieldNoCopy(live, path...); ok {
			fmt.Fprintf(&b, "-%s: %v\n", name, was)
		}
		if is, _, _ := unstructured.NestedFieldNoCopy(patch, path...); is != nil {
			fmt.Fprintf(&b, "+%s: %v\n", name, is)
		}
	}
	return b.String()
}

// leaves calls found with the path of each value of a patch.
func leaves(m map[string]any, prefix []string, found func(path []string)) {
	for key, value := range m {
		path := append(append([]string{}, prefix...), key)
		if inner, ok := value.(map[string]any); ok {
			leaves(inner, path, found)
			continue
		}
		found(path)
	}
}

func sortedStrings(all []string) []string {
	set := make(map[string]bool, len(all))
	for _, s := range all {
		set[s] = true
	}
	return sortedIDs(set)
}

// kindGone tells whether the cluster does not have a kind any more, which it
// believes only when all of its APIs answered: then there can be no objects of it.
func (c *cluster) kindGone(err error) (bool, error) {
	if !meta.IsNoMatchError(err) {
		return false, err
	}
	if _, failed := c.discovery.ServerPreferredResources(); failed != nil {
		return false, failed
	}
	return true, nil
}
