package helm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/action"
	helmkube "helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// session is one call's hold on a cluster: Helm's configuration with a client
// of our own below it.
type session struct {
	settings  settings
	step      sdk.Step
	namespace string
	cluster   *kube.Cluster
	kube      *kubeClient
	storage   *storage.Storage
	records   *records  // below storage
	held      *archived // what the step found archived, and deploys over; nil without
	clientset kubernetes.Interface
}

// open makes a session. It reaches out to nothing.
func (x *Executor) open(ctx context.Context, step sdk.Step, s settings, out sdk.Events) (*session, error) {
	cl, err := x.clusters.Open(step.Cluster)
	if err != nil {
		return nil, err
	}
	mask := x.maskerFor(ctx, step)
	g := &getter{cluster: cl, ctx: ctx, namespace: step.Namespace}
	inner := helmkube.New(g)
	inner.Namespace = step.Namespace
	k := &kubeClient{
		Client: inner, ctx: ctx, clientset: cl.Clientset(), namespace: step.Namespace, mine: kube.EnvironmentOwner(step), cluster: cl,
		mask: mask, out: mask.Events(out), failFast: s.FailFast,
	}
	// Records are written even when the call's time is over: a release must not be
	// left pending for want of a second.
	recs := &records{Driver: driver.NewSecrets(cl.Clientset().CoreV1().Secrets(step.Namespace)), mask: mask}
	ses := &session{
		settings: s, step: step, namespace: step.Namespace, cluster: cl, kube: k, clientset: cl.Clientset(),
		storage: storage.Init(recs), records: recs,
	}
	ses.storage.MaxHistory = maxHistory
	return ses, nil
}

// space is the namespace of the session's environment.
func (s *session) space() kube.Namespace {
	return kube.Namespace{Cluster: s.cluster, Step: s.step, Out: s.kube.out}
}

// helm is the configuration that Helm's actions take.
func (s *session) helm(ctx context.Context) *action.Configuration {
	return &action.Configuration{
		RESTClientGetter: &getter{cluster: s.cluster, ctx: ctx, namespace: s.namespace},
		Releases:         s.storage,
		KubeClient:       s.kube,
		Log:              func(string, ...any) {},
		HookOutputFunc:   s.kube.hookLog,
	}
}

// history is every revision of the release, the oldest first; none is no
// error.
func (s *session) history(ctx context.Context) ([]*release.Release, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	list, err := s.storage.History(s.settings.Release)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	releaseutil.SortByRevision(list)
	for _, rel := range list {
		s.kube.mask.LearnExact(secretsIn(rel))
	}
	return list, nil
}

// kubeClient is Helm's client for Kubernetes with waits that watch instead of
// asking every two seconds, that end with the step, and that say why.
type kubeClient struct {
	*helmkube.Client
	ctx       context.Context // of the step; Helm's interface has no place for one
	clientset kubernetes.Interface
	namespace string
	mine      kube.Owner // the environment, into whose namespaces alone objects go
	out       sdk.Events
	mask      *kube.Masker
	failFast  time.Duration
	cluster   *kube.Cluster
	lenient   bool                                  // when objects are deleted: those of unknown kinds are gone
	unsettled map[string]*unstructured.Unstructured // what Update compares with instead, by fullID
	receipts  *kube.Receipts                        // of a step that takes things away for good; nil without
	asWas     map[string]map[string]any             // fields that objects get beside what their manifest says, by fullID

	mu      sync.Mutex
	failure error // the last error, which Helm may pass on as text only
}

var (
	_ helmkube.Interface                    = (*kubeClient)(nil)
	_ helmkube.InterfaceExt                 = (*kubeClient)(nil)
	_ helmkube.InterfaceLogs                = (*kubeClient)(nil)
	_ helmkube.InterfaceDeletionPropagation = (*kubeClient)(nil)
)

func (k *kubeClient) keep(err error) error {
	if err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.failure = err
	}
	return err
}

// failed is the cause of err: the last failure of this client, if there was
// one, since Helm wraps some of them as text.
func (k *kubeClient) failed(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && k.failure != nil {
		return k.failure
	}
	return err
}

// IsReachable implements helmkube.Interface. Each step begins with a request, so
// Helm's own before every action would only cost time.
func (k *kubeClient) IsReachable() error { return k.ctx.Err() }

// Build implements helmkube.Interface. Servers check fields themselves, so Helm's
// validation, which fetches their whole OpenAPI, is left out: with a server
// that does, it checks nothing either.
func (k *kubeClient) Build(r io.Reader, _ bool) (helmkube.ResourceList, error) {
	if err := k.ctx.Err(); err != nil {
		return nil, err
	}
	if k.lenient {
		known, err := k.onlyKnown(r)
		if err != nil {
			return nil, k.keep(err)
		}
		r = known
	}
	list, err := k.Client.Build(r, false)
	for _, info := range list {
		if u, ok := info.Object.(*unstructured.Unstructured); ok {
			k.mask.LearnObjects([]*unstructured.Unstructured{u})
		}
	}
	return list, k.keep(err)
}

// onlyKnown leaves out objects of kinds that the cluster does not have any
// more, such as a custom resource whose definition is gone: there can be none.
// It asks the cluster anew, and believes it only if all of its APIs answered.
func (k *kubeClient) onlyKnown(r io.Reader) (io.Reader, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	objects, err := parseManifest(string(data))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, o := range objects {
		kind := o.GroupVersionKind()
		_, err := k.cluster.Mapper().RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			if _, failed := k.cluster.Discovery().ServerPreferredResources(); failed != nil {
				return nil, failed
			}
			k.out.Log(kube.Title(o) + " is gone: the cluster does not know its kind any more")
			continue
		}
		data, err := o.MarshalJSON()
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(data)
		b.WriteString("\n")
	}
	return &b, nil
}

// Create implements helmkube.Interface.
func (k *kubeClient) Create(resources helmkube.ResourceList) (*helmkube.Result, error) {
	if err := k.ctx.Err(); err != nil {
		return nil, err
	}
	if err := k.refuseStrays(resources); err != nil {
		return nil, k.keep(err)
	}
	k.adjust(resources)
	for _, r := range resources {
		k.out.Log("creating " + r.Mapping.GroupVersionKind.Kind + " " + r.Name)
	}
	result, err := k.Client.Create(resources)
	return result, k.keep(err)
}

// Update implements helmkube.Interface.
func (k *kubeClient) Update(original, to helmkube.ResourceList, force bool) (*helmkube.Result, error) {
	if err := k.ctx.Err(); err != nil {
		return &helmkube.Result{}, err
	}
	if err := k.refuseStrays(to); err != nil {
		return &helmkube.Result{}, k.keep(err)
	}
	k.adjust(to)
	if err := k.wakeBefore(to); err != nil {
		return &helmkube.Result{}, k.keep(err)
	}
	wanted := wantedOf(to)
	result, err := k.Client.Update(k.settle(original), to, force)
	if result != nil {
		k.logAll("created", result.Created)
		k.logAll("updated", result.Updated)
		k.logAll("deleted", result.Deleted)
	}
	if err == nil {
		err = k.wakeAfter(to, wanted)
	}
	return result, k.keep(err)
}

// settle puts what failed revisions may have left in the place of what Helm
// takes for the last state of its objects.
func (k *kubeClient) settle(original helmkube.ResourceList) helmkube.ResourceList {
	if len(k.unsettled) == 0 {
		return original
	}
	out := make(helmkube.ResourceList, len(original))
	for i, r := range original {
		out[i] = r
		if u := k.unsettled[k.idOf(r)]; u != nil {
			other := *r
			other.Object = u
			out[i] = &other
		}
	}
	return out
}

// adjust gives objects the fields that they are to have beside what their
// manifest says.
func (k *kubeClient) adjust(list helmkube.ResourceList) {
	for _, r := range list {
		u, ok := r.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		for pointer, value := range k.asWas[k.idOf(r)] {
			kube.SetPointer(u.Object, pointer, kube.CopyValue(value))
		}
	}
}

// waiting is how this client waits.
func (k *kubeClient) waiting() kube.Wait {
	return kube.Wait{Cluster: k.cluster, Namespace: k.namespace, Out: k.out, Mask: k.mask, FailFast: k.failFast, Gone: k.gone}
}

// objectsOf are the kinds, names and namespaces of resources.
func objectsOf(list helmkube.ResourceList) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, 0, len(list))
	for _, r := range list {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(r.Mapping.GroupVersionKind)
		u.SetName(r.Name)
		u.SetNamespace(r.Namespace)
		out = append(out, u)
	}
	return out
}

// idOf is the fullID of a resource.
func (k *kubeClient) idOf(r *resource.Info) string {
	namespace := r.Namespace
	if namespace == "" {
		namespace = k.namespace
	}
	kind := r.Mapping.GroupVersionKind
	return kind.Group + "/" + kind.Kind + "/" + namespace + "/" + r.Name
}

func (k *kubeClient) logAll(what string, list helmkube.ResourceList) {
	for _, r := range list {
		k.out.Log(what + " " + r.Mapping.GroupVersionKind.Kind + " " + r.Name)
	}
}

// Delete implements helmkube.Interface.
func (k *kubeClient) Delete(resources helmkube.ResourceList) (*helmkube.Result, []error) {
	return k.DeleteWithPropagationPolicy(resources, metav1.DeletePropagationBackground)
}

// DeleteWithPropagationPolicy implements helmkube.InterfaceDeletionPropagation.
func (k *kubeClient) DeleteWithPropagationPolicy(resources helmkube.ResourceList, policy metav1.DeletionPropagation) (*helmkube.Result, []error) {
	if err := k.ctx.Err(); err != nil {
		return nil, []error{err}
	}
	result, errs := k.Client.DeleteWithPropagationPolicy(resources, policy)
	if len(errs) > 0 {
		_ = k.keep(errs[0])
	}
	return result, errs
}

// Wait implements helmkube.Interface.
func (k *kubeClient) Wait(resources helmkube.ResourceList, limit time.Duration) error {
	return k.keep(k.waiting().Ready(k.ctx, objectsOf(resources), limit))
}

// WaitWithJobs implements helmkube.Interface.
func (k *kubeClient) WaitWithJobs(resources helmkube.ResourceList, limit time.Duration) error {
	return k.Wait(resources, limit)
}

// WatchUntilReady implements helmkube.Interface: it waits for hooks to end.
func (k *kubeClient) WatchUntilReady(resources helmkube.ResourceList, limit time.Duration) error {
	return k.keep(k.waiting().Done(k.ctx, objectsOf(resources), limit))
}

// WaitForDelete implements helmkube.InterfaceExt.
func (k *kubeClient) WaitForDelete(resources helmkube.ResourceList, limit time.Duration) error {
	return k.keep(k.waiting().Removed(k.ctx, objectsOf(resources), limit))
}

// GetPodList implements helmkube.InterfaceLogs.
func (k *kubeClient) GetPodList(namespace string, o metav1.ListOptions) (*corev1.PodList, error) {
	return k.clientset.CoreV1().Pods(namespace).List(context.WithoutCancel(k.ctx), o)
}

// hookLogLimit is how long reading the output of hooks may take.
const hookLogLimit = 8 * time.Second

// OutputContainerLogsForPodList implements helmkube.InterfaceLogs: it passes on the
// output of hooks that ask for that, as far as a person would read it.
func (k *kubeClient) OutputContainerLogsForPodList(pods *corev1.PodList, namespace string, to func(namespace, pod, container string) io.Writer) error {
	tail, bytes := int64(200), int64(64<<10)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.ctx), hookLogLimit)
	defer cancel()
	for _, p := range pods.Items {
		for _, c := range p.Spec.Containers {
			stream, err := k.clientset.CoreV1().Pods(namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: c.Name, TailLines: &tail, LimitBytes: &bytes}).Stream(ctx)
			if err != nil {
				return err
			}
			_, err = io.Copy(to(namespace, p.Name, c.Name), stream)
			_ = stream.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// hookLog is where the output of a hook's pod goes.
func (k *kubeClient) hookLog(_, pod, _ string) io.Writer {
	return &lineLog{out: k.out, prefix: pod + ": "}
}

// lineLog writes whole lines to a run's log.
type lineLog struct {
	out    sdk.Events
	prefix string
	rest   []byte
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.out.Log(l.prefix + string(line))
		l.rest = rest
	}
}

// resourcesOf makes a list that Helm's client can work on.
func (k *kubeClient) resourcesOf(objects []*unstructured.Unstructured) (helmkube.ResourceList, error) {
	var b bytes.Buffer
	for _, o := range objects {
		data, err := o.MarshalJSON()
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(data)
		b.WriteString("\n")
	}
	if b.Len() == 0 {
		return nil, nil
	}
	return k.Build(&b, false)
}
