package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

var _ sdk.Checker = (*Executor)(nil)

// The least rights that certificates need: in the home namespace, and in each that
// gets a copy.
var (
	secretRights = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "create", "update", "delete"}}
	leaseRights  = rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update", "delete"}}

	homeRights = kube.Rights{Role: "berth-certificates", Namespaced: []rbacv1.PolicyRule{secretRights, leaseRights}}
	copyRights = kube.Rights{Role: "berth-certificate-copies", Namespaced: []rbacv1.PolicyRule{secretRights}}
)

// Check implements sdk.Checker: whether each zone of the settings can be read and
// listed with its key, whether its authoritative servers answer, and, where
// certificates are ordered, whether the authority answers and the cluster lets
// them be kept. Whether a key may change a zone would show in a change alone, and
// none is made.
func (x *Executor) Check(ctx context.Context, scope sdk.Scope) ([]sdk.Finding, error) {
	step := sdk.Step{Cluster: scope.Cluster, Namespace: scope.Namespace, Installation: scope.Installation, Settings: scope.Settings}
	s, err := readSettings(scope.Settings)
	if err != nil {
		return nil, err
	}
	acme, err := readACME(scope.Settings)
	if err != nil {
		return nil, err
	}
	names := sorted(s.zones)
	out := make([]sdk.Finding, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { out[i] = x.checkZone(ctx, step, s.zones[name]) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !acme.set {
		return out, nil
	}
	out = append(out, checkAuthority(ctx, acme))
	rights, err := x.checkRights(ctx, step, acme)
	return append(out, rights...), err
}

// checkZone finds out whether a zone can be worked with, as far as reading tells.
func (x *Executor) checkZone(ctx context.Context, step sdk.Step, z zoneSettings) sdk.Finding {
	f := sdk.Finding{Name: "zone " + z.name}
	detail, err := x.reach(ctx, step, z)
	if err == nil {
		f.OK, f.Detail = true, detail
		return f
	}
	f.Detail = err.Error()
	if told, ok := errors.AsType[*sdk.Error](x.explain(step, err)); ok {
		f.Detail = told.Msg
	}
	f.Fix = "Put that right at the server, or in the zone's settings under plugins.dns.settings.zones."
	return f
}

// reach asks for all of a zone that steps ask for.
func (x *Executor) reach(ctx context.Context, step sdk.Step, z zoneSettings) (string, error) {
	p, err := x.open(ctx, step, z)
	if err != nil {
		return "", err
	}
	if _, err := p.negative(ctx); err != nil {
		return "", err
	}
	if _, err := p.list(ctx); err != nil {
		return "", err
	}
	if z.wait == 0 {
		return "it can be read and listed", nil
	}
	servers, err := zoneServers(ctx, p, z)
	if err != nil {
		return "", err
	}
	var silent []string
	for _, s := range servers {
		if _, err := query(ctx, x.net, s, key{z.name, typeTXT}); err != nil {
			silent = append(silent, err.Error())
		}
	}
	if len(silent) > 0 {
		return "", sdk.Downstream("Steps wait for all of its name servers, and not every one can be asked: %s.", strings.Join(silent, "; "))
	}
	return fmt.Sprintf("it can be read and listed, and name servers answer: %d of %d", len(servers), len(servers)), nil
}

// checkAuthority finds out whether the certificate authority answers.
func checkAuthority(ctx context.Context, acme acmeSettings) sdk.Finding {
	f := sdk.Finding{Name: "certificate authority", OK: true, Detail: acme.directory + " answers"}
	client, transport, err := acme.client()
	if err == nil {
		defer transport.close()
		if _, err = client.GetDirectory(ctx); err != nil {
			err = acme.explain(ctx, ofAuthority(err), transport.asked())
		}
	}
	if err == nil {
		return f
	}
	f.OK, f.Detail = false, err.Error()
	if told, ok := errors.AsType[*sdk.Error](err); ok {
		f.Detail = told.Msg
	}
	f.Fix = "Let Berth's machine reach it, or correct `directory` and `ca_file` under plugins.dns.settings.acme."
	return f
}

// checkRights finds out whether the cluster lets certificates be kept and copied.
func (x *Executor) checkRights(ctx context.Context, step sdk.Step, acme acmeSettings) ([]sdk.Finding, error) {
	cluster, err := x.clusters.Open(step.Cluster)
	if err != nil {
		return nil, x.explain(step, err)
	}
	found, err := homeRights.Check(ctx, cluster, acme.namespace)
	if err != nil {
		return nil, kube.Explain(err, step.Cluster)
	}
	home := &found[len(found)-1]
	home.Name = fmt.Sprintf("rights in namespace %q, where certificates are kept", acme.namespace)
	if !home.OK {
		home.Fix = "Have an administrator of the cluster apply this."
	}
	if cmp.Or(step.Namespace, acme.namespace) == acme.namespace {
		return found, nil
	}
	copies, err := copyRights.Check(ctx, cluster, step.Namespace)
	if err != nil {
		return nil, kube.Explain(err, step.Cluster)
	}
	return append(found, copies[len(copies)-1]), nil
}
