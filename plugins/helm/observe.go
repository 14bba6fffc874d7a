package helm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/berth-dev/berth/plugins/sdk"
)

// observeLimit is how long looking may take, all in all.
const observeLimit = 30 * time.Second

// Observe implements sdk.Observer. A cluster that cannot be looked at gives
// Unknown and why; it is never taken for an absent release.
func (x *Executor) Observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	ctx = x.withMasker(ctx, step)
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Observation{}, x.finish(ctx, step, err)
	}
	limited, cancel := context.WithTimeout(ctx, observeLimit)
	defer cancel()
	seen, err := x.observe(limited, step, s)
	if err == nil {
		return seen, nil
	}
	if ctx.Err() != nil {
		return sdk.Observation{}, ctx.Err()
	}
	return sdk.Observation{Health: sdk.Unknown, Text: x.explained(ctx, timedOut(limited, ctx, err), step).Msg}, nil
}

func (x *Executor) observe(ctx context.Context, step sdk.Step, s settings) (sdk.Observation, error) {
	ses, past, err := x.installed(ctx, step, s)
	if err != nil {
		return sdk.Observation{}, err
	}
	if o, mine := releaseOwner(past), stepOwner(step); o.known() && !o.is(mine) {
		return sdk.Observation{Health: sdk.Absent, Text: "nothing is deployed: the release of that name is that of environment " + o.of(mine)}, nil
	}
	rel := deployed(past)
	if rel == nil || last(past).Info.Status == release.StatusUninstalling || last(past).Info.Status == release.StatusUninstalled {
		rel = last(past)
	}
	if rel == nil || rel.Info.Status == release.StatusUninstalled {
		return sdk.Observation{Health: sdk.Absent, Text: "nothing is deployed"}, nil
	}
	objects := manifestOf(rel)
	ses.kube.mask.learnValues(rel.Config)
	ses.kube.mask.learnObjects(objects)
	found, err := ses.look(ctx, objects)
	if err != nil {
		return sdk.Observation{}, err
	}
	if isArchive(rel) {
		return ses.archivedSight(ctx, found, past)
	}
	o := sdk.Observation{Health: found.health(), Links: ses.links(ctx, found), Drift: found.drift(ses.kube.mask)}
	if o.Health != sdk.Healthy {
		o.Text = ses.kube.mask.text(ses.whyNot(ctx, found))
	}
	if resting := found.slumber().String(); resting != "" {
		o.Text = strings.Trim(resting+"; "+o.Text, "; ")
	}
	if st := last(past).Info.Status; st != release.StatusDeployed {
		note := fmt.Sprintf("the last change (revision %d) is %s", last(past).Version, st)
		if o.Health == sdk.Healthy {
			o.Health = sdk.Degraded
		}
		o.Text = strings.Trim(o.Text+"; "+note, "; ")
	}
	return o, nil
}

// seen is one object of the release: as deployed, and as it is now.
type seen struct {
	want   object
	live   *unstructured.Unstructured // nil when it is not there
	status status
}

// sight is what is seen of a release.
type sight struct{ objects []seen }

// look gets every object of the release.
func (s *session) look(ctx context.Context, objects []object) (*sight, error) {
	client, err := dynamic.NewForConfig(s.cluster.config(ctx))
	if err != nil {
		return nil, err
	}
	found := &sight{objects: make([]seen, len(objects))}
	group, side := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, o := range objects {
		group.Go(func() error {
			gvk := o.live().GroupVersionKind()
			mapping, err := s.cluster.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
			if err != nil {
				gone, err := s.cluster.kindGone(err)
				if gone {
					found.objects[i] = seen{want: o, status: status{state: failed, text: "is missing: the cluster does not know its kind any more"}}
				}
				return err
			}
			var get dynamic.ResourceInterface = client.Resource(mapping.Resource)
			if mapping.Scope.Name() == "namespace" {
				ns := o.namespace()
				if ns == "" {
					ns = s.namespace
				}
				get = client.Resource(mapping.Resource).Namespace(ns)
			}
			live, err := get.Get(side, o.name(), metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err):
				found.objects[i] = seen{want: o, status: status{state: failed, text: "is missing"}}
			case err != nil:
				return err
			default:
				found.objects[i] = seen{want: o, live: live, status: look(live)}
			}
			return nil
		})
	}
	return found, group.Wait()
}

// health sums the objects up: some pods are better than none.
func (f *sight) health() sdk.Health {
	bad, missing, pods := 0, 0, 0
	for _, o := range f.objects {
		if o.status.state == ready {
			continue
		}
		bad++
		pods += o.status.done
		if o.live == nil {
			missing++
		}
	}
	switch {
	case bad == 0:
		return sdk.Healthy
	case missing == len(f.objects):
		return sdk.Absent
	case pods > 0:
		return sdk.Degraded
	}
	return sdk.Unhealthy
}

// whyNot says which objects are not well, and what their pods have to say.
func (s *session) whyNot(ctx context.Context, f *sight) string {
	var texts []string
	var pods *corev1.PodList
	for _, o := range f.objects {
		if o.status.state == ready {
			continue
		}
		text := o.want.title() + ": " + o.status.text
		if sel := selectorOf(o.live); sel != nil {
			if pods == nil {
				var err error
				if pods, err = s.clientset.CoreV1().Pods(s.namespace).List(ctx, metav1.ListOptions{}); err != nil {
					pods = &corev1.PodList{}
				}
			}
			w := newPodWatch()
			for i := range pods.Items {
				w.seen(&pods.Items[i], false, time.Time{})
			}
			for _, p := range w.of(s.namespace, sel) {
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
