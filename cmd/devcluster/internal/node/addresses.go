package node

import (
	"context"
	"log/slog"
	"net"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
)

// addresser gives every Ingress and every Service of type LoadBalancer one
// address, as an ingress controller and a cloud would. Nothing listens there on
// its account.
type addresser struct {
	ctx     context.Context //nolint:containedctx // informers call back without one
	client  kubernetes.Interface
	address string
	log     *slog.Logger
}

func newAddresser(ctx context.Context, client kubernetes.Interface, address net.IP, log *slog.Logger) *addresser {
	return &addresser{ctx: ctx, client: client, address: address.String(), log: log}
}

func (a *addresser) watch(factory informers.SharedInformerFactory) func() error {
	return func() error {
		_, err := factory.Networking().V1().Ingresses().Informer().AddEventHandler(on(a.ingress))
		if err != nil {
			return err
		}
		_, err = factory.Core().V1().Services().Informer().AddEventHandler(on(a.service))
		return err
	}
}

func (a *addresser) ingress(i *networkingv1.Ingress) {
	if got := i.Status.LoadBalancer.Ingress; len(got) == 1 && got[0].IP == a.address {
		return
	}
	i = i.DeepCopy()
	i.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: a.address}}
	_, err := a.client.NetworkingV1().Ingresses(i.Namespace).UpdateStatus(a.ctx, i, metav1.UpdateOptions{})
	a.report("ingress", i.Namespace, i.Name, err)
}

func (a *addresser) service(s *corev1.Service) {
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer || s.Spec.LoadBalancerClass != nil {
		return
	}
	if got := s.Status.LoadBalancer.Ingress; len(got) == 1 && got[0].IP == a.address {
		return
	}
	s = s.DeepCopy()
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: a.address}}
	_, err := a.client.CoreV1().Services(s.Namespace).UpdateStatus(a.ctx, s, metav1.UpdateOptions{})
	a.report("service", s.Namespace, s.Name, err)
}

// report logs a failed write. A conflict is no failure: the change that it
// conflicts with brings the object here again.
func (a *addresser) report(kind, namespace, name string, err error) {
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		a.log.Error("setting an address", "kind", kind, "object", namespace+"/"+name, "err", err)
	}
}
