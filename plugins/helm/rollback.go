package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/release"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// inputRevision is the input that tells what a rollback brings back.
	inputRevision = "revision"
	// notInHistory is its value when that is deployed from its settings.
	notInHistory = "not in the history"
)

// rollback brings the revision back that an earlier step made, exactly: its
// chart, values and manifest, as Helm's history has them. One that the history
// does not have any more is deployed from the settings of that step.
func (x *Executor) rollback(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := readSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ses, err := x.open(limited, step, s, out)
	if err != nil {
		return err
	}
	past, target, err := ses.earlier(limited, step)
	if err != nil {
		return timedOut(limited, ctx, err)
	}
	if agreed, now := step.Agreed[inputRevision], revisionInput(target); agreed != "" && agreed != now {
		if rel := last(past); rel == nil || rel.Labels[labelStep] != kube.StepLabel(step.ID) {
			return sdk.Invalid("What the rollback brings back changed after the plan was agreed on: it was %s, and is %s now. Ask for the rollback again.", briefly(agreed), briefly(now))
		}
	}
	if target == nil {
		ses.kube.out.Log(absentRevision)
		return x.deploy(ctx, step, out)
	}
	return timedOut(limited, ctx, ses.rollback(limited, step, past, target))
}

// absentRevision is said when the history does not have a revision any more.
const absentRevision = "Helm's history does not have the earlier revision (any more): it is deployed anew, as its settings were then"

// earlier is the revision that step is to bring back, nil when there is none.
func (s *session) earlier(ctx context.Context, step sdk.Step) ([]*release.Release, *release.Release, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return nil, nil, err
	}
	past, err := s.history(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := s.refuseOthers(ctx, past, step); err != nil {
		return nil, nil, err
	}
	if rel := last(past); step.Earlier == "" || rel == nil || rel.Info.Status == release.StatusUninstalling || rel.Info.Status == release.StatusUninstalled {
		return past, nil, nil
	}
	label := kube.StepLabel(step.Earlier)
	for i := len(past) - 1; i >= 0; i-- {
		st := past[i].Info.Status
		if past[i].Labels[labelStep] == label && (st == release.StatusDeployed || st == release.StatusSuperseded) && !isArchive(past[i]) {
			return past, past[i], nil
		}
	}
	return past, nil, nil
}

func (s *session) rollback(ctx context.Context, step sdk.Step, past []*release.Release, target *release.Release) error {
	if rel := last(past); s.alreadyDone(ctx, rel, map[string]string{labelStep: kube.StepLabel(step.ID), labelInputs: target.Labels[labelInputs]}) {
		s.kube.out.Log(fmt.Sprintf("release %s is at revision %d already, made by this very step", rel.Name, rel.Version))
		return s.tellOutputs(ctx, rel)
	}
	if err := s.overData(ctx, past, step); err != nil {
		return err
	}
	s.records.keep = target.Version // Helm would prune it before it is used, where it is the oldest
	s.kube.out.Log(fmt.Sprintf("rolling release %s back to its Helm revision %d (chart %s)", target.Name, target.Version, chartName(target)))
	rel, err := s.bringBack(ctx, step, past, target, true)
	if err != nil {
		return err
	}
	if s.held != nil {
		if err := s.forget(ctx); err != nil {
			return err
		}
	}
	return s.tellOutputs(ctx, rel)
}

// chartName names the chart of a release, for people.
func chartName(rel *release.Release) string {
	if rel.Chart == nil || rel.Chart.Metadata == nil {
		return "unknown"
	}
	return kube.Clip(rel.Chart.Metadata.Name+" "+rel.Chart.Metadata.Version, 100)
}

// revisionInput tells what a rollback brings back, in a plan.
func revisionInput(rel *release.Release) string {
	if rel == nil {
		return notInHistory
	}
	return fmt.Sprintf("%d %s", rel.Version, manifestDigest(rel))
}

// planRollback says what changes when the earlier revision comes back.
func (x *Executor) planRollback(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := readSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	past, target, err := ses.earlier(ctx, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	if target == nil {
		plan, err := x.planDeploy(ctx, step)
		if err != nil {
			return sdk.Plan{}, err
		}
		plan.Inputs[inputRevision] = notInHistory
		plan.Summary += "; " + absentRevision
		return plan, nil
	}
	plan := sdk.Plan{
		Summary: fmt.Sprintf("roll release %s back to its Helm revision %d (chart %s)", s.Release, target.Version, chartName(target)),
		Inputs:  map[string]string{"release": step.Namespace + "/" + s.Release, inputRevision: revisionInput(target)},
	}
	if step.Brief {
		return plan, nil
	}
	if err := x.tellComeback(&plan, past, target, step.Namespace, ses.kube.mask); err != nil {
		return sdk.Plan{}, err
	}
	if plan.Diff == "" {
		plan.Summary += ": no changes"
	}
	return plan, nil
}
