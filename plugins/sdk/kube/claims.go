package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

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
)

// Claim is a volume claim with data, as an archive remembers it.
type Claim struct {
	Name      string    `json:"name"`
	Namespace string    `json:"namespace"`
	UID       types.UID `json:"uid"`
	Volume    string    `json:"volume,omitempty"` // "" while no volume was bound
	Size      string    `json:"size,omitempty"`
}

// String is "data-db-0 10Gi".
func (h Claim) String() string { return strings.TrimSpace(h.Name + " " + h.Size) }

// NameClaims names claims for a sentence: "data-db-0 10Gi, uploads 5Gi".
func NameClaims(claims []Claim) string {
	const most = 5
	var names []string
	for i, c := range claims {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(claims)-most))
			break
		}
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}

// ClaimsOf tells whether a claim of that name, in namespace, has the data of
// objects: they are that claim, or their pods use it, or their StatefulSets made it
// from a template. Nothing owns those.
func ClaimsOf(objects []*unstructured.Unstructured, namespace string) func(name string) bool {
	names := map[string]bool{}
	for _, o := range objects {
		if o.GetNamespace() != "" && o.GetNamespace() != namespace {
			continue
		}
		if GroupKind(o) == "PersistentVolumeClaim." {
			names[o.GetName()] = true
		}
		for _, spec := range PodSpecs(o.Object) {
			for _, v := range Maps(spec["volumes"]) {
				if name, _, _ := unstructured.NestedString(v, "persistentVolumeClaim", "claimName"); name != "" {
					names[name] = true
				}
			}
		}
	}
	ofSets := MadeClaims(objects, namespace)
	return func(name string) bool { return names[name] || ofSets != nil && ofSets.MatchString(name) }
}

// MadeClaims matches the names of the claims that StatefulSets among objects made
// from their templates: TEMPLATE-STATEFULSET-ORDINAL; nil when there are none.
func MadeClaims(objects []*unstructured.Unstructured, namespace string) *regexp.Regexp {
	var names []string
	for _, o := range objects {
		if o.GetKind() != "StatefulSet" || o.GetNamespace() != "" && o.GetNamespace() != namespace {
			continue
		}
		templates, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
		for _, t := range Maps(templates) {
			if name := ObjectOf(t).GetName(); name != "" {
				names = append(names, regexp.QuoteMeta(name+"-"+o.GetName())+`-[0-9]+`)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return regexp.MustCompile(`^(` + strings.Join(slices.Compact(names), "|") + `)$`)
}

// ClaimOf is what is to be remembered of a claim.
func ClaimOf(c corev1.PersistentVolumeClaim) Claim {
	size := c.Status.Capacity[corev1.ResourceStorage]
	if size.IsZero() {
		size = c.Spec.Resources.Requests[corev1.ResourceStorage]
	}
	return Claim{Name: c.Name, Namespace: c.Namespace, UID: c.UID, Volume: c.Spec.VolumeName, Size: size.String()}
}

// maxOwners is how far up owners of owners are looked for.
const maxOwners = 8

// ClaimOwners are the uids of what owns claims, and of what owns that: when such an
// object is deleted, Kubernetes deletes the claims as well.
func (c *Cluster) ClaimOwners(ctx context.Context, claims []corev1.PersistentVolumeClaim) (map[types.UID]bool, error) {
	out := map[types.UID]bool{}
	var climb func(namespace string, refs []metav1.OwnerReference, depth int) error
	climb = func(namespace string, refs []metav1.OwnerReference, depth int) error {
		for _, ref := range refs {
			if out[ref.UID] || depth > maxOwners {
				continue
			}
			out[ref.UID] = true
			if ref.Kind == "StatefulSet" || ref.Kind == "Pod" {
				continue // its claims are set free (see Retain); who owns it is of no account
			}
			kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
			mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
			if meta.IsNoMatchError(err) {
				continue
			}
			if err != nil {
				return err
			}
			var get metadata.ResourceInterface = c.metadata.Resource(mapping.Resource)
			if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
				get = c.metadata.Resource(mapping.Resource).Namespace(namespace)
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
	for _, claim := range claims {
		if err := climb(claim.Namespace, claim.OwnerReferences, 1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// retainLimit is how long the cluster may take to set claims free.
const retainLimit = time.Minute

// Retain makes StatefulSets leave their claims where they are when they go or
// shrink, and waits until the claims are free of them. Those that say
// persistentVolumeClaimRetentionPolicy Delete own their claims, so that the
// claims would go with them.
// Source: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#persistentvolumeclaim-retention
func (c *Cluster) Retain(ctx context.Context, sets []*unstructured.Unstructured, claims []Claim, out sdk.Events) error {
	patch := []byte(`{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"}}}`)
	api := c.clientset.AppsV1()
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
		out.Log("StatefulSet " + u.GetName() + " is told to leave its volume claims where they are")
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
		bound, err := c.freeClaims(ctx, told, claims[0].Namespace)
		if err != nil {
			return err
		}
		if len(bound) == 0 {
			return nil
		}
		if text := Clip(strings.Join(bound, ", "), 300); text != said {
			said = text
			out.Progress("waiting until volume claims are free: "+said, 0, 0)
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
func (c *Cluster) freeClaims(ctx context.Context, sets map[types.UID]*appsv1.StatefulSet, namespace string) ([]string, error) {
	var left []string
	for uid, set := range sets {
		if set == nil || set.Status.ObservedGeneration >= set.Generation {
			continue
		}
		live, err := c.clientset.AppsV1().StatefulSets(set.Namespace).Get(ctx, set.Name, metav1.GetOptions{})
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
		slices.Sort(left)
		return left, nil
	}
	api := c.clientset.CoreV1().PersistentVolumeClaims(namespace)
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, claim := range list.Items {
		others := slices.DeleteFunc(slices.Clone(claim.OwnerReferences), func(o metav1.OwnerReference) bool { _, ours := sets[o.UID]; return ours })
		if len(others) == len(claim.OwnerReferences) {
			continue
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": claim.UID, "resourceVersion": claim.ResourceVersion, "ownerReferences": others}})
		if err != nil {
			return nil, err
		}
		_, err = api.Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: ManagedBy})
		switch {
		case apierrors.IsConflict(err):
			left = append(left, claim.Name)
		case err != nil && !apierrors.IsNotFound(err):
			return nil, err
		}
	}
	return left, nil
}

// LostClaims has a sentence's part for each remembered claim that is not there any
// more as it was. What cannot be looked at is an error: it is not taken for
// there, nor for gone.
func (c *Cluster) LostClaims(ctx context.Context, claims []Claim) ([]string, error) {
	var out []string
	for _, claim := range claims {
		why, err := c.lostClaim(ctx, claim)
		if err != nil {
			return nil, err
		}
		if why != "" {
			out = append(out, claim.String()+" ("+why+")")
		}
	}
	return out, nil
}

func (c *Cluster) lostClaim(ctx context.Context, claim Claim) (why string, err error) {
	live, err := c.clientset.CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "the claim is gone", nil
	case err != nil:
		return "", err
	case live.UID != claim.UID:
		return "the claim of that name is another one, made " + live.CreationTimestamp.UTC().Format(time.RFC3339), nil
	case live.DeletionTimestamp != nil:
		return "the claim is being deleted", nil
	case live.Status.Phase == corev1.ClaimLost:
		return "the claim has lost its volume", nil
	case claim.Volume == "":
		return "", nil // no volume was bound, so none can be gone
	case live.Spec.VolumeName != claim.Volume:
		return "the claim is bound to another volume, " + Clip(live.Spec.VolumeName, 80), nil
	}
	volume, err := c.clientset.CoreV1().PersistentVolumes().Get(ctx, claim.Volume, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "its volume " + Clip(claim.Volume, 80) + " is gone", nil
	case apierrors.IsForbidden(err):
		return "", nil // rights may end at the namespace; the claim says Lost when its volume is gone
	case err != nil:
		return "", err
	case volume.DeletionTimestamp != nil:
		return "its volume " + Clip(claim.Volume, 80) + " is being deleted", nil
	case volume.Status.Phase == corev1.VolumeFailed:
		return "its volume " + Clip(claim.Volume, 80) + " has failed", nil
	case volume.Spec.ClaimRef != nil && volume.Spec.ClaimRef.UID != "" && volume.Spec.ClaimRef.UID != claim.UID:
		return "its volume " + Clip(claim.Volume, 80) + " belongs to another claim", nil
	}
	return "", nil
}
