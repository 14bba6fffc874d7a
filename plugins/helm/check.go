package helm

import (
	"context"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

var _ sdk.Checker = (*Executor)(nil)

// Check implements sdk.Checker: whether the executor may do in the cluster what
// charts mostly need, and the least role for that. What a chart has beside those
// kinds needs rights as well.
func (x *Executor) Check(ctx context.Context, scope sdk.Scope) ([]sdk.Finding, error) {
	step := sdk.Step{Cluster: scope.Cluster, Installation: scope.Installation, Settings: scope.Settings, Namespace: scope.Namespace}
	cluster, err := x.clusters.Open(scope.Cluster)
	if err != nil {
		return nil, x.finish(ctx, step, err)
	}
	rights := kube.Rights{Role: "berth-helm", Namespaced: kube.WorkloadRights(), Cluster: kube.NamespaceRights(), Without: kube.WithoutNamespaces}
	found, err := rights.Check(ctx, cluster, scope.Namespace)
	return found, x.finish(ctx, step, err)
}
