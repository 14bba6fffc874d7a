package node

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/berth-dev/berth/cmd/devcluster/internal/stages"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// narrator writes the events that a kubelet would write. It reads them off the
// changes in the status of pods, which KWOK makes: KWOK can write events too,
// but only ones that do not name the image.
type narrator struct {
	broadcaster record.EventBroadcaster

	mu        sync.Mutex
	recorders map[string]record.EventRecorder // by node
}

func newNarrator(ctx context.Context, client kubernetes.Interface) *narrator {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	context.AfterFunc(ctx, b.Shutdown)
	return &narrator{broadcaster: b, recorders: map[string]record.EventRecorder{}}
}

// watch returns a function that attaches the narrator to the informer.
func (n *narrator) watch(pods cache.SharedIndexInformer) func() error {
	return func() error {
		_, err := pods.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
			AddFunc: func(o any, initial bool) {
				// What is there at the start was told by the instance before this one.
				if pod, ok := o.(*corev1.Pod); ok && !initial {
					n.tell(&corev1.Pod{}, pod)
				}
			},
			UpdateFunc: func(before, after any) {
				old, ok1 := before.(*corev1.Pod)
				pod, ok2 := after.(*corev1.Pod)
				if ok1 && ok2 {
					n.tell(old, pod)
				}
			},
		})
		return err
	}
}

// tell writes the events of what has changed between two versions of a pod. An
// informer's resync shows the same version twice, which is when a kubelet's
// repeated events are repeated.
func (n *narrator) tell(old, pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil {
		return
	}
	again := old.ResourceVersion == pod.ResourceVersion
	for _, group := range []struct {
		field    string
		specs    []corev1.Container
		now, was []corev1.ContainerStatus
	}{
		{"initContainers", pod.Spec.InitContainers, pod.Status.InitContainerStatuses, old.Status.InitContainerStatuses},
		{"containers", pod.Spec.Containers, pod.Status.ContainerStatuses, old.Status.ContainerStatuses},
	} {
		for i := range group.now {
			now := &group.now[i]
			var was corev1.ContainerStatus
			if i < len(group.was) {
				was = group.was[i]
			}
			for _, e := range containerEvents(&was, now, again) {
				n.write(pod, fmt.Sprintf("spec.%s{%s}", group.field, now.Name), e)
			}
			if group.field == "containers" {
				if e, ok := unhealthy(pod, specOf(group.specs, now.Name), &was, now, again); ok {
					n.write(pod, fmt.Sprintf("spec.containers{%s}", now.Name), e)
				}
			}
		}
	}
}

func (n *narrator) write(pod *corev1.Pod, fieldPath string, e event) {
	n.mu.Lock()
	r, ok := n.recorders[pod.Spec.NodeName]
	if !ok {
		r = n.broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: pod.Spec.NodeName})
		n.recorders[pod.Spec.NodeName] = r
	}
	n.mu.Unlock()
	r.Event(&corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod",
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion, FieldPath: fieldPath,
	}, e.kind, e.reason, e.message)
}

type event struct{ kind, reason, message string }

func normal(reason, format string, args ...any) event {
	return event{corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...)}
}

func warning(reason, format string, args ...any) event {
	return event{corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...)}
}

// containerEvents are a container's, in the words of the kubelet
// (k8s.io/kubernetes/pkg/kubelet/{images,kuberuntime}). If again, nothing has
// changed and only what repeats is returned.
func containerEvents(was, now *corev1.ContainerStatus, again bool) []event {
	waiting := now.State.Waiting
	changed := waiting != nil && (was.State.Waiting == nil || was.State.Waiting.Reason != waiting.Reason)
	switch {
	case now.State.Running != nil:
		if again || was.State.Running != nil && was.RestartCount == now.RestartCount {
			return nil
		}
		return startEvents(now)
	case now.State.Terminated != nil && !again && was.ContainerID == "":
		return startEvents(now) // it started and ended between two looks
	case waiting == nil, !changed && !again:
		return nil
	}

	switch waiting.Reason {
	case stages.ErrImagePull, stages.ImagePullBackOff:
		return pullEvents(waiting, now.Image, again)
	case stages.CrashLoopBackOff:
		// The kubelet writes the message with a capital here, and without in the status.
		return []event{warning("BackOff", "Back-off%s", strings.TrimPrefix(waiting.Message, "back-off"))}
	case "PodInitializing", "ContainerCreating":
		return nil
	default:
		return []event{warning("Failed", "Error: %s", waiting.Message)}
	}
}

func startEvents(c *corev1.ContainerStatus) []event {
	return []event{
		normal("Pulled", "Container image %q already present on machine", c.Image),
		normal("Created", "Container created"),
		normal("Started", "Container started"),
	}
}

// pullEvents are those of an image that cannot be pulled. The cause is the end
// of the message that the container waits with.
func pullEvents(w *corev1.ContainerStateWaiting, image string, again bool) []event {
	backOff := []event{
		normal("BackOff", "Back-off pulling image %q", image),
		warning("Failed", "Error: ImagePullBackOff"),
	}
	if again && w.Reason == stages.ImagePullBackOff {
		return backOff
	}
	_, cause, found := strings.Cut(w.Message, "ErrImagePull: ")
	if !found {
		cause = w.Message
	}
	events := []event{
		normal("Pulling", "Pulling image %q", image),
		warning("Failed", "Failed to pull image %q: %s", image, cause),
		warning("Failed", "Error: ErrImagePull"),
	}
	if w.Reason == stages.ImagePullBackOff {
		events = append(events, backOff...)
	}
	return events
}

// unhealthy is the event of a readiness probe that fails: once when the
// container has started, and again for as long as it does.
func unhealthy(pod *corev1.Pod, spec *corev1.Container, was, now *corev1.ContainerStatus, again bool) (event, bool) {
	if pod.Annotations[stages.FailAnnotation] != stages.NotReady || now.State.Running == nil || now.Ready {
		return event{}, false
	}
	if !again && was.State.Running != nil {
		return event{}, false
	}
	why := "HTTP probe failed with statuscode: 503"
	if spec != nil && spec.ReadinessProbe != nil {
		switch p := spec.ReadinessProbe; {
		case p.TCPSocket != nil:
			why = fmt.Sprintf("dial tcp %s:%s: connect: connection refused", pod.Status.PodIP, p.TCPSocket.Port.String())
		case p.Exec != nil:
			why = "command failed with exit code 1"
		case p.GRPC != nil:
			why = "service unhealthy (responded with \"NOT_SERVING\")"
		}
	}
	return warning("Unhealthy", "Readiness probe failed: %s", why), true
}

func specOf(specs []corev1.Container, name string) *corev1.Container {
	for i := range specs {
		if specs[i].Name == name {
			return &specs[i]
		}
	}
	return nil
}
