package policy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// timedEvery is how often a waiting request is looked at again because of a
// condition that asks what time it is, or how old something is.
const timedEvery = 5 * time.Minute

// Options are what an Engine needs. With no rules it needs nothing else.
type Options struct {
	Rules        []Rule
	People       approvals.People
	Groups       map[string]Groups // by the prefix of how they are written: "github-team", "codeowners"
	Apps         actions.Catalog
	Environments Environments
	Requests     Requests
	Now          func() time.Time // nil means time.Now
	Log          *slog.Logger     // nil means none
}

// Engine is an approvals.Policy made of rules. It may be used from many
// goroutines, and never changes.
type Engine struct {
	rules    []rule
	version  string
	windowed bool // a rule holds at times only
	timed    bool // a condition depends on the time
	o        Options
}

// rule is a Rule that was checked.
type rule struct {
	Rule
	condition *condition // nil for always
	windows   []window
}

// Fault is one thing that is wrong with a rule.
type Fault struct {
	Rule int    // its index
	Path string // within it: "when", "during[0].cron"
	Msg  string // what is wrong, and what to write instead
}

// Faults are all that is wrong with some rules.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fmt.Sprintf("rule %d: %s: %s", fault.Rule+1, fault.Path, fault.Msg)
	}
	return strings.Join(lines, "\n")
}

// Check finds what is wrong with the conditions and windows of rules.
func Check(rules []Rule) Faults {
	_, faults := build(rules)
	return faults
}

// New makes an Engine. What is wrong with the rules comes as Faults.
func New(o Options) (*Engine, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.Rules) > 0 && (o.People == nil || o.Apps == nil || o.Environments == nil || o.Requests == nil) {
		return nil, errors.New("policy: rules need People, Apps, Environments and Requests")
	}
	e := &Engine{o: o}
	var err error
	if e.version, err = version(o.Rules); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	rules, faults := build(o.Rules)
	if len(faults) > 0 {
		return nil, faults
	}
	e.rules = rules
	for _, r := range rules {
		e.windowed = e.windowed || len(r.windows) > 0
		e.timed = e.timed || r.condition != nil && r.condition.timed
	}
	return e, nil
}

// build checks rules and makes them ready. CEL is not touched when no rule has
// a condition.
func build(rules []Rule) ([]rule, Faults) {
	var env *cel.Env
	var faults Faults
	made := make([]rule, 0, len(rules))
	for i, r := range rules {
		out := rule{Rule: r}
		fault := func(path, msg string) { faults = append(faults, Fault{Rule: i, Path: path, Msg: msg}) }
		if strings.TrimSpace(r.When) != "" {
			if env == nil {
				var err error
				if env, err = language(names); err != nil {
					return nil, Faults{{Rule: i, Path: "when", Msg: "conditions cannot be read at all, which is a fault of Berth's: " + err.Error()}}
				}
			}
			var wrong []string
			out.condition, wrong = compile(env, names, r.When)
			for _, msg := range wrong {
				fault("when", msg)
			}
		}
		for j, w := range r.During {
			ready, path, err := newWindow(w)
			if err != nil {
				fault(strings.TrimSuffix(fmt.Sprintf("during[%d].%s", j, path), "."), err.Error())
			}
			out.windows = append(out.windows, ready)
		}
		if msg := out.whole(); msg != "" {
			fault("", msg)
		}
		made = append(made, out)
	}
	return made, faults
}

// whole says what is missing of a rule that was not read by package configs,
// "" when nothing is.
func (r *rule) whole() string {
	effects := 0
	for _, has := range []bool{r.Refuse != "", r.Release, r.Quota != nil, r.Approve != nil} {
		if has {
			effects++
		}
	}
	switch {
	case effects != 1:
		return "a rule needs exactly one of refuse, release, quota and approve"
	case r.Approve == nil:
		return ""
	case len(r.Approve.Needs) == 0:
		return "the rule does not say who must agree"
	}
	for _, need := range r.Approve.Needs {
		if need.Count < 0 || len(need.From) == 0 {
			return "the rule does not say who must agree"
		}
	}
	return ""
}

// Version is a hash over all rules, the same for the same rules.
func (e *Engine) Version() string { return e.version }

// Evaluate says what r needs before it may run. It returns CodeInvalid when a
// condition fails on r, which nobody but the rule's author can mend, and what
// People, Environments and Requests return.
func (e *Engine) Evaluate(ctx context.Context, r *approvals.Request) (approvals.Outcome, error) {
	out := approvals.Outcome{Effect: approvals.EffectRelease, Version: e.version}
	if len(e.rules) == 0 {
		return out, nil
	}
	ev, err := e.snapshot(ctx, r)
	if err != nil {
		return approvals.Outcome{}, err
	}
	values := ev.values()
	for i := range e.rules {
		rule := &e.rules[i]
		matches, err := ev.matches(ctx, rule, values)
		if err != nil {
			return approvals.Outcome{}, err
		}
		if !matches {
			continue
		}
		said, err := ev.ask(ctx, rule)
		if err != nil {
			return approvals.Outcome{}, err
		}
		out.Rules = append(out.Rules, said)
	}
	conclude(&out)
	if out.Effect == approvals.EffectApprove {
		if e.timed {
			ev.wake(ev.now.Add(timedEvery))
		}
		out.Again = ev.again
	}
	return out, nil
}

// evaluation is one Evaluate: the facts, and what was looked up for it.
type evaluation struct {
	*Engine
	facts
	members map[string]membership
	again   time.Time // the soonest that time alone may change something
}

// snapshot gathers the facts.
func (e *Engine) snapshot(ctx context.Context, r *approvals.Request) (*evaluation, error) {
	ev := &evaluation{Engine: e, facts: facts{now: e.o.Now().UTC(), request: r}, members: map[string]membership{}}
	var err error
	if ev.by, err = whois(ctx, e.o.People, r.Requester); err != nil {
		return nil, err
	}
	if ev.app, err = e.o.Apps.App(r.Order.Env.App); actions.CodeOf(err) == actions.CodeNotFound {
		ev.app = nil
	} else if err != nil {
		return nil, err
	}
	ev.environment, err = e.o.Environments.Environment(ctx, r.Order.Env)
	if actions.CodeOf(err) == actions.CodeNotFound {
		ev.environment = nil
	} else if err != nil {
		return nil, err
	}
	if ev.environment != nil && ev.environment.Owner.Identity != "" {
		owner, err := whois(ctx, e.o.People, approvals.Requester{Actor: ev.environment.Owner.Actor, Identity: ev.environment.Owner.Identity})
		if err != nil {
			return nil, err
		}
		ev.owner = owner.ID
	}
	return ev, nil
}

// wake has the request looked at again at t, or before.
func (ev *evaluation) wake(t time.Time) {
	if !t.IsZero() && (ev.again.IsZero() || t.Before(ev.again)) {
		ev.again = t
	}
}

// matches tells whether a rule is about the request, now.
func (ev *evaluation) matches(ctx context.Context, r *rule, values map[string]any) (bool, error) {
	if len(r.windows) > 0 && !ev.open(r) || r.Quota != nil && !ev.makes() {
		return false, nil
	}
	if r.condition == nil {
		return true, nil
	}
	ok, err := r.condition.holds(ctx, values)
	if ctx.Err() != nil {
		return false, &actions.Error{Op: "policy.evaluate", Code: actions.CodeUnavailable, Msg: "Berth stopped before the policies were asked; they will be asked again.", Err: ctx.Err(), Retry: true}
	}
	if err != nil {
		return false, actions.Wrap("policy.evaluate", actions.CodeInvalid, err, fmt.Sprintf(
			"The rule %s cannot be applied to this request: %v. Whoever keeps Berth's config has to mend its condition; until then nothing that it may be about is released.", r.Name, err))
	}
	return ok, nil
}

// open tells whether any of a rule's windows is, and sees to it that the
// request is looked at again when that changes.
func (ev *evaluation) open(r *rule) bool {
	open := false
	for _, w := range r.windows {
		within, changes := w.at(ev.now)
		open = open || within
		ev.wake(changes)
	}
	return open
}

// until is when the last of a rule's open windows ends, and zero when it goes
// on for ever.
func (ev *evaluation) until(r *rule) time.Time {
	var last time.Time
	for _, w := range r.windows {
		within, changes := w.at(ev.now)
		if within && changes.IsZero() {
			return time.Time{}
		}
		if within && changes.After(last) {
			last = changes
		}
	}
	return last
}

// ask is what a rule that matched says.
func (ev *evaluation) ask(ctx context.Context, r *rule) (approvals.RuleOutcome, error) {
	out := approvals.RuleOutcome{Rule: r.Name, Effect: approvals.EffectRelease, BreakGlass: r.BreakGlass}
	glass, err := ev.glass(ctx, r)
	if err != nil {
		return out, err
	}
	before := ev.again
	switch {
	case r.Refuse != "":
		out.Effect, out.Reason = approvals.EffectRefuse, ev.refusal(r)
	case r.Quota != nil:
		err = ev.quota(ctx, r, &out)
	case r.Approve != nil:
		err = ev.approve(ctx, r, &out)
	}
	if err != nil {
		return out, err
	}
	switch glass.seen {
	case yes:
		ev.again = before
		ev.setAside(&out, glass)
	case no:
		if glass.why != "" && out.Effect != approvals.EffectRelease {
			out.Reason += " " + glass.why
		}
	case unseen:
		if out.Effect != approvals.EffectRelease {
			// What is refused now would stay refused, though the glass may well be
			// theirs to break.
			ev.lookAgain()
			out.Effect = approvals.EffectApprove
			out.Reason += " " + glass.why
		}
	}
	return out, nil
}

// conclude makes one answer of what the rules say: the strictest decides.
func conclude(out *approvals.Outcome) {
	order := []approvals.Effect{approvals.EffectRelease, approvals.EffectApprove, approvals.EffectExpire, approvals.EffectDeny, approvals.EffectRefuse}
	strictest := 0
	for _, said := range out.Rules {
		strictest = max(strictest, slices.Index(order, said.Effect))
	}
	out.Effect = order[strictest]
	if out.Effect == approvals.EffectRelease {
		return
	}
	var reasons []string
	for _, said := range out.Rules {
		if said.Effect == out.Effect {
			reasons = append(reasons, said.Reason)
		}
	}
	out.Reason = strings.Join(reasons, " ")
}
