package aws

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/berth-dev/berth/plugins/sdk"
)

// mostTemplate is the longest template that a request may hold, in bytes.
// Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const mostTemplate = 51200

// template is what Berth has to know of a template: CloudFormation knows the rest.
type template struct {
	resources  map[string]resourceSpec
	parameters map[string]parameterSpec
	outputs    map[string]any // values by name
}

type resourceSpec struct {
	kind   string
	keeps  bool   // its DeletionPolicy is to retain it, or its data in a snapshot
	digest string // of all that is said of it
}

type parameterSpec struct {
	noEcho  bool
	initial string
	has     bool // whether it has a default
}

// readTemplateText is the template of settings: inline, or in a file.
func readTemplateText(inline any, path string) (string, error) {
	var text string
	switch v := inline.(type) {
	case nil:
		if path == "" {
			return "", sdk.Invalid("`stack` needs a `template`, or the `path` of one.")
		}
		var err error
		if text, err = readTemplateFile(path); err != nil {
			return "", err
		}
	case string:
		text = v
	default:
		data, err := json.Marshal(v)
		if err != nil {
			return "", sdk.Internal("The template of `stack` cannot be written down: %w", err)
		}
		text = string(data)
	}
	if inline != nil && path != "" {
		return "", sdk.Invalid("`stack` has a `template` and a `path`: give it one of them.")
	}
	if strings.TrimSpace(text) == "" || len(text) > mostTemplate {
		return "", sdk.Invalid("The template of `stack` has %d bytes: CloudFormation takes up to %d. Split it into several parts or nested stacks.", len(text), mostTemplate)
	}
	return text, nil
}

func readTemplateFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return "", sdk.Invalid("`path` of `stack` is no file.")
	}
	if err != nil {
		return "", unreadable(err)
	}
	f, err := os.Open(path) //nolint:gosec // The config names the file, or the host for a file of the repository.
	if err != nil {
		return "", unreadable(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, mostTemplate+1))
	if err != nil {
		return "", unreadable(err)
	}
	return string(data), nil
}

func unreadable(err error) error {
	why := "cannot be read: check its permissions"
	if errors.Is(err, fs.ErrNotExist) {
		why = "is not there"
	}
	return &sdk.Error{Fault: sdk.FaultInvalid, Err: err, Msg: "The file of `path` of `stack` " + why + "."}
}

// parseTemplate reads JSON or YAML, with the short forms of intrinsic functions.
func parseTemplate(text string) (template, error) {
	t := template{resources: map[string]resourceSpec{}, parameters: map[string]parameterSpec{}, outputs: map[string]any{}}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		return t, sdk.Invalid("The template of `stack` is neither JSON nor YAML: %s.", clip(oneLine(err.Error()), 200))
	}
	if len(root.Content) == 0 {
		return t, sdk.Invalid("The template of `stack` is empty.")
	}
	const deepest = 100 // CloudFormation's own templates come nowhere near
	doc, err := plainNode(root.Content[0], deepest)
	if err != nil {
		return t, err
	}
	top, _ := doc.(map[string]any)
	resources := mapOf(top["Resources"])
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		spec := mapOf(resources[name])
		data, err := json.Marshal(spec)
		if err != nil {
			return t, sdk.Invalid("The resource %q of the template cannot be read.", clip(name, 60))
		}
		policy := fmt.Sprint(spec["DeletionPolicy"])
		t.resources[name] = resourceSpec{kind: fmt.Sprint(spec["Type"]), keeps: strings.HasPrefix(policy, "Retain") || policy == "Snapshot", digest: digestOf(string(data))}
	}
	if len(t.resources) == 0 {
		return t, sdk.Invalid("The template of `stack` has no `Resources`.")
	}
	for name, p := range mapOf(top["Parameters"]) {
		spec := mapOf(p)
		initial, has := spec["Default"]
		t.parameters[name] = parameterSpec{noEcho: strings.EqualFold(fmt.Sprint(spec["NoEcho"]), "true"), initial: parameterText(initial), has: has}
	}
	for name, o := range mapOf(top["Outputs"]) {
		t.outputs[name] = mapOf(o)["Value"]
	}
	return t, nil
}

func mapOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// plainNode is a node of YAML with its tags as keys: !Ref x is {"Ref": "x"}.
// Aliases are refused: a few of them can mean a document without end, and
// CloudFormation does not take them everywhere either.
func plainNode(n *yaml.Node, depth int) (any, error) {
	if depth == 0 || n.Kind == yaml.AliasNode {
		return nil, sdk.Invalid("The template of `stack` is nested too deeply or has YAML aliases, which are not taken.")
	}
	var v any
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			e, err := plainNode(n.Content[i+1], depth-1)
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = e
		}
		v = m
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			e, err := plainNode(c, depth-1)
			if err != nil {
				return nil, err
			}
			l = append(l, e)
		}
		v = l
	default:
		v = n.Value
	}
	tag := strings.TrimPrefix(n.Tag, "!")
	switch {
	case tag == "" || strings.HasPrefix(tag, "!") || tag == n.Tag:
		return v, nil
	case tag == "Ref" || tag == "Condition":
		return map[string]any{tag: v}, nil
	}
	return map[string]any{"Fn::" + tag: v}, nil
}

// secret tells whether an output would show a NoEcho parameter.
func (t template) secret(output string) bool {
	names := map[string]bool{}
	referred(t.outputs[output], names)
	for name := range names {
		if t.parameters[name].noEcho {
			return true
		}
	}
	return false
}

var inSub = regexp.MustCompile(`\$\{([A-Za-z0-9:]+)`)

// referred are the names that a value refers to.
func referred(v any, out map[string]bool) {
	switch v := v.(type) {
	case string:
		for _, m := range inSub.FindAllStringSubmatch(v, -1) {
			out[m[1]] = true
		}
	case []any:
		for _, e := range v {
			referred(e, out)
		}
	case map[string]any:
		for key, e := range v {
			if name, ok := e.(string); ok && key == "Ref" {
				out[name] = true
			}
			referred(e, out)
		}
	}
}

// parameterText is a parameter as CloudFormation takes it: all are texts.
func parameterText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// resourceNames are those of a template, in order.
func (t template) resourceNames() []string { return slices.Sorted(maps.Keys(t.resources)) }
