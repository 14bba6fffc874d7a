package helm

import (
	"context"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// workloadVerbs are the verbs on running workloads that Describe names.
var workloadVerbs = []sdk.Verb{sdk.Restart, sdk.Sleep, sdk.Wake}

// sleep takes the replicas of the release away.
func (x *Executor) sleep(ctx context.Context, step sdk.Step, out sdk.Events) error {
	return x.onWorkloads(ctx, step, out, func(ctx context.Context, ses *session, w kube.Workloads) error {
		return w.Sleep(ctx, ses.patience())
	})
}

// wake brings back what sleep took away.
func (x *Executor) wake(ctx context.Context, step sdk.Step, out sdk.Events) error {
	return x.onWorkloads(ctx, step, out, func(ctx context.Context, ses *session, w kube.Workloads) error {
		return w.Wake(ctx, ses.patience())
	})
}

// restart replaces the pods of the release.
func (x *Executor) restart(ctx context.Context, step sdk.Step, out sdk.Events) error {
	return x.onWorkloads(ctx, step, out, func(ctx context.Context, ses *session, w kube.Workloads) error {
		return w.Restart(ctx, step, time.Now(), ses.patience())
	})
}

// patience is how long a verb waits for pods.
func (s *session) patience() time.Duration {
	if !s.settings.Wait {
		return 0
	}
	return s.settings.Timeout
}

// onWorkloads does something with the workloads of the release, within the
// part's time limit.
func (x *Executor) onWorkloads(ctx context.Context, step sdk.Step, out sdk.Events, do func(context.Context, *session, kube.Workloads) error) error {
	s, err := looseSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ses, past, w, err := x.workloads(limited, step, s, out)
	switch {
	case err != nil:
		return timedOut(limited, ctx, err)
	case deployed(past) == nil && step.Verb == sdk.Sleep:
		ses.kube.out.Log("there is no release " + s.Release + " in namespace " + ses.namespace + ": nothing has to sleep")
		return nil
	case deployed(past) == nil:
		return ses.nothingDeployed()
	}
	return timedOut(limited, ctx, do(limited, ses, w))
}

// workloads opens a session and looks at those objects of the release that may
// have pods or decide how many there are. past is empty when there is no
// release. A release that is not step's is refused.
func (x *Executor) workloads(ctx context.Context, step sdk.Step, s settings, out sdk.Events) (*session, []*release.Release, kube.Workloads, error) {
	ses, err := x.open(ctx, step, s, out)
	if err != nil {
		return nil, nil, kube.Workloads{}, err
	}
	if _, err := ses.cluster.Reach(ctx); err != nil {
		return nil, nil, kube.Workloads{}, err
	}
	past, err := ses.history(ctx)
	if err != nil {
		return nil, nil, kube.Workloads{}, err
	}
	if len(past) > 0 {
		own, err := ses.holdings(ctx, past, step)
		if err != nil {
			return nil, nil, kube.Workloads{}, err
		}
		if !own.release {
			return nil, nil, kube.Workloads{}, sdk.Invalid("The release %q in namespace %q is left alone: %s.", s.Release, ses.namespace, own.stays)
		}
	}
	objects := ses.current(past)
	for _, rel := range past {
		ses.kube.mask.LearnValues(rel.Config)
	}
	ses.kube.mask.LearnObjects(objects)
	seen, err := ses.look(ctx, objects)
	return ses, past, kube.Workloads{Wait: ses.kube.waiting(), Sight: seen}, err
}

// current are the objects of the release with pods, or that decide how many
// there are: those of the revision that was deployed last, and of what failed
// since, which may have made some as well.
func (s *session) current(past []*release.Release) []*unstructured.Unstructured {
	seen := map[string]bool{}
	var out []*unstructured.Unstructured
	add := func(rel *release.Release) {
		for _, o := range manifestOf(rel) {
			if id := s.fullID(o); !seen[id] && kube.Works(o) {
				seen[id] = true
				out = append(out, o)
			}
		}
	}
	add(deployed(past))
	for i := len(past) - 1; i >= 0 && past[i].Info.Status == release.StatusFailed; i-- {
		add(past[i])
	}
	return out
}

// nothingDeployed is what a verb on a release says that is not there.
func (s *session) nothingDeployed() error {
	return sdk.Invalid("There is no release %s in namespace %s: deploy the environment first.", s.settings.Release, s.namespace)
}

// planSleep says what sleep would take away.
func (x *Executor) planSleep(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	return x.planWorkloads(ctx, step, "put to sleep", kube.Workloads.PlanSleep)
}

// planWake says what wake would bring back.
func (x *Executor) planWake(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	return x.planWorkloads(ctx, step, "wake", kube.Workloads.PlanWake)
}

// planRestart says what restart would restart.
func (x *Executor) planRestart(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	return x.planWorkloads(ctx, step, "restart", func(w kube.Workloads, plan *sdk.Plan) { w.PlanRestart(plan, step) })
}

// planWorkloads is the plan of a verb on workloads.
func (x *Executor) planWorkloads(ctx context.Context, step sdk.Step, title string, tell func(kube.Workloads, *sdk.Plan)) (sdk.Plan, error) {
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{Summary: title + " release " + s.Release, Inputs: map[string]string{"release": step.Namespace + "/" + s.Release}}
	if step.Brief {
		return plan, nil
	}
	ses, past, w, err := x.workloads(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	if deployed(past) == nil && step.Verb != sdk.Sleep {
		return sdk.Plan{}, ses.nothingDeployed()
	}
	tell(w, &plan)
	return plan, nil
}
