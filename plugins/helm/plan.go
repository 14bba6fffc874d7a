package helm

import (
	"context"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/plugins/sdk"
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
	if step.Brief {
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
	options := chartutil.ReleaseOptions{Name: s.Release, Namespace: step.Namespace, Revision: 1, IsInstall: current == nil, IsUpgrade: current != nil}
	if rel := last(past); rel != nil {
		options.Revision = rel.Version + 1
	}
	ch, err := in.src.chart()
	if err != nil {
		return sdk.Plan{}, err
	}
	values, _ := copyValue(in.values).(map[string]any)
	r, err := render(ctx, ses.cluster, ch, values, options)
	if err != nil {
		return sdk.Plan{}, err
	}
	before := manifestOf(current)
	c, err := compare(before, r.objects, newMasker(x.masking, configOf(current), before), newMasker(x.masking, in.values, r.objects))
	if err != nil {
		return sdk.Plan{}, err
	}
	plan.Diff, plan.Destructive = c.diff, takesData(c.removed)
	plan.Summary = summary(in.name, current, c)
	return plan, nil
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
	return clip(chart, 160)
}

// installed opens a session to look at what there is of the release. The
// namespace may not be there yet.
func (x *Executor) installed(ctx context.Context, step sdk.Step, s settings) (*session, []*release.Release, error) {
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return nil, nil, err
	}
	if _, err := ses.cluster.capabilities(ctx); err != nil {
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

func configOf(rel *release.Release) map[string]any {
	if rel == nil {
		return nil
	}
	return rel.Config
}

func summary(chartName string, installed *release.Release, c *changes) string {
	if installed == nil {
		return fmt.Sprintf("install chart %s: %s", chartName, count(len(c.added), "object"))
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{len(c.changed), "changed"}, {len(c.added), "added"}, {len(c.removed), "removed"}} {
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

// takesData tells whether data goes with one of removed.
func takesData(removed []object) bool {
	for _, o := range removed {
		switch o.kind() {
		case "PersistentVolumeClaim", "StatefulSet", "Namespace", "PersistentVolume", "CustomResourceDefinition":
			return true
		}
	}
	return false
}

// planCleanup says what cleanup would take away.
func (x *Executor) planCleanup(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := readSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{
		Summary: "uninstall release " + s.Release,
		Inputs:  map[string]string{"release": step.Namespace + "/" + s.Release},
	}
	if step.Brief {
		return plan, nil
	}
	ses, past, err := x.installed(ctx, step, s)
	if err != nil {
		return sdk.Plan{}, err
	}
	own, err := ses.holdings(ctx, past, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	if len(past) > 0 && !own.release {
		plan.Summary += ": it stays, since " + own.stays
		return plan, nil
	}
	var claims []corev1.PersistentVolumeClaim
	if own.claims {
		if claims, err = ses.claims(ctx, ses.claimNames(past)); err != nil {
			return sdk.Plan{}, err
		}
	}
	err = x.tellLoss(&plan, last(past), claims)
	return plan, err
}

// tellLoss says in plan what goes with rel, which may be nil, and with claims.
func (x *Executor) tellLoss(plan *sdk.Plan, rel *release.Release, claims []corev1.PersistentVolumeClaim) error {
	var before []object
	if rel != nil {
		before = manifestOf(rel)
	}
	mask := newMasker(x.masking, configOf(rel), before)
	c, err := compare(before, nil, mask, mask)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, o := range c.removed {
		b.WriteString("- " + o.kind() + "/" + o.name() + "\n")
	}
	for _, claim := range claims {
		line := "- PersistentVolumeClaim/" + claim.Name + "\n"
		if !strings.Contains(b.String(), line) {
			b.WriteString(line)
		}
	}
	plan.Diff = b.String()
	plan.Destructive = len(claims) > 0 || takesData(c.removed)
	switch {
	case rel == nil && len(claims) == 0:
		plan.Summary += ": it is not there"
	case len(claims) > 0:
		plan.Summary += fmt.Sprintf(": %s, and %s with data", count(len(c.removed), "object"), count(len(claims), "volume claim"))
	default:
		plan.Summary += ": " + count(len(c.removed), "object")
	}
	return nil
}
