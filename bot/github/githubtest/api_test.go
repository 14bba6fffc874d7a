package githubtest

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

func TestDescriptionHasEveryOperationThatIsServed(t *testing.T) {
	start := time.Now()
	if err := Warm(); err != nil {
		t.Fatal(err)
	}
	t.Logf("loaded in %s", time.Since(start))
	doc, err := description()
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, rt := range routes() {
		served[rt.name()] = true
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !served[method+" "+path] {
				t.Errorf("%s %s is described but not served", method, path)
			}
		}
	}
}

func TestGitHubsOwnClientReadsTheRepository(t *testing.T) {
	s := newShop(t, Options{})
	ctx, c := soon(t), s.client("ghp_bot")

	me, res, err := c.Users.Get(ctx, "")
	s.must(err)
	if me.GetLogin() != "berth-bot" || res.Rate.Limit != 5000 || res.Rate.Remaining != 4999 {
		t.Errorf("user %s, rate %+v", me.GetLogin(), res.Rate)
	}
	if got := res.Header.Get("X-OAuth-Scopes"); got != "repo, read:org, admin:repo_hook" {
		t.Errorf("scopes %q", got)
	}
	repo, _, err := c.Repositories.Get(ctx, "acme", "shop")
	s.must(err)
	if !repo.GetPrivate() || repo.GetDefaultBranch() != "main" || !repo.GetPermissions()["admin"] || repo.GetOwner().GetType() != "Organization" {
		t.Errorf("repository %+v", repo)
	}
	for login, want := range map[string]string{"ana": "write", "rob": "read", "eve": "none"} {
		level, _, err := c.Repositories.GetPermissionLevel(ctx, "acme", "shop", login)
		s.must(err)
		if level.GetPermission() != want || level.GetUser().GetLogin() != login {
			t.Errorf("%s has %s, not %s", login, level.GetPermission(), want)
		}
	}
	if _, res, err := c.Repositories.GetPermissionLevel(ctx, "acme", "shop", "nobody"); err == nil || res.StatusCode != 404 {
		t.Errorf("an unknown user: %v", err)
	}
	pulls, _, err := c.PullRequests.List(ctx, "acme", "shop", &github.PullRequestListOptions{Head: "acme:topic", Base: "main"})
	s.must(err)
	if len(pulls) != 1 {
		t.Fatalf("%d pull requests", len(pulls))
	}
	pr, _, err := c.PullRequests.Get(ctx, "acme", "shop", s.pull)
	s.must(err)
	if pr.GetHead().GetSHA() != pulls[0].GetHead().GetSHA() || !pr.GetMergeable() || pr.GetCommits() != 1 ||
		pr.GetAdditions() != 1 || pr.GetDeletions() != 1 || pr.GetChangedFiles() != 1 || pr.GetHead().GetRepo().GetFullName() != "acme/shop" {
		t.Errorf("pull request %+v", pr)
	}
	commits, _, err := c.PullRequests.ListCommits(ctx, "acme", "shop", s.pull, nil)
	s.must(err)
	files, _, err := c.PullRequests.ListFiles(ctx, "acme", "shop", s.pull, nil)
	s.must(err)
	if len(commits) != 1 || len(files) != 1 || files[0].GetFilename() != "charts/values.yaml" ||
		files[0].GetPatch() != "@@ -1 +1 @@\n-replicas: 1\n+replicas: 2" {
		t.Errorf("commits %v, files %v", commits, files)
	}
	issue, _, err := c.Issues.Get(ctx, "acme", "shop", s.pull)
	s.must(err)
	if !issue.IsPullRequest() || issue.GetTitle() != "More replicas" {
		t.Errorf("issue %+v", issue)
	}
}

func TestRefsAreResolvedAsGitHubResolvesThem(t *testing.T) {
	s := newShop(t, Options{})
	ctx, c := soon(t), s.client("ghp_bot")
	head := s.Thread("acme/shop", s.pull).HeadSHA
	s.must(s.Tag("acme/shop", "v1.0", "main"))
	_, err := s.AddCommit("acme/shop", Commit{Branch: "feat/deep/branch", Message: "Deep"})
	s.must(err)
	main, _, err := c.Repositories.GetCommitSHA1(ctx, "acme", "shop", "main", "")
	s.must(err)
	for ref, want := range map[string]string{
		"topic": head, "heads/topic": head, head[:7]: head, head: head, "v1.0": main, "tags/v1.0": main,
		fmt.Sprintf("pull/%d/head", s.pull): head,
	} {
		commit, _, err := c.Repositories.GetCommit(ctx, "acme", "shop", ref, nil)
		s.must(err)
		if commit.GetSHA() != want {
			t.Errorf("%s is %s, not %s", ref, commit.GetSHA(), want)
		}
	}
	commit, _, err := c.Repositories.GetCommit(ctx, "acme", "shop", "feat/deep/branch", nil)
	s.must(err)
	if commit.GetCommit().GetMessage() != "Deep" {
		t.Errorf("commit %+v", commit)
	}
	var failure *github.ErrorResponse
	_, _, err = c.Repositories.GetCommit(ctx, "acme", "shop", "nope", nil)
	if !errors.As(err, &failure) || failure.Response.StatusCode != 422 || failure.Message != "No commit found for SHA: nope" {
		t.Errorf("an unknown ref: %v", err)
	}
	ref, _, err := c.Git.GetRef(ctx, "acme", "shop", "heads/feat/deep/branch")
	s.must(err)
	if ref.GetObject().GetSHA() != commit.GetSHA() || ref.GetRef() != "refs/heads/feat/deep/branch" {
		t.Errorf("ref %+v", ref)
	}
	if _, res, err := c.Git.GetRef(ctx, "acme", "shop", "heads/nope"); err == nil || res.StatusCode != 404 {
		t.Errorf("an unknown ref: %v", err)
	}
	branch, _, err := c.Repositories.GetBranch(ctx, "acme", "shop", "feat/deep/branch", 0)
	s.must(err)
	if branch.GetCommit().GetSHA() != commit.GetSHA() {
		t.Errorf("branch %+v", branch)
	}
	file, _, _, err := c.Repositories.GetContents(ctx, "acme", "shop", "charts/values.yaml", &github.RepositoryContentGetOptions{Ref: "topic"})
	s.must(err)
	if text, err := file.GetContent(); err != nil || text != "replicas: 2\n" {
		t.Errorf("content %q, %v", text, err)
	}
	_, dir, _, err := c.Repositories.GetContents(ctx, "acme", "shop", "", nil)
	s.must(err)
	if len(dir) != 3 || dir[1].GetName() != "charts" || dir[1].GetType() != "dir" {
		t.Errorf("directory %v", dir)
	}
	if _, _, res, err := c.Repositories.GetContents(ctx, "acme", "shop", "nope.txt", nil); err == nil || res.StatusCode != 404 {
		t.Errorf("an unknown file: %v", err)
	}
}

func TestTarballHasTheCommitBelowOneFolder(t *testing.T) {
	s := newShop(t, Options{})
	ctx, c := soon(t), s.client("ghp_bot")
	head := s.Thread("acme/shop", s.pull).HeadSHA
	link, _, err := c.Repositories.GetArchiveLink(ctx, "acme", "shop", github.Tarball, &github.RepositoryContentGetOptions{Ref: head}, 1)
	s.must(err)
	// The address alone is enough, and nothing else is.
	res, err := http.Get(link.String())
	s.must(err)
	defer res.Body.Close()
	zr, err := gzip.NewReader(res.Body)
	s.must(err)
	tr, got := tar.NewReader(zr), map[string]int64{}
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		s.must(err)
		if h.Typeflag == tar.TypeXGlobalHeader {
			if h.PAXRecords["comment"] != head {
				t.Errorf("the archive is of %s", h.PAXRecords["comment"])
			}
			continue
		}
		got[h.Name] = h.Mode
	}
	top := "acme-shop-" + head[:7] + "/"
	want := []string{top, top + "README.md", top + "charts/", top + "charts/Chart.yaml", top + "charts/values.yaml", top + "run.sh"}
	if !slices.Equal(sortedKeys(got), want) || got[top+"run.sh"] != 0o775 {
		t.Errorf("archive has %v", got)
	}
	bare := *link
	bare.RawQuery = ""
	if res, err := http.Get(bare.String()); err != nil || res.StatusCode != 404 {
		t.Errorf("a private archive without a token: %v %v", res.StatusCode, err)
	}
}

func TestCommentsPageAndKeepTheirHistory(t *testing.T) {
	s := newShop(t, Options{})
	ctx, c := soon(t), s.client("ghp_bot")
	for i := range 7 {
		_, err := s.Comment("acme/shop", s.pull, "ana", fmt.Sprintf("comment %d", i))
		s.must(err)
	}
	opts := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: 3}}
	var bodies []string
	for {
		page, res, err := c.Issues.ListComments(ctx, "acme", "shop", s.pull, opts)
		s.must(err)
		for _, x := range page {
			bodies = append(bodies, x.GetBody())
		}
		if res.NextPage == 0 {
			break
		}
		if res.LastPage != 3 {
			t.Errorf("the last page is %d", res.LastPage)
		}
		opts.Page = res.NextPage
	}
	if len(bodies) != 7 || bodies[6] != "comment 6" {
		t.Errorf("comments %q", bodies)
	}
	made, _, err := c.Issues.CreateComment(ctx, "acme", "shop", s.pull, &github.IssueComment{Body: github.String("working")})
	s.must(err)
	_, _, err = c.Issues.EditComment(ctx, "acme", "shop", made.GetID(), &github.IssueComment{Body: github.String("done")})
	s.must(err)
	for i, want := range []int{201, 200} {
		x, res, err := c.Reactions.CreateIssueCommentReaction(ctx, "acme", "shop", made.GetID(), "eyes")
		s.must(err)
		if res.StatusCode != want || x.GetContent() != "eyes" {
			t.Errorf("reaction %d: %d", i, res.StatusCode)
		}
	}
	reactions, _, err := c.Reactions.ListIssueCommentReactions(ctx, "acme", "shop", made.GetID(), nil)
	s.must(err)
	last := s.Thread("acme/shop", s.pull).Comments[7]
	if last.Body != "done" || last.Edits != 1 || len(last.Reactions) != 1 || last.Reactions[0] != (Reaction{"berth-bot", "eyes"}) {
		t.Errorf("comment %+v", last)
	}
	_, err = c.Reactions.DeleteIssueCommentReaction(ctx, "acme", "shop", made.GetID(), reactions[0].GetID())
	s.must(err)
	_, _, err = c.Reactions.CreateIssueReaction(ctx, "acme", "shop", s.pull, "rocket")
	s.must(err)
	got, _, err := c.Issues.GetComment(ctx, "acme", "shop", made.GetID())
	s.must(err)
	if got.GetReactions().GetTotalCount() != 0 || got.GetAuthorAssociation() != "MEMBER" {
		t.Errorf("comment %+v", got)
	}
	_, err = c.Issues.DeleteComment(ctx, "acme", "shop", made.GetID())
	s.must(err)
	if n := len(s.Thread("acme/shop", s.pull).Comments); n != 7 {
		t.Errorf("%d comments are left", n)
	}
	long := strings.Repeat("é", maxComment+1)
	if _, res, err := c.Issues.CreateComment(ctx, "acme", "shop", s.pull, &github.IssueComment{Body: &long}); err == nil || res.StatusCode != 422 {
		t.Errorf("a comment that is too long: %v", err)
	}
}

func TestDeploymentsFollowGitHubsRules(t *testing.T) {
	s := newShop(t, Options{})
	ctx, c := soon(t), s.client("ghp_bot")
	head := s.Thread("acme/shop", s.pull).HeadSHA
	no := false
	deploy := func(env string, transient bool) *github.Deployment {
		t.Helper()
		d, _, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", &github.DeploymentRequest{
			Ref: &head, Environment: &env, AutoMerge: &no, RequiredContexts: &[]string{}, TransientEnvironment: &transient,
			ProductionEnvironment: &no, Description: github.String("Deploy"), Payload: map[string]any{"run": "r1"},
		})
		s.must(err)
		return d
	}
	say := func(d *github.Deployment, state string) {
		t.Helper()
		_, _, err := c.Repositories.CreateDeploymentStatus(ctx, "acme", "shop", d.GetID(), &github.DeploymentStatusRequest{
			State: &state, EnvironmentURL: github.String("http://shop.test"), LogURL: github.String("http://log.test"), Description: github.String("ok"),
		})
		s.must(err)
	}
	first, second, kept := deploy("staging", false), deploy("staging", false), deploy("pr-1", true)
	say(first, "in_progress")
	say(first, "success")
	say(kept, "success")
	say(second, "success")
	states := map[int64]string{}
	for _, d := range s.Deployments("acme/shop") {
		states[d.ID] = d.State()
	}
	if states[first.GetID()] != "inactive" || states[second.GetID()] != "success" || states[kept.GetID()] != "success" {
		t.Errorf("states %v", states)
	}
	if _, err := c.Repositories.DeleteDeployment(ctx, "acme", "shop", second.GetID()); err == nil {
		t.Error("an active deployment was deleted")
	}
	_, err := c.Repositories.DeleteDeployment(ctx, "acme", "shop", first.GetID())
	s.must(err)
	found, _, err := c.Repositories.ListDeployments(ctx, "acme", "shop", &github.DeploymentsListOptions{SHA: head, Environment: "pr-1"})
	s.must(err)
	if len(found) != 1 || found[0].GetID() != kept.GetID() {
		t.Errorf("deployments %v", found)
	}
	statuses, _, err := c.Repositories.ListDeploymentStatuses(ctx, "acme", "shop", kept.GetID(), nil)
	s.must(err)
	if len(statuses) != 1 || statuses[0].GetEnvironmentURL() != "http://shop.test" || statuses[0].GetLogURL() != "http://log.test" {
		t.Errorf("statuses %v", statuses)
	}
	if _, _, err := c.Repositories.GetDeployment(ctx, "acme", "shop", kept.GetID()); err != nil {
		t.Error(err)
	}
	if shown := s.Thread("acme/shop", s.pull).Deployments; len(shown) != 2 || shown[1].URL() != "http://shop.test" {
		t.Errorf("the thread shows %+v", shown)
	}
}

func TestDeploymentIsRefusedAsGitHubRefusesIt(t *testing.T) {
	s := newShop(t, Options{})
	ctx, c := soon(t), s.client("ghp_bot")
	head := s.Thread("acme/shop", s.pull).HeadSHA
	create := func(r *github.DeploymentRequest) (int, string) {
		_, res, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", r)
		var failure *github.ErrorResponse
		if errors.As(err, &failure) {
			return res.StatusCode, failure.Message
		}
		return res.StatusCode, ""
	}
	status := func(context, state string) {
		_, _, err := c.Repositories.CreateStatus(ctx, "acme", "shop", head, &github.RepoStatus{State: &state, Context: &context, Description: github.String("d")})
		s.must(err)
	}
	if code, text := create(&github.DeploymentRequest{Ref: github.String("gone")}); code != 422 || text != "No ref found for: gone" {
		t.Errorf("an unknown ref: %d %s", code, text)
	}
	status("ci", "pending")
	if code, text := create(&github.DeploymentRequest{Ref: &head}); code != 409 || !strings.Contains(text, "status checks failed") {
		t.Errorf("a pending status: %d %s", code, text)
	}
	if sum, _, err := c.Repositories.GetCombinedStatus(ctx, "acme", "shop", "topic", nil); err != nil || sum.GetState() != "pending" {
		t.Errorf("combined status %v %v", sum, err)
	}
	status("ci", "success")
	if code, text := create(&github.DeploymentRequest{Ref: &head}); code != 201 {
		t.Errorf("a green commit: %d %s", code, text)
	}
	if code, _ := create(&github.DeploymentRequest{Ref: &head, RequiredContexts: &[]string{"e2e"}}); code != 409 {
		t.Errorf("a missing status: %d", code)
	}
	_, err := s.AddCommit("acme/shop", Commit{Write: map[string]string{"NEWS": "news\n"}})
	s.must(err)
	if code, _ := create(&github.DeploymentRequest{Ref: github.String("topic")}); code != 202 {
		t.Errorf("a branch that is behind: %d", code)
	}
	_, err = s.AddCommit("acme/shop", Commit{Write: map[string]string{"charts/values.yaml": "replicas: 3\n"}})
	s.must(err)
	if code, text := create(&github.DeploymentRequest{Ref: github.String("topic")}); code != 409 || !strings.Contains(text, "Conflict merging main into topic") {
		t.Errorf("a conflict: %d %s", code, text)
	}
	if pr, _, err := c.PullRequests.Get(ctx, "acme", "shop", s.pull); err != nil || pr.GetMergeableState() != "dirty" {
		t.Errorf("pull request %v %v", pr.GetMergeableState(), err)
	}
}

func TestTokensReachWhatTheyMay(t *testing.T) {
	s := newShop(t, Options{})
	ctx := soon(t)
	s.must(s.AddRepo(Repo{Name: "acme/site", Files: shopFiles}))
	s.must(s.AddToken(Token{Value: "fine", User: "ana", Permissions: map[string]string{"contents": "read", "issues": "write"}, Repos: []string{"acme/shop"}}))
	s.must(s.AddToken(Token{Value: "none", User: "ana", Scopes: []string{}}))
	s.must(s.AddToken(Token{Value: "old", User: "ana", Scopes: []string{"repo"}, Expires: time.Now().Add(-time.Minute)}))
	body := &github.IssueComment{Body: github.String("hi")}
	tests := map[string]struct {
		token string
		do    func(*github.Client) (*github.Response, error)
		want  int
	}{
		"a wrong token is nobody's": {"wrong", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Users.Get(ctx, "")
			return r, err
		}, 401},
		"an expired token is nobody's": {"old", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Users.Get(ctx, "")
			return r, err
		}, 401},
		"no token has no user": {"", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Users.Get(ctx, "")
			return r, err
		}, 401},
		"a private repository is hidden from a stranger": {"ghp_eve", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Repositories.Get(ctx, "acme", "shop")
			return r, err
		}, 404},
		"a private repository is hidden from a token without scope": {"none", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Repositories.Get(ctx, "acme", "shop")
			return r, err
		}, 404},
		"a public repository is open": {"", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Repositories.Get(ctx, "acme", "site")
			return r, err
		}, 200},
		"a reader may comment": {"ghp_rob", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Issues.CreateComment(ctx, "acme", "shop", s.pull, body)
			return r, err
		}, 201},
		"a reader may not deploy": {"ghp_rob", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", &github.DeploymentRequest{Ref: github.String("main")})
			return r, err
		}, 403},
		"a reader sees no hooks": {"ghp_rob", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Repositories.ListHooks(ctx, "acme", "shop", nil)
			return r, err
		}, 404},
		"a fine-grained token may do what it says": {"fine", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Issues.CreateComment(ctx, "acme", "shop", s.pull, body)
			return r, err
		}, 201},
		"a fine-grained token may do no more": {"fine", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", &github.DeploymentRequest{Ref: github.String("main")})
			return r, err
		}, 403},
		"a check run needs an App": {"ghp_bot", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Checks.CreateCheckRun(ctx, "acme", "shop", github.CreateCheckRunOptions{Name: "x", HeadSHA: s.Thread("acme/shop", s.pull).HeadSHA})
			return r, err
		}, 403},
		"a token is no JWT": {"ghp_bot", func(c *github.Client) (*github.Response, error) {
			_, r, err := c.Apps.Get(ctx, "")
			return r, err
		}, 401},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			res, err := test.do(s.client(test.token))
			if res == nil {
				t.Fatal(err)
			}
			if res.StatusCode != test.want {
				t.Errorf("got %d (%v), want %d", res.StatusCode, err, test.want)
			}
		})
	}
}
