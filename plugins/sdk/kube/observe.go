package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Seen is one object: as it is to be, and as it is now.
type Seen struct {
	Want   *unstructured.Unstructured
	Live   *unstructured.Unstructured // nil when it is not there
	Status Status
}

// Sight is what is seen of a part's objects.
type Sight struct{ Objects []Seen }

// See gets every object, in namespace where it names none, and tells by look how
// it is; a nil look is the package's Look. One that is missing counts as Failed.
func (c *Cluster) See(ctx context.Context, objects []*unstructured.Unstructured, namespace string, look func(*unstructured.Unstructured) Status) (*Sight, error) {
	if look == nil {
		look = Look
	}
	found := &Sight{Objects: make([]Seen, len(objects))}
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, o := range objects {
		group.Go(func() error {
			get, err := c.Resource(o, namespace)
			if err != nil {
				gone, err := c.KindGone(err)
				if gone {
					found.Objects[i] = Seen{Want: o, Status: Status{State: Failed, Text: "is missing: the cluster does not know its kind any more"}}
				}
				return err
			}
			live, err := get.Get(side, o.GetName(), metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err):
				found.Objects[i] = Seen{Want: o, Status: Status{State: Failed, Text: "is missing"}}
			case err != nil:
				return err
			default:
				found.Objects[i] = Seen{Want: o, Live: live, Status: look(live)}
			}
			return nil
		})
	}
	return found, group.Wait()
}

// Live are the objects that are there.
func (f *Sight) Live() []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, o := range f.Objects {
		if o.Live != nil {
			out = append(out, o.Live)
		}
	}
	return out
}

// Health sums the objects up: some pods are better than none.
func (f *Sight) Health() sdk.Health {
	bad, missing, pods := 0, 0, 0
	for _, o := range f.Objects {
		if o.Status.State == Ready {
			continue
		}
		bad++
		pods += o.Status.Done
		if o.Live == nil {
			missing++
		}
	}
	switch {
	case bad == 0:
		return sdk.Healthy
	case missing == len(f.Objects):
		return sdk.Absent
	case pods > 0:
		return sdk.Degraded
	}
	return sdk.Unhealthy
}

// WhyNot says which objects are not well, and what their pods have to say.
func (c *Cluster) WhyNot(ctx context.Context, f *Sight, namespace string) string {
	var texts []string
	var pods *corev1.PodList
	for _, o := range f.Objects {
		if o.Status.State == Ready {
			continue
		}
		text := Title(o.Want) + ": " + o.Status.Text
		if sel := selectorOf(o.Live); sel != nil {
			if pods == nil {
				var err error
				if pods, err = c.clientset.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{}); err != nil {
					pods = &corev1.PodList{}
				}
			}
			w := newPodWatch()
			for i := range pods.Items {
				w.seen(&pods.Items[i], false, time.Time{})
			}
			for _, p := range w.of(namespace, sel) {
				if t, ok := troubleOf(p); ok {
					text += fmt.Sprintf(" (pod %s: %s)", p.Name, t.words)
					break
				}
			}
		}
		texts = append(texts, text)
	}
	if len(texts) > 3 {
		texts = append(texts[:3], fmt.Sprintf("and %d more", len(texts)-3))
	}
	return strings.Join(slices.Compact(texts), "; ")
}
