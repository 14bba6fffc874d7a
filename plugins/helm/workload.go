package helm

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// workloadVerbs are the verbs on running workloads that Describe names.
var workloadVerbs = []sdk.Verb{sdk.Restart, sdk.Sleep, sdk.Wake}

// workloads opens a session and looks at those objects of the release that may
// have pods or decide how many there are. past is empty when there is no
// release. A release that is not step's is refused.
func (x *Executor) workloads(ctx context.Context, step sdk.Step, s settings, out sdk.Events) (*session, []*release.Release, *kube.Sight, error) {
	ses, err := x.open(ctx, step, s, out)
	if err != nil {
		return nil, nil, nil, err
	}
	if _, err := ses.cluster.Reach(ctx); err != nil {
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
		ses.kube.mask.LearnValues(rel.Config)
	}
	ses.kube.mask.LearnObjects(objects)
	seen, err := ses.look(ctx, objects)
	return ses, past, seen, err
}

// current are the objects of the release with pods, or that decide how many
// there are: those of the revision that was deployed last, and of what failed
// since, which may have made some as well.
func (s *session) current(past []*release.Release) []*unstructured.Unstructured {
	seen := map[string]bool{}
	var out []*unstructured.Unstructured
	add := func(rel *release.Release) {
		for _, o := range manifestOf(rel) {
			if id := s.fullID(o); !seen[id] && (kube.HasPods(o) || kube.Dozes(o)) {
				seen[id] = true
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

// settled waits until the objects that have pods are as they are to be.
func (s *session) settled(ctx context.Context, f *kube.Sight) error {
	if !s.settings.Wait {
		return nil
	}
	var objects []*unstructured.Unstructured
	for _, o := range f.Objects {
		if o.Live != nil && (kube.Replicated(o.Want) || kube.GroupKind(o.Want) == "DaemonSet.apps") {
			objects = append(objects, o.Want)
		}
	}
	return s.kube.waiting().Ready(ctx, objects, s.settings.Timeout)
}

// nothingDeployed is what a verb on a release says that is not there.
func (s *session) nothingDeployed() error {
	return sdk.Invalid("There is no release %s in namespace %s: deploy the environment first.", s.settings.Release, s.namespace)
}

// planWorkloads is the plan of a verb that patches objects of the release: each
// object that change has something for is told, with the lines that differ.
func (x *Executor) planWorkloads(ctx context.Context, step sdk.Step, title string, change func(*unstructured.Unstructured) map[string]any) (sdk.Plan, *session, *kube.Sight, error) {
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
	for _, o := range f.Objects {
		if o.Live == nil {
			continue
		}
		content := change(o.Live)
		if content == nil {
			continue
		}
		plan.Resources = append(plan.Resources, sdk.Resource{Kind: o.Want.GetKind(), Name: o.Want.GetName(), Namespace: o.Live.GetNamespace(), Change: sdk.ChangeUpdate})
		title := o.Live.GetNamespace() + "/" + o.Want.GetKind() + "/" + o.Want.GetName()
		fmt.Fprintf(&b, "--- now/%s\n+++ planned/%s\n%s", title, title, kube.PatchLines(o.Live.Object, content))
	}
	plan.Diff = ses.kube.mask.Text(b.String())
	return plan, ses, f, nil
}
