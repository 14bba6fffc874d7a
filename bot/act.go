package bot

import (
	"context"
	"maps"
	"slices"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// act makes the request that a command is.
func (s *Service) act(ctx context.Context, in Input, c Command) (Reply, error) {
	app, env, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	if err := forks(in, app); err != nil {
		return Reply{}, err
	}
	if err := allowed(app, c); err != nil {
		return Reply{}, err
	}
	if err := chosen(app, c); err != nil {
		return Reply{}, err
	}
	r := s.request(in, c, app, env)
	known, err := s.known(ctx, in, r)
	if err != nil {
		return Reply{}, err
	}
	if known == nil {
		if err := s.possible(ctx, in, r); err != nil {
			return Reply{}, err
		}
	}
	stored, created, err := s.requests.Submit(ctx, r)
	if err != nil {
		return Reply{}, err
	}
	same := stored.Command == r.Command && maps.Equal(stored.Order.Set, r.Order.Set) && stored.Requester.Identity == r.Requester.Identity
	if !created && !same {
		return Reply{}, refusal(actions.CodeConflict, "That idempotency key belongs to another command (request `%s`); use a new one.", stored.ID)
	}
	return s.accepted(in, stored), nil
}

// request is the request that a command asks for.
func (s *Service) request(in Input, c Command, app *actions.App, env actions.Name) approvals.Request {
	c.App, c.Env, c.Wait = env.App, env.Env, false
	requester := in.Actor.requester()
	order := actions.Order{
		Env: env, Verb: actions.Verb(c.Verb), Ref: c.Ref, Cluster: c.Cluster, Set: c.Set, With: c.With, To: c.To, Keep: c.Keep, TTL: c.TTL,
		By: requester.Actor, Identity: requester.Identity, Reason: c.Reason,
	}
	if app.Repo != "" {
		order.PullRequest = env.PullRequest()
	}
	var glass *approvals.Glass
	if c.Glass {
		glass = &approvals.Glass{By: requester, Reason: c.Reason}
	}
	return approvals.Request{
		Glass: glass, Order: order, Command: c.Masked(), Requester: requester, Place: in.Place, DryRun: c.DryRun, Key: in.Key,
	}
}

// known is the request that the input's key leads to already. Its first answer
// stands, whatever has become of the environment since.
func (s *Service) known(ctx context.Context, in Input, r approvals.Request) (*approvals.Request, error) {
	if in.Key == "" {
		return nil, nil
	}
	return s.requests.Known(ctx, r.Order.Env, in.Key)
}

// accepted says that a request is on its way.
func (s *Service) accepted(in Input, r *approvals.Request) Reply {
	reply := Reply{Tone: ToneAccepted, Request: r}
	if r.DryRun {
		reply.Text = "Planning " + command(r) + " (request `" + r.ID + "`); nothing will change. " + in.code(VerbDiff, r.ID) + " shows the plan once it is made."
		return reply
	}
	reply.Text = "On it: " + command(r) + " (request `" + r.ID + "`). " + s.shown(in, VerbStatus, r.Order.Env) + " says how it goes, " +
		in.code(VerbCancel, r.ID) + " stops it."
	if r.Glass != nil {
		reply.Text += " The glass is broken: rules that " + in.Actor.who() + " may set aside are, and everybody reads why."
	}
	return reply
}

// forks answers at once on a fork's pull request that its code is kept out
// unless the config lets it in. Where else a fork's commit is asked for,
// planning finds out.
func forks(in Input, app *actions.App) error {
	if app.AllowForks || !in.Fork {
		return nil
	}
	return refusal(actions.CodeForbidden,
		"This pull request comes from a fork, and `apps.%s.allow_forks` is not set, so nothing ran. Somebody who keeps Berth's config can allow it; or push the branch to %s itself.",
		app.Name, Escape(app.Repo, 140))
}

// allowed checks --set against what the app lets people set.
func allowed(app *actions.App, c Command) error {
	var wrong []string
	for key := range c.Set {
		if !slices.Contains(app.AllowSet, key) {
			wrong = append(wrong, Code(key, 60))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	if len(app.AllowSet) == 0 {
		return refusal(actions.CodeForbidden, "`--set` cannot set %s: app `%s` lets nothing be set. Somebody who keeps Berth's config can list keys under `apps.%s.allow_set`.",
			Join(wrong, "and"), app.Name, app.Name)
	}
	can := make([]string, len(app.AllowSet))
	for i, key := range app.AllowSet {
		can[i] = Code(key, 60)
	}
	return refusal(actions.CodeForbidden, "`--set` cannot set %s: app `%s` lets %s be set. Somebody who keeps Berth's config can add keys under `apps.%s.allow_set`.",
		Join(wrong, "and"), app.Name, Join(can, "and"), app.Name)
}

// possible refuses early what the worker would refuse later. While other
// requests for the environment are on their way nobody knows yet in what state
// they will leave it, so then only a lock is a reason.
func (s *Service) possible(ctx context.Context, in Input, r approvals.Request) error {
	env, err := s.store.Environment(ctx, r.Order.Env)
	if err != nil && !isNotFound(err) {
		return err
	}
	if isNotFound(err) {
		env = nil
	}
	if !r.DryRun {
		if err := s.unlocked(in, env); err != nil {
			return err
		}
	}
	if err := s.stays(in, env, r.Order); err != nil {
		return err
	}
	active, err := s.active(ctx, r.Order.Env)
	if err != nil || len(active) > 0 {
		return err
	}
	if env != nil {
		open := *env
		open.Lock = nil // for a dry run; else it was looked at above
		env = &open
	}
	if err := actions.Allowed(r.Order.Env, env, r.Order.Verb); err != nil {
		return err
	}
	return s.revision(in, env, r.Order)
}

// unlocked stops whoever meets a lock, and says whose it is and why.
func (s *Service) unlocked(in Input, env *actions.Environment) error {
	if env == nil || env.Lock == nil {
		return nil
	}
	return refusal(actions.CodeConflict, "%s is %s, so nothing was done. Ask them, or open it with %s.",
		Code(env.Name.String(), 100), lockText(env.Lock), s.shown(in, VerbUnlock, env.Name))
}

// lockText is a lock as the end of "it is …".
func lockText(l *actions.Lock) string {
	text := "locked by " + Escape(l.By, 80) + " since " + Moment(l.At)
	if l.Reason != "" {
		text += " (" + Escape(l.Reason, 200) + ")"
	}
	return text
}

// active are the requests for env that have not ended, the newest first.
func (s *Service) active(ctx context.Context, env actions.Name) ([]*approvals.Request, error) {
	standing, err := s.requests.Standing(ctx, env)
	slices.Reverse(standing)
	return standing, err
}
