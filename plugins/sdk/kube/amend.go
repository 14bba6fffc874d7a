package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Change is a merge patch for a live object, nil when nothing is to change. The
// patch may get a metadata of its own.
type Change func(live *unstructured.Unstructured) map[string]any

// Amend patches a live object as change says, again with what it is then when
// somebody else was quicker. A change without content leaves it alone; for an
// object that is gone, what comes back is nil.
func (c *Cluster) Amend(ctx context.Context, live *unstructured.Unstructured, change Change) (*unstructured.Unstructured, error) {
	objects, err := c.Resource(live, "")
	if err != nil {
		return nil, err
	}
	const tries = 20 // a controller that writes its status is quicker at times
	for try := 1; ; try++ {
		content := change(live)
		if content == nil {
			return live, nil
		}
		about, _ := content["metadata"].(map[string]any)
		if about == nil {
			about = map[string]any{}
			content["metadata"] = about
		}
		about["resourceVersion"], about["uid"] = live.GetResourceVersion(), string(live.GetUID())
		patch, err := json.Marshal(content)
		if err != nil {
			return nil, err
		}
		changed, err := objects.Patch(ctx, live.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: ManagedBy})
		switch {
		case err == nil:
			return changed, nil
		case apierrors.IsNotFound(err):
			return nil, nil
		case !apierrors.IsConflict(err) || try == tries:
			return nil, err
		}
		live, err = objects.Get(ctx, live.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// AmendAll amends the objects side by side and calls did with what each was and
// is, where it changed. An interruption leaves some as they were, each of them
// whole.
func (c *Cluster) AmendAll(ctx context.Context, all []*unstructured.Unstructured, change Change, did func(was, is *unstructured.Unstructured)) error {
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, u := range all {
		group.Go(func() error {
			was := u
			is, err := c.Amend(side, u, func(live *unstructured.Unstructured) map[string]any {
				was = live
				return change(live)
			})
			if err == nil && is != nil && is != was {
				did(was, is)
			}
			return err
		})
	}
	return group.Wait()
}

// patchLines shows a merge patch as lines that go and come.
func patchLines(live, patch map[string]any) string {
	var at []string
	leaves(patch, nil, func(path []string) { at = append(at, strings.Join(path, "\x00")) })
	var b strings.Builder
	for _, joined := range slices.Compact(slices.Sorted(slices.Values(at))) {
		path := strings.Split(joined, "\x00")
		name := strings.Join(path, ".")
		if was, ok, _ := unstructured.NestedFieldNoCopy(live, path...); ok {
			fmt.Fprintf(&b, "-%s: %v\n", name, was)
		}
		if is, _, _ := unstructured.NestedFieldNoCopy(patch, path...); is != nil {
			fmt.Fprintf(&b, "+%s: %v\n", name, is)
		}
	}
	return b.String()
}

// leaves calls found with the path of each value of a patch.
func leaves(m map[string]any, prefix []string, found func(path []string)) {
	for key, value := range m {
		path := append(append([]string{}, prefix...), key)
		if inner, ok := value.(map[string]any); ok {
			leaves(inner, path, found)
			continue
		}
		found(path)
	}
}
