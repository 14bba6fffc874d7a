package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/berth-dev/berth/actions"
)

// schema is what an executor says of `with`, compiled once for each start of
// the program.
type schema struct{ compiled *jsonschema.Schema }

// compileSchema returns a schema that accepts anything for nil.
func compileSchema(s map[string]any) (*schema, error) {
	if s == nil {
		return &schema{}, nil
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	const name = "executor:with"
	if err := c.AddResource(name, s); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, err
	}
	return &schema{compiled}, nil
}

// noLoader keeps a schema from having the bot read files or fetch addresses.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("the schema refers to %s; it has to stand for itself", url)
}

// check holds a part's settings, in JSON's own types, against the schema. With provisional, a text that
// holds a template which could not be filled in yet gets the benefit of the
// doubt. The error is CodeInvalid and gives the path of what is wrong, but no
// values.
func (s *schema) check(op, part string, with map[string]any, provisional bool) error {
	faults := s.faults("with", with, provisional)
	if len(faults) == 0 {
		return nil
	}
	text := strings.Join(faults[:min(3, len(faults))], "; ")
	if more := len(faults) - 3; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return actions.Errorf(op, actions.CodeInvalid, "Part %q is not configured as its executor needs it: %s.", part, text)
}

// faults are the sentences on what is wrong with settings, which people know
// under the name root.
func (s *schema) faults(root string, settings map[string]any, provisional bool) []string {
	if s.compiled == nil {
		return nil
	}
	err := s.compiled.Validate(settings)
	if err == nil {
		return nil
	}
	verr, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []string{root + " could not be checked"}
	}
	return leaves(verr, root, settings, provisional)
}

// leaves are the sentences on what is wrong. An alternative (anyOf, oneOf) with
// a doubtful branch counts as doubtful itself.
func leaves(e *jsonschema.ValidationError, root string, instance any, provisional bool) []string {
	if provisional && unfilled(at(instance, e.InstanceLocation)) {
		return nil
	}
	if len(e.Causes) == 0 {
		return []string{sentence(e, root)}
	}
	alternative := false
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		alternative = true
	}
	var all []string
	for _, c := range e.Causes {
		found := leaves(c, root, instance, provisional)
		if len(found) == 0 && alternative {
			return nil
		}
		for _, f := range found {
			if !slices.Contains(all, f) {
				all = append(all, f)
			}
		}
	}
	if alternative && len(all) > 1 {
		return []string{strings.Join(all, ", or ")}
	}
	return all
}

// unfilled tells whether v is a text with a template in it.
func unfilled(v any) bool {
	s, ok := v.(string)
	return ok && strings.Contains(s, "{{")
}

// at is the value at a path of an instance, nil when there is none.
func at(v any, path []string) any {
	for _, key := range path {
		switch node := v.(type) {
		case map[string]any:
			v = node[key]
		case []any:
			var i int
			if _, err := fmt.Sscanf(key, "%d", &i); err != nil || i < 0 || i >= len(node) {
				return nil
			}
			v = node[i]
		default:
			return nil
		}
	}
	return v
}

// sentence says what is wrong without repeating the value, which may be a
// secret.
func sentence(e *jsonschema.ValidationError, root string) string {
	where := strings.Join(append([]string{root}, e.InstanceLocation...), ".")
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return fmt.Sprintf("%s lacks %s", where, quoted(k.Missing))
	case *kind.DependentRequired:
		return fmt.Sprintf("%s has %q and so needs %s", where, k.Prop, quoted(k.Missing))
	case *kind.AdditionalProperties:
		return fmt.Sprintf("%s has %s, which the executor does not know", where, quoted(k.Properties))
	case *kind.FalseSchema:
		return where + " is not known to the executor"
	case *kind.Type:
		return fmt.Sprintf("%s is of type %s and has to be %s", where, k.Got, strings.Join(k.Want, " or "))
	case *kind.Enum:
		return fmt.Sprintf("%s has to be one of %s", where, values(k.Want))
	case *kind.Const:
		return fmt.Sprintf("%s has to be %s", where, values([]any{k.Want}))
	case *kind.Pattern:
		return fmt.Sprintf("%s does not match the pattern %s", where, k.Want)
	case *kind.Format:
		return fmt.Sprintf("%s is not a valid %s", where, k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("%s is shorter than %d", where, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("%s is longer than %d", where, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("%s has fewer than %d items", where, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("%s has more than %d items", where, k.Want)
	case *kind.Minimum:
		return fmt.Sprintf("%s is less than %s", where, k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("%s is more than %s", where, k.Want.RatString())
	}
	return fmt.Sprintf("%s breaks the rule %q", where, strings.Join(e.ErrorKind.KeywordPath(), "/"))
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	slices.Sort(q)
	return strings.Join(q, ", ")
}

func values(all []any) string {
	q := make([]string, len(all))
	for i, v := range all {
		if b, err := json.Marshal(v); err == nil {
			q[i] = string(b)
		}
	}
	return strings.Join(q, ", ")
}
