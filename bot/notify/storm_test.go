package notify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
)

func TestAStormIsToldAsOne(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	for i := range 100 {
		must(t, n.Notify(t.Context(), stopped(i)))
	}
	must(t, n.Notify(t.Context(), bot.Notice{Event: bot.EventMissed, Key: "m", Title: "ticks were missed"}))
	over(t, n, c, 5*time.Second, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"100 × reconcile.stopped", "ticks were missed"}) {
		t.Fatalf("told %q", got)
	}
	digest := <-b.came
	if text := digest.notice.Text; strings.Count(text, "\n- sweep") != digestLines-1 || !strings.Contains(text, "- and 80 more") {
		t.Errorf("the digest says %q", text)
	}
	if digest.notice.Severity != bot.SeverityError {
		t.Errorf("the digest is %s", digest.notice.Severity)
	}
	for i := range 50 { // what goes on is held for the rest of the minute
		must(t, n.Notify(t.Context(), stopped(100+i)))
		over(t, n, c, time.Second, time.Second)
	}
	if got := b.titles(); len(got) != 0 {
		t.Errorf("within the minute %q was told", got)
	}
	over(t, n, c, stormWindow, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"50 × reconcile.stopped"}) {
		t.Errorf("after the minute %q was told", got)
	}
	over(t, n, c, 2*stormWindow, time.Second)
	must(t, n.Notify(t.Context(), stopped(200)))
	drain(t, n)
	if got := b.titles(); !slices.Equal(got, []string{"sweep 200 was stopped"}) {
		t.Errorf("when it is over %q is told", got)
	}
}

func TestATrickleBecomesAStorm(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	for i := range 180 {
		must(t, n.Notify(t.Context(), stopped(i)))
		over(t, n, c, time.Second, time.Second)
	}
	over(t, n, c, 2*stormWindow, time.Second)
	got := b.titles()
	if len(got) < 6 || len(got) > 12 || !strings.HasPrefix(got[stormMost], "5") {
		t.Errorf("three minutes of one a second were told as %q", got)
	}
	sum := 0
	for _, title := range got {
		several := 1
		if strings.Contains(title, "×") {
			_, _ = fmt.Sscanf(title, "%d", &several)
		}
		sum += several
	}
	if sum != 180 {
		t.Errorf("%d of 180 were told of: %q", sum, got)
	}
}

func TestStormsOfOneAppHoldUpNoOtherPlace(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := New(Options{Redis: rdb, Now: c.Now, Outlets: map[string]Outlet{OutletHome: b}})
	for i := range 30 {
		must(t, n.Notify(t.Context(), expiring(fmt.Sprintf("pr-%d", i))))
	}
	drain(t, n)
	if got := b.titles(); len(got) != 30 {
		t.Errorf("%d of 30 homes were told", len(got))
	}
}

func TestWhatThereIsNoRoomForIsCounted(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	for i := range mostWaiting + 70 {
		must(t, n.Notify(t.Context(), stopped(i)))
	}
	if got := rdb.HLen(t.Context(), queueKey(ops[0].To[0])).Val(); got != mostWaiting {
		t.Errorf("%d wait", got)
	}
	over(t, n, c, 5*time.Second, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"500 × reconcile.stopped, and 70 more notices that there was no room for"}) {
		t.Errorf("told %q", got)
	}
	must(t, rdb.Set(t.Context(), sizeKey, mostInAll, 0).Err()) // other places' fill all the room
	must(t, n.Notify(t.Context(), stopped(1000)))
	over(t, n, c, 5*time.Second, time.Second)
	if got := b.titles(); !slices.Equal(got, []string{"1 notices that there was no room for"}) {
		t.Errorf("told %q", got)
	}
}

func TestADigestThatWasToldIsTheSameWhenItIsToldAgain(t *testing.T) {
	rdb, c, b := redistest.Client(t), newClock(), newBoard()
	n := newNotifier(t, rdb, c, b, ops)
	for i := range 10 {
		must(t, n.Notify(t.Context(), stopped(i)))
	}
	for range 2 { // the digest is made, and told by a process that is gone then
		claim, err := n.take(t.Context())
		must(t, err)
		e, _ := n.step(t.Context(), claim)
		if len(e.put) > 0 {
			must(t, n.finish(t.Context(), claim, e))
		}
	}
	must(t, n.Notify(t.Context(), stopped(10)))
	c.add(leaseTime)
	drain(t, n)
	first, second := <-b.came, <-b.came
	if first.notice.Key != second.notice.Key || first.notice.Text != second.notice.Text || !strings.HasPrefix(first.notice.Title, "10 ×") {
		t.Errorf("first %+v, then %+v", first.notice, second.notice)
	}
}
