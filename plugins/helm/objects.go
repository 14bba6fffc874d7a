package helm

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// keepPolicy is the annotation with which a chart says that Helm must not
// delete an object. Source: helm.sh/helm/v3/pkg/kube, resource_policy.go.
const keepPolicy = "helm.sh/resource-policy"

// object is one Kubernetes object as a chart's templates gave it.
type object struct{ content map[string]any }

func (o object) live() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: o.content}
}
func (o object) kind() string      { return o.live().GetKind() }
func (o object) name() string      { return o.live().GetName() }
func (o object) namespace() string { return o.live().GetNamespace() }
func (o object) title() string     { return o.kind() + " " + o.name() }

// id tells objects apart. It leaves the API's version out, so that a chart that
// moves on to a newer one is seen to change the object, not to replace it.
func (o object) id() string {
	group := o.live().GroupVersionKind().Group
	return fmt.Sprintf("%s/%s/%s/%s", group, o.kind(), o.namespace(), o.name())
}

// kept tells whether the chart wants the object to outlive its release.
func (o object) kept() bool {
	return strings.EqualFold(o.live().GetAnnotations()[keepPolicy], "keep")
}

// parseManifest reads the objects of a manifest, in a stable order. Lists are
// taken apart as Helm does it; documents that are no objects are left out.
func parseManifest(manifest string) ([]object, error) {
	var out []object
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
		content, _ = copyValue(content).(map[string]any)
		o := object{content}
		if items, ok := content["items"].([]any); ok && strings.HasSuffix(o.kind(), "List") {
			for _, item := range items {
				if inner, ok := item.(map[string]any); ok {
					out = append(out, object{inner})
				}
			}
			continue
		}
		if o.kind() != "" && o.name() != "" {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b object) int { return strings.Compare(a.id(), b.id()) })
	return out, nil
}

// manifestOf is what a release installed; what cannot be read any more counts
// as nothing, since it only decides what else is looked at.
func manifestOf(rel *release.Release) []object {
	if rel == nil {
		return nil
	}
	objects, err := parseManifest(rel.Manifest)
	if err != nil {
		return nil
	}
	return objects
}

// count is "1 object", "2 objects".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
