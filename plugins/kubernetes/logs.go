package kubernetes

import (
	"context"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

var _ sdk.LogSource = (*Executor)(nil)

// Logs implements sdk.LogSource: the lines of all pods of the part, its Jobs'
// among them. The values of the step's secrets, and of the Secrets that the part
// has, are hidden in them; without those values nothing is told.
func (x *Executor) Logs(ctx context.Context, step sdk.Step, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	ctx = x.withMask(ctx, step)
	return x.finish(ctx, step, x.logs(ctx, step, q, out))
}

func (x *Executor) logs(ctx context.Context, step sdk.Step, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	s, err := looseSettings(step)
	if err != nil {
		return err
	}
	values, err := x.clusters.Secrets(step.Cluster, x.getenv).Resolve(ctx, step)
	if err != nil {
		return err
	}
	maskOf(ctx).LearnExact(slices.Collect(maps.Values(values)))
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return err
	}
	if _, err := ses.cluster.Reach(ctx); err != nil {
		return err
	}
	r, err := ses.load(ctx)
	if err != nil || r == nil {
		return err
	}
	all, err := ses.members(ctx, r, false)
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	for _, f := range all {
		objects = append(objects, f.object())
	}
	secrets, err := ses.whole(ctx, r, func(u *unstructured.Unstructured) bool { return kube.GroupKind(u) == "Secret." })
	if err != nil {
		return err
	}
	ses.mask.LearnObjects(secrets)
	return ses.podLogs(objects).Read(ctx, q, out)
}

// podLogs are those of the pods of objects.
func (s *session) podLogs(objects []*unstructured.Unstructured) kube.PodLogs {
	ids := map[string]bool{}
	namespaces := []string{s.step.Namespace}
	for _, u := range objects {
		ids[kube.ID(u, "")] = true
		if ns := u.GetNamespace(); ns != "" && kube.HasPods(u) && !slices.Contains(namespaces, ns) {
			namespaces = append(namespaces, ns)
		}
	}
	return kube.PodLogs{Cluster: s.cluster, Namespaces: namespaces, Of: func(id string) bool { return ids[id] }, Hide: s.mask.Text}
}

// ignoreForbidden is for what is told only where Berth may look.
func ignoreForbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}
