package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// Bounds on what is taken from an executor that is not on the SDK, which keeps
// to smaller ones by itself.
const (
	maxText       = 32 << 10 // bytes of a message, a log line, an output
	maxOutputs    = 256      // outputs of a part
	maxDiffLength = 16 << 20 // bytes of a plan's diff
	maxFacts      = 16       // facts of an observation
	maxFindings   = 64       // findings of a check
	maxPaste      = 64 << 10 // bytes of a finding's text to use
)

// inputSettings names, among a plan's inputs, the digest of the executor's own
// settings: what was agreed on does not hold under others.
const inputSettings = "settings of the executor"

// executor makes the program that a keeper keeps an actions.Executor, and all
// that one can be beside.
type executor struct{ k *keeper }

var (
	_ actions.Executor  = (*executor)(nil)
	_ actions.Inventory = (*executor)(nil)
	_ actions.LogSource = (*executor)(nil)
	_ actions.Checker   = (*executor)(nil)
)

// Describe tells what the running program said of itself at its start.
func (x *executor) Describe(ctx context.Context) (actions.Description, error) {
	inst, _, done, err := x.k.begin(ctx, x.k.name+".describe")
	if err != nil {
		return actions.Description{}, err
	}
	defer done()
	d := inst.description
	d.Verbs, d.Schema = slices.Clone(d.Verbs), maps.Clone(d.Schema)
	return d, nil
}

// Plan asks the executor what it would change. One that cannot plan gets a plan
// that says so.
func (x *executor) Plan(ctx context.Context, step actions.Step) (plan actions.PartPlan, err error) {
	op := x.k.name + ".plan"
	err = x.look(ctx, op, func(inst *instance, inner context.Context) error {
		wire, err := inst.admit(op, step, true)
		if err != nil {
			return err
		}
		plan = actions.PartPlan{Part: step.Part, Use: x.k.name, Executor: inst.description.Binary}
		if !inst.plans {
			plan.Summary = fmt.Sprintf("%s; the executor %s cannot say what that changes", step.Verb, x.k.name)
			plan.Destructive = step.Verb == actions.VerbCleanup
			inst.settled(&plan)
			return nil
		}
		r, err := inst.calls.Plan(inner, &executorv1.PlanRequest{Step: wire, Brief: step.Brief, Agreed: step.Agreed})
		if err != nil {
			return x.fail(ctx, op, inst, err)
		}
		plan.Summary, plan.Diff = inst.output.clean(r.GetSummary()), clip(inst.output.mask.Replace(r.GetDiff()), maxDiffLength)
		plan.Destructive, plan.Inputs = r.GetDestructive(), r.GetInputs()
		inst.settled(&plan)
		plan.Cost = clip(inst.output.clean(r.GetCost()), maxText)
		plan.Resources, plan.ResourcesLeft = inst.resources(r)
		return nil
	})
	return plan, err
}

// settled notes in a plan which settings it was made under.
func (i *instance) settled(plan *actions.PartPlan) {
	if i.settingsSum == "" {
		return
	}
	if plan.Inputs == nil {
		plan.Inputs = map[string]string{}
	}
	plan.Inputs[inputSettings] = i.settingsSum
}

// resources are what a plan says that it touches. Anyone may read their names,
// so that they are cleaned as a log line is.
func (i *instance) resources(r *executorv1.PlanResponse) (told []actions.Resource, left int) {
	for _, w := range r.GetResources() {
		told = append(told, i.resource(w))
	}
	return told, int(min(max(r.GetResourcesLeft(), 0), math.MaxInt32))
}

func (i *instance) resource(w *executorv1.ResourceChange) actions.Resource {
	return actions.Resource{
		Kind: i.output.clean(w.GetKind()), Name: i.output.clean(w.GetName()), Namespace: i.output.clean(w.GetNamespace()),
		Change: changeFromWire[w.GetChange()], Destructive: w.GetDestructive(),
	}
}

// look makes a call that changes nothing, and makes it once more when the
// program dies under it.
func (x *executor) look(ctx context.Context, op string, call func(*instance, context.Context) error) error {
	for try := 1; ; try++ {
		inst, inner, done, err := x.k.begin(ctx, op)
		if err != nil {
			return err
		}
		err = call(inst, inner)
		done()
		if try == 2 || actions.CodeOf(err) != actions.CodeUnavailable || !x.k.lost(ctx, inst) {
			return err
		}
	}
}

// Run does the step. Events reach sink in order, on the caller's goroutine. When
// ctx ends, it asks the executor to stop and goes on until the work has ended,
// which takes at most Options.CancelGrace: an executor that does not listen is
// killed then.
func (x *executor) Run(ctx context.Context, step actions.Step, sink func(actions.Event)) (actions.Outputs, error) {
	op := x.k.name + "." + string(step.Verb)
	inst, _, done, err := x.k.begin(ctx, op)
	if err != nil {
		return nil, err
	}
	defer done()
	wire, err := inst.admit(op, step, false)
	if err != nil {
		return nil, err
	}
	calling, ended := x.k.outlast(ctx)
	defer ended()
	stream, err := inst.calls.Run(calling, &executorv1.RunRequest{Step: wire, Agreed: step.Agreed})
	if err != nil {
		return nil, x.fail(ctx, op, inst, err)
	}
	defer x.stopWith(ctx, calling, inst, step.ID, ended)()
	outputs, finished := actions.Outputs{}, false
	for {
		r, err := stream.Recv()
		if err != nil {
			// The end of a stream is its status; Done alone is not enough.
			if finished && errors.Is(err, io.EOF) {
				return outputs, nil
			}
			return nil, x.fail(ctx, op, inst, err)
		}
		if r.GetDone() != nil {
			finished = true
			continue
		}
		if o := r.GetOutput(); o != nil {
			if _, known := outputs[o.GetKey()]; !known && len(outputs) >= maxOutputs {
				return nil, actions.Errorf(op, actions.CodeInternal, "The executor %s has more than %d outputs; that is a fault of the executor.", x.k.name, maxOutputs)
			}
			outputs[clip(o.GetKey(), maxText)] = clip(o.GetValue(), maxText)
			continue
		}
		if event, known := inst.event(step.Part, r); known && sink != nil {
			sink(event)
		}
	}
}

// event is what a run tells people; one of a later protocol is not known.
func (i *instance) event(part string, r *executorv1.RunResponse) (event actions.Event, known bool) {
	event = actions.Event{Time: time.Now().UTC(), Part: part}
	switch e := r.GetEvent().(type) {
	case *executorv1.RunResponse_Log:
		event.Kind, event.Text = actions.EventLog, i.output.clean(e.Log.GetLine())
	case *executorv1.RunResponse_Progress:
		event.Kind, event.Text = actions.EventProgress, i.output.clean(e.Progress.GetText())
		event.Done, event.Total = int(e.Progress.GetDone()), int(e.Progress.GetTotal())
	case *executorv1.RunResponse_Receipt:
		gone := i.resource(e.Receipt)
		gone.Change = actions.ResourceDelete
		event.Kind, event.Resource, event.Text = actions.EventReceipt, &gone, receiptText(gone)
	default:
		return actions.Event{}, false
	}
	return event, true
}

// receiptText is "deleted Deployment shop-web in shop-pr-42".
func receiptText(r actions.Resource) string {
	text := "deleted " + r.Kind + " " + r.Name
	if r.Namespace != "" {
		text += " in " + r.Namespace
	}
	return text
}

// Observe looks at what the part made. An executor that cannot is no failure:
// the part's health is unknown.
func (x *executor) Observe(ctx context.Context, step actions.Step) (o actions.Observation, err error) {
	op := x.k.name + ".observe"
	err = x.look(ctx, op, func(inst *instance, inner context.Context) error {
		if !inst.observes {
			o = actions.Observation{Health: actions.Unknown, Text: fmt.Sprintf("The executor %s cannot observe.", x.k.name)}
			return nil
		}
		wire, err := inst.step(op, step)
		if err != nil {
			return err
		}
		r, err := inst.calls.Observe(inner, &executorv1.ObserveRequest{Step: wire})
		if err != nil {
			return x.fail(ctx, op, inst, err)
		}
		o = inst.observation(r)
		return nil
	})
	return o, err
}

// observation is what an executor saw, cleaned as a log line is: anyone who may
// see the environment reads it.
func (i *instance) observation(r *executorv1.ObserveResponse) actions.Observation {
	health, ok := healthFromWire[r.GetHealth()]
	if !ok {
		health = actions.Unknown
	}
	clean := i.output.clean
	o := actions.Observation{Health: health, Text: clean(r.GetText()), Renew: clean(r.GetRenew())}
	for _, l := range r.GetLinks() {
		o.Links = append(o.Links, actions.Link{Name: clean(l.GetName()), URL: clean(l.GetUrl())})
	}
	for _, d := range r.GetDrift() {
		o.Drift = append(o.Drift, clean(d))
	}
	for _, f := range r.GetFacts()[:min(len(r.GetFacts()), maxFacts)] {
		o.Facts = append(o.Facts, actions.Fact{Name: clip(clean(f.GetName()), maxName), Text: clean(f.GetText())})
	}
	return o
}

// step is a step on the wire that runs nothing: its settings need not be right.
func (i *instance) step(op string, step actions.Step) (*executorv1.Step, error) {
	if step.Verb == "" {
		step.Verb = actions.VerbDeploy // looking is no verb; the wire wants one all the same
	}
	wire, _, err := stepToWire(op, step)
	if err != nil {
		return nil, err
	}
	wire.Settings = i.settings
	return wire, nil
}

// fail maps err and logs what people are not shown.
func (x *executor) fail(ctx context.Context, op string, inst *instance, err error) error {
	err = failure(ctx, op, inst, err)
	if actions.CodeOf(err) != actions.CodeCancelled {
		inst.log.Warn("a call of an executor failed", "op", op, "error", inst.output.clean(err.Error()))
	}
	return err
}

// admit checks step against what the executor accepts and makes it fit for the
// wire.
func (i *instance) admit(op string, step actions.Step, provisional bool) (*executorv1.Step, error) {
	if !slices.Contains(i.description.Verbs, step.Verb) {
		can := make([]string, len(i.description.Verbs))
		for n, v := range i.description.Verbs {
			can[n] = string(v)
		}
		return nil, actions.Errorf(op, actions.CodeInvalid, "Part %q cannot %s: its executor %s only knows %s.", step.Part, step.Verb, i.name, strings.Join(can, ", "))
	}
	wire, with, err := stepToWire(op, step)
	if err != nil {
		return nil, err
	}
	wire.Settings = i.settings
	if step.Verb == actions.VerbCleanup && len(with) == 0 {
		return wire, nil // found by its marks alone: what it was made with is not known
	}
	if err := i.schema.check(op, step.Part, with, provisional); err != nil {
		return nil, err
	}
	return wire, nil
}
