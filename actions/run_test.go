package actions_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

func TestDeployUpdateCleanup(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	run := h.perform(actions.Order{Verb: actions.VerbDeploy, Set: map[string]string{"image.tag": "v1"}})
	if run.State != actions.RunSucceeded || run.Attempt != 1 || len(run.Steps) != 3 {
		t.Fatalf("run %+v", run)
	}
	if got := h.world.log(); got != "+db -db +web -web +url -url" {
		t.Errorf("parts ran as %s", got)
	}
	web := h.world.steps[1]
	if web.With["host"] != "db.example.org" || web.With["tag"] != "aaaaaaa" || web.Outputs["db"]["endpoint"] != "db.example.org" ||
		web.Set["image.tag"] != "v1" || web.Vars["LEVEL"] != "debug" || web.Namespace != "shop-pr-42" || web.Cluster.Name != "staging" {
		t.Errorf("web was given %+v", web)
	}
	if db := h.world.steps[0]; db.With["size"] != 3 || db.With["on"] != true {
		t.Errorf("db was given %#v", db.With)
	}
	env := h.env()
	if env.State != actions.StateRunning || env.Commit.SHA != shaA || env.Set["image.tag"] != "v1" || env.PullRequest != 42 || env.RunID != "" ||
		!env.ExpiresAt.Equal(h.now().Add(72*time.Hour)) || env.URL != "https://db.example.org/" || len(env.Links) != 3 ||
		env.Parts["web"].Health != actions.Healthy || env.Parts["db"].Outputs["endpoint"] != "db.example.org" || env.LastAction.State != actions.RunSucceeded {
		t.Errorf("environment %+v", env)
	}
	if again := h.performReq(h.ctx, actions.RunRequest{ID: run.ID, Order: run.Order, Digest: run.Digest}); again.State != actions.RunSucceeded || len(h.world.steps) != 3 {
		t.Errorf("an ended run ran again")
	}

	h.pass(time.Hour)
	if run := h.perform(actions.Order{Verb: actions.VerbDeploy, Ref: "next"}); run.State != actions.RunSucceeded {
		t.Fatalf("update: %+v", run)
	}
	if env := h.env(); env.Commit.SHA != shaB || env.Ref != "next" || env.Set != nil || !env.ExpiresAt.Equal(h.now().Add(72*time.Hour)) {
		t.Errorf("after the update: %+v", env)
	}
	if run := h.perform(actions.Order{Verb: actions.VerbRollback}); run.State != actions.RunSucceeded || run.Order.Commit.SHA != shaA || run.Steps[0].Verb != actions.VerbDeploy {
		t.Errorf("rollback: %+v", run)
	}
	if env := h.env(); env.Commit.SHA != shaA || env.Set["image.tag"] != "v1" {
		t.Errorf("after the rollback: %+v", env)
	}

	h.world.with(func() { h.world.events = nil })
	if run := h.perform(actions.Order{Verb: actions.VerbCleanup}); run.State != actions.RunSucceeded {
		t.Fatalf("cleanup: %+v", run)
	}
	if got := h.world.log(); got != "+url -url +web -web +db -db" {
		t.Errorf("cleanup ran as %s", got)
	}
	if env := h.env(); env.State != actions.StateCleaned || env.Commit.SHA != "" || env.Parts != nil || !env.ExpiresAt.IsZero() || env.URL != "" {
		t.Errorf("after the cleanup: %+v", env)
	}
	if len(h.world.made) != 0 {
		t.Errorf("left behind: %v", h.world.made)
	}
	if live, _, err := h.store.Environments(h.ctx, actions.EnvFilter{}); err != nil || len(live) != 0 {
		t.Errorf("a cleaned environment is listed: %v, %v", live, err)
	}
	if run := h.perform(actions.Order{Verb: actions.VerbDeploy}); run.Before != actions.StateCleaned || h.env().State != actions.StateRunning {
		t.Errorf("deploy anew: %+v", run)
	}
	if err := h.store.VerifyAudit(h.ctx, shop42); err != nil {
		t.Error(err)
	}
	if runs, err := h.store.Runs(h.ctx, shop42, 2); err != nil || len(runs) != 2 || runs[0].Order.Verb != actions.VerbDeploy {
		t.Errorf("runs %v, %v", runs, err)
	}
}

func TestArchiveAndRestore(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.world.verbs["dns"] = []actions.Verb{actions.VerbDeploy, actions.VerbCleanup}
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	run := h.perform(actions.Order{Verb: actions.VerbArchive})
	if env := h.env(); run.State != actions.RunSucceeded || len(run.Steps) != 2 || env.State != actions.StateArchived || !env.HasArchive || !env.ExpiresAt.IsZero() || env.URL != "" {
		t.Fatalf("archive: %+v, %+v", run, env)
	}
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, true)
	wantCode(t, err, actions.CodeConflict)
	h.world.before["web"] = func(context.Context, actions.Step, func(actions.Event)) error {
		return actions.Errorf("helm", actions.CodeDownstream, "The cluster said no.")
	}
	const cause, left = "Part web: The cluster said no.", "db runs aaaaaaa; web is as its restore left it"
	if run := h.perform(actions.Order{Verb: actions.VerbRestore}); run.State != actions.RunFailed || run.Error != cause || run.Left != left || run.Code != actions.CodeDownstream {
		t.Fatalf("restore: %+v", run)
	}
	if env := h.env(); env.State != actions.StateFailure || !env.HasArchive || env.LastAction.Error != cause || env.LastAction.Left != left {
		t.Errorf("after a failed restore: %+v", env)
	}
	_, err = h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy}, true)
	wantCode(t, err, actions.CodeConflict)
	delete(h.world.before, "web")
	if run := h.perform(actions.Order{Verb: actions.VerbRestore}); run.State != actions.RunSucceeded || run.Order.Commit.SHA != shaA {
		t.Fatalf("restore: %+v", run)
	}
	if env := h.env(); env.State != actions.StateRunning || env.HasArchive || env.ExpiresAt.IsZero() || env.Commit.SHA != shaA {
		t.Errorf("after the restore: %+v", env)
	}
}

func TestAFailedUpdateSaysWhatServes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		health actions.Health
		want   actions.State
	}{
		"all serve on":         {actions.Degraded, actions.StateRunning},
		"one is gone":          {actions.Absent, actions.StateFailure},
		"one cannot be seen":   {actions.Unknown, actions.StateFailure},
		"one does not respond": {actions.Unhealthy, actions.StateFailure},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.perform(actions.Order{Verb: actions.VerbDeploy})
			h.world.with(func() {
				h.world.health["web"] = actions.Observation{Health: tc.health, Text: "1 of 2 pods"}
				h.world.before["web"] = func(context.Context, actions.Step, func(actions.Event)) error {
					return actions.Errorf("helm", actions.CodeDownstream, "The image cannot be pulled.")
				}
			})
			run := h.perform(actions.Order{Verb: actions.VerbDeploy, Ref: "next"})
			env := h.env()
			if run.State != actions.RunFailed || env.State != tc.want || env.Commit.SHA != shaA || env.LastAction.Commit.SHA != shaB || env.LastAction.State != actions.RunFailed {
				t.Errorf("run %+v\nenvironment %+v", run, env)
			}
			if got := run.Steps[2]; got.State != actions.StepSkipped || got.Error != "It waits for web, which failed." {
				t.Errorf("url: %+v", got)
			}
			if env.URL == "" {
				t.Error("the address of what serves is gone")
			}
		})
	}
}

func TestPartsWithoutNeedsRunSideBySide(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Parts = []actions.Part{{Name: "aa", Use: "x"}, {Name: "bb", Use: "x"}, {Name: "cc", Use: "x", Needs: []string{"aa"}}, {Name: "dd", Use: "x", Needs: []string{"bb", "cc"}}}
	both := make(chan struct{}, 2)
	meet := func(ctx context.Context, _ actions.Step, _ func(actions.Event)) error {
		both <- struct{}{}
		for len(both) < 2 { // both must be under way at once
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
		return nil
	}
	h.world.before["aa"], h.world.before["bb"] = meet, meet
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Minute)
	defer cancel()
	req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	if run := h.performReq(ctx, req); run.State != actions.RunSucceeded {
		t.Fatalf("run %+v", run)
	}

	fail := func(context.Context, actions.Step, func(actions.Event)) error { return errors.New("secret host name") }
	h.world.with(func() {
		h.world.before = map[string]func(context.Context, actions.Step, func(actions.Event)) error{"aa": fail}
		h.world.health["aa"] = actions.Observation{Health: actions.Unhealthy}
	})
	run := h.perform(actions.Order{Verb: actions.VerbDeploy})
	var got []string
	for _, s := range run.Steps {
		got = append(got, s.Part+" "+string(s.State))
	}
	if want := "aa failed, bb done, cc skipped, dd skipped"; strings.Join(got, ", ") != want {
		t.Errorf("steps %s, want %s", strings.Join(got, ", "), want)
	}
	if strings.Contains(run.Error, "secret") || !strings.HasPrefix(run.Error, "Part aa: ") || run.Steps[3].Error != "It waits for aa, which failed." {
		t.Errorf("error %q, dd: %q", run.Error, run.Steps[3].Error)
	}
}

func TestTriesAgainWhatMayPass(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err   error
		until int // the try that succeeds; 0 for none
		tries int
		state actions.RunState
	}{
		"a plugin that died":           {actions.Errorf("host", actions.CodeUnavailable, "The plugin ended."), 3, 3, actions.RunSucceeded},
		"a failure that may pass":      {&actions.Error{Op: "helm", Code: actions.CodeDownstream, Msg: "Busy.", Retry: true}, 2, 2, actions.RunSucceeded},
		"one that never passes":        {&actions.Error{Op: "helm", Code: actions.CodeDownstream, Msg: "Busy.", Retry: true}, 0, 5, actions.RunFailed},
		"a mistake of the user's":      {actions.Errorf("helm", actions.CodeInvalid, "No such chart."), 0, 1, actions.RunFailed},
		"a cluster that says no":       {actions.Errorf("helm", actions.CodeDownstream, "Forbidden."), 0, 1, actions.RunFailed},
		"an executor without manners":  {errors.New("boom"), 0, 1, actions.RunFailed},
		"an executor that panics here": {nil, 0, 1, actions.RunFailed},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			tries, ids := 0, map[string]bool{}
			h.world.before["db"] = func(_ context.Context, s actions.Step, _ func(actions.Event)) error {
				tries++
				ids[s.ID] = true
				if tries == tc.until {
					return nil
				}
				if tc.err == nil {
					panic("boom")
				}
				return tc.err
			}
			run := h.perform(actions.Order{Verb: actions.VerbDeploy})
			if run.State != tc.state || tries != tc.tries || run.Steps[0].Tries != tc.tries || len(ids) != 1 || !ids[run.ID+"/db/deploy"] {
				t.Errorf("%d tries with ids %v; run %+v", tries, ids, run)
			}
		})
	}
}

func TestCancelledRuns(t *testing.T) {
	t.Parallel()
	t.Run("one that is asked to stop ends, and says who asked", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		ctx, cancel := context.WithCancelCause(h.ctx)
		h.world.before["web"] = func(ctx context.Context, _ actions.Step, _ func(actions.Event)) error {
			cancel(actions.Errorf("worker", actions.CodeCancelled, "Ben cancelled it."))
			<-ctx.Done()
			return ctx.Err()
		}
		req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
		run := h.performReq(ctx, req)
		env := h.env()
		if run.State != actions.RunCancelled || said(run) != "Ben cancelled it. Where things are: db runs aaaaaaa; web is as its deploy left it; url was not touched." || run.Code != actions.CodeCancelled || env.State != actions.StateFailure || env.LastAction.State != actions.RunCancelled {
			t.Errorf("run %+v\nenvironment %+v", run, env)
		}
		if s := run.Steps; s[0].State != actions.StepDone || s[1].State != actions.StepCancelled || s[2].State != actions.StepCancelled {
			t.Errorf("steps %+v", s)
		}
	})
	t.Run("one that is stopped before its first step leaves nothing", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
		ctx, cancel := context.WithCancelCause(h.ctx)
		cancel(actions.ErrCancelRequested)
		if run := h.performReq(ctx, req); run.State != actions.RunCancelled {
			t.Errorf("run %+v", run)
		}
		if _, err := h.store.Environment(h.ctx, shop42); actions.CodeOf(err) != actions.CodeNotFound {
			t.Errorf("environment: %v", err)
		}
	})
	t.Run("one whose process goes before it began is left for another", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
		ctx, cancel := context.WithCancelCause(h.ctx)
		cancel(errors.New("process stops"))
		l := h.lease()
		_, err := h.run.Run(ctx, l, req)
		wantCode(t, err, actions.CodeUnavailable)
		_, err = h.store.Run(h.ctx, req.ID)
		wantCode(t, err, actions.CodeNotFound)
		if run, err := h.run.Run(h.ctx, l, req); err != nil || run.State != actions.RunSucceeded || run.Attempt != 1 {
			t.Errorf("run %+v, %v", run, err)
		}
	})
	t.Run("one whose process goes is left for another, which goes on", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		ctx, cancel := context.WithCancelCause(h.ctx)
		h.world.before["web"] = func(ctx context.Context, _ actions.Step, _ func(actions.Event)) error {
			if ctx.Err() == nil && len(h.world.steps) == 2 {
				cancel(errors.New("process stops"))
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		h.world.inputs["web"] = map[string]string{"chart": "sha256:1"}
		req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
		l := h.lease()
		_, err := h.run.Run(ctx, l, req)
		wantCode(t, err, actions.CodeUnavailable)
		stored, err := h.store.Run(h.ctx, req.ID)
		if err != nil || stored.State != actions.RunRunning || stored.Steps[0].State != actions.StepDone || stored.Steps[1].State != actions.StepRunning {
			t.Fatalf("stored run %+v, %v", stored, err)
		}
		if err := l.Release(h.ctx); err != nil {
			t.Fatal(err)
		}
		h.world.inputs["web"] = map[string]string{"chart": "sha256:2"}
		h.repos.refs["refs/pull/42/head"] = shaB // too late for a run that has begun
		h.app.Parts[1].With["tag"] = "changed"
		run := h.performReq(h.ctx, req)
		if run.State != actions.RunSucceeded || run.Attempt != 2 || h.world.log() != "+db -db +web -web +web -web +url -url" {
			t.Errorf("run %+v; %s", run, h.world.log())
		}
		if got := h.world.steps[2]; got.With["tag"] != "aaaaaaa" || got.ID != h.world.steps[1].ID || got.Commit.SHA != shaA || got.Agreed["chart"] != "sha256:1" {
			t.Errorf("the step that was run again is %+v", got)
		}
		if env := h.env(); env.State != actions.StateRunning || env.Commit.SHA != shaA {
			t.Errorf("environment %+v", env)
		}
	})
}

func TestAWorkerThatLostItsLeaseWritesNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	old := h.lease()
	var taken *actions.Run
	h.world.before["web"] = func(ctx context.Context, _ actions.Step, sink func(actions.Event)) error {
		if taken != nil {
			return nil
		}
		taken = &actions.Run{}
		if err := h.rdb.Del(ctx, h.store.Key(shop42, "lease")).Err(); err != nil { // it ran out
			return err
		}
		taken = h.performReq(h.ctx, req) // another worker does the whole run meanwhile
		sink(actions.Event{Kind: actions.EventLog, Text: "from the grave"})
		return nil
	}
	_, err := h.run.Run(h.ctx, old, req)
	wantCode(t, err, actions.CodeFenced)
	stored, err := h.store.Run(h.ctx, req.ID)
	if err != nil || stored.State != actions.RunSucceeded || stored.Attempt != 2 || stored.Steps[1].Tries != 2 {
		t.Errorf("stored %+v, %v", stored, err)
	}
	if strings.Contains(strings.Join(h.texts(req.ID), "\n"), "grave") {
		t.Error("a fenced worker wrote an event")
	}
	if err := h.store.VerifyAudit(h.ctx, shop42); err != nil {
		t.Error(err)
	}
}

func TestARunThatCanOnlyFailSaysWhy(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	if _, err := h.store.SetLock(h.ctx, shop42, &actions.Lock{By: "ben", Reason: "demo"}, actions.Record{Actor: "ben"}); err != nil {
		t.Fatal(err)
	}
	run := h.performReq(h.ctx, req)
	if run.State != actions.RunFailed || run.Code != actions.CodeConflict || run.Error != "shop/pr-42 is locked by ben (demo); unlock it first." {
		t.Errorf("run %+v", run)
	}
	if env := h.env(); env.State != actions.StateRunning || env.LastAction.RunID != run.ID || env.Lock == nil {
		t.Errorf("environment %+v", env)
	}
	if got := h.texts(run.ID); !slices.Equal(got, []string{"run failed " + run.Error}) {
		t.Errorf("events %q", got)
	}
}

func TestARunThatWasOvertakenEnds(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	left, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	ctx, cancel := context.WithCancelCause(h.ctx)
	h.world.before["web"] = func(context.Context, actions.Step, func(actions.Event)) error {
		cancel(errors.New("process stops"))
		return ctx.Err()
	}
	l := h.lease()
	if _, err := h.run.Run(ctx, l, left); err == nil {
		t.Fatal("the run went on")
	}
	_ = l.Release(h.ctx)
	delete(h.world.before, "web")
	if run := h.perform(actions.Order{Verb: actions.VerbCleanup}); run.State != actions.RunSucceeded || run.Before != actions.StateFailure {
		t.Fatalf("cleanup of what was left: %+v", run)
	}
	run := h.performReq(h.ctx, left)
	if run.State != actions.RunFailed || run.Code != actions.CodeConflict || h.env().State != actions.StateCleaned {
		t.Errorf("run %+v", run)
	}
}
