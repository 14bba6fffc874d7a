package bot

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// Planner says what an order would do. *actions.Runner is one.
type Planner interface {
	Plan(ctx context.Context, order actions.Order, brief bool) (*actions.Plan, error)
}

// Simulation is what would become of a command, had somebody typed it now.
type Simulation struct {
	Request *approvals.Request // as it would be made, with its plan; it is stored nowhere
	Outcome approvals.Outcome
	Text    string // the same in Markdown
}

// Simulate tells what policies would say of a command by as: an actor of the
// config by name, or an identity such as github:ana; "" means whoever asks. It
// plans, asks the policies, and changes nothing.
//
// It returns CodeInvalid for a line that is no action, CodeNotFound for somebody
// whom the config does not name, what planning returns, and the policies' own
// error when one of them cannot tell.
func (s *Service) Simulate(ctx context.Context, in Input, as string) (*Simulation, error) {
	sim, err := s.simulate(ctx, in, as)
	if err == nil {
		return sim, nil
	}
	reply, err := s.answer(ctx, in, Reply{}, err)
	if err != nil {
		return nil, err
	}
	return nil, actions.Errorf("bot.simulate", reply.Code, "%s", Unescape(reply.Text))
}

func (s *Service) simulate(ctx context.Context, in Input, as string) (*Simulation, error) {
	c, err := s.parse(in.Line)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(actions.Verbs(), actions.Verb(c.Verb)) {
		return nil, refusal(actions.CodeInvalid, "%s is no action, so no policy is about it; try %s.", Code(c.Verb, 40), Code("deploy shop/pr-42", 40))
	}
	if s.planner == nil {
		return nil, refusal(actions.CodeInvalid, "Nothing can be planned here.")
	}
	if in.Actor, err = s.identify(ctx, in.Actor); err != nil {
		return nil, err
	}
	// It plans, which takes what planning an action takes, for whatever commit and
	// values are named: more than a look.
	if err := s.authorize(in, c); err != nil {
		return nil, err
	}
	if in.Actor, err = s.somebody(ctx, in.Actor, as); err != nil {
		return nil, err
	}
	unseen := as != "" && len(in.Actor.Roles) == 0 && strings.HasPrefix(in.Actor.Identity, "github:")
	if !unseen {
		if err := s.simulable(in, c.Verb, as); err != nil {
			return nil, err
		}
	}
	app, env, err := s.target(in, c)
	if err != nil {
		return nil, err
	}
	if err := allowed(app, c); err != nil {
		return nil, err
	}
	if err := chosen(app, c); err != nil {
		return nil, err
	}
	r := s.request(in, lasting(app, c), app, env)
	r.State, r.CreatedAt = approvals.StatePlanning, s.now().UTC()
	if r.Glass != nil {
		r.Glass.At = r.CreatedAt
	}
	if r.Plan, err = s.planner.Plan(ctx, r.Order, false); err != nil {
		return nil, err
	}
	r.Digest, r.Order.Commit = r.Plan.Digest, r.Plan.Order.Commit
	sim := &Simulation{Request: &r, Outcome: approvals.Outcome{Effect: approvals.EffectRelease}}
	if !r.DryRun {
		if sim.Outcome, err = s.requests.Weigh(ctx, &r); err != nil {
			return nil, err
		}
	}
	r.Outcome, r.Reason = &sim.Outcome, sim.Outcome.Reason
	sim.Text = simulated(in, sim)
	if unseen {
		sim.Text += "\n\nThe config gives " + Code(in.Actor.Identity, 140) + " no role, and what GitHub lets them do was not looked up: " +
			"this holds if it is enough to type the command there, and rules that look for a role such as `github:write` saw none."
	}
	return sim, nil
}

// simulable refuses to simulate what the actor may not ask for.
func (s *Service) simulable(in Input, verb, as string) error {
	if as != "" && len(in.Actor.Roles) == 0 {
		return refusal(actions.CodeForbidden, "%s has no role here, so the command would be refused; somebody who keeps Berth's config can give them one under `actors` or `tokens`.", in.Actor.who())
	}
	return s.authorize(in, Command{Verb: verb})
}

// somebody is the actor as a simulation has it.
func (s *Service) somebody(ctx context.Context, asks Actor, as string) (Actor, error) {
	if as == "" || as == asks.Name || strings.EqualFold(as, asks.Identity) {
		return asks, nil
	}
	if s.people == nil {
		return Actor{}, refusal(actions.CodeInvalid, "Nobody is known here but who asks; leave %s out.", Code("as", 10))
	}
	identity := as
	if !strings.Contains(as, ":") {
		identity = "actor:" + as
	}
	person, err := s.people.Person(ctx, identity)
	if err != nil {
		return Actor{}, err
	}
	if person.Name == "" && identity != as {
		return Actor{}, refusal(actions.CodeNotFound, "Berth's config names nobody %s; write a name from `actors` or `tokens`, or an identity such as `github:ana`.", Code(as, 60))
	}
	if person.Name == "" {
		person.Name = identity
	}
	return Actor{ID: person.ID, Name: person.Name, Identity: identity, Roles: person.Roles}, nil
}

// simulated says what would become of a command.
func simulated(in Input, sim *Simulation) string {
	r, o := sim.Request, &sim.Outcome
	text := command(r) + " by " + Escape(r.Requester.Actor, 80) + " would "
	switch o.Effect {
	case approvals.EffectRelease:
		text += "run at once."
		if len(o.Rules) == 0 {
			text += " No rule is about it."
		}
		if r.DryRun {
			text = command(r) + " would be planned and end; no policy is asked, since nothing changes."
		}
	case approvals.EffectApprove:
		text += "wait for approval. " + lacking(r)
	default:
		text += "be refused" + because(o.Reason)
	}
	if rules := outcomeText(in, o, ""); rules != "" {
		text += "\n\n" + rules
	}
	if by := glass(o); by != "" && o.Effect != approvals.EffectRelease {
		text += "\n\n" + by + " may set rules aside with `--break-glass --reason \"…\"`."
	}
	if r.Plan.Summary != "" {
		text += "\n\nThe plan: " + fullStop(Escape(r.Plan.Summary, 600))
		if r.Plan.Destructive {
			text += " **It takes data away.**"
		}
	}
	return text
}

// fullStop ends a sentence that does not end yet.
func fullStop(s string) string {
	if s == "" || strings.HasSuffix(s, ".") || strings.HasSuffix(s, "!") || strings.HasSuffix(s, "?") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}
