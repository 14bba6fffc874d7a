package helm

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// inventoryPage is how many objects are asked for at once.
	inventoryPage = 500
	// inventoryTries is how often a list is begun anew whose later pages the API
	// server no longer has; it keeps them for about five minutes.
	inventoryTries = 3
)

// Kinds of what an inventory lists.
const (
	kindRelease   = "Helm release"
	kindArchive   = "Archive"
	kindNamespace = "Namespace"
)

// berthName is a name of an app or an environment. Other values of the labels
// are not Berth's.
var berthName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9]$`)

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
	cl, err := x.clusters.open(at) //nolint:contextcheck // a cluster is kept for other calls, so it must not end with this one
	if err != nil {
		return nil, err
	}
	if _, err := cl.capabilities(ctx); err != nil {
		return nil, err
	}
	client, err := metadata.NewForConfig(cl.config(ctx))
	if err != nil {
		return nil, sdk.Internal("The cluster's client cannot be made: %w", err)
	}
	marked := labelApp + "," + labelEnvironment
	secrets, err := listAll(ctx, client, "", "secrets", marked, inventoryPage)
	if err != nil {
		return nil, err
	}
	namespaces, err := listAll(ctx, client, "", "namespaces", marked+","+labelManagedBy+"="+managedByBerth, inventoryPage)
	if err != nil {
		return nil, err
	}
	out := ownedSecrets(secrets)
	for _, ns := range namespaces {
		o := labelsOwner(ns.Labels)
		o.part = ""
		out = append(out, found{o, kindNamespace, ns})
	}
	return x.ours(out, labelValue(installation)), nil
}

// found is something with Berth's marks, of whichever installation.
type found struct {
	owner owner
	kind  string
	metav1.PartialObjectMetadata
}

// listAll has the metadata of all objects of a kind that the labels select, from
// every page of so many. An empty namespace means all of them.
func listAll(ctx context.Context, client metadata.Interface, namespace, resource, selector string, page int64) ([]metav1.PartialObjectMetadata, error) {
	var err error
	for range inventoryTries {
		var all []metav1.PartialObjectMetadata
		if all, err = listOnce(ctx, client, namespace, resource, selector, page); err == nil || !apierrors.IsResourceExpired(err) {
			return all, err
		}
	}
	return nil, err
}

func listOnce(ctx context.Context, client metadata.Interface, namespace, resource, selector string, page int64) ([]metav1.PartialObjectMetadata, error) {
	var all []metav1.PartialObjectMetadata
	next := ""
	for {
		got, err := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).
			Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector, Limit: page, Continue: next})
		if err != nil {
			return nil, err
		}
		all = append(all, got.Items...)
		if next = got.Continue; next == "" {
			return all, nil
		}
	}
}

// ownedSecrets are the releases and archives that Secrets tell of. A release has
// one for each revision: whose it is, the newest says; since when it is there,
// the oldest.
func ownedSecrets(secrets []metav1.PartialObjectMetadata) []found {
	type release struct{ namespace, name string }
	newest := map[release]metav1.PartialObjectMetadata{}
	since := map[release]metav1.Time{}
	var out []found
	for _, s := range secrets {
		if s.Labels["owner"] != "helm" {
			if s.Labels[labelManagedBy] == managedByBerth {
				out = append(out, found{labelsOwner(s.Labels), kindArchive, s})
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
		out = append(out, found{labelsOwner(s.Labels), kindRelease, s})
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

// ours are those of all that bear the marks of installation, sorted.
func (x *Executor) ours(all []found, installation string) []sdk.Owned {
	var out []sdk.Owned
	for _, f := range all {
		switch {
		case f.owner.installation != installation:
		case !berthName.MatchString(f.owner.app), !berthName.MatchString(f.owner.env):
			x.log.Warn("something is marked as Berth's with names that Berth does not give, and is left alone",
				"kind", f.kind, "namespace", f.Namespace, "name", f.Name, "app", f.owner.app, "env", f.owner.env)
		default:
			o := sdk.Owned{App: f.owner.app, Env: f.owner.env, Part: f.owner.part, Kind: f.kind, Name: f.Name, Namespace: f.Namespace, CreatedAt: f.CreationTimestamp.UTC()}
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b sdk.Owned) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Env, b.Env), strings.Compare(a.Part, b.Part),
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return out
}
