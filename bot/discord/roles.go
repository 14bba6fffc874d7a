package discord

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// keepRoles is how long somebody's roles are used again: for the several looks
// that one decision takes. Whoever lost a role counts for no longer than this,
// since the policy is asked once more right before a request runs.
const keepRoles = 3 * time.Second

// Discord's codes for who and what is not there.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
const (
	codeUnknownMember = 10007
	codeUnknownUser   = 10013
)

const opRoles = "discord.roles"

// Roles tells who has a role in a guild: the groups "discord-role:GUILD/ROLE" of
// policies.
type Roles struct {
	s    *Surface
	kept bot.Kept[[]string] // by guild/user
}

// Member tells whether one of the person's accounts has the role, which group
// names as "GUILD/ROLE". Whoever left the guild has none. It returns CodeInvalid
// for a group that is no role, and another error when Discord does not say.
func (r *Roles) Member(ctx context.Context, group string, _ *approvals.Request, p approvals.Person) (bool, error) {
	guild, role, ok := strings.Cut(group, "/")
	if !ok || !isID(guild) || !isID(role) {
		return false, actions.Errorf(opRoles, actions.CodeInvalid, "%.80q is no role; write it as GUILD/ROLE, by their numbers.", group)
	}
	var unseen error
	for _, identity := range p.Identities {
		account, ok := strings.CutPrefix(identity, identityPrefix)
		if !ok || !isID(account) {
			continue
		}
		roles, err := r.of(ctx, guild, account)
		if err != nil {
			unseen = roleFailure(err, fmt.Sprintf("Whether %s has the role %s could not be seen", p.Name, group))
			continue
		}
		if slices.Contains(roles, role) {
			return true, nil
		}
	}
	return false, unseen
}

// of are the roles of an account in a guild; none when it is no member. The
// guild itself is the role @everyone.
func (r *Roles) of(ctx context.Context, guild, account string) ([]string, error) {
	return r.kept.Get(r.s.now(), guild+"/"+account, func() ([]string, error) { return r.ask(ctx, guild, account) })
}

func (r *Roles) ask(ctx context.Context, guild, account string) ([]string, error) {
	var member struct {
		Roles []string `json:"roles"`
		User  *user    `json:"user"`
	}
	err := r.s.client.call(ctx, http.MethodGet, "guilds/"+guild+"/members/"+account, nil, &member)
	switch refused, _ := errors.AsType[*apiError](err); {
	case refused != nil && refused.Status == http.StatusNotFound && (refused.Code == codeUnknownMember || refused.Code == codeUnknownUser):
		return nil, nil
	case err != nil:
		return nil, err
	case member.User != nil && member.User.ID != account:
		return nil, errors.New("another account was answered with")
	}
	return append(member.Roles, guild), nil
}

// roleFailure is the Error of a look that failed. It is never a "no".
func roleFailure(err error, what string) error {
	if limited, ok := errors.AsType[*bot.Limited](err); ok {
		return &actions.Error{Op: opRoles, Code: actions.CodeUnavailable, Err: err, Retry: true,
			Msg: fmt.Sprintf("%s: Discord wants a pause of %d seconds; it is tried again.", what, int(limited.After.Seconds())+1)}
	}
	refused, ok := errors.AsType[*apiError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return actions.Wrap(opRoles, actions.CodeCancelled, err, what+": it was stopped.")
	case ok && (refused.Status == http.StatusForbidden || refused.Status == http.StatusNotFound):
		return actions.Wrap(opRoles, actions.CodeDownstream, err, what+": Berth is not in that server. Whoever runs Berth has to add its application there; `berth doctor` says more.")
	case ok && refused.Status == http.StatusUnauthorized:
		return actions.Wrap(opRoles, actions.CodeDownstream, err, what+": Discord refuses Berth's token. Whoever runs Berth has to renew it; `berth doctor` says more.")
	case ok && refused.Status < 500:
		return actions.Wrap(opRoles, actions.CodeDownstream, err, fmt.Sprintf("%s: Discord answered %d.", what, refused.Status))
	default:
		return &actions.Error{Op: opRoles, Code: actions.CodeUnavailable, Msg: what + ": Discord did not answer; it is tried again.", Err: err, Retry: true}
	}
}
