package kubernetes

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apijson "k8s.io/apimachinery/pkg/util/json"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// sources are what a part's objects come from.
type sources struct {
	objects []*unstructured.Unstructured
	digests map[string]string // of each source, for what is agreed on
}

func newLineReader(data []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(data)) }

// read reads the sources and fills in what `substitute` replaces in them.
func (s *settings) read() (*sources, error) {
	src := &sources{digests: map[string]string{}}
	if s.raw.Manifests != nil {
		if err := src.manifests(s.raw.Manifests); err != nil {
			return nil, err
		}
	}
	if s.raw.Kustomize != nil {
		if err := src.kustomize(s.raw.Kustomize); err != nil {
			return nil, err
		}
	}
	if err := unique(src.objects); err != nil {
		return nil, err
	}
	return src, substitute(src.objects, s.values)
}

// manifests reads what `manifests` holds or names.
func (src *sources) manifests(from any) error {
	switch from := from.(type) {
	case []any:
		data, err := json.Marshal(from)
		if err != nil {
			return sdk.Invalid("`manifests` cannot be read: %v.", err)
		}
		var items []any // of its own: what the caller has is not changed
		if err := apijson.Unmarshal(data, &items); err != nil {
			return sdk.Invalid("`manifests` cannot be read: %v.", err)
		}
		for i, item := range items {
			content, ok := item.(map[string]any)
			if !ok {
				return sdk.Invalid("Item %d of `manifests` is no object.", i+1)
			}
			objects, err := takeApart(content)
			if err != nil {
				return sdk.Invalid("Item %d of `manifests`: %v.", i+1, err)
			}
			src.objects = append(src.objects, objects...)
		}
		if len(src.objects) > maxObjects {
			return tooMany()
		}
		src.digests["manifests"] = digestOf(data)
		return nil
	case string:
		if strings.HasPrefix(from, "repo:") {
			return sdk.Invalid("`manifests` is %q, a path in the app's repository, and there is no repository at a commit here.", kube.Clip(from, 120))
		}
		if isPath(from) {
			return src.folder(from)
		}
		if len(from) > maxSource {
			return tooMuch("`manifests`")
		}
		objects, err := parseManifests("`manifests`", []byte(from))
		src.objects, src.digests["manifests"] = append(src.objects, objects...), digestOf([]byte(from))
		return err
	}
	return sdk.Invalid("`manifests` is neither YAML text, a list of objects nor a path.")
}

// isPath tells a path from YAML text: objects have a colon followed by white
// space, and none fits on a line without a brace.
func isPath(text string) bool {
	return !strings.ContainsAny(text, "\n{}") && !strings.Contains(text, ": ")
}

func tooMuch(what string) error {
	return sdk.Invalid("%s has more than %d MiB, which is more than Berth takes.", what, maxSource>>20)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// unique refuses two objects of the same name, of which one would win by chance.
func unique(objects []*unstructured.Unstructured) error {
	seen := map[string]bool{}
	for _, o := range objects {
		id := strings.Join([]string{o.GroupVersionKind().Group, o.GetKind(), o.GetNamespace(), o.GetName()}, "/")
		if seen[id] {
			return sdk.Invalid("%s %s is there twice; leave one out.", kube.Clip(o.GetKind(), 60), o.GetName())
		}
		seen[id] = true
	}
	return nil
}
