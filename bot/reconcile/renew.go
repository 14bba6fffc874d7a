package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// renewal is the identity that renewals are ordered by. As with a schedule, they
// are no use of an environment: it lives no longer for them.
const renewal = "schedule:renewal"

// renew asks for a deploy of what runs where a part has to be renewed though
// nothing has changed, such as a certificate that ends soon. What others want of
// the environment comes first; what failed is asked for again the next day.
func (s *sweep) renew(ctx context.Context, name actions.Name, found map[string]actions.Observation) error {
	var why []string
	for _, part := range slices.Sorted(maps.Keys(found)) {
		if found[part].Renew != "" {
			why = append(why, part+": "+found[part].Renew)
		}
	}
	if len(why) == 0 {
		return nil
	}
	env, err := s.o.Store.Environment(ctx, name)
	if err != nil {
		return err
	}
	if env.State != actions.StateRunning || env.Sleeping || env.RunID != "" || env.Lock != nil {
		return nil // it changed meanwhile, or is to stay as it is; the next sweep looks again
	}
	if env.Commit.SHA == "" && env.Repo != "" {
		return nil // another tool made it, and nobody can say of what; its first deploy by Berth renews what is due
	}
	standing, err := s.o.Requests.Standing(ctx, name)
	if err != nil || len(standing) > 0 {
		return err
	}
	order := actions.Order{
		Env: name, Verb: actions.VerbDeploy, AsIs: true, Ref: env.Commit.SHA, PullRequest: env.PullRequest, Set: env.Set,
		By: system, Identity: renewal, Reason: strings.Join(why, "; "),
	}
	command := bot.Command{Verb: string(order.Verb), App: name.App, Env: name.Env, Ref: order.Ref, Reason: order.Reason}
	r, made, err := s.o.Requests.Submit(ctx, approvals.Request{
		Order: order, Command: command.String(), Requester: approvals.Requester{Actor: system}, Place: approvals.Place{Surface: place, ID: name.String()},
		Key: "reconcile:renew:" + digest(append([]string{name.String(), s.begun.UTC().Format("2006-01-02")}, why...)),
	})
	if err == nil && made {
		s.log.InfoContext(ctx, "a deploy of what runs was asked for", "env", name.String(), "why", order.Reason, "request_id", r.ID)
	}
	return err
}
