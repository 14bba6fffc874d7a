package bot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
)

func TestFactsStandInOneCellOfTheTable(t *testing.T) {
	env := &actions.Environment{Parts: map[string]actions.PartStatus{"web": {Use: "helm", State: "done"}}}
	seen := actions.Observation{Health: actions.Healthy, Renew: "the certificate *.shop ends | soon\n# now @ops"}
	for n := range 10 {
		seen.Facts = append(seen.Facts, actions.Fact{Name: fmt.Sprintf("fact | %d", n), Text: "a; b | <b>c</b>\n| d `e` @ops [x](https://y)"})
	}
	table := partsTable(nil, env, map[string]actions.Observation{"web": seen})
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if len(rows) != 3 {
		t.Fatalf("a fact ends the row:\n%s", table)
	}
	row := rows[2]
	if cells := strings.Count(strings.ReplaceAll(row, `\|`, ""), "|"); cells != 5 {
		t.Errorf("a fact adds cells: %s", row)
	}
	for _, wild := range []string{"@ops", "<b>", "[x](", "`e`"} {
		if strings.Contains(strings.ReplaceAll(row, `\`+wild[:1], ""), wild) {
			t.Errorf("%s is markup: %s", wild, row)
		}
	}
	if !strings.Contains(row, "fact \\| 3 a; b") || strings.Contains(row, "fact \\| 4") || !strings.Contains(row, "; to be renewed: the certificate") {
		t.Errorf("the row is %s", row)
	}
}
