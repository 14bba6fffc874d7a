package slacktest

import (
	"bytes"
	"compress/gzip"
	_ "embed" // The description.
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed testdata/slack.json.gz
var descriptionGz []byte

// description is Slack's own, as internal/describe made it from the SDK's types.
type description struct {
	Methods map[string]*schema `json:"methods"` // their arguments
	Types   map[string]*schema `json:"types"`
	Sent    map[string]*schema `json:"sent"` // methods' answers, and what goes to the app by its kind
	Defs    map[string]*schema `json:"defs"`
}

// schema is the part of JSON Schema that internal/describe writes. A library's
// validator would do as well, but for what it says: of a block with one wrong
// field it reports all that is wrong with it as each of the other twenty kinds.
type schema struct {
	anything, nothing bool

	Ref        string             `json:"$ref"`
	Type       string             `json:"type"`
	Enum       []any              `json:"enum"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Additional *schema            `json:"additionalProperties"`
	Items      *schema            `json:"items"`
	MinItems   int                `json:"minItems"`
	AnyOf      []*schema          `json:"anyOf"`
}

// UnmarshalJSON reads a schema, or true and false for all and none.
func (s *schema) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case "true":
		s.anything = true
		return nil
	case "false":
		s.nothing = true
		return nil
	}
	type plain schema
	return json.Unmarshal(raw, (*plain)(s))
}

// described loads the description, once and late.
var described = sync.OnceValues(func() (*description, error) {
	zr, err := gzip.NewReader(bytes.NewReader(descriptionGz))
	if err != nil {
		return nil, fmt.Errorf("slacktest: the embedded description: %w", err)
	}
	raw, err := io.ReadAll(zr)
	if err != nil {
		return nil, fmt.Errorf("slacktest: the embedded description: %w", err)
	}
	d := new(description)
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("slacktest: the embedded description: %w", err)
	}
	return d, nil
})

// problem is what is wrong somewhere in a value.
type problem struct {
	At  string // JSON pointer
	Say string
}

// String is the problem in the words that Slack has for it.
func (p problem) String() string { return fmt.Sprintf("[ERROR] %s [json-pointer:%s]", p.Say, p.At) }

func say(all []problem) []string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.String()
	}
	return out
}

// check compares a value with a schema.
func (d *description) check(s *schema, at string, v any) []problem {
	if s.Ref != "" {
		s = d.Defs[s.Ref]
	}
	switch {
	case s == nil || s.anything:
		return nil
	case s.nothing:
		return []problem{{at, "is not allowed"}}
	case s.AnyOf != nil && s.Type == "":
		return d.checkUnion(s, at, v)
	case s.Enum != nil:
		if !slices.Contains(s.Enum, v) {
			return []problem{{at, fmt.Sprintf("must be a valid enum value: %s is none of %v", quoted(v), s.Enum)}}
		}
		return nil
	}
	wrong := []problem{{at, "must be " + article(s.Type) + " " + s.Type}}
	switch s.Type {
	case "object":
		o, ok := v.(obj)
		if !ok {
			return wrong
		}
		return d.checkObject(s, at, o)
	case "array":
		list, ok := v.([]any)
		if !ok {
			return wrong
		}
		var all []problem
		if len(list) < s.MinItems {
			all = append(all, problem{at, fmt.Sprintf("no fewer than %d items allowed", s.MinItems)})
		}
		for i, item := range list {
			all = append(all, d.check(s.Items, at+"/"+strconv.Itoa(i), item)...)
		}
		return all
	case "string":
		if _, ok := v.(string); !ok {
			return wrong
		}
	case "number":
		if _, ok := v.(float64); !ok {
			return wrong
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong
		}
	case "null":
		if v != nil {
			return wrong
		}
	}
	return nil
}

func (d *description) checkObject(s *schema, at string, o obj) []problem {
	var all []problem
	for _, name := range s.Required {
		if v, there := o[name]; v == nil && (!there || d.check(s.Properties[name], "", nil) != nil) {
			all = append(all, problem{at, "missing required field: " + name})
		}
	}
	for _, name := range sortedKeys(o) {
		if o[name] == nil {
			continue // Slack takes null for what is not there.
		}
		here := at + "/" + name
		switch known := s.Properties[name]; {
		case known != nil:
			all = append(all, d.check(known, here, o[name])...)
		case s.Additional == nil:
		case s.Additional.nothing:
			all = append(all, problem{at, "invalid additional property: " + name})
		default:
			all = append(all, d.check(s.Additional, here, o[name])...)
		}
	}
	return all
}

// checkUnion compares a value with the branches that say they are of its type,
// and tells what is wrong with it as the one that it fits best.
func (d *description) checkUnion(s *schema, at string, v any) []problem {
	branches := s.AnyOf
	if o, ok := v.(obj); ok {
		if kind, _ := o["type"].(string); kind != "" {
			var named []*schema
			discriminated := false
			for _, b := range branches {
				if of := d.kind(b); of != nil {
					discriminated = true
					if slices.Contains(of, any(kind)) {
						named = append(named, b)
					}
				}
			}
			if discriminated && named == nil {
				return []problem{{at, "unsupported type: " + kind}}
			}
			if named != nil {
				branches = named
			}
		}
	}
	var best []problem
	for i, b := range branches {
		found := d.check(b, at, v)
		if len(found) == 0 {
			return nil
		}
		if i == 0 || len(found) < len(best) {
			best = found
		}
	}
	return best
}

// kind is what `type` may be in a branch of a union; nil when it has none.
func (d *description) kind(s *schema) []any {
	if s.Ref != "" {
		s = d.Defs[s.Ref]
	}
	if s == nil || s.Properties["type"] == nil {
		return nil
	}
	return s.Properties["type"].Enum
}

// coerce reads a form's value as what its schema asks for.
func (d *description) coerce(s *schema, text string) (any, error) {
	if s.Ref != "" {
		s = d.Defs[s.Ref]
	}
	kinds := map[string]bool{s.Type: true}
	for _, b := range s.AnyOf {
		if b.Ref != "" {
			b = d.Defs[b.Ref]
		}
		kinds[b.Type] = true
	}
	switch {
	case kinds["string"], s.Enum != nil:
		return text, nil
	case kinds["boolean"]:
		switch text {
		case "true", "1":
			return true, nil
		case "false", "0":
			return false, nil
		}
		return nil, fmt.Errorf("%q is not a boolean", text)
	case kinds["number"]:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return n, nil
	case kinds["object"], kinds["array"]:
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("is not JSON: %w", err)
		}
		return v, nil
	}
	return text, nil
}

func quoted(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func article(word string) string {
	if strings.ContainsAny(word[:1], "aeiou") {
		return "an"
	}
	return "a"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
