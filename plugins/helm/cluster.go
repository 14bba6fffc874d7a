package helm

import (
	"context"
	"errors"
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
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// reachLimit is how long an API server may take to say what it is. It is the
	// first thing asked, so this is also how soon a silent one is given up.
	reachLimit = 12 * time.Second
	// maxClusters is how many clusters' connections are kept.
	maxClusters = 16
	// fresh is how long a cluster's list of kinds is believed. Charts ask it
	// which kinds there are, and other charts add some.
	fresh = 10 * time.Second
)

// silence keeps the libraries from writing to standard error on their own. What
// they have to say reaches people as errors, and Helm's warnings on values that
// do not fit repeat those values, secrets included.
func silence() {
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	log.SetOutput(io.Discard)
}

// clusters keeps connections and discovery results between calls.
type clusters struct {
	mu   sync.Mutex
	kept map[clusterKey]*cluster
}

// clusterKey changes when the kubeconfig's file does.
type clusterKey struct {
	path, context string
	modified      int64
	size          int64
}

func newClusters() *clusters { return &clusters{kept: map[clusterKey]*cluster{}} }

// open gets the cluster. It reads its kubeconfig and reaches out to nothing.
func (c *clusters) open(at sdk.Cluster) (*cluster, error) {
	key := clusterKey{path: at.Kubeconfig, context: at.Context}
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
	made, err := newCluster(at)
	if err != nil {
		return nil, err
	}
	for k, old := range c.kept {
		if k.path == key.path && k.context == key.context || len(c.kept) >= maxClusters {
			delete(c.kept, k)
			old.close()
		}
	}
	c.kept[key] = made
	return made, nil
}

// cluster is a way to an API server, shared by all steps that go there.
type cluster struct {
	host string
	base http.RoundTripper // with TLS and credentials

	discovery discovery.CachedDiscoveryInterface
	mapper    *freshMapper

	asking singleflight.Group
	mu     sync.Mutex
	caps   *chartutil.Capabilities
	capsAt time.Time
}

func newCluster(at sdk.Cluster) (*cluster, error) {
	config, err := loadConfig(at)
	if err != nil {
		return nil, err
	}
	config.Dial = (&net.Dialer{Timeout: dialLimit, KeepAlive: 30 * time.Second}).DialContext
	base, err := rest.TransportFor(config)
	if err != nil {
		return nil, badConfig(at, err)
	}
	if _, _, err := rest.DefaultServerUrlFor(config); err != nil {
		return nil, badConfig(at, err)
	}
	host, _, _ := rest.DefaultServerUrlFor(config)
	c := &cluster{host: host.String(), base: base}
	asking := c.config(context.Background())
	asking.Transport = &boundTransport{base: base, ctx: context.Background(), limit: reachLimit}
	client, err := discovery.NewDiscoveryClientForConfig(asking)
	if err != nil {
		return nil, badConfig(at, err)
	}
	c.discovery = memory.NewMemCacheClient(client)
	c.mapper = &freshMapper{DeferredDiscoveryRESTMapper: restmapper.NewDeferredDiscoveryRESTMapper(c.discovery)}
	return c, nil
}

func loadConfig(at sdk.Cluster) (*rest.Config, error) {
	if at.Kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: clusterName(at) + " has no kubeconfig, and Berth does not run inside a cluster: set `kubeconfig` in Berth's config.", Err: err}
		}
		return config, nil
	}
	raw, err := clientcmd.LoadFromFile(at.Kubeconfig)
	if err != nil {
		return nil, badConfig(at, err)
	}
	if at.Context != "" && raw.Contexts[at.Context] == nil {
		return nil, sdk.Invalid("%s has no context %q: check `context` in Berth's config.", kubeconfigName(at), clip(at.Context, 60))
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
		which += fmt.Sprintf(", context %q,", clip(at.Context, 60))
	}
	return sdk.Invalid("%s cannot be used: it is damaged, or names a cluster, user or certificate that is not there. `kubectl --kubeconfig … version` says more.", which)
}

func (c *cluster) close() {
	if t, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// config is a client configuration whose requests end with ctx. Connections
// are shared; the limits on requests are the API server's to set.
func (c *cluster) config(ctx context.Context) *rest.Config {
	return &rest.Config{
		Host:      c.host,
		Transport: &boundTransport{base: c.base, ctx: ctx, limit: answerLimit},
		UserAgent: "berth-helm/" + Version,
		QPS:       -1,
	}
}

// capabilities is what charts may ask of the cluster: its version and kinds.
// They are asked for again when they are older than a few seconds. It is also
// the first thing that is asked of a cluster, so it says when there is none.
func (c *cluster) capabilities(ctx context.Context) (*chartutil.Capabilities, error) {
	c.mu.Lock()
	caps, at := c.caps, c.capsAt
	c.mu.Unlock()
	if caps != nil && time.Since(at) < fresh {
		return caps.Copy(), nil
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
		caps, _ := a.Val.(*chartutil.Capabilities)
		c.mu.Lock()
		c.caps, c.capsAt = caps, time.Now()
		c.mu.Unlock()
		return caps.Copy(), nil
	}
}

func (c *cluster) ask() (*chartutil.Capabilities, error) {
	version, err := c.discovery.ServerVersion()
	if err != nil {
		return nil, err
	}
	c.mapper.Reset() // also forgets what discovery has kept
	versions, err := action.GetVersionSet(c.discovery)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	return &chartutil.Capabilities{
		APIVersions: versions,
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
		HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, nil
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

// getter hands a cluster to Helm. The context in it is the step's; Helm's
// interface has no place for one.
type getter struct {
	cluster   *cluster
	ctx       context.Context
	namespace string
}

func (g *getter) ToRESTConfig() (*rest.Config, error) { return g.cluster.config(g.ctx), nil }

func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.cluster.discovery, nil
}

func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.cluster.mapper, nil }

func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}
