// Package approvals is what every action passes before it runs: the request,
// its plan, the decisions on it, the queue that it waits in, and the worker that
// runs it. The request's record in Redis is the truth; entries of the queue are
// hints to look at a record again, and may be lost, late or doubled.
package approvals

import (
	"time"

	"github.com/berth-dev/berth/actions"
)

// State is where a request is. It is in one of them at any moment.
type State string

// The states of a request.
const (
	StatePlanning   State = "planning"   // stored and acknowledged; its plan is being made
	StatePending    State = "pending"    // waits for decisions
	StateReleased   State = "released"   // may run; waits for a worker and for its environment
	StateRunning    State = "running"    // a worker holds it
	StateSucceeded  State = "succeeded"  // ended
	StateFailed     State = "failed"     // ended
	StateDenied     State = "denied"     // ended: somebody said no
	StateExpired    State = "expired"    // ended: nobody decided in time
	StateSuperseded State = "superseded" // ended: a newer request for the same environment took its place
	StateCancelled  State = "cancelled"  // ended: withdrawn, or stopped while it ran
	StateRefused    State = "refused"    // ended: a policy, or planning, said that it cannot be
)

// Request is one actor's wish for one action: the thing that is planned,
// approved, queued, run and audited.
type Request struct {
	ID        string        `json:"id"` // a ULID in lower case
	State     State         `json:"state"`
	Order     actions.Order `json:"order"`
	Command   string        `json:"command"` // as it was typed, normalised, without the values of --set: it is shown to everybody, and stays in the audit
	Requester Requester     `json:"requester"`
	Place     Place         `json:"place"`
	Digest    string        `json:"digest,omitempty"`
	Plan      *actions.Plan `json:"plan,omitempty"`    // kept beside the record: Get reads it, List leaves it out
	DryRun    bool          `json:"dry_run,omitempty"` // ends as succeeded once it is planned
	RunID     string        `json:"run_id,omitempty"`
	Reason    string        `json:"reason,omitempty"`    // why it ended as it did, for people
	Left      string        `json:"left,omitempty"`      // actions.Run.Left of its run
	Code      actions.Code  `json:"code,omitempty"`      // of the failure, when it failed or was refused
	Replans   int           `json:"replans,omitempty"`   // times that its digest no longer held when it was to run
	Key       string        `json:"key,omitempty"`       // idempotency key
	Decisions []Decision    `json:"decisions,omitempty"` // on what Digest stands for; planning it again voids them
	Outcome   *Outcome      `json:"outcome,omitempty"`   // what the policy said last; nil before it was asked
	Glass     *Glass        `json:"glass,omitempty"`     // somebody broke the glass: rules that allow it are set aside
	Changed   []string      `json:"changed,omitempty"`   // what differed from the plan that was agreed on before, when it was planned again
	Was       *actions.Plan `json:"was,omitempty"`       // what was agreed on and no longer held, while it is planned again: digest, commit and basis alone
	Stop      *Stop         `json:"stop,omitempty"`      // somebody asked to stop it while it ran
	RetryOf   string        `json:"retry_of,omitempty"`  // the failed request that it asks anew for; Retry's to set
	RetriedAs string        `json:"-"`                   // the request that asks anew for this one, which failed; kept beside the record
	CreatedAt time.Time     `json:"created_at"`
	UpdatedAt time.Time     `json:"updated_at"`
	EndedAt   time.Time     `json:"ended_at,omitzero"`
	Revision  int64         `json:"revision"` // goes up with every change
}

// Automatic tells whether Berth made r by itself, on a schedule or for what
// happened to a pull request, so that nobody waits for it. A place is written by
// the surface alone, and whoever has an account is not Berth, whatever they are
// called, so that nobody can pretend.
func (r *Request) Automatic() bool {
	return r.Place.Surface == "schedule" || r.Place.Surface == "github" && r.Place.Message == "" || r.Requester.Actor == system && r.Requester.Identity == ""
}

// Requester is who asked, as known at that moment.
type Requester struct {
	Actor    string   `json:"actor"`              // the actor's name; ids decide, names are for display
	Identity string   `json:"identity,omitempty"` // "github:ana"
	Roles    []string `json:"roles,omitempty"`
}

// Place is where a request came from and where its progress is told.
type Place struct {
	Surface string `json:"surface"`           // "github", "cli", "api", "slack", …
	ID      string `json:"id,omitempty"`      // of the thing within it: "acme/shop#42", a channel
	Message string `json:"message,omitempty"` // of the message that asked: a comment's id
	Address string `json:"address,omitempty"` // the remote address, for the audit
}

// Stop is somebody's wish that a running request stops.
type Stop struct {
	By     Requester `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Glass is somebody's wish to set the rules aside that they may set aside. It is
// told loudly, and audited.
type Glass struct {
	By     Requester `json:"by"`
	Reason string    `json:"reason"` // never empty
	At     time.Time `json:"at"`     // filled in by Submit and Decide
	// Digest is what it was broken for, when that was planned already: another
	// plan makes it whole again. A request that was made with it keeps it.
	Digest string `json:"digest,omitempty"`
}

// Verdict is what a Decision says.
type Verdict string

// The verdicts.
const (
	Approve Verdict = "approve"
	Deny    Verdict = "deny"
)

// Decision is one person's approve or deny of one request.
type Decision struct {
	Verdict Verdict   `json:"verdict"`
	By      Requester `json:"by"`
	Reason  string    `json:"reason,omitempty"`
	Place   Place     `json:"place"`            // where it was made
	At      time.Time `json:"at"`               // filled in by Decide
	Digest  string    `json:"digest,omitempty"` // what was decided on; where it is given, Decide sees that it still is what would run
	// BreakGlass makes an approve a Glass as well. It needs a Reason.
	BreakGlass bool `json:"break_glass,omitempty"`
}
