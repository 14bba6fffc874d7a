package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

var _ sdk.Observer = (*Executor)(nil)

// observeLimit is how long looking may take, all in all.
const observeLimit = 30 * time.Second

// Observe implements sdk.Observer. A cluster that cannot be looked at gives
// Unknown and why; it is never taken for an absent part.
func (x *Executor) Observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	ctx = x.withMask(ctx, step)
	s, err := looseSettings(step)
	if err != nil {
		return sdk.Observation{}, x.finish(ctx, step, err)
	}
	limited, cancel := context.WithTimeout(ctx, observeLimit)
	defer cancel()
	ses, err := x.open(limited, step, s, nil)
	if err != nil {
		return sdk.Observation{}, x.finish(ctx, step, err)
	}
	seen, err := ses.observe(limited)
	if err == nil {
		return seen, nil
	}
	if ctx.Err() != nil {
		return sdk.Observation{}, ctx.Err()
	}
	e := kube.Explain(timedOut(limited, ctx, err), step.Cluster)
	return sdk.Observation{Health: sdk.Unknown, Text: ses.mask.Text(e.Msg)}, nil
}

func (s *session) observe(ctx context.Context) (sdk.Observation, error) {
	if _, err := s.cluster.Reach(ctx); err != nil {
		return sdk.Observation{}, err
	}
	r, err := s.load(ctx)
	if err != nil {
		return sdk.Observation{}, err
	}
	switch {
	case r == nil:
		return sdk.Observation{Health: sdk.Absent, Text: "nothing is deployed"}, nil
	case r.Archive != nil:
		return s.archivedSight(ctx, r.Archive)
	}
	sight, err := s.sight(ctx, r)
	if err != nil {
		return sdk.Observation{}, err
	}
	o := sdk.Observation{Health: sight.Health(), Links: s.cluster.Links(ctx, sight, s.settings.raw.URL, s.mask), Drift: sight.Drift(s.mask)}
	if len(sight.Objects) == 0 {
		o.Health = sdk.Healthy
	}
	if o.Health != sdk.Healthy {
		o.Text = s.mask.Text(s.cluster.WhyNot(ctx, sight, s.step.Namespace))
	}
	if resting := sight.Slumber().String(); resting != "" {
		o.Text = strings.Trim(resting+"; "+o.Text, "; ")
	}
	if r.Digest == "" {
		if o.Health == sdk.Healthy {
			o.Health = sdk.Degraded
		}
		o.Text = strings.Trim(o.Text+"; the last deploy did not apply all of the part", "; ")
	}
	o.Facts, err = s.facts(ctx, sight)
	return o, err
}

// sight is what is seen of the part: what was applied, as the record has it, and
// how it is. Where the record could not keep the objects, what is there is looked
// at, and nothing is said of how it differs.
func (s *session) sight(ctx context.Context, r *record) (*kube.Sight, error) {
	wants := map[string]*unstructured.Unstructured{}
	for _, content := range r.Objects {
		u := kube.ObjectOf(content)
		wants[kube.ID(u, s.step.Namespace)] = u
		s.mask.LearnObjects([]*unstructured.Unstructured{u})
	}
	all, err := s.whole(ctx, r, func(*unstructured.Unstructured) bool { return true })
	if err != nil {
		return nil, err
	}
	sight := &kube.Sight{}
	for _, live := range all {
		id := kube.ID(live, "")
		want := cmp.Or(wants[id], live)
		delete(wants, id)
		st := s.settings.rules.of(live)
		if m := r.Members[id]; m.Kept {
			want, st = live, kube.Status{State: kube.Ready} // it is wanted no more
		}
		sight.Objects = append(sight.Objects, kube.Seen{Want: want, Live: live, Status: st})
	}
	for _, want := range wants {
		sight.Objects = append(sight.Objects, kube.Seen{Want: want, Status: kube.Status{State: kube.Failed, Text: "is missing"}})
	}
	slices.SortStableFunc(sight.Objects, func(a, b kube.Seen) int { return strings.Compare(kube.ID(a.Want, ""), kube.ID(b.Want, "")) })
	return sight, nil
}

// facts are what else is worth telling of the part's pods. Without the right to
// look at pods or events there are fewer.
func (s *session) facts(ctx context.Context, sight *kube.Sight) ([]sdk.Fact, error) {
	var out []sdk.Fact
	pods, err := s.podLogs(sight.Live()).Pods(ctx)
	if err != nil {
		return nil, ignoreForbidden(err)
	}
	restarts := int32(0)
	names := map[string]bool{}
	var running []*unstructured.Unstructured
	for _, p := range pods {
		names[p.Name] = true
		for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			restarts += c.RestartCount
		}
		if p.Status.Phase == corev1.PodPending || p.Status.Phase == corev1.PodRunning {
			if u := kube.PodObject(p); u != nil {
				running = append(running, u)
			}
		}
	}
	if restarts > 0 {
		out = append(out, sdk.Fact{Name: "restarts", Text: fmt.Sprint(restarts)})
	}
	if text := kube.NeedOf(running).String(); text != "" {
		out = append(out, sdk.Fact{Name: "requests", Text: text})
	}
	for _, o := range sight.Objects {
		names[o.Want.GetName()] = true
	}
	events, err := s.cluster.Clientset().CoreV1().Events(s.step.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning", Limit: 500})
	if err != nil {
		return out, ignoreForbidden(err)
	}
	var last *corev1.Event
	for i, e := range events.Items {
		if names[e.InvolvedObject.Name] && (last == nil || !kube.EventTime(e).Before(kube.EventTime(*last))) {
			last = &events.Items[i]
		}
	}
	if last != nil {
		text := fmt.Sprintf("%s: %s %s: %s: %s", kube.EventTime(*last).UTC().Format(time.RFC3339), last.InvolvedObject.Kind, last.InvolvedObject.Name,
			last.Reason, kube.Clip(strings.Join(strings.Fields(last.Message), " "), 200))
		out = append(out, sdk.Fact{Name: "last warning", Text: s.mask.Text(text)})
	}
	return out, nil
}
