package actions_test

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-dev/berth/actions"
)

func TestOnlyAddressesThatABrowserMayOpenAreLinks(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.world.health["db"] = actions.Observation{Health: actions.Healthy, Links: []actions.Link{
		{Name: "script", URL: "javascript:alert(1)"}, {Name: "file", URL: "file:///etc/passwd"}, {Name: "bad", URL: "http://[::1"},
		{Name: "user", URL: "https://github.com@evil.example.org/"}, {Name: "none", URL: "https://"}, {Name: "relative", URL: "/x"},
	}}
	h.world.health["web"] = actions.Observation{Health: actions.Degraded, Text: "1 of 2 pods", Links: []actions.Link{
		{Name: "web", URL: "http://web.example.org:8080/a?b=c"}, {Name: "twice", URL: "http://web.example.org:8080/a?b=c"},
	}}
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	env := h.env()
	if len(env.Links) != 2 || env.URL != "http://web.example.org:8080/a?b=c" || env.Links[1].Name != "url" {
		t.Errorf("links %+v, URL %s", env.Links, env.URL)
	}
	if web := env.Parts["web"]; web.Health != actions.Degraded || web.Text != "1 of 2 pods" {
		t.Errorf("web %+v", web)
	}
}

// Only what ran before can serve on: a second failed update of what is broken
// does not make it whole, whatever its parts look like.
func TestAFailedUpdateOfAFailureStaysAFailure(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	h.world.before["web"] = func(context.Context, actions.Step, func(actions.Event)) error {
		return actions.Errorf("helm", actions.CodeDownstream, "No.")
	}
	h.world.health["web"] = actions.Observation{Health: actions.Unhealthy}
	h.perform(actions.Order{Verb: actions.VerbDeploy, Ref: "next"})
	h.world.health["web"] = actions.Observation{Health: actions.Healthy}
	if run := h.perform(actions.Order{Verb: actions.VerbDeploy, Ref: "next"}); run.Before != actions.StateFailure || h.env().State != actions.StateFailure {
		t.Errorf("run %+v, environment %+v", run, h.env())
	}
	delete(h.world.before, "web")
	if run := h.perform(actions.Order{Verb: actions.VerbRollback}); run.State != actions.RunSucceeded || run.Order.Commit.SHA != shaA || h.env().State != actions.StateRunning {
		t.Errorf("rollback to what ran: %+v", run)
	}
}

// A part that cannot be seen is unknown, not absent.
func TestObserve(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	_, err := h.run.Observe(h.ctx, shop42)
	wantCode(t, err, actions.CodeNotFound)
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	h.app.Parts[2].Use = "nowhere"
	seen, err := h.run.Observe(h.ctx, shop42)
	if err != nil || seen["db"].Health != actions.Healthy || seen["url"].Health != actions.Unknown ||
		seen["url"].Text != "There is no executor nowhere; configure it under plugins." {
		t.Errorf("seen %+v, %v", seen, err)
	}
	h.app.Parts[2].Use = "dns"
	h.perform(actions.Order{Verb: actions.VerbCleanup})
	if seen, err := h.run.Observe(h.ctx, shop42); err != nil || len(seen) != 0 {
		t.Errorf("seen %+v, %v", seen, err)
	}
}

// What a run began with, it goes on with: numbers stay what they were, too.
func TestAResumedRunGivesTheSameValues(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.Parts[1].With = map[string]any{"replicas": 3, "ratio": 0.5, "big": int64(1) << 60, "list": []any{1, "{{ .PR }}", true, nil}}
	ctx, cancel := context.WithCancelCause(h.ctx)
	h.world.before["db"] = func(context.Context, actions.Step, func(actions.Event)) error {
		cancel(errors.New("process stops"))
		return nil
	}
	req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	l := h.lease()
	if _, err := h.run.Run(ctx, l, req); err == nil {
		t.Fatal("the run went on")
	}
	run, err := h.run.Run(h.ctx, l, req)
	if err != nil || run.State != actions.RunSucceeded || run.Attempt != 2 {
		t.Fatalf("run %+v, %v", run, err)
	}
	with := h.world.steps[1].With
	list, _ := with["list"].([]any)
	if with["replicas"] != int64(3) || with["ratio"] != 0.5 || with["big"] != int64(1)<<60 || len(list) != 4 || list[0] != int64(1) || list[1] != "42" || list[2] != true || list[3] != nil {
		t.Errorf("web was given %#v", with)
	}
}
