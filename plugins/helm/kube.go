package helm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/kube"
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
)

// session is one call's hold on a cluster: Helm's configuration with a client
// of our own below it.
type session struct {
	settings  settings
	namespace string
	cluster   *cluster
	kube      *kubeClient
	storage   *storage.Storage
	records   *records             // below storage
	held      *archived            // what the step found archived, and deploys over; nil without
	clientset kubernetes.Interface // its requests end with the call's context
}

// open makes a session. It reaches out to nothing.
func (x *Executor) open(ctx context.Context, step sdk.Step, s settings, out sdk.Events) (*session, error) {
	cl, err := x.clusters.open(step.Cluster) //nolint:contextcheck // a cluster is kept for other calls, so it must not end with this one
	if err != nil {
		return nil, err
	}
	bound, err := kubernetes.NewForConfig(cl.config(ctx))
	if err != nil {
		return nil, sdk.Internal("The cluster's client cannot be made: %w", err)
	}
	// Records are written, and failures explained, even when the call's time
	// is over: a release must not be left pending for want of a second.
	free, err := kubernetes.NewForConfig(cl.config(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, sdk.Internal("The cluster's client cannot be made: %w", err)
	}
	g := &getter{cluster: cl, ctx: ctx, namespace: step.Namespace}
	inner := kube.New(g)
	inner.Namespace = step.Namespace
	if out == nil {
		out = silent{}
	}
	k := &kubeClient{
		Client: inner, ctx: ctx, clientset: bound, free: free, namespace: step.Namespace, mine: environmentOwner(step), cluster: cl,
		mask: x.maskerFor(ctx, step), failFast: s.FailFast,
	}
	k.out = maskedEvents{out, k}
	recs := &records{Driver: driver.NewSecrets(free.CoreV1().Secrets(step.Namespace)), mask: k.mask}
	ses := &session{
		settings: s, namespace: step.Namespace, cluster: cl, kube: k, clientset: bound,
		storage: storage.Init(recs), records: recs,
	}
	ses.storage.MaxHistory = maxHistory
	return ses, nil
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
		s.kube.mask.learnExact(secretsIn(rel))
	}
	return list, nil
}

// kubeClient is Helm's client for Kubernetes with waits that watch instead of
// asking every two seconds, that end with the step, and that say why.
type kubeClient struct {
	*kube.Client
	ctx       context.Context // of the step; Helm's interface has no place for one
	clientset kubernetes.Interface
	free      kubernetes.Interface // still works when ctx has ended
	namespace string
	mine      owner // the environment, into whose namespaces alone objects go
	out       sdk.Events
	mask      *masker
	failFast  time.Duration
	cluster   *cluster
	lenient   bool                                  // when objects are deleted: those of unknown kinds are gone
	unsettled map[string]*unstructured.Unstructured // what Update compares with instead, by fullID
	ledger    *ledger                               // of a step that takes things away for good; nil without
	asWas     map[string]map[string]any             // fields that objects get beside what their manifest says, by fullID

	mu      sync.Mutex
	failure error // the last error, which Helm may pass on as text only
}

var (
	_ kube.Interface                    = (*kubeClient)(nil)
	_ kube.InterfaceExt                 = (*kubeClient)(nil)
	_ kube.InterfaceLogs                = (*kubeClient)(nil)
	_ kube.InterfaceDeletionPropagation = (*kubeClient)(nil)
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

// IsReachable implements kube.Interface. Each step begins with a request, so
// Helm's own before every action would only cost time.
func (k *kubeClient) IsReachable() error { return k.ctx.Err() }

// Build implements kube.Interface. Servers check fields themselves, so Helm's
// validation, which fetches their whole OpenAPI, is left out: with a server
// that does, it checks nothing either.
func (k *kubeClient) Build(r io.Reader, _ bool) (kube.ResourceList, error) {
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
			k.mask.learnObjects([]object{{u.Object}})
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
		kind := o.live().GroupVersionKind()
		_, err := k.cluster.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			if _, failed := k.cluster.discovery.ServerPreferredResources(); failed != nil {
				return nil, failed
			}
			k.out.Log(o.title() + " is gone: the cluster does not know its kind any more")
			continue
		}
		data, err := o.live().MarshalJSON()
		if err != nil {
			return nil, err
		}
		b.WriteString("---\n")
		b.Write(data)
		b.WriteString("\n")
	}
	return &b, nil
}

// Create implements kube.Interface.
func (k *kubeClient) Create(resources kube.ResourceList) (*kube.Result, error) {
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

// Update implements kube.Interface.
func (k *kubeClient) Update(original, to kube.ResourceList, force bool) (*kube.Result, error) {
	if err := k.ctx.Err(); err != nil {
		return &kube.Result{}, err
	}
	if err := k.refuseStrays(to); err != nil {
		return &kube.Result{}, k.keep(err)
	}
	k.adjust(to)
	if err := k.wakeBefore(to); err != nil {
		return &kube.Result{}, k.keep(err)
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
func (k *kubeClient) settle(original kube.ResourceList) kube.ResourceList {
	if len(k.unsettled) == 0 {
		return original
	}
	out := make(kube.ResourceList, len(original))
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
func (k *kubeClient) adjust(list kube.ResourceList) {
	for _, r := range list {
		u, ok := r.Object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		for pointer, value := range k.asWas[k.idOf(r)] {
			setPointer(u.Object, pointer, copyValue(value))
		}
	}
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

func (k *kubeClient) logAll(what string, list kube.ResourceList) {
	for _, r := range list {
		k.out.Log(what + " " + r.Mapping.GroupVersionKind.Kind + " " + r.Name)
	}
}

// Delete implements kube.Interface.
func (k *kubeClient) Delete(resources kube.ResourceList) (*kube.Result, []error) {
	return k.DeleteWithPropagationPolicy(resources, metav1.DeletePropagationBackground)
}

// DeleteWithPropagationPolicy implements kube.InterfaceDeletionPropagation.
func (k *kubeClient) DeleteWithPropagationPolicy(resources kube.ResourceList, policy metav1.DeletionPropagation) (*kube.Result, []error) {
	if err := k.ctx.Err(); err != nil {
		return nil, []error{err}
	}
	result, errs := k.Client.DeleteWithPropagationPolicy(resources, policy)
	if len(errs) > 0 {
		_ = k.keep(errs[0])
	}
	return result, errs
}

// Wait implements kube.Interface.
func (k *kubeClient) Wait(resources kube.ResourceList, limit time.Duration) error {
	return k.keep(k.wait(k.ctx, resources, limit, rollout))
}

// WaitWithJobs implements kube.Interface.
func (k *kubeClient) WaitWithJobs(resources kube.ResourceList, limit time.Duration) error {
	return k.Wait(resources, limit)
}

// WatchUntilReady implements kube.Interface: it waits for hooks to end.
func (k *kubeClient) WatchUntilReady(resources kube.ResourceList, limit time.Duration) error {
	return k.keep(k.wait(k.ctx, resources, limit, completion))
}

// WaitForDelete implements kube.InterfaceExt.
func (k *kubeClient) WaitForDelete(resources kube.ResourceList, limit time.Duration) error {
	return k.keep(k.wait(k.ctx, resources, limit, removal))
}

// GetPodList implements kube.InterfaceLogs.
func (k *kubeClient) GetPodList(namespace string, o metav1.ListOptions) (*corev1.PodList, error) {
	return k.free.CoreV1().Pods(namespace).List(context.WithoutCancel(k.ctx), o)
}

// OutputContainerLogsForPodList implements kube.InterfaceLogs: it passes on the
// output of hooks that ask for that, as far as a person would read it.
func (k *kubeClient) OutputContainerLogsForPodList(pods *corev1.PodList, namespace string, to func(namespace, pod, container string) io.Writer) error {
	tail, bytes := int64(200), int64(64<<10)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.ctx), askLimit)
	defer cancel()
	for _, p := range pods.Items {
		for _, c := range p.Spec.Containers {
			stream, err := k.free.CoreV1().Pods(namespace).GetLogs(p.Name, &corev1.PodLogOptions{Container: c.Name, TailLines: &tail, LimitBytes: &bytes}).Stream(ctx)
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

// maskedEvents hides secrets in everything that a run tells.
type maskedEvents struct {
	out sdk.Events
	k   *kubeClient
}

func (m maskedEvents) Log(line string) { m.out.Log(m.k.mask.text(line)) }
func (m maskedEvents) Progress(text string, done, total int) {
	m.out.Progress(m.k.mask.text(text), done, total)
}
func (m maskedEvents) Output(key, value string) { m.out.Output(key, m.k.mask.exactText(value)) }
func (m maskedEvents) Receipt(r sdk.Resource)   { m.out.Receipt(r) }

// silent is for calls that nobody listens to.
type silent struct{}

func (silent) Log(string)                {}
func (silent) Progress(string, int, int) {}
func (silent) Output(string, string)     {}
func (silent) Receipt(sdk.Resource)      {}

// resourcesOf makes a list that Helm's client can work on.
func (k *kubeClient) resourcesOf(objects []object) (kube.ResourceList, error) {
	var b bytes.Buffer
	for _, o := range objects {
		data, err := o.live().MarshalJSON()
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
