package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

const (
	// quotaPage is how many records one call reads.
	quotaPage = 500
	// mostNamed is how many environments a refusal names.
	mostNamed = 5
)

// quota refuses a request that would make one environment too many. Those that
// earlier requests will make count too, so that two requests of the same moment
// do not both fit into the last place.
func (ev *evaluation) quota(ctx context.Context, r *rule, out *approvals.RuleOutcome) error {
	there, err := ev.counted(ctx, r.Quota.Per)
	if err != nil {
		return err
	}
	if len(there) < r.Quota.Most {
		return nil
	}
	out.Effect, out.Reason = approvals.EffectRefuse, ev.full(r, there)
	return nil
}

// makes tells whether the request would make an environment: a quota is about no
// other.
func (ev *evaluation) makes() bool {
	return makes(ev.request) && (ev.environment == nil || ev.environment.State == actions.StateCleaned)
}

// makes tells whether a request makes its environment, if there is none.
func makes(r *approvals.Request) bool {
	return !r.DryRun && (r.Order.Verb == actions.VerbDeploy || r.Order.Verb == actions.VerbRestore)
}

// counted are the environments, but the request's own, that there are or that
// earlier requests will make, sorted.
func (ev *evaluation) counted(ctx context.Context, per Per) ([]string, error) {
	filter := actions.EnvFilter{App: ev.request.Order.Env.App, Limit: quotaPage}
	mine := func(string) (bool, error) { return true, nil }
	if per == PerActor {
		filter.App = ""
		mine = ev.mine(ctx)
	}
	var names []string
	seen := map[actions.Name]bool{ev.request.Order.Env: true}
	for {
		page, next, err := ev.o.Environments.Environments(ctx, filter)
		if err != nil {
			return nil, err
		}
		for _, env := range page {
			if !seen[env.Name] && env.State != actions.StateCleaned {
				seen[env.Name] = true
				is, err := mine(env.Owner.Identity)
				if err != nil {
					return nil, err
				}
				if is {
					names = append(names, env.Name.String())
				}
			}
		}
		if filter.Cursor = next; next == "" {
			break
		}
	}
	waiting, err := ev.o.Requests.Active(ctx, filter.App)
	if err != nil {
		return nil, err
	}
	for _, other := range waiting {
		// What runs has its place, also where ids of two replicas are not in the
		// order in which the requests came.
		first := ev.request.ID == "" || other.ID < ev.request.ID || other.State == approvals.StateRunning
		if !first || other.State.Ended() || !makes(other) || seen[other.Order.Env] {
			continue
		}
		is, err := mine(other.Requester.Identity)
		if err != nil {
			return nil, err
		}
		if is {
			seen[other.Order.Env] = true
			names = append(names, other.Order.Env.String())
		}
	}
	slices.Sort(names)
	return names, nil
}

// mine tells whether an account is one of the requester's person: who it is
// decides, not how it is written, and an account that they took away in between
// is theirs for as long as People says so. Each account is looked up once.
func (ev *evaluation) mine(ctx context.Context) func(identity string) (bool, error) {
	known := map[string]bool{ev.by.identity: true, "": false}
	return func(identity string) (bool, error) {
		if is, ok := known[identity]; ok {
			return is, nil
		}
		p, err := whois(ctx, ev.o.People, approvals.Requester{Identity: identity})
		if err != nil && actions.CodeOf(err) != actions.CodeInvalid { // what is no identity is nobody's
			return false, err
		}
		known[identity] = err == nil && p.ID == ev.by.ID
		return known[identity], nil
	}
}

// full says that there is no place left, and how to make one.
func (ev *evaluation) full(r *rule, there []string) string {
	whose := "of " + ev.request.Order.Env.App
	if r.Quota.Per == PerActor {
		whose = "for " + ev.by.Name
	}
	if len(there) == 0 {
		return fmt.Sprintf("The rule %s allows no environments %s.%s", r.Name, whose, unblock(r))
	}
	named := there
	more := ""
	if len(there) > mostNamed {
		named, more = there[:mostNamed], fmt.Sprintf(" and %d more", len(there)-mostNamed)
	}
	noun, are := "environments", fmt.Sprintf("are %d", len(there))
	if r.Quota.Most == 1 {
		noun = "environment"
	}
	if len(there) == 1 {
		are = "is 1"
	}
	text := fmt.Sprintf("The rule %s allows %d %s %s at once, and there %s, those on their way included: %s%s. Clean one up first: `cleanup %s`.",
		r.Name, r.Quota.Most, noun, whose, are, strings.Join(named, ", "), more, there[0])
	if len(r.BreakGlass) > 0 {
		text += unblock(r)
	}
	return text
}
