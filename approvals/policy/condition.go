package policy

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

const (
	// costLimit bounds what one evaluation may cost, in CEL's own units: one for
	// each step and for every ten characters. That many take less than a tenth of
	// a second; conditions that people write cost less than a thousand.
	costLimit = 100_000
	// interruptEvery is after how many rounds of a loop an evaluation looks
	// whether it is still wanted.
	interruptEvery = 128
	// maxRange is the longest list that lists.range makes.
	maxRange = 10_000
)

// vocabulary is what conditions of one kind can use besides now, by name.
type vocabulary map[string]reflect.Type

// names are those of a rule's `when`.
var names = vocabulary{
	"request":     reflect.TypeFor[RequestFacts](),
	"environment": reflect.TypeFor[EnvironmentFacts](),
	"app":         reflect.TypeFor[AppFacts](),
	"actor":       reflect.TypeFor[ActorFacts](),
	"plan":        reflect.TypeFor[PlanFacts](),
}

// inner are the types that names hold.
var inner = map[string]reflect.Type{
	"plan.commit": reflect.TypeFor[CommitFacts](),

	"environment.components[]": reflect.TypeFor[ComponentFacts](),

	"plan.parts[]":     reflect.TypeFor[PartFacts](),
	"plan.resources[]": reflect.TypeFor[ResourceFacts](),
}

// language makes what conditions are checked against. It takes well under a
// millisecond, and is not kept: only compiled conditions are.
func language(names vocabulary) (*cel.Env, error) {
	native := []any{ext.ParseStructTags(true)}
	options := []cel.EnvOption{
		ext.Strings(), ext.Sets(), ext.Lists(ext.ListsMaxRangeSize(maxRange)),
		cel.Variable("now", cel.TimestampType),
	}
	for _, t := range inner {
		native = append(native, t)
	}
	for name, t := range names {
		native = append(native, t)
		options = append(options, cel.Variable(name, cel.ObjectType(t.String())))
	}
	return cel.NewEnv(append([]cel.EnvOption{ext.NativeTypes(native...)}, options...)...)
}

// condition is a compiled `when`.
type condition struct {
	program cel.Program
	uses    map[string]bool // the names that it looks at
	timed   bool            // time alone may change what it says
}

// compile checks source. Its mistakes come as sentences for whoever wrote it.
func compile(env *cel.Env, names vocabulary, source string) (*condition, []string) {
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, mistakes(env, names, source, issues)
	}
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) {
		return nil, []string{fmt.Sprintf("this gives %s, where true or false is needed; compare it with something", plainType(t.String()))}
	}
	tree := checked.NativeRep()
	if wrong := unknownWords(tree); len(wrong) > 0 {
		return nil, wrong
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costLimit), cel.InterruptCheckFrequency(interruptEvery))
	if err != nil {
		// Constants are worked out now: what is wrong with one is the writer's.
		return nil, []string{"this cannot be worked out: " + firstLine(err.Error())}
	}
	c := &condition{program: program, uses: map[string]bool{}}
	celast.PreOrderVisit(tree.Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		switch e.Kind() {
		case celast.IdentKind:
			c.uses[e.AsIdent()] = true
			c.timed = c.timed || e.AsIdent() == "now"
		case celast.SelectKind:
			switch path(e) {
			case "environment.age", "environment.idle", "environment.expires_in":
				c.timed = true
			}
		}
	}))
	return c, nil
}

// holds evaluates the condition. Its error says what went wrong without the
// values that it went wrong with, since those of --set can be secrets.
func (c *condition) holds(ctx context.Context, values map[string]any) (bool, error) {
	out, _, err := c.program.ContextEval(ctx, values)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return false, errors.New(plainRuntime(err.Error()))
	}
	value, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gave %s, where true or false is needed", out.Type().TypeName())
	}
	return value, nil
}

// runtimeErrors are how evaluations can fail, and what to say of it.
var runtimeErrors = []struct{ sign, say string }{
	{"no such key", "a key is not there; ask for it first, as in \"image.tag\" in request.set && request.set[\"image.tag\"] == \"latest\""},
	{"cost limit", "it takes too long for this request; make it look at less"},
	{"divi", "it divides by zero"},
	{"modul", "it divides by zero"},
	{"index out of", "a list is shorter than it expects; ask for its size() first"},
	{"overflow", "a number or a time in it is too large"},
	{"out of range", "a number or a time in it is too large"},
	{"no such overload", "two values in it do not fit together"},
	{"regex", "a text in it is no regular expression"},
	{"regexp", "a text in it is no regular expression"},
}

func plainRuntime(msg string) string {
	for _, known := range runtimeErrors {
		if strings.Contains(msg, known.sign) {
			return known.say
		}
	}
	return "a value in it could not be read as what it should be"
}

// path is how a chain of selections is written: "plan.commit.sha"; "" for what
// is no such chain.
func path(e celast.Expr) string {
	switch e.Kind() {
	case celast.IdentKind:
		return e.AsIdent()
	case celast.SelectKind:
		if before := path(e.AsSelect().Operand()); before != "" {
			return before + "." + e.AsSelect().FieldName()
		}
	}
	return ""
}

// unknownWords finds comparisons with words that a name is never equal to, such
// as a mistyped verb: a rule that never matches is worse than none.
func unknownWords(tree *celast.AST) []string {
	var wrong []string
	check := func(name, value celast.Expr) {
		known := words[path(name)]
		if known == nil || value.Kind() != celast.LiteralKind {
			return
		}
		word, ok := value.AsLiteral().Value().(string)
		if !ok || contains(known, word) {
			return
		}
		wrong = append(wrong, fmt.Sprintf("%s is never %q%s", path(name), word, hint(word, known)))
	}
	celast.PreOrderVisit(tree.Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() != celast.CallKind || len(e.AsCall().Args()) != 2 {
			return
		}
		left, right := e.AsCall().Args()[0], e.AsCall().Args()[1]
		switch e.AsCall().FunctionName() {
		case operators.Equals, operators.NotEquals:
			check(left, right)
			check(right, left)
		case operators.In:
			if right.Kind() == celast.ListKind {
				for _, item := range right.AsList().Elements() {
					check(left, item)
				}
			}
		}
	}))
	return wrong
}
