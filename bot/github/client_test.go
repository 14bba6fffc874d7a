package github

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions/redistest"
)

// clientOf is a client of an API that answers with h.
func clientOf(t *testing.T, h http.HandlerFunc) *client {
	t.Helper()
	api := httptest.NewServer(h)
	t.Cleanup(api.Close)
	s, err := New(Options{Token: "ghp_x", APIURL: api.URL + "/api/v3", Redis: redistest.Client(t), Catalog: catalog{}, DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return s.client
}

func TestARefusalIsEitherFinalOrAPause(t *testing.T) {
	t.Parallel()
	soon := strconv.FormatInt(time.Now().Add(90*time.Second).Unix(), 10)
	late := strconv.FormatInt(time.Now().Add(50*time.Hour).Unix(), 10)
	const docs = `"documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"`
	tests := map[string]struct {
		status      int
		header      map[string]string
		body        string
		least, most time.Duration // of the pause; 0 for none
		says        string
	}{
		"it is forbidden":                          {403, nil, `{"message": "Resource not accessible"}`, 0, 0, "Resource not accessible"},
		"it is forbidden while calls are left":     {403, map[string]string{"X-RateLimit-Remaining": "9", "X-RateLimit-Reset": soon}, `{}`, 0, 0, "Forbidden"},
		"it is not there":                          {404, map[string]string{"Retry-After": "9"}, `{"message": "Not Found"}`, 0, 0, "Not Found"},
		"an answer that is no JSON":                {502, nil, `<html>`, 0, 0, "Bad Gateway"},
		"an answer that is empty":                  {500, nil, ``, 0, 0, "Internal Server Error"},
		"a second factor is wanted":                {401, map[string]string{"X-GitHub-OTP": "required; app"}, `{"message": "Must specify"}`, 0, 0, "Must specify"},
		"so many seconds":                          {403, map[string]string{"Retry-After": "30"}, `{}`, 30 * time.Second, 30 * time.Second, ""},
		"no second is one":                         {429, map[string]string{"Retry-After": "0"}, `{}`, time.Second, time.Second, ""},
		"a pause of ages is one of an hour":        {429, map[string]string{"Retry-After": "99999999999"}, `{}`, time.Hour, time.Hour, ""},
		"the hour's calls are used up":             {403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": soon}, `{}`, 10 * time.Second, 91 * time.Second, ""},
		"the same with another status":             {429, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": soon}, `{}`, 10 * time.Second, 91 * time.Second, ""},
		"a clock that is wrong":                    {403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": late}, `{}`, 59 * time.Minute, time.Hour, ""},
		"too much at once, in words":               {403, nil, `{"message": "You have exceeded a secondary rate limit."}`, time.Minute, time.Minute, ""},
		"too much at once, with a link":            {403, map[string]string{"X-RateLimit-Reset": late}, `{"message": "Slow down", ` + docs + `}`, time.Minute, time.Minute, ""},
		"too much at once, with a link and a time": {403, map[string]string{"Retry-After": "7"}, `{"message": "Slow down", ` + docs + `}`, 7 * time.Second, 7 * time.Second, ""},
		"too many requests without a word":         {429, nil, ``, time.Minute, time.Minute, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			_, pulled := c.pull(t.Context(), bothRepo, 1)
			if tt.most == 0 {
				if statusOf(pulled) != tt.status || !strings.Contains(pulled.Error(), tt.says) || final(pulled) != (tt.status < 500) {
					t.Errorf("pull = %v", pulled)
				}
				return
			}
			limited, ok := errors.AsType[*limitedError](pulled)
			if !ok || limited.after < tt.least || limited.after > tt.most {
				t.Fatalf("pull = %v, want a pause of %v", pulled, tt.most)
			}
			if tt.least <= shortWait {
				return
			}
			if _, err := c.repository(t.Context(), bothRepo); err == nil || calls.Load() != 1 {
				t.Errorf("GitHub was not left alone: %d calls, %v", calls.Load(), err)
			}
		})
	}
}

func TestAnArchiveThatIsRefusedSaysForHowLong(t *testing.T) {
	t.Parallel()
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message": "You have exceeded a secondary rate limit."}`)
	})
	_, err := c.tarball(t.Context(), bothRepo, strings.Repeat("a", 40))
	if limited, ok := errors.AsType[*limitedError](err); !ok || limited.after != time.Minute {
		t.Errorf("tarball = %v", err)
	}
}

// The last call that GitHub grants succeeds; go-github then refuses the next.
func TestNothingIsAskedOnceTheLimitIsUsedUp(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(90*time.Second).Unix(), 10))
		fmt.Fprint(w, `{"full_name": "acme/shop"}`)
	})
	if _, err := c.repository(t.Context(), bothRepo); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time, the account's pause is known to every replica
		_, err := c.repository(t.Context(), bothRepo)
		if limited, ok := errors.AsType[*limitedError](err); !ok || limited.after < 30*time.Second || limited.after > 91*time.Second {
			t.Errorf("repository = %v", err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestCredentialsDoNotFollowARedirect(t *testing.T) {
	t.Parallel()
	var leaked, asked atomic.Int64
	elsewhere := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Authorization") != "" {
			leaked.Add(1)
		}
		fmt.Fprint(w, `{"full_name": "acme/shop"}`)
	}
	other := httptest.NewServer(http.HandlerFunc(elsewhere))
	t.Cleanup(other.Close)
	mux := http.NewServeMux()
	redirect := func(path, to string, status int) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer ghp_x" {
				t.Errorf("the API got no token at %s", r.URL)
			}
			http.Redirect(w, r, to, status)
		})
	}
	redirect("/api/v3/repos/acme/shop", "/api/v3/repositories/1", http.StatusMovedPermanently)
	redirect("/api/v3/repositories/1", other.URL, http.StatusTemporaryRedirect)
	redirect("/api/v3/repos/acme/pages", "/outside", http.StatusFound)
	redirect("/api/v3/repos/acme/shop/tarball/{sha}", other.URL+"/moved", http.StatusMovedPermanently)
	redirect("/api/v3/repos/acme/pages/tarball/{sha}", "/outside", http.StatusFound)
	mux.HandleFunc("/outside", elsewhere)
	c := clientOf(t, mux.ServeHTTP)
	for _, repo := range []string{"acme/shop", "acme/pages"} {
		if _, err := c.repository(t.Context(), repo); err != nil {
			t.Errorf("%s: %v", repo, err)
		}
		if archive, err := c.tarball(t.Context(), repo, strings.Repeat("a", 40)); err == nil {
			_ = archive.Close()
		}
	}
	if asked.Load() != 4 || leaked.Load() != 0 {
		t.Errorf("%d of %d calls elsewhere had the token", leaked.Load(), asked.Load())
	}
}

func TestAnAnswerIsNeitherEndlessNorEmpty(t *testing.T) {
	t.Parallel()
	for what, body := range map[string]string{
		"nothing at all":       "",
		"another thing":        "{}",
		"a broken one":         `{"state": "clo`,
		"one that has no end":  `{"state": "closed", "head": {"sha": "1"}, "title": "` + strings.Repeat("x", maxAnswer) + `"}`,
		"something of no kind": `["closed"]`,
	} {
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
		if p, err := c.pull(t.Context(), bothRepo, 1); err == nil || final(err) {
			t.Errorf("%s: pull = %+v, %v", what, p, err)
		}
	}
}

func TestNamesAreEscapedInPaths(t *testing.T) {
	t.Parallel()
	asked := ""
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		fmt.Fprint(w, `{}`)
	})
	for ref, want := range map[string]string{
		"main":              "main",
		"feature/a b":       "feature/a%20b",
		"refs/pull/42/head": "refs/pull/42/head",
		"50%/c#/grüße?x=y":  "50%25/c%23/gr%C3%BC%C3%9Fe%3Fx=y",
	} {
		if _, err := c.commit(t.Context(), bothRepo, ref); err != nil || asked != "/api/v3/repos/acme/shop/commits/"+want+"?per_page=1" {
			t.Errorf("%s: %s, %v", ref, asked, err)
		}
	}
	if _, err := c.permission(t.Context(), bothRepo, "renovate[bot]/x?y"); err != nil || asked != "/api/v3/repos/acme/shop/collaborators/renovate%5Bbot%5D%2Fx%3Fy/permission" {
		t.Errorf("a login: %s, %v", asked, err)
	}
	asked = ""
	for _, repo := range []string{"acme", "acme/..", "../user", "acme/shop/x", "acme/shop?x"} {
		if _, err := c.tarball(t.Context(), repo, "x"); err == nil || asked != "" {
			t.Errorf("%q: %s, %v", repo, asked, err)
		}
	}
}
