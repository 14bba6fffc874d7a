package kube

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// crashesForSure is how many restarts it takes to say that a program will not
// come up by itself. The first few may be it waiting for its database.
const crashesForSure = 3

// trouble is what keeps a pod from being ready.
type trouble struct {
	pod       string
	container string // whose log may tell more; "" when it has none yet
	previous  bool   // the log of the container's last try, as it waits for the next
	words     string // what is wrong, as the end of "Pod web-1: "
	advice    string
	crashed   bool // a container of it has ended
	stuck     bool // it will most likely not pass by itself
}

// troubleOf tells what keeps the pod from being ready; ok is false for a pod
// that is ready, done, or simply young.
func troubleOf(p *corev1.Pod) (t trouble, ok bool) {
	t.pod = p.Name
	if podReady(p) || p.Status.Phase == corev1.PodSucceeded || p.DeletionTimestamp != nil {
		return t, false
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && c.LastTerminationState.Terminated == nil && t.wait(p, c, w) {
			return t, true
		}
		if t.crash(p, c) {
			return t, true
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			t.words = "no node can take it: " + Clip(c.Message, 300)
			t.advice = "Ask for less CPU or memory, make room, or add a node."
			return t, true
		}
	}
	if p.Status.Phase == corev1.PodFailed {
		t.words = "it failed" + in(p.Status.Reason, p.Status.Message)
		return t, true
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Running != nil && !c.Ready {
			t.container = c.Name
			t.words = fmt.Sprintf("its container %q runs but is not ready; its readiness probe has not succeeded", c.Name)
			t.advice = "Check that the program listens on the port that the probe asks, and its log."
			return t, true
		}
	}
	return t, false
}

// wait reads why a container does not start.
func (t *trouble) wait(p *corev1.Pod, c corev1.ContainerStatus, w *corev1.ContainerStateWaiting) bool {
	image := imageOf(p, c)
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError":
		t.words = fmt.Sprintf("the image %q cannot be pulled%s", Clip(image, 200), in(w.Reason, w.Message))
		t.advice = "Check that the image and its tag exist, and that the cluster may pull it (imagePullSecrets)."
	case "InvalidImageName":
		t.words = fmt.Sprintf("%q is not the name of an image", Clip(image, 200))
		t.advice = "Correct the image in the values."
	case "CreateContainerConfigError":
		t.words = "something that it is configured with is not there" + in(w.Reason, w.Message)
		t.advice = "Make the ConfigMap or Secret that is named, or take the reference out."
	case "CreateContainerError", "RunContainerError":
		t.words = fmt.Sprintf("its container %q cannot be started%s", c.Name, in(w.Reason, w.Message))
		t.advice = "Check the container's command, user and volumes."
	case "", "ContainerCreating", "PodInitializing":
		return false
	default:
		t.words = fmt.Sprintf("its container %q waits%s", c.Name, in(w.Reason, w.Message))
	}
	t.stuck = t.advice != ""
	return true
}

// crash reads how a container ended, if it did.
func (t *trouble) crash(p *corev1.Pod, c corev1.ContainerStatus) bool {
	end := c.State.Terminated
	if end == nil {
		end = c.LastTerminationState.Terminated
	}
	if end == nil || c.Ready || end.ExitCode == 0 && c.RestartCount == 0 {
		return false
	}
	t.container, t.previous, t.crashed = c.Name, c.State.Terminated == nil, true
	t.words = fmt.Sprintf("its container %q ends with exit code %d", c.Name, end.ExitCode)
	t.advice = "Its log lines say why; correct the program or its settings."
	if end.Reason == "OOMKilled" {
		t.words = fmt.Sprintf("its container %q needs more memory than its limit (OOMKilled)", c.Name)
		t.advice = "Raise resources.limits.memory, or make the program need less."
	}
	if c.RestartCount > 0 {
		t.words += fmt.Sprintf(" and was restarted %s", Count(int(c.RestartCount), "time"))
	}
	t.stuck = c.RestartCount >= crashesForSure || p.Spec.RestartPolicy == corev1.RestartPolicyNever
	return true
}

func imageOf(p *corev1.Pod, status corev1.ContainerStatus) string {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if c.Name == status.Name {
			return c.Image
		}
	}
	return status.Image
}

// in is " (reason: message)" of what there is of both.
func in(reason, message string) string {
	text := strings.Trim(reason+": "+Clip(strings.Join(strings.Fields(message), " "), 300), ": ")
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podWatch knows the pods of the objects that are waited for.
type podWatch struct {
	pods  map[types.UID]*corev1.Pod
	since map[types.UID]time.Time // when each was first seen in a trouble that may be for good
}

func newPodWatch() *podWatch {
	return &podWatch{pods: map[types.UID]*corev1.Pod{}, since: map[types.UID]time.Time{}}
}

func (w *podWatch) seen(p *corev1.Pod, gone bool, now time.Time) {
	if gone {
		delete(w.pods, p.UID)
		delete(w.since, p.UID)
		return
	}
	w.pods[p.UID] = p
	t, troubled := troubleOf(p)
	_, known := w.since[p.UID]
	switch {
	case troubled && (t.stuck || t.crashed) && !known:
		w.since[p.UID] = now
	case known && !troubled:
		// Between two tries a crashing container runs for a moment and is then
		// troubled still, by how it ended the last time.
		delete(w.since, p.UID)
	}
}

// of are the newest pods that sel matches: those made from the template in
// force, judged by the hash that their controllers label them with. When a pod was
// made is known to the second alone: of templates whose pods are equally new, it
// is those of all, so that none that fails goes unseen.
func (w *podWatch) of(namespace string, sel labels.Selector) []*corev1.Pod {
	var out []*corev1.Pod
	var newest metav1.Time
	for _, p := range w.pods {
		if p.Namespace != namespace || p.DeletionTimestamp != nil || !sel.Matches(labels.Set(p.Labels)) {
			continue
		}
		out = append(out, p)
		if newest.Before(&p.CreationTimestamp) {
			newest = p.CreationTimestamp
		}
	}
	inForce := map[string]bool{}
	for _, p := range out {
		if !p.CreationTimestamp.Before(&newest) {
			inForce[templateHash(p)] = true
		}
	}
	out = slices.DeleteFunc(out, func(p *corev1.Pod) bool { return !inForce[templateHash(p)] })
	slices.SortFunc(out, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func templateHash(p *corev1.Pod) string {
	if h := p.Labels["pod-template-hash"]; h != "" {
		return h
	}
	return p.Labels["controller-revision-hash"]
}

// stuckFor is how long the longest stuck of pods has been in trouble.
func (w *podWatch) stuckFor(pods []*corev1.Pod, now time.Time) time.Duration {
	var longest time.Duration
	for _, p := range pods {
		since, ok := w.since[p.UID]
		if t, _ := troubleOf(p); ok && t.stuck {
			longest = max(longest, now.Sub(since))
		}
	}
	return longest
}
