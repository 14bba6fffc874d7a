package kubernetes

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// claimKind is the kind of volume claims.
var claimKind = kindOf{Version: "v1", Kind: "PersistentVolumeClaim", Resource: "persistentvolumeclaims", Namespaced: true}

// cleanup takes the part's objects away, the claims that its StatefulSets made,
// its record, and the namespace if Berth made it and nothing else is in it. The
// record goes last but for the namespace, so that an interrupted cleanup finds
// out again what there is.
func (x *Executor) cleanup(ctx context.Context, step sdk.Step, out sdk.Events) error {
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
	return timedOut(limited, ctx, ses.cleanup(limited))
}

func (s *session) cleanup(ctx context.Context) error {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return err
	}
	records, err := s.records(ctx)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		s.out.Log("there is nothing of this part in namespace " + s.step.Namespace)
	}
	for _, r := range records {
		if err := s.cleanRecord(ctx, r); err != nil {
			return err
		}
	}
	return s.namespace().Remove(ctx, s.receipts)
}

// records are those of the step's part, or, without one, of its environment.
func (s *session) records(ctx context.Context) ([]*record, error) {
	mine := s.mine
	if s.step.Part == "" {
		mine = mine.Environment()
	}
	list, err := s.cluster.Clientset().CoreV1().Secrets(s.step.Namespace).List(ctx, metav1.ListOptions{LabelSelector: mine.Selector() + "," + labelSet})
	if err != nil {
		return nil, err
	}
	var out []*record
	for _, secret := range list.Items {
		r := decodeRecord(secret.Name, secret.Labels, secret.Annotations, secret.Data[recordKey])
		r.uid = string(secret.UID)
		if r.owner.SameEnvironment(mine) {
			out = append(out, r)
		}
	}
	return out, nil
}

// cleanRecord takes away all that a record tells of: what runs first, then what
// that refers to, then the kinds themselves, since their objects go with them.
func (s *session) cleanRecord(ctx context.Context, r *record) error {
	all, err := s.members(ctx, r, false)
	if err != nil {
		return err
	}
	for at := workloads; at >= definitions; at-- {
		var now []*found
		for _, f := range all {
			if phaseOf(f.object()) == at && !s.isNamespaceItself(f) {
				now = append(now, f)
			}
		}
		if err := s.takeAway(ctx, now); err != nil {
			return err
		}
		if at != workloads {
			continue
		}
		claims, err := s.claims(ctx, r, all)
		if err != nil {
			return err
		}
		if err := s.takeAway(ctx, claims); err != nil {
			return err
		}
	}
	err = s.cluster.Clientset().CoreV1().Secrets(s.step.Namespace).Delete(ctx, r.name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(r.uid)})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	s.receipts.Gone(s.out, sdk.Resource{Kind: kindPart, Name: r.name, Namespace: s.step.Namespace})
	return nil
}

// isNamespaceItself tells whether an object is the environment's namespace, which
// goes last and only when nothing of anybody's is left in it.
func (s *session) isNamespaceItself(f *found) bool {
	return f.kind.key() == "Namespace." && f.Name == s.step.Namespace
}

// claims are those that StatefulSets of the part made: nothing owns them, so they
// are found by their names. A claim with marks of others is not among them.
func (s *session) claims(ctx context.Context, r *record, members []*found) ([]*found, error) {
	if len(r.Claims) == 0 {
		return nil, nil
	}
	var names []string
	for _, c := range r.Claims {
		names = append(names, regexp.QuoteMeta(c))
	}
	byName, err := regexp.Compile(`^(` + strings.Join(names, "|") + `)-[0-9]+$`)
	if err != nil {
		return nil, sdk.Internal("The names of claims cannot be matched: %w", err)
	}
	list, err := s.cluster.ListMeta(ctx, claimKind.gvr(), s.step.Namespace, "")
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, f := range members {
		known[f.id()] = true
	}
	var out []*found
	for _, c := range list {
		f := &found{kind: claimKind, PartialObjectMetadata: c}
		owner := kube.LabelsOwner(c.Labels)
		if byName.MatchString(c.Name) && !known[f.id()] && (!owner.Known() || owner.Is(r.owner)) {
			out = append(out, f)
		}
	}
	return out, nil
}

// planCleanup says what cleanup would take away.
func (x *Executor) planCleanup(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	plan := sdk.Plan{
		Summary: "delete the part's objects",
		Inputs:  map[string]string{inputRecord: step.Namespace + "/" + recordName(step)},
	}
	if step.Brief {
		return plan, nil
	}
	ses, err := x.open(ctx, step, s, nil)
	if err != nil {
		return sdk.Plan{}, err
	}
	if _, err := ses.cluster.Reach(ctx); err != nil {
		return sdk.Plan{}, err
	}
	records, err := ses.records(ctx)
	if err != nil {
		return sdk.Plan{}, err
	}
	claims := 0
	for _, r := range records {
		n, err := ses.planRecord(ctx, r, &plan)
		if err != nil {
			return sdk.Plan{}, err
		}
		claims += n
	}
	if err := ses.planNamespace(ctx, &plan); err != nil {
		return sdk.Plan{}, err
	}
	plan.Resources = kube.Once(plan.Resources)
	plan.Destructive = kube.AnyDestructive(plan.Resources)
	switch {
	case len(records) == 0:
		plan.Summary += ": there is nothing of it"
	case claims > 0:
		plan.Summary += fmt.Sprintf(": %s, %s with data", kube.Count(len(plan.Resources), "object"), kube.Count(claims, "volume claim"))
	default:
		plan.Summary += ": " + kube.Count(len(plan.Resources), "object")
	}
	return plan, nil
}

// planRecord adds to plan what goes with a record, and tells how many claims.
func (s *session) planRecord(ctx context.Context, r *record, plan *sdk.Plan) (int, error) {
	all, err := s.members(ctx, r, true)
	if err != nil {
		return 0, err
	}
	claims, err := s.claims(ctx, r, all)
	if err != nil {
		return 0, err
	}
	n := 0
	var objects = all[:0:0]
	for _, f := range slices.Concat(all, claims) {
		if s.isNamespaceItself(f) {
			continue
		}
		objects = append(objects, f)
		if f.kind.key() == claimKind.key() {
			n++
		}
		plan.Diff += "- " + f.kind.Kind + "/" + f.Name + "\n"
		plan.Resources = append(plan.Resources, f.resource(sdk.ChangeDelete))
	}
	plan.Cost = strings.Trim(plan.Cost+"; "+given(objects), "; ")
	return n, nil
}

// given is what goes back to the cluster with objects.
func given(all []*found) string {
	var objects = make([]*unstructured.Unstructured, 0, len(all))
	for _, f := range all {
		if f.full != nil {
			objects = append(objects, f.full)
		}
	}
	if need := kube.NeedOf(objects).String(); need != "" {
		return "gives back " + need
	}
	return ""
}

// planNamespace adds the namespace to plan, if it is Berth's to take away. That
// something of others may keep it is only known when the part is gone.
func (s *session) planNamespace(ctx context.Context, plan *sdk.Plan) error {
	ns, err := s.cluster.Clientset().CoreV1().Namespaces().Get(ctx, s.step.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if isOurs(ns, s.step) && ns.Status.Phase == corev1.NamespaceActive && s.onlyPart(ctx) {
		plan.Resources = append(plan.Resources, sdk.Resource{Kind: kube.KindNamespace, Name: ns.Name, Change: sdk.ChangeDelete, Destructive: true})
	}
	return nil
}

// onlyPart tells whether no other part of the environment has a record of this
// executor's in the namespace.
func (s *session) onlyPart(ctx context.Context) bool {
	list, err := s.cluster.Clientset().CoreV1().Secrets(s.step.Namespace).List(ctx, metav1.ListOptions{LabelSelector: s.mine.Environment().Selector() + "," + labelSet})
	return err == nil && !slices.ContainsFunc(list.Items, func(secret corev1.Secret) bool {
		return s.step.Part != "" && kube.LabelsOwner(secret.Labels).Part != s.mine.Part
	})
}
