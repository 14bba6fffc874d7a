package bot_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// wide is an app of several clusters and components, whose parts are taken back
// when an update fails.
func wide() *actions.App {
	app := bottest.Shop()
	app.Name, app.Repo, app.OnExpiry = "wide", "acme/wide", actions.VerbArchive
	app.Clusters = []actions.Cluster{{Name: "staging"}, {Name: "eu"}}
	app.Cluster = app.Clusters[0]
	app.Components = map[string]actions.Component{"api": {Repo: "acme/api"}, "web": {Repo: "acme/web", Ref: "main"}}
	app.Parts[1].OnFailure = actions.FailureRollback
	return app
}

func TestEarlyRefusalsNameWhatThereIs(t *testing.T) {
	w := bottest.New(t, redistest.Client(t), bottest.Shop(), wide())
	w.Work()
	w.Do("deploy wide/pr-1")
	w.Do("deploy shop/pr-1")
	for name, c := range map[string]struct {
		line string
		code actions.Code
		says string
	}{
		"a component that there is not":       {"deploy wide/pr-1 --with apu=main", actions.CodeInvalid, "it has `api` and `web`"},
		"a component where there are none":    {"deploy shop/pr-1 --with api=main", actions.CodeInvalid, "`apps.shop.components`"},
		"another repository's pull request":   {"deploy wide/pr-1 --with api=acme/web#1", actions.CodeInvalid, "is built from acme/api"},
		"a cluster that the app may not use":  {"deploy wide/pr-2 --cluster us", actions.CodeInvalid, "`staging` and `eu`"},
		"a cluster that the environment left": {"deploy wide/pr-1 --cluster eu", actions.CodeConflict, "stays there until it is cleaned up"},
		"a revision that never was":           {"rollback wide/pr-1 --to 7", actions.CodeNotFound, "`berth history wide/pr-1`"},
		"a cluster in a simulation":           {"diff wide/pr-2 --cluster us", actions.CodeInvalid, "`staging` and `eu`"},
	} {
		t.Run(name, func(t *testing.T) {
			reply := w.Say(c.line)
			if reply.Tone != bot.ToneRefused || reply.Code != c.code || !strings.Contains(reply.Text, c.says) {
				t.Errorf("want %s and %q, got %s, %s: %s", c.code, c.says, reply.Tone, reply.Code, reply.Text)
			}
		})
	}
}

func TestWhatACancelLeavesIsSaidBefore(t *testing.T) {
	w := bottest.New(t, redistest.Client(t), wide())
	w.Work()
	release := w.Executor.Hold("web")
	defer release()
	r := w.Say("deploy wide/pr-1").Request
	w.Await(r.ID, func(r *approvals.Request) bool { return r.State == approvals.StateRunning && r.RunID != "" })
	golden(t, "cancel_taken_back", w.Say("cancel wide/pr-1").Text)
}

func TestACancelWhileItIsTakenBackSaysSo(t *testing.T) {
	w := bottest.New(t, redistest.Client(t), wide())
	w.Work()
	w.Do("deploy wide/pr-1 --ref main")
	w.Executor.Fail("web", actions.Errorf("memory.run", actions.CodeDownstream, "No image."), actions.VerbDeploy)
	release := w.Executor.Hold("web", actions.VerbRollback)
	defer release()
	r := w.Say("deploy wide/pr-1 --ref other").Request
	w.Await(r.ID, func(r *approvals.Request) bool {
		if r.RunID == "" {
			return false
		}
		run, err := w.Store.Run(t.Context(), r.RunID)
		return err == nil && run.Error != ""
	})
	if text := w.Say("cancel wide/pr-1").Text; !strings.Contains(text, "has stopped already, and what it did is being taken back") {
		t.Error(text)
	}
	if text := w.Say("status wide/pr-1").Text; strings.Contains(text, " stops it.") || !strings.Contains(text, ", has stopped, and takes back what it did, until ") {
		t.Error(text)
	}
}

func TestHistoryIsToldAndGoneBackTo(t *testing.T) {
	w, name := bottest.New(t, redistest.Client(t), wide()), actions.Name{App: "wide", Env: "pr-1"}
	w.Work()
	must := func(line string, want approvals.State) {
		t.Helper()
		if r := w.Do(line); r.State != want {
			t.Fatalf("%s is %s: %s", line, r.State, r.Reason)
		}
	}
	if reply := w.Say("history wide/pr-1"); reply.Code != actions.CodeNotFound {
		t.Errorf("%s: %s", reply.Code, reply.Text)
	}
	must("deploy wide/pr-1 --ref main", approvals.StateSucceeded)
	golden(t, "history_first", w.Say("history wide/pr-1").Text)
	must("deploy wide/pr-1 --ref other", approvals.StateSucceeded)
	must("restart wide/pr-1", approvals.StateSucceeded)
	must("rollback wide/pr-1", approvals.StateSucceeded)
	if got := w.Executor.Runs(name, "web"); got != bottest.MainSHA {
		t.Errorf("%q runs", got)
	}
	if reply := w.Say("rollback wide/pr-1 --to 4"); reply.Code != actions.CodeNotFound || !strings.Contains(reply.Text, "the newest is 3") {
		t.Errorf("%s: %s", reply.Code, reply.Text)
	}
	w.Executor.Fail("web", actions.Errorf("memory.run", actions.CodeDownstream, "No image."), actions.VerbDeploy)
	must("deploy wide/pr-1 --ref other", approvals.StateFailed)
	w.Executor.Fail("web", nil)
	golden(t, "history", w.Say("history wide/pr-1").Text)
	golden(t, "status_taken_back", w.Say("status wide/pr-1").Text)
	must("rollback wide/pr-1 --to 2", approvals.StateSucceeded)
	if got := w.Executor.Runs(name, "web"); got != bottest.OtherSHA {
		t.Errorf("%q runs", got)
	}

	must("sleep wide/pr-1", approvals.StateSucceeded)
	golden(t, "status_sleeping", w.Say("status wide/pr-1").Text)
	must("wake wide/pr-1", approvals.StateSucceeded)
	must("extend wide/pr-1 --keep", approvals.StateSucceeded)
	golden(t, "status_kept", w.Say("status wide/pr-1").Text)
	golden(t, "list_kept", w.Say("list").Text)
	must("archive wide/pr-1", approvals.StateSucceeded)
	golden(t, "history_archived", w.Say("history wide/pr-1").Text)
	must("restore wide/pr-1", approvals.StateSucceeded)
	if got := w.Executor.Runs(name, "web"); got != bottest.OtherSHA {
		t.Errorf("%q runs", got)
	}
}

func TestStatusNamesWhatTriesAgain(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	for _, step := range []struct{ line, says, not string }{
		{"restart shop/pr-42", "`berth restart shop/pr-42` tries again", "brings back"},
		{"deploy shop/pr-42 --ref other", "`berth deploy shop/pr-42` tries again, `berth rollback shop/pr-42` brings back what ran before", "berth restart"},
		{"cleanup shop/pr-42", "`berth cleanup shop/pr-42` tries again.", "berth deploy"},
	} {
		w.Executor.Fail("web", actions.Errorf("memory.run", actions.CodeDownstream, "Not now."))
		if r := w.Do(step.line); r.State != approvals.StateFailed {
			t.Fatalf("%s is %s: %s", step.line, r.State, r.Reason)
		}
		if text := w.Say("status shop/pr-42").Text; !strings.Contains(text, step.says) || strings.Contains(text, step.not) {
			t.Errorf("after a failed %s:\n%s", step.line, text)
		}
	}
}

func TestDriftIsShown(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	w.Executor.Drift("web", "Deployment web: replicas 2 → 5 | by hand", "ConfigMap web: LOG_LEVEL changed")
	golden(t, "status_drift", w.Say("status shop/pr-42").Text)
	reply := w.Say("diff shop/pr-42")
	if !strings.Contains(reply.Text, "**web** is not what was deployed any more") {
		t.Errorf("diff says nothing of drift: %s", reply.Text)
	}
	w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	golden(t, "diff_drift", w.Say("diff "+reply.Request.ID).Text)
}

func TestSentencesOfALife(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ran := actions.Commit{SHA: bottest.MainSHA, Message: "Begin"}
	update := func(state actions.RunState, text string) *actions.LastAction {
		return &actions.LastAction{Verb: actions.VerbDeploy, Commit: actions.Commit{SHA: bottest.OtherSHA}, State: state, Error: text, At: at}
	}
	leaving := func(last *actions.LastAction, left string) *actions.LastAction {
		last.Left = left
		return last
	}
	for want, env := range map[string]*actions.Environment{
		"is running `1111111` (Begin)": {State: actions.StateRunning, Commit: ran},
		"is running `1111111` (Begin); the update to `0123456` failed: Part web: no image. Part web was rolled back": {
			State: actions.StateRunning, Commit: ran, LastAction: update(actions.RunFailed, "Part web: no image. Part web was rolled back.")},
		"is running `1111111` (Begin); the update to `0123456` was cancelled": {
			State: actions.StateRunning, Commit: ran, LastAction: update(actions.RunCancelled, "It was cancelled.")},
		"is running `1111111` (Begin); the update to `0123456` was cancelled: Stopped by ana; part web was rolled back": {
			State: actions.StateRunning, Commit: ran, LastAction: update(actions.RunCancelled, "Stopped by ana; part web was rolled back.")},
		"is sleeping, put to sleep by schedule/nightly; when awake it runs `1111111` (Begin)": {
			State: actions.StateRunning, Commit: ran, Sleeping: true, SleptBy: "schedule/nightly"},
		"is running `1111111` (Begin); the update to `0123456` failed: " + strings.Repeat("x", 600) + "… Where things are: db was cleaned up; web is back at revision 3": {
			State: actions.StateRunning, Commit: ran, LastAction: leaving(update(actions.RunFailed, strings.Repeat("x", 900)), "db was cleaned up; web is back at revision 3")},
		"is running `1111111` (Begin); the update to `0123456` was cancelled. Where things are: web was not touched": {
			State: actions.StateRunning, Commit: ran, LastAction: leaving(update(actions.RunCancelled, "It was cancelled."), "web was not touched")},
		"is archived; what ran was `1111111` (Begin)": {State: actions.StateArchived, Commit: ran},
		"is archived":                      {State: actions.StateArchived},
		"is sleeping":                      {State: actions.StateRunning, Sleeping: true},
		"is sleeping, put to sleep by ana": {State: actions.StateRunning, Sleeping: true, SleptBy: "ana"},
		"is broken":                        {State: actions.StateFailure, Deployed: 4, FirstRevision: 3},
		"could not be deployed":            {State: actions.StateFailure, Deployed: 2, FirstRevision: 3},
	} {
		if got := bot.Sentence(env); got != want {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

func TestExpiryIsSaidWithWhatHappensThen(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	in := bot.Input{Place: approvals.Place{Surface: "cli"}}
	made := time.Now().Add(-24 * time.Hour)
	env := func(change func(*actions.Environment)) *actions.Environment {
		e := &actions.Environment{Name: actions.Name{App: "shop", Env: "pr-42"}, State: actions.StateRunning, CreatedAt: made, ExpiresAt: made.Add(72*time.Hour + time.Minute)}
		if change != nil {
			change(e)
		}
		return e
	}
	archives, old := bottest.Shop(), bottest.Shop()
	archives.OnExpiry, old.MaxAge = actions.VerbArchive, 72*time.Hour
	for name, c := range map[string]struct {
		app  *actions.App
		env  *actions.Environment
		says string
	}{
		"it is cleaned up":           {bottest.Shop(), env(nil), "Expires in 2 days"},
		"then, by default":           {bottest.Shop(), env(nil), "then it will be cleaned up."},
		"or archived":                {archives, env(nil), "then it will be archived."},
		"as late as the app allows":  {old, env(nil), "The app lets none live for longer (`max_age`)."},
		"one that is kept stays":     {bottest.Shop(), env(func(e *actions.Environment) { e.Keep, e.ExpiresAt = true, time.Time{} }), "It is kept"},
		"one that lives for ever":    {bottest.Shop(), env(func(e *actions.Environment) { e.ExpiresAt = time.Time{} }), ""},
		"one whose time is over":     {bottest.Shop(), env(func(e *actions.Environment) { e.ExpiresAt = made }), "Its time is over since"},
		"one that is gone says none": {bottest.Shop(), env(func(e *actions.Environment) { e.State = actions.StateCleaned }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.Service.ExpiryText(in, c.app, c.env); !strings.Contains(got, c.says) || (c.says == "") != (got == "") {
				t.Errorf("want %q, got %q", c.says, got)
			}
		})
	}
}
