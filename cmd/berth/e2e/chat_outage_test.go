package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot/discord/discordtest"
	"github.com/berth-dev/berth/bot/slack/slacktest"
	"github.com/berth-dev/berth/plugins/clustertest"
)

// TestRedisFreezesWhileCommandsAreTyped has two people type while the store does
// not answer: both are told so in time, and what they asked for is done, once.
func TestRedisFreezesWhileCommandsAreTyped(t *testing.T) {
	w := newStorm(t, false)
	w.letEnd()
	w.freeze(
		func() { w.command("deploy " + w.env()) },
		func() { w.commandInDiscord("deploy " + w.app + "/other --ref coupons") },
	)
	w.anaReads("goes on trying")
	w.anaReads("Its card")
	w.benReads("Its card")
	w.ended(w.first, 2)
	w.ranOnce(w.name(), "other")
}

// TestRedisFreezesWhileButtonsAreClicked has two of three agree, one of them twice
// and at two replicas, while the store does not answer: each is answered, and counts
// once.
func TestRedisFreezesWhileButtonsAreClicked(t *testing.T) {
	w := newStorm(t, true)
	w.letEnd()
	must(t, w.slack.AddUser(slacktest.User{ID: slackDora, Name: "dora"}))
	w.rules = strings.NewReplacer("count: 2", "count: 3", "actors:\n", "actors:\n  - {name: dora, roles: [sre], identities: [\"slack:"+slackDora+"\"]}\n").Replace(w.rules)
	w.again(w.first)
	w.again(w.second)
	id := w.asks()
	click := func(who string) {
		if ack, err := w.slack.Click(who, w.inSlack()[0], "Approve"); err != nil || !ack.OK() {
			t.Errorf("the click was not acknowledged: %+v, %v", ack, err)
		}
	}
	w.freeze(
		func() { w.benApprovesInDiscord(id) },
		func() { click(slackCem); w.slack.Connect(w.second.url); click(slackCem) },
	)
	w.await("answers to both clicks of cem", func() bool {
		told := slices.DeleteFunc(w.slack.Ephemerals(slackCem), func(m slacktest.Message) bool { return strings.Contains(m.Words, "goes on trying") })
		return len(told) == 2
	})
	w.awaitDecisions(w.second, id, 2)
	if r := w.second.requests()[0]; r["state"] != "pending" || len(r["approvals"].([]any)) != 2 {
		t.Errorf("with two of three it is %v: %v", r["state"], r["approvals"])
	}
	w.shown("2 of 3")
	click(slackDora)
	w.saysEverywhere("is running")
	w.ended(w.second, 1)
	if decisions, _ := w.second.requests()[0]["approvals"].([]any); len(decisions) != 3 {
		t.Errorf("there are %d decisions: %v", len(decisions), decisions)
	}
	w.ranOnce(w.name())
}

// TestRedisFreezesWhileItRuns has the store not answer in the middle of a run,
// which goes on.
func TestRedisFreezesWhileItRuns(t *testing.T) {
	w := newStorm(t, false)
	w.command("deploy " + w.env())
	w.await("the script", func() bool { return len(w.runs()) == 1 })
	w.freeze()
	w.letEnd()
	w.ended(w.second, 1)
	w.await("the card to say so", func() bool { s := w.inSlack(); return len(s) == 1 && strings.Contains(s[0].Words, "is running") })
	w.ranOnce(w.name())
}

// TestTheReplicaDiesRightAfterItsAcknowledgements kills the replica that took
// two commands: the other one does them, once.
func TestTheReplicaDiesRightAfterItsAcknowledgements(t *testing.T) {
	w := newStorm(t, false)
	w.letEnd()
	var both sync.WaitGroup
	both.Go(func() { w.command("deploy " + w.env()) })
	both.Go(func() { w.commandInDiscord("deploy " + w.app + "/other --ref coupons") })
	both.Wait()
	w.first.kill()
	w.hearAt(w.second)
	w.anaReads("Its card")
	w.benReads("Its card")
	w.ended(w.second, 2)
	if s := w.inSlack(); len(s) != 1 {
		t.Errorf("there are %d cards in Slack", len(s))
	}
	w.calm()
}

// hanging is how long a cluster's API hangs.
const hanging = 20 * time.Second

// TestAHangingClusterKeepsNobodyWaiting has a cluster's API accept connections
// and answer nothing while somebody deploys to it: they are told, others are
// served, and it goes on when the cluster does.
func TestAHangingClusterKeepsNobodyWaiting(t *testing.T) {
	w := newTalk(t)
	w.rules, _, _ = strings.Cut(w.rules, "policies:")
	hangs := make(chan struct{})
	w.kubeconfig = clustertest.Proxied(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			select {
			case <-hangs:
				next.ServeHTTP(rw, r)
			case <-r.Context().Done():
			}
		})
	})
	b := w.startBerth(w.simpleApp())
	w.hearAt(b)
	s := &storm{talk: w, first: b}
	s.command("deploy " + w.env())
	s.anaReads("Its card")
	over := time.After(hanging)
	s.command("status " + w.env())
	s.anaReads("being planned")
	s.command("list")
	<-over
	close(hangs)
	s.ended(b, 1)
	w.await("the card to say so", func() bool { return strings.Contains(w.inSlack()[0].Words, "is running") })
}

// TestPlatformsThatAreAwayAreCaughtUpWith has Slack and Discord refuse connections
// while a request runs, and be back when it is done.
func TestPlatformsThatAreAwayAreCaughtUpWith(t *testing.T) {
	w := newStorm(t, true)
	id := w.asks()
	w.benApprovesInDiscord(id)
	w.awaitDecisions(w.first, id, 1)
	w.toSlack.cut()
	w.toDis.cut()
	w.slack.Fail("response_url", -1, slacktest.Fault{Cut: true})
	w.cemApprovesInSlack(id)
	w.await("the script", func() bool { return len(w.runs()) == 1 })
	w.letEnd()
	w.ended(w.first, 1)
	w.toSlack.mend()
	w.toDis.mend()
	w.slack.Heal()
	w.shown("is running")
	w.standsOnce()
	w.ranOnce(w.name())
}

// TestPlatformsThatFailAreTriedAgainAndNothingStandsTwice has Slack and Discord
// limit, fail, and lose their answers to what they did.
func TestPlatformsThatFailAreTriedAgainAndNothingStandsTwice(t *testing.T) {
	w := newStorm(t, true)
	w.slack.Fail("response_url", 2, slacktest.Fault{Status: http.StatusInternalServerError})
	w.slack.Fail("chat.postMessage", 1, slacktest.Fault{Status: http.StatusTooManyRequests, RetryAfter: 2 * time.Second})
	w.discord.Fail("POST /channels", 1, discordtest.Failure{Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	id := w.asks()
	w.anaReads("On it")
	w.slack.Fail("chat.postMessage", 1, slacktest.Fault{Cut: true, Done: true})
	w.slack.Fail("chat.update", 2, slacktest.Fault{Status: http.StatusInternalServerError})
	w.slack.Fail("chat.update", 1, slacktest.Fault{Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	w.discord.Fail("PATCH /channels", 2, discordtest.Failure{Status: http.StatusBadGateway})
	w.discord.Lose("POST /channels", 1)
	w.benApprovesInDiscord(id)
	w.cemApprovesInSlack(id)
	w.await("how far it is to be said below both cards", func() bool {
		s, d := w.inSlack(), w.inDiscord()
		return len(s) == 1 && len(w.slack.Thread(slackChannel, s[0].TS)) > 0 && len(d) == 1 && len(w.discord.Messages(d[0].ID)) > 0
	})
	w.recovers()
	w.slack.Fail("chat.postMessage", 1, slacktest.Fault{Status: http.StatusInternalServerError})
	w.slack.Fail("chat.postMessage", 1, slacktest.Fault{Cut: true, Done: true})
	w.letEnd()
	w.shown("is running")
	w.ended(w.first, 1)
	w.standsOnce()
	w.ranOnce(w.name())
}

// TestCardsThatAreDeletedAreMadeAnewWhilePeopleMustDecide deletes the cards of a
// request between its two decisions.
func TestCardsThatAreDeletedAreMadeAnewWhilePeopleMustDecide(t *testing.T) {
	w := newStorm(t, true)
	w.letEnd()
	id := w.asks()
	s, d := w.inSlack()[0], w.inDiscord()[0]
	w.slack.Gone(slackChannel, s.TS)
	w.discord.DeleteMessage(d.ID)
	w.cemApprovesOnThePullRequest(id)
	w.shown("1 of 2")
	if s2 := w.inSlack()[0]; !hasButton(s2, "Approve") || s2.TS == s.TS {
		t.Errorf("the card in Slack is %+v", s2)
	}
	w.benApprovesInDiscord(id)
	w.saysEverywhere("is running")
	w.ended(w.first, 1)
	w.ranOnce(w.name())
}

// TestAnAnswerThatDiscordTakesNoMoreGoesToItsSenderDirectly ends the tokens of
// interactions, as 15 minutes do, before Berth can answer them.
func TestAnAnswerThatDiscordTakesNoMoreGoesToItsSenderDirectly(t *testing.T) {
	w := newStorm(t, false)
	w.letEnd()
	w.redis.Pause(t)
	w.commandInDiscord("deploy " + w.env())
	w.discord.ExpireTokens()
	w.redis.Resume(t)
	w.await("a direct message to ben", func() bool {
		return slices.ContainsFunc(w.discord.DirectMessages(w.ben), func(m discordtest.Message) bool { return strings.Contains(words(m), "On it") })
	})
	w.ended(w.first, 1)
	w.ranOnce(w.name())
}

// TestWhoIsRemovedInBetweenHoldsNothingUp takes the requester and one who agreed
// out of their platforms before the request runs.
func TestWhoIsRemovedInBetweenHoldsNothingUp(t *testing.T) {
	w := newStorm(t, true)
	id := w.asks()
	w.benApprovesInDiscord(id)
	w.awaitDecisions(w.first, id, 1)
	w.slack.Deactivate(slackAna)
	w.discord.RemoveMember(w.guild, w.ben)
	w.cemApprovesOnThePullRequest(id)
	w.await("the script", func() bool { return len(w.runs()) == 1 })
	w.letEnd()
	w.saysEverywhere("is running")
	w.ended(w.first, 1)
	w.ranOnce(w.name())
}
