package actions_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

// story is an environment on a fakeCluster: db can be put aside, web all that
// there is, and url is deployed and cleaned up alone.
type story struct {
	*harness
	c     *fakeCluster
	ended bool // what RequestEnded says
}

func newStory(t *testing.T) *story {
	s := &story{harness: newHarness(t), c: newFakeCluster()}
	s.app.Parts = []actions.Part{
		{Name: "db", Use: "store", With: map[string]any{"value": "0"}},
		{Name: "web", Use: "full", Needs: []string{"db"}, With: map[string]any{"value": "0"}},
		{Name: "url", Use: "plain", Needs: []string{"web"}, With: map[string]any{"value": "0"}},
	}
	s.renew(0)
	return s
}

// renew makes the runner anew, with what the app says now.
func (s *story) renew(undoWithin time.Duration) {
	s.run = actions.NewRunner(actions.RunnerOptions{
		Store: s.store, Catalog: catalog{s.app}, Executors: s.c, Sources: s.repos, Now: s.now, MaxTries: 2, UndoWithin: undoWithin,
		Pause: time.Microsecond, LongestPause: 2 * time.Microsecond, Log: slog.New(slog.DiscardHandler),
		RequestEnded: func(context.Context, actions.Name, string) (bool, error) { return s.ended, nil },
	})
}

// say changes the value of every part in the config.
func (s *story) say(value string) {
	app := *s.app
	app.Parts = slices.Clone(app.Parts)
	for i := range app.Parts {
		app.Parts[i].With = map[string]any{"value": value}
	}
	app.Vars = map[string]string{"LEVEL": value}
	s.app = &app
	s.renew(0)
}

func (s *story) onFailure(of map[string]actions.OnFailure) {
	app := *s.app
	app.Parts = slices.Clone(app.Parts)
	for i, p := range app.Parts {
		app.Parts[i].OnFailure = of[p.Name]
	}
	s.app = &app
	s.renew(0)
}

func (s *story) deploy(ref string) *actions.Run {
	s.tb.Helper()
	return s.perform(actions.Order{Verb: actions.VerbDeploy, Ref: ref})
}

func (s *story) must(run *actions.Run) *actions.Run {
	s.tb.Helper()
	if run.State != actions.RunSucceeded {
		s.tb.Fatalf("%s %s: %s", run.Order.Verb, run.State, run.Error)
	}
	return run
}

func refused(t *testing.T, s *story, o actions.Order, code actions.Code, part string) {
	t.Helper()
	o.Env, o.By = shop42, "ana"
	_, err := s.run.Plan(s.ctx, o, true)
	wantCode(t, err, code)
	if !strings.Contains(actions.Message(err), part) {
		t.Errorf("message %q lacks %q", actions.Message(err), part)
	}
}

func TestARollbackBringsARevisionBackAsItWas(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	first := s.must(s.perform(actions.Order{Verb: actions.VerbDeploy, Ref: "main", Set: map[string]string{"image.tag": "v1"}}))
	s.say("1")
	s.must(s.deploy("next"))
	from := s.c.count()
	run := s.must(s.perform(actions.Order{Verb: actions.VerbRollback}))
	if run.Back != 1 || run.Revision != 3 || run.Order.Commit.SHA != shaA || run.Steps[0].Verb != actions.VerbDeploy || run.Steps[1].Verb != actions.VerbRollback {
		t.Errorf("run %+v", run)
	}
	if got := strings.Join(s.c.did(from), ", "); got != "db deploy, web rollback, url deploy" {
		t.Errorf("steps %s", got)
	}
	if got := s.c.last("web"); got.Earlier != first.ID+"/web/deploy" || got.With["value"] != "0" || got.Vars["LEVEL"] != "debug" || got.Set["image.tag"] != "v1" {
		t.Errorf("web was given %+v", got)
	}
	want := content{SHA: shaA, Value: "0", Set: "v1", Level: "debug"}
	for part, p := range s.c.holds(shop42) {
		if p.Runs != want {
			t.Errorf("%s runs %+v", part, p.Runs)
		}
	}
	if env := s.env(); env.Deployed != 3 || env.Commit.SHA != shaA || env.Set["image.tag"] != "v1" || env.Vars["LEVEL"] != "debug" || env.Ref != "main" {
		t.Errorf("environment %+v", env)
	}
	again := s.must(s.perform(actions.Order{Verb: actions.VerbRollback, To: 3}))
	if got := s.c.last("web"); again.Back != 3 || got.Earlier != run.ID+"/web/rollback" {
		t.Errorf("a revision that was made by going back points at %s", got.Earlier)
	}
}

func TestWhereARollbackGoes(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.must(s.deploy("main"))
	refused(t, s, actions.Order{Verb: actions.VerbRollback}, actions.CodeConflict, "no earlier revision to go back to")
	s.say("1")
	s.must(s.deploy("next"))
	s.must(s.deploy("next")) // the same again is no place to go back to
	s.say("2")
	s.must(s.deploy("main"))
	for i, want := range []int{3, 1} { // going back again goes further back
		if run := s.must(s.perform(actions.Order{Verb: actions.VerbRollback})); run.Back != want {
			t.Errorf("rollback %d went to revision %d, want %d", i+1, run.Back, want)
		}
	}
	refused(t, s, actions.Order{Verb: actions.VerbRollback}, actions.CodeConflict, "no earlier revision to go back to")
	refused(t, s, actions.Order{Verb: actions.VerbRollback, To: 9}, actions.CodeNotFound, "no revision 9 to go back to; there are 1, 2, 3, 4, 5, 6.")
	refused(t, s, actions.Order{Verb: actions.VerbDeploy, To: 1}, actions.CodeInvalid, "--to goes with rollback only")

	s.c.failing(nil, map[string]error{"web deploy": actions.Errorf("fake", actions.CodeDownstream, "No.")})
	if run := s.deploy("next"); run.State != actions.RunFailed || !s.env().Mixed {
		t.Fatalf("run %+v", run)
	}
	s.c.failing(nil, nil)
	if run := s.must(s.perform(actions.Order{Verb: actions.VerbRollback})); run.Back != 6 || s.env().Mixed {
		t.Errorf("after an update that failed halfway it went to revision %d", run.Back)
	}
	for i := range actions.RevisionsKept {
		s.say(fmt.Sprint("more ", i))
		s.must(s.deploy("next"))
	}
	refused(t, s, actions.Order{Verb: actions.VerbRollback, To: 7}, actions.CodeNotFound, "there are 8, 9, 10, 11, 12, 13, 14, 15, 16, 17.")
	if n := s.kept(); n != actions.RevisionsKept {
		t.Errorf("%d revisions are kept", n)
	}
	s.must(s.perform(actions.Order{Verb: actions.VerbCleanup}))
	if n := s.kept(); n != 0 {
		t.Errorf("%d revisions of what is gone are kept", n)
	}
	if run := s.must(s.deploy("main")); run.Revision != 18 {
		t.Errorf("the next life begins with revision %d", run.Revision)
	}
	refused(t, s, actions.Order{Verb: actions.VerbRollback, To: 17}, actions.CodeNotFound, "there are 18.")
}

// kept counts the revisions of which something is kept.
func (s *story) kept() int {
	s.tb.Helper()
	keys, err := s.rdb.Keys(s.ctx, s.store.Key(shop42, "revision:*")).Result()
	if err != nil {
		s.tb.Fatal(err)
	}
	return len(keys)
}

func TestARestoreBringsBackWhatWasArchived(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		order  actions.Order
		broken bool // the archive is one of a failed update
		did    string
		asWas  bool
		want   content
	}{
		"as it was, whatever the config says by then": {actions.Order{}, false, "db restore, web restore", true, content{SHA: shaA, Value: "0", Level: "debug"}},
		"at another commit, with what the config says": {actions.Order{Ref: "next"}, false, "db restore, web restore, url deploy", false,
			content{SHA: shaB, Value: "1", Level: "1"}},
		"with other settings, at the same commit": {actions.Order{Set: map[string]string{"image.tag": "v2"}}, false, "db restore, web restore, url deploy", false,
			content{SHA: shaA, Value: "0", Set: "v2", Level: "debug"}},
		"what was half updated is made whole": {actions.Order{}, true, "db restore, web restore, url deploy", false, content{SHA: shaA, Value: "0", Level: "debug"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			s.must(s.deploy("main"))
			if tc.broken {
				s.c.failing(nil, map[string]error{"web deploy": actions.Errorf("fake", actions.CodeDownstream, "No.")})
				s.deploy("next")
				s.c.failing(nil, nil)
			}
			data := s.c.holds(shop42)["db"].Data
			s.must(s.perform(actions.Order{Verb: actions.VerbArchive}))
			if env := s.env(); env.State != actions.StateArchived || env.Deployed != 1 {
				t.Fatalf("archived: %+v", env)
			}
			s.say("1")
			from := s.c.count()
			tc.order.Verb = actions.VerbRestore
			run := s.must(s.perform(tc.order))
			if got := strings.Join(s.c.did(from), ", "); got != tc.did || s.c.last("web").AsWas != tc.asWas {
				t.Errorf("steps %s; as was: %t", got, s.c.last("web").AsWas)
			}
			for part, p := range s.c.holds(shop42) {
				if p.Runs != tc.want || p.Archived {
					t.Errorf("%s is %+v", part, p)
				}
			}
			if got := s.c.holds(shop42)["db"].Data; got != data {
				t.Errorf("db has other data (%d) than it had (%d)", got, data)
			}
			if env := s.env(); run.Revision != 2 || env.Deployed != 2 || env.State != actions.StateRunning || env.Mixed || env.HasArchive {
				t.Errorf("environment %+v", env)
			}
		})
	}
}

func TestSleepAndWake(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.must(s.deploy("main"))
	used := s.env().UsedAt
	s.pass(time.Hour)
	s.must(s.perform(actions.Order{Verb: actions.VerbSleep, By: "schedule/nightly", Identity: "schedule:nightly"}))
	if env := s.env(); !env.Sleeping || env.SleptBy != "schedule/nightly" || !env.UsedAt.Equal(used) || env.URL != "" && env.State != actions.StateRunning {
		t.Errorf("asleep: %+v", env)
	}
	s.must(s.perform(actions.Order{Verb: actions.VerbWake, Identity: "github:ana"}))
	if env := s.env(); env.Sleeping || env.SleptBy != "" || !env.UsedAt.Equal(s.now()) || !env.ExpiresAt.Equal(s.now().Add(72*time.Hour)) || s.c.holds(shop42)["web"].Asleep {
		t.Errorf("awake: %+v", env)
	}
	s.must(s.perform(actions.Order{Verb: actions.VerbSleep}))
	s.must(s.deploy("next"))
	if env := s.env(); env.Sleeping || env.SleptBy != "" || s.c.holds(shop42)["web"].Asleep {
		t.Errorf("a deploy leaves it asleep: %+v", env)
	}
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	extend := func(o actions.Order) actions.Order { o.Verb = actions.VerbExtend; return o }
	tests := map[string]struct {
		ttl, maxAge time.Duration
		after       time.Duration // what passes between the deploy and the orders
		orders      []actions.Order
		want        time.Duration // until it expires, from the deploy on; 0 for never
		keep        bool
	}{
		"from the last use on":                        {ttl: 3 * day, after: day, orders: []actions.Order{{Verb: actions.VerbRestart}}, want: 4 * day},
		"what a schedule does is no use":              {ttl: 3 * day, after: day, orders: []actions.Order{{Verb: actions.VerbRestart, Identity: "schedule:x"}}, want: 3 * day},
		"a use never shortens it":                     {ttl: 3 * day, after: day, orders: []actions.Order{extend(actions.Order{TTL: 5 * day}), {Verb: actions.VerbRestart}}, want: 8 * day},
		"extended":                                    {ttl: 3 * day, after: day, orders: []actions.Order{extend(actions.Order{TTL: day})}, want: 4 * day},
		"what is over is extended from now":           {ttl: 3 * day, after: 5 * day, orders: []actions.Order{extend(actions.Order{TTL: day})}, want: 6 * day},
		"at most for as long as anything lives":       {ttl: 29 * day, orders: []actions.Order{extend(actions.Order{TTL: 9 * day})}, want: actions.MaxTTL},
		"a time that would overflow":                  {ttl: day, orders: []actions.Order{extend(actions.Order{TTL: 1<<63 - 1})}, want: actions.MaxTTL},
		"kept":                                        {ttl: 3 * day, after: day, orders: []actions.Order{extend(actions.Order{Keep: true})}, keep: true},
		"what is kept stays so, when deployed":        {ttl: 3 * day, orders: []actions.Order{extend(actions.Order{Keep: true}), {Verb: actions.VerbDeploy}}, keep: true},
		"a time ends that":                            {ttl: 3 * day, after: day, orders: []actions.Order{extend(actions.Order{Keep: true}), extend(actions.Order{TTL: 2 * day})}, want: 3 * day},
		"no older than the app allows":                {ttl: 3 * day, maxAge: 4 * day, after: 2 * day, orders: []actions.Order{{Verb: actions.VerbDeploy}}, want: 4 * day},
		"nor by an extension":                         {ttl: 3 * day, maxAge: 4 * day, after: 2 * day, orders: []actions.Order{extend(actions.Order{TTL: 9 * day})}, want: 4 * day},
		"the app's limit holds without a lifetime":    {maxAge: 4 * day, after: 2 * day, orders: []actions.Order{{Verb: actions.VerbRestart}}, want: 4 * day},
		"what is archived does not expire":            {ttl: 3 * day, orders: []actions.Order{{Verb: actions.VerbArchive}}},
		"a rollback keeps the lifetime of the deploy": {orders: []actions.Order{{Verb: actions.VerbDeploy, Ref: "next", TTL: 2 * day}, {Verb: actions.VerbRollback}}, want: 2 * day},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			s.app.TTL, s.app.MaxAge = tc.ttl, tc.maxAge
			s.must(s.deploy("main"))
			from := s.now()
			s.pass(tc.after)
			for _, o := range tc.orders {
				s.must(s.perform(o))
			}
			env, want := s.env(), time.Time{}
			if tc.want > 0 {
				want = from.Add(tc.want)
			}
			if !env.ExpiresAt.Equal(want) || env.Keep != tc.keep {
				t.Errorf("it expires at %s (kept: %t), want %s", env.ExpiresAt, env.Keep, want)
			}
		})
	}
	t.Run("what cannot be is refused, and why", func(t *testing.T) {
		t.Parallel()
		s := newStory(t)
		s.app.TTL, s.app.MaxAge = 3*day, 3*day
		s.must(s.deploy("main"))
		refused(t, s, extend(actions.Order{Keep: true}), actions.CodeInvalid, "environments of shop live 3 days at most (max_age)")
		refused(t, s, extend(actions.Order{TTL: day}), actions.CodeInvalid, "cannot live longer: environments of shop live 3 days at most (max_age).")
		refused(t, s, extend(actions.Order{TTL: day, Keep: true}), actions.CodeInvalid, "say one of them")
		refused(t, s, actions.Order{Verb: actions.VerbRestart, Keep: true}, actions.CodeInvalid, "--keep goes with extend only")
	})
}

func TestReceiptsStayWithTheRun(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.must(s.deploy("main"))
	s.c.failing(map[string]error{"db cleanup": actions.Errorf("fake", actions.CodeDownstream, "The volume is in use.")}, nil)
	failed := s.perform(actions.Order{Verb: actions.VerbCleanup})
	const want = "Part db: The volume is in use. Where things are: db is as its cleanup left it; web is gone; url is gone."
	if env := s.env(); failed.State != actions.RunFailed || said(failed) != want || env.State != actions.StateFailure || env.LastAction.Left != failed.Left {
		t.Fatalf("failed: %q, %+v", said(failed), env)
	}
	if web := failed.Steps[1]; len(web.Receipts) != 1 || web.Receipts[0] != (actions.Resource{Kind: "Deployment", Name: "web", Change: actions.ResourceDelete, Destructive: true}) {
		t.Errorf("web has %+v", web.Receipts)
	}
	s.c.failing(nil, nil)
	again := s.must(s.perform(actions.Order{Verb: actions.VerbCleanup}))
	if s.env().State != actions.StateCleaned || len(again.Steps[0].Receipts) != 1 || len(again.Steps[1].Receipts) != 0 {
		t.Errorf("again: %+v", again.Steps)
	}
	stored, err := s.store.Run(s.ctx, failed.ID)
	if err != nil || len(stored.Steps[1].Receipts) != 1 {
		t.Errorf("the first run lost its receipts: %+v, %v", stored, err)
	}
	if said := strings.Join(s.texts(failed.ID), "\n"); !strings.Contains(said, "receipt web Deployment web is gone") {
		t.Errorf("the log says\n%s", said)
	}
}

// A step that takes much away keeps the first receipts, and counts the others;
// one that another worker goes on with keeps those of the first.
func TestManyReceipts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	ctx, leave := context.WithCancelCause(h.ctx)
	tries := 0
	h.world.before["web"] = func(ctx context.Context, _ actions.Step, sink func(actions.Event)) error {
		tries++
		for i := range 150 {
			sink(actions.Event{Kind: actions.EventReceipt, Resource: &actions.Resource{Kind: "Pod", Name: fmt.Sprintf("%d-%d", tries, i)}})
		}
		if tries == 1 {
			leave(errGone)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	req, _ := h.plan(actions.Order{Verb: actions.VerbCleanup})
	l := h.lease()
	if _, err := h.run.Run(ctx, l, req); err == nil {
		t.Fatal("the run went on")
	}
	run, err := h.run.Run(h.ctx, l, req)
	if err != nil || run.State != actions.RunSucceeded {
		t.Fatalf("run %+v, %v", run, err)
	}
	web := run.Steps[1]
	if len(web.Receipts) != 200 || web.ReceiptsLeft != 100 || web.Receipts[0].Name != "1-0" || web.Receipts[199].Name != "2-49" || web.Receipts[0].Change != actions.ResourceDelete {
		t.Errorf("%d receipts and %d more, from %+v to %+v", len(web.Receipts), web.ReceiptsLeft, web.Receipts[0], web.Receipts[len(web.Receipts)-1])
	}
}
