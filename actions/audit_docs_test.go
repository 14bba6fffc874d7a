package actions_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// The program in docs/audit.md, which others write theirs after, says the same
// of an export as Berth does.
func TestTheVerifierInTheDocsWorks(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	page, err := os.ReadFile("../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(page)
	if program == nil {
		t.Fatal("docs/audit.md holds no program")
	}
	good := append(chain(t, pr1, 1, 3), chain(t, shop42, 2, 3)...)
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"a good export":        {good, ""},
		"a record was removed": {append(good[:1:1], good[2:]...), "line 2: record 3 of shop/pr-1 is not as it was written\n"},
		"a record was changed": {append([]string{strings.Replace(good[0], "ana", "eve", 1)}, good[1:]...), "line 1: record 1 of shop/pr-1 is not as it was written\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), python, "-c", string(program[1]))
			cmd.Stdin = strings.NewReader(strings.Join(c.lines, "\n") + "\n")
			out, err := cmd.CombinedOutput()
			if string(out) != c.want || (err != nil) != (c.want != "") {
				t.Errorf("it said %q (%v), want %q", out, err, c.want)
			}
		})
	}
}
