package kubernetes

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// laterActs are the verbs on what is deployed already.
func laterActs() []act {
	return []act{
		{sdk.Archive, (*Executor).archive, (*Executor).planArchive},
		{sdk.Restore, (*Executor).restore, (*Executor).planRestore},
		{sdk.Restart, (*Executor).onWorkloads, (*Executor).planWorkloads},
		{sdk.Sleep, (*Executor).onWorkloads, (*Executor).planWorkloads},
		{sdk.Wake, (*Executor).onWorkloads, (*Executor).planWorkloads},
	}
}

// onWorkloads puts the part's workloads to sleep, wakes or restarts them.
func (x *Executor) onWorkloads(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := looseSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	ses, err := x.open(limited, step, s, out)
	if err != nil {
		return err
	}
	w, there, err := ses.workloads(limited)
	switch {
	case err != nil:
	case !there && step.Verb == sdk.Sleep:
		ses.out.Log("there is nothing of this part in namespace " + step.Namespace + ": nothing has to sleep")
	case !there:
		err = ses.nothingDeployed()
	case step.Verb == sdk.Sleep:
		err = w.Sleep(limited, s.timeout)
	case step.Verb == sdk.Wake:
		err = w.Wake(limited, s.timeout)
	default:
		err = w.Restart(limited, step, time.Now(), s.timeout)
	}
	return timedOut(limited, ctx, err)
}

// planWorkloads says what onWorkloads would do.
func (x *Executor) planWorkloads(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	title := map[sdk.Verb]string{sdk.Sleep: "put the part to sleep", sdk.Wake: "wake the part", sdk.Restart: "restart the part"}[step.Verb]
	plan := sdk.Plan{Summary: title, Inputs: map[string]string{inputRecord: step.Namespace + "/" + recordName(step)}}
	if step.Brief {
		return plan, nil
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	w, there, err := ses.workloads(ctx)
	switch {
	case err != nil:
		return sdk.Plan{}, err
	case !there && step.Verb != sdk.Sleep:
		return sdk.Plan{}, ses.nothingDeployed()
	case step.Verb == sdk.Sleep:
		w.PlanSleep(&plan)
	case step.Verb == sdk.Wake:
		w.PlanWake(&plan)
	default:
		w.PlanRestart(&plan, step)
	}
	return plan, nil
}

// workloads are those of the part, and whether there is a part at all. What is
// archived has none.
func (s *session) workloads(ctx context.Context) (kube.Workloads, bool, error) {
	w := kube.Workloads{Wait: s.wait(), Sight: &kube.Sight{}}
	if _, err := s.cluster.Reach(ctx); err != nil {
		return w, false, err
	}
	r, err := s.load(ctx)
	if err != nil || r == nil || r.Archive != nil {
		return w, false, err
	}
	all, err := s.whole(ctx, r, kube.Works)
	for _, u := range all {
		w.Objects = append(w.Objects, kube.Seen{Want: u, Live: u, Status: kube.Look(u)})
	}
	return w, true, err
}

// whole are the part's objects for which wanted holds, all of each. wanted goes by
// an object's kind and metadata.
func (s *session) whole(ctx context.Context, r *record, wanted func(*unstructured.Unstructured) bool) ([]*unstructured.Unstructured, error) {
	all, err := s.members(ctx, r, true)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, f := range all {
		if !wanted(f.object()) || f.Labels[labelJob] != "" {
			continue
		}
		u := f.full
		if u == nil {
			u, err = s.client(f.kind, f.Namespace).Get(ctx, f.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		out = append(out, u)
	}
	return out, nil
}

func (s *session) nothingDeployed() error {
	return sdk.Invalid("There is nothing of the part %q in namespace %q: deploy or restore the environment first.", s.step.Part, s.step.Namespace)
}

// sleepMark tells whether an object bears the mark of a sleep: a deploy of what has
// not changed wakes it all the same.
func (f *found) sleepMark() bool {
	u := f.kind.sample()
	u.SetAnnotations(f.Annotations)
	return kube.Sleeps(u)
}

// wakeOver wakes what was applied over a sleep: by what the manifests say, and else
// by what is remembered. p.live is what was there before.
func (s *session) wakeOver(ctx context.Context, all []*placed) error {
	work := newCrew(ctx)
	for _, p := range all {
		if p.live == nil || !(&found{kind: p.kind, PartialObjectMetadata: *p.live}).sleepMark() {
			continue
		}
		wanted := p.DeepCopy()
		if s.settings.scaled[p.kind.Kind+"/"+p.GetName()] {
			unstructured.RemoveNestedField(wanted.Object, "spec", "replicas") // how many there are is not for the manifest to say
		}
		work.do(func(ctx context.Context) error {
			live, err := s.client(p.kind, p.GetNamespace()).Get(ctx, p.GetName(), metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			was := live
			is, err := s.cluster.Amend(ctx, live, func(u *unstructured.Unstructured) map[string]any {
				was = u
				return kube.WakePatchFor(u, wanted)
			})
			if err == nil && is != nil && is != was {
				s.out.Log(kube.Title(is) + " does not sleep any more")
			}
			return err
		})
	}
	return work.wait()
}
