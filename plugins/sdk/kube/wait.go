package kube

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

	"github.com/berth-dev/berth/plugins/sdk"
)

// Wait is how to wait for objects. It learns of changes from watches, so it is as
// quick as the API server is to tell, and it says what is waited for, passes on
// warnings, and why it was in vain. Objects need no more than their kind, name
// and namespace.
type Wait struct {
	Cluster   *Cluster
	Namespace string     // of objects that name none
	Out       sdk.Events // hears progress and warnings
	Mask      *Masker    // hides secrets in what is told of failures
	// FailFast is how long something may be stuck, such as a pod whose image cannot
	// be pulled, before the wait ends; 0 waits on.
	FailFast time.Duration
	// Look tells how an object is; nil is the package's Look. With one of its own,
	// Ready waits for all objects, else for those of kinds that are Ruled.
	Look func(*unstructured.Unstructured) Status
	// Gone is called when an object that Removed waits for is gone; may be nil.
	Gone func(*unstructured.Unstructured)
}

// Ready waits until all objects are ready.
func (w Wait) Ready(ctx context.Context, objects []*unstructured.Unstructured, limit time.Duration) error {
	return w.run(ctx, objects, limit, rollout)
}

// Done waits until those of the objects that are Jobs and Pods have ended well.
func (w Wait) Done(ctx context.Context, objects []*unstructured.Unstructured, limit time.Duration) error {
	return w.run(ctx, objects, limit, completion)
}

// Removed waits until all objects are gone. One whose kind the cluster does not
// know any more is.
func (w Wait) Removed(ctx context.Context, objects []*unstructured.Unstructured, limit time.Duration) error {
	return w.run(ctx, objects, limit, removal)
}

// goal is what is waited for.
type goal int

const (
	rollout    goal = iota // all is ready
	completion             // Jobs and Pods have ended well
	removal                // all is gone
)

// target is one object that is waited for.
type target struct {
	want   *unstructured.Unstructured
	ns     string // where it is; "" for what is in no namespace
	title  string // "Deployment web"
	status Status
	stuck  time.Time       // since when its status is; zero if it is not
	sel    labels.Selector // its pods; nil when it has none
	done   bool
	found  bool // in the list that is being read
}

// vigil is one wait. All its fields belong to the goroutine of run; followers
// hand it what they see as functions.
type vigil struct {
	Wait
	goal     goal
	targets  []*target
	pods     *podWatch
	updates  chan func()
	said     string            // the last progress
	told     map[string]bool   // events that are in the log already
	troubles map[*target]error // why a target cannot be looked at
}

func (w Wait) run(ctx context.Context, objects []*unstructured.Unstructured, limit time.Duration, g goal) error {
	all := w.Look != nil
	if !all {
		w.Look = Look
	}
	v := &vigil{
		Wait: w, goal: g, pods: newPodWatch(), updates: make(chan func()),
		told: map[string]bool{}, troubles: map[*target]error{},
	}
	begins := "is being made"
	if g == removal {
		begins = "is being deleted"
	}
	for _, u := range objects {
		kind := GroupKind(u)
		if g == rollout && !all && !Ruled(u) || g == completion && kind != "Job.batch" && kind != "Pod." {
			continue
		}
		v.targets = append(v.targets, &target{want: u, title: Title(u), status: Status{Text: begins}})
	}
	if len(v.targets) == 0 {
		return nil
	}
	groups, err := v.grouped()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return v.watch(ctx, groups)
}

func (v *vigil) watch(ctx context.Context, groups []*watchGroup) error {
	following, stop := context.WithCancel(ctx)
	defer stop()
	for _, g := range groups {
		go v.followGroup(following, g)
	}
	namespaces := map[string]bool{}
	for _, t := range v.targets {
		if v.goal != removal && t.ns != "" && !namespaces[t.ns] {
			namespaces[t.ns] = true
			go v.followPods(following, t.ns)
			go v.followEvents(following, t.ns)
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

// seen takes in the newest state of a target.
func (v *vigil) seen(t *target, u *unstructured.Unstructured, gone bool) {
	delete(v.troubles, t)
	if gone {
		if v.goal == removal && !t.done && v.Gone != nil {
			v.Gone(t.want)
		}
		t.done = v.goal != rollout // a hook that deletes itself has run
		t.status = Status{Text: "is not there any more"}
		return
	}
	if t.sel == nil {
		t.sel = podSelector(u)
	}
	switch v.goal {
	case removal:
		t.status = Status{Text: "is still there"}
		if f := u.GetFinalizers(); len(f) > 0 && u.GetDeletionTimestamp() != nil {
			t.status.Text = "waits for " + Clip(strings.Join(f, ", "), 200)
		}
	case completion:
		t.status = v.Look(u)
		if GroupKind(u) == "Pod." {
			t.status = lookHookPod(u)
		}
		t.done = t.status.State == Ready
	default:
		t.status = v.Look(u)
		t.done = t.status.State == Ready
	}
}

// lookHookPod is look for a pod that is to end.
func lookHookPod(u *unstructured.Unstructured) Status {
	switch phase, _, _ := unstructured.NestedString(u.Object, "status", "phase"); phase {
	case "Succeeded":
		return Status{State: Ready}
	case "Failed":
		return Status{State: Failed, Text: "failed"}
	}
	return Status{Text: "has not finished"}
}

// podSelector matches the pods of an object that has some.
func podSelector(u *unstructured.Unstructured) labels.Selector {
	switch GroupKind(u) {
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
	pods := v.Cluster.clientset.CoreV1().Pods(namespace)
	src := typedLister[*corev1.PodList]{lists: pods.List, watches: pods.Watch}
	follow(ctx, src, follower{seen: func(o runtime.Object, gone bool) {
		if p, ok := o.(*corev1.Pod); ok {
			v.send(ctx, func() { v.pods.seen(p, gone, time.Now()) })
		}
	}}) // without them, less can be explained; the objects themselves still tell when they are ready
}

// followEvents passes warnings on that come while it is waited.
func (v *vigil) followEvents(ctx context.Context, namespace string) {
	events := v.Cluster.clientset.CoreV1().Events(namespace)
	src := typedLister[*corev1.EventList]{lists: events.List, watches: events.Watch, fields: "type=Warning"}
	current := false
	follow(ctx, src, follower{
		seen: func(o runtime.Object, gone bool) {
			if e, ok := o.(*corev1.Event); ok && current && !gone {
				v.send(ctx, func() { v.tell(e) })
			}
		},
		listed: func() { current = true },
	})
}

func (v *vigil) tell(e *corev1.Event) {
	about := e.InvolvedObject
	if !v.concerns(about.Name) {
		return
	}
	line := fmt.Sprintf("%s %s: %s: %s", about.Kind, about.Name, e.Reason, Clip(strings.Join(strings.Fields(e.Message), " "), 400))
	const most = 200 // lines of one wait
	if !v.told[line] && len(v.told) < most {
		v.told[line] = true
		v.Out.Log(line)
	}
}

func (v *vigil) concerns(name string) bool {
	for _, t := range v.targets {
		if name == t.want.GetName() || strings.HasPrefix(name, t.want.GetName()+"-") {
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
		if t.status.State == Failed {
			return v.explain(ctx, "")
		}
		if !t.status.Stuck {
			t.stuck = time.Time{}
		} else if t.stuck.IsZero() {
			t.stuck = now
		}
		limit := v.FailFast
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
	for _, t := range v.targets {
		if err := v.troubles[t]; apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			return err
		}
	}
	return nil
}

func (v *vigil) podsOf(t *target) []*corev1.Pod {
	if GroupKind(t.want) == "Pod." {
		for _, p := range v.pods.pods {
			if p.Name == t.want.GetName() && p.Namespace == t.ns {
				return []*corev1.Pod{p}
			}
		}
		return nil
	}
	if t.sel == nil {
		return nil
	}
	return v.pods.of(t.ns, t.sel)
}

// progress says what is waited for now, when that has changed.
func (v *vigil) progress() {
	var texts []string
	done, total := 0, 0
	for _, t := range v.targets {
		done, total = done+t.status.Done, total+t.status.Total
		if t.done {
			continue
		}
		text := t.want.GetName() + ": " + t.status.Text
		for _, p := range v.podsOf(t) {
			if problem, ok := troubleOf(p); ok && problem.stuck {
				text += " (" + Clip(problem.words, 120) + ")"
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
		v.Out.Progress(text, done, total)
	}
}

// ended is why ctx ended the wait.
func (v *vigil) ended(ctx context.Context) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	for _, t := range v.targets {
		if err := v.troubles[t]; err != nil {
			return err // it could not be seen, which says more than that time ran out
		}
	}
	if v.goal == removal {
		var left []string
		for _, t := range v.targets {
			if !t.done {
				left = append(left, t.title+" "+t.status.Text)
			}
		}
		return sdk.Downstream("It was not gone in time: %s. See what holds it with `kubectl describe`, then try again.", Clip(strings.Join(left, "; "), 600)).WithRetry()
	}
	return v.explain(ctx, "It was not ready in time. ")
}
