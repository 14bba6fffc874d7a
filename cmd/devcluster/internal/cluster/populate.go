package cluster

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/cmd/devcluster/internal/node"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// storageClass is the default class, under the name that kind and minikube use.
const storageClass = "standard"

// populate makes the nodes and the storage class, if they are not there already,
// and waits until pods can be made and would be scheduled.
func (c *cluster) populate(ctx context.Context) error {
	version, err := c.client.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	for i := range c.opts.Nodes {
		if err := c.ensureNode(ctx, fmt.Sprintf("node-%d", i), version.GitVersion); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	if err := c.ensureStorageClass(ctx); err != nil {
		return fmt.Errorf("storage class: %w", err)
	}
	return c.until(ctx, "the nodes", func() error { return c.usable(ctx) })
}

// ensureNode makes a node as a kubelet would register it. KWOK then reports it
// ready, and keeps what is written here.
func (c *cluster) ensureNode(ctx context.Context, name, version string) error {
	room := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("16"),
		corev1.ResourceMemory:           resource.MustParse("64Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("500Gi"),
		corev1.ResourcePods:             resource.MustParse("250"),
	}
	endpoints := corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(c.ports.Kubelet)}}
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname:   name,
			corev1.LabelOSStable:   "linux",
			corev1.LabelArchStable: "amd64",
			"type":                 "kwok",
		}},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: "127.0.0.1"},
				{Type: corev1.NodeHostName, Address: name},
			},
			DaemonEndpoints: endpoints,
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion:          version,
				OSImage:                 "devcluster (simulated node)",
				ContainerRuntimeVersion: "kwok://simulated",
				KernelVersion:           "simulated",
				OperatingSystem:         "linux",
				Architecture:            "amd64",
			},
		},
	}
	nodes := c.client.CoreV1().Nodes()
	_, err := nodes.Create(ctx, n, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	// A restart: the kubelet API may have had to move.
	patch := fmt.Sprintf(`{"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":%d}}}}`, c.ports.Kubelet)
	_, err = nodes.PatchStatus(ctx, name, []byte(patch))
	return err
}

func (c *cluster) ensureStorageClass(ctx context.Context) error {
	binding := storagev1.VolumeBindingWaitForFirstConsumer
	_, err := c.client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        storageClass,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:       node.Provisioner,
		VolumeBindingMode: &binding,
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// usable is nil once every node takes pods and the default service account, which
// every pod needs, has been made.
func (c *cluster) usable(ctx context.Context) error {
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	ready := 0
	for i := range nodes.Items {
		if takesPods(&nodes.Items[i]) {
			ready++
		}
	}
	if ready < c.opts.Nodes {
		return fmt.Errorf("%d of %d are ready", ready, c.opts.Nodes)
	}
	_, err = c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
	return err
}

func takesPods(n *corev1.Node) bool {
	if len(n.Spec.Taints) > 0 {
		return false
	}
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}
