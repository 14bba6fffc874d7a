package bot

import (
	"context"
	"time"

	"github.com/berth-dev/berth/actions"
)

// Severity says how much a Notice matters.
type Severity string

// The severities, from the least.
const (
	SeverityInfo    Severity = "info"
	SeverityWarning Severity = "warning" // somebody should look before long
	SeverityError   Severity = "error"   // something is broken, or was stopped so that nothing breaks
)

// The events that Notices are about. Routes in the config name them.
const (
	EventDeployed    = "environment.deployed"  // a deploy, restore or rollback succeeded
	EventFailed      = "environment.failed"    // an action failed
	EventArchived    = "environment.archived"  // it was archived
	EventCleaned     = "environment.cleaned"   // it was cleaned up
	EventExpiring    = "environment.expiring"  // it is about to be taken away
	EventDrifted     = "environment.drifted"   // it is not what was deployed any more
	EventWaiting     = "request.waiting"       // a request waits for people
	EventGlass       = "request.glass"         // somebody broke the glass
	EventOrphan      = "reconcile.orphan"      // a cluster holds what no environment accounts for
	EventStopped     = "reconcile.stopped"     // a sweep was stopped before it took anything away
	EventUnreachable = "reconcile.unreachable" // a cluster or GitHub could not be seen for some time
	EventMissed      = "schedule.missed"       // ticks of a schedule passed while Berth was away
	EventNotTaken    = "schedule.not_taken"    // a schedule's request was refused, denied or failed
)

// Notice is something that people should hear of without having asked.
type Notice struct {
	Event    string
	Severity Severity
	Env      actions.Name // zero when it is about none
	Request  string       // the id of the request that it is about, if it is about one
	// Key tells this notice from others: one that was told is not told again.
	Key   string
	Title string // one line, plain text
	Text  string // Markdown; user input in it is escaped
	// Commands are what can be typed in answer, without "/" or "/berth":
	// "extend shop/pr-42 --ttl 24h". A surface shows them as it can: lines to
	// type, or buttons.
	Commands []Suggestion
	At       time.Time
}

// Suggestion is a command that answers a Notice.
type Suggestion struct {
	Label   string // "Extend by 24 hours"
	Command string
}

// Notifier tells people. It returns once the notice is stored to be told, so
// that it is told once, whatever becomes of this process.
type Notifier interface {
	Notify(ctx context.Context, n Notice) error
}
