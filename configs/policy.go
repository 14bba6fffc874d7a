package configs

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// Policy is one rule about requests. It has exactly one of refuse, release,
// quota and approve. Of several that match, the strictest decides.
type Policy struct {
	Name string `yaml:"name" json:"name"` // how refusals and cards call it; no two are the same
	// When says which requests the rule is about, in CEL; all when empty.
	When string `yaml:"when" json:"when,omitempty"`
	// During says when the rule holds; always when empty. It holds while any of
	// these does.
	During []Window `yaml:"during" json:"during,omitempty"`

	Refuse  string   `yaml:"refuse" json:"refuse,omitempty"` // why it cannot be, for people
	Release bool     `yaml:"release" json:"release,omitempty"`
	Quota   *Quota   `yaml:"quota" json:"quota,omitempty"`
	Approve *Approve `yaml:"approve" json:"approve,omitempty"`

	// BreakGlass are who may set the rule aside, by --break-glass and a reason.
	BreakGlass []string `yaml:"break_glass" json:"break_glass,omitempty"`
}

// Window is a time during which a rule holds: one that comes again, by cron and
// for, or one that comes once, by from and until.
type Window struct {
	Cron     string   `yaml:"cron" json:"cron,omitempty"`           // when it begins: minute, hour, day of month, month, day of week
	For      Duration `yaml:"for" json:"for,omitempty"`             // how long it lasts
	TimeZone string   `yaml:"time_zone" json:"time_zone,omitempty"` // of cron: Europe/Berlin; UTC when empty
	From     Time     `yaml:"from" json:"from,omitzero"`            // since ever when empty
	Until    Time     `yaml:"until" json:"until,omitzero"`          // for ever when empty
}

// Quota refuses what would make one environment too many.
type Quota struct {
	Per  string `yaml:"per" json:"per" jsonschema:"enum=app,enum=actor"` // whose environments are counted
	Most int    `yaml:"most" json:"most" jsonschema:"minimum=0"`         // so many may there be at once
}

// Approve asks for the agreement of people. Groups of people are written
// role:NAME, actor:NAME, github-team:ORG/TEAM or codeowners.
type Approve struct {
	Count int         `yaml:"count" json:"count,omitempty" jsonschema:"minimum=1"` // so many people; 1 when absent
	From  []string    `yaml:"from" json:"from,omitempty"`                          // of any of these groups
	All   []Approvers `yaml:"all" json:"all,omitempty"`                            // several at once, in place of count and from; nobody counts for two
	// NotRequester leaves out whoever asked, by whichever account.
	NotRequester bool     `yaml:"not_requester" json:"not_requester,omitempty"`
	Within       Duration `yaml:"within" json:"within,omitempty"` // then the request expires; 72h when absent
	// Remind is after how long those who can decide are reminded, and again each
	// such time; never when absent.
	Remind   Duration  `yaml:"remind" json:"remind,omitempty"`
	Escalate *Escalate `yaml:"escalate" json:"escalate,omitempty"`
	// Deny is veto (when absent), by which one denial ends the request, or
	// majority.
	Deny string `yaml:"deny" json:"deny,omitempty" jsonschema:"enum=veto,enum=majority"`
}

// Approvers are so many people of any of some groups.
type Approvers struct {
	Count int      `yaml:"count" json:"count,omitempty" jsonschema:"minimum=1"` // 1 when absent
	From  []string `yaml:"from" json:"from"`
}

// Escalate lets others agree as well, once a request has waited so long.
type Escalate struct {
	After Duration `yaml:"after" json:"after"`
	To    []string `yaml:"to" json:"to"`
}

// Time is a moment, written as 2026-12-24T08:00:00+01:00.
type Time struct{ time.Time }

// UnmarshalYAML reads a Time. One without its offset from UTC is refused: it
// would be another moment for every reader.
func (t *Time) UnmarshalYAML(n *yaml.Node) error {
	value, err := time.Parse(time.RFC3339, n.Value)
	if err != nil || n.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{lined(n, "%q is no time; write it with its offset from UTC, as 2026-12-24T08:00:00+01:00 or 2026-12-24T07:00:00Z", n.Value)}}
	}
	t.Time = value
	return nil
}
