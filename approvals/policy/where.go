package policy

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
)

// whereNames are what a `where` can use besides now.
var whereNames = vocabulary{
	"environment": reflect.TypeFor[EnvironmentFacts](),
	"app":         reflect.TypeFor[AppFacts](),
}

// Where is a compiled condition over environments, such as a schedule's. It may
// be used from many goroutines.
type Where struct {
	source    string
	condition *condition // nil for all of them
}

// Compile checks a condition over environment, app and now; "" is true of every
// environment. Its error says, for whoever wrote it, what is wrong and where in
// the expression.
func Compile(where string) (*Where, error) {
	if strings.TrimSpace(where) == "" {
		return &Where{}, nil
	}
	env, err := language(whereNames)
	if err != nil {
		return nil, errors.New("conditions cannot be read at all, which is a fault of Berth's: " + err.Error())
	}
	c, wrong := compile(env, whereNames, where)
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return &Where{source: where, condition: c}, nil
}

// String is the condition as it was written.
func (w *Where) String() string { return w.source }

// Match tells whether the condition holds for env at the moment now; app is nil
// when it is not configured any more. Its error says what went wrong without the
// values that it went wrong with: whoever asks must take it for "not known", and
// do nothing. environment.owner is the account that had the environment made.
func (w *Where) Match(env *actions.Environment, app *actions.App, now time.Time) (bool, error) {
	if w.condition == nil {
		return true, nil
	}
	about := environmentFacts(env.Name, env, now)
	if about.PullRequest == 0 {
		about.PullRequest = int64(env.Name.PullRequest())
	}
	if about.Exists {
		about.Owner = env.Owner.Identity
	}
	// What one evaluation may cost is bounded, so that nobody needs to stop it.
	return w.condition.holds(context.Background(), map[string]any{
		"now": now.UTC(), "environment": about, "app": appFacts(env.Name.App, app, env.Namespace),
	})
}
