package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// maxSources is how many containers are read at a time. Those beyond are named as
// left out; a filter gets at them.
const maxSources = 200

// PodLogs reads what the pods of a part print: of those whose chain of owners,
// through ReplicaSets, Jobs and custom resources, has one of the part's objects.
// Each line is read when it is wanted, so that a pod that prints without end
// needs no more memory than one that says little.
type PodLogs struct {
	Cluster    *Cluster
	Namespaces []string // where pods are looked for
	// Of tells whether an object is one of the part's, by what ID gives.
	Of func(id string) bool
	// Hide takes secrets out of a line before it is cut; nil leaves it as it is. The
	// SDK hides in every line what it has resolved, too.
	Hide func(string) string
}

// Read implements sdk.LogSource, for the pods of p. It calls out from one
// goroutine.
func (p PodLogs) Read(ctx context.Context, q sdk.LogQuery, out func(sdk.LogLine) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &logReader{PodLogs: p, q: q, out: out, chains: newChains(p.Cluster, p.Of)}
	pods, err := r.pods(ctx)
	if err != nil {
		return err
	}
	past, left := r.sources(pods)
	if err := r.merge(ctx, past); err != nil {
		return err
	}
	if left > 0 {
		err := out(sdk.LogLine{Source: "berth", Text: fmt.Sprintf("%s more are left out: name a pod or a container to see them", Count(left, "container"))})
		if err != nil {
			return err
		}
	}
	if !q.Follow {
		return ctx.Err()
	}
	return r.follow(ctx, past)
}

// Pods are the part's pods, in the order in which they were made.
func (p PodLogs) Pods(ctx context.Context) ([]*corev1.Pod, error) {
	return (&logReader{PodLogs: p, chains: newChains(p.Cluster, p.Of)}).pods(ctx)
}

// PodObject is a pod as an object of any kind, nil for one that cannot be.
func PodObject(p *corev1.Pod) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		return nil
	}
	u := ObjectOf(content)
	u.SetAPIVersion("v1")
	u.SetKind("Pod")
	return u
}

// logReader is one call of Read.
type logReader struct {
	PodLogs
	q      sdk.LogQuery
	out    func(sdk.LogLine) error
	chains *chains
}

// source is a container of a pod, and how far its log has been read.
type source struct {
	namespace, pod, container string
	uid                       types.UID
	restarts                  int32 // of the container, when it was last looked at
	started                   bool  // it has printed, or may have
	running                   bool
	told                      mark // how far it has been told
}

// mark is how far a log has been read.
type mark struct {
	at   time.Time // of the last line; zero for none
	same int       // lines with that very time
}

// beyond is m after a line of that time.
func (m mark) beyond(at time.Time) mark {
	if at.Equal(m.at) {
		return mark{at, m.same + 1}
	}
	return mark{at, 1}
}

func (s *source) String() string { return s.pod + "/" + s.container }

// pods are those of the part that the query asks for, in a stable order.
func (r *logReader) pods(ctx context.Context) ([]*corev1.Pod, error) {
	var out []*corev1.Pod
	for _, ns := range r.Namespaces {
		next := ""
		for {
			list, err := r.Cluster.clientset.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{Limit: inventoryPage, Continue: next})
			if err != nil {
				return nil, err
			}
			for i := range list.Items {
				pod := &list.Items[i]
				if !r.asked(pod) {
					continue
				}
				ours, err := r.chains.ours(ctx, pod)
				if err != nil {
					return nil, err
				}
				if ours {
					out = append(out, pod)
				}
			}
			if next = list.Continue; next == "" {
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

func (r *logReader) asked(pod *corev1.Pod) bool { return strings.HasPrefix(pod.Name, r.q.Pod) }

// sources are the containers of pods that the query asks for, and how many more
// there are than can be read.
func (r *logReader) sources(pods []*corev1.Pod) (out []*source, left int) {
	for _, pod := range pods {
		for _, s := range r.containers(pod) {
			if !s.started {
				continue
			}
			if len(out) == maxSources {
				left++
				continue
			}
			out = append(out, s)
		}
	}
	return out, left
}

// containers are those of a pod that the query asks for, in the order in which
// they start.
func (r *logReader) containers(pod *corev1.Pod) []*source {
	var out []*source
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if r.q.Container != "" && c.Name != r.q.Container {
			continue
		}
		out = append(out, &source{
			namespace: pod.Namespace, pod: pod.Name, container: c.Name, uid: pod.UID, restarts: c.RestartCount,
			started: c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil,
			running: c.State.Running != nil,
		})
	}
	return out
}

// chains finds out whose pods are, and keeps what it has found.
type chains struct {
	cluster *Cluster
	of      func(id string) bool
	mu      sync.Mutex
	known   map[types.UID]bool
}

func newChains(c *Cluster, of func(id string) bool) *chains {
	return &chains{cluster: c, of: of, known: map[types.UID]bool{}}
}

// ours tells whether a pod, or anything on the chain of its owners, is one of the
// part's objects.
func (c *chains) ours(ctx context.Context, pod *corev1.Pod) (bool, error) {
	if c.of("/Pod/" + pod.Namespace + "/" + pod.Name) {
		return true, nil
	}
	return c.climb(ctx, pod.Namespace, pod.OwnerReferences, pod.Labels, 1)
}

func (c *chains) climb(ctx context.Context, namespace string, refs []metav1.OwnerReference, labels map[string]string, depth int) (bool, error) {
	for _, ref := range refs {
		if depth > maxOwners {
			return false, nil
		}
		c.mu.Lock()
		ours, known := c.known[ref.UID]
		c.mu.Unlock()
		if !known {
			var err error
			if ours, err = c.owner(ctx, namespace, ref, labels, depth); err != nil {
				return false, err
			}
			c.mu.Lock()
			c.known[ref.UID] = ours
			c.mu.Unlock()
		}
		if ours {
			return true, nil
		}
	}
	return false, nil
}

// owner tells whether an owner, or an owner of it, is one of the part's objects.
func (c *chains) owner(ctx context.Context, namespace string, ref metav1.OwnerReference, labels map[string]string, depth int) (bool, error) {
	of := ObjectOf(map[string]any{"apiVersion": ref.APIVersion, "kind": ref.Kind, "metadata": map[string]any{"name": ref.Name, "namespace": namespace}})
	if c.of(ID(of, "")) || c.of(ID(ObjectOf(map[string]any{"apiVersion": ref.APIVersion, "kind": ref.Kind, "metadata": map[string]any{"name": ref.Name}}), "")) {
		return true, nil
	}
	kind := of.GroupVersionKind()
	mapping, err := c.cluster.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		gone, err := c.cluster.KindGone(err)
		if gone {
			return false, nil
		}
		return false, err
	}
	client := c.cluster.metadata.Resource(mapping.Resource)
	get := client.Get
	if mapping.Scope.Name() == "namespace" {
		get = client.Namespace(namespace).Get
	}
	live, err := get(ctx, ref.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case apierrors.IsForbidden(err):
		return c.guess(namespace, ref, labels), nil
	case err != nil:
		return false, err
	case live.UID != ref.UID:
		return false, nil // another one of that name
	}
	return c.climb(ctx, namespace, live.OwnerReferences, live.Labels, depth+1)
}

// guess goes by names where an owner may not be looked at: that of a Deployment's
// ReplicaSet ends in the hash of its template, which its pods are labelled with,
// and that of a CronJob's Job in digits.
func (c *chains) guess(namespace string, ref metav1.OwnerReference, labels map[string]string) bool {
	switch ref.Kind {
	case "ReplicaSet":
		if name, ok := strings.CutSuffix(ref.Name, "-"+labels["pod-template-hash"]); ok {
			return c.of("apps/Deployment/" + namespace + "/" + name)
		}
	case "Job":
		if i := strings.LastIndexByte(ref.Name, '-'); i > 0 && strings.Trim(ref.Name[i+1:], "0123456789") == "" {
			return c.of("batch/CronJob/" + namespace + "/" + ref.Name[:i])
		}
	}
	return false
}
