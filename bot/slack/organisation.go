package slack

import (
	"context"
	"net/url"
	"time"

	"github.com/berth-dev/berth/actions"
)

// keepKin is how long it is kept whether somebody belongs to an organisation. An
// account does not change hands: what changes is who else may see it.
const keepKin = 10 * time.Minute

// kin tells whether an account that Slack says is of team belongs to the
// organisation that the workspace of place is in. Accounts are the same in all
// workspaces of one (Enterprise Grid), and Slack names the organisation, or
// another of their workspaces, as theirs when they click: they are no strangers
// where they are at home. It returns CodeUnavailable while Slack does not say.
// Source: https://docs.slack.dev/enterprise/developing-for-enterprise-orgs
func (w *workspaces) kin(ctx context.Context, place, team, user string) (bool, error) {
	at, err := w.of(ctx, place)
	if err != nil {
		if actions.CodeOf(err) == actions.CodeNotFound {
			return false, nil
		}
		return false, err
	}
	home, err := w.holder(ctx, at)
	if err != nil {
		return false, err
	}
	switch home.organisation {
	case "":
		return false, nil
	case team:
		return true, nil
	}
	return w.members.Get(w.s.now(), home.organisation+"."+user, func() (bool, error) {
		var found struct {
			User struct {
				ID         string `json:"id"`
				Enterprise struct {
					ID string `json:"enterprise_id"`
				} `json:"enterprise_user"`
			} `json:"user"`
		}
		_, err := w.s.api.call(ctx, at.token, "users.info", url.Values{"user": {user}}, &found)
		switch {
		case closed(err):
			return false, nil // who cannot be seen from there is not of there
		case err != nil:
			return false, &actions.Error{Op: "slack.account", Code: actions.CodeUnavailable, Err: err, Retry: true,
				Msg: "Slack does not say at the moment whose that account is; it is tried again."}
		}
		return found.User.ID == user && found.User.Enterprise.ID == home.organisation, nil
	})
}
