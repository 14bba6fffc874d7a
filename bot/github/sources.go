package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/github/internal/archive"
)

const (
	// fetchTimeout is how long the archive of a commit may take to arrive.
	fetchTimeout = 5 * time.Minute
	// maxRemembered is how many commits are known without asking.
	maxRemembered = 1000
)

var (
	fullSHA  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	pullHead = regexp.MustCompile(`^refs/pull/([1-9][0-9]{0,9})/head$`)
)

// sources reads repositories. What a full SHA means never changes, so only that
// is remembered; what a branch means is asked each time. So is whether a commit
// of a fork still is one, since it may be merged.
type sources struct {
	client *client
	cache  *archive.Cache
	mu     sync.Mutex
	known  map[string]actions.Commit // by repo@sha
}

func newSources(c *client, cache *archive.Cache) *sources {
	return &sources{client: c, cache: cache, known: map[string]actions.Commit{}}
}

// Resolve finds the commit that ref means in repo; see actions.Sources.
func (s *sources) Resolve(ctx context.Context, repo, ref string) (actions.Commit, error) {
	const op = "github.resolve"
	if !validRepo(repo) {
		return actions.Commit{}, actions.Errorf(op, actions.CodeInvalid, "%q is no repository; write it as owner/name.", clip(repo, 80))
	}
	if ref != "" && !pullHead.MatchString(ref) && !validRef(ref) {
		return actions.Commit{}, actions.Errorf(op, actions.CodeInvalid, "%q is no branch, tag or commit that git could have.", clip(ref, 80))
	}
	if c, ok := s.remembered(repo, ref); ok {
		return c, nil
	}
	at, fork, err := s.target(ctx, repo, ref)
	if err != nil {
		return actions.Commit{}, s.failure(ctx, op, repo, ref, err)
	}
	found, err := s.client.commit(ctx, repo, at)
	if err == nil && !fullSHA.MatchString(found.GetSHA()) {
		err = fmt.Errorf("GitHub says that %q is commit %q", at, found.GetSHA())
	}
	if err == nil && anybodys(ref, found.GetSHA()) {
		fork, err = s.foreign(ctx, repo, found.GetSHA())
	}
	if err != nil {
		return actions.Commit{}, s.failure(ctx, op, repo, ref, err)
	}
	title, _, _ := strings.Cut(strings.TrimSpace(found.GetCommit().GetMessage()), "\n")
	c := actions.Commit{
		SHA: found.GetSHA(), Message: clip(strings.TrimSpace(title), 200),
		Author: clip(found.GetCommit().GetAuthor().GetName(), 100), Time: found.GetCommit().GetCommitter().GetDate().UTC(),
		Fork: fork,
	}
	if !fork {
		s.remember(repo, c)
	}
	return c, nil
}

// target is what the API calls ref, and whether that is a fork's.
func (s *sources) target(ctx context.Context, repo, ref string) (at string, fork bool, err error) {
	if ref == "" {
		r, err := s.client.repository(ctx, repo)
		return r.GetDefaultBranch(), false, err
	}
	m := pullHead.FindStringSubmatch(ref)
	if m == nil {
		return ref, false, nil
	}
	number, err := strconv.Atoi(m[1])
	if err != nil {
		return "", false, err
	}
	p, err := s.client.pull(ctx, repo, number)
	return p.sha, p.fork(repo), err
}

// failure makes of what went wrong what people can do about it. Only GitHub's
// own word that something is not there counts as that.
func (s *sources) failure(ctx context.Context, op, repo, ref string, err error) error {
	what := fmt.Sprintf("%q", clip(ref, 80))
	switch m := pullHead.FindStringSubmatch(ref); {
	case ref == "":
		what = "the default branch"
	case m != nil:
		what = "pull request " + m[1]
	}
	switch status := statusOf(err); {
	case status == http.StatusConflict:
		return actions.Wrap(op, actions.CodeNotFound, err, fmt.Sprintf("%s is empty: it has no commit yet. Push one first.", repo))
	case status == http.StatusNotFound && ref != "":
		// GitHub says the same of a repository that it hides.
		_, there := s.client.repository(ctx, repo)
		if there == nil {
			return notThere(op, repo, what, err)
		}
		if statusOf(there) != http.StatusNotFound {
			err = there
			break
		}
		fallthrough
	case status == http.StatusNotFound, errors.Is(err, errNotInstalled):
		return actions.Wrap(op, actions.CodeNotFound, err,
			fmt.Sprintf("Berth cannot see %s on GitHub, so %s was not found: either the name is wrong, or Berth's token or GitHub App has no access to it, which whoever runs Berth can give.", repo, what))
	case status == http.StatusUnprocessableEntity:
		return notThere(op, repo, what, err)
	}
	return unreachable(op, err, fmt.Sprintf("%s of %s could not be looked up", what, repo))
}

func notThere(op, repo, what string, err error) error {
	if strings.HasPrefix(what, `"`) {
		what = "branch, tag or commit " + what
	}
	return actions.Wrap(op, actions.CodeNotFound, err, fmt.Sprintf("There is no %s in %s; check how it is spelled, and that it is pushed.", what, repo))
}

// unreachable is the Error of a call that failed for no fault of who asked.
func unreachable(op string, err error, what string) error {
	if limited, ok := errors.AsType[*limitedError](err); ok {
		return &actions.Error{Op: op, Code: actions.CodeUnavailable, Err: err, Retry: true,
			Msg: fmt.Sprintf("%s: GitHub's rate limit is used up for %d more seconds; it is tried again.", what, int(limited.after.Seconds())+1)}
	}
	switch status := statusOf(err); {
	case errors.Is(err, context.Canceled):
		return actions.Wrap(op, actions.CodeCancelled, err, what+": it was stopped.")
	case status == http.StatusUnauthorized:
		return actions.Wrap(op, actions.CodeDownstream, err, what+": GitHub refuses Berth's credentials. Whoever runs Berth has to renew them; `berth doctor` says more.")
	case status == http.StatusForbidden:
		return actions.Wrap(op, actions.CodeDownstream, err, what+": GitHub does not let Berth read it. Whoever runs Berth has to grant it Contents: read; `berth doctor` says more.")
	case final(err):
		return actions.Wrap(op, actions.CodeDownstream, err, fmt.Sprintf("%s: GitHub answered %d.", what, status))
	default:
		return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: what + ": GitHub did not answer; try again in a moment.", Err: err, Retry: true}
	}
}

// Fetch gives a read-only folder with repo at sha; see actions.Sources.
func (s *sources) Fetch(ctx context.Context, repo, sha string) (string, func(), error) {
	const op = "github.fetch"
	if !validRepo(repo) || !fullSHA.MatchString(sha) {
		return "", nil, actions.Errorf(op, actions.CodeInvalid, "%q at %q is no commit of a repository.", clip(repo, 80), clip(sha, 80))
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	what := fmt.Sprintf("The source of %s at %s could not be fetched", repo, sha[:7])
	dir, release, err := s.cache.Folder(ctx, strings.ToLower(repo)+"/"+sha, func(ctx context.Context) (io.ReadCloser, error) {
		return s.client.tarball(ctx, repo, sha)
	})
	if err == nil {
		return dir, release, nil
	}
	if bad, ok := errors.AsType[*archive.Error](err); ok {
		return "", nil, actions.Wrap(op, actions.CodeInvalid, err, fmt.Sprintf("%s: %s.", what, bad.Text))
	}
	if status := statusOf(err); status == http.StatusNotFound || status == http.StatusUnprocessableEntity || errors.Is(err, errNotInstalled) {
		return "", nil, actions.Wrap(op, actions.CodeNotFound, err, what+": GitHub has no such commit there, or does not let Berth see it.")
	}
	return "", nil, unreachable(op, err, what)
}

func (s *sources) remembered(repo, ref string) (actions.Commit, bool) {
	if !fullSHA.MatchString(ref) {
		return actions.Commit{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.known[strings.ToLower(repo)+"@"+ref]
	return c, ok
}

func (s *sources) remember(repo string, c actions.Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxRemembered {
		clear(s.known) // asking again is cheap
	}
	s.known[strings.ToLower(repo)+"@"+c.SHA] = c
}

// validRef tells whether ref could be a branch, tag or commit.
// Source: https://git-scm.com/docs/git-check-ref-format
func validRef(ref string) bool {
	if len(ref) > 255 || strings.HasPrefix(ref, "-") || strings.HasSuffix(ref, ".") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") || ref == "@" {
		return false
	}
	for _, r := range ref {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) || r == '\uFFFD' {
			return false
		}
	}
	for part := range strings.SplitSeq(ref, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// clip shortens outside text that is repeated in a message.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
