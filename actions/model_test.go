package actions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// lifetime drives an environment through its whole life, over the real store,
// and compares after each step what the records say with what the fake cluster
// holds.
type lifetime struct {
	*harness
	t       *rapid.T
	name    actions.Name
	cluster *fakeCluster
	ended   bool // what RequestEnded says
	seen    int  // losses that were looked at
	// revisions are what each success made of the environment, by number.
	revisions map[int]map[string]content
	first     int // of this life
}

func lifetimeOn(t *rapid.T, h *harness, n int) *lifetime {
	l := &lifetime{harness: h, t: t, cluster: newFakeCluster(), revisions: map[int]map[string]content{}, name: actions.Name{App: "shop", Env: fmt.Sprintf("life-%d", n)}}
	h.app = &actions.App{
		Name: "shop", Repo: "acme/shop", TTL: 72 * time.Hour, Cluster: actions.Cluster{Name: "staging"}, Vars: map[string]string{"LEVEL": "0"}, AllowSet: []string{"image.tag"},
		Parts: []actions.Part{
			{Name: "db", Use: "store", With: map[string]any{"value": "0"}},
			{Name: "web", Use: "full", Needs: []string{"db"}, With: map[string]any{"value": "0"}},
			{Name: "url", Use: "plain", Needs: []string{"web"}, With: map[string]any{"value": "0"}},
		},
	}
	h.run = l.runner()
	return l
}

func (l *lifetime) runner() *actions.Runner {
	return actions.NewRunner(actions.RunnerOptions{
		Store: l.store, Catalog: catalog{l.app}, Executors: l.cluster, Sources: l.repos, Now: l.now, MaxTries: 2,
		Pause: time.Microsecond, LongestPause: 2 * time.Microsecond, Log: slog.New(slog.DiscardHandler),
		RequestEnded: func(context.Context, actions.Name, string) (bool, error) { return l.ended, nil },
	})
}

// environment is the record, nil when there is none.
func (l *lifetime) environment() *actions.Environment {
	env, err := l.store.Environment(l.ctx, l.name)
	if actions.CodeOf(err) == actions.CodeNotFound {
		return nil
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return env
}

// configure changes what the next plan goes by, as somebody who edits the
// config does.
func (l *lifetime) configure() {
	app := *l.app
	app.Vars = map[string]string{"LEVEL": rapid.SampledFrom([]string{"0", "1", "2"}).Draw(l.t, "level")}
	app.Parts = slices.Clone(l.app.Parts)
	app.MaxAge = rapid.SampledFrom([]time.Duration{0, 0, 240 * time.Hour}).Draw(l.t, "max age")
	for i := range app.Parts {
		p := &app.Parts[i]
		p.With = map[string]any{"value": rapid.SampledFrom([]string{"0", "1", "2"}).Draw(l.t, p.Name+" value")}
		p.OnFailure = rapid.SampledFrom([]actions.OnFailure{"", actions.FailureKeep, actions.FailureRollback, actions.FailureRollback, actions.FailureCleanup}).Draw(l.t, p.Name+" on failure")
	}
	l.app = &app
	l.run = l.runner()
}

func (l *lifetime) order() actions.Order {
	o := actions.Order{
		Env: l.name, By: "ana", Identity: "github:ana",
		Verb: rapid.SampledFrom(append(actions.Verbs(), actions.VerbDeploy, actions.VerbDeploy, actions.VerbRollback, actions.VerbArchive, actions.VerbRestore)).Draw(l.t, "verb"),
	}
	switch o.Verb {
	case actions.VerbDeploy:
		o.Ref = rapid.SampledFrom([]string{"main", "next"}).Draw(l.t, "ref")
		if tag := rapid.SampledFrom([]string{"", "1"}).Draw(l.t, "tag"); tag != "" {
			o.Set = map[string]string{"image.tag": tag}
		}
	case actions.VerbRestore:
		o.Ref = rapid.SampledFrom([]string{"", "", "next"}).Draw(l.t, "ref")
	case actions.VerbRollback:
		if env := l.environment(); env != nil {
			o.To = rapid.IntRange(0, env.Deployed+1).Draw(l.t, "to")
		}
	case actions.VerbExtend:
		if o.Keep = rapid.Bool().Draw(l.t, "keep"); !o.Keep {
			o.TTL = time.Hour
		}
	}
	if rapid.IntRange(0, 3).Draw(l.t, "asked by") == 0 {
		o.By, o.Identity = "schedule/nightly", "schedule:nightly"
	}
	return o
}

// mishap is what happens to a run at the first step that begins for a part.
type mishap struct {
	kind string // "", "fail", "break", "cancel", "stop", "kill", "overdue"
	part string
	undo bool // while it takes back instead
}

var mishaps = rapid.Custom(func(t *rapid.T) mishap {
	return mishap{
		kind: rapid.SampledFrom([]string{"", "", "fail", "break", "break", "cancel", "stop", "kill", "overdue"}).Draw(t, "mishap"),
		part: rapid.SampledFrom([]string{"db", "web", "url"}).Draw(t, "part"),
		undo: rapid.IntRange(0, 3).Draw(t, "undo") == 0,
	}
})

var errGone = errors.New("process stops")

// attempt is one worker's go at a run. It reports false when the worker went
// before the end.
func (l *lifetime) attempt(req actions.RunRequest, m mishap, last bool) (run *actions.Run, over bool) {
	lease, err := l.store.Acquire(l.ctx, l.name, "worker", time.Minute)
	if err != nil {
		l.t.Fatal(err)
	}
	life, leave := context.WithCancelCause(l.ctx)
	ctx, stop := actions.Stoppable(life)
	defer leave(nil)
	defer stop(nil)
	reached, dead := make(chan struct{}), make(chan struct{})
	met := false
	meets := func(s actions.Step) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if met || s.Part != m.part || strings.HasSuffix(s.ID, "/undo") != m.undo {
			return false
		}
		met = true
		return true
	}
	before := func(ctx context.Context, s actions.Step) error {
		switch m.kind {
		case "fail":
			if meets(s) {
				return actions.Errorf("fake", actions.CodeDownstream, "The cluster said no.")
			}
		case "cancel":
			if meets(s) && !m.undo {
				stop(actions.Errorf("worker", actions.CodeCancelled, "Ben cancelled it."))
				<-ctx.Done()
				return ctx.Err()
			}
		case "stop":
			if meets(s) && !last {
				leave(errGone)
				<-ctx.Done()
				return ctx.Err()
			}
		case "kill":
			if meets(s) && !last {
				close(reached)
				<-dead
				return errGone
			}
		}
		return nil
	}
	after := func(_ context.Context, s actions.Step) error {
		if m.kind == "break" && meets(s) {
			return actions.Errorf("fake", actions.CodeDownstream, "The pods do not get ready.")
		}
		return nil
	}
	l.cluster.hook(before, after)
	done := make(chan struct{})
	go func() {
		defer close(done)
		run, err = l.run.Run(ctx, lease, req)
	}()
	select {
	case <-done:
	case <-reached: // it is killed: its lease runs out, and another takes over
		if e := l.rdb.Del(l.ctx, l.store.Key(l.name, "lease")).Err(); e != nil {
			l.t.Fatal(e)
		}
		other, e := l.store.Acquire(l.ctx, l.name, "heir", time.Minute) // a later token, so that the dead one is fenced
		if e != nil {
			l.t.Fatal(e)
		}
		_ = other.Release(l.ctx)
		close(dead)
		<-done
		if actions.CodeOf(err) != actions.CodeFenced {
			l.t.Fatalf("a dead worker ended with %+v, %v", run, err)
		}
		return nil, false
	}
	_ = lease.Release(l.ctx)
	switch code := actions.CodeOf(err); {
	case err == nil:
		return run, true
	case code == actions.CodeUnavailable && m.kind == "stop":
		return nil, false
	default:
		l.t.Fatalf("the run of %s ended with %v", req.Order.Verb, err)
		return nil, false
	}
}

// act plans an order and has it run by as many workers as it takes.
func (l *lifetime) act() {
	o := l.order()
	was := l.environment()
	held := l.cluster.holds(l.name)
	plan, err := l.run.Plan(l.ctx, o, false)
	if err != nil {
		switch actions.CodeOf(err) {
		case actions.CodeConflict, actions.CodeNotFound, actions.CodeInvalid:
		default:
			l.t.Fatalf("plan %s: %v", o.Verb, err)
		}
		return
	}
	id := strings.ToLower(ulid.Make().String())
	req := actions.RunRequest{ID: id, RequestID: "req-" + id, Order: plan.Order, Digest: plan.Digest, Basis: plan.Basis}
	var run *actions.Run
	for try := range 4 {
		m := mishaps.Draw(l.t, "what happens")
		if m.kind == "overdue" {
			m.kind = ""
			if try > 0 {
				l.pass(7 * time.Hour)
			}
		}
		var over bool
		if run, over = l.attempt(req, m, try == 3); over {
			break
		}
		if rapid.IntRange(0, 9).Draw(l.t, "abandoned") == 0 {
			l.abandon(req, was)
			return
		}
	}
	l.explain(run, was, held)
}

// abandon leaves a run that nobody goes on with.
func (l *lifetime) abandon(req actions.RunRequest, was *actions.Environment) {
	l.ended = rapid.Bool().Draw(l.t, "request ended")
	left := l.environment()
	changed, err := l.run.Settle(l.ctx, l.name)
	if left == nil { // it had not begun
		if actions.CodeOf(err) != actions.CodeNotFound {
			l.t.Fatalf("settle: %v", err)
		}
		return
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if want := l.ended && left.RunID != ""; changed != want {
		l.t.Fatalf("settle changed %t, want %t; it was %s by %q", changed, want, left.State, left.RunID)
	}
	if !changed {
		return // it stays pending, and the next action takes it from there
	}
	env := l.environment()
	to := actions.StateFailure
	if req.Order.Verb == actions.VerbExtend {
		to = was.State
	}
	if env.State != to || env.RunID != "" || env.LastAction.State != actions.RunFailed {
		l.t.Fatalf("settled: %+v", env)
	}
	if again, err := l.run.Settle(l.ctx, l.name); again || err != nil {
		l.t.Fatalf("it was settled twice: %v", err)
	}
}

// explain checks that what became of the environment is what the run's record,
// the table and the cluster say.
func (l *lifetime) explain(run *actions.Run, was *actions.Environment, held map[string]held) {
	env := l.environment()
	if run == nil {
		l.t.Fatal("the run did not end")
	}
	if run.State != actions.RunSucceeded && len(run.Steps) == 0 && was != nil && was.RunID != "" {
		// It was refused, while the environment is as an abandoned run left it.
		if env.State != was.State || env.RunID != was.RunID || !maps.Equal(l.cluster.holds(l.name), held) {
			l.t.Fatalf("a refused run changed %+v to %+v", was, env)
		}
		return
	}
	if env == nil || env.RunID != "" || env.State.Pending() {
		l.t.Fatalf("after the run of %s: %+v", run.Order.Verb, env)
	}
	l.moved(run, env)
	l.counted(run, env, was)
	l.took(run)
	holds := l.cluster.holds(l.name)
	touched := slices.ContainsFunc(run.Steps, func(s actions.StepRecord) bool { return s.Tries > 0 })
	if !touched && run.State != actions.RunSucceeded && !maps.Equal(holds, held) {
		l.t.Fatalf("nothing ran, and the cluster changed from %+v to %+v", held, holds)
	}
	switch env.State {
	case actions.StateCleaned:
		if len(holds) != 0 {
			l.t.Fatalf("%s is cleaned up, and the cluster has %+v\nrun %+v", l.name, holds, run)
		}
		l.first = 0
	case actions.StateArchived:
		l.archived(run, holds, held)
	case actions.StateRunning:
		l.serves(run, env, holds)
	}
	ids := map[string]bool{}
	for _, s := range run.Steps {
		if s.State == actions.StepWaiting || s.State == actions.StepRunning || ids[s.ID] {
			l.t.Fatalf("step %+v of an ended run (there twice: %t)", s, ids[s.ID])
		}
		ids[s.ID] = true
	}
	for _, s := range run.Steps {
		if p, there := holds[s.Part]; s.Undo && s.State == actions.StepDone && s.Verb == actions.VerbRollback {
			if want := l.revisions[env.Deployed][s.Part]; !there || p.Runs != want || p.Broken || p.Archived {
				l.t.Fatalf("%s was brought back to revision %d, %+v, and is %+v", s.Part, env.Deployed, want, p)
			}
		}
	}
}

// moved checks the way that the state took against the table.
func (l *lifetime) moved(run *actions.Run, env *actions.Environment) {
	began := run.Before
	for _, t := range actions.Transitions() {
		if t.From == run.Before && t.Verb == run.Order.Verb && t.On == actions.Started {
			began = t.To
		}
	}
	allowed := map[actions.State]bool{}
	untouched := !slices.ContainsFunc(run.Steps, func(s actions.StepRecord) bool { return s.Tries > 0 })
	for _, t := range actions.Transitions() {
		if t.From == began && t.Verb == run.Order.Verb && t.On != actions.Started && (run.State == actions.RunSucceeded) == (t.On == actions.Succeeded) {
			allowed[t.To] = true
		}
	}
	if untouched && run.State != actions.RunSucceeded {
		allowed = map[actions.State]bool{run.Before: true, actions.StateCleaned: run.Before == actions.StateNone}
	}
	if !allowed[env.State] {
		l.t.Fatalf("%s from %q ended %s, in %s; the table allows %v", run.Order.Verb, run.Before, run.State, env.State, allowed)
	}
}

// counted checks revisions and lifetimes.
func (l *lifetime) counted(run *actions.Run, env *actions.Environment, was *actions.Environment) {
	before, back := 0, run.Back
	if was != nil {
		before = was.Deployed
	}
	makes := run.State == actions.RunSucceeded && (run.Order.Verb == actions.VerbDeploy || run.Order.Verb == actions.VerbRestore || run.Order.Verb == actions.VerbRollback)
	if makes {
		if l.first == 0 {
			l.first = env.Deployed
		}
		if env.Deployed != before+1 || run.Revision != env.Deployed {
			l.t.Fatalf("revision %d after %d (the run says %d)", env.Deployed, before, run.Revision)
		}
		now := map[string]content{}
		for part, p := range l.cluster.holds(l.name) {
			now[part] = p.Runs
		}
		l.revisions[env.Deployed] = now
	} else if env.Deployed != before || run.Revision != 0 {
		l.t.Fatalf("revision %d after %d, and nothing was deployed", env.Deployed, before)
	}
	if run.Order.Verb == actions.VerbRollback && makes {
		if back < l.first || back > before || !maps.Equal(l.revisions[back], l.revisions[env.Deployed]) {
			l.t.Fatalf("back at revision %d, %+v, and it is %+v", back, l.revisions[back], l.revisions[env.Deployed])
		}
		if to := run.Order.To; to > 0 && to != back {
			l.t.Fatalf("back at revision %d instead of %d", back, to)
		}
	}
	if env.Keep && !env.ExpiresAt.IsZero() {
		l.t.Fatalf("it is kept, and expires at %s", env.ExpiresAt)
	}
	if most := env.CreatedAt.Add(l.app.MaxAge); l.app.MaxAge > 0 && run.State == actions.RunSucceeded && env.ExpiresAt.After(most) {
		switch run.Order.Verb {
		case actions.VerbDeploy, actions.VerbRestore, actions.VerbRollback, actions.VerbExtend, actions.VerbWake, actions.VerbRestart:
			l.t.Fatalf("it expires at %s, and must at %s", env.ExpiresAt, most)
		}
	}
}

// took checks that data went only with a cleanup that a record tells of.
func (l *lifetime) took(run *actions.Run) {
	for _, f := range l.cluster.fault() {
		l.t.Fatal(f)
	}
	lost := l.cluster.lost()
	for _, x := range lost[l.seen:] {
		i := slices.IndexFunc(run.Steps, func(s actions.StepRecord) bool { return s.ID == x.step })
		if i < 0 {
			continue // of a run that was abandoned
		}
		s := run.Steps[i]
		if x.verb != actions.VerbCleanup || (run.Order.Verb != actions.VerbCleanup && (!s.Undo || run.Order.Verb == actions.VerbRestore)) {
			l.t.Fatalf("%s took the data of %s away: %+v", run.Order.Verb, x.part, s)
		}
		if len(s.Receipts) == 0 {
			l.t.Fatalf("%s has no receipt for what it took: %+v", x.part, s)
		}
	}
	l.seen = len(lost)
}

// archived checks an environment that is put aside.
func (l *lifetime) archived(run *actions.Run, holds, held map[string]held) {
	for _, part := range l.app.Parts {
		p, there := holds[part.Name]
		switch {
		case !there:
			if _, was := held[part.Name]; was {
				l.t.Fatalf("%s is archived, and %s is gone", l.name, part.Name)
			}
		case part.Use != "plain" && !p.Archived:
			l.t.Fatalf("%s is archived (%s %s), and %s still runs: %+v\n%+v", l.name, run.Order.Verb, run.State, part.Name, p, run.Steps)
		default:
			if was, had := held[part.Name]; !had || was.Data == p.Data {
				continue
			}
			l.t.Fatalf("%s of %s has other data than it had", part.Name, l.name)
		}
	}
}

// serves checks an environment that is said to run.
func (l *lifetime) serves(run *actions.Run, env *actions.Environment, holds map[string]held) {
	for _, part := range l.app.Parts {
		p, there := holds[part.Name]
		if !there || p.Archived || p.Broken {
			l.t.Fatalf("%s runs, and %s is %+v (%t)\n%+v", l.name, part.Name, p, there, run)
		}
		if !env.Mixed && p.Runs != l.revisions[env.Deployed][part.Name] {
			l.t.Fatalf("%s %s: %s runs %+v, and revision %d is %+v", run.Order.Verb, run.State, part.Name, p.Runs, env.Deployed, l.revisions[env.Deployed][part.Name])
		}
		if run.State == actions.RunSucceeded && part.Use == "full" && p.Asleep != env.Sleeping {
			l.t.Fatalf("%s %s: asleep %t, and the record says %t", part.Name, run.Order.Verb, p.Asleep, env.Sleeping)
		}
		if !env.Mixed && p.Runs.SHA != env.Commit.SHA {
			l.t.Fatalf("%s runs %s, and the record says %s", part.Name, p.Runs.SHA, env.Commit.SHA)
		}
	}
	if (env.SleptBy != "") != env.Sleeping {
		l.t.Fatalf("sleeping %t, by %q", env.Sleeping, env.SleptBy)
	}
}

// replay folds the runs' records, and the audit, into the state that they lead
// to: the history explains what is.
func (l *lifetime) replay() {
	env := l.environment()
	if env == nil {
		return
	}
	records, err := l.store.Audit(l.ctx, l.name, 0, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	state, revision, open := actions.StateNone, 0, ""
	for _, rec := range records {
		switch {
		case rec.Kind == "run.started":
			open = rec.RunID
		case rec.Detail["state"] != "" && (strings.HasPrefix(rec.Kind, "run.") || rec.Kind == "environment.settled"):
			state, open = actions.State(rec.Detail["state"]), ""
			run, err := l.store.Run(l.ctx, rec.RunID)
			if err != nil {
				l.t.Fatal(err)
			}
			if run.Revision > 0 {
				revision = run.Revision
			}
			if string(run.State) != strings.TrimPrefix(rec.Kind, "run.") && rec.Kind != "environment.settled" {
				l.t.Fatalf("the audit says %s of a run that is %s", rec.Kind, run.State)
			}
		}
	}
	if open != env.RunID {
		l.t.Fatalf("the audit says that run %q has it, and the record %q", open, env.RunID)
	}
	if (open == "" && state != env.State) || revision != env.Deployed {
		l.t.Fatalf("the audit leads to %s at revision %d, and the record says %s at %d", state, revision, env.State, env.Deployed)
	}
	l.verified(l.store.VerifyChain(l.ctx, l.name, l.broken))
}

func (l *lifetime) broken(b actions.AuditBreak) { l.t.Errorf("the audit is broken: %+v", b) }

func (l *lifetime) verified(v actions.Verified, err error) {
	if err != nil || v.Chains == 0 {
		l.t.Fatalf("verified %+v, %v", v, err)
	}
}

// Whatever is asked of an environment, and whatever fails, dies or is stopped on
// the way, its record says what is there, and its history says why.
func TestAnEnvironmentIsWhatItsRecordsSay(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		h := harnessOn(t, rdb)
		l := lifetimeOn(rt, h, n)
		for range rapid.IntRange(3, 14).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "between") {
			case 0:
				l.pass(time.Duration(rapid.IntRange(1, 200).Draw(rt, "hours")) * time.Hour)
			case 1, 2:
				l.configure()
			}
			l.act()
			l.replay()
		}
		if l.environment() != nil {
			l.verified(l.store.VerifyAll(l.ctx, "shop", l.broken))
		}
	})
}
