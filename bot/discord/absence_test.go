package discord

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/discord/discordtest"
)

// silence is a Discord with replicas that share a Redis, of which one listens at a
// time, and where nobody does while a test wants that.
type silence struct {
	*guildOf
	rdb    *redis.Client
	in     *once
	leases *leases
	kept   int64 // moment when a replica was run last
	mu     sync.Mutex
	ahead  time.Duration // of the clocks of Discord and of the replicas
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	w := &silence{rdb: redistest.Client(t), in: &once{more: make(chan struct{}, 1)}, leases: &leases{}}
	w.guildOf = newGuild(t, discordtest.Options{Now: w.now})
	return w
}

func (w *silence) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

func (w *silence) later(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += by
}

// replica runs another replica until stop.
func (w *silence) replica(change ...func(*Options)) (b *berth, stop func()) {
	w.t.Helper()
	b = newBerth(w.t, w.guildOf, w.in, func(o *Options) {
		o.Gateway, o.Lead, o.Redis, o.Now = true, w.leases.lead, w.rdb, w.now
		for _, c := range change {
			c(o)
		}
	})
	b.sleep = func(ctx context.Context, _ time.Duration) { sleep(ctx, time.Millisecond) }
	w.kept = w.moment()
	return b, b.run()
}

// heard waits until the replica that was run last listens, and has kept until
// when.
func (w *silence) heard() {
	w.t.Helper()
	w.until(func() bool { return w.Sessions() == 1 })
	w.eventually("the moment to be kept", func() bool { return w.moment() > w.kept })
}

// moment is until when the only shard was heard, as it is kept.
func (w *silence) moment() int64 {
	n, _ := w.rdb.HGet(w.t.Context(), keyHeard(w.ApplicationID()), "0/1").Int64() // there may be none yet
	return n
}

func (w *silence) eventually(what string, so func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	for !so() {
		if ctx.Err() != nil {
			w.t.Fatalf("waited in vain for %s", what)
		}
		sleep(ctx, 5*time.Millisecond)
	}
}

// deaf keeps everybody from connecting, from when nobody is connected until
// Heal.
func (w *silence) deaf(stop func()) {
	w.t.Helper()
	w.Fail("GET /gateway/bot", 1_000_000, discordtest.Failure{Status: http.StatusServiceUnavailable})
	stop()
	w.until(func() bool { return w.Sessions() == 0 })
}

func (w *silence) mentions(channel, line string) string {
	w.t.Helper()
	id, err := w.Mention(w.ana, channel, line)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// hears waits until exactly these lines were said, in any order.
func (w *silence) hears(lines ...string) {
	w.t.Helper()
	got := w.in.await(w.t, len(lines))
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		w.t.Errorf("heard %q, want %q", got, lines)
	}
}

// read counts the calls that read a channel.
func (w *silence) read(channel string) (n int) {
	for _, r := range w.Requests() {
		if r.Method == http.MethodGet && strings.HasPrefix(r.Path, "/api/v10/channels/"+channel+"/messages?") {
			n++
		}
	}
	return n
}

func (w *silence) add(c discordtest.Channel) string {
	w.t.Helper()
	c.Guild = w.guild
	id, err := w.AddChannel(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func TestWhatIsSaidWhileNobodyListensIsHeard(t *testing.T) {
	t.Parallel()
	w := newSilence(t)
	quiet, hidden := w.add(discordtest.Channel{Name: "quiet"}), w.add(discordtest.Channel{Name: "hidden", Denied: discordtest.ViewChannel})
	secret := w.add(discordtest.Channel{Name: "unread", Denied: discordtest.ReadMessageHistory})
	first, stop := w.replica()
	w.heard()
	before := w.mentions(w.channel, "status before")
	if err := first.startThread(t.Context(), first.at(w, w.channel, before), hello); err != nil {
		t.Fatal(err)
	}
	direct, err := w.DirectChannel(w.ana)
	if err != nil {
		t.Fatal(err)
	}
	say := func(channel, text string) {
		t.Helper()
		if _, err := w.Say(w.ana, channel, text); err != nil {
			t.Fatal(err)
		}
	}
	say(direct, "list")
	w.hears("list", "status before")
	w.eventually("the channel of direct messages to be kept", func() bool { return w.rdb.ZCard(t.Context(), keyDirects(w.ApplicationID())).Val() == 1 })
	w.mentions(quiet, "status quiet")
	heard := len(w.in.await(t, 3))

	w.deaf(stop)
	w.later(missedOverlap + time.Second)
	if err := first.heard.keep(t.Context(), 0, 1, w.now()); err != nil { // so long ago that nothing from before is read again
		t.Fatal(err)
	}
	w.mentions(w.channel, "status here")
	w.mentions(before, "status in the thread")
	say(w.channel, "a secret of ours")
	say(direct, "status directly")
	w.mentions(hidden, "status hidden")
	w.mentions(secret, "status unread")
	w.Heal()
	w.replica()
	w.heard()
	got := w.in.await(t, heard+3)[heard:]
	slices.Sort(got)
	if want := []string{"status directly", "status here", "status in the thread"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if w.read(quiet) != 0 || w.read(hidden) != 0 || w.read(secret) != 0 {
		t.Error("channels were read in which there is nothing to hear")
	}
	w.mentions(w.channel, "status live")
	if got := w.in.await(t, heard+4); got[heard+3] != "status live" {
		t.Errorf("%q", got)
	}
	w.until(func() bool { // the sign that it was read
		return len(slices.DeleteFunc(w.Messages(w.channel), func(m discordtest.Message) bool { return !slices.Contains(m.Reactions, readSign) })) == 3
	})
}

// at is a message as a place.
func (b *berth) at(w *silence, channel, message string) (at bot.ChatPlace) {
	at.Platform, at.Workspace, at.Channel, at.Thread = "discord", w.guild, channel, message
	return at
}

func TestASessionThatDiscordForgotIsMadeUpFor(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]discordtest.Drop{"lost with the connection": discordtest.DropForget, "called invalid": discordtest.DropInvalid} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSilence(t)
			w.replica()
			w.heard()
			w.deaf(func() { w.DropGateway(how) })
			w.mentions(w.channel, "status now")
			w.Heal()
			w.hears("status now")
		})
	}
}

func TestASessionThatIsResumedReadsNothing(t *testing.T) {
	t.Parallel()
	w := newSilence(t)
	w.replica()
	w.heard()
	w.DropGateway(discordtest.DropCut)
	w.mentions(w.channel, "status now")
	w.hears("status now")
	w.until(func() bool { return w.Sessions() == 1 })
	w.mentions(w.channel, "status then")
	w.hears("status now", "status then")
	if n := w.read(w.channel); n != 0 {
		t.Errorf("read %d times", n)
	}
}

func TestWhatFailsWhileMissedWordsAreRead(t *testing.T) {
	t.Parallel()
	const messages = "GET /channels/{channel}/messages"
	tests := map[string]struct {
		fault func(w *silence)
		heard []string // after it, of "status one" and "status two", the last said being read first
	}{
		"too many calls": {func(w *silence) {
			w.Fail(messages, 2, discordtest.Failure{Status: http.StatusTooManyRequests, RetryAfter: time.Second})
		}, []string{"status one", "status two"}},
		"Discord's own faults":  {func(w *silence) { w.Fail(messages, 3, discordtest.Failure{Status: http.StatusBadGateway}) }, []string{"status one", "status two"}},
		"answers that are lost": {func(w *silence) { w.Lose(messages, 2) }, []string{"status one", "status two"}},
		"a channel that is not shown any more": {func(w *silence) {
			w.Fail(messages, 1, discordtest.Failure{Status: http.StatusForbidden, Code: codeMissingAccess})
		},
			[]string{"status one"}},
		"a permission that is missing": {func(w *silence) {
			w.Fail(messages, 1, discordtest.Failure{Status: http.StatusForbidden, Code: codeMissingPermissions})
		},
			[]string{"status one"}},
		"a channel that is gone": {func(w *silence) {
			w.Fail(messages, 1, discordtest.Failure{Status: http.StatusNotFound, Code: codeUnknownChannel})
		},
			[]string{"status one"}},
		"a message that was deleted": {func(w *silence) { all := w.Messages(w.channel); w.DeleteMessage(all[len(all)-1].ID) }, []string{"status two"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSilence(t)
			other := w.add(discordtest.Channel{Name: "other"})
			_, stop := w.replica()
			w.heard()
			w.deaf(stop)
			w.mentions(w.channel, "status one")
			w.later(time.Millisecond)
			w.mentions(other, "status two")
			w.Heal()
			test.fault(w)
			w.replica()
			w.heard()
			w.hears(test.heard...)
			w.mentions(w.channel, "status live")
			w.hears(append(test.heard, "status live")...)
		})
	}
}

func TestADiscordThatHangsKeepsNobodyFromListening(t *testing.T) {
	t.Parallel()
	w := newSilence(t)
	_, stop := w.replica()
	w.heard()
	w.deaf(stop)
	w.mentions(w.channel, "status missed")
	kept := w.moment()
	w.Heal()
	w.Slow("GET /channels/{channel}/messages", 1_000_000, time.Hour)
	_, stop = w.replica()
	w.until(func() bool { return w.read(w.channel) == 1 || w.Sessions() == 1 })
	w.mentions(w.channel, "status live")
	w.hears("status live")
	began := time.Now()
	stop()
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it held the end up for %s", took)
	}
	if w.moment() != kept {
		t.Error("the next replica would not look for what this one could not read")
	}
	w.Heal()
	w.replica()
	w.hears("status live", "status missed")
}

func TestWhatWasSaidLongAgoIsNotDone(t *testing.T) {
	t.Parallel()
	w := newSilence(t)
	_, stop := w.replica()
	w.heard()
	w.deaf(stop)
	w.mentions(w.channel, "cleanup shop/pr-1")
	w.later(missedFor + time.Second)
	w.mentions(w.channel, "status recent")
	w.Heal()
	w.replica()
	w.heard()
	w.hears("status recent")
}

func TestNothingIsReadBeforeTheFirstTime(t *testing.T) {
	t.Parallel()
	w := newSilence(t)
	w.mentions(w.channel, "status early")
	w.replica()
	w.heard()
	w.mentions(w.channel, "status live")
	w.hears("status live")
	if n := w.read(w.channel); n != 0 {
		t.Errorf("read %d times", n)
	}
}

func TestALongTalkIsReadInPages(t *testing.T) {
	t.Parallel()
	w := newSilence(t)
	_, stop := w.replica()
	w.heard()
	w.deaf(stop)
	for i := range 2*missedPage + 30 {
		if i%missedPage == 50 {
			w.mentions(w.channel, "status "+strconv.Itoa(i))
			continue
		}
		if _, err := w.Say(w.ben, w.channel, fmt.Sprint("talk ", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.mentions(w.channel, "status last")
	w.Heal()
	w.replica()
	w.heard()
	w.hears("status 50", "status 150", "status last")
	if n := w.read(w.channel); n != 3 {
		t.Errorf("read %d pages", n)
	}
}

func TestGuildsThatBerthIsNotForAreNotRead(t *testing.T) {
	t.Parallel()
	w := newSilence(t)
	_, stop := w.replica()
	w.heard()
	w.deaf(stop)
	w.mentions(w.channel, "status elsewhere")
	w.Heal()
	w.replica(func(o *Options) { o.Guilds = []string{"1"} })
	w.heard()
	if n := w.read(w.channel); n != 0 || len(w.in.lines()) != 0 {
		t.Errorf("read %d times, heard %q", n, w.in.lines())
	}
}

func TestOnlySoManyChannelsAreReadTheNewestFirst(t *testing.T) {
	t.Parallel()
	s, log := surfaceOf(t, nil, &taken{}, func(o *Options) { o.Redis = redistest.Client(t) })
	c := &connection{s: s}
	g := guildObject{ID: testGuild}
	for i := range missedChannels + 7 {
		id := snowflake(testNow) + uint64(i)
		g.Channels = append(g.Channels, guildChannel{channelObject: channelObject{ID: strconv.Itoa(i + 1)}, LastMessageID: strconv.FormatUint(id, 10)})
	}
	a := &absence{me: testMe, began: time.Now(), since: testNow.Add(-time.Minute)}
	if err := c.plan(t.Context(), a, []guildObject{g}); err != nil || len(a.todo) != missedChannels || a.told.dropped != 7 {
		t.Fatalf("%d %+v %v", len(a.todo), a.told, err)
	}
	if a.todo[0].channel.ID != strconv.Itoa(missedChannels+7) {
		t.Errorf("%+v is first", a.todo[0])
	}
	if err := c.plan(t.Context(), a, []guildObject{g}); err != nil || len(a.todo) != missedChannels {
		t.Errorf("%d %v", len(a.todo), err)
	}
	c.tellMissed(t.Context(), a)
	if !strings.Contains(log.String(), "left_out="+strconv.Itoa(missedChannels+14)) {
		t.Error(log)
	}
}
