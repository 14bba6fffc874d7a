package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// placed is an object with where it goes.
type placed struct {
	*unstructured.Unstructured
	kind  kindOf
	phase phase
	fresh bool                          // its kind is defined by the part itself, and may not be served yet
	live  *metav1.PartialObjectMetadata // nil when it is not there
}

// phase is when an object is applied: each needs what those before it make.
type phase int

const (
	definitions phase = iota // namespaces and kinds
	settled                  // what workloads refer to
	workloads                // all else
	phases
)

// phaseOf goes by what other objects need to be there first.
func phaseOf(u *unstructured.Unstructured) phase {
	switch kube.GroupKind(u) {
	case "Namespace.", "CustomResourceDefinition.apiextensions.k8s.io":
		return definitions
	case "ServiceAccount.", "ConfigMap.", "Secret.", "ResourceQuota.", "LimitRange.", "PersistentVolume.", "PersistentVolumeClaim.",
		"Role.rbac.authorization.k8s.io", "RoleBinding.rbac.authorization.k8s.io",
		"ClusterRole.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io",
		"NetworkPolicy.networking.k8s.io", "StorageClass.storage.k8s.io", "PriorityClass.scheduling.k8s.io":
		return settled
	}
	return workloads
}

// place finds out where objects go, and refuses those that may not go there.
func (s *session) place(objects []*unstructured.Unstructured) ([]*placed, error) {
	defined := definedKinds(objects)
	var out []*placed
	for _, u := range objects {
		gvk := u.GroupVersionKind()
		p := &placed{Unstructured: u, phase: phaseOf(u)}
		if k, ok := defined[gvk.GroupKind()]; ok {
			p.kind, p.fresh = k, true
			p.kind.Version = gvk.Version
		} else {
			mapping, err := s.cluster.Mapper().RESTMapping(gvk.GroupKind(), gvk.Version)
			if meta.IsNoMatchError(err) {
				return nil, sdk.Invalid("The cluster does not know %s in %s, which %s is: check its apiVersion, or install what brings that kind.",
					kube.Clip(gvk.Kind, 60), kube.Clip(gvk.GroupVersion().String(), 80), kube.Title(u))
			}
			if err != nil {
				return nil, err
			}
			p.kind = kindOf{gvk.Group, gvk.Version, gvk.Kind, mapping.Resource.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace}
		}
		keep, err := s.admit(p)
		if err != nil {
			return nil, err
		}
		if keep {
			out = append(out, p)
		}
	}
	return out, nil
}

// definedKinds are the kinds that definitions among objects bring.
func definedKinds(objects []*unstructured.Unstructured) map[schema.GroupKind]kindOf {
	out := map[schema.GroupKind]kindOf{}
	for _, u := range objects {
		if kube.GroupKind(u) != "CustomResourceDefinition.apiextensions.k8s.io" {
			continue
		}
		text := func(path ...string) string { t, _, _ := unstructured.NestedString(u.Object, path...); return t }
		k := kindOf{Group: text("spec", "group"), Kind: text("spec", "names", "kind"), Resource: text("spec", "names", "plural"), Namespaced: text("spec", "scope") == "Namespaced"}
		out[schema.GroupKind{Group: k.Group, Kind: k.Kind}] = k
	}
	return out
}

// admit sets an object's namespace and tells whether it is to be applied. What is
// in another namespace, or in none, needs the platform's leave.
func (s *session) admit(p *placed) (bool, error) {
	title := kube.Clip(kube.Title(p.Unstructured), 160)
	if hasOwners(p.Unstructured) {
		return false, sdk.Invalid("%s has ownerReferences, and the cluster would delete it together with an owner that Berth knows nothing of: take them out of the manifest.", title)
	}
	if p.kind.key() == "Namespace." && p.GetName() == s.step.Namespace {
		s.out.Log("the manifests have the environment's own namespace, which is Berth's to make; that object is left out")
		return false, nil
	}
	if !p.kind.Namespaced {
		if !s.settings.allows(p.Unstructured, "", s.step.App) {
			return false, sdk.Invalid("%s is in no namespace, and parts may not apply such: `allow` in the kubernetes executor's `settings` would have to name the kind %s.", title, kindNames(p.Unstructured)[0])
		}
		p.SetNamespace("")
		return true, nil
	}
	switch p.GetNamespace() {
	case "", s.step.Namespace:
		p.SetNamespace(s.step.Namespace)
	default:
		if !s.settings.allows(p.Unstructured, p.GetNamespace(), s.step.App) {
			return false, sdk.Invalid("%s names the namespace %q, and the environment's is %q: take the namespace out of the manifest, or have `allow` in the kubernetes executor's `settings` name the kind and that namespace.",
				title, kube.Clip(p.GetNamespace(), 80), s.step.Namespace)
		}
		return true, nil
	}
	if p.kind.key() == "Secret." && p.GetName() == recordName(s.step) {
		return false, sdk.Invalid("%s has the name under which Berth keeps its record of this part; give it another.", title)
	}
	if kinds := s.settings.platform.Kinds; len(kinds) > 0 && p.GetLabels()[kube.LabelPart] != "" && !slices.ContainsFunc(kindNames(p.Unstructured), func(k string) bool { return contains(kinds, k) }) {
		return false, sdk.Invalid("%s may not be applied: `kinds` in the kubernetes executor's `settings` does not have %s.", title, kindNames(p.Unstructured)[0])
	}
	return true, nil
}

// hasOwners tells whether an object names owners, in whatever form: the cluster's
// garbage collection answers for it then, and not the part. It would also keep the
// namespace from being seen as in use, since what has an owner goes with that.
func hasOwners(u *unstructured.Unstructured) bool {
	meta, _ := u.Object["metadata"].(map[string]any)
	switch refs := meta["ownerReferences"].(type) {
	case nil:
		return false
	case []any:
		return len(refs) > 0
	default:
		return true
	}
}

// allows tells whether the platform lets parts of an app have objects of that
// kind in that namespace, "" for none.
func (s *settings) allows(u *unstructured.Unstructured, namespace, app string) bool {
	return slices.ContainsFunc(s.platform.Allow, func(a allowance) bool {
		return slices.Contains(kindNames(u), a.Kind) && a.Namespace == namespace && (len(a.Apps) == 0 || contains(a.Apps, app))
	})
}

// client is the API for objects of a kind in a namespace.
func (s *session) client(k kindOf, namespace string) dynamic.ResourceInterface {
	if !k.Namespaced {
		return s.cluster.Dynamic().Resource(k.gvr())
	}
	return s.cluster.Dynamic().Resource(k.gvr()).Namespace(namespace)
}

// fewObjects is how many objects of a kind are asked for one by one; of more, all
// are listed.
const fewObjects = 4

// findLive learns which of the objects are there already, and refuses to touch
// those that are not this part's.
func (s *session) findLive(ctx context.Context, all []*placed) error {
	type place struct{ kind, namespace string }
	groups := map[place][]*placed{}
	for _, p := range all {
		at := place{p.kind.key(), p.GetNamespace()}
		groups[at] = append(groups[at], p)
	}
	work := newCrew(ctx)
	for _, group := range groups {
		work.do(func(ctx context.Context) error { return s.findGroup(ctx, group) })
	}
	if err := work.wait(); err != nil {
		return err
	}
	ours := false
	var names []string
	for _, p := range all {
		if p.live == nil {
			continue
		}
		if p.kind.key() == "ServiceAccount." && p.GetName() == defaultServiceUser && !ours {
			var err error
			if ours, err = s.namespaceIsOurs(ctx); err != nil {
				return err
			}
		}
		if err := s.refuse(p, ours); err != nil {
			return err
		}
		if p.live.DeletionTimestamp != nil {
			names = append(names, kube.Title(p.Unstructured))
		}
	}
	if len(names) > 0 {
		s.out.Log("being deleted, and made anew when gone: " + kube.Clip(strings.Join(names, ", "), 300))
	}
	return nil
}

// findGroup finds those of one kind in one namespace.
func (s *session) findGroup(ctx context.Context, group []*placed) error {
	k, namespace := group[0].kind, group[0].GetNamespace()
	from := s.cluster.Metadata().Resource(k.gvr())
	if len(group) > fewObjects {
		list, err := s.cluster.ListMeta(ctx, k.gvr(), namespace, "")
		if apierrors.IsNotFound(err) && group[0].fresh {
			return nil
		}
		if err == nil {
			byName := map[string]*metav1.PartialObjectMetadata{}
			for i := range list {
				byName[list[i].Name] = &list[i]
			}
			for _, p := range group {
				p.live = byName[p.GetName()]
			}
			return nil
		}
		if !apierrors.IsForbidden(err) {
			return err
		}
	}
	work := newCrew(ctx)
	for _, p := range group {
		work.do(func(ctx context.Context) error {
			get := from.Get
			if k.Namespaced {
				get = from.Namespace(namespace).Get
			}
			got, err := get(ctx, p.GetName(), metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			p.live = got
			return err
		})
	}
	return work.wait()
}

func (s *session) namespaceIsOurs(ctx context.Context) (bool, error) {
	ns, err := s.cluster.Clientset().CoreV1().Namespaces().Get(ctx, s.step.Namespace, metav1.GetOptions{})
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && isOurs(ns, s.step), err
}

// isOurs tells whether Berth made a namespace for the step's environment.
func isOurs(ns *corev1.Namespace, step sdk.Step) bool {
	return ns.Labels[kube.LabelManagedBy] == kube.ManagedBy && kube.NamespaceOwner(ns).Is(kube.EnvironmentOwner(step))
}

// refuse says why an object that is there may not be changed, nil when it may.
func (s *session) refuse(p *placed, namespaceOurs bool) error {
	title := kube.Clip(kube.Title(p.Unstructured), 160)
	if ns := p.GetNamespace(); ns != "" {
		title += fmt.Sprintf(" in namespace %q", ns)
	}
	owner, set := kube.LabelsOwner(p.live.Labels), p.live.Labels[labelPartOf]
	own := p.GetLabels()[labelPartOf]
	mine := kube.LabelsOwner(p.GetLabels())
	switch {
	case owner.Is(mine) && (set == own || set == "" || mine.Part != ""):
		return nil
	case owner.Is(mine):
		return sdk.Invalid("%s is made by another part of this environment: only one part can have a `namespace`.", title)
	case owner.Known():
		return sdk.Invalid("%s is that of %s, and is not changed: give it another name, or this app another `namespace`.", title, owner.Toward(s.mine))
	case namespaceOurs && p.kind.key() == "ServiceAccount." && p.GetName() == defaultServiceUser:
		return nil // each namespace has one, and this namespace is Berth's
	}
	var marks []string
	for key, value := range mine.Labels() {
		marks = append(marks, key+"="+value)
	}
	slices.Sort(marks)
	if ns := p.GetNamespace(); ns != "" {
		marks = append(marks, "-n "+ns)
	}
	return sdk.Invalid("%s is there already, and Berth did not make it, so it is not changed: give yours another name, or hand it over with `kubectl label %s %s %s`.",
		title, strings.ToLower(p.kind.Resource), p.GetName(), strings.Join(marks, " "))
}
