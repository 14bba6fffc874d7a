package kube

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// reachLimit is how long an API server may take to say what it is. It is the
	// first thing asked, so this is also how soon a silent one is given up.
	reachLimit = 12 * time.Second
	// maxClusters is how many clusters' connections are kept.
	maxClusters = 16
	// fresh is how long a cluster's list of kinds is believed: what one part
	// installs may add some that the next one uses.
	fresh = 10 * time.Second
)

// Silence keeps client-go, and whatever writes to the standard logger, from
// writing to standard error on their own. What they have to say reaches people as
// errors, and warnings of libraries repeat values, secrets included. An executor
// calls it as it is made; it does its work once.
func Silence() { silence() }

var silence = sync.OnceFunc(func() {
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	_ = flags.Set("stderrthreshold", "FATAL") // errors go to standard error all the same, else
	log.SetOutput(io.Discard)
})

// Clusters keeps connections and discovery results between calls. It is safe for
// concurrent use.
type Clusters struct {
	agent string
	mu    sync.Mutex
	kept  map[clusterKey]*Cluster
}

// clusterKey changes when the kubeconfig's file does.
type clusterKey struct {
	path, context string
	eks           sdk.EKS
	modified      int64
	size          int64
}

// NewClusters makes an empty one. API servers log agent, "berth-helm/1.2.0", as
// the user agent.
func NewClusters(agent string) *Clusters {
	return &Clusters{agent: agent, kept: map[clusterKey]*Cluster{}}
}

// Open gets the cluster. It reads its kubeconfig and reaches out to nothing. A
// kubeconfig that has changed gets a new connection. Errors are *sdk.Error.
func (c *Clusters) Open(at sdk.Cluster) (*Cluster, error) {
	key := clusterKey{path: at.Kubeconfig, context: at.Context}
	if at.EKS != nil {
		key.eks = *at.EKS
	}
	if at.Kubeconfig != "" {
		info, err := os.Stat(at.Kubeconfig)
		if err != nil {
			why := "cannot be read: check its permissions"
			if errors.Is(err, fs.ErrNotExist) {
				why = "is not there: check `kubeconfig` in Berth's config"
			}
			return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: kubeconfigName(at) + " " + why + ".", Err: err}
		}
		key.modified, key.size = info.ModTime().UnixNano(), info.Size()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept, ok := c.kept[key]; ok {
		return kept, nil
	}
	made, err := newCluster(at, c.agent)
	if err != nil {
		return nil, err
	}
	for k, old := range c.kept {
		if k.path == key.path && k.context == key.context && k.eks == key.eks || len(c.kept) >= maxClusters {
			delete(c.kept, k)
			old.close()
		}
	}
	c.kept[key] = made
	return made, nil
}

// Cluster is a way to an API server, shared by all calls that go there. Its
// clients have no limiter of their own: how many requests are too many is the
// API server's to say. Each request ends with the context that it is made with,
// and when the answer does not begin in time.
type Cluster struct {
	at    sdk.Cluster
	agent string
	host  string
	base  http.RoundTripper // with TLS and credentials

	discovery discovery.CachedDiscoveryInterface
	mapper    *freshMapper
	clientset kubernetes.Interface
	dynamic   dynamic.Interface
	metadata  metadata.Interface

	asking   singleflight.Group
	mu       sync.Mutex
	served   *Served
	servedAt time.Time
}

func newCluster(at sdk.Cluster, agent string) (*Cluster, error) {
	host, base, err := wayTo(at)
	if err != nil {
		return nil, err
	}
	c := &Cluster{at: at, agent: agent, host: host, base: base}
	asking := c.Config(context.Background())
	asking.Transport = &boundTransport{base: base, ctx: context.Background(), limit: reachLimit}
	client, err := discovery.NewDiscoveryClientForConfig(asking)
	if err != nil {
		return nil, badConfig(at, err)
	}
	c.discovery = memory.NewMemCacheClient(client)
	c.mapper = &freshMapper{DeferredDiscoveryRESTMapper: restmapper.NewDeferredDiscoveryRESTMapper(c.discovery)}
	return c, c.makeClients()
}

// makeClients makes the clients that all calls share: a context goes with each
// of their requests.
func (c *Cluster) makeClients() (err error) {
	config := c.Config(context.Background())
	if c.clientset, err = kubernetes.NewForConfig(config); err == nil {
		c.dynamic, err = dynamic.NewForConfig(config)
	}
	if err == nil {
		c.metadata, err = metadata.NewForConfig(config)
	}
	if err != nil {
		return sdk.Internal("The cluster's client cannot be made: %w", err)
	}
	return nil
}

// At is what the cluster was opened with, for messages.
func (c *Cluster) At() sdk.Cluster { return c.at }

// Clientset is the client of Kubernetes' own kinds.
func (c *Cluster) Clientset() kubernetes.Interface { return c.clientset }

// Dynamic is the client of any kind.
func (c *Cluster) Dynamic() dynamic.Interface { return c.dynamic }

// Metadata is the client of any kind's metadata alone.
func (c *Cluster) Metadata() metadata.Interface { return c.metadata }

// Discovery tells what kinds there are. What it says is kept; Reach asks anew.
func (c *Cluster) Discovery() discovery.CachedDiscoveryInterface { return c.discovery }

// Mapper maps kinds to resources. It asks the cluster again before it says that
// a kind is unknown.
func (c *Cluster) Mapper() meta.ResettableRESTMapper { return c.mapper }

// wayTo is a cluster's address, and what requests to it go through, with TLS and
// credentials.
func wayTo(at sdk.Cluster) (string, http.RoundTripper, error) {
	dial := (&net.Dialer{Timeout: dialLimit, KeepAlive: 30 * time.Second}).DialContext
	if at.EKS != nil {
		base, err := newEKS(at, dial)
		return "https://eks.invalid", base, err // the transport knows better, once it has asked
	}
	config, err := loadConfig(at)
	if err != nil {
		return "", nil, err
	}
	config.Dial = dial
	base, err := rest.TransportFor(config)
	if err != nil {
		return "", nil, badConfig(at, err)
	}
	host, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return "", nil, badConfig(at, err)
	}
	return host.String(), base, nil
}

func loadConfig(at sdk.Cluster) (*rest.Config, error) {
	if at.Kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: ClusterName(at) + " has no kubeconfig, and Berth does not run inside a cluster: set `kubeconfig` in Berth's config.", Err: err}
		}
		return config, nil
	}
	raw, err := clientcmd.LoadFromFile(at.Kubeconfig)
	if err != nil {
		return nil, badConfig(at, err)
	}
	if at.Context != "" && raw.Contexts[at.Context] == nil {
		return nil, sdk.Invalid("%s has no context %q: check `context` in Berth's config.", kubeconfigName(at), Clip(at.Context, 60))
	}
	if at.Context == "" && raw.CurrentContext == "" {
		return nil, sdk.Invalid("%s has no current context: set `context` in Berth's config.", kubeconfigName(at))
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: at.Kubeconfig}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: at.Context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, badConfig(at, err)
	}
	return config, nil
}

// badConfig never repeats the file's content, which an error of a parser may.
func badConfig(at sdk.Cluster, _ error) error {
	which := kubeconfigName(at)
	if at.Context != "" {
		which += fmt.Sprintf(", context %q,", Clip(at.Context, 60))
	}
	return sdk.Invalid("%s cannot be used: it is damaged, or names a cluster, user or certificate that is not there. `kubectl --kubeconfig … version` says more.", which)
}

func (c *Cluster) close() {
	closeIdle(c.base)
}

func closeIdle(base http.RoundTripper) {
	if t, ok := base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// Config is a client configuration whose requests end with ctx, for libraries
// that take none. Connections are shared with the cluster's own clients.
func (c *Cluster) Config(ctx context.Context) *rest.Config {
	return &rest.Config{
		Host:      c.host,
		Transport: &boundTransport{base: c.base, ctx: ctx, limit: answerLimit},
		UserAgent: c.agent,
		QPS:       -1,
	}
}

// Served is what an API server says of itself.
type Served struct {
	Version *version.Info
	Groups  []*metav1.APIGroup
	Lists   []*metav1.APIResourceList
	Broken  error // of APIs that do not answer; nil when all do
}

// Reach asks the cluster for its version and kinds, at most every few seconds.
// It is the first thing to ask of a cluster: one that is not there is told
// soon.
func (c *Cluster) Reach(ctx context.Context) (*Served, error) {
	c.mu.Lock()
	served, at := c.served, c.servedAt
	c.mu.Unlock()
	if served != nil && time.Since(at) < fresh {
		return served, nil
	}
	// The discovery client takes no context; its requests end by themselves.
	// Callers at the same time share one answer.
	answers := c.asking.DoChan("", func() (any, error) { return c.ask() })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-answers:
		if a.Err != nil {
			return nil, a.Err
		}
		served, _ := a.Val.(*Served)
		c.mu.Lock()
		c.served, c.servedAt = served, time.Now()
		c.mu.Unlock()
		return served, nil
	}
}

func (c *Cluster) ask() (*Served, error) {
	version, err := c.discovery.ServerVersion()
	if err != nil {
		return nil, err
	}
	c.mapper.Reset() // also forgets what discovery has kept
	groups, lists, err := c.discovery.ServerGroupsAndResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	return &Served{Version: version, Groups: groups, Lists: lists, Broken: err}, nil
}

// Resource is the client for objects such as u: in u's namespace, or in
// namespace where u names none; of the whole cluster where its kind is in none.
func (c *Cluster) Resource(u *unstructured.Unstructured, namespace string) (dynamic.ResourceInterface, error) {
	kind := u.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return c.dynamic.Resource(mapping.Resource), nil
	}
	return c.dynamic.Resource(mapping.Resource).Namespace(cmp.Or(u.GetNamespace(), namespace)), nil
}

// KindGone tells whether err, of Resource or Mapper, means that the cluster does
// not have a kind any more. It is believed only when all of the cluster's APIs
// answered: then there can be no objects of that kind. Any other err comes back.
func (c *Cluster) KindGone(err error) (bool, error) {
	if !meta.IsNoMatchError(err) {
		return false, err
	}
	if _, failed := c.discovery.ServerPreferredResources(); failed != nil {
		return false, failed
	}
	return true, nil
}

// freshMapper asks the cluster again before it says that a kind is unknown:
// the kind may have been added since.
type freshMapper struct {
	*restmapper.DeferredDiscoveryRESTMapper
	mu   sync.Mutex
	last time.Time
}

func (m *freshMapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	mapping, err := m.DeferredDiscoveryRESTMapper.RESTMapping(gk, versions...)
	if meta.IsNoMatchError(err) && m.again() {
		return m.DeferredDiscoveryRESTMapper.RESTMapping(gk, versions...)
	}
	return mapping, err
}

// again forgets what is known, at most once a second.
func (m *freshMapper) again() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.last) < time.Second {
		return false
	}
	m.Reset()
	m.last = time.Now()
	return true
}
