package helm

import (
	"context"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// observeLimit is how long looking may take, all in all.
const observeLimit = 30 * time.Second

// Observe implements sdk.Observer. A cluster that cannot be looked at gives
// Unknown and why; it is never taken for an absent release.
func (x *Executor) Observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	ctx = x.withMasker(ctx, step)
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Observation{}, x.finish(ctx, step, err)
	}
	limited, cancel := context.WithTimeout(ctx, observeLimit)
	defer cancel()
	seen, err := x.observe(limited, step, s)
	if err == nil {
		return seen, nil
	}
	if ctx.Err() != nil {
		return sdk.Observation{}, ctx.Err()
	}
	return sdk.Observation{Health: sdk.Unknown, Text: x.explained(ctx, timedOut(limited, ctx, err), step).Msg}, nil
}

func (x *Executor) observe(ctx context.Context, step sdk.Step, s settings) (sdk.Observation, error) {
	ses, past, err := x.installed(ctx, step, s)
	if err != nil {
		return sdk.Observation{}, err
	}
	if o, mine := releaseOwner(past), kube.StepOwner(step); o.Known() && !o.Is(mine) {
		return sdk.Observation{Health: sdk.Absent, Text: "nothing is deployed: the release of that name is that of environment " + o.Toward(mine)}, nil
	}
	rel := deployed(past)
	if rel == nil || last(past).Info.Status == release.StatusUninstalling || last(past).Info.Status == release.StatusUninstalled {
		rel = last(past)
	}
	if rel == nil || rel.Info.Status == release.StatusUninstalled {
		return sdk.Observation{Health: sdk.Absent, Text: "nothing is deployed"}, nil
	}
	objects := manifestOf(rel)
	ses.kube.mask.LearnValues(rel.Config)
	ses.kube.mask.LearnObjects(objects)
	found, err := ses.look(ctx, objects)
	if err != nil {
		return sdk.Observation{}, err
	}
	if isArchive(rel) {
		return ses.archivedSight(ctx, found, past)
	}
	o := sdk.Observation{Health: found.Health(), Links: ses.cluster.Links(ctx, found, s.URL, ses.kube.mask), Drift: found.Drift(ses.kube.mask)}
	if o.Health != sdk.Healthy {
		o.Text = ses.kube.mask.Text(ses.cluster.WhyNot(ctx, found, ses.namespace))
	}
	if resting := found.Slumber().String(); resting != "" {
		o.Text = strings.Trim(resting+"; "+o.Text, "; ")
	}
	if st := last(past).Info.Status; st != release.StatusDeployed {
		note := fmt.Sprintf("the last change (revision %d) is %s", last(past).Version, st)
		if o.Health == sdk.Healthy {
			o.Health = sdk.Degraded
		}
		o.Text = strings.Trim(o.Text+"; "+note, "; ")
	}
	return o, nil
}

// look gets every object of the release.
func (s *session) look(ctx context.Context, objects []*unstructured.Unstructured) (*kube.Sight, error) {
	return s.cluster.See(ctx, objects, s.namespace, nil)
}
