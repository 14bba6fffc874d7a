package kubernetes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apijson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// maxSource is how much text a part's sources may have, in bytes. It is far
	// above what an API server would take in a minute.
	maxSource = 16 << 20
	// maxObjects is how many objects a part may have.
	maxObjects = 5000
)

// parseManifests reads the objects of a file of YAML documents, or of JSON. where
// names the file in messages.
func parseManifests(where string, data []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	docs := yaml.NewYAMLReader(newLineReader(data))
	for n := 1; ; n++ {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, sdk.Invalid("%s cannot be read: %v.", where, err)
		}
		objects, err := parseDocument(doc)
		if err != nil {
			return nil, sdk.Invalid("%s, document %d: %v.", where, n, err)
		}
		if out = append(out, objects...); len(out) > maxObjects {
			return nil, tooMany()
		}
	}
}

func tooMany() error {
	return sdk.Invalid("The part has more than %d objects; divide it into several parts.", maxObjects)
}

// parseDocument reads one document. Lists are taken apart; an empty document is
// no object.
func parseDocument(doc []byte) ([]*unstructured.Unstructured, error) {
	data, err := sigsyaml.YAMLToJSONStrict(doc)
	if err != nil {
		return nil, errors.New(kube.Clip(strings.Join(strings.Fields(err.Error()), " "), 300))
	}
	if bytes.Equal(bytes.TrimSpace(data), []byte("null")) {
		return nil, nil
	}
	var content map[string]any
	if err := apijson.Unmarshal(data, &content); err != nil {
		return nil, errors.New("it is no object: it needs apiVersion, kind and metadata")
	}
	return takeApart(content)
}

// takeApart is the object, or the objects of a list.
func takeApart(content map[string]any) ([]*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{Object: content}
	if items, ok := content["items"].([]any); ok && strings.HasSuffix(u.GetKind(), "List") {
		var out []*unstructured.Unstructured
		for _, item := range items {
			inner, ok := item.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("the %s has an item that is no object", kube.Clip(u.GetKind(), 60))
			}
			objects, err := takeApart(inner)
			if err != nil {
				return nil, err
			}
			out = append(out, objects...)
		}
		return out, nil
	}
	if err := checkObject(u); err != nil {
		return nil, err
	}
	return []*unstructured.Unstructured{u}, nil
}

// checkObject checks what an object needs to be one. Everything else about it is
// the API server's to judge.
func checkObject(u *unstructured.Unstructured) error {
	version, isText := u.Object["apiVersion"].(string)
	kind, isKind := u.Object["kind"].(string)
	if !isText || !isKind || version == "" || kind == "" {
		return errors.New("it is no object: it has no apiVersion or no kind")
	}
	what := kube.Clip(kind, 60)
	meta, ok := u.Object["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("the %s has no metadata", what)
	}
	if _, generated := meta["generateName"]; generated && meta["name"] == nil {
		return fmt.Errorf("the %s has a generateName, under which it would be made anew each time; give it a name, or make it one of `jobs`", what)
	}
	name, _ := meta["name"].(string)
	if name == "" {
		return fmt.Errorf("the %s has no name", what)
	}
	if errs := content.IsPathSegmentName(name); len(errs) > 0 {
		return fmt.Errorf("the %s has the name %q, which %s", what, kube.Clip(name, 80), errs[0])
	}
	if ns, there := meta["namespace"]; there {
		if _, ok := ns.(string); !ok {
			return fmt.Errorf("the %s %s has a namespace that is no text", what, name)
		}
	}
	for _, field := range []string{"labels", "annotations"} {
		values, there := meta[field]
		if !there || values == nil {
			delete(meta, field)
			continue
		}
		m, ok := values.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if _, isText := m[key].(string); !isText {
				return fmt.Errorf("%s %s: the %s %s is not text; write it in quotes", what, name, strings.TrimSuffix(field, "s"), kube.Clip(key, 80))
			}
		}
		if !ok {
			return fmt.Errorf("%s %s: its %s are no map", what, name, field)
		}
	}
	return nil
}
