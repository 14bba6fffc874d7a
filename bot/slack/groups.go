package slack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// keepGroup is how long an answer about a group or an account is used again: for
// the several looks that one decision takes. Somebody who was taken out of a
// group between their click and the run counts for no longer than this, since
// the policy is asked once more right before a request runs.
const keepGroup = 3 * time.Second

// Groups tells who is in a user group of Slack's: the groups
// "slack-group:S0123", or "slack-group:T0002.S0123" in a further workspace, of
// policies.
type Groups struct {
	s       *Surface
	members bot.Kept[[]string]
	active  bot.Kept[bool]
}

// Member tells whether one of the person's accounts is in the user group, and
// may still sign in. It returns CodeInvalid for a group that cannot be one,
// CodeNotFound for a workspace that Berth has no token of, and another error
// when Slack does not say; an error is never a yes.
func (g *Groups) Member(ctx context.Context, group string, _ *approvals.Request, p approvals.Person) (bool, error) {
	const op = "slack.group"
	team, id, found := strings.Cut(group, ".")
	if !found {
		team, id = "", group
	}
	if !idPattern.MatchString(id) || id[0] != 'S' || found && !idPattern.MatchString(team) {
		return false, actions.Errorf(op, actions.CodeInvalid, "%.80q is no user group of Slack's; write its id, such as S0123ABCD, or T0002.S0123ABCD for one of a further workspace.", group)
	}
	token, err := g.s.workspaces.token(ctx, team)
	if err != nil {
		return false, err
	}
	accounts, err := g.s.workspaces.accounts(ctx, team, p)
	if err != nil || len(accounts) == 0 {
		return false, err
	}
	what := fmt.Sprintf("Whether %s is in the Slack user group %s could not be seen", p.Name, group)
	members, err := g.members.Get(g.s.now(), group, func() ([]string, error) { return g.list(ctx, token, id) })
	if err != nil {
		return false, groupFailure(op, err, what, "usergroups:read")
	}
	for _, user := range accounts {
		if !slices.Contains(members, user) {
			continue
		}
		active, err := g.active.Get(g.s.now(), team+"."+user, func() (bool, error) { return g.signsIn(ctx, token, user) })
		if err != nil {
			return false, groupFailure(op, err, what, "users:read")
		}
		if active {
			return true, nil
		}
	}
	return false, nil
}

// accounts are a person's accounts in a workspace, as Slack calls them.
func (w *workspaces) accounts(ctx context.Context, team string, p approvals.Person) ([]string, error) {
	if team != "" {
		if _, further := w.others[team]; !further {
			home, err := w.holder(ctx, w.home)
			if err != nil {
				return nil, err
			}
			if !home.is(team) {
				return nil, nil
			}
			team = ""
		}
	}
	var users []string
	for _, identity := range p.Identities {
		user, onSlack := strings.CutPrefix(identity, identityPrefix)
		if !onSlack {
			continue
		}
		if team != "" {
			if user, onSlack = strings.CutPrefix(user, team+"."); !onSlack {
				continue
			}
		}
		if idPattern.MatchString(user) {
			users = append(users, user)
		}
	}
	return users, nil
}

// list are the members of a user group. Slack tells all of them in one answer,
// and none of a group that was disabled.
// Source: https://docs.slack.dev/reference/methods/usergroups.users.list
func (g *Groups) list(ctx context.Context, token, id string) ([]string, error) {
	var found struct {
		Users []string `json:"users"`
	}
	_, err := g.s.api.call(ctx, token, "usergroups.users.list", url.Values{"usergroup": {id}, "include_disabled": {"false"}}, &found)
	return found.Users, err
}

// signsIn tells whether an account is there and active: user groups may go on
// naming those that are not.
// Source: https://docs.slack.dev/reference/methods/users.info
func (g *Groups) signsIn(ctx context.Context, token, user string) (bool, error) {
	var found struct {
		User struct {
			ID      string `json:"id"`
			Deleted bool   `json:"deleted"`
			IsBot   bool   `json:"is_bot"`
		} `json:"user"`
	}
	_, err := g.s.api.call(ctx, token, "users.info", url.Values{"user": {user}}, &found)
	if absent(err) {
		return true, nil // a server without accounts has none that were deactivated
	}
	if err != nil {
		return false, err
	}
	return found.User.ID == user && !found.User.Deleted && !found.User.IsBot, nil
}

// groupFailure is the Error of a look that failed. It is never a "no".
func groupFailure(op string, err error, what, scope string) error {
	switch {
	case errors.Is(err, context.Canceled):
		return actions.Wrap(op, actions.CodeCancelled, err, what+": it was stopped.")
	case actions.CodeOf(err) == actions.CodeForbidden:
		return actions.Wrap(op, actions.CodeDownstream, err, fmt.Sprintf("%s: Slack does not let Berth look. Its app needs the scope %s; `berth doctor` says more.", what, scope))
	case actions.CodeOf(err) == actions.CodeNotFound, actions.CodeOf(err) == actions.CodeInvalid:
		return actions.Wrap(op, actions.CodeDownstream, err, what+": Slack has no such group that is enabled. Whoever looks after Berth's policies has to name another, or enable it.")
	}
	return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: what + ": Slack did not answer; it is tried again.", Err: err, Retry: true}
}
