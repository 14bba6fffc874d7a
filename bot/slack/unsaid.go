package slack

import (
	"context"
	"net/http"

	"github.com/berth-dev/berth/actions"
)

// Berth may be pointed at something that speaks Slack's API and is not Slack: a
// stand-in for tests, a gateway. Such servers know the methods that somebody
// needed. What Berth calls only to do better must not keep it from doing at all:
// where auth.test is not known, accounts and channels are of the workspace that
// the signed request names. None of this holds at Slack's own addresses, where
// no method is missing and a refusal means what it says.

// noTeam is our own word for an answer of auth.test without a team.
const noTeam = "no_team"

// passingWords are those with which Slack says that something may pass.
// Source: https://docs.slack.dev/reference/methods/auth.test#errors
var passingWords = map[string]bool{
	"fatal_error": true, "internal_error": true, "service_unavailable": true, "request_timeout": true, "team_added_to_org": true,
}

// unsaid tells whether err, of auth.test, is that of a server which does not know
// the method, rather than that of Slack, of a token, or of something that may
// pass.
func (s *Surface) unsaid(err error) bool {
	word := wordOf(err)
	if word == "" || slackOwn(s.apiURL.Hostname()) {
		return false
	}
	return !passingWords[word] && verdicts[word].msg != tokenText && verdicts[word].msg != verdicts["not_allowed_token_type"].msg
}

// againWhose asks once more whose a token is of which that was not said. It
// returns why it still is not.
func (w *workspaces) againWhose(ctx context.Context, of *workspace) error {
	call, cancel := context.WithTimeout(ctx, learnWithin)
	defer cancel()
	known, err := w.ask(call, of.token)
	if err != nil {
		return err
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	of.known = known
	return known.unsaid
}

// missingStatus are the HTTP statuses of servers that do not know a method. Slack
// answers 200 and says so in words.
var missingStatus = map[int]bool{http.StatusNotFound: true, http.StatusMethodNotAllowed: true, http.StatusNotImplemented: true}

// vital are the methods without which there are no cards. That one of them is
// missing is taken for something that may pass.
var vital = map[string]bool{"chat.postMessage": true, "chat.update": true}

// missing tells whether an answer's status says that the server at base does not
// know the method.
func (c *client) missing(method string, status int) bool {
	return missingStatus[status] && !vital[method] && !slackOwn(c.base.Hostname())
}

// absent tells whether err says that there is no such method.
func absent(err error) bool {
	switch wordOf(err) {
	case "unknown_method", "method_deprecated", "deprecated_endpoint":
		return true
	}
	return false
}

// closed tells whether err says that a way is closed, so that another is to be
// tried.
func closed(err error) bool {
	code := actions.CodeOf(err)
	return code == actions.CodeNotFound || code == actions.CodeForbidden || absent(err)
}
