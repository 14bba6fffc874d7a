package kubernetes

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// inputArchive is the input that tells what a restore brings back.
const inputArchive = "archive"

// restore brings an archived part back: exactly as it was, or as the step says,
// over the data that was kept.
func (x *Executor) restore(ctx context.Context, step sdk.Step, out sdk.Events) error {
	if !step.AsWas {
		return x.deploy(ctx, step, out) // which looks for the data itself
	}
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
	r, w, err := ses.restorable(limited)
	if err != nil {
		return timedOut(limited, ctx, err)
	}
	if w == nil {
		if w = r.restoredBy(step); w != nil {
			ses.out.Log("it is back already, by this very step")
			return timedOut(limited, ctx, ses.settle(limited, w, r))
		}
	}
	if w == nil {
		ses.out.Log(notArchived)
		return x.deploy(ctx, step, out)
	}
	ses.comeback = r.Archive
	s.scaled = nil // how many there are is remembered
	return timedOut(limited, ctx, ses.bring(limited, w, r))
}

// restoredBy is what the very same step has brought back already, nil when it has
// not: a step that is run again must not deploy what the settings say instead.
func (r *record) restoredBy(step sdk.Step) *wanted {
	if r.Digest == "" || r.Step != kube.StepLabel(step.ID) || len(r.Objects) == 0 {
		return nil
	}
	w := &wanted{digest: r.Digest}
	for _, content := range r.Objects {
		w.objects = append(w.objects, kube.ObjectOf(content))
	}
	return w
}

const notArchived = "the part was not archived, so it is deployed as its settings say"

// restorable is the record and what was archived; nothing is wanted when the part
// is not archived. It changes nothing.
func (s *session) restorable(ctx context.Context) (*record, *wanted, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return nil, nil, err
	}
	r, err := s.load(ctx)
	switch {
	case err != nil:
		return nil, nil, err
	case r == nil:
		return nil, nil, sdk.Invalid("Nothing is archived of the part %q in namespace %q. Nothing was done. Restore with `--ref` to deploy it anew, or clean the environment up.", s.step.Part, s.step.Namespace)
	case r.Archive == nil:
		return r, nil, nil
	case len(r.Objects) == 0 && len(r.Members) > 0:
		return nil, nil, sdk.Invalid("The part %q has too many objects for its record to remember them, so it cannot come back just as it was. Nothing was done. Restore with `--ref`, which deploys it over the data that is there.", s.step.Part)
	}
	if err := s.checkData(ctx, r.Archive); err != nil {
		return nil, nil, err
	}
	w := &wanted{digest: r.Archive.Digest, inputs: map[string]string{inputArchive: r.Archive.At.Format("2006-01-02T15:04:05Z")}}
	for _, content := range r.Objects {
		w.objects = append(w.objects, kube.ObjectOf(content))
	}
	return r, w, nil
}

// checkData refuses to go on when data that was archived is not all there.
func (s *session) checkData(ctx context.Context, a *archived) error {
	gone, err := s.lost(ctx, a)
	if err != nil || len(gone) == 0 {
		return err
	}
	n := len(a.Claims) + len(a.Snapshots)
	return &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf(
		"The data of the part %q cannot be restored: %d of %s found, and gone or changed is %s. Nothing was done. Bring the volume back, or clean the environment up and deploy it again without that data.",
		s.step.Part, n-len(gone), kube.Count(n, "volume"), kube.Clip(strings.Join(gone, "; "), 600))}
}

// overArchive is what a deploy does first where the part is archived: its data has
// to be all there, and what was kept in snapshots becomes claims again.
func (s *session) overArchive(ctx context.Context, r *record) error {
	if r == nil || r.Archive == nil {
		return nil
	}
	if err := s.checkData(ctx, r.Archive); err != nil {
		return err
	}
	if n := len(r.Archive.Claims) + len(r.Archive.Snapshots); n > 0 {
		s.out.Log("the part is archived; its data is there: " + kube.Count(n, "volume"))
	}
	return s.unsnap(ctx, r.Archive)
}

// adjust gives what was restored the fields that it had beside what was deployed.
func (s *session) adjust(ctx context.Context, all []*placed) error {
	if s.comeback == nil {
		return nil
	}
	fields := map[string]map[string]any{}
	for _, o := range s.comeback.Objects {
		fields[o.ID()] = o.Fields
	}
	work := newCrew(ctx)
	for _, p := range all {
		had := fields[kube.ID(p.Unstructured, "")]
		if len(had) == 0 {
			continue
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
				return adjustment(u, had)
			})
			if err == nil && is != nil && is != was {
				s.out.Log(kube.Title(is) + " is adjusted to what it was")
			}
			return err
		})
	}
	return work.wait()
}

// adjustment is the patch that gives a live object those fields, nil when it has
// them.
func adjustment(u *unstructured.Unstructured, fields map[string]any) map[string]any {
	now := kube.Adjustments(u)
	var patch map[string]any
	for pointer, value := range fields {
		if fmt.Sprint(now[pointer]) == fmt.Sprint(kube.CopyValue(value)) {
			continue
		}
		if patch == nil {
			patch = map[string]any{}
		}
		kube.SetPointer(patch, pointer, kube.CopyValue(value))
	}
	return patch
}

// planRestore says what comes back, over which data, or why nothing can.
func (x *Executor) planRestore(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	if !step.AsWas {
		return ses.planOverArchive(ctx)
	}
	r, w, err := ses.restorable(ctx)
	if err != nil {
		return sdk.Plan{}, err
	}
	if w == nil {
		plan, err := x.planDeploy(ctx, step)
		plan.Summary += "; " + notArchived
		return plan, err
	}
	plan := sdk.Plan{Inputs: w.inputs}
	plan.Inputs[inputRecord] = step.Namespace + "/" + recordName(step)
	if !step.Brief {
		if err := ses.plan(ctx, w, &plan); err != nil {
			return sdk.Plan{}, err
		}
	}
	plan.Summary = strings.TrimSuffix("restore the part as it was: "+plan.Summary, ": ") + "; " + dataFound(r.Archive)
	return plan, nil
}

// planOverArchive is the plan of a deploy over what was archived.
func (s *session) planOverArchive(ctx context.Context) (sdk.Plan, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return sdk.Plan{}, err
	}
	r, err := s.load(ctx)
	if err != nil {
		return sdk.Plan{}, err
	}
	what := "nothing is archived"
	if r != nil && r.Archive != nil {
		if err := s.checkData(ctx, r.Archive); err != nil {
			return sdk.Plan{}, err
		}
		what = dataFound(r.Archive)
	}
	plan, err := s.x.planDeploy(ctx, s.step)
	plan.Summary += "; " + what
	return plan, err
}

// dataFound says what data of an archive was found.
func dataFound(a *archived) string {
	n := len(a.Claims) + len(a.Snapshots)
	if n == 0 {
		return "it has no volumes"
	}
	names := a.Claims
	for _, sn := range a.Snapshots {
		names = append(names[:len(names):len(names)], kube.Claim{Name: sn.Claim, Size: sn.Size})
	}
	return fmt.Sprintf("%d of %s found: %s", n, kube.Count(n, "volume"), kube.NameClaims(names))
}
