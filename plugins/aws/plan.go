package aws

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Plan says what a step would do. It reads, and changes nothing.
func (x *Executor) Plan(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	p, err := x.open(ctx, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	proposals, err := x.plans(ctx, p)
	if err != nil {
		return sdk.Plan{}, err
	}
	out := sdk.Plan{Inputs: inputsOf(p, proposals)}
	var lines []string
	for _, one := range proposals {
		lines = append(lines, one.lines...)
		out.Resources = append(out.Resources, one.resources...)
	}
	for _, r := range out.Resources {
		out.Destructive = out.Destructive || r.Destructive
	}
	if len(lines) > 0 {
		out.Diff = strings.Join(lines, "\n") + "\n"
	}
	out.Summary = summary(p, out.Resources)
	if step.Verb != sdk.Cleanup && step.Verb != sdk.Archive {
		out.Cost = costOf(p, proposals)
	}
	if step.Brief {
		out.Diff, out.Resources, out.Cost = "", nil, ""
	}
	return out, nil
}

// plans is what the step would do to each of the part's things. A cleanup is about
// those that are there besides.
func (x *Executor) plans(ctx context.Context, p *part) ([]proposal, error) {
	if p.step.Verb == sdk.Cleanup {
		if err := x.find(ctx, p); err != nil {
			return nil, explain(err, "")
		}
	}
	out := make([]proposal, len(p.units))
	errs := make([]error, len(p.units))
	var group sync.WaitGroup
	for i, u := range p.units {
		group.Go(func() { out[i], errs[i] = u.propose(ctx, p.step) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, explain(err, p.units[i].thing.title())
		}
	}
	return out, nil
}

// inputsOf is what decides the result and can move.
func inputsOf(p *part, proposals []proposal) map[string]string {
	out := map[string]string{}
	for i, one := range proposals {
		for key, value := range one.inputs {
			if !strings.HasPrefix(key, p.units[i].kind.name) {
				key = p.units[i].kind.name + " " + key
			}
			out[key] = value
		}
	}
	return out
}

// summary is one line: "creates RDS instance "x" and secret "y"".
func summary(p *part, resources []sdk.Resource) string {
	words := []struct {
		change sdk.Change
		verb   string
	}{{sdk.ChangeCreate, "creates"}, {sdk.ChangeUpdate, "changes"}, {sdk.ChangeDelete, "deletes"}}
	const most = 3
	var parts []string
	for _, w := range words {
		var names []string
		for _, r := range resources {
			if r.Change == w.change {
				names = append(names, fmt.Sprintf("%s %q", r.Kind, r.Name))
			}
		}
		if more := len(names) - most; more > 0 {
			names = append(names[:most], fmt.Sprintf("%d more", more))
		}
		if len(names) > 0 {
			parts = append(parts, w.verb+" "+listed(names))
		}
	}
	where := ""
	if len(p.units) > 0 {
		where = " in " + p.units[0].s.place.String()
	}
	if len(parts) == 0 {
		if p.step.Verb == sdk.Cleanup && len(p.units) == 0 {
			return "nothing of it is at AWS"
		}
		return "changes nothing" + where
	}
	return strings.Join(parts, "; ") + where
}
