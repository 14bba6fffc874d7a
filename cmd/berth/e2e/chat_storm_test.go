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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot/discord/discordtest"
	"github.com/berth-dev/berth/bot/slack/slacktest"
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

// wire is the way to a server, which refuses connections while it is cut. What is
// sent again sooner than a 429 says fails the test.
type wire struct {
	t      testing.TB
	addr   string
	to     http.Handler
	server *http.Server

	mu    sync.Mutex
	until map[string]time.Time // by path: when its 429 is over
}

func newWire(t testing.TB, to string) *wire {
	t.Helper()
	target, err := url.Parse(to)
	must(t, err)
	w := &wire{t: t, addr: "127.0.0.1:0", until: map[string]time.Time{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = w.keepPause
	w.to = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.checkPause(r.Method, r.URL.Path)
		proxy.ServeHTTP(rw, r)
	})
	w.mend()
	t.Cleanup(w.cut)
	return w
}

// keepPause notes for how long nothing is to be sent to where a 429 came from. One
// message is written by one replica at a time, so that nothing else is on its way.
func (w *wire) keepPause(resp *http.Response) error {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode == http.StatusTooManyRequests && err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.until[resp.Request.Method+" "+resp.Request.URL.Path] = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	return nil
}

func (w *wire) checkPause(method, path string) {
	const rounded = 10 * time.Millisecond // Redis counts whole milliseconds
	w.mu.Lock()
	defer w.mu.Unlock()
	if left := time.Until(w.until[method+" "+path]); left > rounded {
		w.t.Errorf("%s %s was sent %v before its Retry-After was over", method, path, left)
	}
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

// command types it in Slack as ana, who must be acknowledged within Slack's 3 s:
// what comes later the stand-in does not take for an acknowledgement.
func (w *storm) command(line string) {
	w.t.Helper()
	if ack, err := w.slack.Command(slackAna, slackChannel, line); err != nil || !ack.OK() {
		w.t.Errorf("%q was not acknowledged in time: %+v, %v", line, ack, err)
	}
}

// commandInDiscord types it as ben, whom Discord gives as long.
func (w *storm) commandInDiscord(line string) {
	w.t.Helper()
	if in, err := w.discord.Command(w.ben, w.channel, "/berth "+line); err != nil || in.Failed != "" {
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

// slackDora is a third sre, where there is one.
const slackDora = "U0DORA"

// again starts a replica with the rules as they are now.
func (w *storm) again(b *berth) {
	w.t.Helper()
	b.stop()
	b.config(w.scriptApp())
	b.start()
	b.awaitReady()
}

// shown waits until the one card in Slack and the one in Discord say this.
func (w *storm) shown(text string) {
	w.t.Helper()
	w.await("one card each that says "+text, func() bool {
		s, d := w.inSlack(), w.inDiscord()
		return len(s) == 1 && strings.Contains(s[0].Words, text) && len(d) == 1 && strings.Contains(words(d[0]), text)
	})
}

// standsOnce waits until Berth has nothing left to say, and checks that ana was
// called once, and that each of the messages on the request stands once: its card,
// whom it waits for and how far it is, if there was time to say so, and how it
// ended, which is said where it was asked for.
func (w *storm) standsOnce() {
	w.t.Helper()
	w.await("ana to be called", func() bool { return w.calls() > 0 })
	w.rests()
	slack, discord := w.slack.Thread(slackChannel, w.inSlack()[0].TS), w.discord.Messages(w.inDiscord()[0].ID)
	asks := 0
	for _, m := range slack {
		if strings.Contains(m.Words, "waits for you") {
			asks++
		}
	}
	if w.calls() != 1 || len(w.inSlack()) != 1 || len(w.inDiscord()) != 1 || asks > 1 || len(slack)-asks > 2 || len(discord) > 1 {
		w.t.Errorf("ana was called %d times; the cards are %+v and %+v, below them is %+v and %+v", w.calls(), w.inSlack(), w.inDiscord(), slack, discord)
	}
}

// show begins the keys of the agenda of cards.
const show = "berth:{chat}:show:"

// recovers waits until the cards were written without a failure again: each one in
// a row doubles how long the next try is waited for.
func (w *storm) recovers() {
	w.t.Helper()
	rdb := w.redis.Client(w.t)
	w.await("the cards to be written again", func() bool {
		failing, err := rdb.Exists(w.t.Context(), show+"tries").Result()
		must(w.t, err)
		return failing == 0
	})
}

// rests waits until nothing of Berth's cards is being written, or to be written
// soon.
func (w *storm) rests() {
	w.t.Helper()
	rdb, ctx := w.redis.Client(w.t), w.t.Context()
	w.await("the cards to be written", func() bool {
		soon := fmt.Sprint(time.Now().Add(time.Minute).UnixMilli())
		due, err := rdb.ZCount(ctx, show+"due", "-inf", soon).Result()
		must(w.t, err)
		busy, err := rdb.Exists(ctx, show+"held", show+"meanwhile", show+"tries").Result()
		must(w.t, err)
		return due == 0 && busy == 0
	})
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
