package approvals

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Effect is what a policy wants to become of a request.
type Effect string

// The effects, the strictest last: of several rules that match, the strictest
// decides.
const (
	EffectRelease Effect = "release" // it may run
	EffectApprove Effect = "approve" // it may once enough of the right people agreed
	EffectExpire  Effect = "expire"  // they did not within their time
	EffectDeny    Effect = "deny"    // enough of them said no
	EffectRefuse  Effect = "refuse"  // it may not, whoever agrees
)

// Outcome is a policy's answer, as data: what decides is also what cards,
// comments, `explain` and the audit show.
type Outcome struct {
	Effect Effect `json:"effect"`
	// Reason is a sentence or two for people, needed unless Effect is
	// EffectRelease: which rule, what is missing, who can give it.
	Reason string `json:"reason,omitempty"`
	// Rules are those that matched, in the order of the config, with what each
	// says by itself. None means that no rule is about this request.
	Rules []RuleOutcome `json:"rules,omitempty"`
	// Again is when time alone may change the outcome (a reminder, an escalation,
	// an expiry, the end of a window); zero means never.
	Again time.Time `json:"again,omitzero"`
	// Version tells policies apart: a hash over all rules. "" for a policy that
	// never changes.
	Version string `json:"version,omitempty"`
}

// RuleOutcome is what one rule that matched says.
type RuleOutcome struct {
	Rule   string `json:"rule"`
	Effect Effect `json:"effect"` // what it wants by itself, now
	Reason string `json:"reason,omitempty"`
	// Groups are whose approvals an approve rule asks for; each must be met.
	Groups       []GroupOutcome `json:"groups,omitempty"`
	NotRequester bool           `json:"not_requester,omitempty"`
	Majority     bool           `json:"majority,omitempty"` // one denial does not end it; else each is a veto
	ExpiresAt    time.Time      `json:"expires_at,omitzero"`
	RemindAt     time.Time      `json:"remind_at,omitzero"` // when the next reminder is due
	Reminders    int            `json:"reminders,omitempty"`
	Escalated    bool           `json:"escalated,omitempty"` // its time ran out, and others may agree as well
	// Ignored are decisions that do not count for this rule, and why.
	Ignored []Ignored `json:"ignored,omitempty"`
	// BreakGlass are the groups whose people may set the rule aside, for a reason;
	// BrokenBy is who did.
	BreakGlass []string `json:"break_glass,omitempty"`
	BrokenBy   string   `json:"broken_by,omitempty"`
}

// GroupOutcome is how far one group of approvers is.
type GroupOutcome struct {
	Count   int      `json:"count"`             // so many must agree
	From    []string `json:"from"`              // of these: "role:sre", "github-team:acme/ops", "actor:ana"
	By      []string `json:"by,omitempty"`      // who agreed and counts, each person once
	Against []string `json:"against,omitempty"` // who said no and counts
	Missing int      `json:"missing,omitempty"` // so many more must agree
}

// Ignored is a decision that does not count.
type Ignored struct {
	By      string  `json:"by"`
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why"` // "asked for it themselves", "is in none of role:sre, role:db any more"
	// Identity tells whose decision it is.
	Identity string `json:"identity,omitempty"`
}

// Counts tells whether the decision of identity counts for some rule. When it
// counts for none, why says why not.
func (o *Outcome) Counts(identity string) (counts bool, why string) {
	for _, rule := range o.Rules {
		if len(rule.Groups) == 0 || rule.BrokenBy != "" {
			continue
		}
		i := slices.IndexFunc(rule.Ignored, func(i Ignored) bool { return i.Identity == identity })
		if i < 0 {
			return true, ""
		}
		why = rule.Ignored[i].Why
	}
	return why == "", why
}

// weighs tells whether some rule weighs decisions at all.
func (o *Outcome) weighs() bool {
	return slices.ContainsFunc(o.Rules, func(r RuleOutcome) bool { return len(r.Groups) > 0 })
}

// names are the rules that matched, for the audit: "cleanup-needs-sre approve, freeze release (broken by ana)".
func (o *Outcome) names() string {
	texts := make([]string, len(o.Rules))
	for i, r := range o.Rules {
		texts[i] = r.Rule + " " + string(r.Effect)
		if r.BrokenBy != "" {
			texts[i] += " (broken by " + r.BrokenBy + ")"
		}
	}
	return strings.Join(texts, ", ")
}

// Policy says what a planned request needs before it may run. It is asked when
// the plan is made, with each decision, when Outcome.Again has come, when the
// policies changed, and once more right before the request runs. An error means
// that it could not tell, which releases nothing: one that can be retried is,
// and any other is told to those who wait.
//
// It reads the request's Decisions and Glass and must not change the request.
type Policy interface {
	Evaluate(ctx context.Context, r *Request) (Outcome, error)
}

// ReleaseAtOnce is the policy that lets everything run.
type ReleaseAtOnce struct{}

// Evaluate releases r.
func (ReleaseAtOnce) Evaluate(context.Context, *Request) (Outcome, error) {
	return Outcome{Effect: EffectRelease}, nil
}

// Person is who an account belongs to. Ids decide; names are for display.
type Person struct {
	// ID is the same for all accounts of one person: "actor:ana" for one that the
	// config names, else the identity that the accounts were linked to first.
	ID         string
	Name       string   // for display
	Roles      []string // as the config says now; empty for somebody that it does not name
	Identities []string // all accounts: "github:ana", "token:ana", sorted
}

// People finds out whose account an identity is. It is asked anew for each
// evaluation, so that somebody who lost a role, or linked a second account,
// counts as who they are now.
type People interface {
	Person(ctx context.Context, identity string) (Person, error)
}
