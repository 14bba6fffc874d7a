package discordtest

import (
	"bytes"
	"compress/gzip"
	_ "embed" // The description.
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed testdata/discord.json.gz
var descriptionGz []byte

// description is what discord-api-types says of bodies.
type description struct {
	Types       map[string]*schema `json:"types"`
	Definitions map[string]*schema `json:"definitions"`
}

// schema is the part of JSON Schema that the description uses.
type schema struct {
	Ref                  string             `json:"ref"`
	Type                 kinds              `json:"type"`
	Const                any                `json:"const"`
	Enum                 []any              `json:"enum"`
	Required             []string           `json:"required"`
	Properties           map[string]*schema `json:"properties"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Items                *schema            `json:"items"`
	AnyOf                []*schema          `json:"anyOf"`
	MinItems             *int               `json:"minItems"`
	MaxItems             *int               `json:"maxItems"`
}

// kinds are one type or several.
type kinds []string

// UnmarshalJSON reads "string" and ["string", "null"].
func (k *kinds) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*k = kinds{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(k))
}

// described loads the description, once and late.
var described = sync.OnceValues(func() (*description, error) {
	zr, err := gzip.NewReader(bytes.NewReader(descriptionGz))
	if err != nil {
		return nil, fmt.Errorf("discordtest: the embedded description: %w", err)
	}
	raw, err := io.ReadAll(zr)
	if err != nil {
		return nil, fmt.Errorf("discordtest: the embedded description: %w", err)
	}
	d := &description{}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("discordtest: the embedded description: %w", err)
	}
	return d, nil
})

// breach is one thing that is wrong with a body.
type breach struct {
	path          []string
	code, message string
	// odd is what Discord lets pass, though nobody should send it: a property that
	// there is not.
	odd bool
}

func (b breach) String() string {
	return strings.TrimPrefix(strings.Join(b.path, ".")+": "+b.message, ": ")
}

// breaches collects what is wrong.
type breaches []breach

func (bs *breaches) add(path []string, code, format string, args ...any) {
	*bs = append(*bs, breach{path: slices.Clone(path), code: code, message: fmt.Sprintf(format, args...)})
}

func (bs *breaches) odd(path []string, format string, args ...any) {
	*bs = append(*bs, breach{path: slices.Clone(path), message: fmt.Sprintf(format, args...), odd: true})
}

func (bs breaches) fatal() bool {
	return slices.ContainsFunc(bs, func(b breach) bool { return !b.odd })
}

// under puts all below one step.
func (bs breaches) under(step string) breaches {
	for i := range bs {
		bs[i].path = append([]string{step}, bs[i].path...)
	}
	return bs
}

// tree is the errors object of Discord's answer 50035.
// Source: https://docs.discord.com/developers/reference#error-messages
func (bs breaches) tree() map[string]any {
	root := map[string]any{}
	for _, b := range bs {
		if b.odd {
			continue
		}
		at := root
		for _, key := range b.path {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		list, _ := at["_errors"].([]any)
		at["_errors"] = append(list, map[string]any{"code": b.code, "message": b.message})
	}
	return root
}

// checkType compares a decoded body with a type of the description. Properties
// that are null count as absent, as Discord has it for what is optional.
func checkType(name string, value any) (breaches, error) {
	d, err := described()
	if err != nil {
		return nil, err
	}
	s := d.Types[name]
	if s == nil {
		return nil, errors.New("discordtest: the description has no type " + name)
	}
	return d.check(s, value, nil), nil
}

func (d *description) check(s *schema, v any, path []string) breaches {
	for s != nil && s.Ref != "" {
		s = d.Definitions[s.Ref]
	}
	if s == nil {
		return nil
	}
	if len(s.AnyOf) > 0 {
		return d.checkAny(s, v, path)
	}
	var bs breaches
	if len(s.Type) > 0 && !slices.ContainsFunc(s.Type, func(kind string) bool { return isKind(kind, v) }) {
		code, message := misfit(s.Type[0], v)
		bs.add(path, code, "%s", message)
		return bs
	}
	choices := s.Enum
	if s.Const != nil {
		choices = []any{s.Const}
	}
	if choices != nil && !slices.Contains(choices, v) && !areBits(choices, v) {
		bs.add(path, "BASE_TYPE_CHOICES", "Value must be one of {%s}.", listed(choices))
		return bs
	}
	switch v := v.(type) {
	case map[string]any:
		bs = append(bs, d.checkObject(s, v, path)...)
	case []any:
		if s.MinItems != nil && len(v) < *s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
			bs.add(path, "BASE_TYPE_BAD_LENGTH", "This list has a wrong length.")
		}
		if s.Items != nil {
			for i, item := range v {
				bs = append(bs, d.check(s.Items, item, at(path, i))...)
			}
		}
	}
	return bs
}

func (d *description) checkObject(s *schema, v map[string]any, path []string) breaches {
	var bs breaches
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			bs.add(at(path, name), "BASE_TYPE_REQUIRED", "This field is required")
		}
	}
	for _, name := range sortedKeys(v) {
		if sub := s.Properties[name]; sub != nil {
			if v[name] == nil && !slices.Contains(s.Required, name) {
				continue
			}
			bs = append(bs, d.check(sub, v[name], at(path, name))...)
			continue
		}
		switch raw := string(s.AdditionalProperties); {
		case raw == "false" && v[name] != nil:
			bs.odd(at(path, name), "there is no such property")
		case strings.HasPrefix(raw, "{"):
			var sub schema
			if json.Unmarshal(s.AdditionalProperties, &sub) == nil {
				bs = append(bs, d.check(&sub, v[name], at(path, name))...)
			}
		}
	}
	return bs
}

// checkAny takes the branch that fits best, so that what is said is about the
// kind of thing that was meant: one of the same "type" where there is one.
func (d *description) checkAny(s *schema, v any, path []string) breaches {
	var best breaches
	least := -1
	for _, branch := range s.AnyOf {
		bs := d.check(branch, v, path)
		if len(bs) == 0 {
			return nil
		}
		cost := 0
		for _, b := range bs {
			switch {
			case b.odd:
				cost++
			case len(b.path) == len(path):
				cost += 10_000
			case len(b.path) == len(path)+1 && b.path[len(path)] == "type":
				cost += 1000
			default:
				cost += 10
			}
		}
		if least < 0 || cost < least {
			best, least = bs, cost
		}
	}
	return best
}

func isKind(kind string, v any) bool {
	switch v.(type) {
	case nil:
		return kind == "null"
	case string:
		return kind == "string"
	case float64:
		return kind == "number" || kind == "integer"
	case bool:
		return kind == "boolean"
	case map[string]any:
		return kind == "object"
	case []any:
		return kind == "array"
	}
	return false
}

// misfit says that a value is not of a type, in Discord's words.
func misfit(kind string, v any) (code, message string) {
	short := fmt.Sprintf("%.40v", v)
	switch kind {
	case "string":
		return "STRING_TYPE_CONVERT", fmt.Sprintf("Could not interpret %q as string.", short)
	case "number", "integer":
		return "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not int.", short)
	case "boolean":
		return "BOOLEAN_TYPE_CONVERT", "Must be either true or false."
	case "object":
		return "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a DictType"
	case "array":
		return "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"
	}
	return "BASE_TYPE_CHOICES", "This value is not allowed."
}

// areBits tells whether v is made of choices that are bits, such as a message's
// flags: the description lists these, and means any of them together, or none.
func areBits(choices []any, v any) bool {
	n, ok := v.(float64)
	if !ok || n < 0 || n != float64(int64(n)) {
		return false
	}
	rest := int64(n)
	for _, c := range choices {
		bit, ok := c.(float64)
		if !ok || bit < 1 || int64(bit)&(int64(bit)-1) != 0 {
			return false
		}
		rest &^= int64(bit)
	}
	return rest == 0 && len(choices) > 3 // 1, 2 and 4 may as well be kinds of something
}

func listed(choices []any) string {
	var words []string
	for _, c := range choices {
		words = append(words, fmt.Sprint(c))
	}
	return strings.Join(words, ", ")
}

// at is a path with one step more: a name or an index.
func at(path []string, step any) []string {
	word, ok := step.(string)
	if i, isIndex := step.(int); !ok && isIndex {
		word = strconv.Itoa(i)
	}
	return append(slices.Clone(path), word)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
