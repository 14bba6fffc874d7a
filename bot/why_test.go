package bot

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/approvals"
)

func TestWhatIsLackingIsSaid(t *testing.T) {
	group := approvals.GroupOutcome{Count: 2, From: []string{"role:sre", "github-team:acme/ops"}, By: []string{"ben"}, Missing: 1}
	rule := approvals.RuleOutcome{Rule: "needs-sre", Effect: approvals.EffectApprove, Groups: []approvals.GroupOutcome{group}, Reason: "The rule needs-sre needs 1 more."}
	blind := rule
	blind.Reason += " Who belongs to github-team:acme/ops could not be asked just now."
	two := rule
	two.Groups = append(two.Groups, approvals.GroupOutcome{Count: 1, From: []string{"codeowners"}, Missing: 1})
	for name, c := range map[string]struct {
		reason string
		rules  []approvals.RuleOutcome
		want   string
	}{
		"no rule, but a reason":            {"One person must agree.", nil, "One person must agree."},
		"nothing at all":                   {"", nil, "It waits on."},
		"one group":                        {rule.Reason, []approvals.RuleOutcome{rule}, "It waits for 1 more of `role:sre` or `github-team:acme/ops` (approved so far: ben)."},
		"two groups":                       {rule.Reason, []approvals.RuleOutcome{two}, "It waits for 1 more of `role:sre` or `github-team:acme/ops` (approved so far: ben) and for 1 of `codeowners`."},
		"a team that could not be seen":    {blind.Reason, []approvals.RuleOutcome{blind}, "(approved so far: ben). Who belongs to github-team:acme/ops could not be asked just now."},
		"policies that could not tell":     {"Redis did not answer.", []approvals.RuleOutcome{rule}, "(approved so far: ben). Redis did not answer."},
		"a majority that is not there yet": {"More yes than no.", []approvals.RuleOutcome{{Rule: "vote", Effect: approvals.EffectApprove}}, "More yes than no."},
	} {
		t.Run(name, func(t *testing.T) {
			r := &approvals.Request{State: approvals.StatePending, Reason: c.reason, Outcome: &approvals.Outcome{Effect: approvals.EffectApprove, Rules: c.rules}}
			if got := lacking(r); !strings.HasSuffix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRulesInWords(t *testing.T) {
	at := time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	for want, rule := range map[string]approvals.RuleOutcome{
		"lets it run.": {Effect: approvals.EffectRelease},
		"has what it asks for: 1 of `role:sre` (approved: ben).": {
			Effect: approvals.EffectRelease, Groups: []approvals.GroupOutcome{{Count: 1, From: []string{"role:sre"}, By: []string{"ben"}}}},
		"refuses it: No deploys over the weekend \\@<b>.": {Effect: approvals.EffectRefuse, Reason: "No deploys over the weekend @<b>."},
		"counts it as denied.":                            {Effect: approvals.EffectDeny},
		"gave it up: nobody came.":                        {Effect: approvals.EffectExpire, Reason: "nobody came"},
		"was set aside by ana, who broke the glass.":      {Effect: approvals.EffectRelease, BrokenBy: "ana"},
		"asks for 2 of `role:sre` (approved so far: ben; against: dan), not counting whoever asked; the majority decides. It waited too long and was escalated; who was added may agree as well. Reminded 2 times. Expires 2026-11-23 07:00 UTC unless it is decided by then.": {
			Effect: approvals.EffectApprove, NotRequester: true, Majority: true, Escalated: true, Reminders: 2, ExpiresAt: at,
			Groups: []approvals.GroupOutcome{{Count: 2, From: []string{"role:sre"}, By: []string{"ben"}, Against: []string{"dan"}, Missing: 1}}},
	} {
		if got := ruleText(rule); strings.ReplaceAll(Unescape(got), "`", "") != strings.ReplaceAll(Unescape(want), "`", "") {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
