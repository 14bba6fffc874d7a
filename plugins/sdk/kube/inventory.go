package kube

import (
	"cmp"
	"context"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// inventoryPage is how many objects are asked for at once.
	inventoryPage = 500
	// inventoryTries is how often a list is begun anew whose later pages the API
	// server no longer has; it keeps them for about five minutes.
	inventoryTries = 3
)

// Kinds of what several executors make, as people read them.
const (
	KindNamespace = "Namespace"
	KindArchive   = "Archive" // a Secret that remembers what was archived
)

// berthName is a name of an app or an environment. Other values of the labels
// are not Berth's.
var berthName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9]$`)

// ListMeta has the metadata of all objects of a kind that the labels select, from
// every page. An empty namespace means all of them, an empty selector any labels.
func (c *Cluster) ListMeta(ctx context.Context, of schema.GroupVersionResource, namespace, selector string) ([]metav1.PartialObjectMetadata, error) {
	return c.listMeta(ctx, of, namespace, selector, inventoryPage)
}

func (c *Cluster) listMeta(ctx context.Context, of schema.GroupVersionResource, namespace, selector string, page int64) ([]metav1.PartialObjectMetadata, error) {
	var err error
	for range inventoryTries {
		var all []metav1.PartialObjectMetadata
		if all, err = c.listOnce(ctx, of, namespace, selector, page); err == nil || !apierrors.IsResourceExpired(err) {
			return all, err
		}
	}
	return nil, err
}

func (c *Cluster) listOnce(ctx context.Context, of schema.GroupVersionResource, namespace, selector string, page int64) ([]metav1.PartialObjectMetadata, error) {
	var all []metav1.PartialObjectMetadata
	next := ""
	for {
		got, err := c.metadata.Resource(of).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector, Limit: page, Continue: next})
		if err != nil {
			return nil, err
		}
		all = append(all, got.Items...)
		if next = got.Continue; next == "" {
			return all, nil
		}
	}
}

// Marked selects what bears the marks of any environment.
const Marked = LabelApp + "," + LabelEnvironment

// Found is something with Berth's marks, of whichever installation.
type Found struct {
	Owner Owner
	Kind  string // as people read it: "Helm release"
	metav1.PartialObjectMetadata
}

// FindNamespaces finds the namespaces that Berth made.
func (c *Cluster) FindNamespaces(ctx context.Context) ([]Found, error) {
	list, err := c.ListMeta(ctx, schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "", Marked+","+LabelManagedBy+"="+ManagedBy)
	if err != nil {
		return nil, err
	}
	out := make([]Found, 0, len(list))
	for _, ns := range list {
		out = append(out, Found{LabelsOwner(ns.Labels).Environment(), KindNamespace, ns})
	}
	return out, nil
}

// Ours are those of all that bear the marks of installation, sorted, for an
// executor's Inventory. What is marked with names that Berth does not give is
// left out, and logger is told.
func Ours(all []Found, installation string, logger *slog.Logger) []sdk.Owned {
	var out []sdk.Owned
	for _, f := range all {
		switch {
		case f.Owner.Installation != LabelValue(installation):
		case !berthName.MatchString(f.Owner.App), !berthName.MatchString(f.Owner.Env):
			logger.Warn("something is marked as Berth's with names that Berth does not give, and is left alone",
				"kind", f.Kind, "namespace", f.Namespace, "name", f.Name, "app", f.Owner.App, "env", f.Owner.Env)
		default:
			out = append(out, sdk.Owned{
				App: f.Owner.App, Env: f.Owner.Env, Part: f.Owner.Part, Kind: f.Kind,
				Name: f.Name, Namespace: f.Namespace, CreatedAt: f.CreationTimestamp.UTC(),
			})
		}
	}
	slices.SortFunc(out, func(a, b sdk.Owned) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Env, b.Env), strings.Compare(a.Part, b.Part),
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return out
}
