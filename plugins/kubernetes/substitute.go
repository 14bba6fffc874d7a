package kubernetes

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// reference is ${NAME}; $${NAME} is left as ${NAME}.
var reference = regexp.MustCompile(`\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// maxText is the longest text that values may make of one.
const maxText = 1 << 20

// substitute puts values in the place of ${NAME} in the texts of objects: never
// in keys, and never so that a text becomes anything else than a text. Without
// values nothing is looked at. A name that values do not have is left as it is:
// programs have such references too. A value that no object uses is a mistake.
func substitute(objects []*unstructured.Unstructured, values map[string]string) error {
	if len(values) == 0 {
		return nil
	}
	used := map[string]bool{}
	for _, o := range objects {
		replaced, err := fill(o.Object, values, used)
		if err != nil {
			return sdk.Invalid("%s %s: %v.", kube.Clip(o.GetKind(), 60), kube.Clip(o.GetName(), 80), err)
		}
		o.Object, _ = replaced.(map[string]any)
		if err := checkObject(o); err != nil { // a name may have become none
			return sdk.Invalid("With the values of `substitute`, %v.", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !used[name] {
			return sdk.Invalid("`substitute` has %s, and no manifest has ${%s}.", name, name)
		}
	}
	return unique(objects)
}

func fill(v any, values map[string]string, used map[string]bool) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if v[key], err = fill(value, values, used); err != nil {
				return nil, err
			}
		}
	case []any:
		for i, value := range v {
			if v[i], err = fill(value, values, used); err != nil {
				return nil, err
			}
		}
	case string:
		return fillText(v, values, used)
	}
	return v, nil
}

func fillText(text string, values map[string]string, used map[string]bool) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	out := reference.ReplaceAllStringFunc(text, func(found string) string {
		name := strings.TrimSuffix(found[strings.Index(found, "{")+1:], "}")
		value, known := values[name]
		switch {
		case !known:
			return found
		case strings.HasPrefix(found, "$$"):
			used[name] = true
			return found[1:]
		}
		used[name] = true
		return value
	})
	if len(out) > maxText && len(out) > len(text) {
		return "", fmt.Errorf("a text becomes longer than %d KiB", maxText>>10)
	}
	return out, nil
}
