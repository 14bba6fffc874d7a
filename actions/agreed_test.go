package actions_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

func TestWhatWasAgreedOnIsWhatRuns(t *testing.T) {
	t.Parallel()
	tests := map[string]func(h *harness){
		"a new commit":             func(h *harness) { h.repos.refs["refs/pull/42/head"] = shaB },
		"another value":            func(h *harness) { h.app.Parts[0].With["size"] = 4 },
		"another variable":         func(h *harness) { h.app.Vars = map[string]string{"LEVEL": "info"} },
		"another chart":            func(h *harness) { h.world.inputs["web"] = map[string]string{"chart": "sha256:2"} },
		"another executor":         func(h *harness) { h.world.binary = "b2" },
		"another lifetime":         func(h *harness) { h.app.TTL = time.Hour },
		"a part more":              func(h *harness) { h.app.Parts = append(h.app.Parts, actions.Part{Name: "more", Use: "x"}) },
		"another order of parts":   func(h *harness) { h.app.Parts[2].Needs = nil },
		"another way into cluster": func(h *harness) { h.app.Cluster.Context = "d" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
			change(h)
			_, err := h.run.Run(h.ctx, h.lease(), req)
			wantCode(t, err, actions.CodeStale)
			if len(h.world.steps) != 0 {
				t.Error("something ran")
			}
			if _, err := h.store.Environment(h.ctx, shop42); actions.CodeOf(err) != actions.CodeNotFound {
				t.Errorf("environment: %v", err)
			}
		})
	}
	t.Run("GitHub does not answer, and what was agreed on runs", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
		h.repos.down = true
		if run := h.performReq(h.ctx, req); run.State != actions.RunSucceeded {
			t.Errorf("run %+v", run)
		}
	})
	t.Run("a worker died before the first step, and the commit is another since", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		h.perform(actions.Order{Verb: actions.VerbDeploy})
		req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
		l := h.lease()
		ctx, cancel := context.WithCancelCause(h.ctx)
		h.rdb.(interface{ AddHook(hook redisHook) }).AddHook(&afterSave{kind: "run.started", then: func() { cancel(errors.New("killed")) }})
		_, err := h.run.Run(ctx, l, req)
		wantCode(t, err, actions.CodeUnavailable)
		if env := h.env(); env.State != actions.StateUpdatePending || env.RunID != req.ID {
			t.Fatalf("environment %+v", env)
		}
		h.repos.refs["refs/pull/42/head"] = shaB
		_, err = h.run.Run(h.ctx, l, req)
		wantCode(t, err, actions.CodeStale)
		if env := h.env(); env.State != actions.StateRunning || env.RunID != "" || env.Commit.SHA != shaA {
			t.Errorf("environment %+v", env)
		}
	})
	t.Run("a worker died before the first step, and the registry does not answer since", func(t *testing.T) {
		t.Parallel()
		h := newHarness(t)
		registry(h, sha("a"), false)
		h.perform(actions.Order{Verb: actions.VerbDeploy})
		req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
		l := h.lease()
		ctx, cancel := context.WithCancelCause(h.ctx)
		h.rdb.(interface{ AddHook(hook redisHook) }).AddHook(&afterSave{kind: "run.started", then: func() { cancel(errors.New("killed")) }})
		_, err := h.run.Run(ctx, l, req)
		wantCode(t, err, actions.CodeUnavailable)
		registry(h, "", true)
		run, err := h.run.Run(h.ctx, l, req)
		if err != nil || run.State != actions.RunSucceeded {
			t.Errorf("run %+v, %v", run, err)
		}
	})
}
