package actions_test

import (
	"testing"

	"github.com/berth-dev/berth/actions"
)

func TestAForksCommitRunsOnlyWithTheAppsLeave(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.app.AllowForks = false
	h.repos.fork = true
	const msg = "Commit bbbbbbb comes from a fork, or is on no branch of acme/shop, and apps.shop.allow_forks is not set, so it does not run; " +
		"somebody who keeps Berth's config can allow it, or push the branch to acme/shop itself."
	_, err := h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbDeploy, Ref: "next"}, true)
	wantCode(t, err, actions.CodeForbidden)
	if got := actions.Message(err); got != msg {
		t.Errorf("message\n%s\nwant\n%s", got, msg)
	}

	h.app.AllowForks = true
	_, plan := h.plan(actions.Order{Verb: actions.VerbDeploy})
	h.repos.fork = false
	if _, same := h.plan(actions.Order{Verb: actions.VerbDeploy}); same.Digest != plan.Digest {
		t.Error("where a commit comes from changes the digest")
	}
	h.repos.fork = true
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	h.repos.fork = false
	h.perform(actions.Order{Verb: actions.VerbDeploy, Ref: "next"})

	h.app.AllowForks = false
	_, err = h.run.Plan(h.ctx, actions.Order{Env: shop42, Verb: actions.VerbRollback}, true)
	wantCode(t, err, actions.CodeForbidden)
	h.app.AllowForks, h.repos.fork = true, true
	h.perform(actions.Order{Verb: actions.VerbDeploy})
	h.app.AllowForks = false
	if run := h.perform(actions.Order{Verb: actions.VerbCleanup}); run.State != actions.RunSucceeded {
		t.Errorf("what runs is not cleaned up: %+v", run)
	}
}
