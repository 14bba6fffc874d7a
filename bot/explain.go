package bot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// explain says why a request is where it is.
func (s *Service) explain(ctx context.Context, in Input, c Command) (Reply, error) {
	var r *approvals.Request
	if c.ID != "" {
		found, err := s.find(ctx, in, c.ID)
		if err != nil {
			return Reply{}, err
		}
		r = found
	} else {
		found, err := s.explained(ctx, in, c)
		if err != nil {
			return Reply{}, err
		}
		r = found
	}
	text := fmt.Sprintf("Request `%s`: %s by %s, %s ago: %s.", r.ID, command(r), Escape(r.Requester.Actor, 80),
		Span(s.now().Sub(r.CreatedAt)), requestState(r))
	if why := s.why(in, r); why != "" {
		text += " " + why
	}
	id := r.ID
	if r.State != approvals.StatePending {
		id = "" // nobody can set a rule aside for it any more
	}
	if rules := outcomeText(in, r.Outcome, id); rules != "" {
		text += "\n\n" + rules
	}
	text += past(r)
	return Reply{Tone: ToneInfo, Request: r, Text: text}, nil
}

// explained is the request that is meant by the environments that can be: the
// newest, or, where those are of several apps, the one that waits for approval.
func (s *Service) explained(ctx context.Context, in Input, c Command) (*approvals.Request, error) {
	envs, err := s.places(in, c)
	if err != nil {
		return nil, err
	}
	if len(envs) > 1 {
		waiting, err := s.waiting(ctx, envs)
		switch {
		case err != nil:
			return nil, err
		case len(waiting) > 1:
			return nil, several(in, c.Verb, "wait", waiting, envs)
		case len(waiting) == 1:
			return waiting[0], nil
		}
	}
	r, err := s.latest(ctx, envs)
	if err == nil && r == nil && len(envs) > 1 {
		return nil, refusal(actions.CodeNotFound, "Nobody has asked for anything at %s yet, so there is nothing to explain.", shownPlaces(envs, "or"))
	}
	if err == nil && r == nil {
		return nil, s.noEnvironment(ctx, in, envs[0])
	}
	return r, err
}

// why says what a request waits for, or what to do now that it has ended.
func (s *Service) why(in Input, r *approvals.Request) string {
	env := r.Order.Env
	switch r.State {
	case approvals.StatePlanning:
		return "A worker asks the executors what it would change; then the policies are asked."
	case approvals.StatePending:
		return fmt.Sprintf("%s %s agrees, %s says no.", lacking(r), in.code(VerbApprove, r.ID), in.code(VerbDeny, r.ID))
	case approvals.StateReleased:
		return "Nothing stands against it; it runs as soon as what was asked for before it at " + Code(env.String(), 100) + " has ended and a worker is free."
	case approvals.StateRunning:
		if r.Stop != nil {
			return Escape(r.Stop.By.Actor, 80) + " asked to stop it, which takes a moment."
		}
		return in.code(VerbLogs, r.RunID) + " shows its log, " + in.code(VerbCancel, r.ID) + " stops it."
	case approvals.StateSucceeded:
		return s.shown(in, VerbStatus, env) + " says how the environment is."
	case approvals.StateFailed:
		return in.code(VerbLogs, r.ID) + " shows what happened; " + in.code(VerbRetry, r.ID) + " asks again for the same."
	case approvals.StateRefused, approvals.StateExpired, approvals.StateDenied:
		text := s.shown(in, string(r.Order.Verb), env) + " asks again."
		if by := glass(r.Outcome); by != "" {
			text += " In an emergency " + by + " may set rules aside with `--break-glass --reason \"…\"`."
		}
		return text
	default:
		return s.shown(in, string(r.Order.Verb), env) + " asks again."
	}
}

// glass are the groups that may set aside every rule that stands against a
// request, "" when nobody may.
func glass(o *approvals.Outcome) string {
	if o == nil {
		return ""
	}
	var by []string
	for _, rule := range o.Rules {
		switch rule.Effect {
		case approvals.EffectRelease:
		case approvals.EffectApprove, approvals.EffectRefuse, approvals.EffectDeny, approvals.EffectExpire:
			if len(rule.BreakGlass) == 0 {
				return ""
			}
			by = append(by, rule.BreakGlass...)
		}
	}
	slices.Sort(by)
	return groups(slices.Compact(by))
}

// requestState is a request's state in words.
func requestState(r *approvals.Request) string {
	text := map[approvals.State]string{
		approvals.StatePlanning: "being planned", approvals.StatePending: "waiting for approval",
		approvals.StateReleased: "waiting for its turn", approvals.StateRunning: "running",
	}[r.State]
	if text == "" {
		text = string(r.State)
	}
	if r.State == approvals.StateRunning && r.Stop != nil {
		text = "being stopped"
	}
	if r.Reason != "" && r.State != approvals.StatePending { // what it waits for is said by its rules
		reason := Prose(r.Reason, 600)
		if r.State == approvals.StateFailed { // in the words of what failed
			reason = Escape(r.Reason, 600)
		}
		text += " (" + withWhereabouts(strings.TrimRight(reason, "."), r.Left) + ")"
	}
	return text
}
