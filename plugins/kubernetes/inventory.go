package kubernetes

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// kindPart is how people read a record: it stands for all objects of a part.
const kindPart = "Kubernetes objects"

// Inventory implements sdk.Inventory: the records of parts and the namespaces that
// bear the marks of this installation. Only their metadata is fetched. It needs
// the right to list Secrets and namespaces of the whole cluster; without it, or
// without all pages, there is no answer.
func (x *Executor) Inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	step := sdk.Step{Cluster: scope.Cluster, Installation: scope.Installation}
	ctx = x.withMask(ctx, step)
	owned, err := x.inventory(ctx, scope)
	return owned, x.finish(ctx, step, err)
}

func (x *Executor) inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	if scope.Installation == "" {
		return nil, sdk.Invalid("What is whose cannot be told without the installation's name.")
	}
	cluster, err := x.clusters.Open(scope.Cluster)
	if err != nil {
		return nil, err
	}
	if _, err := cluster.Reach(ctx); err != nil {
		return nil, err
	}
	records, err := cluster.ListMeta(ctx, schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "", kube.Marked+","+labelSet)
	if err != nil {
		return nil, err
	}
	out, err := cluster.FindNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		out = append(out, kube.Found{Owner: kube.LabelsOwner(r.Labels), Kind: kindPart, PartialObjectMetadata: r})
	}
	return kube.Ours(out, kube.LabelValue(scope.Installation), x.log), nil
}
