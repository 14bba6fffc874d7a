// Package policy decides what a request needs before it may run: rules with
// conditions in CEL, freezes, quotas and the agreement of people. It reads a
// snapshot of what is known and answers with data that says why; it changes
// nothing, and keeps nothing but the rules.
package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// Rule is one rule about requests. Exactly one of Refuse, Release, Quota and
// Approve is set.
type Rule struct {
	Name   string
	When   string   // which requests it is about, in CEL; "" means all
	During []Window // when it holds: while any does; none means always

	Refuse  string // why the request cannot be, for people
	Release bool
	Quota   *Quota
	Approve *Approve

	BreakGlass []string // groups whose people may set the rule aside
}

// Window is a time: one that comes again (Cron, For, TimeZone) or one that comes
// once (From, Until).
type Window struct {
	Cron        string        // five fields
	For         time.Duration // as a clock that runs on measures it, also where the day has 23 or 25 hours
	TimeZone    string        // IANA name; "" means UTC
	From, Until time.Time     // zero means since ever, for ever; Until itself is outside
}

// Per says whose environments a Quota counts.
type Per string

// What quotas count by.
const (
	PerApp   Per = "app"
	PerActor Per = "actor"
)

// Quota refuses what would make one environment too many.
type Quota struct {
	Per  Per
	Most int
}

// Approve asks for the agreement of people.
type Approve struct {
	Needs        []Need // each must be met, and nobody counts for two
	NotRequester bool
	Majority     bool          // one denial is no veto
	Within       time.Duration // then the request expires; 0 means DefaultWithin
	Remind       time.Duration // 0 means never
	Escalate     *Escalate     // nil means never
}

// Need is so many people of any of some groups, which are written "role:NAME",
// "actor:NAME", "github-team:ORG/TEAM", "codeowners", "slack-group:ID" or
// "discord-role:GUILD/ROLE".
type Need struct {
	Count int // 0 means 1
	From  []string
}

// Escalate lets people of other groups count as well after a while.
type Escalate struct {
	After time.Duration
	To    []string
}

// DefaultWithin is how long a request waits for people when its rule does not
// say.
const DefaultWithin = 72 * time.Hour

// Groups finds out who belongs to groups that Berth's config does not hold.
type Groups interface {
	// Member tells whether p belongs to group, as things are now; group is what
	// follows the prefix and its colon. An error means that it could not be
	// seen, which is no membership and no refusal either.
	Member(ctx context.Context, group string, r *approvals.Request, p approvals.Person) (bool, error)
}

// Environments reads the records of environments; *actions.Store is one.
type Environments interface {
	Environment(ctx context.Context, name actions.Name) (*actions.Environment, error)
	Environments(ctx context.Context, f actions.EnvFilter) (items []*actions.Environment, next string, err error)
}

// Requests lists the requests of an app that have not ended, "" for those of all
// apps; *approvals.Requests is one.
type Requests interface {
	Active(ctx context.Context, app string) ([]*approvals.Request, error)
}

// version is a hash over all rules, the same wherever the same rules are read.
func version(rules []Rule) (string, error) {
	text, err := json.Marshal(rules)
	if err != nil {
		return "", err
	}
	// 64 bits tell any two configs apart, and every waiting request keeps them.
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}
