package githubtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

// jwt signs claims as an App does.
func jwt(t *testing.T, keyPEM []byte, claims map[string]any) string {
	t.Helper()
	block, _ := pem.Decode(keyPEM)
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func TestAppSignsInAndGetsInstallationTokens(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	s := newShop(t, Options{App: &App{ID: 7, Slug: "berth"}, Now: func() time.Time { return clock() }})
	ctx := soon(t)
	id, err := s.InstallApp("acme", "shop")
	s.must(err)
	s.must(s.AddRepo(Repo{Name: "acme/other", Private: true, Files: shopFiles}))
	key, err := s.AppKey()
	s.must(err)
	claims := func(more map[string]any) map[string]any {
		return with(obj{"iss": "7", "iat": now.Unix() - 60, "exp": now.Unix() + 540}, more)
	}
	app := s.client(jwt(t, key, claims(nil)))
	self, _, err := app.Apps.Get(ctx, "")
	s.must(err)
	if self.GetSlug() != "berth" || self.GetPermissions().GetDeployments() != "write" {
		t.Errorf("app %+v", self)
	}
	for name, bad := range map[string]map[string]any{
		"too far in the future": {"exp": now.Unix() + 3600}, "of the past": {"exp": now.Unix() - 1}, "of another app": {"iss": "8"},
	} {
		if _, res, err := s.client(jwt(t, key, claims(bad))).Apps.Get(ctx, ""); err == nil || res.StatusCode != 401 {
			t.Errorf("a JWT %s was taken: %v", name, err)
		}
	}
	found, _, err := app.Apps.FindRepositoryInstallation(ctx, "acme", "shop")
	s.must(err)
	if found.GetID() != id {
		t.Errorf("installation %d, not %d", found.GetID(), id)
	}
	if _, res, err := app.Apps.FindRepositoryInstallation(ctx, "acme", "other"); err == nil || res.StatusCode != 404 {
		t.Errorf("a repository without the App: %v", err)
	}
	if all, _, err := app.Apps.ListInstallations(ctx, nil); err != nil || len(all) != 1 {
		t.Errorf("installations %v %v", all, err)
	}
	token, _, err := app.Apps.CreateInstallationToken(ctx, id, &github.InstallationTokenOptions{Repositories: []string{"shop"}})
	s.must(err)
	bot := s.client(token.GetToken())
	repos, _, err := bot.Apps.ListRepos(ctx, nil)
	s.must(err)
	if len(repos.Repositories) != 1 || repos.Repositories[0].GetName() != "shop" {
		t.Errorf("repositories %v", repos)
	}
	made, _, err := bot.Issues.CreateComment(ctx, "acme", "shop", s.pull, &github.IssueComment{Body: github.String("hi")})
	s.must(err)
	if made.GetUser().GetLogin() != "berth[bot]" || made.GetUser().GetType() != "Bot" {
		t.Errorf("comment by %+v", made.GetUser())
	}
	run, _, err := bot.Checks.CreateCheckRun(ctx, "acme", "shop", github.CreateCheckRunOptions{
		Name: "berth", HeadSHA: s.Thread("acme/shop", s.pull).HeadSHA, Status: github.String("in_progress"),
		Actions: []*github.CheckRunAction{{Label: "Approve", Description: "Let it run", Identifier: "approve"}},
	})
	s.must(err)
	run, _, err = bot.Checks.UpdateCheckRun(ctx, "acme", "shop", run.GetID(), github.UpdateCheckRunOptions{
		Name: "berth", Conclusion: github.String("success"), Output: &github.CheckRunOutput{Title: github.String("Deployed"), Summary: github.String("fine")},
	})
	s.must(err)
	if run.GetStatus() != "completed" || run.GetOutput().GetTitle() != "Deployed" || len(run.PullRequests) != 1 {
		t.Errorf("check run %+v", run)
	}
	if _, res, err := bot.Repositories.Get(ctx, "acme", "other"); err == nil || res.StatusCode != 404 {
		t.Errorf("another repository: %v", err)
	}
	if _, res, err := bot.Users.Get(ctx, ""); err == nil || res.StatusCode != 403 {
		t.Errorf("an installation is no user: %v", err)
	}
	now = now.Add(time.Hour + time.Second)
	if _, res, err := bot.Repositories.Get(ctx, "acme", "shop"); err == nil || res.StatusCode != 401 {
		t.Errorf("an expired token: %v", err)
	}
}

func TestTeamsAreAnswered(t *testing.T) {
	s := newShop(t, Options{})
	s.AddTeam("acme", "sre", "ana")
	ctx, c := soon(t), s.client("ghp_bot")
	m, _, err := c.Teams.GetTeamMembershipBySlug(ctx, "acme", "sre", "ana")
	s.must(err)
	if m.GetState() != "active" || m.GetRole() != "member" {
		t.Errorf("membership %+v", m)
	}
	if _, res, err := c.Teams.GetTeamMembershipBySlug(ctx, "acme", "sre", "rob"); err == nil || res.StatusCode != 404 {
		t.Errorf("no member: %v", err)
	}
}
