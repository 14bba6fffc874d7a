package helm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"

	"helm.sh/helm/v3/pkg/kube"

	"github.com/berth-dev/berth/plugins/sdk"
)

// goal is what is waited for.
type goal int

const (
	rollout    goal = iota // all is ready
	completion             // hooks: Jobs and Pods have ended well
	removal                // all is gone
)

// target is one object that is waited for.
type target struct {
	info   *resource.Info
	title  string // "Deployment web"
	status status
	stuck  time.Time       // since when its status is; zero if it is not
	sel    labels.Selector // its pods; nil when it has none
	done   bool
}

// vigil is one wait. All its fields belong to the goroutine of run; followers
// hand it what they see as functions.
type vigil struct {
	k        *kubeClient
	goal     goal
	targets  []*target
	pods     *podWatch
	updates  chan func()
	said     string            // the last progress
	told     map[string]bool   // events that are in the log already
	troubles map[*target]error // why a target cannot be looked at
}

// wait blocks until the goal is reached for all of resources. It learns of
// changes from watches, so it is as quick as the API server is to tell.
func (k *kubeClient) wait(ctx context.Context, resources kube.ResourceList, limit time.Duration, g goal) error {
	v := &vigil{
		k: k, goal: g, pods: newPodWatch(), updates: make(chan func()),
		told: map[string]bool{}, troubles: map[*target]error{},
	}
	begins := "is being made"
	if g == removal {
		begins = "is being deleted"
	}
	for _, info := range resources {
		kind := info.Mapping.GroupVersionKind
		name := kind.Kind + "." + kind.Group
		if g == rollout && !watched[name] || g == completion && name != "Job.batch" && name != "Pod." {
			continue
		}
		v.targets = append(v.targets, &target{info: info, title: kind.Kind + " " + info.Name, status: status{text: begins}})
	}
	if len(v.targets) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return v.run(ctx)
}

func (v *vigil) run(ctx context.Context) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	namespaces := map[string]bool{}
	for _, t := range v.targets {
		go v.followTarget(following, t)
		if ns := t.info.Namespace; v.goal != removal && ns != "" && !namespaces[ns] {
			namespaces[ns] = true
			go v.followPods(following, ns)
			go v.followEvents(following, ns)
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return v.ended(ctx)
		case update := <-v.updates:
			update()
		case <-tick.C:
		}
		if v.reached() {
			return nil
		}
		if err := v.hopeless(ctx); err != nil {
			return err
		}
		v.progress()
	}
}

// send hands what a follower saw to run.
func (v *vigil) send(ctx context.Context, update func()) {
	select {
	case v.updates <- update:
	case <-ctx.Done():
	}
}

func (v *vigil) followTarget(ctx context.Context, t *target) {
	found := false
	follow(ctx, followObject(t.info),
		func(o runtime.Object, gone bool) {
			found = true
			u, ok := o.(*unstructured.Unstructured)
			if !ok {
				return
			}
			v.send(ctx, func() { v.seen(t, u, gone) })
		},
		func(int) {
			if !found {
				v.send(ctx, func() { v.seen(t, nil, true) })
			}
			found = false
		},
		func(err error) {
			v.send(ctx, func() { v.troubles[t] = err })
		})
}

// seen takes in the newest state of a target.
func (v *vigil) seen(t *target, u *unstructured.Unstructured, gone bool) {
	delete(v.troubles, t)
	if gone {
		if v.goal == removal && !t.done {
			v.k.gone(t.info)
		}
		t.done = v.goal != rollout // a hook that deletes itself has run
		t.status = status{text: "is not there any more"}
		return
	}
	if t.sel == nil {
		t.sel = podSelector(u)
	}
	switch v.goal {
	case removal:
		t.status = status{text: "is still there"}
		if f := u.GetFinalizers(); len(f) > 0 && u.GetDeletionTimestamp() != nil {
			t.status.text = "waits for " + clip(strings.Join(f, ", "), 200)
		}
	case completion:
		t.status = look(u)
		if groupKind(u) == "Pod." {
			t.status = lookHookPod(u)
		}
		t.done = t.status.state == ready
	default:
		t.status = look(u)
		t.done = t.status.state == ready
	}
}

// lookHookPod is look for a pod that is to end.
func lookHookPod(u *unstructured.Unstructured) status {
	switch phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase {
	case "Succeeded":
		return status{state: ready}
	case "Failed":
		return status{state: failed, text: "failed"}
	}
	return status{text: "has not finished"}
}

// podSelector matches the pods of an object that has some.
func podSelector(u *unstructured.Unstructured) labels.Selector {
	switch groupKind(u) {
	case "Pod.":
		return labels.Nothing() // found by its name
	case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "ReplicaSet.apps", "Job.batch":
	default:
		return nil
	}
	raw, found, _ := unstructured.NestedMap(u.Object, "spec", "selector")
	if !found {
		return nil
	}
	var sel metav1.LabelSelector
	if runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &sel) != nil {
		return nil
	}
	out, err := metav1.LabelSelectorAsSelector(&sel)
	if err != nil {
		return nil
	}
	return out
}

func (v *vigil) followPods(ctx context.Context, namespace string) {
	pods := v.k.clientset.CoreV1().Pods(namespace)
	src := typedLister[*corev1.PodList]{lists: pods.List, watches: pods.Watch}
	follow(ctx, src,
		func(o runtime.Object, gone bool) {
			if p, ok := o.(*corev1.Pod); ok {
				v.send(ctx, func() { v.pods.seen(p, gone, time.Now()) })
			}
		},
		func(int) {},
		func(error) {}) // without them, less can be explained; the objects themselves still tell when they are ready
}

// followEvents passes warnings on that come while it is waited.
func (v *vigil) followEvents(ctx context.Context, namespace string) {
	events := v.k.clientset.CoreV1().Events(namespace)
	src := typedLister[*corev1.EventList]{lists: events.List, watches: events.Watch, fields: "type=Warning"}
	current := false
	follow(ctx, src,
		func(o runtime.Object, gone bool) {
			if e, ok := o.(*corev1.Event); ok && current && !gone {
				v.send(ctx, func() { v.tell(e) })
			}
		},
		func(int) { current = true },
		func(error) {})
}

func (v *vigil) tell(e *corev1.Event) {
	about := e.InvolvedObject
	if !v.concerns(about.Name) {
		return
	}
	line := fmt.Sprintf("%s %s: %s: %s", about.Kind, about.Name, e.Reason, clip(strings.Join(strings.Fields(e.Message), " "), 400))
	const most = 200 // lines of one wait
	if !v.told[line] && len(v.told) < most {
		v.told[line] = true
		v.k.out.Log(line)
	}
}

func (v *vigil) concerns(name string) bool {
	for _, t := range v.targets {
		if name == t.info.Name || strings.HasPrefix(name, t.info.Name+"-") {
			return true
		}
	}
	return false
}

func (v *vigil) reached() bool {
	for _, t := range v.targets {
		if !t.done {
			return false
		}
	}
	return true
}

// hopeless tells why waiting on cannot help, nil if it can.
func (v *vigil) hopeless(ctx context.Context) error {
	if v.goal == removal {
		return v.blind()
	}
	now := time.Now()
	for _, t := range v.targets {
		if t.done {
			continue
		}
		if t.status.state == failed {
			return v.explain(ctx, "")
		}
		if !t.status.stuck {
			t.stuck = time.Time{}
		} else if t.stuck.IsZero() {
			t.stuck = now
		}
		limit := v.k.failFast
		if limit == 0 {
			continue
		}
		if !t.stuck.IsZero() && now.Sub(t.stuck) >= limit || v.pods.stuckFor(v.podsOf(t), now) >= limit {
			return v.explain(ctx, "")
		}
	}
	return v.blind()
}

// blind is an error when a target may not be looked at.
func (v *vigil) blind() error {
	for _, err := range v.troubles {
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			return err
		}
	}
	return nil
}

func (v *vigil) podsOf(t *target) []*corev1.Pod {
	if t.info.Mapping.GroupVersionKind.Kind == "Pod" {
		for _, p := range v.pods.pods {
			if p.Name == t.info.Name && p.Namespace == t.info.Namespace {
				return []*corev1.Pod{p}
			}
		}
		return nil
	}
	if t.sel == nil {
		return nil
	}
	return v.pods.of(t.info.Namespace, t.sel)
}

// progress says what is waited for now, when that has changed.
func (v *vigil) progress() {
	var texts []string
	done, total := 0, 0
	for _, t := range v.targets {
		done, total = done+t.status.done, total+t.status.total
		if t.done {
			continue
		}
		text := t.info.Name + ": " + t.status.text
		for _, p := range v.podsOf(t) {
			if problem, ok := troubleOf(p); ok && problem.stuck {
				text += " (" + clip(problem.words, 120) + ")"
				break
			}
		}
		texts = append(texts, text)
	}
	if len(texts) > 3 {
		texts = append(texts[:3], fmt.Sprintf("and %d more", len(texts)-3))
	}
	if text := strings.Join(texts, "; "); text != v.said {
		v.said = text
		v.k.out.Progress(text, done, total)
	}
}

// ended is why ctx ended the wait.
func (v *vigil) ended(ctx context.Context) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	for _, err := range v.troubles {
		return err // it could not be seen, which says more than that time ran out
	}
	if v.goal == removal {
		var left []string
		for _, t := range v.targets {
			if !t.done {
				left = append(left, t.title+" "+t.status.text)
			}
		}
		return sdk.Downstream("It was not gone in time: %s. See what holds it with `kubectl describe`, then try again.", clip(strings.Join(left, "; "), 600)).WithRetry()
	}
	return v.explain(ctx, "It was not ready in time. ")
}
