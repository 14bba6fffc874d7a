package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/approvals/policy"
	"github.com/berth-dev/berth/configs"
)

// newPolicies makes the policy that the config describes. groups are by the
// prefix of how rules write them: "github-team", "codeowners".
func newPolicies(c *configs.Config, people approvals.People, groups map[string]policy.Groups, store *actions.Store, requests policy.Requests, apps actions.Catalog, now func() time.Time, log *slog.Logger) (*policy.Engine, error) {
	return policy.New(policy.Options{
		Rules: policyRules(c), People: people, Groups: groups, Apps: apps, Environments: store, Requests: requests, Now: now, Log: log,
	})
}

// policyRules copies the rules out of the config.
func policyRules(c *configs.Config) []policy.Rule {
	var rules []policy.Rule
	for _, p := range c.Policies {
		rule := policy.Rule{Name: p.Name, When: p.When, Refuse: strings.TrimSpace(p.Refuse), Release: p.Release, BreakGlass: p.BreakGlass}
		for _, w := range p.During {
			rule.During = append(rule.During, policy.Window{
				Cron: w.Cron, For: time.Duration(w.For), TimeZone: w.TimeZone, From: w.From.UTC(), Until: w.Until.UTC(),
			})
		}
		if p.Quota != nil {
			rule.Quota = &policy.Quota{Per: policy.Per(p.Quota.Per), Most: p.Quota.Most}
		}
		if p.Approve != nil {
			rule.Approve = policyApprove(p.Approve)
		}
		rules = append(rules, rule)
	}
	return rules
}

func policyApprove(a *configs.Approve) *policy.Approve {
	out := &policy.Approve{
		NotRequester: a.NotRequester, Majority: a.Deny == "majority", Within: time.Duration(a.Within), Remind: time.Duration(a.Remind),
	}
	if out.Within == 0 {
		out.Within = configs.DefaultWithin
	}
	if a.Escalate != nil {
		out.Escalate = &policy.Escalate{After: time.Duration(a.Escalate.After), To: a.Escalate.To}
	}
	needs := a.All
	if len(needs) == 0 {
		needs = []configs.Approvers{{Count: a.Count, From: a.From}}
	}
	for _, need := range needs {
		out.Needs = append(out.Needs, policy.Need{Count: max(need.Count, 1), From: need.From})
	}
	return out
}

// checkPolicies finds the faults of conditions and of the schedules and time
// zones of windows. How the rest of a rule is written is checked by package
// configs, so that it is not told twice.
func checkPolicies(c *configs.Config) configs.Faults {
	var faults configs.Faults
	for _, f := range policy.Check(policyRules(c)) {
		if f.Path == "when" || strings.HasSuffix(f.Path, ".cron") || strings.HasSuffix(f.Path, ".time_zone") {
			faults = append(faults, configs.Fault{Path: fmt.Sprintf("policies[%d].%s", f.Rule, f.Path), Msg: f.Msg})
		}
	}
	return faults
}
