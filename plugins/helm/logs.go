package helm

import (
	"context"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

var _ sdk.LogSource = (*Executor)(nil)

// Logs implements sdk.LogSource: the lines of the pods of the release and of its
// hooks. The values of the step's secrets, and of the Secrets that the release has,
// are hidden in them; without those values nothing is told.
func (x *Executor) Logs(ctx context.Context, step sdk.Step, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	ctx = x.withMasker(ctx, step)
	return x.finish(ctx, step, x.logs(ctx, step, q, out))
}

func (x *Executor) logs(ctx context.Context, step sdk.Step, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	s, err := looseSettings(step)
	if err != nil {
		return err
	}
	if _, err := x.secrets(ctx, step); err != nil {
		return err
	}
	ses, past, err := x.installed(ctx, step, s)
	if err != nil {
		return err
	}
	if o, mine := releaseOwner(past), kube.StepOwner(step); o.Known() && !o.Is(mine) {
		return sdk.Invalid("There are no logs: the release %q in namespace %q is that of environment %s.", s.Release, step.Namespace, o.Toward(mine))
	}
	ids := map[string]bool{}
	for _, rel := range past {
		ses.kube.mask.LearnValues(rel.Config)
		for _, o := range everythingIn(rel) {
			ses.kube.mask.LearnObjects([]*unstructured.Unstructured{o})
			ids[ses.fullID(o)] = true
		}
	}
	p := kube.PodLogs{Cluster: ses.cluster, Namespaces: []string{step.Namespace}, Of: func(id string) bool { return ids[id] }, Hide: ses.kube.mask.Text}
	return p.Read(ctx, q, out)
}

// everythingIn are the objects of a revision and of its hooks.
func everythingIn(rel *release.Release) []*unstructured.Unstructured {
	out := manifestOf(rel)
	for _, h := range rel.Hooks {
		if objects, err := parseManifest(h.Manifest); err == nil { // else it has made nothing
			out = append(out, objects...)
		}
	}
	return out
}
