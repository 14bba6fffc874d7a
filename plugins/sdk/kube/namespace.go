package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Namespace is the namespace of a step's environment.
type Namespace struct {
	Cluster *Cluster
	Step    sdk.Step   // whose namespace it is
	Out     sdk.Events // hears what happens
	// Labels and Annotations go on a namespace that Ensure makes, beside the marks.
	Labels, Annotations map[string]string
}

// Ensure makes the namespace, marked as the environment's, where create is set
// and it is not there. One that somebody else made is used as it is, and never
// marked; one that is another environment's is refused. One that is being deleted
// is waited for. A namespace that may not be looked at is taken to be there.
func (n Namespace) Ensure(ctx context.Context, create bool) error {
	name, namespaces := n.Step.Namespace, n.Cluster.clientset.CoreV1().Namespaces()
	for {
		ns, err := namespaces.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsForbidden(err):
			return nil // rights may end at the namespace; whether it is there shows in what comes next
		case err != nil && !apierrors.IsNotFound(err):
			return err
		case err == nil && (ns.DeletionTimestamp == nil || !create):
			if err := RefuseNamespace(ns, n.Step); err != nil {
				return err
			}
			return n.mark(ctx, ns)
		case !create:
			return nil // that it is not there shows in what comes next
		case err == nil:
			n.Out.Progress("namespace "+name+": is being deleted; waiting until it is gone", 0, 0)
			if err := n.awaitGone(ctx, ns.UID); err != nil {
				return err
			}
		}
		labels := map[string]string{}
		maps.Copy(labels, n.Labels)
		maps.Copy(labels, EnvironmentOwner(n.Step).Labels())
		labels[LabelManagedBy] = ManagedBy
		_, err = namespaces.Create(ctx, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: n.Annotations},
		}, metav1.CreateOptions{FieldManager: ManagedBy})
		if err == nil {
			n.Out.Log("created namespace " + name)
			return nil
		}
		if !apierrors.IsAlreadyExists(err) { // another part of the environment may have won
			return err
		}
	}
}

// mark adds the installation to the marks of a namespace that Berth
// made for this environment when it did not know installations yet. Without the
// right to, it stays as it is.
func (n Namespace) mark(ctx context.Context, ns *corev1.Namespace) error {
	mine := EnvironmentOwner(n.Step)
	if o := NamespaceOwner(ns); ns.Labels[LabelManagedBy] != ManagedBy || !o.Is(mine) || o == mine || mine.Installation == "" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": ns.UID, "resourceVersion": ns.ResourceVersion, "labels": map[string]string{LabelInstallation: mine.Installation},
	}})
	if err != nil {
		return err
	}
	_, err = n.Cluster.clientset.CoreV1().Namespaces().Patch(ctx, ns.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsForbidden(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the next deploy tries again
	}
	return err
}

// awaitGone waits until the namespace with that uid is gone, and says meanwhile
// what holds it.
func (n Namespace) awaitGone(ctx context.Context, uid types.UID) error {
	namespaces := n.Cluster.clientset.CoreV1().Namespaces()
	src := typedLister[*corev1.NamespaceList]{lists: namespaces.List, watches: namespaces.Watch, fields: "metadata.name=" + n.Step.Namespace}
	following, stop := context.WithCancel(ctx)
	defer stop()
	gone, failed := make(chan struct{}, 1), make(chan error, 1)
	tell := func() {
		select {
		case gone <- struct{}{}:
		default:
		}
	}
	there, said := false, ""
	go follow(following, src, follower{
		begin: func() { there = false },
		seen: func(o runtime.Object, deleted bool) {
			ns, ok := o.(*corev1.Namespace)
			if !ok || ns.UID != uid || deleted {
				tell()
				return
			}
			there = true
			if why := heldBy(ns); why != "" && why != said {
				said = why
				n.Out.Progress("namespace "+ns.Name+": is being deleted, and held by "+why, 0, 0)
			}
		},
		listed: func() {
			if !there {
				tell()
			}
		},
		trouble: func(err error) {
			if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
				select {
				case failed <- err:
				default:
				}
			}
		},
	})
	select {
	case <-gone:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return n.stuck(ctx)
		}
		return ctx.Err()
	}
}

// Remove deletes the namespace if Berth made it for this environment and nothing
// is left in it but what Kubernetes itself puts there, and waits until it is gone.
// Else it stays, and Out hears why. receipts may be nil.
func (n Namespace) Remove(ctx context.Context, receipts *Receipts) error {
	name, out, namespaces := n.Step.Namespace, n.Out, n.Cluster.clientset.CoreV1().Namespaces()
	ns, err := namespaces.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		out.Log("namespace " + name + " stays: Berth may not look at it, so it did not make it")
		return nil
	case err != nil:
		return err
	}
	if ns.Labels[LabelManagedBy] != ManagedBy || !NamespaceOwner(ns).Is(EnvironmentOwner(n.Step)) {
		out.Log("namespace " + name + " stays: Berth did not make it for this environment")
		return nil
	}
	if ns.DeletionTimestamp == nil {
		left, err := n.Leftovers(ctx)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			if all := len(left); all > 10 {
				left = append(left[:10], fmt.Sprintf("and %d more", all-10))
			}
			out.Log("namespace " + n.Step.Namespace + " stays: there are still " + strings.Join(left, ", "))
			return nil
		}
		// The uid: never another namespace that has got this name since.
		err = n.Cluster.clientset.CoreV1().Namespaces().Delete(ctx, n.Step.Namespace, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &ns.UID}})
		if apierrors.IsForbidden(err) {
			out.Log("namespace " + n.Step.Namespace + " stays: Berth may not delete it")
			return nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		out.Log("deleting namespace " + n.Step.Namespace)
	}
	out.Progress("namespace "+n.Step.Namespace+": waiting until it is gone", 0, 0)
	if err := n.awaitGone(ctx, ns.UID); err != nil {
		return err
	}
	receipts.Gone(out, sdk.Resource{Kind: KindNamespace, Name: n.Step.Namespace, Destructive: true})
	return nil
}

// passing are kinds that come and go with others, or that Kubernetes makes.
var passing = map[schema.GroupResource]bool{
	{Resource: "events"}: true, {Group: "events.k8s.io", Resource: "events"}: true,
	{Resource: "endpoints"}: true, {Group: "discovery.k8s.io", Resource: "endpointslices"}: true,
	{Group: "coordination.k8s.io", Resource: "leases"}: true,
	{Group: "metrics.k8s.io", Resource: "pods"}:        true,
}

// Leftovers are the objects in the namespace that are somebody's: those that
// nothing else owns, that are not on their way out, and that are not the
// namespace's own. Its own are those that Berth made for the environment as a
// whole, such as its quota: they bear its marks and no part's. A kind that cannot
// be looked at is an error, except where looking is not allowed: then it counts as
// something that may be there.
func (n Namespace) Leftovers(ctx context.Context) ([]string, error) {
	return n.each(ctx, func(kind schema.GroupResource, o *metav1.PartialObjectMetadata) string {
		if o.DeletionTimestamp != nil || len(o.OwnerReferences) > 0 || ofKubernetes(kind, o) || n.furniture(o) {
			return ""
		}
		return kind.Resource + "/" + o.Name
	})
}

// each looks at the objects in the namespace, of every kind that can be listed and
// deleted, and has what say says of each.
func (n Namespace) each(ctx context.Context, say func(schema.GroupResource, *metav1.PartialObjectMetadata) string) ([]string, error) {
	lists, err := n.Cluster.discovery.ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	if discovery.IsGroupDiscoveryFailedError(err) {
		return []string{"kinds of objects whose API does not answer"}, nil
	}
	kinds := listable(lists)
	found := make([][]string, len(kinds))
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, gvr := range kinds {
		group.Go(func() error {
			list, err := n.Cluster.metadata.Resource(gvr).Namespace(n.Step.Namespace).List(side, metav1.ListOptions{Limit: 50})
			switch {
			case apierrors.IsForbidden(err):
				found[i] = []string{gvr.Resource + ", perhaps, which Berth may not look at"}
				return nil
			case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
				return nil // the kind itself has gone since discovery
			case err != nil:
				return err
			}
			for _, o := range list.Items {
				if text := say(gvr.GroupResource(), &o); text != "" {
					found[i] = append(found[i], text)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// listable are the kinds in namespaces that can be listed and deleted, in the same
// order each time: discovery has those of one group in none.
func listable(lists []*metav1.APIResourceList) []schema.GroupVersionResource {
	var kinds []schema.GroupVersionResource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			gvr := gv.WithResource(r.Name)
			if r.Namespaced && slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "delete") && !passing[gvr.GroupResource()] {
				kinds = append(kinds, gvr)
			}
		}
	}
	slices.SortFunc(kinds, func(a, b schema.GroupVersionResource) int { return strings.Compare(a.String(), b.String()) })
	return kinds
}

// furniture tells whether Berth made o for the environment as a whole.
func (n Namespace) furniture(o *metav1.PartialObjectMetadata) bool {
	owner := LabelsOwner(o.Labels)
	return o.Labels[LabelManagedBy] == ManagedBy && owner.Part == "" && owner.Is(EnvironmentOwner(n.Step))
}

// ofKubernetes tells whether every namespace has such an object.
func ofKubernetes(kind schema.GroupResource, o *metav1.PartialObjectMetadata) bool {
	switch kind {
	case schema.GroupResource{Resource: "configmaps"}:
		return o.Name == "kube-root-ca.crt" || o.Name == "openshift-service-ca.crt"
	case schema.GroupResource{Resource: "serviceaccounts"}:
		return o.Name == "default"
	case schema.GroupResource{Resource: "secrets"}:
		return o.Annotations["kubernetes.io/service-account.name"] == "default"
	}
	return false
}
