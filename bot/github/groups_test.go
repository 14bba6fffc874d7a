package github

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/github/githubtest"
)

// groupWorld is a GitHub with a team and a pull request, and a Surface that
// asks about them at a time that the test moves.
type groupWorld struct {
	*githubtest.Server
	*Surface
	t    *testing.T
	pull int
	late atomic.Int64 // nanoseconds
}

func newGroupWorld(t *testing.T, permissions map[string]string, owners map[string]string) *groupWorld {
	t.Helper()
	gh := githubtest.Run(t, githubtest.Options{})
	w := &groupWorld{Server: gh, t: t}
	files := fstest.MapFS{"api/a.go": {Data: []byte("a\n")}, "web/old.js": {Data: []byte("once\nupon\n")}}
	for path, text := range owners {
		files[path] = &fstest.MapFile{Data: []byte(text)}
	}
	w.must(gh.AddRepo(githubtest.Repo{Name: bothRepo, Files: files}))
	w.must(gh.AddUser(githubtest.User{Login: "berth-bot", Roles: map[string]string{bothRepo: "admin"}}))
	token := githubtest.Token{Value: "ghp_bot", User: "berth-bot", Scopes: []string{"repo", "read:org"}}
	if permissions != nil {
		token.Scopes, token.Permissions = nil, permissions
	}
	w.must(gh.AddToken(token))
	gh.AddTeam("acme", "ops", "ben")
	var err error
	w.pull, err = gh.OpenPullRequest(githubtest.PullRequest{Repo: bothRepo, Head: "topic", Author: "ana"})
	w.must(err)
	_, err = gh.PushToPullRequest(bothRepo, w.pull, githubtest.Commit{Write: map[string]string{"site/new.js": "once\nupon\n", ".github/CODEOWNERS": "* @eve\n"}, Remove: []string{"web/old.js"}})
	w.must(err)
	w.Surface, err = New(Options{
		Token: "ghp_bot", APIURL: gh.APIURL(), Redis: redistest.Client(t), DataDir: t.TempDir(),
		Catalog: catalog{{Name: "shop", Repo: bothRepo}},
		Now:     func() time.Time { return time.Now().Add(time.Duration(w.late.Load())) },
	})
	w.must(err)
	return w
}

func (w *groupWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *groupWorld) request(number int) *approvals.Request {
	env := actions.Name{App: "shop", Env: "demo"}
	if number > 0 {
		env.Env = actions.PullRequestName(number)
	}
	return &approvals.Request{ID: "r", Order: actions.Order{Env: env, PullRequest: number}}
}

func person(identities ...string) approvals.Person {
	return approvals.Person{ID: identities[0], Name: "somebody", Identities: identities}
}

func TestTeamMembers(t *testing.T) {
	t.Parallel()
	w := newGroupWorld(t, nil, nil)
	w.must(w.InviteToTeam("acme", "ops", "dan"))
	tests := map[string]struct {
		group string
		who   approvals.Person
		want  bool
		code  actions.Code
	}{
		"a member":                              {"acme/ops", person("github:ben"), true, ""},
		"a member by their second account":      {"acme/ops", person("slack:U1", "github:ben2", "github:ben"), true, ""},
		"whatever the case":                     {"ACME/Ops", person("github:BEN"), true, ""},
		"somebody else":                         {"acme/ops", person("github:cleo"), false, ""},
		"somebody who has yet to accept":        {"acme/ops", person("github:dan"), false, ""},
		"somebody without an account there":     {"acme/ops", person("slack:U1"), false, ""},
		"a team that is not there has nobody":   {"acme/none", person("github:ben"), false, ""},
		"a name that would leave the path":      {"acme/ops", person("github:../ben"), false, ""},
		"a group that is no team":               {"ops", person("github:ben"), false, actions.CodeInvalid},
		"a group that would leave the path":     {"acme/../x", person("github:ben"), false, actions.CodeInvalid},
		"an organisation that cannot be a name": {"a b/ops", person("github:ben"), false, actions.CodeInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := w.Team.Member(t.Context(), tt.group, w.request(w.pull), tt.who)
			if got != tt.want || actions.CodeOf(err) != tt.code {
				t.Errorf("Member = %v, %v", got, err)
			}
		})
	}
}

func TestWhoLeavesATeamCountsForSecondsOnly(t *testing.T) {
	t.Parallel()
	w := newGroupWorld(t, nil, nil)
	ask := func() bool {
		in, err := w.Team.Member(t.Context(), "acme/ops", w.request(w.pull), person("github:ben"))
		w.must(err)
		return in
	}
	if !ask() {
		t.Fatal("ben is not in the team")
	}
	w.AddTeam("acme", "ops") // nobody is left
	w.late.Store(int64(keepGroup))
	if ask() {
		t.Error("ben counts although he is gone")
	}
	if keepGroup > 5*time.Second {
		t.Error("that is not seconds")
	}
}

func TestAGitHubThatDoesNotSayIsNotANo(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		code   actions.Code
		retry  bool
	}{
		"a fault of GitHub's": {502, actions.CodeUnavailable, true},
		"no permission":       {403, actions.CodeDownstream, false},
		"no credentials":      {401, actions.CodeDownstream, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newGroupWorld(t, nil, map[string]string{"CODEOWNERS": "* @ben\n"})
			w.Fail("GET", "**", tt.status, -1)
			for what, ask := range map[string]func() (bool, error){
				"team": func() (bool, error) {
					return w.Team.Member(t.Context(), "acme/ops", w.request(w.pull), person("github:ben"))
				},
				"codeowners": func() (bool, error) {
					return w.CodeOwners.Member(t.Context(), "", w.request(w.pull), person("github:ben"))
				},
			} {
				in, err := ask()
				if in || actions.CodeOf(err) != tt.code || actions.Retryable(err) != tt.retry {
					t.Errorf("%s: Member = %v, %v", what, in, err)
				}
			}
		})
	}
	t.Run("a token that may not see members", func(t *testing.T) {
		w := newGroupWorld(t, map[string]string{"metadata": "read", "contents": "read", "pull_requests": "read"}, nil)
		in, err := w.Team.Member(t.Context(), "acme/ops", w.request(w.pull), person("github:ben"))
		if in || actions.CodeOf(err) != actions.CodeDownstream || !strings.Contains(actions.Message(err), "Members: read") {
			t.Errorf("Member = %v, %v", in, err)
		}
	})
}

func TestCodeOwners(t *testing.T) {
	t.Parallel()
	const file = "* @none\n/web/ @ana\n/site/ @acme/ops cleo@example.org\n/.github/ @gil\n"
	tests := map[string]struct {
		owners map[string]string
		who    approvals.Person
		number int
		want   bool
		code   actions.Code
	}{
		"who owns a file that was renamed, by its name before": {owners: map[string]string{"CODEOWNERS": file}, who: person("github:Ana"), want: true},
		"who is in a team that owns its name now":              {owners: map[string]string{"CODEOWNERS": file}, who: person("github:ben"), want: true},
		"an e-mail address is nobody's":                        {owners: map[string]string{"CODEOWNERS": file}, who: person("github:cleo")},
		"whom a later rule takes it from":                      {owners: map[string]string{"CODEOWNERS": file}, who: person("github:none")},
		"a pull request cannot name its own owners":            {owners: map[string]string{"CODEOWNERS": file}, who: person("github:eve")},
		"the file in .github comes first":                      {owners: map[string]string{"CODEOWNERS": "* @ana\n", ".github/CODEOWNERS": "* @hal\n"}, who: person("github:hal"), want: true},
		"the others are not looked at then":                    {owners: map[string]string{"CODEOWNERS": "* @ana\n", ".github/CODEOWNERS": "* @hal\n"}, who: person("github:ana")},
		"the file in docs":                                     {owners: map[string]string{"docs/CODEOWNERS": "* @hal\n"}, who: person("github:hal"), want: true},
		"without a file there are none":                        {who: person("github:ana")},
		"without a pull request there are none":                {owners: map[string]string{"CODEOWNERS": file}, who: person("github:ana"), number: -1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newGroupWorld(t, nil, tt.owners)
			number := w.pull + tt.number
			if tt.number < 0 {
				number = 0
			}
			got, err := w.CodeOwners.Member(t.Context(), "", w.request(number), tt.who)
			if got != tt.want || actions.CodeOf(err) != tt.code {
				t.Errorf("Member = %v, %v", got, err)
			}
		})
	}
}

func TestALongCodeownersFileIsReadWhole(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("/nothing/of/interest @nobody\n", 50_000) + "* @hal\n"
	w := newGroupWorld(t, nil, map[string]string{"CODEOWNERS": long})
	got, err := w.CodeOwners.Member(t.Context(), "", w.request(w.pull), person("github:hal"))
	if !got || err != nil {
		t.Errorf("Member = %v, %v", got, err)
	}
}

func TestAnAppLooksAtTeamsByItsInstallationThere(t *testing.T) {
	t.Parallel()
	gh := githubtest.Run(t, githubtest.Options{App: &githubtest.App{ID: 7, Slug: "berth", Permissions: map[string]string{"members": "read", "metadata": "read"}}})
	if err := gh.AddRepo(githubtest.Repo{Name: "other/things"}); err != nil {
		t.Fatal(err)
	}
	gh.AddTeam("other", "ops", "ben")
	key, err := gh.AppKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{App: &AppCredentials{ID: 7, Key: key}, APIURL: gh.APIURL(), Redis: redistest.Client(t), DataDir: t.TempDir(), Catalog: catalog{}})
	if err != nil {
		t.Fatal(err)
	}
	if in, err := s.Team.Member(t.Context(), "other/ops", nil, person("github:ben")); in || actions.CodeOf(err) != actions.CodeDownstream {
		t.Errorf("where it is not installed, Member = %v, %v", in, err)
	}
	if _, err := gh.InstallApp("other"); err != nil {
		t.Fatal(err)
	}
	if in, err := s.Team.Member(t.Context(), "other/ops", nil, person("github:ben")); !in || err != nil {
		t.Errorf("Member = %v, %v", in, err)
	}
}

func TestChecksLookAtTeamsThatPoliciesName(t *testing.T) {
	t.Parallel()
	w := newGroupWorld(t, nil, nil)
	w.groups = []string{"role:sre", "codeowners", "github-team:acme/ops", "github-team:Acme/Ops", "github-team:acme/gone"}
	found := map[string]bool{}
	for _, check := range w.Checks(t.Context()) {
		if strings.HasPrefix(check.Name, "github team ") {
			found[check.Name] = check.OK
			if !check.OK && !strings.Contains(check.Fix, "Members: read") {
				t.Errorf("%s: nothing is said to mend it: %s", check.Name, check.Fix)
			}
		}
	}
	if len(found) != 2 || !found["github team acme/ops"] || found["github team acme/gone"] {
		t.Errorf("found %v", found)
	}
}

func TestOwnersOfAPullRequestDoNotOwnAnotherCommit(t *testing.T) {
	t.Parallel()
	w := newGroupWorld(t, nil, map[string]string{"CODEOWNERS": "/site/ @ana\n"})
	pull, err := w.client.pull(t.Context(), bothRepo, w.pull)
	w.must(err)
	tests := map[string]struct {
		ref, sha string
		verb     actions.Verb
		want     bool
	}{
		"what the pull request holds":       {"", pull.sha, actions.VerbDeploy, true},
		"the same by its name":              {"topic", pull.sha, actions.VerbDeploy, true},
		"another branch":                    {"elsewhere", "0123456789012345678901234567890123456789", actions.VerbDeploy, false},
		"one whose commit is not known yet": {"elsewhere", "", actions.VerbDeploy, false},
		"what takes no commit":              {"", "", actions.VerbCleanup, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := w.request(w.pull)
			r.Order.Ref, r.Order.Commit.SHA, r.Order.Verb = tt.ref, tt.sha, tt.verb
			if got, err := w.CodeOwners.Member(t.Context(), "", r, person("github:ana")); got != tt.want || err != nil {
				t.Errorf("Member = %v, %v", got, err)
			}
		})
	}
}

func TestARetargetedPullRequestDoesNotChooseItsOwners(t *testing.T) {
	t.Parallel()
	w := newGroupWorld(t, nil, map[string]string{"CODEOWNERS": "* @hal\n"})
	_, err := w.AddCommit(bothRepo, githubtest.Commit{Branch: "mine", Author: "eve", Write: map[string]string{".github/CODEOWNERS": "* @eve\n"}})
	w.must(err)
	w.must(w.RetargetPullRequest(bothRepo, w.pull, "ana", "mine"))
	for login, want := range map[string]bool{"eve": false, "hal": true} {
		got, err := w.CodeOwners.Member(t.Context(), "", w.request(w.pull), person("github:"+login))
		if got != want || err != nil {
			t.Errorf("%s: Member = %v, %v", login, got, err)
		}
	}
}
