package kube

import (
	"fmt"
	"math"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ObjectOf is an object with that content, which becomes its own.
func ObjectOf(content map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: content}
}

// Title is "Deployment web".
func Title(u *unstructured.Unstructured) string { return u.GetKind() + " " + u.GetName() }

// ID tells objects apart: "apps/Deployment/shop/web". It leaves the API's version
// out, so that an object that moves on to a newer one is seen to change, not to be
// replaced. namespace is that of objects that name none.
func ID(u *unstructured.Unstructured, namespace string) string {
	if own := u.GetNamespace(); own != "" {
		namespace = own
	}
	return u.GroupVersionKind().Group + "/" + u.GetKind() + "/" + namespace + "/" + u.GetName()
}

// GroupKind is "Deployment.apps", and "Pod." for a kind of the core.
func GroupKind(u *unstructured.Unstructured) string {
	gvk := u.GroupVersionKind()
	return gvk.Kind + "." + gvk.Group
}

// Flatten takes lists apart: a document such as `kind: List` stands for its
// items. What is no object, since it has no kind or no name, is left out.
func Flatten(content map[string]any) []*unstructured.Unstructured {
	u := ObjectOf(content)
	if items, ok := content["items"].([]any); ok && strings.HasSuffix(u.GetKind(), "List") {
		var out []*unstructured.Unstructured
		for _, item := range items {
			if inner, ok := item.(map[string]any); ok {
				out = append(out, ObjectOf(inner))
			}
		}
		return out
	}
	if u.GetKind() == "" || u.GetName() == "" {
		return nil
	}
	return []*unstructured.Unstructured{u}
}

// CopyValue is a deep copy of what a reader of YAML or JSON gives. Whole numbers
// become int64, as Kubernetes' own readers have it, however the reader has them.
func CopyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return map[string]any(nil)
		}
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[key] = CopyValue(value)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = CopyValue(value)
		}
		return out
	case float64:
		// Up to 2^53 every whole number is exact in a float64.
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int64(v)
		}
		return v
	}
	return v
}

// Count is "1 object", "2 objects".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// PodSpecs are the specs of the pods that an object makes: its template's, or
// its own. Those of a list's items are among them.
func PodSpecs(content map[string]any) []map[string]any {
	var out []map[string]any
	for _, item := range Maps(content["items"]) {
		out = append(out, PodSpecs(item)...)
	}
	for _, path := range [][]string{
		{"spec"}, {"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}, {"template", "spec"},
	} {
		if len(path) == 1 && content["kind"] != "Pod" {
			continue
		}
		at := content
		for _, step := range path {
			at, _ = at[step].(map[string]any)
		}
		if at != nil {
			out = append(out, at)
		}
	}
	return out
}

// Maps are the maps in a list; what is no list has none.
func Maps(v any) []map[string]any {
	list, _ := v.([]any)
	var out []map[string]any
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
