package helm

import (
	"context"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// capabilities is what charts may ask of the cluster: its version and kinds. It
// is also the first thing that is asked of a cluster, so it says when there is
// none.
func capabilities(ctx context.Context, c *kube.Cluster) (*chartutil.Capabilities, error) {
	served, err := c.Reach(ctx)
	if err != nil {
		return nil, err
	}
	versions, err := action.GetVersionSet(answered{c.Discovery(), served})
	if err != nil {
		return nil, err
	}
	return &chartutil.Capabilities{
		APIVersions: versions,
		KubeVersion: chartutil.KubeVersion{Version: served.Version.GitVersion, Major: served.Version.Major, Minor: served.Version.Minor},
		HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, nil
}

// answered is what a cluster has said already, as Helm asks for it.
type answered struct {
	discovery.ServerResourcesInterface
	served *kube.Served
}

func (a answered) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	return a.served.Groups, a.served.Lists, nil
}

// getter hands a cluster to Helm. The context in it is the step's; Helm's
// interface has no place for one.
type getter struct {
	cluster   *kube.Cluster
	ctx       context.Context
	namespace string
}

func (g *getter) ToRESTConfig() (*rest.Config, error) { return g.cluster.Config(g.ctx), nil }

func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.cluster.Discovery(), nil
}

func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.cluster.Mapper(), nil }

func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}
