package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/berth-dev/berth"
	root   = "../.."
)

// mayImport is the import table: which packages of ours a folder may import.
// The longest matching key of a folder counts; a name means the package and
// what lies below it, "*" means anything of ours.
var mayImport = map[string][]string{
	"actions":             {},
	"approvals":           {"actions"},
	"bot":                 {"actions", "approvals"},
	"bot/bottest":         {"bot", "bot/command", "approvals", "approvals/people", "approvals/policy", "actions"},
	"bot/command":         {"bot", "approvals", "actions"},
	"bot/api":             {"bot", "approvals", "actions"},
	"bot/apiclient":       {"bot", "approvals", "actions", "bot/api"},
	"bot/github":          {"bot", "approvals", "actions"},
	"bot/chat":            {"bot", "approvals", "actions"},
	"bot/chat/chattest":   {"bot/chat", "bot", "approvals", "actions"},
	"bot/slack":           {"bot", "approvals", "actions"},
	"bot/discord":         {"bot", "approvals", "actions"},
	"bot/schedule":        {"bot", "approvals", "actions"},
	"bot/reconcile":       {"bot", "approvals", "actions"},
	"bot/notify":          {"bot", "approvals", "actions"},
	"configs":             {},
	"plugins/proto":       {},
	"plugins/sdk":         {"plugins/proto"},
	"plugins/host":        {"actions", "plugins/sdk", "plugins/proto"},
	"plugins/helm":        {"plugins/sdk"},
	"plugins/kubernetes":  {"plugins/sdk"},
	"plugins/aws":         {"plugins/sdk"},
	"plugins/dns":         {"plugins/sdk"},
	"plugins/script":      {"plugins/sdk"},
	"plugins/clustertest": {},
	"docs/examples":       {"plugins/sdk"},
	"cmd":                 {"*"},
	"cmd/devcluster":      {},
}

// exact names folders of which importing the package itself does not open what
// lies below it: bot's surfaces must not reach each other through bot.
var exact = map[string]bool{"bot": true, "actions": true, "approvals": true}

// TestImports holds the import table. It reads the sources itself, so that the
// result is not one that an earlier run left in a cache.
func TestImports(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		checkFile(t, path, filepath.ToSlash(rel), seen)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for row := range mayImport {
		if !seen[row] {
			t.Errorf("the table speaks of %s, where no Go file is", row)
		}
	}
}

func checkFile(t *testing.T, path, rel string, seen map[string]bool) {
	row := rowOf(rel)
	if row == "" {
		t.Errorf("%s is in no row of the import table; give its folder one", rel)
		return
	}
	seen[row] = true
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		ours, ok := strings.CutPrefix(imported, module+"/")
		if !ok || within(ours, row) || slices.ContainsFunc(mayImport[row], func(allowed string) bool { return permits(allowed, ours) }) {
			continue
		}
		if strings.HasSuffix(rel, "_test.go") && isTestPackage(ours) {
			continue
		}
		t.Errorf("%s imports %s, which the import table does not allow to %s", rel, ours, row)
	}
}

// rowOf is the row of the table that the file belongs to.
func rowOf(rel string) string {
	best := ""
	for row := range mayImport {
		if strings.HasPrefix(rel, row+"/") && len(row) > len(best) {
			best = row
		}
	}
	return best
}

func permits(allowed, imported string) bool {
	if exact[allowed] {
		return imported == allowed
	}
	return allowed == "*" || within(imported, allowed)
}

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// isTestPackage tells packages that are made for tests and that tests of any
// row may use, as they use net/http/httptest.
func isTestPackage(pkg string) bool {
	name := pkg[strings.LastIndex(pkg, "/")+1:]
	return strings.HasSuffix(name, "test")
}

// TestTopLevel keeps the settled top level of the repository.
func TestTopLevel(t *testing.T) {
	settled := []string{"cmd", "bot", "plugins", "actions", "approvals", "charts", "configs", "docs", "go.mod", "go.sum", "Makefile", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE"}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		ignored := entry.Name() == "bin" || entry.Name() == "data" // built and run here; git ignores them
		if !strings.HasPrefix(entry.Name(), ".") && !ignored && !slices.Contains(settled, entry.Name()) {
			t.Errorf("%s is not part of the settled top level", entry.Name())
		}
	}
}

// TestCoreLinksNoExecutor looks at what this very test binary, which is the
// core and its tests, is linked from: the executors' heavy libraries stay in
// processes of their own.
func TestCoreLinksNoExecutor(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	if !ok || len(info.Deps) < 5 {
		t.Fatalf("the build information names %d modules; it cannot be trusted", len(info.Deps))
	}
	for _, dep := range info.Deps {
		for _, banned := range []string{"helm.sh/", "k8s.io/", "sigs.k8s.io/", "github.com/aws/"} {
			if strings.HasPrefix(dep.Path, banned) {
				t.Errorf("berth links %s", dep.Path)
			}
		}
	}
}
