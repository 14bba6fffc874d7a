package kube

import (
	"cmp"
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// fewTargets is how many objects of a kind are watched each by itself. More are
// watched by one watch of all of the kind in their namespace: five hundred
// watches would cost the API server more than the objects beside them.
const fewTargets = 5

// watchGroup is what one watch is for.
type watchGroup struct {
	from    dynamic.ResourceInterface
	targets map[string]*target // by name
}

// grouped puts the targets into as many groups as there are watches.
func (v *vigil) grouped() ([]*watchGroup, error) {
	type place struct {
		of schema.GroupVersionResource
		ns string
	}
	at := map[place]*watchGroup{}
	var order []place
	for _, t := range v.targets {
		kind := t.want.GroupVersionKind()
		mapping, err := v.Cluster.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			gone := false
			if v.goal == removal {
				gone, err = v.Cluster.KindGone(err)
			}
			if !gone {
				return nil, err
			}
			v.seen(t, nil, true)
			continue
		}
		in := place{of: mapping.Resource}
		from := dynamic.ResourceInterface(v.Cluster.dynamic.Resource(mapping.Resource))
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			in.ns = cmp.Or(t.want.GetNamespace(), v.Namespace)
			from = v.Cluster.dynamic.Resource(mapping.Resource).Namespace(in.ns)
		}
		t.ns = in.ns
		if at[in] == nil {
			at[in] = &watchGroup{from: from, targets: map[string]*target{}}
			order = append(order, in)
		}
		at[in].targets[t.want.GetName()] = t
	}
	var out []*watchGroup
	for _, in := range order {
		g := at[in]
		if len(g.targets) > fewTargets {
			out = append(out, g)
			continue
		}
		for name, t := range g.targets {
			out = append(out, &watchGroup{from: g.from, targets: map[string]*target{name: t}})
		}
	}
	return out, nil
}

// followGroup hands what becomes of a group's targets to run.
func (v *vigil) followGroup(ctx context.Context, g *watchGroup) {
	src := typedLister[*unstructured.UnstructuredList]{lists: g.from.List, watches: g.from.Watch}
	if len(g.targets) == 1 {
		for name := range g.targets {
			src.fields = "metadata.name=" + name
		}
	}
	follow(ctx, src, follower{
		begin: func() {
			for _, t := range g.targets {
				t.found = false
			}
		},
		seen: func(o runtime.Object, gone bool) {
			u, ok := o.(*unstructured.Unstructured)
			if !ok {
				return
			}
			if t := g.targets[u.GetName()]; t != nil {
				t.found = true
				v.send(ctx, func() { v.seen(t, u, gone) })
			}
		},
		listed: func() {
			for _, t := range g.targets {
				if !t.found {
					v.send(ctx, func() { v.seen(t, nil, true) })
				}
			}
		},
		trouble: func(err error) {
			v.send(ctx, func() {
				for _, t := range g.targets {
					v.troubles[t] = err
				}
			})
		},
	})
}
