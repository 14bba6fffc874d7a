package kube

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// mostDrift is how many differences of one object are named.
const mostDrift = 5

// selectorOf is podSelector for an object that may not be there.
func selectorOf(u *unstructured.Unstructured) labels.Selector {
	if u == nil {
		return nil
	}
	return podSelector(u)
}

// Drift has a sentence for each object that is missing or not as it was
// deployed. What is compared is what was deployed; what the cluster adds by
// itself is no difference.
func (f *Sight) Drift(m *Masker) []string {
	scaled := f.scaled()
	var out []string
	for _, o := range f.Objects {
		if o.Live == nil {
			out = append(out, Title(o.Want)+" is missing.")
			continue
		}
		differs := asDeployed(o.Live, differences(o.Want, o.Live))
		replicas, counted, _ := unstructured.NestedInt64(o.Live.Object, "spec", "replicas")
		if none, is := scaled[Title(o.Want)]; is && (none || !counted || replicas > 0) {
			differs = slices.DeleteFunc(differs, func(p string) bool { return p == "spec.replicas" })
		}
		if len(differs) == 0 {
			continue
		}
		if n := len(differs); n > mostDrift {
			differs = append(differs[:mostDrift], fmt.Sprintf("%d more", n-mostDrift))
		}
		out = append(out, m.Text(fmt.Sprintf("%s was changed since it was deployed: %s.", Title(o.Want), strings.Join(differs, ", "))))
	}
	return out
}

// scaled is what an autoscaler of the release may scale, and whether to none: one
// that does not is switched off while there are none, so that somebody else did it.
func (f *Sight) scaled() map[string]bool {
	out := map[string]bool{}
	for _, o := range f.Objects {
		of := o.Want.GetKind()
		if of != "HorizontalPodAutoscaler" && of != "ScaledObject" {
			continue
		}
		kind, _, _ := unstructured.NestedString(o.Want.Object, "spec", "scaleTargetRef", "kind")
		name, _, _ := unstructured.NestedString(o.Want.Object, "spec", "scaleTargetRef", "name")
		if kind == "" {
			kind = "Deployment" // KEDA's default
		}
		least, set, _ := unstructured.NestedFieldNoCopy(o.Want.Object, "spec", "minReplicas")
		out[kind+" "+name] = of == "ScaledObject" || set && fmt.Sprint(least) == "0"
	}
	return out
}

// asDeployed leaves out of the paths that differ those that do because u sleeps.
func asDeployed(u *unstructured.Unstructured, differs []string) []string {
	d := dozers[GroupKind(u)]
	if !Sleeps(u) {
		return differs
	}
	if _, is := Asleep(u); !is && replicated[GroupKind(u)] {
		return differs
	}
	return slices.DeleteFunc(differs, func(path string) bool { return slices.Contains(d.drift, path) })
}

// differences are the paths that would change if want were applied again.
func differences(want *unstructured.Unstructured, live *unstructured.Unstructured) []string {
	canonical, err := json.Marshal(want.Object)
	if err != nil {
		return nil
	}
	current, err := json.Marshal(live.Object)
	if err != nil {
		return nil
	}
	var patch []byte
	typed, err := scheme.Scheme.New(live.GroupVersionKind())
	if err != nil || live.GroupVersionKind() != want.GroupVersionKind() {
		patch, err = jsonmergepatch.CreateThreeWayJSONMergePatch(canonical, canonical, current)
	} else {
		if canonical, err = canonicalForm(want, typed); err != nil {
			return nil
		}
		var meta strategicpatch.PatchMetaFromStruct
		if meta, err = strategicpatch.NewPatchMetaFromStruct(typed); err != nil {
			return nil
		}
		patch, err = strategicpatch.CreateThreeWayMergePatch(canonical, canonical, current, meta, true)
	}
	var content map[string]any
	if err != nil || json.Unmarshal(patch, &content) != nil {
		return nil // what cannot be compared is not called different
	}
	var wanted map[string]any
	if json.Unmarshal(canonical, &wanted) == nil {
		dropCovered(content, wanted, live.Object)
	}
	var out []string
	paths(content, "", &out)
	slices.Sort(out)
	return out
}

// dropCovered takes the lists out of a patch whose items are in the live object
// as they are wanted, with what the cluster added to them: a patch replaces a
// list without keys as a whole.
func dropCovered(patch, want, live map[string]any) {
	for key, value := range patch {
		switch value := value.(type) {
		case []any:
			if covers(live[key], want[key]) {
				delete(patch, key)
			}
		case map[string]any:
			if want[key] != nil && covers(live[key], want[key]) {
				delete(patch, key) // a strategy that replaces all of it, whatever differs
				continue
			}
			inWant, _ := want[key].(map[string]any)
			inLive, _ := live[key].(map[string]any)
			dropCovered(value, inWant, inLive)
		}
	}
}

// covers tells whether live has all that want has.
func covers(live, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		there, ok := live.(map[string]any)
		if !ok {
			return false
		}
		for key, value := range want {
			if !covers(there[key], value) {
				return false
			}
		}
		return true
	case []any:
		there, ok := live.([]any)
		if !ok || len(there) != len(want) {
			return false
		}
		for i, value := range want {
			if !covers(there[i], value) {
				return false
			}
		}
		return true
	}
	if a, ok := asFloat(live); ok {
		b, ok := asFloat(want)
		return ok && a == b
	}
	return live == want
}

// asFloat is a number of either of the types that readers of JSON make.
func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// canonicalForm is want as the API server writes it: quantities in their
// shortest form, unknown fields and empty ones left out.
func canonicalForm(want *unstructured.Unstructured, typed runtime.Object) ([]byte, error) {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(want.Object, typed); err != nil {
		return nil, err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil, err
	}
	delete(content, "status")
	if text, ok := content["stringData"].(map[string]any); ok && len(text) > 0 {
		delete(content, "stringData") // written once, then only data is there
	}
	dropNothing(content)
	return json.Marshal(content)
}

// dropNothing takes nulls and empty maps and lists out.
func dropNothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for key, value := range v {
			if dropNothing(value) {
				delete(v, key)
			}
		}
		return len(v) == 0
	case []any:
		for _, value := range v {
			dropNothing(value)
		}
		return len(v) == 0
	}
	return false
}

// paths lists the leaves of a patch, without its directives.
func paths(content map[string]any, prefix string, out *[]string) {
	for key, value := range content {
		if strings.HasPrefix(key, "$") {
			continue
		}
		at := prefix + key
		switch value := value.(type) {
		case map[string]any:
			paths(value, at+".", out)
		case []any:
			inner := false
			for _, item := range value {
				if m, ok := item.(map[string]any); ok {
					name, _ := m["name"].(string)
					inner = true
					m = without(m, "name")
					paths(m, at+"["+name+"].", out)
				}
			}
			if !inner {
				*out = append(*out, at)
			}
		default:
			*out = append(*out, at)
		}
	}
}

func without(m map[string]any, key string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if k != key {
			out[k] = v
		}
	}
	return out
}
