package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/configs"
)

const (
	exampleConfig = "../../configs/example.yaml"
	exampleCases  = "../../configs/policies_test.yaml"
)

// policyTest runs `berth policy test` and returns what it prints and its error.
func policyTest(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newPolicy()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"test"}, args...))
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestTheExamplesCases(t *testing.T) {
	out, err := policyTest(t, exampleCases, "--config", exampleConfig)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "ok    a pull request is deployed at once\n") || !strings.HasSuffix(out, " 0 not.\n") {
		t.Errorf("it prints\n%s", out)
	}
}

// cases writes a file of cases.
func cases(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policies_test.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCasesThatFail(t *testing.T) {
	path := cases(t, `
now: 2026-11-18T10:00:00Z
cases:
  - {name: a wrong guess, as: cy, command: cleanup shop/demo, want: {effect: release, rules: [weekend-freeze], missing: 0}}
  - {name: another word, as: cy, command: cleanup shop/demo, want: {effect: approve, reason: the moon}}
  - {name: a right one, as: cy, command: cleanup shop/demo, want: {effect: approve}}
`)
	out, err := policyTest(t, path, "--config", exampleConfig)
	if exitCode(err) != exitFailed || complaint(err) != "" {
		t.Errorf("exit code %d, and %q is said", exitCode(err), complaint(err))
	}
	const want = `FAIL  a wrong guess
      effect
        want release
        got  approve
      rules
        want weekend-freeze
        got  cleanup-needs-sre
      missing
        want 0
        got  1
      it says: The rule cleanup-needs-sre needs 1 more approval from the role sre (not from cy, who asked), by Wed 18 Nov 14:00 UTC.
FAIL  another word
      reason
        want the moon
        got  The rule cleanup-needs-sre needs 1 more approval from the role sre (not from cy, who asked), by Wed 18 Nov 14:00 UTC.
ok    a right one
3 cases: 1 as expected, 2 not.
`
	if out != want {
		t.Errorf("it prints\n%s\nwant\n%s", out, want)
	}
	out, err = policyTest(t, path, "--config", exampleConfig, "-o", "json")
	var report casesReport
	if bad := json.Unmarshal([]byte(out), &report); bad != nil || exitCode(err) != exitFailed {
		t.Fatalf("%v, exit code %d", bad, exitCode(err))
	}
	if report.Passed != 1 || report.Failed != 2 || report.Cases[0].Differences[0] != (caseDifference{Of: "effect", Want: "release", Got: "approve"}) {
		t.Errorf("it prints\n%s", out)
	}
}

func TestFaultsOfCases(t *testing.T) {
	tests := map[string]struct {
		yaml string
		want []string // "path@line"
		says string
	}{
		"no case":                       {yaml: "now: 2026-11-18T10:00:00Z\n", want: []string{"cases@0"}},
		"an unknown key":                {yaml: "cases:\n- {name: a, now: 2026-11-18T10:00:00Z, as: ana, command: deploy shop/pr-1, wants: {effect: release}, want: {effect: release}}\n", want: []string{"cases[0].wants@2"}, says: `did you mean "want"`},
		"nothing that is needed":        {yaml: "cases:\n  - {}\n", want: []string{"cases[0].name@2", "cases[0].now@2", "cases[0].command@2", "cases[0].as@2", "cases[0].want.effect@2"}},
		"a verb that is none":           {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: ana, command: deplyo shop/pr-1, want: {effect: release}}\n", want: []string{"cases[0].command@3"}, says: "deploy"},
		"a command that is no action":   {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: ana, command: list, want: {effect: release}}\n", want: []string{"cases[0].command@3"}},
		"an app that there is not":      {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: ana, command: deploy blog/pr-1, want: {effect: release}}\n", want: []string{"cases[0].command@3"}},
		"somebody whom nobody knows":    {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: annna, command: deploy shop/pr-1, decisions: [{by: zed}], want: {effect: release}}\n", want: []string{"cases[0].as@3", "cases[0].decisions[0].by@3"}},
		"a rule that there is not":      {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: ana, command: deploy shop/pr-1, want: {effect: release, rules: [weekend-freze]}}\n", want: []string{"cases[0].want.rules[0]@3"}, says: "did you mean weekend-freeze"},
		"an effect that is none":        {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: ana, command: deploy shop/pr-1, want: {effect: allow}}\n", want: []string{"cases[0].want.effect@3"}},
		"two cases of the same name":    {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: ana, command: deploy shop/pr-1, want: {effect: release}}\n  - {name: a, as: ana, command: deploy shop/pr-1, want: {effect: release}}\n", want: []string{"cases[1].name@4"}},
		"an environment without a name": {yaml: "now: 2026-11-18T10:00:00Z\ncases:\n  - {name: a, as: ana, command: deploy shop/pr-1, environments: [{state: running}], want: {effect: release}}\n", want: []string{"cases[0].environments[0].name@3", "cases[0].environments[0].state@3"}},
	}
	cfg, apps, err := loadConfig(exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := readCases([]byte(test.yaml), cfg, apps)
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
	if out, err := policyTest(t, cases(t, "cases: 1\n"), "--config", exampleConfig); exitCode(err) != exitUsage {
		t.Errorf("exit code %d for a file that is none: %s %v", exitCode(err), out, err)
	}
	if out, err := policyTest(t, "no-such-file", "--config", exampleConfig); exitCode(err) != exitUsage {
		t.Errorf("exit code %d for a file that is not there: %s %v", exitCode(err), out, err)
	}
}

func FuzzCases(f *testing.F) {
	raw, err := os.ReadFile(exampleCases)
	if err != nil {
		f.Fatal(err)
	}
	cfg, apps, err := loadConfig(exampleConfig)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("cases: [{decisions: [{}], environments: [{}], plan: {parts: [{}]}, want: {missing: -1}}]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := readCases(raw, cfg, apps)
		if err != nil {
			return
		}
		if _, err := file.run(t.Context(), cfg, apps); err != nil {
			t.Errorf("cases that were read cannot be run: %v", err)
		}
	})
}
