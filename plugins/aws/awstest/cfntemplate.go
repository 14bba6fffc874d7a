package awstest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// template is a CloudFormation template as the engine here understands it.
type template struct {
	doc       map[string]any
	resources map[string]map[string]any
	order     []string // of resources, each after those it needs
}

// readTemplate reads JSON or YAML, with the short forms of intrinsic functions.
func readTemplate(text string) (*template, *apiError) {
	invalid := func(format string, args ...any) *apiError {
		return fail("ValidationError", "Template format error: "+format, args...)
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil || len(root.Content) == 0 {
		return nil, invalid("unsupported structure.")
	}
	doc, _ := plain(root.Content[0]).(map[string]any)
	t := &template{doc: doc, resources: map[string]map[string]any{}}
	resources, _ := doc["Resources"].(map[string]any)
	if len(resources) == 0 {
		return nil, invalid("At least one Resources member must be defined.")
	}
	for name, r := range resources {
		res, _ := r.(map[string]any)
		if kind, _ := res["Type"].(string); !strings.Contains(kind, "::") {
			return nil, invalid("[/Resources/%s] every Resources object must contain a Type member.", name)
		}
		t.resources[name] = res
	}
	for key := range doc {
		if !slices.Contains([]string{"AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Mappings", "Conditions", "Transform", "Resources", "Outputs"}, key) {
			return nil, fail("ValidationError", "Invalid template property or properties [%s]", key)
		}
	}
	return t, t.sort()
}

// plain is a node of YAML without its tags: !Ref x becomes {"Ref": "x"}.
func plain(n *yaml.Node) any {
	var v any
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plain(n.Content[i+1])
		}
		v = m
	case yaml.SequenceNode:
		l := []any{}
		for _, c := range n.Content {
			l = append(l, plain(c))
		}
		v = l
	case yaml.AliasNode:
		return plain(n.Alias)
	default:
		v = n.Value
		if n.Tag == "!!null" {
			v = nil
		}
	}
	tag, short := strings.CutPrefix(n.Tag, "!")
	switch {
	case !short || strings.HasPrefix(tag, "!") || tag == "":
		return v
	case tag == "Ref" || tag == "Condition":
		return map[string]any{tag: v}
	case tag == "GetAtt":
		if s, ok := v.(string); ok {
			name, attr, _ := strings.Cut(s, ".")
			v = []any{name, attr}
		}
	}
	return map[string]any{"Fn::" + tag: v}
}

var subPattern = regexp.MustCompile(`\$\{([A-Za-z0-9:.]+)\}`)

// needs are the names that a value refers to.
func needs(v any, out map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			switch text, _ := e.(string); k {
			case "Ref":
				out[text] = true
			case "Fn::Sub":
				for _, m := range subPattern.FindAllStringSubmatch(text, -1) {
					name, _, _ := strings.Cut(m[1], ".")
					out[name] = true
				}
			case "Fn::GetAtt":
				if l, ok := e.([]any); ok && len(l) > 0 {
					out[fmt.Sprint(l[0])] = true
				}
			}
			needs(e, out)
		}
	case []any:
		for _, e := range v {
			needs(e, out)
		}
	}
}

func (t *template) sort() *apiError {
	state := map[string]int{}
	var visit func(string) *apiError
	visit = func(name string) *apiError {
		switch state[name] {
		case 1:
			return fail("ValidationError", "Circular dependency between resources: [%s]", name)
		case 2:
			return nil
		}
		state[name] = 1
		want := map[string]bool{}
		needs(t.resources[name]["Properties"], want)
		switch on := t.resources[name]["DependsOn"].(type) {
		case string:
			want[on] = true
		case []any:
			for _, o := range on {
				want[fmt.Sprint(o)] = true
			}
		}
		for _, other := range sortedKeys(want) {
			params, _ := t.doc["Parameters"].(map[string]any)
			switch _, isParam := params[other]; {
			case isParam || strings.HasPrefix(other, "AWS::"):
			case t.resources[other] == nil:
				return fail("ValidationError", "Template format error: Unresolved resource dependencies [%s] in the Resources block of the template", other)
			default:
				if err := visit(other); err != nil {
					return err
				}
			}
		}
		state[name] = 2
		t.order = append(t.order, name)
		return nil
	}
	for _, name := range sortedKeys(t.resources) {
		if err := visit(name); err != nil {
			return err
		}
	}
	return nil
}

// parameters holds what is given to what is declared, and fills in defaults.
func (t *template) parameters(given []params, old map[string]string) (map[string]string, *apiError) {
	declared, _ := t.doc["Parameters"].(map[string]any)
	out := map[string]string{}
	for _, p := range given {
		key := p.str("ParameterKey")
		if declared[key] == nil {
			return nil, fail("ValidationError", "Parameters: [%s] do not exist in the template", key)
		}
		out[key] = p.str("ParameterValue")
		if p.flag("UsePreviousValue") {
			if _, ok := old[key]; !ok {
				return nil, fail("ValidationError", "Invalid input for parameter key %s. Cannot specify usePreviousValue as true for a parameter key not in the previous template", key)
			}
			out[key] = old[key]
		}
	}
	for _, key := range sortedKeys(declared) {
		d, _ := declared[key].(map[string]any)
		if _, ok := out[key]; !ok {
			if d["Default"] == nil {
				return nil, fail("ValidationError", "Parameters: [%s] must have values", key)
			}
			out[key] = fmt.Sprint(d["Default"])
		}
		if allowed, ok := d["AllowedValues"].([]any); ok && !slices.Contains(allowed, any(out[key])) {
			return nil, fail("ValidationError", "Parameter '%s' must be one of AllowedValues", key)
		}
	}
	return out, nil
}

// noEcho tells whether a parameter is never to be shown.
func (t *template) noEcho(key string) bool {
	declared, _ := t.doc["Parameters"].(map[string]any)
	d, _ := declared[key].(map[string]any)
	return fmt.Sprint(d["NoEcho"]) == "true"
}

// capabilities are what a template has to be allowed.
func (t *template) capabilities() (need []string) {
	for _, name := range sortedKeys(t.resources) {
		kind, _ := t.resources[name]["Type"].(string)
		props, _ := t.resources[name]["Properties"].(map[string]any)
		if !strings.HasPrefix(kind, "AWS::IAM::") {
			continue
		}
		for _, field := range []string{"RoleName", "UserName", "GroupName", "ManagedPolicyName"} {
			if props[field] != nil {
				return []string{"CAPABILITY_NAMED_IAM"}
			}
		}
		need = []string{"CAPABILITY_IAM"}
	}
	return need
}

// scope is what a template's values are evaluated in.
type scope struct {
	params   map[string]string
	physical map[string]string            // by logical name: what Ref is
	attrs    map[string]map[string]string // what GetAtt is
	pseudo   map[string]string
}

func (sc scope) ref(name string) string {
	for _, from := range []map[string]string{sc.params, sc.pseudo, sc.physical} {
		if v, ok := from[name]; ok {
			return v
		}
	}
	return ""
}

// eval is a value with its intrinsic functions done.
func (sc scope) eval(v any) any {
	switch v := v.(type) {
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, sc.eval(e))
		}
		return out
	case map[string]any:
		if len(v) == 1 {
			for k, e := range v {
				if done, ok := sc.function(k, e); ok {
					return done
				}
			}
		}
		out := map[string]any{}
		for k, e := range v {
			out[k] = sc.eval(e)
		}
		return out
	}
	return v
}

func (sc scope) function(name string, arg any) (any, bool) {
	list, _ := arg.([]any)
	switch name {
	case "Ref":
		return sc.ref(fmt.Sprint(arg)), true
	case "Fn::GetAtt":
		if len(list) == 2 {
			return sc.attrs[fmt.Sprint(list[0])][fmt.Sprint(list[1])], true
		}
	case "Fn::Sub":
		text, ok := arg.(string)
		return subPattern.ReplaceAllStringFunc(text, func(m string) string {
			name, attr, dotted := strings.Cut(m[2:len(m)-1], ".")
			if dotted {
				return sc.attrs[name][attr]
			}
			return sc.ref(name)
		}), ok
	case "Fn::Join":
		if len(list) == 2 {
			parts, _ := sc.eval(list[1]).([]any)
			var texts []string
			for _, p := range parts {
				texts = append(texts, fmt.Sprint(p))
			}
			return strings.Join(texts, fmt.Sprint(list[0])), true
		}
	}
	return nil, false
}
