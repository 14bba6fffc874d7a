package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// Open lists the numbers of a repository's open pull requests. That one is not
// among them proves nothing: there may be more than are listed. It returns
// CodeUnavailable when GitHub does not say.
func (s *Surface) Open(ctx context.Context, repo string) ([]int, error) {
	numbers, err := s.client.openPulls(ctx, repo)
	if err != nil {
		return nil, unseen("github.open", err, "GitHub did not list the open pull requests of "+repo+".")
	}
	return numbers, nil
}

// Closed looks at one pull request by itself. It is closed, since at, only where
// GitHub's answer is about this very pull request and says so. It returns
// CodeNotFound when GitHub says that there is none, which it also says of what it
// hides, and CodeUnavailable for whatever else is no such answer.
func (s *Surface) Closed(ctx context.Context, repo string, number int) (closed bool, at time.Time, err error) {
	const op = "github.closed"
	p, err := s.client.pull(ctx, repo, number)
	if status := statusOf(err); status == http.StatusNotFound || status == http.StatusGone {
		return false, at, actions.Wrap(op, actions.CodeNotFound, err, fmt.Sprintf("GitHub does not show %s.", placeID(repo, number)))
	}
	if err == nil && (p.number != number || !strings.EqualFold(p.repo, repo)) {
		err = fmt.Errorf("asked for %s, GitHub told of %s", placeID(repo, number), placeID(p.repo, p.number))
		return false, at, actions.Wrap(op, actions.CodeUnavailable, err, fmt.Sprintf("GitHub told of another pull request than %s; if the repository was renamed, the config must say its new name.", placeID(repo, number)))
	}
	if err == nil && p.open != p.closedAt.IsZero() {
		err = errors.New("a pull request that is closed at no time, or open and closed")
	}
	if err != nil {
		return false, at, unseen(op, err, fmt.Sprintf("GitHub did not say how %s is.", placeID(repo, number)))
	}
	return !p.open, p.closedAt, nil
}

// CleanUp asks for the cleanup of env because its pull request is closed since
// closed, as its webhook does and under the same idempotency key, so that there
// is one request whoever sees that end first. again, unless it is "", makes it
// another request than the one before, which ended without a cleanup. It returns
// nil when there is nothing to ask for: a cleanup is on its way, or nothing is
// there.
func (s *Surface) CleanUp(ctx context.Context, env actions.Name, repo string, number int, closed time.Time, again string) (*approvals.Request, error) {
	return s.cleanup(ctx, env, closing{
		repo: repo, number: number, at: closedStamp(closed), again: again, by: approvals.Requester{Actor: system},
	})
}

// system is who asks for what nobody in particular asked for.
const system = "berth"

// unseen says that something could not be seen, which says nothing of how it is.
func unseen(op string, err error, text string) error {
	return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: text, Err: err, Retry: true}
}
