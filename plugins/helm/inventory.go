package helm

import (
	"context"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// kindRelease is what an inventory lists beside namespaces and archives.
const kindRelease = "Helm release"

// secretKind are the Secrets, in which Helm keeps releases and Berth archives.
var secretKind = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

var _ sdk.Inventory = (*Executor)(nil)

// Inventory implements sdk.Inventory: releases, archives and namespaces that
// bear the marks of this installation. Only their metadata is fetched. It needs
// the right to list Secrets and namespaces of the whole cluster; without it, or
// without all pages, there is no answer.
func (x *Executor) Inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	owned, err := x.inventory(ctx, scope.Cluster, scope.Installation)
	return owned, x.finish(ctx, sdk.Step{Cluster: scope.Cluster, Installation: scope.Installation}, err)
}

func (x *Executor) inventory(ctx context.Context, at sdk.Cluster, installation string) ([]sdk.Owned, error) {
	if installation == "" {
		return nil, sdk.Invalid("What is whose cannot be told without the installation's name.")
	}
	cl, err := x.clusters.Open(at)
	if err != nil {
		return nil, err
	}
	if _, err := cl.Reach(ctx); err != nil {
		return nil, err
	}
	secrets, err := cl.ListMeta(ctx, secretKind, "", kube.Marked)
	if err != nil {
		return nil, err
	}
	namespaces, err := cl.FindNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	return kube.Ours(append(ownedSecrets(secrets), namespaces...), installation, x.log), nil
}

// ownedSecrets are the releases and archives that Secrets tell of. A release has
// one for each revision: whose it is, the newest says; since when it is there,
// the oldest.
func ownedSecrets(secrets []metav1.PartialObjectMetadata) []kube.Found {
	type release struct{ namespace, name string }
	newest := map[release]metav1.PartialObjectMetadata{}
	since := map[release]metav1.Time{}
	var out []kube.Found
	for _, s := range secrets {
		if s.Labels["owner"] != "helm" {
			// Other Secrets that bear the marks are those of other executors: copied
			// certificates, what a part's manifests say. They list them themselves.
			if s.Labels[kube.LabelManagedBy] == kube.ManagedBy && strings.HasPrefix(s.Name, archivePrefix) {
				out = append(out, kube.Found{Owner: kube.LabelsOwner(s.Labels), Kind: kube.KindArchive, PartialObjectMetadata: s})
			}
			continue
		}
		id := release{s.Namespace, s.Labels["name"]}
		if other, known := newest[id]; !known || revisionOf(s) > revisionOf(other) {
			newest[id] = s
		}
		if at, known := since[id]; !known || s.CreationTimestamp.Before(&at) {
			since[id] = s.CreationTimestamp
		}
	}
	for id, s := range newest {
		s.Name, s.CreationTimestamp = id.name, since[id]
		out = append(out, kube.Found{Owner: kube.LabelsOwner(s.Labels), Kind: kindRelease, PartialObjectMetadata: s})
	}
	return out
}

// revisionOf is the revision that a record of Helm's is of.
// Source: helm.sh/helm/v3/pkg/storage/driver, secrets.go.
func revisionOf(s metav1.PartialObjectMetadata) int {
	n, err := strconv.Atoi(s.Labels["version"])
	if err != nil {
		return 0
	}
	return n
}
