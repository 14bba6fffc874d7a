package bot_test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

func github(line string, number int) bot.Input {
	return bot.Input{
		Line: line, Actor: bot.Actor{Name: "ana", Identity: "github:ana", Roles: []string{"github:write"}},
		Place: approvals.Place{Surface: "github", ID: "acme/shop#42"}, Repo: "acme/shop", PullRequest: number,
	}
}

func TestALifeInCommands(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	if r := w.Do("deploy shop/pr-42 --set image.tag=v1"); r.State != approvals.StateSucceeded {
		t.Fatalf("the deploy is %s: %s", r.State, r.Reason)
	}
	golden(t, "status_running", w.Say("status shop/pr-42").Text)
	golden(t, "list", w.Say("list").Text)
	golden(t, "logs", w.Say("logs shop/pr-42").Text)
	w.Executor.Blind("web", true)
	golden(t, "status_blind", w.Say("status shop/pr-42").Text)
	w.Executor.Blind("web", false)

	w.Executor.Fail("web", actions.Errorf("memory.run", actions.CodeDownstream, "Pod web-1 | ImagePullBackOff: see https://registry.example.org @ops `x`."))
	if r := w.Do("deploy shop/pr-42 --ref other"); r.State != approvals.StateFailed {
		t.Fatalf("the deploy is %s: %s", r.State, r.Reason)
	}
	golden(t, "status_failed", w.Say("status shop/pr-42").Text)
	golden(t, "explain_failed", w.Say("explain shop/pr-42").Text)
	w.Executor.Fail("web", nil)

	if r := w.Do("extend shop/pr-42 --ttl 24h"); r.State != approvals.StateSucceeded {
		if r.State != approvals.StateFailed && r.State != approvals.StateRefused {
			t.Fatalf("extending is %s: %s", r.State, r.Reason)
		}
		t.Logf("an environment that failed is not extended: %s", r.Reason)
	}
	diff := w.Do("diff shop/pr-42 --ref main")
	golden(t, "diff", w.Say("diff "+diff.ID).Text)
	look := bot.Input{Line: "diff " + diff.ID, Actor: bot.Actor{Name: "eve", Roles: []string{bot.RoleViewer}}}
	if reply := w.SayIn(look); reply.Tone != bot.ToneInfo || reply.Text != w.Say(look.Line).Text {
		t.Errorf("somebody who may only look is told of a plan that is there: %s", reply.Text)
	}
	if look.Line = "diff shop/pr-42 --ref main"; w.SayIn(look).Code != actions.CodeForbidden {
		t.Error("somebody who may only look has a plan made")
	}
	if r := w.Do("cleanup shop/pr-42"); r.State != approvals.StateSucceeded {
		t.Fatalf("the cleanup is %s: %s", r.State, r.Reason)
	}
	golden(t, "status_gone", w.Say("status shop/pr-42").Text)
	golden(t, "list_empty", w.Say("list").Text)
}

func TestUnderWay(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	release := w.Executor.Hold("web")
	first := w.Say("deploy shop/pr-42").Request
	r := w.Await(first.ID, func(r *approvals.Request) bool { return r.State == approvals.StateRunning && r.RunID != "" })
	awaitProgress(t, w, r.RunID)
	golden(t, "status_creating", w.Say("status shop/pr-42").Text)
	golden(t, "explain_running", w.Say("explain "+r.ID).Text)
	reply := w.SayIn(github("/cancel", 42))
	golden(t, "cancel_running", reply.Text)
	if end := w.Await(first.ID, func(r *approvals.Request) bool { return r.State.Ended() }); end.State != approvals.StateCancelled {
		t.Errorf("the request is %s", end.State)
	}
	release()
	golden(t, "status_cancelled", w.SayIn(github("/status", 42)).Text)
}

// awaitProgress waits until a run tells what it waits for.
func awaitProgress(t *testing.T, w *bottest.World, runID string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for after := ""; ; {
		events, err := w.Store.Events(ctx, runID, after, 100, time.Second)
		if err != nil && actions.CodeOf(err) != actions.CodeNotFound { // the run is a moment younger than its id
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == actions.EventProgress && e.Part != "" {
				return
			}
			after = e.ID
		}
	}
}

func TestRefusals(t *testing.T) {
	two := bottest.Shop()
	two.Name, two.Repo, two.AllowSet, two.TTL = "store", "acme/store", nil, 0
	admin := bottest.Shop()
	admin.Name, admin.Repo = "store-admin", "acme/store"
	w := bottest.New(t, redistest.Client(t), bottest.Shop(), two, admin)
	w.Work()
	w.Do("deploy shop/pr-7")
	if reply := w.Say(`lock shop/pr-7 --reason "demo | @all"`); reply.Tone != bot.ToneInfo {
		t.Fatal(reply.Text)
	}
	fork := github("deploy", 42)
	fork.Fork = true
	in := func(line string, change func(*bot.Input)) bot.Input {
		i := bot.Input{Line: line, Actor: bottest.Ana(), Place: approvals.Place{Surface: "cli"}}
		if change != nil {
			change(&i)
		}
		return i
	}
	viewer := func(i *bot.Input) { i.Actor = bot.Actor{Name: "eve", Roles: []string{bot.RoleViewer}} }
	nobody := func(i *bot.Input) { i.Actor = bot.Actor{Name: "eve", Identity: "github:eve"} }
	store := func(i *bot.Input) { i.Repo, i.PullRequest, i.Place.Surface = "acme/store", 3, "github" }
	other := func(i *bot.Input) { i.Repo, i.PullRequest, i.Place.Surface = "acme/else", 3, "github" }
	for name, c := range map[string]struct {
		in   bot.Input
		code actions.Code
		says string
	}{
		"a slip":                                    {in("deplpy shop/pr-1", nil), actions.CodeInvalid, "Did you mean `deploy`"},
		"an app that is not there":                  {in("deploy shpo/pr-1", nil), actions.CodeNotFound, "Did you mean `shop`? The apps are `shop`, `store` and `store-admin`"},
		"no target in a terminal":                   {in("deploy", nil), actions.CodeInvalid, "Which environment? Write `berth deploy app/name`"},
		"an app alone in a terminal":                {in("deploy shop", nil), actions.CodeInvalid, "`berth deploy shop/pr-42`"},
		"a pull request's name alone":               {in("deploy pr-42", nil), actions.CodeNotFound, "`berth deploy shop/pr-42`"},
		"an environment that is not there":          {in("status shop/pr-8", nil), actions.CodeNotFound, "Did you mean `shop/pr-7`"},
		"cleaning up what is not there":             {in("cleanup shop/pr-9", nil), actions.CodeNotFound, "There is no environment"},
		"restoring what runs not":                   {in("restore shop/pr-9", nil), actions.CodeNotFound, "There is no environment"},
		"a locked environment":                      {in("deploy shop/pr-7", nil), actions.CodeConflict, "is locked by ana since"},
		"locking what another has locked":           {in("lock shop/pr-7", func(i *bot.Input) { i.Actor.Name = "ben" }), actions.CodeConflict, "locked by ana"},
		"a key that is not allowed":                 {in("deploy shop/pr-1 --set a.b=c", nil), actions.CodeForbidden, "`apps.shop.allow_set`"},
		"a key where none is allowed":               {in("deploy store/pr-1 --set a.b=c", nil), actions.CodeForbidden, "lets nothing be set"},
		"a viewer who deploys":                      {in("deploy shop/pr-1", viewer), actions.CodeForbidden, "may only look"},
		"somebody without a role":                   {in("status shop/pr-7", nobody), actions.CodeForbidden, "has no role here"},
		"a fork":                                    {fork, actions.CodeForbidden, "`apps.shop.allow_forks`"},
		"an app of another repository":              {github("deploy store/pr-42", 42), actions.CodeForbidden, "not an app of acme/shop"},
		"a repository with several apps":            {in("deploy", store), actions.CodeInvalid, "`/deploy store` or `/deploy store-admin`"},
		"a repository with no app":                  {in("deploy", other), actions.CodeNotFound, "No app of Berth is built from acme/else"},
		"a request that is not there":               {in("cancel 01jd3m6tq8c5x0v9b7n2k4h1wz", nil), actions.CodeNotFound, "There is no request or run"},
		"nothing to cancel":                         {in("cancel shop/pr-7", nil), actions.CodeNotFound, "Nothing is under way"},
		"extending what has no end and no lifetime": {in("extend store/pr-1", nil), actions.CodeInvalid, "`berth extend store/pr-1 --ttl 24h`"},
	} {
		t.Run(name, func(t *testing.T) {
			reply := w.SayIn(c.in)
			if reply.Tone != bot.ToneRefused || reply.Code != c.code || !strings.Contains(reply.Text, c.says) {
				t.Errorf("want %s and %q, got %s, %s: %s", c.code, c.says, reply.Tone, reply.Code, reply.Text)
			}
		})
	}
}

func TestTheSameKeyIsOneRequestWhateverHappenedSince(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	in := github("cleanup", 42)
	in.Key = "github:comment:1:1"
	first := w.SayIn(in)
	w.Await(first.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	again := w.SayIn(in)
	if again.Tone != bot.ToneAccepted || again.Request.ID != first.Request.ID {
		t.Errorf("the second time: %s %s", again.Tone, again.Text)
	}
	in.Line = "deploy"
	if reply := w.SayIn(in); reply.Code != actions.CodeConflict {
		t.Errorf("another command with the key: %s %s", reply.Tone, reply.Text)
	}
}

func TestWithoutRedisThereIsNoAnswer(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	defer rdb.Close()
	w := bottest.New(t, rdb)
	for _, line := range []string{"deploy shop/pr-1", "status shop/pr-1", "list", "cancel shop/pr-1"} {
		in := bot.Input{Line: line, Actor: bottest.Ana()}
		if reply, err := w.Service.Execute(context.Background(), in); actions.CodeOf(err) != actions.CodeUnavailable {
			t.Errorf("%s: %v, %v", line, reply, err)
		}
	}
}

var changing = regexp.MustCompile(`\b[0-7][0-9a-hjkmnp-tv-z]{25}\b|\d{4}-\d\d-\d\d \d\d:\d\d UTC|after \d+s`)

// golden compares a text with testdata/NAME.md, ids and times aside, or writes
// it when UPDATE is set.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = changing.ReplaceAllStringFunc(got, func(s string) string {
		switch {
		case len(s) == 26:
			return "ID"
		case strings.HasPrefix(s, "after"):
			return "after a while"
		default:
			return "TIME"
		}
	}) + "\n"
	path := "testdata/" + name + ".md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs (UPDATE=1 writes it anew); got:\n%s", path, got)
	}
}
