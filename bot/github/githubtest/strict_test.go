package githubtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

func TestWhatGitHubDoesNotKnowIsAViolation(t *testing.T) {
	tests := map[string]struct {
		method, path, body string
		agent              string
		status             int
		problem            string
	}{
		"an operation that does not exist":        {"GET", "/repos/acme/shop/nope", "", "test", 404, "no such operation"},
		"a body without what is required":         {"POST", "/repos/acme/shop/issues/1/comments", `{}`, "test", 422, `"body" is missing`},
		"a body with a wrong type":                {"POST", "/repos/acme/shop/issues/1/comments", `{"body": 7}`, "test", 422, "body"},
		"a value that is not in the list":         {"POST", "/repos/acme/shop/issues/1/reactions", `{"content": "clap"}`, "test", 422, "content"},
		"a property that is not described":        {"POST", "/repos/acme/shop/issues/1/comments", `{"body": "hi", "colour": "red"}`, "test", 201, "colour"},
		"a query parameter that is not described": {"GET", "/repos/acme/shop/issues/1/comments?sort=up", "", "test", 200, "sort"},
		"a query parameter that is no number":     {"GET", "/repos/acme/shop/issues/1/comments?page=two", "", "test", 422, "page"},
		"a body that is not JSON":                 {"POST", "/repos/acme/shop/issues/1/comments", `body=hi`, "test", 400, "not a JSON object"},
		"a request without a User-Agent":          {"GET", "/user", "", "", 403, "User-Agent"},
		"a check run's button with a long label":  {"POST", "/repos/acme/shop/check-runs", `{"name": "x", "head_sha": "y", "actions": [{"label": "Much longer than twenty", "description": "d", "identifier": "i"}]}`, "test", 422, "label"},
		"a body for an operation that takes none": {"GET", "/user", `{"x": 1}`, "test", 200, "no body"},
		"a deployment status that does not exist": {"POST", "/repos/acme/shop/deployments/1/statuses", `{"state": "great"}`, "test", 422, "state"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// Not by Run, which would fail this test for the violation.
			s := &shop{Server: New(Options{App: &App{}}), t: t}
			s.must(s.Start())
			defer s.Close()
			s.must(s.AddRepo(Repo{Name: "acme/shop", Files: shopFiles}))
			s.must(s.AddUser(User{Login: "bot", Roles: map[string]string{"acme/shop": "admin"}}))
			token := Token{Value: "t", User: "bot", Scopes: []string{"repo"}}
			s.must(s.AddToken(token))
			if strings.Contains(test.path, "check-runs") {
				s.tokens["t"].installation = &installation{account: s.account("acme")}
				s.tokens["t"].permissions = map[string]string{"checks": "write"}
			}
			_, err := s.OpenPullRequest(PullRequest{Repo: "acme/shop", Head: "topic", Author: "bot"})
			s.must(err)
			req, err := http.NewRequestWithContext(soon(t), test.method, s.APIURL()+test.path, strings.NewReader(test.body))
			s.must(err)
			req.Header.Set("Authorization", "Bearer t")
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("User-Agent", test.agent)
			res, err := http.DefaultClient.Do(req)
			s.must(err)
			defer drain(res.Body)
			found := s.Violations()
			if res.StatusCode != test.status || len(found) != 1 || !strings.Contains(found[0].Problem, test.problem) || found[0].Side != "request" {
				body, _ := io.ReadAll(res.Body)
				t.Errorf("got %d %s, violations %v", res.StatusCode, body, found)
			}
		})
	}
}

func TestWrongAnswersOfItsOwnAreNoticed(t *testing.T) {
	if err := Warm(); err != nil {
		t.Fatal(err)
	}
	op, err := operation("GET", "/repos/{owner}/{repo}/issues/{issue_number}")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{`{"id": "one"}`: "id", `{}`: "missing", `nope`: "not JSON"} {
		if err := checkResponse(op, 200, "application/json", []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if err := checkResponse(op, 202, "application/json", nil); err == nil {
		t.Error("a status that is not described was let through")
	}
}

func TestPrimaryLimitRunsOutAndComesBack(t *testing.T) {
	now := time.Now()
	s := newShop(t, Options{RateLimit: 3, Now: func() time.Time { return now }})
	ctx, c := soon(t), s.client("ghp_bot")
	for range 3 {
		_, _, err := c.Users.Get(ctx, "")
		s.must(err)
	}
	_, _, err := s.client("ghp_bot").Users.Get(ctx, "")
	var limited *github.RateLimitError
	if !errors.As(err, &limited) {
		t.Fatalf("the fourth request: %v", err)
	}
	limits, _, err := s.client("ghp_bot").RateLimit.Get(ctx)
	s.must(err)
	if limits.GetCore().Remaining != 0 || limits.GetCore().Limit != 3 {
		t.Errorf("limits %+v", limits.GetCore())
	}
	now = now.Add(time.Hour + time.Second)
	_, _, err = s.client("ghp_bot").Users.Get(ctx, "")
	s.must(err)
}

func TestAnswerThatHasNotChangedIsFree(t *testing.T) {
	s := newShop(t, Options{})
	get := func(etag string) *http.Response {
		req, err := http.NewRequestWithContext(soon(t), http.MethodGet, s.APIURL()+"/user", nil)
		s.must(err)
		req.Header.Set("Authorization", "token ghp_bot")
		req.Header.Set("If-None-Match", etag)
		res, err := http.DefaultClient.Do(req)
		s.must(err)
		drain(res.Body)
		return res
	}
	first := get("")
	again := get(first.Header.Get("Etag"))
	if again.StatusCode != 304 || again.Header.Get("X-RateLimit-Used") != "1" {
		t.Errorf("got %d, used %s", again.StatusCode, again.Header.Get("X-RateLimit-Used"))
	}
}

func TestSecondaryLimitsAskForPatience(t *testing.T) {
	now := time.Now()
	s := newShop(t, Options{Secondary: &SecondaryLimits{ContentPerMinute: 2, RetryAfter: 7 * time.Second}, Now: func() time.Time { return now }})
	ctx := soon(t)
	say := func() error {
		_, _, err := s.client("ghp_bot").Issues.CreateComment(ctx, "acme", "shop", s.pull, &github.IssueComment{Body: github.String("x")})
		return err
	}
	s.must(say())
	s.must(say())
	var abuse *github.AbuseRateLimitError
	if err := say(); !errors.As(err, &abuse) || *abuse.RetryAfter != 7*time.Second {
		t.Fatalf("the third comment: %v", err)
	}
	if _, _, err := s.client("ghp_bot").Users.Get(ctx, ""); err != nil {
		t.Errorf("reading: %v", err)
	}
	now = now.Add(time.Minute + time.Second)
	s.must(say())
}

func TestConcurrentRequestsAreLimited(t *testing.T) {
	s := newShop(t, Options{Secondary: &SecondaryLimits{Concurrent: 1}})
	ctx, cancel := context.WithCancel(soon(t))
	s.Delay("GET", "/user", time.Hour, 1)
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		_, _, _ = s.client("ghp_bot").Users.Get(ctx, "") // It is cut off below.
	}()
	// The delayed request is under way once the fault is used up.
	s.must(s.WaitFor(soon(t), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.faults[0].times == 0
	}))
	var abuse *github.AbuseRateLimitError
	if _, _, err := s.client("ghp_bot").Repositories.Get(soon(t), "acme", "shop"); !errors.As(err, &abuse) {
		t.Errorf("the second request: %v", err)
	}
	cancel()
	wg.Wait()
}

func TestFaultsHappenAsOftenAsAsked(t *testing.T) {
	s := newShop(t, Options{})
	ctx, c := soon(t), s.client("ghp_bot")
	s.Fail("GET", "/repos/*/*/pulls/**", 502, 2)
	for i, want := range []int{502, 502, 200} {
		_, res, err := c.PullRequests.Get(ctx, "acme", "shop", s.pull)
		if res == nil || res.StatusCode != want {
			t.Errorf("request %d: %v", i, err)
		}
	}
	s.Fail("", "/user", 0, -1)
	if _, res, err := c.Users.Get(ctx, ""); err == nil || (res != nil && res.StatusCode < 500) {
		t.Errorf("a cut connection: %v %v", res, err)
	}
	s.Heal()
	s.FailWith("GET", "/user", 429, -1, http.Header{"Retry-After": {"3"}})
	for range 3 {
		if _, res, _ := c.Users.Get(ctx, ""); res == nil || res.StatusCode != 429 || res.Header.Get("Retry-After") != "3" {
			t.Errorf("got %v", res)
		}
	}
	s.Heal()
	_, _, err := c.Users.Get(ctx, "")
	s.must(err)
}

func TestEnterpriseHasItsPrefix(t *testing.T) {
	s := newShop(t, Options{Enterprise: true})
	c, err := github.NewClient(nil).WithAuthToken("ghp_bot").WithEnterpriseURLs(s.URL(), s.URL())
	s.must(err)
	pr, _, err := c.PullRequests.Get(soon(t), "acme", "shop", s.pull)
	s.must(err)
	if !strings.HasPrefix(pr.GetURL(), s.URL()+"/api/v3/repos/") || !strings.HasPrefix(pr.GetHTMLURL(), s.URL()+"/acme/") {
		t.Errorf("URLs %s %s", pr.GetURL(), pr.GetHTMLURL())
	}
	if _, _, err := s.client("ghp_bot").Users.Get(soon(t), ""); err != nil {
		t.Error(err)
	}
}

func TestRequestsAreListed(t *testing.T) {
	s := newShop(t, Options{})
	_, _, err := s.client("ghp_bot").Issues.CreateComment(soon(t), "acme", "shop", s.pull, &github.IssueComment{Body: github.String("x")})
	s.must(err)
	all := s.Requests()
	if len(all) != 1 || all[0].Operation != "POST /repos/{owner}/{repo}/issues/{issue_number}/comments" || all[0].Actor != "berth-bot" || all[0].Status != 201 {
		t.Errorf("requests %+v", all)
	}
}
