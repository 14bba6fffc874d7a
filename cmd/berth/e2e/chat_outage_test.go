package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot/discord/discordtest"
	"github.com/berth-dev/berth/bot/slack/slacktest"
	"github.com/berth-dev/berth/plugins/clustertest"
)

// storm is a talk in which things go wrong. Its app is one script, which keeps a
// line of each of its runs, and ends once it is let to. The ways to Slack's and
// Discord's APIs can be cut.
type storm struct {
	*talk
	dir            string
	toSlack, toDis *wire
	first, second  *berth
}

// newStorm starts two replicas, of which the first hears everything. Where nobody
// must agree the policies are left out.
func newStorm(t *testing.T, agree bool) *storm {
	t.Helper()
	w := &storm{talk: newTalk(t), dir: t.TempDir()}
	w.toSlack, w.toDis = newWire(t, w.slack.URL()), newWire(t, w.discord.URL())
	w.rules = strings.NewReplacer(w.slack.URL(), w.toSlack.url(), w.discord.URL(), w.toDis.url()).Replace(w.rules)
	if !agree {
		w.rules, _, _ = strings.Cut(w.rules, "policies:")
	}
	w.rules += fmt.Sprintf("plugins: {script: {settings: {data_dir: %q}}}\n", filepath.Join(w.dir, "state"))
	script := fmt.Sprintf("#!/bin/sh\nset -eu\necho \"$NAME\" >> %[1]s/runs\nuntil [ -e %[1]s/gate ]; do sleep 0.05; done\n", w.dir)
	must(t, os.Mkdir(filepath.Join(w.dir, "scripts"), 0o700))
	must(t, os.WriteFile(filepath.Join(w.dir, "scripts", "up"), []byte(script), 0o700))
	w.first = w.startBerth(w.scriptApp())
	w.second = w.prepareBerth(w.scriptApp())
	w.second.start()
	w.second.awaitReady()
	w.hearAt(w.first)
	register := exec.Command(filepath.Join(programs, "berth"), "discord", "register", "--config", w.first.file)
	register.Env = w.first.cmd.Env
	if out, err := register.CombinedOutput(); err != nil {
		t.Fatalf("registering Discord's commands: %v\n%s", err, out)
	}
	return w
}

func (w *storm) scriptApp() string {
	return fmt.Sprintf(`  %s:
    repo: acme/shop
    parts:
      - {name: job, use: script, with: {contract: run, dir: %q, env: {NAME: "{{ .Name }}"}, deploy: [./up], cleanup: [/bin/true]}}
`, w.app, filepath.Join(w.dir, "scripts"))
}

// letEnd lets the scripts come to their end.
func (w *storm) letEnd() {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(w.dir, "gate"), nil, 0o600))
}

// runs are the environments that the script ran for, in order.
func (w *storm) runs() []string {
	text, _ := os.ReadFile(filepath.Join(w.dir, "runs")) // none is no run
	return strings.Fields(string(text))
}

// wire is the way to a server, which refuses connections while it is cut.
type wire struct {
	t      testing.TB
	addr   string
	to     http.Handler
	server *http.Server
}

func newWire(t testing.TB, to string) *wire {
	t.Helper()
	target, err := url.Parse(to)
	must(t, err)
	w := &wire{t: t, addr: "127.0.0.1:0", to: httputil.NewSingleHostReverseProxy(target)}
	w.mend()
	t.Cleanup(w.cut)
	return w
}

func (w *wire) url() string { return "http://" + w.addr }

func (w *wire) mend() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.addr)
	must(w.t, err)
	w.addr = l.Addr().String()
	server := &http.Server{Handler: w.to, ReadHeaderTimeout: patience}
	w.server = server
	go func() { _ = server.Serve(l) }() // it ends when it is cut
}

func (w *wire) cut() { _ = w.server.Close() }

// freeze has Redis answer nobody for 5 s, while all of this is done.
func (w *storm) freeze(meanwhile ...func()) {
	w.t.Helper()
	w.redis.Pause(w.t)
	over := time.After(5 * time.Second)
	var group sync.WaitGroup
	for _, do := range meanwhile {
		group.Go(do)
	}
	group.Wait()
	<-over
	w.redis.Resume(w.t)
}

// command types it in Slack as ana, who must be acknowledged in time.
func (w *storm) command(line string) {
	w.t.Helper()
	if ack, err := w.slack.Command(slackAna, slackChannel, line); err != nil || !ack.OK() || ack.Took > 2*time.Second {
		w.t.Errorf("%q was not acknowledged in time: %+v, %v", line, ack, err)
	}
}

// commandInDiscord types it as ben.
func (w *storm) commandInDiscord(line string) {
	w.t.Helper()
	if in, err := w.discord.Command(w.ben, w.channel, "/berth "+line); err != nil || in.Failed != "" || in.Took > 2*time.Second {
		w.t.Errorf("%q was not acknowledged in time: %+v, %v", line, in, err)
	}
}

// ended waits until there are n requests and all succeeded.
func (w *storm) ended(b *berth, n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d requests to succeed", n), func() bool {
		all := b.requests()
		if i := slices.IndexFunc(all, func(r map[string]any) bool { return r["state"] == "failed" || r["state"] == "refused" }); i >= 0 {
			w.t.Fatalf("a request ended otherwise: %v", all[i])
		}
		return len(all) == n && !slices.ContainsFunc(all, func(r map[string]any) bool { return r["state"] != "succeeded" })
	})
}

// ranOnce checks that the script ran once for each of these environments.
func (w *storm) ranOnce(names ...string) {
	w.t.Helper()
	got := w.runs()
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		w.t.Errorf("the script ran for %q, want %q", got, names)
	}
}

// name is that of the world's environment, without its app.
func (w *storm) name() string { return fmt.Sprintf("pr-%d", w.pull) }

// anaReads waits until this is told to ana alone.
func (w *storm) anaReads(text string) {
	w.t.Helper()
	reads := func() bool {
		return slices.ContainsFunc(w.slack.Ephemerals(slackAna), func(m slacktest.Message) bool { return strings.Contains(m.Words, text) })
	}
	if !w.poll(reads) {
		w.t.Fatalf("ana never reads %q: %+v", text, w.slack.Ephemerals(slackAna))
	}
}

// benReads is anaReads in Discord.
func (w *storm) benReads(text string) {
	w.t.Helper()
	reads := func() bool {
		return slices.ContainsFunc(w.discord.Ephemerals(w.ben), func(m discordtest.Message) bool { return strings.Contains(words(m), text) })
	}
	if !w.poll(reads) {
		w.t.Fatalf("ben never reads %q: %+v", text, w.discord.Ephemerals(w.ben))
	}
}

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

// TestRedisFreezesWhileButtonsAreClicked has two people agree, one of them twice
// and at two replicas, while the store does not answer: each counts once.
func TestRedisFreezesWhileButtonsAreClicked(t *testing.T) {
	w := newStorm(t, true)
	w.letEnd()
	id := w.asks()
	click := func() {
		if ack, err := w.slack.Click(slackCem, w.inSlack()[0], "Approve"); err != nil || !ack.OK() {
			t.Errorf("the click was not acknowledged: %+v, %v", ack, err)
		}
	}
	w.freeze(
		func() { w.benApprovesInDiscord(id) },
		func() { click(); w.slack.Connect(w.second.url); click() },
	)
	w.saysEverywhere("is running")
	w.ended(w.second, 1)
	if decisions, _ := w.second.requests()[0]["approvals"].([]any); len(decisions) != 2 {
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

// shown waits until the one card in Slack and the one in Discord say this.
func (w *storm) shown(text string) {
	w.t.Helper()
	w.await("one card each that says "+text, func() bool {
		s, d := w.inSlack(), w.inDiscord()
		return len(s) == 1 && strings.Contains(s[0].Words, text) && len(d) == 1 && strings.Contains(words(d[0]), text)
	})
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
	w.await("ana to be called, once", func() bool { return w.calls() == 1 })
	w.ranOnce(w.name())
}

// calls are the messages in the card's thread that call ana.
func (w *storm) calls() (n int) {
	for _, m := range w.slack.Messages(slackChannel) {
		if m.Thread != "" && strings.Contains(fmt.Sprint(m.Text, m.Blocks), "<@"+slackAna+">") {
			n++
		}
	}
	return n
}

// TestPlatformsThatFailAreTriedAgainAndNothingStandsTwice has Slack and Discord
// limit, fail, and lose their answers to what they did.
func TestPlatformsThatFailAreTriedAgainAndNothingStandsTwice(t *testing.T) {
	w := newStorm(t, true)
	w.letEnd()
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
	w.shown("is running")
	w.ended(w.first, 1)
	w.await("ana to be called, once", func() bool { return w.calls() == 1 })
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
