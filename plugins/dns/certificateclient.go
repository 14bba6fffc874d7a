package dns

import (
	"context"
	"errors"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcoordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// clusterError is a failure of the cluster. It is told apart from failures of
// name servers and of the authority, which other words explain.
type clusterError struct{ error }

func (e clusterError) Unwrap() error { return e.error }

func ofCluster(err error) error {
	if err == nil {
		return nil
	}
	return clusterError{err}
}

// explainCluster makes a failure of the cluster one for people; any other comes
// back as it is.
func explainCluster(ctx context.Context, err error, at sdk.Cluster) error {
	if _, ok := errors.AsType[clusterError](err); !ok || ctx.Err() != nil {
		return err
	}
	return kube.Explain(err, at)
}

// secretClient reads and writes the Secrets of a namespace.
type secretClient struct{ of typedcorev1.SecretInterface }

func (c secretClient) get(ctx context.Context, name string) (*corev1.Secret, error) {
	s, err := c.of.Get(ctx, name, metav1.GetOptions{})
	return s, ofCluster(err)
}

func (c secretClient) list(ctx context.Context, selector string) (*corev1.SecretList, error) {
	l, err := c.of.List(ctx, metav1.ListOptions{LabelSelector: selector})
	return l, ofCluster(err)
}

func (c secretClient) create(ctx context.Context, s *corev1.Secret) (*corev1.Secret, error) {
	made, err := c.of.Create(ctx, s, metav1.CreateOptions{})
	return made, ofCluster(err)
}

func (c secretClient) update(ctx context.Context, s *corev1.Secret) (*corev1.Secret, error) {
	updated, err := c.of.Update(ctx, s, metav1.UpdateOptions{})
	return updated, ofCluster(err)
}

// remove deletes the Secret that was looked at, and none that has its name since.
func (c secretClient) remove(ctx context.Context, s *corev1.Secret) error {
	return ofCluster(c.of.Delete(ctx, s.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &s.UID}}))
}

// leaseClient reads and writes the Leases of a namespace.
type leaseClient struct {
	of typedcoordinationv1.LeaseInterface
}

func (c leaseClient) get(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	l, err := c.of.Get(ctx, name, metav1.GetOptions{})
	return l, ofCluster(err)
}

func (c leaseClient) create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	made, err := c.of.Create(ctx, l, metav1.CreateOptions{})
	return made, ofCluster(err)
}

func (c leaseClient) update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	updated, err := c.of.Update(ctx, l, metav1.UpdateOptions{})
	return updated, ofCluster(err)
}

// remove deletes the Lease as it was looked at, and none that has changed since.
func (c leaseClient) remove(ctx context.Context, l *coordinationv1.Lease) error {
	return ofCluster(c.of.Delete(ctx, l.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion},
	}))
}
