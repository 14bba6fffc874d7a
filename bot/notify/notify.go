// Package notify tells people what they did not ask for: an environment that is
// about to go, a sweep that was stopped, a deploy that failed. Routes say where.
//
// A notice is stored in Redis before Notify returns, once per place where it is
// to be told, and any replica tells it: one at a time per place, again and again
// for hours while the place does not answer, and at least once. Many of one event
// to one place become a digest. What cannot be told is put aside and logged.
package notify

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// The outlets that Berth has.
const (
	OutletHome    = "home"    // where the environment lives; it needs no channel
	OutletGitHub  = "github"  // a comment; its channel is "owner/repo#7"
	OutletWebhook = "webhook" // see Webhooks
	OutletLog     = "log"     // Berth's own log; there always is one
)

const (
	// rememberTold is how long a notice that was told is not told again.
	rememberTold = 30 * 24 * time.Hour
	// mostWaiting bounds what waits for one place, and mostInAll what waits for
	// all of them. What is more is counted, and the count is told.
	mostWaiting = 500
	mostInAll   = 20_000
	// maxTitle, maxText and maxCommands bound one notice: characters, bytes and
	// lines.
	maxTitle    = 200
	maxText     = 16 << 10
	maxCommands = 10
)

// Outlet is a way to tell people something.
type Outlet interface {
	// Tell tells n in a channel. It may be called again for a notice that was
	// told, with the same n.Key. An error means that it is tried again later,
	// unless Final made it, or it is CodeInvalid. CodeNotFound says that there is no
	// such place for n, as when an environment lives nowhere: then it goes to the
	// log.
	Tell(ctx context.Context, channel string, n bot.Notice) error
}

// OutletFunc is a function as an Outlet.
type OutletFunc func(ctx context.Context, channel string, n bot.Notice) error

// Tell calls f.
func (f OutletFunc) Tell(ctx context.Context, channel string, n bot.Notice) error {
	return f(ctx, channel, n)
}

// finalError is one that trying again would not help.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final makes err one that trying again would not help.
func Final(err error) error { return finalError{err} }

// Options are what a Notifier needs.
type Options struct {
	Redis   redis.UniversalClient
	Routes  []Route
	Outlets map[string]Outlet // by the names that routes say; the log's is made where it is not given
	// Changes and Requests are what is watched for events that nobody else tells
	// of: runs that ended, requests that wait, broken glass. Both or none.
	Changes  Changes
	Requests Requests
	Now      func() time.Time // nil means time.Now; replicas should agree (actions.Clock)
	Log      *slog.Logger     // nil means none
}

// Notifier tells people. It is a bot.Notifier.
type Notifier struct {
	rdb      redis.UniversalClient
	table    atomic.Pointer[table]
	changes  Changes
	requests Requests
	now      func() time.Time
	log      *slog.Logger
	replica  string
	wake     chan struct{}
}

// New makes a Notifier. What it stores waits until some replica is in Run.
func New(o Options) *Notifier {
	n := &Notifier{
		rdb: o.Redis, changes: o.Changes, requests: o.Requests, now: o.Now, log: o.Log,
		replica: rand.Text(), wake: make(chan struct{}, 1),
	}
	if n.now == nil {
		n.now = time.Now
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.Replace(o.Routes, o.Outlets)
	return n
}

// Replace takes other routes and outlets from now on. What waits for a place
// whose outlet is gone is given up.
func (n *Notifier) Replace(routes []Route, outlets map[string]Outlet) {
	n.table.Store(newTable(routes, outlets, n.log))
}

// Notify stores that n is to be told. One that was stored within 30 days (by its
// Key) is not told again. It returns CodeUnavailable when Redis does not answer,
// and CodeInvalid for a notice without an event, a key or a title.
func (n *Notifier) Notify(ctx context.Context, notice bot.Notice) error {
	return n.store(ctx, notice, n.table.Load().targets(notice))
}

func (n *Notifier) store(ctx context.Context, notice bot.Notice, targets []Target) error {
	const op = "notify"
	notice = n.clean(notice)
	if notice.Event == "" || notice.Key == "" || notice.Title == "" {
		return actions.Errorf(op, actions.CodeInvalid, "A notice needs an event, a key and a title.")
	}
	if len(targets) == 0 {
		return nil
	}
	text, err := json.Marshal(waiting{Notice: notice, At: n.now().UTC()})
	if err != nil {
		return actions.Wrap(op, actions.CodeInternal, err, "A notice cannot be written.")
	}
	fresh, err := n.enqueue(ctx, notice.Key, text, targets)
	if err != nil {
		return unavailable(op, err)
	}
	if fresh {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// clean is n within its bounds, as text that is no terminal's control sequence.
func (n *Notifier) clean(notice bot.Notice) bot.Notice {
	notice.Title = oneLine(notice.Title, maxTitle)
	if text := bot.Plain(notice.Text); len(text) > maxText {
		cut := maxText
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		notice.Text = text[:cut] + "\n\n…"
	} else {
		notice.Text = text
	}
	notice.Commands = slices.Clone(notice.Commands[:min(len(notice.Commands), maxCommands)])
	for i, c := range notice.Commands {
		notice.Commands[i] = bot.Suggestion{Label: oneLine(c.Label, maxTitle), Command: oneLine(c.Command, maxTitle)}
	}
	notice.Severity = cmp.Or(notice.Severity, bot.SeverityInfo)
	if notice.At.IsZero() {
		notice.At = n.now()
	}
	notice.At = notice.At.UTC().Round(0)
	return notice
}

// oneLine is s on one line without control characters, and cut with "…" to most
// characters.
func oneLine(s string, most int) string {
	r := []rune(strings.Join(strings.Fields(bot.Plain(s)), " "))
	if len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(r)
}

func unavailable(op string, err error) error {
	if errors.Is(err, context.Canceled) {
		return actions.Wrap(op, actions.CodeCancelled, err, "It was stopped before Redis answered.")
	}
	return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: "Redis did not answer; try again in a moment.", Err: fmt.Errorf("notify: %w", err), Retry: true}
}
