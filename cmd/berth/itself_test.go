package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-dev/berth/configs"
)

// TestEventsOfTheConfigAreThoseThatThereAre compares what routes may name with
// the constants of package bot, which package configs may not import.
func TestEventsOfTheConfigAreThoseThatThereAre(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../../bot/notice.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Event") && len(spec.Values) == 1 {
			event, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, event)
		}
		return true
	})
	known := configs.Events()
	slices.Sort(events)
	slices.Sort(known)
	if len(events) == 0 || !slices.Equal(events, known) {
		t.Errorf("there are %v, and routes may name %v", events, known)
	}
}
