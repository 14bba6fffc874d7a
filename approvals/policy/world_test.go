package policy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// world is a small store of what an Engine asks for.
type world struct {
	now      time.Time
	people   map[string]approvals.Person // by identity
	teams    map[string][]string         // members' ids by "github-team:acme/ops"
	blind    map[string]bool             // groups that cannot be seen
	envs     []*actions.Environment
	requests []*approvals.Request
}

// start is a Saturday noon.
var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// newWorld has ana and bo of the role sre, dan of the role db, eve of both, and
// lee who leads; ana has a second account, zoe is nobody.
func newWorld() *world {
	w := &world{now: start, people: map[string]approvals.Person{}, teams: map[string][]string{}, blind: map[string]bool{}}
	for name, roles := range map[string][]string{"ana": {"sre"}, "bo": {"sre"}, "cy": {"sre"}, "dan": {"db"}, "eve": {"sre", "db"}, "lee": {"lead"}} {
		p := approvals.Person{ID: "actor:" + name, Name: name, Roles: roles, Identities: []string{"github:" + name, "token:" + name}}
		for _, identity := range p.Identities {
			w.people[identity] = p
		}
	}
	return w
}

func (w *world) Person(_ context.Context, identity string) (approvals.Person, error) {
	if p, ok := w.people[identity]; ok {
		return p, nil
	}
	_, name, _ := strings.Cut(identity, ":")
	return approvals.Person{ID: identity, Name: name, Identities: []string{identity}}, nil
}

func (w *world) App(name string) (*actions.App, error) {
	if name != "shop" {
		return nil, actions.Errorf("app", actions.CodeNotFound, "no")
	}
	return &actions.App{Name: "shop", Repo: "acme/shop", Cluster: actions.Cluster{Name: "staging"}, Parts: []actions.Part{{Name: "db", Use: "aws"}, {Name: "web", Use: "helm"}}}, nil
}

func (w *world) Apps() []*actions.App { return nil }

func (w *world) Environment(_ context.Context, name actions.Name) (*actions.Environment, error) {
	for _, env := range w.envs {
		if env.Name == name {
			return env, nil
		}
	}
	return nil, actions.Errorf("environment", actions.CodeNotFound, "no")
}

func (w *world) Environments(_ context.Context, f actions.EnvFilter) ([]*actions.Environment, string, error) {
	var out []*actions.Environment
	for _, env := range w.envs {
		if f.App == "" || env.Name.App == f.App {
			out = append(out, env)
		}
	}
	return out, "", nil
}

func (w *world) Active(_ context.Context, app string) ([]*approvals.Request, error) {
	var out []*approvals.Request
	for _, r := range w.requests {
		if app == "" || r.Order.Env.App == app {
			out = append(out, r)
		}
	}
	return out, nil
}

// groups is the Groups of one prefix.
type groups struct {
	*world
	prefix string
}

func (g groups) Member(_ context.Context, group string, _ *approvals.Request, p approvals.Person) (bool, error) {
	key := strings.TrimSuffix(g.prefix+":"+group, ":")
	if g.blind[key] {
		return false, errors.New("GitHub is away")
	}
	return slices.Contains(g.teams[key], p.Name), nil
}

func (w *world) engine(t testing.TB, rules ...Rule) *Engine {
	t.Helper()
	e, err := New(Options{
		Rules: rules, People: w, Apps: w, Environments: w, Requests: w, Now: func() time.Time { return w.now },
		Groups: map[string]Groups{"github-team": groups{w, "github-team"}, "codeowners": groups{w, "codeowners"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// request is zoe's wish to clean up shop/demo, planned at start.
func request() *approvals.Request {
	order := actions.Order{Env: actions.Name{App: "shop", Env: "demo"}, Verb: actions.VerbCleanup}
	return &approvals.Request{
		ID: "01k0000000000000000000000m", State: approvals.StatePending, Order: order, Requester: from("zoe"), Digest: "d",
		Place: approvals.Place{Surface: "api"}, CreatedAt: start,
		Plan: &actions.Plan{Digest: "d", Order: order, MadeAt: start},
	}
}

func from(name string) approvals.Requester {
	return approvals.Requester{Actor: name, Identity: "github:" + name}
}

func said(verdict approvals.Verdict, name string, after time.Duration) approvals.Decision {
	return approvals.Decision{Verdict: verdict, By: from(name), At: start.Add(after), Digest: "d"}
}

func yesBy(names ...string) []approvals.Decision {
	var all []approvals.Decision
	for i, name := range names {
		all = append(all, said(approvals.Approve, name, time.Duration(i+1)*time.Minute))
	}
	return all
}

func need(count int, from ...string) Need { return Need{Count: count, From: from} }

func asking(needs ...Need) Rule { return Rule{Name: "ask", Approve: &Approve{Needs: needs}} }
