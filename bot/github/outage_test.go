package github

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

func TestEveryExamplePayloadIsSurvived(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	hook := w.replicas[0].surface.Webhook()
	examples := githubtest.Examples()
	if len(examples) < 300 {
		t.Fatalf("only %d examples", len(examples))
	}
	for i, e := range examples {
		body := string(e.Payload)
		if rec := send(hook, delivery(e.Event, fmt.Sprintf("example-%d", i), body, nil)); rec.Code != http.StatusAccepted {
			t.Errorf("%s %s: %d %s", e.Event, e.Action, rec.Code, rec.Body)
		}
		wrong := delivery(e.Event, fmt.Sprintf("wrong-%d", i), body, func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("other", []byte(body))) })
		if rec := send(hook, wrong); rec.Code != http.StatusUnauthorized {
			t.Errorf("%s %s, signed by somebody else: %d", e.Event, e.Action, rec.Code)
		}
	}
	w.say("ana", "/deploy")
	w.until("the bot still works", func() bool { return strings.Contains(w.sticky(), "🟢") })
	w.settled()
	if n := w.rdb.XLen(t.Context(), keyDead).Val(); n != 0 {
		t.Errorf("%d deliveries were put aside: %v", n, w.rdb.XRange(t.Context(), keyDead, "-", "+").Val())
	}
}

func TestWhatCannotBeReadIsPutAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	hook := w.replicas[0].surface.Webhook()
	for i, body := range []string{
		`{"action":{},"comment":"x"}`, `{"action":"created","issue":[]}`,
		`{"action":"created","comment":{"body":"/deploy"},"issue":{"number":-1,"state":"open","pull_request":{}}}`,
		`{"action":"created","comment":{"id":1,"body":"/deploy"},"issue":{"number":1,"pull_request":{}},"repository":{"full_name":"../.."},"sender":{"login":"ana"}}`,
	} {
		if rec := send(hook, delivery("issue_comment", fmt.Sprint("bad-", i), body, nil)); rec.Code != 202 {
			t.Errorf("status = %d", rec.Code)
		}
	}
	w.settled()
	if n := w.rdb.XLen(t.Context(), keyDead).Val(); n != 4 {
		t.Errorf("%d deliveries were put aside, want 4", n)
	}
	w.say("ana", "/help")
	w.until("the bot still works", func() bool { return len(w.ours("")) == 1 })
}

func TestWhenRedisComesBackEverythingGoesOn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t, worldOptions{Redis: server})
	w.say("ana", "/deploy")
	w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") })
	server.Stop(t)
	w.say("ana", "/cleanup")
	w.must(w.Flush(t.Context()))
	var lost githubtest.Delivery
	for _, d := range w.Deliveries() { // the bot's own edits are delivered too
		if d.Action == "created" && strings.Contains(string(d.Payload), `"/cleanup"`) {
			lost = d
		}
	}
	if lost.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("the delivery counts as %d", lost.StatusCode)
	}
	server.Restart(t)
	// The list of deliveries is green again once they are stored.
	for i := 0; send(w.replicas[0].surface.Webhook(), delivery("ping", fmt.Sprint("ping-", i), `{}`, nil)).Code != http.StatusAccepted; i++ {
		pause(t.Context(), 50*time.Millisecond)
	}
	w.must(w.Redeliver(lost.ID))
	w.must(w.Flush(t.Context()))
	w.until("the redelivery is followed", func() bool { return strings.Contains(w.sticky(), "🧹") })
}

func TestWhatADeadReplicaHeldIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	s := w.replicas[0].surface
	w.replicas[0].stop()
	id := w.say("ana", "/deploy")
	w.must(w.Flush(t.Context()))
	w.must(s.makeGroup(t.Context()))
	held, err := w.rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: consumerGroup, Consumer: "dead", Streams: []string{keyIntake, ">"}, Count: 10, Block: -1}).Result()
	w.must(err)
	for _, m := range held[0].Messages {
		w.must(w.rdb.Do(t.Context(), "XCLAIM", keyIntake, consumerGroup, "dead", 0, m.ID, "IDLE", 60_000).Err())
	}
	w.must(s.reclaimOnce(t.Context()))
	if all := w.allRequests(); len(all) != 1 || all[0].Place.Message != itoa(id) {
		t.Errorf("requests = %+v", all)
	}
	if n := w.rdb.XLen(t.Context(), keyIntake).Val(); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestAHandledDeliveryIsRememberedAsLongAsGitHubRedelivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	send(w.replicas[0].surface.Webhook(), delivery("issue_comment", "d-1", `{"action":"created"}`, nil))
	w.settled()
	ttl := w.rdb.PTTL(t.Context(), keyDelivery("d-1")).Val()
	if size := w.rdb.StrLen(t.Context(), keyDelivery("d-1")).Val(); ttl < 3*24*time.Hour || size != 0 {
		t.Errorf("it is kept for %v, with %d bytes", ttl, size)
	}
}

// TestACrashBeforeAnIDWasKeptMakesNothingTwice loses what Redis knew of what
// was just made, as a crash between the two does.
func TestACrashBeforeAnIDWasKeptMakesNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.say("ana", "/help")
	w.say("ana", "/deploy")
	w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") && len(w.ours("<!-- berth:reply")) == 1 })
	w.settled()
	name := actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}
	w.must(w.rdb.Del(t.Context(), keySticky(name)).Err())
	for id := range w.rdb.HGetAll(t.Context(), keyDeployed(name)).Val() {
		w.must(w.rdb.HSet(t.Context(), keyDeployed(name), id, deployed{state: deployBegun}.String()).Err())
	}
	s := w.replicas[0].surface
	reply := strings.TrimSuffix(strings.TrimPrefix(strings.SplitN(w.ours("<!-- berth:reply")[0].Body, "\n", 2)[0], "<!-- berth:reply="), " -->")
	w.must(s.keepPost(t.Context(), reply, post{Repo: bothRepo, Number: w.pull, Text: "This is the help.", At: time.Now(), Begun: true}))
	before := len(w.ours(""))
	w.must(s.markLate(t.Context(), []string{name.String(), postMark + reply}))
	w.settled()
	if got := len(w.ours("")); got != before {
		t.Errorf("there are %d comments, and were %d:\n%s", got, before, w.thread())
	}
	if n := len(w.Deployments(bothRepo)); n != 1 {
		t.Errorf("there are %d deployments", n)
	}
}

func TestManyReplicasMakeOneComment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{Replicas: 3})
	w.say("ana", "/deploy")
	w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") })
	name := actions.PullRequestName(w.pull)
	var group sync.WaitGroup
	for _, r := range w.replicas {
		group.Go(func() {
			for range 20 {
				if err := r.surface.markLate(t.Context(), []string{"shop/" + name}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	w.settled()
	if n := len(w.ours("")); n != 1 {
		t.Errorf("there are %d comments:\n%s", n, w.thread())
	}
}

func TestAnOutageOfGitHubsPassesUnnoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.Fail("GET", "/repos/acme/shop/pulls/*", 502, 2)
	w.Fail("POST", "/repos/acme/shop/issues/*", 500, 2)
	w.Fail("POST", "/repos/acme/shop/deployments", 503, 1)
	w.say("ana", "/deploy")
	w.until("it is deployed all the same", func() bool {
		d := w.Deployments(bothRepo)
		return strings.Contains(w.sticky(), "🟢") && len(d) == 1 && d[0].State() == "success"
	})
}

func TestTheSweepShowsWhatNobodyToldOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	w.say("ana", "/deploy")
	w.until("it is deployed", func() bool { return strings.Contains(w.sticky(), "🟢") })
	w.settled()
	w.replicas[0].stop()
	name := actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}
	_, err := w.store.SetLock(t.Context(), name, &actions.Lock{By: "rob", At: time.Now()}, actions.Record{Kind: "environment.locked", Actor: "rob"})
	w.must(err)
	w.must(w.rdb.Del(t.Context(), keyLease("sweep"), keyPrefix+"due").Err())
	s := w.replicas[0].surface
	w.must(s.sweepOnce(t.Context()))
	if n := w.rdb.ZCard(t.Context(), keyPrefix+"due").Val(); n != 1 {
		t.Errorf("%d environments are due, want 1", n)
	}
	if _, err := s.show(t.Context(), name.String()); err != nil {
		t.Fatal(err)
	}
}

func TestTheBudgetSpreadsWritesAndLeavesSomeForWhatCannotWait(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	b := &budget{rdb: redistest.Client(t), now: func() time.Time { return now }, replica: "a"}
	spend := func(calm bool) error { return b.spend(t.Context(), "token", true, calm) }
	for i := range calmPerMinute {
		if err := spend(true); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	limited, ok := errors.AsType[*limitedError](spend(true))
	if !ok || limited.after != time.Minute {
		t.Fatalf("one calm write too many: %v", limited)
	}
	for i := calmPerMinute; i < perMinute; i++ {
		if err := spend(false); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	if err := spend(false); err == nil {
		t.Fatal("more writes a minute than GitHub takes")
	}
	if err := b.spend(t.Context(), "token", false, false); err != nil {
		t.Errorf("a read is counted: %v", err)
	}
	now = now.Add(time.Minute + time.Millisecond)
	if err := spend(true); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	b.block(t.Context(), "token", time.Minute)
	if _, ok := errors.AsType[*limitedError](b.spend(t.Context(), "token", false, false)); !ok {
		t.Error("a pause that GitHub asked for is not kept")
	}
	if err := b.spend(t.Context(), "installation-1", true, false); err != nil {
		t.Errorf("another account pauses too: %v", err)
	}
}
