package dns

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// clear takes away what the part has: the copy of the certificate, and what is
// the environment's alone. The wildcard of the app stays, which others use. With
// unsure the part may never have had a certificate, so that a cluster that Berth
// has no way into, or no rights in, has nothing of it.
func (c *certificates) clear(ctx context.Context, j *job, wish certificateWish, acme acmeSettings, out sdk.Events, unsure bool) error {
	w, err := c.work(j, wish, acme, out)
	if err != nil {
		if told, ok := errors.AsType[*sdk.Error](err); unsure && ok && told.Fault == sdk.FaultInvalid {
			return nil
		}
		return err
	}
	err = w.clear(ctx)
	if unsure && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) {
		return nil
	}
	return w.explained(ctx, err)
}

func (w *work) clear(ctx context.Context) error {
	if w.wish.namespace != "" {
		copies, err := w.marked(ctx, w.wish.namespace)
		if err != nil {
			return err
		}
		for _, secret := range copies {
			if secret.Labels[labelKeeps] != keepsCertificate || w.wish.namespace == w.store.home && secret.Name == w.store.certificateName() {
				continue
			}
			if err := w.remove(ctx, &secret); err != nil {
				return err
			}
		}
	}
	if err := w.clearOrders(ctx); err != nil {
		return err
	}
	if !w.acme.set {
		return nil // where else something may be is no longer told
	}
	own, err := w.marked(ctx, w.store.home)
	if err != nil {
		return err
	}
	for _, secret := range own {
		if err := w.remove(ctx, &secret); err != nil {
			return err
		}
	}
	return nil
}

// marked are the Secrets of a namespace with the step's marks: those of another
// installation's environment of the same name are not.
func (w *work) marked(ctx context.Context, namespace string) ([]corev1.Secret, error) {
	selector := kube.StepOwner(w.j.step).Selector() + "," + kube.LabelManagedBy + "=" + kube.ManagedBy + "," + labelKeeps
	list, err := w.store.secrets(namespace).list(ctx, selector)
	if err != nil {
		return nil, err
	}
	mine := kube.StepOwner(w.j.step)
	return slices.DeleteFunc(list.Items, func(s corev1.Secret) bool { return !kube.LabelsOwner(s.Labels).Is(mine) }), nil
}

func (w *work) remove(ctx context.Context, secret *corev1.Secret) error {
	if err := w.store.remove(ctx, secret); err != nil {
		return err
	}
	if secret.Labels[labelKeeps] == keepsCertificate {
		w.out.Log("certificate: removed Secret " + secret.Name + " in namespace " + secret.Namespace)
		w.out.Receipt(sdk.Resource{Kind: kindSecret, Name: secret.Name, Namespace: secret.Namespace, Change: sdk.ChangeDelete})
	}
	return nil
}

// clearOrders takes away what a killed step left of an order: its lock, its
// record if it is the environment's, and its challenges.
func (w *work) clearOrders(ctx context.Context) error {
	if len(w.wish.names) == 0 {
		if w.j.step.Verb == sdk.Cleanup && (len(w.j.step.With) == 0 || w.j.step.With["certificate"] != nil) {
			return w.clearZones(ctx)
		}
		return nil // the part's settings have no certificate, or not any more
	}
	_, release, ok, err := w.lock().try(ctx)
	if err != nil && !apierrors.IsNotFound(err) { // without the home namespace nothing was ever ordered
		return err
	}
	if ok {
		defer release()
	}
	challenges, err := w.challenges(ctx, w.j.zone)
	if err != nil {
		return err
	}
	if w.wish.reach != reachApp {
		record, err := w.store.order(ctx)
		if err != nil {
			return err
		}
		if record != nil {
			if err := challenges.remove(ctx, record.Challenges); err != nil {
				return err
			}
		}
	}
	var names []string
	for _, name := range w.wish.names {
		names = append(names, challengeName(name))
	}
	slices.Sort(names)
	return challenges.removeOwn(ctx, slices.Compact(names))
}

// clearZones takes the part's challenges out of every zone where it may have
// some, when nothing tells which names it had.
func (w *work) clearZones(ctx context.Context) error {
	for _, zone := range w.j.zones() {
		c, err := w.challenges(ctx, zone)
		if err != nil {
			return err
		}
		sets, err := c.zone.list(ctx)
		if err != nil {
			return err
		}
		var names []string
		for _, s := range sets {
			name, ok := ownedName(s.name)
			if ok && s.kind == typeTXT && slices.ContainsFunc(s.values, func(line string) bool {
				owner, _, _, is := challengeLine(line)
				return is && owner == c.owner
			}) {
				names = append(names, name)
			}
		}
		if err := c.removeOwn(ctx, names); err != nil {
			return err
		}
	}
	return nil
}

// inventory implements annex: the copies and the environments' own certificates
// of an installation, in all namespaces or, without the right to list those, in
// the home namespace.
func (c *certificates) inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	acme, err := readACME(scope.Settings)
	if err != nil || !acme.set || scope.Installation == "" {
		return nil, err
	}
	cluster, err := c.x.clusters.Open(scope.Cluster)
	if err != nil {
		return nil, err
	}
	selector := kube.LabelManagedBy + "=" + kube.ManagedBy + "," + kube.LabelInstallation + "=" + kube.LabelValue(scope.Installation) + "," + labelKeeps + "," + kube.LabelEnvironment
	list, err := cluster.Clientset().CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: selector})
	if apierrors.IsForbidden(err) {
		list, err = cluster.Clientset().CoreV1().Secrets(acme.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	}
	if err != nil {
		return nil, kube.Explain(err, scope.Cluster)
	}
	var out []sdk.Owned
	for _, s := range list.Items {
		o := kube.LabelsOwner(s.Labels)
		out = append(out, sdk.Owned{App: o.App, Env: o.Env, Part: o.Part, Kind: kindSecret, Name: s.Name, Namespace: s.Namespace, CreatedAt: s.CreationTimestamp.Time})
	}
	return out, nil
}
