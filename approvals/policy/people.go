package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/approvals"
)

// unseenFirst and unseenLast are how soon a request is looked at again because
// somebody's membership could not be seen: the longer it waits already, the
// later, since each look is on the record.
const (
	unseenFirst = 30 * time.Second
	unseenLast  = 5 * time.Minute
)

// lookAgain has the request looked at again soon.
func (ev *evaluation) lookAgain() {
	ev.wake(ev.now.Add(min(max(ev.now.Sub(ev.began())/8, unseenFirst), unseenLast)))
}

// membership is whether somebody belongs to a group.
type membership int

const (
	no membership = iota
	yes
	unseen // it could not be found out, which is neither
)

// member tells whether p belongs to group.
func (ev *evaluation) member(ctx context.Context, group string, p person) membership {
	prefix, rest, _ := strings.Cut(group, ":")
	switch prefix {
	case "role":
		return of(slices.Contains(p.Roles, rest))
	case "actor":
		return of(p.ID == group)
	}
	key := group + "\x00" + p.ID
	if known, ok := ev.members[key]; ok {
		return known
	}
	ev.members[key] = ev.lookUp(ctx, prefix, rest, p)
	return ev.members[key]
}

func of(is bool) membership {
	if is {
		return yes
	}
	return no
}

// lookUp asks whoever knows the group.
func (ev *evaluation) lookUp(ctx context.Context, prefix, rest string, p person) membership {
	groups := ev.o.Groups[prefix]
	if groups == nil {
		ev.o.Log.ErrorContext(ctx, "a rule names a group that nobody here knows", "group", prefix+":"+rest, "request_id", ev.request.ID)
		return unseen
	}
	is, err := groups.Member(ctx, rest, ev.request, p.Person)
	if err != nil {
		ev.o.Log.WarnContext(ctx, "who belongs to a group cannot be seen; nobody counts by it for now",
			"group", prefix+":"+rest, "actor", p.ID, "request_id", ev.request.ID, "error", err)
		return unseen
	}
	return of(is)
}

// memberOfAny tells whether p belongs to any of groups, and which could not be
// seen when that is not known.
func (ev *evaluation) memberOfAny(ctx context.Context, groups []string, p person) (membership, string) {
	blind := ""
	for _, group := range groups {
		switch ev.member(ctx, group, p) {
		case yes:
			return yes, ""
		case unseen:
			blind = group
		}
	}
	if blind != "" {
		return unseen, blind
	}
	return no, ""
}

// broken is whether somebody set a rule aside.
type broken struct {
	seen membership
	by   string
	why  string // why not
}

// glass tells whether whoever broke the glass may set the rule aside.
func (ev *evaluation) glass(ctx context.Context, r *rule) (broken, error) {
	glass := ev.request.Glass
	if glass == nil || r.Release || strings.TrimSpace(glass.Reason) == "" {
		return broken{}, nil
	}
	p, err := whois(ctx, ev.o.People, glass.By)
	if err != nil {
		return broken{}, err
	}
	if len(r.BreakGlass) == 0 {
		return broken{why: "Nobody may set this rule aside."}, nil
	}
	switch is, group := ev.memberOfAny(ctx, r.BreakGlass, p); is {
	case yes:
		return broken{seen: yes, by: p.Name}, nil
	case unseen:
		return broken{seen: unseen, why: fmt.Sprintf("Whether %s belongs to %s, and may set the rule aside, could not be seen; Berth looks again in a moment.", p.Name, described(group))}, nil
	default:
		return broken{why: fmt.Sprintf("%s may not set this rule aside; %s may.", p.Name, listed(r.BreakGlass, "or"))}, nil
	}
}

// setAside is what becomes of a rule whose glass was broken.
func (ev *evaluation) setAside(out *approvals.RuleOutcome, glass broken) {
	out.Effect, out.BrokenBy = approvals.EffectRelease, glass.by
	out.Reason = fmt.Sprintf("%s set this rule aside: %s", glass.by, ev.request.Glass.Reason)
	out.ExpiresAt, out.RemindAt, out.Reminders = time.Time{}, time.Time{}, 0
	for i := range out.Groups {
		out.Groups[i].Missing = 0
	}
}

// described is a group as people say it.
func described(group string) string {
	prefix, rest, _ := strings.Cut(group, ":")
	switch prefix {
	case "role":
		return "the role " + rest
	case "actor":
		return rest
	case "github-team":
		return "the team " + rest
	case "codeowners":
		return "the owners of the changed code"
	case "slack-group":
		return "the Slack group " + rest
	case "discord-role":
		_, role, _ := strings.Cut(rest, "/")
		return "the Discord role " + role
	default:
		return group
	}
}

// listed are groups as people say them: "the role sre or ana".
func listed(groups []string, last string) string {
	said := make([]string, len(groups))
	for i, group := range groups {
		said[i] = described(group)
	}
	return joined(said, last)
}

// joined lists words as a sentence does.
func joined(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}
