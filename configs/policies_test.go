package configs

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestPolicyFaults(t *testing.T) {
	const people = "actors: [{name: ana, roles: [sre]}]\npolicies:\n"
	tests := map[string]struct {
		rule string // the third line and what follows
		want []string
		says string
	}{
		"a rule that asks for one of a role":      {rule: "- {name: one, approve: {from: [role:sre]}}"},
		"a rule that comes again":                 {rule: "- {name: freeze, during: [{cron: '0 16 * * FRI', for: 64h}], refuse: No.}"},
		"a rule that comes once":                  {rule: "- {name: freeze, during: [{from: 2026-12-24T00:00:00Z}], refuse: No.}"},
		"an unknown key":                          {rule: "- name: one\n  aprove: {from: [role:sre]}", want: []string{"policies[0]@3", "policies[0].aprove@4"}, says: `did you mean "approve"`},
		"no effect":                               {rule: "- {name: one}", want: []string{"policies[0]@3"}},
		"two effects":                             {rule: "- {name: one, release: true, refuse: No.}", want: []string{"policies[0]@3"}, says: "refuse and release"},
		"a refusal without a word":                {rule: "- {name: one, refuse: ' '}", want: []string{"policies[0].refuse@3"}},
		"a release that does not":                 {rule: "- {name: one, release: false}", want: []string{"policies[0].release@3"}},
		"two rules of one name":                   {rule: "- {name: one, release: true}\n- {name: one, release: true}", want: []string{"policies[1].name@4"}},
		"a rule without a name":                   {rule: "- {release: true}", want: []string{"policies[0].name@3"}},
		"a mistyped prefix gets the nearest":      {rule: "- {name: one, approve: {from: [rol:sre]}}", want: []string{"policies[0].approve.from[0]@3"}, says: "did you mean role, as in role:sre"},
		"a prefix in the plural":                  {rule: "- {name: one, approve: {from: ['roles:sre']}}", want: []string{"policies[0].approve.from[0]@3"}, says: "did you mean role"},
		"a team by another name":                  {rule: "- {name: one, approve: {from: ['team:acme/ops']}}", want: []string{"policies[0].approve.from[0]@3"}, says: "github-team:acme/ops"},
		"a role without its prefix":               {rule: "- {name: one, approve: {from: [sre]}}", want: []string{"policies[0].approve.from[0]@3"}, says: "did you mean role:sre"},
		"a mistyped role":                         {rule: "- {name: one, approve: {from: ['role:srr']}}", want: []string{"policies[0].approve.from[0]@3"}, says: `did you mean "sre"`},
		"a role that nobody has yet":              {rule: "- {name: one, approve: {from: ['role:night-shift']}}"},
		"an actor that is nobody":                 {rule: "- {name: one, approve: {from: ['actor:zoe']}}", want: []string{"policies[0].approve.from[0]@3"}},
		"a team without GitHub":                   {rule: "- {name: one, approve: {from: ['github-team:acme/ops']}}", want: []string{"policies[0].approve.from[0]@3"}, says: "needs the section github"},
		"owners of the code of something":         {rule: "- {name: one, approve: {from: ['codeowners:acme']}}", want: []string{"policies[0].approve.from[0]@3"}},
		"a group of Slack without its section":    {rule: "- {name: one, approve: {from: ['slack-group:S1']}}", want: []string{"policies[0].approve.from[0]@3"}, says: "section slack"},
		"a role of Discord without its guild":     {rule: "- {name: one, approve: {from: ['discord-role:1']}}", want: []string{"policies[0].approve.from[0]@3"}, says: "GUILD/ROLE"},
		"nobody may agree":                        {rule: "- {name: one, approve: {count: 1}}", want: []string{"policies[0].approve.from@3"}},
		"a count of none":                         {rule: "- {name: one, approve: {count: 0, from: [role:sre]}}", want: []string{"policies[0].approve.count@3"}},
		"more than the people there are":          {rule: "- {name: one, approve: {count: 2, from: [actor:ana]}}", want: []string{"policies[0].approve.count@3"}},
		"several groups and one":                  {rule: "- {name: one, approve: {count: 1, all: [{from: [role:sre]}]}}", want: []string{"policies[0].approve.all@3"}},
		"a group of nobody within several":        {rule: "- name: one\n  approve:\n    all:\n      - {from: [role:sre]}\n      - {count: 2}", want: []string{"policies[0].approve.all[1].from@7"}},
		"an escalation after the end":             {rule: "- {name: one, approve: {from: [role:sre], within: 1h, escalate: {after: 1h, to: [role:sre]}}}", want: []string{"policies[0].approve.escalate.after@3"}},
		"an escalation to nobody":                 {rule: "- {name: one, approve: {from: [role:sre], escalate: {after: 1h}}}", want: []string{"policies[0].approve.escalate.to@3"}},
		"an empty approve":                        {rule: "- name: one\n  approve:", want: []string{"policies[0].approve@4"}},
		"a denial that is neither":                {rule: "- {name: one, approve: {from: [role:sre], deny: maybe}}", want: []string{"policies[0].approve.deny@3"}},
		"reminders every second":                  {rule: "- {name: one, approve: {from: [role:sre], remind: 1s}}", want: []string{"policies[0].approve.remind@3"}},
		"glass before nothing":                    {rule: "- {name: one, release: true, break_glass: [role:sre]}", want: []string{"policies[0].break_glass@3"}},
		"a quota of something else":               {rule: "- {name: one, quota: {per: team}}", want: []string{"policies[0].quota.per@3", "policies[0].quota.most@3"}},
		"a window without its length":             {rule: "- {name: one, during: [{cron: '0 0 * * *'}], refuse: No.}", want: []string{"policies[0].during[0].for@3"}},
		"a window of both kinds":                  {rule: "- {name: one, during: [{cron: '0 0 * * *', from: 2026-12-24T00:00:00Z}], refuse: No.}", want: []string{"policies[0].during[0]@3"}},
		"a window that ends before it begins":     {rule: "- {name: one, during: [{from: 2026-12-24T00:00:00Z, until: 2026-12-23T00:00:00Z}], refuse: No.}", want: []string{"policies[0].during[0].until@3"}},
		"a time that is another one for everyone": {rule: "- name: one\n  refuse: No.\n  during:\n    - from: 2026-12-24", want: []string{"policies[0].during[0].from@6", "policies[0].during[0]@6"}, says: "offset"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(people + test.rule + "\n"))
			var got []string
			if faults, ok := errors.AsType[Faults](err); ok {
				for _, f := range faults {
					got = append(got, f.Path+"@"+strconv.Itoa(f.Line))
				}
			} else if err != nil {
				t.Fatalf("error is %T: %v", err, err)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("faults\n got %q\nwant %q\n%v", got, test.want, err)
			}
			if err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("the fault %q does not say %q", err, test.says)
			}
		})
	}
}

func TestTheExamplesPolicies(t *testing.T) {
	c, err := Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	freeze := c.Policies[0]
	if got := time.Duration(freeze.During[0].For); got != 64*time.Hour {
		t.Errorf("the freeze lasts %v", got)
	}
	if got := freeze.During[1].From.UTC().Format(time.RFC3339); got != "2026-12-23T11:00:00Z" {
		t.Errorf("the holidays begin at %v", got)
	}
	if got := c.Clusters["staging"].Limit; got != 10 {
		t.Errorf("the cluster's limit is %d", got)
	}
}

func TestLimitFaults(t *testing.T) {
	_, err := Parse([]byte("clusters:\n  staging: {limit: -1}\nplugins:\n  helm: {path: berth-helm, limit: -2}\n"))
	faults, ok := errors.AsType[Faults](err)
	if !ok || len(faults) != 2 || faults[0].Path != "clusters.staging.limit" || faults[1].Path != "plugins.helm.limit" {
		t.Errorf("faults %v", err)
	}
}

// FuzzGroup holds that whatever is no group of people is a fault that says so,
// and that what is one names something after its prefix.
func FuzzGroup(f *testing.F) {
	for _, group := range []string{"role:sre", "actor:ana", "github-team:acme/ops", "codeowners", "slack-group:S1", "rol:sre", "", ":", "role:", "github-team:acme/ops/x", "codeowners:", "Ｒole:x"} {
		f.Add(group)
	}
	c := &Config{GitHub: &GitHub{}, Actors: []Actor{{Name: "ana", Roles: []string{"sre"}}}}
	f.Fuzz(func(t *testing.T, group string) {
		why := groupFault(c, group)
		prefix, rest, _ := strings.Cut(group, ":")
		if _, known := groupPatterns[prefix]; !known && why == "" {
			t.Fatalf("%q is taken for a group", group)
		}
		if why == "" && group != "codeowners" && (rest == "" || strings.ContainsAny(rest, " \n\t")) {
			t.Fatalf("%q is taken for a group", group)
		}
		if why != "" && strings.HasPrefix(why, " ") {
			t.Fatalf("the fault of %q is %q", group, why)
		}
	})
}
