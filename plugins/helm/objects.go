package helm

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// keepPolicy is the annotation with which a chart says that Helm must not
// delete an object. Source: helm.sh/helm/v3/pkg/kube, resource_policy.go.
const keepPolicy = "helm.sh/resource-policy"

// kept tells whether the chart wants the object to outlive its release.
func kept(u *unstructured.Unstructured) bool {
	return strings.EqualFold(u.GetAnnotations()[keepPolicy], "keep")
}

// parseManifest reads the objects of a manifest, in a stable order. Lists are
// taken apart as Helm does it; documents that are no objects are left out.
func parseManifest(manifest string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	docs := releaseutil.SplitManifests(manifest)
	keys := make([]string, 0, len(docs))
	for key := range docs {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(docs[key]), &content); err != nil {
			return nil, fmt.Errorf("YAML parse error: %w", err)
		}
		content, _ = kube.CopyValue(content).(map[string]any)
		out = append(out, kube.Flatten(content)...)
	}
	slices.SortStableFunc(out, func(a, b *unstructured.Unstructured) int { return strings.Compare(kube.ID(a, ""), kube.ID(b, "")) })
	return out, nil
}

// manifestOf is what a release installed; what cannot be read any more counts
// as nothing, since it only decides what else is looked at.
func manifestOf(rel *release.Release) []*unstructured.Unstructured {
	if rel == nil {
		return nil
	}
	objects, err := parseManifest(rel.Manifest)
	if err != nil {
		return nil
	}
	return objects
}
