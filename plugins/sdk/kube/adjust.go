package kube

import (
	"encoding/json"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Adjusted is an object that was changed after it was deployed in ways that are to
// come back: by a person, an autoscaler, or a sleep.
type Adjusted struct {
	Group     string         `json:"group,omitempty"`
	Kind      string         `json:"kind"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Fields    map[string]any `json:"fields"` // by JSON pointer (RFC 6901): "/spec/replicas"
}

// ID is the object's, as the function ID gives it.
func (s Adjusted) ID() string { return s.Group + "/" + s.Kind + "/" + s.Namespace + "/" + s.Name }

// Adjustments are the fields of a live object that may rightly differ from what was
// deployed, and are to come back as they are: how many replicas there are, and
// between which limits that is adjusted. What a sleep has put aside counts as if
// the object were awake.
func Adjustments(u *unstructured.Unstructured) map[string]any {
	u = awake(u)
	out := map[string]any{}
	take := func(path ...string) {
		if v, found, _ := unstructured.NestedFieldNoCopy(u.Object, path...); found && v != nil {
			out[pointerTo(path...)] = v
		}
	}
	switch GroupKind(u) {
	case "HorizontalPodAutoscaler.autoscaling":
		take("spec", "minReplicas")
		take("spec", "maxReplicas")
	case "ScaledObject.keda.sh":
		for _, field := range []string{"minReplicaCount", "maxReplicaCount", "idleReplicaCount"} {
			take("spec", field)
		}
		fallthrough
	case "ScaledJob.keda.sh":
		for name := range u.GetAnnotations() {
			if strings.HasPrefix(name, "autoscaling.keda.sh/") {
				take("metadata", "annotations", name)
			}
		}
	case "CronJob.batch":
		take("spec", "suspend")
	default:
		if _, found, err := unstructured.NestedInt64(u.Object, "spec", "replicas"); found && err == nil {
			take("spec", "replicas")
		}
	}
	return out
}

// awake is u as it is when it does not sleep.
func awake(u *unstructured.Unstructured) *unstructured.Unstructured {
	patch := WakePatch(u)
	if patch == nil {
		return u
	}
	change, errA := json.Marshal(patch)
	live, errB := u.MarshalJSON()
	if errA != nil || errB != nil {
		return u
	}
	out := &unstructured.Unstructured{}
	if merged, err := jsonpatch.MergePatch(live, change); err != nil || out.UnmarshalJSON(merged) != nil {
		return u
	}
	return out
}

// SetPointer sets what a JSON pointer (RFC 6901) names. Whatever is on its way and no map
// is replaced.
func SetPointer(content map[string]any, pointer string, value any) {
	steps := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for i, step := range steps {
		name := unescape.Replace(step)
		if i == len(steps)-1 {
			content[name] = value
			return
		}
		next, ok := content[name].(map[string]any)
		if !ok {
			next = map[string]any{}
			content[name] = next
		}
		content = next
	}
}

// pointerTo is the JSON pointer of a path.
func pointerTo(path ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	out := ""
	for _, step := range path {
		out += "/" + escape.Replace(step)
	}
	return out
}
