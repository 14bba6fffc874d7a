package helm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"github.com/berth-dev/berth/plugins/sdk"
)

func isNotFound(err error) bool {
	return apierrors.IsNotFound(err) || errors.Is(err, driver.ErrReleaseNotFound)
}

// ensureNamespace makes the namespace, marked as the environment's, where the
// settings want that and it is not there. One that somebody else made is used
// as it is, and never marked; one that is another environment's is refused.
func (s *session) ensureNamespace(ctx context.Context, step sdk.Step) error {
	namespaces := s.clientset.CoreV1().Namespaces()
	for {
		ns, err := namespaces.Get(ctx, s.namespace, metav1.GetOptions{})
		switch {
		case apierrors.IsForbidden(err):
			return nil // rights may end at the namespace; whether it is there shows in what comes next
		case err != nil && !apierrors.IsNotFound(err):
			return err
		case err == nil && (ns.DeletionTimestamp == nil || !s.settings.CreateNamespace):
			if err := refuseNamespace(ns, step); err != nil {
				return err
			}
			return s.markNamespace(ctx, ns, step)
		case !s.settings.CreateNamespace:
			return nil // that it is not there shows in what comes next
		case err == nil:
			s.kube.out.Progress("namespace "+s.namespace+": is being deleted; waiting until it is gone", 0, 0)
			if err := s.awaitNamespaceGone(ctx, ns.UID); err != nil {
				return err
			}
		}
		labels := environmentOwner(step).labels()
		labels[labelManagedBy] = managedByBerth
		_, err = namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name:   s.namespace,
			Labels: labels,
		}}, metav1.CreateOptions{})
		if err == nil {
			s.kube.out.Log("created namespace " + s.namespace)
			return nil
		}
		if !apierrors.IsAlreadyExists(err) { // another part of the environment may have won
			return err
		}
	}
}

// markNamespace adds the installation to the marks of a namespace that Berth
// made for this environment when it did not know installations yet. Without the
// right to, it stays as it is.
func (s *session) markNamespace(ctx context.Context, ns *corev1.Namespace, step sdk.Step) error {
	mine := environmentOwner(step)
	if o := namespaceOwner(ns); ns.Labels[labelManagedBy] != managedByBerth || !o.is(mine) || o == mine || mine.installation == "" {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": ns.UID, "resourceVersion": ns.ResourceVersion, "labels": map[string]string{labelInstallation: mine.installation},
	}})
	if err != nil {
		return err
	}
	_, err = s.clientset.CoreV1().Namespaces().Patch(ctx, ns.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsForbidden(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the next deploy tries again
	}
	return err
}

// awaitNamespaceGone waits until the namespace with that uid is gone.
func (s *session) awaitNamespaceGone(ctx context.Context, uid types.UID) error {
	namespaces := s.clientset.CoreV1().Namespaces()
	src := typedLister[*corev1.NamespaceList]{lists: namespaces.List, watches: namespaces.Watch, fields: "metadata.name=" + s.namespace}
	following, stop := context.WithCancel(ctx)
	defer stop()
	gone := make(chan struct{}, 1)
	tell := func() {
		select {
		case gone <- struct{}{}:
		default:
		}
	}
	failed := make(chan error, 1)
	there := false
	go follow(following, src,
		func(o runtime.Object, deleted bool) {
			ns, ok := o.(*corev1.Namespace)
			if ok && ns.UID == uid && !deleted {
				there = true
				return
			}
			tell()
		},
		func(int) {
			if !there {
				tell()
			}
			there = false
		},
		func(err error) {
			if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
				select {
				case failed <- err:
				default:
				}
			}
		})
	select {
	case <-gone:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return sdk.Downstream("The namespace %q was not gone in time: see `kubectl describe namespace %s` for what holds it, then try again.", s.namespace, s.namespace).WithRetry()
		}
		return ctx.Err()
	}
}

// removeNamespace deletes the namespace if Berth made it for this environment
// and nothing is left in it but what Kubernetes itself puts there.
func (s *session) removeNamespace(ctx context.Context, step sdk.Step) error {
	out := s.kube.out
	ns, err := s.clientset.CoreV1().Namespaces().Get(ctx, s.namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		out.Log("namespace " + s.namespace + " stays: Berth may not look at it, so it did not make it")
		return nil
	case err != nil:
		return err
	}
	if ns.Labels[labelManagedBy] != managedByBerth || !namespaceOwner(ns).is(environmentOwner(step)) {
		out.Log("namespace " + s.namespace + " stays: Berth did not make it for this environment")
		return nil
	}
	if ns.DeletionTimestamp == nil {
		left, err := s.leftovers(ctx)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			if n := len(left); n > 10 {
				left = append(left[:10], fmt.Sprintf("and %d more", n-10))
			}
			out.Log("namespace " + s.namespace + " stays: there are still " + strings.Join(left, ", "))
			return nil
		}
		// The uid: never another namespace that has got this name since.
		err = s.clientset.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &ns.UID}})
		if apierrors.IsForbidden(err) {
			out.Log("namespace " + s.namespace + " stays: Berth may not delete it")
			return nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		out.Log("deleting namespace " + s.namespace)
	}
	out.Progress("namespace "+s.namespace+": waiting until it is gone", 0, 0)
	if err := s.awaitNamespaceGone(ctx, ns.UID); err != nil {
		return err
	}
	s.kube.ledger.receipt(out, sdk.Resource{Kind: kindNamespace, Name: s.namespace, Destructive: true})
	return nil
}

// passing are kinds that come and go with others, or that Kubernetes makes.
var passing = map[schema.GroupResource]bool{
	{Resource: "events"}: true, {Group: "events.k8s.io", Resource: "events"}: true,
	{Resource: "endpoints"}: true, {Group: "discovery.k8s.io", Resource: "endpointslices"}: true,
	{Group: "coordination.k8s.io", Resource: "leases"}: true,
	{Group: "metrics.k8s.io", Resource: "pods"}:        true,
}

// leftovers are the objects in the namespace that are somebody's: those that
// nothing else owns and that are not on their way out. A kind that cannot be
// looked at is an error, except where looking is not allowed: then it counts as
// something that may be there.
func (s *session) leftovers(ctx context.Context) ([]string, error) {
	lists, err := s.cluster.discovery.ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	if discovery.IsGroupDiscoveryFailedError(err) {
		return []string{"kinds of objects whose API does not answer"}, nil
	}
	client, err := metadata.NewForConfig(s.cluster.config(ctx))
	if err != nil {
		return nil, err
	}
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
	found := make([][]string, len(kinds))
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i, gvr := range kinds {
		group.Go(func() error {
			list, err := client.Resource(gvr).Namespace(s.namespace).List(side, metav1.ListOptions{Limit: 50})
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
				if o.DeletionTimestamp == nil && len(o.OwnerReferences) == 0 && !ofKubernetes(gvr.GroupResource(), &o) {
					found[i] = append(found[i], gvr.Resource+"/"+o.Name)
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
