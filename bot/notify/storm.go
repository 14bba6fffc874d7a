package notify

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/bot"
)

const (
	// stormMost is how many notices of one event a place is told in a stormWindow,
	// each by itself. Those beyond wait for its end, and are told as one.
	stormMost   = 5
	stormWindow = time.Minute
	// digestLines is how many of its notices a digest names.
	digestLines = 20
)

// step is what is done next for a target: a notice is told, several become a
// digest, or all wait.
type step struct {
	tell   *waiting
	digest []waiting
	wait   time.Time // zero when nothing waits
}

// choose says what is done next. Those that failed before come after those that
// did not, so that one that cannot be told holds up no others.
func choose(now time.Time, all []waiting, s state) step {
	pending := map[string][]waiting{}
	for _, w := range all {
		if !w.Digest {
			pending[w.Notice.Event] = append(pending[w.Notice.Event], w)
		}
	}
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b waiting) int { return a.Tries - b.Tries })
	var out step
	later := func(at time.Time) {
		if out.wait.IsZero() || at.Before(out.wait) {
			out.wait = at
		}
	}
	for i, w := range order {
		if w.After.After(now) {
			later(w.After)
			continue
		}
		of := pending[w.Notice.Event]
		told := recent(s.told[w.Notice.Event], now)
		switch {
		case w.Digest || len(told)+len(of) <= stormMost:
			return step{tell: &order[i]}
		case len(told) < stormMost:
			return step{digest: of}
		default:
			later(time.UnixMilli(told[0]).Add(stormWindow))
		}
	}
	return out
}

// recent are the times within the window before now.
func recent(told []int64, now time.Time) []int64 {
	since := now.Add(-stormWindow).UnixMilli()
	return slices.DeleteFunc(slices.Clone(told), func(at int64) bool { return at <= since })
}

// noted is the field of the state that says that w was told now. A digest uses
// the whole window up.
func noted(now time.Time, w waiting, s state) (field, value string) {
	told := append(recent(s.told[w.Notice.Event], now), now.UnixMilli())
	if w.Digest {
		told = slices.Repeat([]int64{now.UnixMilli()}, stormMost)
	}
	told = told[max(0, len(told)-stormMost):]
	words := make([]string, len(told))
	for i, at := range told {
		words[i] = strconv.FormatInt(at, 10)
	}
	return toldField + w.Notice.Event, strings.Join(words, " ")
}

// alike are the notices of one event that came first, as they came.
func alike(all []waiting) (several []waiting) {
	for _, w := range all {
		if !w.Digest && (len(several) == 0 || w.Notice.Event == several[0].Notice.Event) {
			several = append(several, w)
		}
	}
	return several
}

// eventLost is the event of a digest of nothing but what there was no room for.
const eventLost = "notices.lost"

// summed is one notice for several of one event, and for lost more of any.
func summed(now time.Time, several []waiting, lost int) waiting {
	n := bot.Notice{Event: eventLost, Severity: bot.SeverityWarning, At: now.UTC(), Title: fmt.Sprintf("%d notices that there was no room for", lost)}
	id := newID(now)
	keys := []string{id}
	if len(several) > 0 {
		first := several[0].Notice
		id = several[0].id + "+" // it takes the first one's turn
		n = bot.Notice{Event: first.Event, Severity: first.Severity, Env: first.Env, At: first.At, Title: fmt.Sprintf("%d × %s", len(several), first.Event)}
		keys = nil
		if lost > 0 {
			n.Title += fmt.Sprintf(", and %d more notices that there was no room for", lost)
		}
	}
	var lines strings.Builder
	for i, w := range several {
		keys = append(keys, w.Notice.Key)
		if ranks[w.Notice.Severity] > ranks[n.Severity] {
			n.Severity = w.Notice.Severity
		}
		if w.Notice.Env != n.Env {
			n.Env.App, n.Env.Env = "", ""
		}
		if i < digestLines {
			fmt.Fprintf(&lines, "- %s\n", bot.Escape(w.Notice.Title, maxTitle))
		}
	}
	if more := len(several) - digestLines; more > 0 {
		fmt.Fprintf(&lines, "- and %d more\n", more)
	}
	if lost > 0 {
		fmt.Fprintf(&lines, "\nToo much happened at once to keep all of it for telling. `berth audit` says what did.\n")
	}
	n.Text, n.Key = lines.String(), "digest:"+digest(strings.Join(keys, "\n"))
	return waiting{Notice: n, At: now.UTC(), Digest: true, id: id}
}
