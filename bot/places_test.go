package bot_test

import (
	"context"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// twoApps is a world of two apps of one repository, at whose pull requests
// nothing is deployed without somebody's yes.
func twoApps(t *testing.T) *bottest.World {
	t.Helper()
	docs := bottest.Shop()
	docs.Name = "docs"
	w := bottest.New(t, redistest.Client(t), bottest.Shop(), docs)
	w.Govern(crew, bottest.Rule{
		Name: "ask", When: `request.verb == "deploy"`,
		Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 1, From: []string{"role:sre"}}}, NotRequester: true},
	})
	return w
}

// here is a line typed on pull request 42.
func here(identity, line, key string) bot.Input {
	return bot.Input{
		Line: line, Key: key, Actor: bot.Actor{Identity: identity}, Repo: "acme/shop", PullRequest: 42,
		Place: approvals.Place{Surface: "github", ID: "acme/shop#42"},
	}
}

// asked has ana ask for a deploy that waits.
func asked(t *testing.T, w *bottest.World, app string) *approvals.Request {
	t.Helper()
	reply := w.SayIn(here("github:ana", "deploy "+app, ""))
	if reply.Request == nil {
		t.Fatal(reply.Text)
	}
	return w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
}

func TestOfTwoAppsTheOneRequestThatWaitsIsMeant(t *testing.T) {
	for _, c := range []struct {
		line string
		end  approvals.State
	}{
		{"approve", approvals.StateSucceeded},
		{"deny not before the demo", approvals.StateDenied},
		{"cancel", approvals.StateCancelled},
	} {
		t.Run(c.line, func(t *testing.T) {
			w := twoApps(t)
			if reply := w.SayIn(here("github:ben", c.line, "early")); reply.Code != actions.CodeNotFound || !strings.Contains(reply.Text, "`docs/pr-42` or `shop/pr-42`") {
				t.Errorf("while nothing waits: %s %s", reply.Code, reply.Text)
			}
			r := asked(t, w, "shop")
			if reply := w.SayIn(here("github:ben", "explain", "")); reply.Request == nil || reply.Request.ID != r.ID {
				t.Errorf("explain: %s", reply.Text)
			}
			if reply := w.SayIn(here("github:ben", c.line, "one")); reply.Request == nil || reply.Request.ID != r.ID || reply.Tone != bot.ToneInfo {
				t.Fatalf("%s %s", reply.Code, reply.Text)
			}
			w.Await(r.ID, func(r *approvals.Request) bool { return r.State == c.end })
			later := asked(t, w, "docs")
			if reply := w.SayIn(here("github:ben", c.line, "one")); reply.Request == nil || reply.Request.ID != r.ID {
				t.Errorf("the second arrival: %s", reply.Text)
			}
			if r, err := w.Requests.Get(context.Background(), later.ID); err != nil || r.State != approvals.StatePending {
				t.Errorf("the later request is %v, %v", r, err)
			}
		})
	}
}

func TestOfTwoAppsWhoseRequestsWaitNoneIsGuessed(t *testing.T) {
	w := twoApps(t)
	requests := []*approvals.Request{asked(t, w, "shop"), asked(t, w, "docs")}
	for _, verb := range []string{"approve", "deny", "explain", "cancel"} {
		reply := w.SayIn(here("github:ben", verb, verb))
		if reply.Code != actions.CodeConflict {
			t.Errorf("%s: %s %s", verb, reply.Code, reply.Text)
		}
		for _, r := range requests {
			if !strings.Contains(reply.Text, "`/"+verb+" "+r.ID+"`: `deploy "+r.Order.Env.String()+"`") {
				t.Errorf("%s does not offer %s: %s", verb, r.ID, reply.Text)
			}
		}
	}
}

func TestWhatWaitsIsFoundHoweverMuchCameAfterIt(t *testing.T) {
	w := twoApps(t)
	r := asked(t, w, "shop")
	for range 55 {
		w.Do("deploy shop/pr-42 --dry-run")
	}
	if reply := w.SayIn(as("github:ben", "approve shop/pr-42")); reply.Request == nil || reply.Request.ID != r.ID {
		t.Fatal(reply.Text)
	}
	w.Await(r.ID, func(r *approvals.Request) bool { return r.State == approvals.StateSucceeded })
}

func TestWhatTheConfigHasLostIsStillSpokenOf(t *testing.T) {
	rdb := redistest.Client(t)
	shop, docs := bottest.Shop(), bottest.Shop()
	shop.Clusters = []actions.Cluster{{Name: "staging"}, {Name: "eu"}}
	shop.Cluster, docs.Name = shop.Clusters[0], "docs"
	w := bottest.New(t, rdb, shop, docs)
	w.Work()
	w.Do("deploy shop/pr-42 --cluster eu")

	one := bottest.Shop()
	one.Clusters, one.Cluster = shop.Clusters[:1], shop.Cluster
	if text := bottest.New(t, rdb, one).Say("status shop/pr-42").Text; !strings.Contains(text, "In cluster `eu`, for which `apps.shop` is not configured any more") {
		t.Errorf("without its cluster:\n%s", text)
	}
	none := bottest.New(t, rdb, docs)
	const want = "`shop/pr-42` is there, but Berth's config has no app `shop` any more"
	for _, line := range []string{"status shop/pr-42", "cleanup shop/pr-42", "vars shop/pr-42"} {
		if text := none.Say(line).Text; !strings.Contains(text, want) || !strings.Contains(text, "put `apps.shop` back") {
			t.Errorf("%s without its app: %s", line, text)
		}
	}
	stranger := here("github:ana", "status shop/pr-42", "")
	stranger.Repo, stranger.Actor.Roles = "acme/other", []string{"deployer"}
	for name, text := range map[string]string{"another environment": none.Say("status shop/pr-43").Text, "another repository": none.SayIn(stranger).Text} {
		if strings.Contains(text, want) || !strings.Contains(text, "There is no app `shop`") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestVariablesAreNamedAsDiscordHasThem holds that nobody is told to type what
// Discord does not have: it has three verbs in one command.
func TestVariablesAreNamedAsDiscordHasThem(t *testing.T) {
	w := bottest.New(t, redistest.Client(t), bottest.Shop())
	w.Govern(crew)
	say := func(surface, line string) string {
		return w.SayIn(bot.Input{
			Line: line, Private: true, Actor: bot.Actor{Identity: "github:ana"}, Place: approvals.Place{Surface: surface, ID: "1/2"},
		}).Text
	}
	deployed := w.SayIn(here("github:ana", "deploy shop", ""))
	if deployed.Request == nil {
		t.Fatal(deployed.Text)
	}
	w.Await(deployed.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	for surface, c := range map[string]struct{ set, help string }{
		bot.PlatformDiscord: {"`/berth vars set shop/pr-42 KEY=VALUE`", "`vars`, `set` and `unset` are `/berth vars show`, `/berth vars set` and `/berth vars unset`."},
		bot.PlatformSlack:   {"`/berth set shop/pr-42 KEY=VALUE`", "`@berth VERB …`."},
		"cli":               {"`berth set shop/pr-42 KEY=VALUE`", "A command is"},
	} {
		if text := say(surface, "vars shop/pr-42"); !strings.Contains(text, c.set) {
			t.Errorf("in %s it says %q", surface, text)
		}
		if text := say(surface, "help"); !strings.Contains(text, c.help) {
			t.Errorf("help in %s says %.300q", surface, text)
		}
	}
}
