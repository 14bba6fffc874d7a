package main

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/approvals/policy"
	"github.com/berth-dev/berth/configs"
)

// TestFaultsOfPolicies holds that every mistake of a condition or a window is
// found when the config is read, with its line, and once.
func TestFaultsOfPolicies(t *testing.T) {
	tests := map[string]struct {
		yaml string
		want []string // "path@line"
		says string
	}{
		"nothing is wrong": {yaml: "policies:\n  - name: one\n    when: request.verb == \"deploy\"\n    release: true\n"},
		"an unknown field": {
			yaml: "policies:\n  - name: one\n    release: true\n    when: request.verbb == \"deploy\"\n",
			want: []string{"policies[0].when@4"}, says: `column 8: request has no field "verbb"; did you mean "verb"?`,
		},
		"a condition of several lines": {
			yaml: "policies:\n  - name: one\n    release: true\n    when: |\n      plan.destructive &&\n        actor.nam == \"ana\"\n",
			want: []string{"policies[0].when@4"}, says: "line 2, column 8 of the expression",
		},
		"each of several": {
			yaml: "policies:\n  - {name: one, when: request.verb, release: true}\n  - {name: two, when: 1 ==, release: true}\n",
			want: []string{"policies[0].when@2", "policies[1].when@3"},
		},
		"a schedule and a zone that are none": {
			yaml: "policies:\n  - name: one\n    refuse: No.\n    during:\n      - {cron: 0 25 * * *, for: 1h}\n      - {cron: 0 1 * * *, for: 1h, time_zone: Mars}\n",
			want: []string{"policies[0].during[0].cron@5", "policies[0].during[1].time_zone@6"},
		},
		"a window without its length is told once": {
			yaml: "policies:\n  - name: one\n    refuse: No.\n    during: [{cron: 0 1 * * *}, {}]\n",
			want: []string{"policies[0].during[0].for@4", "policies[0].during[1]@4"},
		},
		"a rule without an effect is told once": {yaml: "policies:\n  - name: one\n", want: []string{"policies[0]@2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := configs.Parse([]byte(test.yaml), checkPolicies)
			var got []string
			if faults, ok := errors.AsType[configs.Faults](err); ok {
				for _, f := range faults {
					got = append(got, f.Path+"@"+strconv.Itoa(f.Line))
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("faults\n got %q\nwant %q\n%v", got, test.want, err)
			}
			if err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q does not say %q", err, test.says)
			}
		})
	}
}

// TestTheDocumentedPolicies holds that what docs/policies.md shows is what Berth
// takes.
func TestTheDocumentedPolicies(t *testing.T) {
	const before = "github: {webhook_secret: {env: A}, token: {env: B}}\nactors: [{name: ana, roles: [sre]}]\n"
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(policies:.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 2 {
		t.Fatalf("%d examples were found", len(blocks))
	}
	for _, block := range blocks {
		if _, err := configs.Parse([]byte(before+block[1]), checkPolicies); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
}

// TestTheDocumentedNames holds that docs/policies.md names everything that a
// condition can use.
func TestTheDocumentedNames(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, facts := range []any{policy.RequestFacts{}, policy.EnvironmentFacts{}, policy.AppFacts{}, policy.ActorFacts{}, policy.PlanFacts{}, policy.PartFacts{}, policy.ResourceFacts{}, policy.CommitFacts{}} {
		for f := range reflect.TypeOf(facts).Fields() {
			if name := f.Tag.Get("cel"); !regexp.MustCompile(`[.{ ]` + name + "[`,}]").Match(text) {
				t.Errorf("the name %s of %T is not there", name, facts)
			}
		}
	}
}
