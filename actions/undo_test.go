package actions_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

var no = actions.Errorf("fake", actions.CodeDownstream, "No.")

// said is all that a run says of its end.
func said(run *actions.Run) string { return run.Error + actions.Whereabouts(run.Left) }

func TestWhatAFailureTakesBack(t *testing.T) {
	t.Parallel()
	all := func(f actions.OnFailure) map[string]actions.OnFailure {
		return map[string]actions.OnFailure{"db": f, "web": f, "url": f}
	}
	tests := map[string]struct {
		first  bool // it is the first deploy
		verb   actions.Verb
		of     map[string]actions.OnFailure
		before map[string]error // steps that fail, before their work
		after  map[string]error // or after it
		did    string           // what was taken back, in order
		state  actions.State
		mixed  bool
		said   string
	}{
		"an update that is brought back serves as before": {
			of: all(actions.FailureRollback), after: map[string]error{"web deploy": no},
			did: "web rollback, db deploy", state: actions.StateRunning,
			said: "Part web: No. Where things are: db is back at revision 1 (aaaaaaa); web is back at revision 1 (aaaaaaa); url was not touched.",
		},
		"a part that stays as it is leaves the environment mixed": {
			of: map[string]actions.OnFailure{"web": actions.FailureRollback}, after: map[string]error{"web deploy": no},
			did: "web rollback", state: actions.StateRunning, mixed: true,
			said: "Part web: No. Where things are: db runs bbbbbbb; web is back at revision 1 (aaaaaaa); url was not touched.",
		},
		"a part that is cleaned up does not serve": {
			of: map[string]actions.OnFailure{"web": actions.FailureCleanup}, after: map[string]error{"web deploy": no},
			did: "web cleanup", state: actions.StateFailure, mixed: true,
			said: "Part web: No. Where things are: db runs bbbbbbb; web was cleaned up; url was not touched.",
		},
		"a first deploy that is cleaned up leaves nothing": {
			first: true, of: all(actions.FailureCleanup), after: map[string]error{"url deploy": no},
			did: "url cleanup, web cleanup, db cleanup", state: actions.StateCleaned,
			said: "Part url: No. Where things are: db was cleaned up; web was cleaned up; url was cleaned up.",
		},
		"where nothing ran before, going back is cleaning up": {
			first: true, of: all(actions.FailureRollback), before: map[string]error{"web deploy": no},
			did: "web cleanup, db cleanup", state: actions.StateCleaned,
			said: "Part web: No. Where things are: db was cleaned up; web was cleaned up; url was not touched.",
		},
		"a first deploy of which one part stays has failed": {
			first: true, of: map[string]actions.OnFailure{"web": actions.FailureCleanup}, before: map[string]error{"web deploy": no},
			did: "web cleanup", state: actions.StateFailure, mixed: true,
			said: "Part web: No. Where things are: db runs bbbbbbb; web was cleaned up; url was not touched.",
		},
		"what cannot be brought back is said, and does not keep the others": {
			of: all(actions.FailureRollback), after: map[string]error{"web deploy": no}, before: map[string]error{"web rollback": no},
			did: "web rollback, db deploy", state: actions.StateFailure, mixed: true,
			said: "Part web: No. Where things are: db is back at revision 1 (aaaaaaa); web could not be brought back to revision 1 (aaaaaaa) (No); url was not touched.",
		},
		"what was archived is put aside again, and never cleaned up": {
			verb: actions.VerbRestore, of: all(actions.FailureCleanup), after: map[string]error{"web restore": no},
			did: "web archive, db archive", state: actions.StateArchived,
			said: "Part web: No. Where things are: db is archived again; web is archived again.",
		},
		"a failed restart takes nothing back": {
			verb: actions.VerbRestart, of: all(actions.FailureRollback), before: map[string]error{"web restart": no},
			state: actions.StateRunning, said: "Part web: No.",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			o := actions.Order{Verb: tc.verb}
			if tc.verb == "" {
				o = actions.Order{Verb: actions.VerbDeploy, Ref: "next"}
			}
			if !tc.first {
				s.must(s.deploy("main"))
			}
			if tc.verb == actions.VerbRestore {
				s.must(s.perform(actions.Order{Verb: actions.VerbArchive}))
			} else {
				s.say("1")
			}
			s.onFailure(tc.of)
			was := s.c.holds(shop42)
			s.c.failing(tc.before, tc.after)
			from := s.c.count()
			run := s.perform(o)
			var undone []string
			forward := 0
			for _, step := range run.Steps {
				if !step.Undo && step.Tries > 0 {
					forward++
				}
				if step.Undo && (step.ID != run.ID+"/"+step.Part+"/undo" || step.State == actions.StepWaiting) {
					t.Errorf("step %+v", step)
				}
			}
			undone = s.c.did(from + forward)
			env := s.env()
			if got := strings.Join(undone, ", "); run.State != actions.RunFailed || got != tc.did || env.State != tc.state || env.Mixed != tc.mixed {
				t.Errorf("taken back: %s; run %s, environment %s (mixed: %t)", got, run.State, env.State, env.Mixed)
			}
			if said(run) != tc.said || env.LastAction.Error != run.Error || env.LastAction.Left != run.Left {
				t.Errorf("said %q", said(run))
			}
			if env.State == actions.StateRunning && !env.Mixed {
				for part, p := range s.c.holds(shop42) {
					if p.Runs != was[part].Runs || p.Data != was[part].Data {
						t.Errorf("%s is %+v, it was %+v", part, p, was[part])
					}
				}
			}
			if err := s.store.VerifyAudit(s.ctx, shop42); err != nil {
				t.Error(err)
			}
		})
	}
}

// What runs before is brought back with what it was agreed on with, and an
// executor with history is told which step it was.
func TestWhatIsBroughtBackIsWhatRanBefore(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	first := s.must(s.deploy("main"))
	s.say("1")
	s.onFailure(map[string]actions.OnFailure{"db": actions.FailureRollback, "web": actions.FailureRollback})
	s.c.failing(nil, map[string]error{"web deploy": no})
	run := s.deploy("next")
	web, db := s.c.last("web"), s.c.last("db")
	if web.Verb != actions.VerbRollback || web.Earlier != first.ID+"/web/deploy" || web.ID != run.ID+"/web/undo" || web.Commit.SHA != shaA || web.Agreed != nil {
		t.Errorf("web was given %+v", web)
	}
	if db.Verb != actions.VerbDeploy || db.With["value"] != "0" || db.Vars["LEVEL"] != "debug" || db.Commit.SHA != shaA || db.Agreed == nil {
		t.Errorf("db was given %+v", db)
	}
}

func TestACancelledRunTakesBackWhatItDid(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.must(s.deploy("main"))
	s.say("1")
	s.onFailure(map[string]actions.OnFailure{"db": actions.FailureRollback, "web": actions.FailureRollback})
	ctx, stop := actions.Stoppable(s.ctx)
	s.c.hook(func(ctx context.Context, step actions.Step) error {
		if step.Part == "web" && step.Verb == actions.VerbDeploy {
			stop(actions.Errorf("worker", actions.CodeCancelled, "Stopped by ben."))
			<-ctx.Done()
			return ctx.Err()
		}
		return ctx.Err() // what takes back is not stopped with the rest
	}, nil)
	req, _ := s.plan(actions.Order{Verb: actions.VerbDeploy, Ref: "next"})
	run := s.performReq(ctx, req)
	const want = "Stopped by ben. Where things are: db is back at revision 1 (aaaaaaa); web is back at revision 1 (aaaaaaa); url was not touched."
	if env := s.env(); run.State != actions.RunCancelled || run.Code != actions.CodeCancelled || said(run) != want || env.State != actions.StateRunning || env.Mixed {
		t.Errorf("run %s: %q; environment %+v", run.State, said(run), env)
	}
}

// A worker that goes while it takes back leaves the rest of that to another,
// which ends the run for the same reason.
func TestAnotherWorkerGoesOnTakingBack(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.must(s.deploy("main"))
	s.onFailure(map[string]actions.OnFailure{"db": actions.FailureRollback, "web": actions.FailureRollback})
	life, leave := context.WithCancelCause(s.ctx)
	ctx, stop := actions.Stoppable(life)
	s.c.hook(func(ctx context.Context, step actions.Step) error {
		switch {
		case step.Part == "web" && step.Verb == actions.VerbDeploy:
			stop(actions.Errorf("worker", actions.CodeCancelled, "Stopped by ben."))
			return ctx.Err()
		case step.Part == "db" && strings.HasSuffix(step.ID, "/undo") && life.Err() == nil:
			leave(errGone)
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}, nil)
	req, _ := s.plan(actions.Order{Verb: actions.VerbDeploy, Ref: "next"})
	l := s.lease()
	_, err := s.run.Run(ctx, l, req)
	wantCode(t, err, actions.CodeUnavailable)
	left, err := s.store.Run(s.ctx, req.ID)
	if err != nil || left.State != actions.RunRunning || left.Error != "Stopped by ben." || left.Steps[3].State != actions.StepDone || left.Steps[4].State != actions.StepRunning {
		t.Fatalf("left: %+v, %v", left, err)
	}
	from := s.c.count()
	run, err := s.run.Run(s.ctx, l, req)
	if err != nil || run.State != actions.RunCancelled || run.Attempt != 2 || s.env().State != actions.StateRunning || s.env().Mixed {
		t.Errorf("run %+v, %v", run, err)
	}
	if got := strings.Join(s.c.did(from), ", "); got != "db deploy" {
		t.Errorf("the second worker did %s", got)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	t.Run("what is not done by then is stopped, fails and is taken back", func(t *testing.T) {
		t.Parallel()
		s := newStory(t)
		s.must(s.deploy("main"))
		s.onFailure(map[string]actions.OnFailure{"web": actions.FailureRollback, "db": actions.FailureRollback})
		s.app.RunWithin = 2 * time.Second
		s.c.hook(func(ctx context.Context, step actions.Step) error {
			if step.Part == "web" && step.Verb == actions.VerbDeploy {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}, nil)
		run := s.deploy("next")
		if run.Left == "" || run.State != actions.RunFailed || run.Code != actions.CodeDownstream || !strings.HasPrefix(run.Error, "It was stopped, since it had not ended within 2s") || s.env().State != actions.StateRunning {
			t.Errorf("run %+v", run)
		}
	})
	t.Run("a cleanup that is stopped with its first part says where it is", func(t *testing.T) {
		t.Parallel()
		s := newStory(t)
		s.must(s.deploy("main"))
		s.app.RunWithin = 2 * time.Second
		s.c.hook(func(ctx context.Context, _ actions.Step) error { <-ctx.Done(); return ctx.Err() }, nil)
		run := s.perform(actions.Order{Verb: actions.VerbCleanup})
		if run.State != actions.RunFailed || !strings.Contains(run.Left, "url is as its cleanup left it") || !strings.Contains(run.Left, "db was not touched") {
			t.Errorf("run %+v", run)
		}
	})
	t.Run("another worker has no more time than the first", func(t *testing.T) {
		t.Parallel()
		s := newStory(t)
		ctx, leave := context.WithCancelCause(s.ctx)
		s.c.hook(func(ctx context.Context, step actions.Step) error {
			if step.Part == "web" {
				leave(errGone)
				<-ctx.Done()
			}
			return ctx.Err()
		}, nil)
		req, _ := s.plan(actions.Order{Verb: actions.VerbDeploy, Ref: "next"})
		l := s.lease()
		_, err := s.run.Run(ctx, l, req)
		wantCode(t, err, actions.CodeUnavailable)
		s.pass(actions.DefaultRunWithin)
		from := s.c.count()
		run, err := s.run.Run(s.ctx, l, req)
		if err != nil || run.State != actions.RunFailed || run.Code != actions.CodeDownstream || s.c.count() != from || !run.Deadline.Equal(run.StartedAt.Add(actions.DefaultRunWithin)) {
			t.Errorf("run %+v, %v", run, err)
		}
	})
	t.Run("taking back has an end too", func(t *testing.T) {
		t.Parallel()
		s := newStory(t)
		s.must(s.deploy("main"))
		s.onFailure(map[string]actions.OnFailure{"web": actions.FailureRollback, "db": actions.FailureRollback})
		s.renew(time.Second)
		s.c.hook(func(ctx context.Context, step actions.Step) error {
			switch {
			case strings.HasSuffix(step.ID, "/undo"):
				<-ctx.Done()
				return ctx.Err()
			case step.Part == "web":
				return no
			}
			return nil
		}, nil)
		run := s.deploy("next")
		if run.State != actions.RunFailed || !strings.Contains(run.Left, "web could not be brought back to revision 1 (aaaaaaa) (There was no time left for it") || !s.env().Mixed {
			t.Errorf("run %+v", run)
		}
		for _, step := range run.Steps[3:] {
			if step.State != actions.StepFailed {
				t.Errorf("step %+v", step)
			}
		}
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()
	// leave has a run left in the middle.
	leave := func(s *story, o actions.Order) (actions.RunRequest, *actions.Lease) {
		ctx, gone := context.WithCancelCause(s.ctx)
		s.c.hook(func(ctx context.Context, step actions.Step) error {
			if step.Part == "web" {
				gone(errGone)
				<-ctx.Done()
			}
			return ctx.Err()
		}, nil)
		req, _ := s.plan(o)
		l := s.lease()
		_, err := s.run.Run(ctx, l, req)
		wantCode(s.tb, err, actions.CodeUnavailable)
		s.c.hook(nil, nil)
		return req, l
	}
	tests := map[string]struct {
		held    bool
		ended   bool
		changed bool
		from    actions.State
		state   actions.State
		restart bool
	}{
		"somebody holds it":                       {held: true, ended: true, from: actions.StateCreatePending, state: actions.StateCreatePending},
		"its request goes on":                     {from: actions.StateCreatePending, state: actions.StateCreatePending},
		"nobody goes on with it":                  {ended: true, changed: true, from: actions.StateCreatePending, state: actions.StateFailure},
		"nobody goes on with a restart, likewise": {ended: true, changed: true, restart: true, from: actions.StateRunning, state: actions.StateFailure},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			o := actions.Order{Verb: actions.VerbDeploy}
			if tc.restart {
				s.must(s.deploy("main"))
				o.Verb = actions.VerbRestart
			}
			req, l := leave(s, o)
			if s.env().State != tc.from {
				t.Fatalf("it is %s", s.env().State)
			}
			if !tc.held {
				_ = l.Release(s.ctx)
			}
			s.ended = tc.ended
			changed, err := s.run.Settle(s.ctx, shop42)
			if err != nil || changed != tc.changed || s.env().State != tc.state {
				t.Fatalf("settled: %t, %v; %+v", changed, err, s.env())
			}
			if !tc.changed {
				return
			}
			run, err := s.store.Run(s.ctx, req.ID)
			if err != nil || run.State != actions.RunFailed || run.Steps[0].State == actions.StepRunning || s.env().LastAction.RunID != req.ID || s.env().RunID != "" {
				t.Errorf("run %+v, %v", run, err)
			}
			records, err := s.store.Audit(s.ctx, shop42, 0, 0)
			if last := records[len(records)-1]; err != nil || last.Kind != "environment.settled" || last.RequestID != req.RequestID || last.Detail["state"] != string(tc.state) {
				t.Errorf("audit %+v, %v", last, err)
			}
			if again := s.performReq(s.ctx, req); again.State != actions.RunFailed {
				t.Errorf("it went on: %+v", again)
			}
		})
	}
	t.Run("what is in order is left alone, and what is not there is not found", func(t *testing.T) {
		t.Parallel()
		s := newStory(t)
		s.ended = true
		_, err := s.run.Settle(s.ctx, shop42)
		wantCode(t, err, actions.CodeNotFound)
		s.must(s.deploy("main"))
		if changed, err := s.run.Settle(s.ctx, shop42); changed || err != nil {
			t.Errorf("settled: %t, %v", changed, err)
		}
	})
	t.Run("where nobody knows of requests, the deadline tells", func(t *testing.T) {
		t.Parallel()
		s := newStory(t)
		_, l := leave(s, actions.Order{Verb: actions.VerbDeploy})
		_ = l.Release(s.ctx)
		s.run = actions.NewRunner(actions.RunnerOptions{Store: s.store, Catalog: catalog{s.app}, Executors: s.c, Now: s.now})
		if changed, err := s.run.Settle(s.ctx, shop42); changed || err != nil {
			t.Errorf("settled: %t, %v", changed, err)
		}
		s.pass(actions.DefaultRunWithin + 2*time.Hour)
		if changed, err := s.run.Settle(s.ctx, shop42); !changed || err != nil || s.env().State != actions.StateFailure {
			t.Errorf("settled: %t, %v", changed, err)
		}
	})
}
