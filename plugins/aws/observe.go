package aws

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Observe looks at what the part made.
func (x *Executor) Observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	if len(step.With) == 0 {
		return sdk.Observation{Health: sdk.Unknown, Text: "The part asks AWS for nothing."}, nil
	}
	p, err := x.open(ctx, step)
	if err != nil {
		return sdk.Observation{}, err
	}
	reports := make([]report, len(p.units))
	errs := make([]error, len(p.units))
	var group sync.WaitGroup
	for i, u := range p.units {
		group.Go(func() { reports[i], errs[i] = u.thing.observe(ctx) })
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return sdk.Observation{}, explain(err, p.units[i].thing.title())
		}
	}
	return p.together(reports), nil
}

// together is the worst of all reports, with what each of them says.
func (p *part) together(reports []report) sdk.Observation {
	worst := []sdk.Health{sdk.Healthy, sdk.Unknown, sdk.Degraded, sdk.Unhealthy}
	out := sdk.Observation{Health: sdk.Healthy}
	absent := 0
	var texts []string
	for i, r := range reports {
		name := ""
		if len(reports) > 1 {
			name = p.units[i].kind.name + " "
		}
		for _, f := range r.facts {
			out.Facts = append(out.Facts, sdk.Fact{Name: name + f.Name, Text: f.Text})
		}
		out.Links, out.Drift = append(out.Links, r.links...), append(out.Drift, r.drift...)
		health := r.health
		switch health {
		case "":
			health = sdk.Healthy
		case sdk.Absent:
			absent++
			health, r.text = sdk.Unhealthy, "The "+p.units[i].thing.title()+" is not there."
		}
		if slices.Index(worst, health) > slices.Index(worst, out.Health) {
			out.Health = health
		}
		if r.text != "" && health != sdk.Healthy {
			texts = append(texts, r.text)
		}
	}
	out.Text = strings.Join(texts, " ")
	if absent == len(reports) {
		out.Health, out.Text = sdk.Absent, ""
	}
	return out
}
