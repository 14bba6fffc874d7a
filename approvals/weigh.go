package approvals

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"

	"github.com/berth-dev/berth/actions"
)

// weigh asks the policy about r. Its panics are failures.
func (q *Requests) weigh(ctx context.Context, r *Request) (outcome Outcome, err error) {
	const op = "requests.policy"
	defer func() {
		if p := recover(); p != nil {
			q.log.ErrorContext(ctx, "panic", "in", "policy", "request_id", r.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = actions.Wrap(op, actions.CodeInternal, fmt.Errorf("panic: %v", p), "A bug in Berth stopped this; its log says where.")
		}
	}()
	outcome, err = (*q.policy.Load()).Evaluate(ctx, r)
	if err == nil && outcomes[outcome.Effect] == "" {
		err = actions.Errorf(op, actions.CodeInternal, "The policy gave an answer that Berth does not know.")
	}
	return outcome, err
}

// outcomes are the states that effects lead to.
var outcomes = map[Effect]State{
	EffectRelease: StateReleased, EffectApprove: StatePending, EffectExpire: StateExpired, EffectDeny: StateDenied, EffectRefuse: StateRefused,
}

// obey is the change that an outcome asks for.
func obey(o Outcome) change {
	return change{
		to: outcomes[o.Effect],
		edit: func(r *Request) {
			r.Outcome, r.Reason = nil, o.Reason
			if len(o.Rules) > 0 || !o.Again.IsZero() {
				r.Outcome = &o
			}
			switch o.Effect {
			case EffectRelease:
				r.Reason = ""
			case EffectRefuse:
				r.Code = actions.CodeForbidden
			}
		},
		why: o.detail(),
	}
}

// kindGlass is the audit record of a rule that was set aside.
const kindGlass = "request.glass_broken"

// broken tells whether somebody has set a rule aside.
func (o *Outcome) broken() bool {
	return slices.ContainsFunc(o.Rules, func(rule RuleOutcome) bool { return rule.BrokenBy != "" })
}

// detail is what the audit keeps of an outcome.
func (o *Outcome) detail() map[string]string {
	detail := make(map[string]string)
	if names := o.names(); names != "" {
		detail["rules"] = names
	}
	if o.Version != "" {
		detail["policies"] = o.Version
	}
	return detail
}

// news tells what a pending request's new outcome says that the old one did
// not: the kind of its audit record, "" when there is nothing new. When it is to
// be looked at next is no news.
func news(was *Outcome, now Outcome) string {
	if was == nil {
		was = &Outcome{}
	}
	before := make(map[string]RuleOutcome, len(was.Rules))
	for _, r := range was.Rules {
		before[r.Rule] = r
	}
	reminded, escalated := false, false
	for _, r := range now.Rules {
		old, known := before[r.Rule]
		reminded = reminded || known && r.Reminders > old.Reminders
		escalated = escalated || known && r.Escalated && !old.Escalated
	}
	switch {
	case escalated:
		return "request.escalated"
	case reminded:
		return "request.reminded"
	case was.Reason != now.Reason || !reflect.DeepEqual(was.Rules, now.Rules):
		return "request.reconsidered"
	default:
		return ""
	}
}
