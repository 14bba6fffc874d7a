package kubernetes

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

var _ sdk.Checker = (*Executor)(nil)

// rights are the least that the executor needs for the kinds that manifests mostly
// have, and for the namespace block. What manifests have beside those kinds needs
// rights as well.
func rights() kube.Rights {
	return kube.Rights{
		Role: "berth-kubernetes",
		Namespaced: append(kube.WorkloadRights(), rbacv1.PolicyRule{
			APIGroups: []string{""}, Resources: []string{"resourcequotas", "limitranges"}, Verbs: kube.AllVerbs,
		}),
		Cluster: kube.NamespaceRights(), Without: kube.WithoutNamespaces,
	}
}

// Check implements sdk.Checker.
func (x *Executor) Check(ctx context.Context, scope sdk.Scope) ([]sdk.Finding, error) {
	step := sdk.Step{Cluster: scope.Cluster, Installation: scope.Installation, Settings: scope.Settings, Namespace: scope.Namespace}
	ctx = x.withMask(ctx, step)
	cluster, err := x.clusters.Open(scope.Cluster)
	if err != nil {
		return nil, x.finish(ctx, step, err)
	}
	found, err := rights().Check(ctx, cluster, scope.Namespace)
	return found, x.finish(ctx, step, err)
}
