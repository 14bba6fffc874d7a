package script

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Plan implements sdk.Planner. It runs nothing but the part's own `plan`, or,
// when the part says that they change nothing (plan_asks), those of Octopod's
// scripts that only ask.
func (x *Executor) Plan(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	if !slices.Contains(verbs, step.Verb) {
		return sdk.Plan{}, sdk.Invalid("The script executor cannot %q.", clip(string(step.Verb), 40))
	}
	j, err := x.open(ctx, step, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	if err := j.load(); err != nil {
		return sdk.Plan{}, err
	}
	in, err := j.inputs()
	if err != nil {
		return sdk.Plan{}, err
	}
	p := sdk.Plan{Inputs: in}
	if j.set.Contract == contractRun {
		err = j.planGeneric(ctx, &p)
	} else {
		err = j.planOctopod(ctx, &p)
	}
	if ctx.Err() != nil {
		return sdk.Plan{}, ctx.Err()
	}
	return p, err
}

func (j *job) planGeneric(ctx context.Context, p *sdk.Plan) error {
	name := string(j.step.Verb)
	if j.set.Programs[name] == nil {
		if j.step.Verb != sdk.Rollback && j.step.Verb != sdk.Restore {
			p.Summary = "leave it as it is: the part has no program for " + name
			return nil
		}
		name = string(sdk.Deploy)
	}
	if _, err := j.program(name, j.set.Programs[name][0].Text); err != nil {
		return err
	}
	p.Summary = fmt.Sprintf("run %s for %s", clip(j.set.Programs[name][0].Text, 100), j.step.Verb)
	p.Destructive = j.step.Verb == sdk.Cleanup
	if j.set.Programs["plan"] == nil {
		p.Diff = "The part has no program `plan`: what its scripts change cannot be told.\n"
		p.Resources = j.touched("Environment")
		return nil
	}
	if err := j.enter(false); err != nil {
		return err
	}
	defer j.close()
	r, f, err := j.runProgram(ctx, "plan")
	if err != nil {
		return err
	}
	if err := judge("plan", r); err != nil {
		return err
	}
	data, err := readFile(f.plan)
	if err != nil {
		return sdk.Downstream("What `plan` wrote to BERTH_PLAN cannot be read: %s.", clip(err.Error(), 200))
	}
	said, err := parsePlan(data)
	if err != nil {
		return sdk.Downstream("What `plan` wrote to BERTH_PLAN cannot be used: %s.", clip(j.mask.text(err.Error(), 0), 200))
	}
	j.takePlan(p, said, r.stdout)
	return nil
}

// takePlan lays what the program says over what is known anyway. It cannot make
// a cleanup harmless.
func (j *job) takePlan(p *sdk.Plan, said genericPlan, stdout string) {
	if said.Summary != "" {
		p.Summary = clip(j.mask.text(said.Summary, 0), 300)
	}
	for name, value := range said.Inputs {
		p.Inputs["plan "+clip(name, 100)] = j.mask.text(value, 0)
	}
	p.Destructive = p.Destructive || said.Destructive
	if j.step.Brief {
		return
	}
	if p.Diff = j.mask.text(said.Diff, 0); p.Diff == "" {
		var lines []string
		eachLine(strings.NewReader(j.mask.text(stdout, 0)), maxLine, func(l rawLine) {
			lines = append(lines, printable(string(l.text)))
		})
		p.Diff = strings.Join(lines, "\n")
	}
	p.Cost = clip(j.mask.text(said.Cost, 0), 300)
	seen := map[string]bool{}
	for _, r := range said.Resources {
		what := r.Kind + "\x00" + r.Namespace + "\x00" + r.Name
		if seen[what] {
			continue
		}
		seen[what] = true
		p.Resources = append(p.Resources, sdk.Resource{Kind: r.Kind, Name: r.Name, Namespace: r.Namespace, Change: sdk.Change(r.Change), Destructive: r.Destructive})
		p.Destructive = p.Destructive || r.Destructive
	}
	if len(said.Resources) == 0 {
		p.Resources = j.touched("Environment")
	}
}

// touched is the one thing that is known of what scripts change.
func (j *job) touched(kind string) []sdk.Resource {
	if j.step.Brief {
		return nil
	}
	r := sdk.Resource{Kind: kind, Name: j.title(), Namespace: j.set.Namespace, Change: sdk.ChangeUpdate}
	switch {
	case j.step.Verb == sdk.Cleanup:
		r.Change, r.Destructive = sdk.ChangeDelete, true
	case j.rec.Phase != phaseCreated && (j.step.Verb == sdk.Deploy || j.step.Verb == sdk.Restore):
		r.Change = sdk.ChangeCreate
	}
	return []sdk.Resource{r}
}

// planned are the scripts that a step of Octopod's runs, as far as it can be
// told without asking.
func (j *job) planned() string {
	switch j.step.Verb {
	case sdk.Deploy, sdk.Rollback:
		switch j.rec.Phase {
		case phaseCreated:
			return "update"
		case phaseCreating, phaseCleaned, phaseCleaning:
			return "create"
		case phaseArchived, phaseRestoring:
			return j.restoring()
		}
		return "create, or update when check finds it,"
	case sdk.Restore:
		return j.restoring()
	case sdk.Archive:
		return "archive"
	case sdk.Cleanup:
		if j.rec.Phase == phaseArchived || j.rec.Phase == phaseCleaning {
			return "cleanup"
		}
		return "archive, unless nothing runs, and cleanup"
	}
	return ""
}

func (j *job) planOctopod(ctx context.Context, p *sdk.Plan) error {
	scripts := j.planned()
	if scripts == "" {
		p.Summary = "leave it as it is: Octopod's scripts cannot " + string(j.step.Verb)
		return nil
	}
	if err := j.complete(); err != nil {
		return err
	}
	p.Summary = fmt.Sprintf("run %s for %s", scripts, clip(j.set.Name, 100))
	p.Destructive = j.step.Verb == sdk.Cleanup
	p.Resources = j.touched("Octopod deployment")
	if j.step.Verb == sdk.Archive || j.step.Verb == sdk.Cleanup {
		return nil
	}
	c := configs{tag: j.set.Tag, app: overlay(j.set.App, nil), deployment: overlay(j.set.Deployment, nil)}
	if j.set.PlanAsks {
		var err error
		if c, err = j.planAsking(ctx, p); err != nil {
			return err
		}
	}
	if j.step.Brief {
		return nil
	}
	p.Diff = j.configDiff(c)
	return nil
}

// planAsking runs the scripts that only ask, as the part allows.
func (j *job) planAsking(ctx context.Context, p *sdk.Plan) (configs, error) {
	if err := j.enter(false); err != nil {
		return configs{}, err
	}
	defer j.close()
	if err := j.prepareHome(ctx); err != nil {
		return configs{}, err
	}
	c, err := j.fullConfigs(ctx)
	if err != nil {
		return c, err
	}
	data, err := json.Marshal([]any{c.tag, c.app, c.deployment})
	if err != nil {
		return c, sdk.Internal("The configuration cannot be summed up (%w).", err)
	}
	sum := sha256.Sum256(data)
	p.Inputs["configuration"] = "sha256:" + hex.EncodeToString(sum[:])
	if j.step.Brief {
		return c, nil
	}
	j.out = silent{}
	return c, j.configCheck(ctx, c)
}

// silent takes what nobody hears in a plan.
type silent struct{}

func (silent) Log(string)                {}
func (silent) Progress(string, int, int) {}
func (silent) Output(string, string)     {}
func (silent) Receipt(sdk.Resource)      {}

// configDiff is what the scripts would be given, against what they were given
// last.
func (j *job) configDiff(c configs) string {
	app, deployment := "--application-config", "--deployment-config"
	if j.set.Contract == contractV1 {
		app, deployment = "--app-env-override", "--deployment-override"
	}
	lines := func(c configs) []string {
		out := slices.Concat(configLines(app, c.app), configLines(deployment, c.deployment))
		if j.set.Contract == contractV1 && c.tag != "" {
			out = append([]string{"--tag " + c.tag}, out...)
		}
		return out
	}
	before := lines(configs{j.rec.Tag, j.rec.App, j.rec.Deploy})
	after := lines(c)
	if !j.set.PlanAsks && j.set.Contract == contractV2 {
		before = nil // what the defaults are now is not known
	}
	var b strings.Builder
	for _, line := range before {
		if !slices.Contains(after, line) {
			b.WriteString("-" + line + "\n")
		}
	}
	for _, line := range after {
		sign := "+"
		if slices.Contains(before, line) {
			sign = " "
		}
		b.WriteString(sign + line + "\n")
	}
	return j.mask.text(b.String(), 0)
}
