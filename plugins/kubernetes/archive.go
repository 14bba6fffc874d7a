package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// archived is what a record remembers of a part that is archived. It is written
// before anything is taken away, so that an archive that is interrupted goes on,
// and is gone when the part is back.
type archived struct {
	At        time.Time       `json:"at"`
	Step      string          `json:"step"`   // label of the step that archived
	Digest    string          `json:"digest"` // the record's before
	Objects   []kube.Adjusted `json:"objects,omitempty"`
	Claims    []kube.Claim    `json:"claims,omitempty"`    // that stay
	Snapshots []snapped       `json:"snapshots,omitempty"` // of claims that do not
}

// merge takes over what an archive that was interrupted remembers of things that
// are gone by now.
func (a *archived) merge(before *archived) {
	if before == nil {
		return
	}
	a.At, a.Step, a.Digest = before.At, before.Step, before.Digest
	for _, o := range before.Objects {
		if !slices.ContainsFunc(a.Objects, func(x kube.Adjusted) bool { return x.ID() == o.ID() }) {
			a.Objects = append(a.Objects, o)
		}
	}
	copied := map[string]bool{}
	for _, sn := range before.Snapshots {
		copied[sn.Claim] = true
	}
	a.Snapshots = before.Snapshots
	a.Claims = slices.DeleteFunc(a.Claims, func(c kube.Claim) bool { return copied[c.Name] })
	for _, c := range before.Claims {
		if !copied[c.Name] && !slices.ContainsFunc(a.Claims, func(x kube.Claim) bool { return x.Name == c.Name }) {
			a.Claims = append(a.Claims, c)
		}
	}
}

// has tells whether a has a snapshot of that very claim.
func (a *archived) has(c corev1.PersistentVolumeClaim) bool {
	return a != nil && slices.ContainsFunc(a.Snapshots, func(sn snapped) bool { return sn.Claim == c.Name && sn.Name == snapshotName(c.Name, c.UID) })
}

// archive takes away what of the part runs, and keeps its data: the claims, or
// snapshots of them.
func (x *Executor) archive(ctx context.Context, step sdk.Step, out sdk.Events) error {
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
	return timedOut(limited, ctx, ses.archive(limited))
}

func (s *session) archive(ctx context.Context) error {
	what, err := s.archivable(ctx)
	if err != nil {
		return err
	}
	r := what.record
	if r == nil {
		s.out.Log("there is nothing of this part in namespace " + s.step.Namespace + ", so nothing is to be archived")
		return nil
	}
	for _, line := range what.stays {
		s.out.Log(line)
	}
	before := r.Archive
	what.remember.merge(before)
	r.Archive, r.Digest = what.remember, ""
	if len(what.goes) > 0 || before == nil {
		if err := s.save(ctx, r); err != nil {
			return err
		}
		s.out.Log("the Secret " + r.name + " remembers what is archived")
	}
	if err := s.cluster.Retain(ctx, what.sets, r.Archive.Claims, s.out); err != nil {
		return err
	}
	for _, line := range what.budgets {
		s.out.Log(line)
	}
	if err := s.takeAwayForNow(ctx, what.goes); err != nil {
		return err
	}
	if s.settings.raw.OnArchive == "snapshot" {
		if err := s.snapshotAll(ctx, r); err != nil {
			return err
		}
	}
	for _, c := range r.Archive.Claims {
		s.out.Log("PersistentVolumeClaim " + c.String() + " stays, with its data")
	}
	return nil
}

// takeAwayForNow deletes objects, and waits until their pods are gone too: data is
// at rest then. There are no receipts for what comes back.
func (s *session) takeAwayForNow(ctx context.Context, goes []*found) error {
	var objects []*unstructured.Unstructured
	for _, f := range goes {
		objects = append(objects, f.object())
	}
	pods, err := s.podLogs(objects).Pods(ctx)
	if err != nil {
		return err
	}
	receipts := s.receipts
	s.receipts = nil
	defer func() { s.receipts = receipts }()
	// What scales goes first: it would bring back what it scales.
	scalers, others := split(goes, func(f *found) bool {
		return strings.HasPrefix(f.kind.key(), "HorizontalPodAutoscaler.") || strings.HasSuffix(f.kind.key(), ".keda.sh")
	})
	if err := s.takeAway(ctx, scalers); err != nil {
		return err
	}
	if err := s.takeAway(ctx, others); err != nil {
		return err
	}
	var left []*unstructured.Unstructured
	for _, p := range pods {
		left = append(left, kube.ObjectOf(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": p.Name, "namespace": p.Namespace}}))
	}
	return s.awaitGone(ctx, left...)
}

func split(all []*found, first func(*found) bool) (yes, no []*found) {
	for _, f := range all {
		if first(f) {
			yes = append(yes, f)
		} else {
			no = append(no, f)
		}
	}
	return yes, no
}

// archivable is what an archive finds.
type archivable struct {
	record   *record // nil when there is no part
	goes     []*found
	sets     []*unstructured.Unstructured
	stays    []string // what stays though it runs, each with why
	budgets  []string
	remember *archived
}

// archivable looks at what there is of the part, and changes nothing.
func (s *session) archivable(ctx context.Context) (*archivable, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return nil, err
	}
	r, err := s.load(ctx)
	if err != nil || r == nil {
		return &archivable{}, err
	}
	all, err := s.members(ctx, r, true)
	if err != nil {
		return nil, err
	}
	what := &archivable{record: r, remember: &archived{At: time.Now().UTC().Truncate(time.Second), Step: kube.StepLabel(s.step.ID), Digest: r.Digest}}
	claims, err := s.dataOf(ctx, r, all)
	if err != nil {
		return nil, err
	}
	for _, c := range claims {
		if r.Archive.has(c) {
			continue // it goes, or is going: its snapshot has the data
		}
		if c.DeletionTimestamp != nil {
			return nil, sdk.Downstream("The volume claim %q is being deleted, and goes as soon as nothing uses it: with it goes its data. Nothing was archived. See `kubectl describe pvc %s -n %s`; clean up instead if the data may go.", c.Name, c.Name, c.Namespace)
		}
		what.remember.Claims = append(what.remember.Claims, kube.ClaimOf(c))
	}
	owners, err := s.cluster.ClaimOwners(ctx, claims)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		if staysArchived(f) {
			continue
		}
		set := f.kind.key() == "StatefulSet.apps"
		if owners[f.UID] && !set {
			what.stays = append(what.stays, kube.Title(f.object())+" stays and keeps running: volume claims with data belong to it, and would go with it")
			continue
		}
		if f.kind.key() == "PodDisruptionBudget.policy" {
			what.budgets = append(what.budgets, kube.Title(f.object())+" is not in the way: it guards pods from evictions, and what it guards is taken away")
		}
		what.goes = append(what.goes, f)
		if f.DeletionTimestamp != nil {
			continue
		}
		if f.full == nil && kube.Dozes(f.object()) { // it has fields that others adjust
			live, err := s.client(f.kind, f.Namespace).Get(ctx, f.Name, metav1.GetOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return nil, err
			}
			f.full = live
		}
		if f.full == nil {
			continue
		}
		if set {
			what.sets = append(what.sets, f.full)
		}
		if fields := kube.Adjustments(f.full); len(fields) > 0 {
			what.remember.Objects = append(what.remember.Objects, kube.Adjusted{
				Group: f.kind.Group, Kind: f.kind.Kind, Namespace: f.Namespace, Name: f.Name, Fields: fields,
			})
		}
	}
	return what, nil
}

// staysArchived tells whether an object stays while its part is archived: it is
// data, the environment's as a whole, or what data and a restore may need and what
// costs nothing, such as a Secret, a ConfigMap or a role.
func staysArchived(f *found) bool {
	u := f.object()
	switch {
	case f.Labels[labelJob] != "":
		return false
	case f.Labels[kube.LabelPart] == "", phaseOf(u) != workloads:
		return true
	case f.kind.key() == "StatefulSet.apps":
		return false
	}
	return kube.TakesData(u)
}

// dataOf are the claims with the part's data: those that it made, that its
// StatefulSets made, and that its pods use.
func (s *session) dataOf(ctx context.Context, r *record, all []*found) ([]corev1.PersistentVolumeClaim, error) {
	var objects []*unstructured.Unstructured
	for _, f := range all {
		objects = append(objects, f.object())
	}
	for _, content := range r.Objects {
		objects = append(objects, kube.ObjectOf(content))
	}
	has := kube.ClaimsOf(objects, s.step.Namespace)
	list, err := s.cluster.Clientset().CoreV1().PersistentVolumeClaims(s.step.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var out []corev1.PersistentVolumeClaim
	for _, c := range list.Items {
		if owner := kube.LabelsOwner(c.Labels); has(c.Name) && (!owner.Known() || owner.SameEnvironment(s.mine)) {
			out = append(out, c)
		}
	}
	return out, nil
}

// planArchive says what an archive would take away, and what it would keep.
func (x *Executor) planArchive(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{Summary: "archive the part", Inputs: map[string]string{inputRecord: step.Namespace + "/" + recordName(step)}}
	if step.Brief {
		return plan, nil
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	what, err := ses.archivable(ctx)
	if err != nil {
		return sdk.Plan{}, err
	}
	if what.record == nil {
		plan.Summary += ": there is nothing of it"
		return plan, nil
	}
	var b strings.Builder
	for _, f := range what.goes {
		res := f.resource(sdk.ChangeDelete)
		res.Destructive = false // it comes back, and the claims of a StatefulSet stay
		plan.Resources = append(plan.Resources, res)
		b.WriteString("- " + f.kind.Kind + "/" + f.Name + "\n")
	}
	for _, line := range slices.Concat(what.stays, what.budgets) {
		b.WriteString("# " + line + "\n")
	}
	snapshots := s.raw.OnArchive == "snapshot"
	if snapshots {
		if snapshots, err = ses.hasSnapshots(); err != nil {
			return sdk.Plan{}, err
		}
	}
	for _, c := range what.remember.Claims {
		if !snapshots {
			b.WriteString("# PersistentVolumeClaim " + c.String() + " stays, with its data\n")
			continue
		}
		plan.Resources = append(plan.Resources,
			sdk.Resource{Kind: "VolumeSnapshot", Name: snapshotName(c.Name, c.UID), Namespace: c.Namespace, Change: sdk.ChangeCreate},
			sdk.Resource{Kind: "PersistentVolumeClaim", Name: c.Name, Namespace: c.Namespace, Change: sdk.ChangeDelete})
		b.WriteString("+ VolumeSnapshot/" + snapshotName(c.Name, c.UID) + "\n- PersistentVolumeClaim/" + c.Name + " (once its snapshot is ready to use)\n")
	}
	plan.Diff, plan.Cost = b.String(), given(what.goes)
	plan.Summary += fmt.Sprintf(": %s taken away, ", kube.Count(len(what.goes), "object"))
	switch n := len(what.remember.Claims); {
	case n == 0:
		plan.Summary += "no volume claims to keep"
	case snapshots:
		plan.Summary += kube.Count(n, "volume claim") + " kept as snapshots (" + kube.NameClaims(what.remember.Claims) + ")"
	default:
		plan.Summary += kube.Count(n, "volume claim") + " kept (" + kube.NameClaims(what.remember.Claims) + ")"
	}
	return plan, nil
}

// archivedSight is what is seen of an archived part: it runs nothing, and its data
// is there, or what of it is not.
func (s *session) archivedSight(ctx context.Context, a *archived) (sdk.Observation, error) {
	o := sdk.Observation{Health: sdk.Absent, Text: "archived"}
	gone, err := s.lost(ctx, a)
	if err != nil {
		return sdk.Observation{}, err
	}
	for _, one := range gone {
		o.Drift = append(o.Drift, "Data is gone: "+one+".")
	}
	if n := len(a.Claims) + len(a.Snapshots) - len(gone); n > 0 {
		o.Text += ", with " + kube.Count(n, "volume") + " kept"
	}
	return o, nil
}
