package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// snapshotGroup is the API of snapshots of volumes.
// Source: https://kubernetes.io/docs/concepts/storage/volume-snapshots/
const snapshotGroup = "snapshot.storage.k8s.io"

// snapshotKind is a VolumeSnapshot.
var snapshotKind = kindOf{Group: snapshotGroup, Version: "v1", Kind: "VolumeSnapshot", Resource: "volumesnapshots", Namespaced: true}

// snapped is a claim that an archive has taken away, with its data in a
// VolumeSnapshot, and what it takes to make the claim again.
type snapped struct {
	Claim       string            `json:"claim"`
	Size        string            `json:"size,omitempty"`
	Name        string            `json:"name"` // of the VolumeSnapshot
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        map[string]any    `json:"spec"` // of the claim
}

// snapshotName is the same for the same claim, so that an archive that is taken up
// again does not take another.
func snapshotName(claim string, uid types.UID) string {
	sum := sha256.Sum256([]byte(uid))
	return strings.TrimRight(claim[:min(len(claim), 200)], ".-") + "-" + hex.EncodeToString(sum[:5])
}

// hasSnapshots tells whether the cluster has snapshots of volumes.
func (s *session) hasSnapshots() (bool, error) {
	_, err := s.cluster.Mapper().RESTMapping(schema.GroupKind{Group: snapshotGroup, Kind: snapshotKind.Kind}, snapshotKind.Version)
	if err == nil {
		return true, nil
	}
	gone, err := s.cluster.KindGone(err)
	return !gone, err
}

// snapshotAll takes a snapshot of each claim that the archive keeps, and then the
// claim away. A claim goes only when its snapshot is ready to use, and the record
// says how to make it again.
func (s *session) snapshotAll(ctx context.Context, r *record) error {
	if len(r.Archive.Claims) == 0 {
		return s.dropSnapped(ctx, r)
	}
	there, err := s.hasSnapshots()
	if err != nil {
		return err
	}
	if !there {
		s.out.Log("the cluster has no snapshots of volumes (" + snapshotGroup + "), so the volume claims stay, whatever `on_archive` says")
		return nil
	}
	r.with([]kindOf{snapshotKind})
	if err := s.save(ctx, r); err != nil { // before the first is made: a cleanup is to find it
		return err
	}
	for len(r.Archive.Claims) > 0 {
		claim := r.Archive.Claims[0]
		sn, err := s.snapshotOf(ctx, r, claim)
		if err != nil {
			return err
		}
		r.Archive.Claims, r.Archive.Snapshots = r.Archive.Claims[1:], append(r.Archive.Snapshots, *sn)
		if err := s.save(ctx, r); err != nil {
			return err
		}
	}
	return s.dropSnapped(ctx, r)
}

// snapshotOf takes a claim's snapshot and waits until it is ready to use.
func (s *session) snapshotOf(ctx context.Context, r *record, claim kube.Claim) (*snapped, error) {
	live, err := s.cluster.Clientset().CoreV1().PersistentVolumeClaims(claim.Namespace).Get(ctx, claim.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && live.UID != claim.UID {
		return nil, sdk.Downstream("The volume claim %q is gone, or is another one, before a snapshot of it could be taken. Look for who deleted it; restore with `--ref`, or clean the environment up.", claim.Name)
	}
	if err != nil {
		return nil, err
	}
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&live.Spec)
	if err != nil {
		return nil, sdk.Internal("A volume claim cannot be read: %w", err)
	}
	sn := &snapped{Claim: claim.Name, Size: claim.Size, Name: snapshotName(claim.Name, claim.UID), Labels: live.Labels, Spec: spec}
	maps.DeleteFunc(live.Annotations, func(key, _ string) bool {
		return strings.Contains(key, "kubernetes.io/") // what the cluster itself noted on it
	})
	sn.Annotations = live.Annotations
	for _, field := range []string{"volumeName", "dataSource", "dataSourceRef"} {
		delete(sn.Spec, field)
	}
	u := snapshotKind.sample()
	u.SetName(sn.Name)
	u.SetNamespace(claim.Namespace)
	labels := s.mine.Labels()
	labels[kube.LabelManagedBy], labels[labelPartOf] = kube.ManagedBy, setID(r.name, s.step.Namespace)
	u.SetLabels(labels)
	_ = unstructured.SetNestedField(u.Object, claim.Name, "spec", "source", "persistentVolumeClaimName")
	snapshots := s.client(snapshotKind, claim.Namespace)
	if _, err := snapshots.Create(ctx, u, metav1.CreateOptions{FieldManager: fieldManager}); err == nil {
		s.out.Log("taking VolumeSnapshot " + sn.Name + " of PersistentVolumeClaim " + claim.String())
	} else if !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	wait := s.wait()
	wait.Look = lookSnapshot
	return sn, wait.Ready(ctx, []*unstructured.Unstructured{u}, untilDeadline(ctx))
}

// lookSnapshot tells how a VolumeSnapshot is. Its errors are tried again by its
// controller.
func lookSnapshot(u *unstructured.Unstructured) kube.Status {
	if ready, _, _ := unstructured.NestedBool(u.Object, "status", "readyToUse"); ready && u.GetDeletionTimestamp() == nil {
		return kube.Status{State: kube.Ready}
	}
	if text, _, _ := unstructured.NestedString(u.Object, "status", "error", "message"); text != "" {
		return kube.Status{Text: "is not ready to use: " + kube.Clip(text, 300), Stuck: true}
	}
	return kube.Status{Text: "is not ready to use yet"}
}

// dropSnapped takes away the claims whose snapshots are ready to use.
func (s *session) dropSnapped(ctx context.Context, r *record) error {
	var gone []*found
	for _, sn := range r.Archive.Snapshots {
		live, err := s.cluster.Metadata().Resource(claimKind.gvr()).Namespace(s.step.Namespace).Get(ctx, sn.Claim, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		if snapshotName(sn.Claim, live.UID) == sn.Name { // else it is another claim of that name
			gone = append(gone, &found{kind: claimKind, PartialObjectMetadata: *live})
		}
	}
	return s.takeAway(ctx, gone)
}

// unsnap makes the claims again that the archive has snapshots of.
func (s *session) unsnap(ctx context.Context, a *archived) error {
	claims := s.cluster.Clientset().CoreV1().PersistentVolumeClaims(s.step.Namespace)
	for _, sn := range a.Snapshots {
		pvc := &corev1.PersistentVolumeClaim{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"spec": sn.Spec}, pvc); err != nil {
			return sdk.Internal("What the archive remembers of a volume claim cannot be read: %w", err)
		}
		pvc.Name, pvc.Namespace, pvc.Labels, pvc.Annotations = sn.Claim, s.step.Namespace, sn.Labels, sn.Annotations
		group := snapshotGroup
		pvc.Spec.DataSource = &corev1.TypedLocalObjectReference{APIGroup: &group, Kind: snapshotKind.Kind, Name: sn.Name}
		_, err := claims.Create(ctx, pvc, metav1.CreateOptions{FieldManager: fieldManager})
		switch {
		case err == nil:
			s.out.Log("made PersistentVolumeClaim " + sn.Claim + " from VolumeSnapshot " + sn.Name)
		case !apierrors.IsAlreadyExists(err):
			return err
		}
	}
	return nil
}

// lost has a sentence's part for each volume that the archive kept and that is not
// there any more as it was.
func (s *session) lost(ctx context.Context, a *archived) ([]string, error) {
	gone, err := s.cluster.LostClaims(ctx, a.Claims)
	if err != nil || len(a.Snapshots) == 0 {
		return gone, err
	}
	for _, sn := range a.Snapshots {
		live, err := s.client(snapshotKind, s.step.Namespace).Get(ctx, sn.Name, metav1.GetOptions{})
		name := strings.TrimSpace(sn.Claim + " " + sn.Size)
		switch {
		case apierrors.IsNotFound(err):
			gone = append(gone, name+" (its snapshot "+sn.Name+" is gone)")
		case err != nil:
			return nil, err
		case live.GetDeletionTimestamp() != nil:
			gone = append(gone, name+" (its snapshot "+sn.Name+" is being deleted)")
		}
	}
	return gone, nil
}

// takeSnapshotsAway deletes the snapshots that a restore has no more need of.
func (s *session) takeSnapshotsAway(ctx context.Context, a *archived) error {
	var gone []*found
	for _, sn := range a.Snapshots {
		live, err := s.cluster.Metadata().Resource(snapshotKind.gvr()).Namespace(s.step.Namespace).Get(ctx, sn.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		if kube.LabelsOwner(live.Labels).Is(s.mine) {
			gone = append(gone, &found{kind: snapshotKind, PartialObjectMetadata: *live})
		}
	}
	return s.takeAway(ctx, gone)
}
