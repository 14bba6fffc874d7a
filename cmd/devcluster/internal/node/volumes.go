package node

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
)

// Provisioner is the name of the volume provisioner, as a StorageClass says it.
const Provisioner = "berth.dev/devcluster"

// Annotations between the controller manager and a provisioner
// (k8s.io/component-helpers/storage/volume).
const (
	annStorageProvisioner = "volume.kubernetes.io/storage-provisioner"
	annProvisionedBy      = "pv.kubernetes.io/provisioned-by"
)

// volumesDir is where volumes say that they are. Nothing is there or ever
// mounted: a simulated pod writes nothing, so a claim needs a volume and no
// directory. The controller manager's own host-path provisioner would leave
// directories in /tmp that all users share.
const volumesDir = "/var/lib/devcluster/volumes"

// provisioner makes a PersistentVolume for each claim of its storage classes,
// and takes it away with the claim.
type provisioner struct {
	ctx    context.Context //nolint:containedctx // informers call back without one
	client kubernetes.Interface
	log    *slog.Logger
}

func newProvisioner(ctx context.Context, client kubernetes.Interface, log *slog.Logger) *provisioner {
	return &provisioner{ctx: ctx, client: client, log: log}
}

func (p *provisioner) watch(factory informers.SharedInformerFactory) func() error {
	return func() error {
		_, err := factory.Core().V1().PersistentVolumeClaims().Informer().AddEventHandler(on(p.provide))
		if err != nil {
			return err
		}
		_, err = factory.Core().V1().PersistentVolumes().Informer().AddEventHandler(on(p.reclaim))
		return err
	}
}

// provide makes the volume for a claim. The controller manager sets the
// annotation once it is this provisioner's turn, for a class that waits for its
// first consumer after a pod was scheduled, and binds the two afterwards.
func (p *provisioner) provide(claim *corev1.PersistentVolumeClaim) {
	if claim.Annotations[annStorageProvisioner] != Provisioner || claim.Spec.VolumeName != "" ||
		claim.Spec.StorageClassName == nil || claim.DeletionTimestamp != nil {
		return
	}
	log := p.log.With("claim", claim.Namespace+"/"+claim.Name)
	class, err := p.client.StorageV1().StorageClasses().Get(p.ctx, *claim.Spec.StorageClassName, metav1.GetOptions{})
	if err != nil {
		log.Error("reading the storage class", "err", err)
		return
	}
	_, err = p.client.CoreV1().PersistentVolumes().Create(p.ctx, volumeFor(claim, class), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		log.Error("making a volume", "err", err)
		return
	}
	log.Info("volume made")
}

// volumeFor is the volume for a claim. Its name comes from the claim's UID, so
// making it again is found out.
func volumeFor(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) *corev1.PersistentVolume {
	name := "pvc-" + string(claim.UID)
	reclaim := corev1.PersistentVolumeReclaimDelete
	if class.ReclaimPolicy != nil {
		reclaim = *class.ReclaimPolicy
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{annProvisionedBy: Provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      claim.Spec.Resources.Requests,
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			MountOptions:                  class.MountOptions,
			PersistentVolumeReclaimPolicy: reclaim,
			StorageClassName:              class.Name,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: volumesDir + "/" + name},
			},
		},
	}
}

// reclaim deletes a volume whose claim is gone, if its policy says so.
func (p *provisioner) reclaim(volume *corev1.PersistentVolume) {
	if volume.Annotations[annProvisionedBy] != Provisioner || volume.Status.Phase != corev1.VolumeReleased ||
		volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || volume.DeletionTimestamp != nil {
		return
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(p.ctx, volume.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		p.log.Error("deleting a volume", "volume", volume.Name, "err", err)
	}
}
