// Package bot holds the use cases of Berth: what a person or machine can ask
// for, whichever surface they ask on. A surface turns what it hears into an
// Input, and what comes back into words; it decides nothing.
package bot

import (
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// Actor is a person or machine that asks.
type Actor struct {
	// ID is the same for all accounts of one person (approvals.Person.ID). A
	// surface that leaves it empty has it filled in where it matters.
	ID       string
	Name     string   // as configured, else the identity's own name
	Identity string   // "github:ana", "token:ci"
	Roles    []string // as configured, and those that the surface proved
}

// RoleViewer lets a token read and nothing else. Any other role lets it ask.
const RoleViewer = "viewer"

// Input is one line that somebody typed somewhere.
type Input struct {
	Line  string // "deploy shop/pr-42 --ref abc", without "/" or "/berth"
	Actor Actor
	Place approvals.Place
	// Private tells that nobody but the actor reads the answer.
	Private bool
	// Repo and PullRequest are what the place implies: a command on a pull
	// request needs no target.
	Repo        string
	PullRequest int
	Fork        bool // the pull request's head is in another repository
	// Apps are those that a channel of chat is for: in a channel of one app its
	// environments need no app, and no other app is reached. Verbs are what may be
	// asked for there. Empty means all.
	Apps  []string
	Verbs []string
	// At is when the line was typed, where the surface says so, and Digest the plan
	// that was shown to whoever decides: nobody's yes counts for a plan that was
	// made after it.
	At     time.Time
	Digest string
	// Key makes the input one request however often it arrives; "" makes each
	// arrival its own.
	Key string
}

// Tone tells a surface how to present a Reply.
type Tone string

// The tones.
const (
	ToneAccepted Tone = "accepted" // a request was made; its progress will be told
	ToneInfo     Tone = "info"     // an answer
	ToneRefused  Tone = "refused"  // nothing runs, and Text says why and who can help
)

// Reply is the answer to an Input. Its Text is GitHub-flavoured Markdown in
// plain words; user input in it is already escaped.
type Reply struct {
	Tone         Tone
	Code         actions.Code // when refused
	Text         string
	Request      *approvals.Request     // when accepted, or asked about
	Environment  *actions.Environment   // status
	Environments []*actions.Environment // list
}
