package github

import (
	"slices"
	"strings"
	"testing"
)

func TestOwnersAreThoseOfTheLastRuleThatMatches(t *testing.T) {
	// The rules are those of GitHub's own page about code owners.
	const file = `# This is a comment.
*       @global-owner1 @global-owner2
*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/*  docs@example.com
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/ @octocat
/apps/github
/apps/github/doctocat.html @doctocat
/some\ place/ @spaced
!/never @nobody
/range[ab]/ @nobody
/broken not-an-owner
deep/**/end @deep
/a/?.md @one
`
	rules := parseOwners(file)
	tests := map[string]struct {
		path string
		want []string
	}{
		"a rule for everything":                          {"README.md", []string{"@global-owner1", "@global-owner2"}},
		"a later rule wins":                              {"src/x/main.js", []string{"@js-owner"}},
		"an address is kept as it is":                    {"cmd/main.go", []string{"docs@example.com"}},
		"a folder at the root":                           {"build/logs/today", []string{"@octocat"}}, // by **/logs, which comes later
		"all that is in a folder, however deep":          {"scripts/a/b/c.sh", []string{"@doctocat", "@octocat"}},
		"a folder of that name anywhere":                 {"x/apps/y/z", []string{"@octocat"}},
		"any folder called logs":                         {"deeply/nested/logs/x", []string{"@octocat"}},
		"a rule without owners takes ownership away":     {"apps/github/index.html", nil},
		"a file below it has an owner again":             {"apps/github/doctocat.html", []string{"@doctocat"}},
		"a space in a path":                              {"some place/x", []string{"@spaced"}},
		"a negation is left out":                         {"never", []string{"@global-owner1", "@global-owner2"}},
		"a range of characters is left out":              {"rangea/x", []string{"@global-owner1", "@global-owner2"}},
		"a line with what is no owner is left out":       {"broken/x", []string{"@global-owner1", "@global-owner2"}},
		"stars in the middle stand for no folder too":    {"deep/end", []string{"@deep"}},
		"stars in the middle stand for several folders":  {"deep/a/b/end/x", []string{"@deep"}},
		"a question mark stands for one character":       {"a/b.md", []string{"@one"}},
		"and for no more than that":                      {"a/bc.md", []string{"@global-owner1", "@global-owner2"}},
		"a path that only begins like a rule is another": {"scripts2/x", []string{"@global-owner1", "@global-owner2"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ownersOf(rules, tt.path); !slices.Equal(got, tt.want) {
				t.Errorf("owners of %s = %v, want %v", tt.path, got, tt.want)
			}
		})
	}
}

func TestPatternsMatchAsGitHubSays(t *testing.T) {
	tests := map[string]struct {
		pattern, path string
		want          bool
	}{
		"docs/* takes a file directly inside":   {"docs/*", "docs/getting-started.md", true},
		"docs/* takes nothing further down":     {"docs/*", "docs/build-app/troubleshooting.md", false},
		"docs/* is at the root only":            {"docs/*", "x/docs/a.md", false},
		"a star takes nothing from the root":    {"/*", "a/b", false},
		"a star at the root takes a file there": {"/*", "a", true},
		"a star alone takes everything":         {"*", "a/b/c", true},
		"two stars alone take everything":       {"**", "a/b/c", true},
		"a folder with two stars":               {"/a/**", "a/b/c", true},
		"which is not the folder itself":        {"/a/**", "a", false},
		"a folder is not a file of that name":   {"/a/", "a", false},
		"a name without a slash takes a folder": {"a", "x/a/b", true},
		"capitals matter":                       {"/Docs/", "docs/x", false},
		"stars within a name":                   {"/*_test.go", "x_test.go", true},
		"stars within a name stop at a slash":   {"/x*y", "x/y", false},
		"many stars":                            {"/a*a*a*a*a*b", strings.Repeat("a", 300), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, ok := parsePattern(tt.pattern)
			if !ok {
				t.Fatalf("%s cannot be read", tt.pattern)
			}
			if got := p.match(strings.Split(tt.path, "/")); got != tt.want {
				t.Errorf("%s matches %s: %v", tt.pattern, tt.path, got)
			}
		})
	}
}

func FuzzOwners(f *testing.F) {
	f.Add("* @ana\n/a/**/b @acme/ops\n", "a/x/b")
	f.Add("**/*\\ ?[x] a@b # c", "a b")
	f.Add("/a//b @x\n!/c\n\\", "")
	f.Fuzz(func(t *testing.T, text, path string) {
		rules := parseOwners(text)
		for _, owner := range ownersOf(rules, path) {
			if !validOwner(owner) {
				t.Errorf("%q is no owner", owner)
			}
		}
		for _, r := range rules {
			if len(r.pattern) == 0 {
				t.Error("a rule without a pattern")
			}
		}
	})
}
