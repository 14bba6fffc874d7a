package helm

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// annotationSecrets, on the chart in a release's record, lists the values that
// are secrets, as JSON: [["env","STRIPE_KEY"]]. Whoever reads the record later
// knows by it what to hide, though the secret may have another value by then, or
// be no part of the app any more.
const annotationSecrets = "berth.dev/secret-values" //nolint:gosec // The name of an annotation.

// secrets looks up the values behind the step's references, and has all that is
// said from now on hide them.
func (x *Executor) secrets(ctx context.Context, step sdk.Step) (map[string]string, error) {
	values, err := x.clusters.Secrets(step.Cluster, x.getenv).Resolve(ctx, step)
	if err != nil {
		return nil, err
	}
	x.maskerFor(ctx, step).LearnExact(slices.Collect(maps.Values(values)))
	return values, nil
}

// references stand for the values of the step's secrets in what decides a
// deploy: a value that is changed where it is kept voids nothing that was agreed
// on. The leading byte is in no variable that people write.
func references(step sdk.Step) map[string]string {
	out := make(map[string]string, len(step.Secrets))
	for name, ref := range step.Secrets {
		text, err := json.Marshal(ref)
		if err != nil {
			text = []byte(ref.String())
		}
		out[name] = "\x00secret " + string(text)
	}
	return out
}

// secretPaths are the places of the step's secrets in the values.
func secretPaths(s settings, step sdk.Step) ([][]string, error) {
	if len(step.Secrets) == 0 || s.VarsKey == "" {
		return nil, nil
	}
	path, err := parseKey(s.VarsKey)
	if err != nil {
		return nil, err
	}
	var at []string
	for _, hop := range path {
		at = append(at, hop.name)
	}
	var out [][]string
	for _, name := range slices.Sorted(maps.Keys(step.Secrets)) {
		out = append(out, append(slices.Clone(at), name))
	}
	return out, nil
}

// noteSecrets marks a chart that is about to be deployed.
func noteSecrets(ch *chart.Chart, paths [][]string) error {
	if len(paths) == 0 {
		return nil
	}
	text, err := json.Marshal(paths)
	if err != nil {
		return sdk.Internal("The chart cannot be marked: %w", err)
	}
	annotations := maps.Clone(ch.Metadata.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationSecrets] = string(text)
	ch.Metadata.Annotations = annotations
	return nil
}

// secretsIn are the secrets in what was deployed.
func secretsIn(rel *release.Release) []string {
	if rel == nil || rel.Chart == nil || rel.Chart.Metadata == nil {
		return nil
	}
	var paths [][]string
	if json.Unmarshal([]byte(rel.Chart.Metadata.Annotations[annotationSecrets]), &paths) != nil {
		return nil
	}
	var out []string
	for _, path := range paths {
		var at any = rel.Config
		for _, name := range path {
			m, _ := at.(map[string]any)
			at = m[name]
		}
		if text, ok := at.(string); ok {
			out = append(out, text)
		}
	}
	return out
}

// maskerKey is where a call's masker is in its context.
type maskerKey struct{}

// withMasker gives a call a masker that all of it shares: what one part of it
// learns is hidden by the others.
func (x *Executor) withMasker(ctx context.Context, step sdk.Step) context.Context {
	return context.WithValue(ctx, maskerKey{}, kube.StepMasker(x.masking, step))
}

// maskerFor is the call's masker.
func (x *Executor) maskerFor(ctx context.Context, step sdk.Step) *kube.Masker {
	if m, ok := ctx.Value(maskerKey{}).(*kube.Masker); ok {
		return m
	}
	return kube.StepMasker(x.masking, step)
}
