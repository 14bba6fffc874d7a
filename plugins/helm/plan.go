package helm

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// planDeploy says what deploy would change. What decides it are the chart's
// content and the values, not what the templates give: those may use chance and
// the time of day.
func (x *Executor) planDeploy(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := readSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	in, err := x.gather(ctx, s, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{
		Summary: "deploy chart " + in.name,
		Inputs: map[string]string{
			inputChart: in.chart(),
			"values":   in.digest,
			"release":  step.Namespace + "/" + s.Release,
		},
	}
	pins := x.newPinner(ctx, s, step.Agreed)
	if step.Brief && (pins == nil || len(step.Agreed) > 0) {
		if pins != nil && in.same(plan.Inputs, step.Agreed) {
			pins.recheck(plan.Inputs)
		}
		return plan, nil
	}
	ses, past, err := x.installed(ctx, step, s)
	if err != nil {
		return sdk.Plan{}, err
	}
	if err := ses.refuseOthers(ctx, past, step); err != nil {
		return sdk.Plan{}, err
	}
	current := deployed(past)
	r, err := in.rendered(ctx, ses, past)
	if err != nil {
		return sdk.Plan{}, err
	}
	if pins != nil {
		if err := pins.objects(r.objects, r.hooks); err != nil {
			return sdk.Plan{}, err
		}
		pins.inputs(plan.Inputs)
	}
	if step.Brief {
		return plan, nil
	}
	there := standing(past)
	before := manifestOf(there)
	given := x.maskerFor(ctx, step)
	c, err := kube.Compare(before, r.objects, kube.NewMasker(x.masking, configOf(there), before).Like(given), kube.NewMasker(x.masking, in.values, r.objects).Like(given), kept)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan.Diff, plan.Resources = c.Diff, c.Resources(step.Namespace)
	plan.Destructive = kube.AnyDestructive(plan.Resources)
	plan.Summary = summary(in.name, current, c)
	plan.Cost = kube.Cost(before, r.objects)
	if pins != nil {
		plan.Summary, plan.Diff = withNotes(plan.Summary, plan.Diff, pins.notes())
	}
	return plan, nil
}

// rendered renders the chart as the next deploy of the release would.
func (in *inputs) rendered(ctx context.Context, ses *session, past []*release.Release) (*rendering, error) {
	current := deployed(past)
	s := ses.settings
	options := chartutil.ReleaseOptions{Name: s.Release, Namespace: ses.namespace, Revision: 1, IsInstall: current == nil, IsUpgrade: current != nil}
	if rel := last(past); rel != nil {
		options.Revision = rel.Version + 1
	}
	ch, err := in.fresh()
	if err != nil {
		return nil, err
	}
	values, _ := kube.CopyValue(in.values).(map[string]any)
	return render(ctx, ses.cluster, ch, values, options)
}

// same tells whether the chart and the values are those that were agreed on.
func (*inputs) same(now, agreed map[string]string) bool {
	for name, value := range now {
		if agreed[name] != value {
			return false
		}
	}
	return true
}

// withNotes tells of images that keep their tags: one in the summary, several
// in the diff, with their number in the summary.
func withNotes(summary, diff string, notes []string) (string, string) {
	switch len(notes) {
	case 0:
		return summary, diff
	case 1:
		return summary + "; " + notes[0], diff
	}
	for _, note := range notes {
		diff += "# " + note + "\n"
	}
	return summary + fmt.Sprintf("; %d images are named by tags that could not be resolved, so that what runs may differ", len(notes)), diff
}

// inputChart names the input that tells the chart and its content.
const inputChart = "chart"

func (in *inputs) chart() string { return in.name + " " + in.src.digest }

// stillAgreed refuses a chart that is not the one of the plan: a tag or a folder
// may have changed since, though nothing that was asked for did. The values are
// not compared, since outputs of other parts in them may have become known.
func (in *inputs) stillAgreed(step sdk.Step) error {
	agreed := step.Agreed[inputChart]
	if agreed == "" || agreed == in.chart() {
		return nil
	}
	return sdk.Invalid("The chart changed after the plan was agreed on: it was %s, and is %s now. Ask for the deploy again, to have a plan of the new one.",
		briefly(agreed), briefly(in.chart()))
}

// briefly is a chart with its digest for a message: the first digits do.
func briefly(chart string) string {
	const mark, digits = "sha256:", 12
	if i := strings.Index(chart, mark); i >= 0 && len(chart) > i+len(mark)+digits {
		chart = chart[:i+len(mark)+digits]
	}
	return kube.Clip(chart, 160)
}

// installed opens a session to look at what there is of the release. The
// namespace may not be there yet.
func (x *Executor) installed(ctx context.Context, step sdk.Step, s settings) (*session, []*release.Release, error) {
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return nil, nil, err
	}
	if _, err := ses.cluster.Reach(ctx); err != nil {
		return nil, nil, err
	}
	past, err := ses.history(ctx)
	return ses, past, err
}

// deployed is the last revision that was deployed, nil without one.
func deployed(past []*release.Release) *release.Release {
	for i := len(past) - 1; i >= 0; i-- {
		if st := past[i].Info.Status; st == release.StatusDeployed || st == release.StatusSuperseded {
			return past[i]
		}
	}
	return nil
}

// standing is the revision whose objects are taken to be there: the deployed one,
// or the one that failed over it, which has changed them.
func standing(past []*release.Release) *release.Release {
	current := deployed(past)
	if rel := last(past); current != nil && rel.Info.Status == release.StatusFailed {
		return rel
	}
	return current
}

func configOf(rel *release.Release) map[string]any {
	if rel == nil {
		return nil
	}
	return rel.Config
}

func summary(chartName string, installed *release.Release, c *kube.Changes) string {
	if installed == nil {
		return fmt.Sprintf("install chart %s: %s", chartName, kube.Count(len(c.Added), "object"))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{len(c.Changed), "changed"}, {len(c.Added), "added"}, {len(c.Removed), "removed"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	what := "upgrade to chart " + chartName + ": "
	if len(parts) == 0 {
		return what + "no changes"
	}
	return what + strings.Join(parts, ", ")
}
