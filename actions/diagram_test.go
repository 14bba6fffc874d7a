package actions_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
)

var update = flag.Bool("update", false, "write the files that tests compare with anew")

// The page on states shows the table itself, between two markers.
func TestDiagramInTheDocsIsThatOfTheTable(t *testing.T) {
	const page, from, to = "../docs/states.md", "<!-- generated: go test ./actions -run Diagram -update -->\n", "<!-- end -->"
	var b bytes.Buffer
	b.WriteString("\n```mermaid\n")
	if err := actions.WriteStateDiagram(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("```\n\n")
	if err := actions.WriteStateTable(&b); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), from)
	shown, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has lost its markers", page)
	}
	if shown == b.String() {
		return
	}
	if !*update {
		t.Fatalf("%s does not show the table of states as it is; run: go test ./actions -run Diagram -update", page)
	}
	if err := os.WriteFile(page, []byte(head+from+b.String()+to+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
