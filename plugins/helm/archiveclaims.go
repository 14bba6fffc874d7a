package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/release"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// dataOf are the claims with the release's data: those that it made, those that
// its StatefulSets made, those that go by its name, and those that its pods use.
func (s *session) dataOf(ctx context.Context, past []*release.Release) ([]corev1.PersistentVolumeClaim, error) {
	list, err := s.clientset.CoreV1().PersistentVolumeClaims(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, rel := range past {
		for _, o := range manifestOf(rel) {
			if o.GetNamespace() != "" && o.GetNamespace() != s.namespace {
				continue
			}
			if o.GetKind() == "PersistentVolumeClaim" {
				names[o.GetName()] = true
			}
			for _, spec := range kube.PodSpecs(o.Object) {
				for _, v := range kube.Maps(spec["volumes"]) {
					if name, _, _ := unstructured.NestedString(v, "persistentVolumeClaim", "claimName"); name != "" {
						names[name] = true
					}
				}
			}
		}
	}
	ofSets := s.claimNames(past)
	var out []corev1.PersistentVolumeClaim
	for _, c := range list.Items {
		if names[c.Name] || c.Labels[labelInstance] == s.settings.Release || ofSets != nil && ofSets.MatchString(c.Name) {
			out = append(out, c)
		}
	}
	return out, nil
}

func heldOf(c corev1.PersistentVolumeClaim) held {
	size := c.Status.Capacity[corev1.ResourceStorage]
	if size.IsZero() {
		size = c.Spec.Resources.Requests[corev1.ResourceStorage]
	}
	return held{Name: c.Name, Namespace: c.Namespace, UID: c.UID, Volume: c.Spec.VolumeName, Size: size.String()}
}

// maxOwners is how far up owners of owners are looked for.
const maxOwners = 8

// ownersOf are the uids of what owns claims, and of what owns that: when such an
// object is deleted, Kubernetes deletes the claims as well.
func (s *session) ownersOf(ctx context.Context, claims []corev1.PersistentVolumeClaim) (map[types.UID]bool, error) {
	client, err := metadata.NewForConfig(s.cluster.Config(ctx))
	if err != nil {
		return nil, err
	}
	out := map[types.UID]bool{}
	var climb func(namespace string, refs []metav1.OwnerReference, depth int) error
	climb = func(namespace string, refs []metav1.OwnerReference, depth int) error {
		for _, ref := range refs {
			if out[ref.UID] || depth > maxOwners {
				continue
			}
			out[ref.UID] = true
			if ref.Kind == "StatefulSet" || ref.Kind == "Pod" {
				continue // its claims are set free (see retain); who owns it is of no account
			}
			kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
			mapping, err := s.cluster.Mapper().RESTMapping(kind.GroupKind(), kind.Version)
			if meta.IsNoMatchError(err) {
				continue
			}
			if err != nil {
				return err
			}
			var get metadata.ResourceInterface = client.Resource(mapping.Resource)
			if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
				get = client.Resource(mapping.Resource).Namespace(namespace)
			}
			o, err := get.Get(ctx, ref.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			if err := climb(namespace, o.OwnerReferences, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	for _, c := range claims {
		if err := climb(c.Namespace, c.OwnerReferences, 1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// retainLimit is how long the cluster may take to set claims free.
const retainLimit = time.Minute

// retain makes StatefulSets leave their claims where they are when they go or
// shrink, and waits until the claims are free of them. Those that say
// persistentVolumeClaimRetentionPolicy Delete own their claims, so that the
// claims would go with them.
// Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention
func (s *session) retain(ctx context.Context, sets []*unstructured.Unstructured, claims []held) error {
	patch := []byte(`{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"}}}`)
	api := s.clientset.AppsV1()
	told := map[types.UID]*appsv1.StatefulSet{}
	for _, u := range sets {
		policy, _, _ := unstructured.NestedStringMap(u.Object, "spec", "persistentVolumeClaimRetentionPolicy")
		if policy["whenDeleted"] != "Delete" && policy["whenScaled"] != "Delete" {
			if u.GetDeletionTimestamp() == nil {
				told[u.GetUID()] = nil // it may have said so a moment ago, to an archive that was interrupted
			}
			continue
		}
		set, err := api.StatefulSets(u.GetNamespace()).Patch(ctx, u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		s.kube.out.Log("StatefulSet " + u.GetName() + " is told to leave its volume claims where they are")
		told[u.GetUID()] = set
	}
	if len(told) == 0 || len(claims) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, retainLimit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	said := ""
	for {
		bound, err := s.freeClaims(ctx, told)
		if err != nil {
			return err
		}
		if len(bound) == 0 {
			return nil
		}
		if text := kube.Clip(strings.Join(bound, ", "), 300); text != said {
			said = text
			s.kube.out.Progress("waiting until volume claims are free: "+said, 0, 0)
		}
		select {
		case <-tick.C:
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return sdk.Downstream("Volume claims still belong to what is to be taken away, and would go with it: %s. Nothing was taken away. Try again; if it stays so, look at the cluster's controller manager.", said).WithRetry()
		}
	}
}

// freeClaims takes claims out of the ownership of sets, once the sets' controller
// has seen that they are to leave them: it does so itself only for replicas that
// are there. What is left is named.
func (s *session) freeClaims(ctx context.Context, sets map[types.UID]*appsv1.StatefulSet) ([]string, error) {
	var left []string
	for uid, set := range sets {
		if set == nil || set.Status.ObservedGeneration >= set.Generation {
			continue
		}
		live, err := s.clientset.AppsV1().StatefulSets(set.Namespace).Get(ctx, set.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, err
		case live.Status.ObservedGeneration < set.Generation:
			left = append(left, "those of "+set.Name)
		default:
			sets[uid] = live
		}
	}
	if len(left) > 0 {
		return left, nil
	}
	api := s.clientset.CoreV1().PersistentVolumeClaims(s.namespace)
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, c := range list.Items {
		others := slices.DeleteFunc(slices.Clone(c.OwnerReferences), func(o metav1.OwnerReference) bool { _, ours := sets[o.UID]; return ours })
		if len(others) == len(c.OwnerReferences) {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": c.UID, "resourceVersion": c.ResourceVersion, "ownerReferences": others}})
		if err != nil {
			return nil, err
		}
		_, err = api.Patch(ctx, c.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: kube.ManagedBy})
		switch {
		case apierrors.IsConflict(err):
			left = append(left, c.Name)
		case err != nil && !apierrors.IsNotFound(err):
			return nil, err
		}
	}
	return left, nil
}

// lost has a sentence's part for each remembered claim that is not there any
// more as it was. What cannot be looked at is an error: it is not taken for
// there, nor for gone.
func (s *session) lost(ctx context.Context, claims []held) ([]string, error) {
	var out []string
	for _, c := range claims {
		why, err := s.lostClaim(ctx, c)
		if err != nil {
			return nil, err
		}
		if why != "" {
			out = append(out, c.String()+" ("+why+")")
		}
	}
	return out, nil
}

func (s *session) lostClaim(ctx context.Context, c held) (why string, err error) {
	live, err := s.clientset.CoreV1().PersistentVolumeClaims(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "the claim is gone", nil
	case err != nil:
		return "", err
	case live.UID != c.UID:
		return "the claim of that name is another one, made " + live.CreationTimestamp.UTC().Format(time.RFC3339), nil
	case live.DeletionTimestamp != nil:
		return "the claim is being deleted", nil
	case live.Status.Phase == corev1.ClaimLost:
		return "the claim has lost its volume", nil
	case c.Volume == "":
		return "", nil // no volume was bound, so none can be gone
	case live.Spec.VolumeName != c.Volume:
		return "the claim is bound to another volume, " + kube.Clip(live.Spec.VolumeName, 80), nil
	}
	volume, err := s.clientset.CoreV1().PersistentVolumes().Get(ctx, c.Volume, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "its volume " + kube.Clip(c.Volume, 80) + " is gone", nil
	case apierrors.IsForbidden(err):
		return "", nil // rights may end at the namespace; the claim says Lost when its volume is gone
	case err != nil:
		return "", err
	case volume.DeletionTimestamp != nil:
		return "its volume " + kube.Clip(c.Volume, 80) + " is being deleted", nil
	case volume.Status.Phase == corev1.VolumeFailed:
		return "its volume " + kube.Clip(c.Volume, 80) + " has failed", nil
	case volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.UID != "" && volume.Spec.ClaimRef.UID != c.UID:
		return "its volume " + kube.Clip(c.Volume, 80) + " belongs to another claim", nil
	}
	return "", nil
}

// checkData refuses a restore whose data is not all there, before anything is
// done, and says else what was found.
func (s *session) checkData(ctx context.Context, a *archived) (found string, err error) {
	gone, err := s.lost(ctx, a.Claims)
	if err != nil {
		return "", err
	}
	n := len(a.Claims)
	if len(gone) > 0 {
		return "", &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf(
			"The data of release %q cannot be restored: %d of %s found, and gone or changed is %s. Nothing was done. Bring the volume back, or clean the environment up and deploy it again without that data.",
			s.settings.Release, n-len(gone), kube.Count(n, "volume"), kube.Clip(strings.Join(gone, "; "), 600))}
	}
	if n == 0 {
		return "it has no volumes", nil
	}
	return fmt.Sprintf("%d of %s found: %s", n, kube.Count(n, "volume"), nameClaims(a.Claims)), nil
}
