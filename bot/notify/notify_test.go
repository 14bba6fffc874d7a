package notify

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

func TestWhereANoticeGoes(t *testing.T) {
	a, b := Target{"board", "a"}, Target{"board", "b"}
	env := actions.Name{App: "shop", Env: "pr-1"}
	home, log := Target{OutletHome, "shop/pr-1"}, Target{OutletLog, ""}
	tests := map[string]struct {
		routes []Route
		notice bot.Notice
		want   []Target
	}{
		"an environment's goes home":                       {notice: bot.Notice{Event: bot.EventExpiring, Env: env}, want: []Target{home}},
		"an operator's goes to the log":                    {notice: bot.Notice{Event: bot.EventStopped}, want: []Target{log}},
		"an operator's about an environment does not home": {notice: bot.Notice{Event: bot.EventNotTaken, Env: env}, want: []Target{log}},
		"a route takes it beside home":                     {routes: []Route{{To: []Target{a}}}, notice: bot.Notice{Event: bot.EventExpiring, Env: env}, want: []Target{a, home}},
		"a route takes it in place of the log":             {routes: []Route{{To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{a}},
		"two routes to one place are one":                  {routes: []Route{{To: []Target{a, b}}, {To: []Target{b}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{a, b}},
		"all of a kind":                                    {routes: []Route{{Events: []string{"reconcile.*"}, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{a}},
		"all of another kind":                              {routes: []Route{{Events: []string{"schedule.*"}, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{log}},
		"a kind is no prefix":                              {routes: []Route{{Events: []string{"recon*"}, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{log}},
		"everything":                                       {routes: []Route{{Events: []string{"*"}, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{a}},
		"what is severe enough":                            {routes: []Route{{Severity: bot.SeverityWarning, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped, Severity: bot.SeverityError}, want: []Target{a}},
		"what is not":                                      {routes: []Route{{Severity: bot.SeverityWarning, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped, Severity: bot.SeverityInfo}, want: []Target{log}},
		"an app's":                                         {routes: []Route{{Apps: []string{"shop"}, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventExpiring, Env: env}, want: []Target{a, home}},
		"another app's":                                    {routes: []Route{{Apps: []string{"blog"}, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventExpiring, Env: env}, want: []Target{home}},
		"what is about no app is no app's":                 {routes: []Route{{Apps: []string{"shop"}, To: []Target{a}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{log}},
		"a place that is not there":                        {routes: []Route{{To: []Target{{"gone", "x"}}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{log}},
		"a route home, of an environment":                  {routes: []Route{{To: []Target{{Outlet: OutletHome}}}}, notice: bot.Notice{Event: bot.EventNotTaken, Env: env}, want: []Target{home}},
		"a route home, of none":                            {routes: []Route{{To: []Target{{Outlet: OutletHome}}}}, notice: bot.Notice{Event: bot.EventStopped}, want: []Target{log}},
	}
	outlets := map[string]Outlet{"board": newBoard(), OutletHome: newBoard()}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := newTable(test.routes, outlets, slog.New(slog.DiscardHandler)).targets(test.notice)
			if !slices.Equal(got, test.want) {
				t.Errorf("targets %v, want %v", got, test.want)
			}
		})
	}
}

func TestANoticeIsToldOnceByOneOfTwoReplicas(t *testing.T) {
	rdb, b := redistest.Client(t), newBoard()
	routes := []Route{{To: []Target{{"board", "ops"}, {"board", "dev"}}}}
	ctx, stop := context.WithCancel(t.Context())
	replicas := make([]*Notifier, 2)
	ended := make(chan error, 2)
	for i := range replicas {
		replicas[i] = New(Options{Redis: rdb, Routes: routes, Outlets: map[string]Outlet{"board": b}})
		go func() { ended <- replicas[i].Run(ctx) }()
	}
	for i := range 3 {
		for _, n := range replicas {
			must(t, n.Notify(ctx, stopped(i)))
		}
	}
	got := map[string]int{}
	for range 6 {
		select {
		case p := <-b.came:
			got[p.channel+" "+p.notice.Key]++
		case <-time.After(patience):
			t.Fatalf("only %v were told", got)
		}
	}
	stop()
	for range replicas {
		<-ended
	}
	if len(got) != 6 || len(b.came) != 0 {
		t.Errorf("told %v, and %d more", got, len(b.came))
	}
	if left := rdb.ZCard(t.Context(), dueKey).Val(); left != 0 {
		t.Errorf("%d places are still due", left)
	}
	if size := rdb.Get(t.Context(), sizeKey).Val(); size != "0" {
		t.Errorf("%s notices are said to wait", size)
	}
}

func TestWhatIsStoredIsToldByAnotherProcess(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	must(t, newNotifier(t, rdb, c, b, ops).Notify(t.Context(), stopped(1)))
	drain(t, newNotifier(t, rdb, c, b, ops))
	if got := b.titles(); !slices.Equal(got, []string{"sweep 1 was stopped"}) {
		t.Errorf("told %q", got)
	}
}

func TestAReplicaThatDiesBetweenPostAndAckIsFollowedByAnother(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	one, other := newNotifier(t, rdb, c, b, ops), newNotifier(t, rdb, c, b, ops)
	must(t, one.Notify(t.Context(), stopped(1)))
	claim, err := one.take(t.Context())
	must(t, err)
	e, mine := one.step(t.Context(), claim) // it is told, and then the process is gone
	if !mine {
		t.Fatal("the claim is not its own")
	}
	drain(t, other)
	if got := len(b.titles()); got != 1 {
		t.Fatalf("told %d times while the first had it in hand", got)
	}
	c.add(leaseTime)
	drain(t, other)
	again := <-b.came
	if second := <-b.came; second.notice.Key != again.notice.Key || second.notice.Title != again.notice.Title {
		t.Errorf("it was told as %+v, then as %+v", again, second)
	}
	must(t, other.Notify(t.Context(), stopped(2)))
	must(t, one.finish(t.Context(), claim, e)) // it was only slow
	over(t, other, c, 5*time.Second, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"sweep 1 was stopped", "sweep 2 was stopped"}) {
		t.Errorf("told %q", got)
	}
}

func TestANoticeThatKillsItsProcessIsPutAside(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	must(t, n.Notify(t.Context(), stopped(1)))
	for range mostHands {
		claim, err := n.take(t.Context())
		must(t, err)
		hands, err := n.begin(t.Context(), claim, claim.waiting[0])
		must(t, err)
		if hands == 0 {
			t.Fatal("the claim is not its own")
		}
		c.add(leaseTime)
	}
	must(t, n.Notify(t.Context(), stopped(2)))
	over(t, n, c, 3*time.Second, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"sweep 2 was stopped"}) {
		t.Errorf("told %q", got)
	}
	if aside := rdb.LRange(t.Context(), asideKey, 0, -1).Val(); len(aside) != 1 || !strings.Contains(aside[0], "stopped-1") {
		t.Errorf("aside are %q", aside)
	}
}

func TestAPlaceThatDoesNotAnswerIsTriedForHours(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	tries := 0
	b.fail(func(bot.Notice) error { tries++; return errAway })
	must(t, n.Notify(t.Context(), stopped(1)))
	over(t, n, c, 6*time.Hour, 30*time.Second)
	if tries < 20 || tries > 60 {
		t.Errorf("tried %d times in six hours", tries)
	}
	b.fail(nil)
	over(t, n, c, lastPause, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"sweep 1 was stopped"}) {
		t.Errorf("told %q", got)
	}
}

func TestAPlaceThatNeverAnswersIsGivenUp(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	var logged bytes.Buffer
	n := New(Options{Redis: rdb, Routes: ops, Now: c.Now, Outlets: map[string]Outlet{"board": b}, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	b.fail(func(bot.Notice) error { return errAway })
	must(t, n.Notify(t.Context(), stopped(1)))
	over(t, n, c, giveUp+lastPause, time.Minute)
	if rdb.LLen(t.Context(), asideKey).Val() != 1 || rdb.ZCard(t.Context(), dueKey).Val() != 0 {
		t.Error("it is not put aside")
	}
	if !strings.Contains(logged.String(), "put aside") {
		t.Error("the log does not say so")
	}
}

func TestWhatCannotBeToldHoldsUpNothing(t *testing.T) {
	tests := map[string]func(bot.Notice) error{
		"what trying again would not help": func(bot.Notice) error { return Final(errAway) },
		"what is no channel":               func(bot.Notice) error { return actions.Errorf("tell", actions.CodeInvalid, "It is no channel.") },
		"what fails each time":             func(bot.Notice) error { return errAway },
		"what panics":                      func(bot.Notice) error { panic("oh") },
	}
	for name, fails := range tests {
		t.Run(name, func(t *testing.T) {
			rdb, c, b := redistest.Client(t), newClock(), newBoard()
			n := newNotifier(t, rdb, c, b, ops)
			b.fail(func(n bot.Notice) error {
				if n.Key == "stopped-1" {
					return fails(n)
				}
				return nil
			})
			for i := range 4 {
				must(t, n.Notify(t.Context(), stopped(i)))
			}
			over(t, n, c, 10*time.Second, time.Second)
			if got := b.titles(); !slices.Equal(got, []string{"sweep 0 was stopped", "sweep 2 was stopped", "sweep 3 was stopped"}) {
				t.Errorf("told %q", got)
			}
		})
	}
}

func TestAPlaceThatFailsSlowsNoOther(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := New(Options{Redis: rdb, Now: c.Now, Outlets: map[string]Outlet{OutletHome: b}})
	b.fail(func(n bot.Notice) error {
		if n.Env.Env == "pr-1" {
			return errAway
		}
		return nil
	})
	must(t, n.Notify(t.Context(), expiring("pr-1")))
	must(t, n.Notify(t.Context(), expiring("pr-2")))
	drain(t, n)
	if got := b.titles(); !slices.Equal(got, []string{"pr-2 expires"}) {
		t.Errorf("told %q", got)
	}
}

func TestWhatLivesNowhereIsToldInTheLog(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	var logged bytes.Buffer
	b.fail(func(bot.Notice) error { return actions.Errorf("tell", actions.CodeNotFound, "It lives nowhere.") })
	n := New(Options{Redis: rdb, Now: c.Now, Outlets: map[string]Outlet{OutletHome: b}, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	must(t, n.Notify(t.Context(), expiring("demo")))
	drain(t, n)
	if !strings.Contains(logged.String(), `level=WARN msg=notice event=environment.expiring title="demo expires"`) {
		t.Errorf("the log says %s", logged.String())
	}
}

func TestReplaceTakesOtherRoutesAndGivesUpWhatIsGone(t *testing.T) {
	rdb, c, b, other := redistest.Client(t), newClock(), newBoard(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	must(t, n.Notify(t.Context(), stopped(1)))
	n.Replace([]Route{{To: []Target{{"other", ""}}}}, map[string]Outlet{"other": other})
	must(t, n.Notify(t.Context(), stopped(2)))
	drain(t, n)
	if got := other.titles(); !slices.Equal(got, []string{"sweep 2 was stopped"}) || len(b.titles()) != 0 {
		t.Errorf("told %q", got)
	}
	if rdb.LLen(t.Context(), asideKey).Val() != 1 {
		t.Error("what waited for the place that is gone is not put aside")
	}
}

func TestWithoutRedisNothingIsSaidToBeStored(t *testing.T) {
	server := redistest.Start(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	c, b := newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	must(t, n.Notify(t.Context(), stopped(1)))
	server.Kill()
	err := n.Notify(t.Context(), stopped(2))
	if actions.CodeOf(err) != actions.CodeUnavailable || !actions.Retryable(err) {
		t.Errorf("the error is %v", err)
	}
	server.Restart(t)
	must(t, n.Notify(t.Context(), stopped(2)))
	over(t, n, c, 2*time.Second, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"sweep 1 was stopped", "sweep 2 was stopped"}) {
		t.Errorf("told %q", got)
	}
}

func TestRunGoesOnWhenRedisComesBack(t *testing.T) {
	server := redistest.Start(t)
	rdb, b := server.Client(t), newBoard()
	n := New(Options{Redis: rdb, Routes: ops, Outlets: map[string]Outlet{"board": b}})
	must(t, n.Notify(t.Context(), stopped(1)))
	server.Kill()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	server.Restart(t)
	select {
	case <-b.came:
	case <-time.After(patience):
		t.Error("it was not told")
	}
	stop()
	<-ended
}

func TestHostileWordsStayWords(t *testing.T) {
	tests := map[string]struct{ title, text, want string }{
		"several lines":              {title: "a\r\nX-Injected: yes\nb", want: "a X-Injected: yes b"},
		"an escape sequence":         {title: "a\x1b[31mred\x1b[0m\x00b", want: "aredb"},
		"turned text":                {title: "a\u202egpj.exe", want: "agpj.exe"},
		"a template":                 {title: "{{ .Secret }} ${HOME} %s %!", want: "{{ .Secret }} ${HOME} %s %!"},
		"more than anybody can read": {title: strings.Repeat("ä", 5000), want: strings.Repeat("ä", maxTitle-1) + "…"},
		"no text at all":             {title: "a\xff\xfeb", want: "a\ufffd\ufffdb"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			rdb, c, b := redistest.Client(t), newClock(), newBoard()
			n := newNotifier(t, rdb, c, b, ops)
			must(t, n.Notify(t.Context(), bot.Notice{Event: bot.EventStopped, Key: "k", Title: test.title, Text: strings.Repeat("é\x1b[2J", maxText)}))
			drain(t, n)
			p := <-b.came
			if p.notice.Title != test.want {
				t.Errorf("title %q, want %q", p.notice.Title, test.want)
			}
			if len(p.notice.Text) > maxText+10 || strings.ContainsAny(p.notice.Text, "\x1b\ufffd") || !strings.HasSuffix(p.notice.Text, "…") {
				t.Errorf("the text has %d bytes and ends in %q", len(p.notice.Text), p.notice.Text[len(p.notice.Text)-20:])
			}
		})
	}
}

func TestANoticeWithoutItsKeyIsRefused(t *testing.T) {
	n := newNotifier(t, redistest.Client(t), newClock(), newBoard(), ops)
	for _, notice := range []bot.Notice{{}, {Event: "a", Key: "b"}, {Event: "a", Title: "c"}, {Key: "b", Title: "c"}, {Event: "a", Key: "b", Title: " \n\x1b[0m"}} {
		if err := n.Notify(t.Context(), notice); actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("%+v: %v", notice, err)
		}
	}
}

func TestASpoiltRecordIsDroppedAlone(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	must(t, n.Notify(t.Context(), stopped(1)))
	must(t, rdb.HSet(t.Context(), queueKey(ops[0].To[0]), "0", "{not json").Err())
	over(t, n, c, 2*time.Second, time.Second)
	if got := b.titles(); len(got) != 1 || rdb.ZCard(t.Context(), dueKey).Val() != 0 {
		t.Errorf("told %q", got)
	}
}

// TestOnEveryRedis holds that the scripts do on a Cluster, and on the Redis that
// Berth has within itself where none is installed.
func TestOnEveryRedis(t *testing.T) {
	within := miniredis.RunT(t)
	tests := map[string]redis.UniversalClient{
		"a Cluster":          redistest.StartCluster(t),
		"the one within":     redis.NewClient(&redis.Options{Addr: within.Addr()}),
		"an ordinary server": redistest.Client(t),
	}
	for name, rdb := range tests {
		t.Run(name, func(t *testing.T) {
			c, b := newClock(), newBoard()
			n := newNotifier(t, rdb, c, b, []Route{{To: []Target{{"board", "ops"}, {"board", "dev"}}}})
			b.fail(func(bot.Notice) error { return errAway })
			for i := range 20 {
				must(t, n.Notify(t.Context(), stopped(i)))
				must(t, n.Notify(t.Context(), stopped(i)))
			}
			over(t, n, c, time.Minute, time.Second)
			b.fail(nil)
			must(t, n.Notify(t.Context(), bot.Notice{Event: bot.EventMissed, Key: "m", Title: "ticks were missed"}))
			over(t, n, c, 5*time.Minute, time.Second)
			got := b.titles()
			slices.Sort(got)
			if want := []string{"20 × reconcile.stopped", "20 × reconcile.stopped", "ticks were missed", "ticks were missed"}; !slices.Equal(got, want) {
				t.Errorf("told %q, want %q", got, want)
			}
			if rdb.ZCard(t.Context(), dueKey).Val() != 0 || rdb.Get(t.Context(), sizeKey).Val() != "0" || rdb.HLen(t.Context(), heldKey).Val() != 0 {
				t.Error("something is left")
			}
		})
	}
}
