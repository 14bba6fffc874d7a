package policy

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/berth-dev/berth/actions"
)

// mostMistakes is how many mistakes of one condition are told: the later ones
// often follow from the first.
const mostMistakes = 3

// words are what some names can be.
var words = map[string][]string{
	"request.verb": verbs(),
	"environment.state": {
		"", string(actions.StateCreatePending), string(actions.StateUpdatePending), string(actions.StateRunning), string(actions.StateFailure),
		string(actions.StateArchivePending), string(actions.StateArchived), string(actions.StateRestorePending), string(actions.StateCleanupPending), string(actions.StateCleaned),
	},
}

func verbs() []string {
	var all []string
	for _, v := range actions.Verbs() {
		all = append(all, string(v))
	}
	return all
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// mistakes says in plain words what the CEL compiler found, where in the
// condition, and what was most likely meant.
func mistakes(env *cel.Env, names vocabulary, source string, issues *cel.Issues) []string {
	var parsed celast.Expr
	if tree, bad := env.Parse(source); bad.Err() == nil {
		parsed = tree.NativeRep().Expr()
	}
	var all []string
	for _, e := range issues.Errors() {
		if len(all) == mostMistakes {
			break
		}
		all = append(all, where(source, e.Location)+plain(env, names, parsed, e))
	}
	return all
}

// where is the place of a mistake within the condition.
func where(source string, at common.Location) string {
	if at == nil || at.Line() < 1 || at.Column() < 0 {
		return ""
	}
	if strings.Contains(strings.TrimSpace(source), "\n") {
		return fmt.Sprintf("line %d, column %d of the expression: ", at.Line(), at.Column()+1)
	}
	return fmt.Sprintf("column %d: ", at.Column()+1)
}

var (
	undefinedField = regexp.MustCompile(`^undefined field '(.*)'$`)
	undeclared     = regexp.MustCompile(`^undeclared reference to '(.*)' \(in container`)
	noOverload     = regexp.MustCompile(`^found no matching overload for '(.*)' applied to '(.*)'$`)
	atToken        = regexp.MustCompile(`(?:mismatched input|extraneous input|no viable alternative at input|token recognition error at:|missing .* at) '(.*?)'`)
)

func plain(env *cel.Env, names vocabulary, parsed celast.Expr, e *cel.Error) string {
	msg := firstLine(e.Message)
	if syntax, ok := strings.CutPrefix(msg, "Syntax error: "); ok {
		return plainSyntax(syntax)
	}
	if m := undefinedField.FindStringSubmatch(msg); m != nil {
		return noField(names, parsed, e.ExprID, m[1])
	}
	if m := undeclared.FindStringSubmatch(msg); m != nil {
		return noName(env, names, m[1])
	}
	if m := noOverload.FindStringSubmatch(msg); m != nil {
		name := m[1]
		if symbol, ok := operators.FindReverse(name); ok && symbol != "" {
			name = symbol
		}
		return fmt.Sprintf("%s does not work with %s", strings.TrimPrefix(name, "@"), plainType(m[2]))
	}
	return plainType(msg)
}

// plainSyntax names what is in the way, and how those who come from other
// languages have to write it.
func plainSyntax(msg string) string {
	token := ""
	if m := atToken.FindStringSubmatch(msg); m != nil {
		token = strings.TrimSpace(m[1])
	}
	switch {
	case token == "<EOF>":
		return "the expression ends too early"
	case strings.HasPrefix(token, "="):
		return "write == to compare"
	case token == "and" || token == "or" || token == "not":
		return fmt.Sprintf("write %s for %s", map[string]string{"and": "&&", "or": "||", "not": "!"}[token], token)
	case token != "":
		return fmt.Sprintf("%q is not expected here", token)
	}
	msg, _, _ = strings.Cut(msg, " expecting ")
	return msg
}

// noField says which fields there are where one was asked for that is not.
func noField(names vocabulary, parsed celast.Expr, id int64, field string) string {
	of := ""
	if parsed != nil {
		celast.PreOrderVisit(parsed, celast.NewExprVisitor(func(e celast.Expr) {
			if e.ID() == id && e.Kind() == celast.SelectKind {
				of = path(e.AsSelect().Operand())
			}
		}))
	}
	if t, ok := names[of]; ok {
		return fmt.Sprintf("%s has no field %q%s", of, field, hint(field, fields(t)))
	}
	if t, ok := inner[of]; ok {
		return fmt.Sprintf("%s has no field %q%s", of, field, hint(field, fields(t)))
	}
	for _, list := range []string{"plan.parts[]", "plan.resources[]", "environment.components[]"} {
		if of, _, _ := strings.Cut(list, "."); names[of] == nil {
			continue
		}
		if near := nearest(field, fields(inner[list])); near != "" {
			return fmt.Sprintf("there is no field %q; did you mean %q?", field, near)
		}
	}
	return fmt.Sprintf("there is no field %q", field)
}

// noName says which names and functions there are.
func noName(env *cel.Env, names vocabulary, name string) string {
	known := append(slices.Sorted(maps.Keys(names)), "now")
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("there is no %q; did you mean %q?", name, near)
	}
	if near := nearest(name, slices.Sorted(maps.Keys(env.Functions()))); near != "" {
		return fmt.Sprintf("there is no %q; did you mean %q?", name, near)
	}
	for _, top := range known[:len(known)-1] {
		if contains(fields(names[top]), name) {
			return fmt.Sprintf("there is no %q; did you mean %s.%s?", name, top, name)
		}
	}
	return fmt.Sprintf("there is no %q%s", name, hint(name, known))
}

// fields are what the fields of t are called in conditions.
func fields(t reflect.Type) []string {
	var all []string
	for f := range t.Fields() {
		all = append(all, f.Tag.Get("cel"))
	}
	return all
}

// hint suggests the known word that a mistyped one most likely means, or lists
// them.
func hint(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	listed := slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" })
	return "; there are: " + strings.Join(listed, ", ")
}

// nearest is the known word within two edits of word (one for short words), ""
// when there is none.
func nearest(word string, known []string) string {
	best, least := "", 3
	if len(word) <= 4 {
		least = 2
	}
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }
	for _, k := range known {
		if k == "" || strings.ContainsAny(k, "@_?!-+*/%<>=") && !strings.Contains(word, "_") && !letters(k) {
			continue
		}
		if d := edits(plain(word), plain(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// letters tells words from CEL's own names of operators.
func letters(s string) bool {
	return s[0] != '_' && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz_.") == ""
}

// edits is how many letters have to be added, left out or changed to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)]
}

// typeName is how CEL writes the types of this package.
var typeName = regexp.MustCompile(`policy\.(\w+)Facts`)

// plainType says types as docs/policies.md does.
func plainType(s string) string {
	s = typeName.ReplaceAllStringFunc(s, func(m string) string {
		return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(m, "policy."), "Facts"))
	})
	return strings.ReplaceAll(strings.ReplaceAll(s, "google.protobuf.Timestamp", "timestamp"), "google.protobuf.Duration", "duration")
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}
