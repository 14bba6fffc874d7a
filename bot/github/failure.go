package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	gh "github.com/google/go-github/v60/github"
)

// apiError is an answer of GitHub that is no success.
type apiError struct {
	Status  int
	Message string
	Call    string // what was tried
}

func (e *apiError) Error() string { return fmt.Sprintf("%s: %d %s", e.Call, e.Status, e.Message) }

// limitedError says that GitHub, or our own budget, wants a pause first.
type limitedError struct{ after time.Duration }

func (e *limitedError) Error() string { return fmt.Sprintf("wait %v before the next call", e.after) }

// errNotInstalled says that the App cannot reach a repository.
var errNotInstalled = errors.New("the GitHub App is not installed there")

// statusOf is the status of an apiError in err's chain, else 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.Status
	}
	return 0
}

// final tells whether trying again soon cannot help.
func final(err error) bool {
	switch status := statusOf(err); status {
	case 0, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return status < 500
	}
}

// failure makes of go-github's error one of ours: *limitedError where GitHub
// wants a pause, which is remembered for the account; *apiError where it
// answered; else the error itself.
func (c *client) failure(ctx context.Context, account, what string, err error) error {
	if err == nil {
		return nil
	}
	status, message, pause := refusal(err)
	if pause > 0 {
		pause = min(pause, maxPause)
		c.log.WarnContext(ctx, "GitHub wants a pause", "account", account, "seconds", int(pause.Seconds()), "call", what, "said", message)
		c.budget.block(ctx, account, pause)
		return &limitedError{after: pause}
	}
	if status == 0 {
		return fmt.Errorf("%s: %w", what, err)
	}
	if message == "" {
		message = http.StatusText(status)
	}
	return &apiError{Status: status, Message: message, Call: what}
}

// refusal is what GitHub answered, when err holds an answer, and for how long it
// wants to be left alone. After an answer that used its limit up go-github
// refuses calls by itself, with an answer of its own making that has no headers.
func refusal(err error) (status int, message string, pause time.Duration) {
	var resp *http.Response
	if e, ok := errors.AsType[*gh.RateLimitError](err); ok {
		resp, message, pause = e.Response, e.Message, max(time.Second, time.Until(e.Rate.Reset.Time))
	} else if e, ok := errors.AsType[*gh.AbuseRateLimitError](err); ok {
		resp, message, pause = e.Response, e.Message, time.Minute
		if e.RetryAfter != nil {
			pause = max(time.Second, *e.RetryAfter)
		}
	} else if e, ok := errors.AsType[*gh.ErrorResponse](err); ok {
		resp, message = e.Response, e.Message
	} else if e, ok := errors.AsType[*gh.TwoFactorAuthError](err); ok {
		resp, message = e.Response, e.Message
	} else if e, ok := errors.AsType[*ghinstallation.HTTPError](err); ok && e.Response != nil {
		_ = e.Response.Body.Close() // nobody else does
		resp, message = e.Response, "no token for the installation"
	}
	if resp == nil {
		return 0, "", 0
	}
	return resp.StatusCode, message, cmp.Or(pauseOf(resp), pause)
}

// pauseOf is the pause that an answer asks for; see transport.
func pauseOf(resp *http.Response) time.Duration {
	if !mayPause(resp.StatusCode) {
		return 0
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
