package actions_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

const (
	indexKey = "berth:{envs}:index"
	hintsKey = "berth:{envs}:hints"
)

// named lists the environments that a filter finds, page by page.
func named(tb testing.TB, s *actions.Store, f actions.EnvFilter) []string {
	tb.Helper()
	var names []string
	for {
		page, next, err := s.Environments(tb.Context(), f)
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range page {
			names = append(names, e.Name.String())
		}
		if f.Cursor = next; next == "" {
			return names
		}
	}
}

// indexedStore is a store whose index is in use.
func indexedStore(tb testing.TB, rdb redis.UniversalClient) *actions.Store {
	tb.Helper()
	s := actions.NewStore(rdb, actions.StoreOptions{})
	if err := s.MendIndexes(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestEnvironmentsAreFoundByWhatTheyAreBuiltFrom(t *testing.T) {
	t.Parallel()
	s := indexedStore(t, redistest.Client(t))
	put := func(name string, state actions.State, repo string, pr int, components ...actions.Built) {
		t.Helper()
		n, err := actions.ParseName(name)
		if err != nil {
			t.Fatal(err)
		}
		env := &actions.Environment{Name: n, State: state, Repo: repo, PullRequest: pr, Components: map[string]actions.Built{}}
		for i, c := range components {
			env.Components[fmt.Sprint("c", i)] = c
		}
		if err := actions.Put(t.Context(), s, env); err != nil {
			t.Fatal(err)
		}
	}
	api := func(pr int) actions.Built { return actions.Built{Repo: "acme/api", PullRequest: pr} }
	put("shop/pr-1", actions.StateRunning, "Acme/Shop", 1, api(12))
	put("shop/pr-2", actions.StateFailure, "acme/shop", 2, api(0))
	put("shop/pr-12", actions.StateRunning, "acme/shop", 12)
	put("api/pr-12", actions.StateRunning, "acme/api", 12)
	put("api/gone", actions.StateCleaned, "acme/api", 12)
	put("shops/pr-1", actions.StateRunning, "acme/shops", 1, api(1), api(12))
	tests := map[string]struct {
		filter actions.EnvFilter
		want   string
	}{
		"a pull request, as the app's own and as a component": {actions.EnvFilter{Repo: "acme/api", PullRequest: 12}, "api/pr-12 shop/pr-1 shops/pr-1"},
		"whatever the case":                   {actions.EnvFilter{Repo: "ACME/shop", PullRequest: 1}, "shop/pr-1"},
		"a repository":                        {actions.EnvFilter{Repo: "acme/api"}, "api/pr-12 shop/pr-1 shop/pr-2 shops/pr-1"},
		"a number in every repository":        {actions.EnvFilter{PullRequest: 12}, "api/pr-12 shop/pr-1 shop/pr-12 shops/pr-1"},
		"a number that begins another":        {actions.EnvFilter{PullRequest: 1}, "shop/pr-1 shops/pr-1"},
		"of one app":                          {actions.EnvFilter{App: "shop", PullRequest: 12}, "shop/pr-1 shop/pr-12"},
		"in a state":                          {actions.EnvFilter{Repo: "acme/api", State: actions.StateFailure}, "shop/pr-2"},
		"the cleaned ones too":                {actions.EnvFilter{Repo: "acme/api", PullRequest: 12, All: true}, "api/gone api/pr-12 shop/pr-1 shops/pr-1"},
		"a repository that nobody has":        {actions.EnvFilter{Repo: "acme/ap"}, ""},
		"what is no repository":               {actions.EnvFilter{Repo: "a b\xff"}, ""},
		"a repository whose name begins like": {actions.EnvFilter{Repo: "acme/shop"}, "shop/pr-1 shop/pr-12 shop/pr-2"},
		"a state of an app":                   {actions.EnvFilter{App: "shop", State: actions.StateRunning}, "shop/pr-1 shop/pr-12"},
		"a state":                             {actions.EnvFilter{State: actions.StateRunning}, "api/pr-12 shop/pr-1 shop/pr-12 shops/pr-1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, limit := range []int{0, 1, 2} {
				tc.filter.Limit = limit
				if got := strings.Join(named(t, s, tc.filter), " "); got != tc.want {
					t.Errorf("by %d: %q, want %q", limit, got, tc.want)
				}
			}
		})
	}
}

func TestExpiringFindsWhatIsDueSoonestFirst(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	old := actions.NewStore(rdb, actions.StoreOptions{}) // its index is not known to be whole
	for i, after := range []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour, time.Hour + 1, -time.Hour, 0} {
		env := &actions.Environment{Name: actions.Name{App: "shop", Env: fmt.Sprint("env-", i)}, State: actions.StateRunning, ExpiresAt: noon.Add(after)}
		if err := actions.Put(t.Context(), old, env); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range []*actions.Environment{
		{Name: actions.Name{App: "shop", Env: "for-ever"}, State: actions.StateRunning},
		{Name: actions.Name{App: "shop", Env: "gone"}, State: actions.StateCleaned, ExpiresAt: noon.Add(time.Hour)},
	} {
		if err := actions.Put(t.Context(), old, env); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		from, until time.Time
		limit       int
		want        string
	}{
		"all that are due":             {from: noon, until: noon.Add(3 * time.Hour), want: "1 3 2 0"},
		"from is left out":             {from: noon.Add(time.Hour), until: noon.Add(2 * time.Hour), want: "3 2"},
		"until is not":                 {from: noon, until: noon.Add(time.Hour), want: "1"},
		"the soonest":                  {from: noon, until: noon.Add(9 * time.Hour), limit: 2, want: "1 3"},
		"from the beginning":           {until: noon.Add(time.Hour), want: "4 5 1"},
		"none":                         {from: noon.Add(4 * time.Hour), until: noon.Add(5 * time.Hour)},
		"until a time before the from": {from: noon.Add(4 * time.Hour), until: noon},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range []*actions.Store{old, indexedStore(t, rdb)} {
				due, err := s.Expiring(t.Context(), tc.from, tc.until, tc.limit)
				var got []string
				for _, e := range due {
					got = append(got, strings.TrimPrefix(e.Name.Env, "env-"))
				}
				if err != nil || strings.Join(got, " ") != tc.want {
					t.Errorf("%v, want %q, %v", got, tc.want, err)
				}
			}
		})
	}
}

// dyingWriter lets a change of records come as far as a step, and no further.
type dyingWriter struct{ at string }

func (h *dyingWriter) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *dyingWriter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		var rest []redis.Cmder
		for _, cmd := range cmds {
			if h.drops(cmd) {
				cmd.SetErr(context.DeadlineExceeded)
			} else {
				rest = append(rest, cmd)
			}
		}
		if len(rest) == 0 {
			return context.DeadlineExceeded
		}
		return next(ctx, rest)
	}
}

func (h *dyingWriter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.drops(cmd) {
			cmd.SetErr(context.DeadlineExceeded)
			return context.DeadlineExceeded
		}
		return next(ctx, cmd)
	}
}

// drops tells whether the writer is dead before this command: a script of the
// index that settles, one that proposes, or the one that writes the record.
func (h *dyingWriter) drops(cmd redis.Cmder) bool {
	if !strings.HasPrefix(cmd.Name(), "eval") {
		return false
	}
	text := fmt.Sprint(cmd.Args()...)
	index, settles := strings.Contains(text, indexKey), strings.Contains(text, "gone[")
	switch h.at {
	case "settling":
		return index && settles
	case "writing":
		return (index && settles) || !index
	default:
		return false
	}
}

// Whatever writers do at the same time and wherever they die: every record is
// found by what it says, and only by that, whatever stands in the index.
func TestNoRecordIsHiddenWhereverAWriterDies(t *testing.T) {
	o := redistest.Options(t)
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	ctx := t.Context()
	states := []actions.State{actions.StateRunning, actions.StateFailure, actions.StateArchived, actions.StateCleaned}
	start, life := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), 0
	dying := map[string]redis.UniversalClient{}
	for _, at := range []string{"", "writing", "settling"} {
		c := redis.NewClient(o)
		c.AddHook(&dyingWriter{at})
		t.Cleanup(func() { _ = c.Close() })
		dying[at] = c
	}
	rapid.Check(t, func(rt *rapid.T) {
		life++ // what writers of the life before have not settled yet comes to nothing here
		app, repo, noon := fmt.Sprint("app-", life), fmt.Sprint("acme/app-", life), start.AddDate(0, 0, life)
		reader := actions.NewStore(rdb, actions.StoreOptions{})
		if err := reader.MendIndexes(ctx); err != nil {
			rt.Fatal(err)
		}
		type writer struct {
			s    *actions.Store
			read map[string]*actions.Environment // as it last read them
		}
		var writers []*writer
		for _, at := range []string{"", "", "writing", "settling"} {
			writers = append(writers, &writer{actions.NewStore(dying[at], actions.StoreOptions{}), map[string]*actions.Environment{}})
		}
		truth := map[string]*actions.Environment{}
		names := []string{"aa", "ab"}
		rt.Repeat(map[string]func(*rapid.T){
			"read": func(rt *rapid.T) {
				w, name := rapid.SampledFrom(writers).Draw(rt, "writer"), rapid.SampledFrom(names).Draw(rt, "name")
				w.read[name] = nil
				if env, err := reader.Environment(ctx, actions.Name{App: app, Env: name}); err == nil {
					w.read[name] = env
				}
			},
			"write": func(rt *rapid.T) {
				w, name := rapid.SampledFrom(writers).Draw(rt, "writer"), rapid.SampledFrom(names).Draw(rt, "name")
				env := &actions.Environment{}
				if known := w.read[name]; known != nil {
					*env = *known
				}
				env.Name = actions.Name{App: app, Env: name}
				env.State, env.Repo = rapid.SampledFrom(states).Draw(rt, "state"), repo
				env.PullRequest = rapid.IntRange(0, 2).Draw(rt, "pull request")
				env.ExpiresAt = noon.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "hours")) * time.Hour)
				within, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				_ = actions.Put(within, w.s, env)
				if now, err := reader.Environment(ctx, env.Name); err == nil {
					truth[name] = now
				}
				w.read[name] = truth[name]
			},
			"look": func(*rapid.T) { _ = named(t, reader, actions.EnvFilter{State: actions.StateRunning}) },
			"mend": func(rt *rapid.T) {
				if err := reader.MendIndexes(ctx); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				for _, state := range states[:3] {
					var want []string
					for _, name := range names {
						if e := truth[name]; e != nil && e.State == state {
							want = append(want, app+"/"+name)
						}
					}
					if got := named(t, reader, actions.EnvFilter{App: app, State: state, Limit: 1}); !slices.Equal(got, want) {
						rt.Fatalf("%s: found %v, want %v", state, got, want)
					}
				}
				for pr := 1; pr < 3; pr++ {
					var want []string
					for _, name := range names {
						if e := truth[name]; e != nil && e.State != actions.StateCleaned && e.PullRequest == pr {
							want = append(want, app+"/"+name)
						}
					}
					if got := named(t, reader, actions.EnvFilter{PullRequest: pr, Repo: repo}); !slices.Equal(got, want) {
						rt.Fatalf("pull request %d: found %v, want %v", pr, got, want)
					}
				}
				for hours := range 3 {
					at := noon.Add(time.Duration(hours) * time.Hour)
					due, err := reader.Expiring(ctx, at.Add(-time.Minute), at, 0)
					n := 0
					for _, e := range truth {
						if e.State != actions.StateCleaned && e.ExpiresAt.Equal(at) {
							n++
						}
					}
					if err != nil || len(due) != n {
						rt.Fatalf("due in %d h: %d, want %d, %v", hours, len(due), n, err)
					}
				}
			},
		})
		wantMended(ctx, rt, rdb, reader, app, truth)
	})
}

// wantMended checks that mending leaves nothing in the index but what is right.
func wantMended(ctx context.Context, rt *rapid.T, rdb *redis.Client, s *actions.Store, app string, truth map[string]*actions.Environment) {
	if err := s.MendIndexes(ctx); err != nil {
		rt.Fatal(err)
	}
	for _, member := range rdb.ZRange(ctx, indexKey, 0, -1).Val() {
		_, name, _ := strings.Cut(member, " ")
		env, ours := strings.CutPrefix(name, app+"/")
		if !ours {
			continue
		}
		hints := strings.ReplaceAll(rdb.HGet(ctx, hintsKey, name).Val(), `\/`, "/")
		attribute, _, _ := strings.Cut(member, " ")
		if truth[env] == nil && !strings.Contains(hints, ",0,") {
			rt.Errorf("%q leads nowhere", member)
		}
		if !strings.Contains(hints, `"`+attribute+`"`) { // else nothing could ever take it out
			rt.Errorf("%q is not among the hints %s", member, hints)
		}
	}
}

func TestWhatRedisLostOfTheIndexIsMended(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := indexedStore(t, rdb)
	ctx := t.Context()
	fill(t, s, 30, "shop", "zoo")
	want := named(t, s, actions.EnvFilter{})
	if len(want) != 40 {
		t.Fatalf("%d environments", len(want))
	}
	damage := map[string]func(){
		"the index is gone":          func() { rdb.Del(ctx, indexKey) },
		"all of it is gone":          func() { rdb.Del(ctx, indexKey, hintsKey) },
		"what leads to them is gone": func() { rdb.Del(ctx, hintsKey) },
		"some entries are gone":      func() { rdb.ZRem(ctx, indexKey, "l shop/env-00001", "sRunning zoo/env-00004") },
		"it is settled for what comes": func() {
			rdb.HSet(ctx, hintsKey, "shop/env-00003", `[[9,1,"l","sArchived"]]`)
			rdb.ZRem(ctx, indexKey, "l shop/env-00003", "sRunning shop/env-00003")
		},
	}
	for name, harm := range damage {
		harm()
		if err := s.MendIndexes(ctx); err != nil {
			t.Fatal(err)
		}
		for _, f := range []actions.EnvFilter{{}, {State: actions.StateRunning}} {
			if got := named(t, s, f); !slices.Equal(got, want) {
				t.Errorf("%s: %d of %d are found", name, len(got), len(want))
			}
		}
	}
}

// An environment that an earlier version stored is found at once, and the index
// comes to lead to it.
func TestRecordsWithoutAnIndexAreFound(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	fill(t, indexedStore(t, rdb), 30, "shop")
	rdb.Del(t.Context(), indexKey, hintsKey, "berth:{envs}:indexed")
	s := actions.NewStore(rdb, actions.StoreOptions{})
	for f, want := range map[actions.EnvFilter]int{{}: 20, {State: actions.StateRunning}: 20, {All: true}: 30, {App: "shop", Limit: 3}: 20} {
		if got := named(t, s, f); len(got) != want {
			t.Errorf("%+v: %d, want %d", f, len(got), want)
		}
	}
	for rdb.Exists(t.Context(), "berth:{envs}:indexed").Val() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the index was not made")
		}
	}
	if n := rdb.ZCard(t.Context(), indexKey).Val(); n != 40 { // that they live, and their states
		t.Errorf("%d entries", n)
	}
}

func TestASaveThatMovesNothingAsksNothingOfTheIndex(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	s := indexedStore(t, rdb)
	env := &actions.Environment{Name: shop42, State: actions.StateRunning}
	if err := actions.Put(t.Context(), s, env); err != nil {
		t.Fatal(err)
	}
	for !strings.HasPrefix(rdb.HGet(t.Context(), hintsKey, "shop/pr-42").Val(), "[[1,1,") { // settled from the side
		if t.Context().Err() != nil {
			t.Fatal("it was not settled")
		}
	}
	var asked atomic.Bool
	rdb.AddHook(&beforeScript{has: indexKey, then: func() { asked.Store(true) }})
	for range 3 {
		if err := actions.Put(t.Context(), s, env); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() {
		t.Error("the index was asked about what had not moved")
	}
	env.State = actions.StateFailure
	if err := actions.Put(t.Context(), s, env); err != nil || !asked.Load() {
		t.Errorf("the index was not told: %v", err)
	}
}

// One record that was spoilt must not hide the others, nor keep what is due from
// being seen.
func TestARecordThatCannotBeReadHidesNoOther(t *testing.T) {
	t.Parallel()
	for spoilt, value := range map[string]string{
		"no JSON": "nonsense", "of another shape": `{"environment": 7}`, "of another environment": `{"environment": "shop/pr-9"}`, "of none": `{}`, "no text": "",
	} {
		t.Run(spoilt, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Client(t)
			s := indexedStore(t, rdb)
			at := time.Now().Truncate(time.Second)
			for i := 1; i <= 3; i++ {
				env := &actions.Environment{Name: actions.Name{App: "shop", Env: fmt.Sprintf("pr-%d", i)}, State: actions.StateRunning, ExpiresAt: at}
				if err := actions.Put(t.Context(), s, env); err != nil {
					t.Fatal(err)
				}
			}
			key := s.Key(actions.Name{App: "shop", Env: "pr-2"}, "env")
			was := rdb.Get(t.Context(), key).Val()
			rdb.Del(t.Context(), key)
			if value == "" {
				rdb.SAdd(t.Context(), key, "hello")
			} else {
				rdb.Set(t.Context(), key, value, 0)
			}
			if got := named(t, s, actions.EnvFilter{}); !slices.Equal(got, []string{"shop/pr-1", "shop/pr-3"}) {
				t.Errorf("listed %q", got)
			}
			due, err := s.Expiring(t.Context(), at.Add(-time.Minute), at.Add(time.Minute), 0)
			if err != nil || len(due) != 2 {
				t.Errorf("due are %d, %v; want 2", len(due), err)
			}
			if err := s.MendIndexes(t.Context()); err != nil {
				t.Errorf("the index is not mended: %v", err)
			}
			if lost := s.Unreadable(); len(lost) != 1 || lost["shop/pr-2"] == nil {
				t.Errorf("told to be unreadable: %v", lost)
			}
			rdb.Set(t.Context(), key, was, 0)
			if got := named(t, s, actions.EnvFilter{}); len(got) != 3 || len(s.Unreadable()) != 0 {
				t.Errorf("mended, listed %q, still told %v", got, s.Unreadable())
			}
		})
	}
}
