package actions

import (
	"io"
	"os"

	"go.yaml.in/yaml/v3"
)

// maxKubeconfig is the longest kubeconfig that is looked into, in bytes. Those
// of people with a hundred clusters have less than one MiB.
const maxKubeconfig = 4 << 20

// kubeconfig is what of a kubeconfig decides which cluster is meant. Who one is
// there is left out: credentials are renewed without anything else changing.
// Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Contexts       []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Clusters []struct {
		Name    string `yaml:"name"`
		Cluster struct {
			Server        string `yaml:"server"`
			TLSServerName string `yaml:"tls-server-name"`
			Insecure      bool   `yaml:"insecure-skip-tls-verify"`
			Authority     string `yaml:"certificate-authority-data"`
			AuthorityFile string `yaml:"certificate-authority"`
			Proxy         string `yaml:"proxy-url"`
		} `yaml:"cluster"`
	} `yaml:"clusters"`
}

// serverOf tells which API server a cluster's kubeconfig leads to, and how it is
// told apart from another one. It is text to compare, not to show. "" stands for
// none: the in-cluster account, or a file that cannot be read, of which the
// executors that need it say what is wrong.
func serverOf(c Cluster) string {
	if c.Kubeconfig == "" {
		return ""
	}
	f, err := os.Open(c.Kubeconfig)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxKubeconfig))
	if err != nil {
		return ""
	}
	return serverIn(text, c.Context)
}

// serverIn is serverOf for a kubeconfig's text; "" means its current context.
func serverIn(text []byte, context string) string {
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return ""
	}
	if context == "" {
		context = k.CurrentContext
	}
	for _, c := range k.Contexts {
		if c.Name != context {
			continue
		}
		for _, cluster := range k.Clusters {
			if cluster.Name != c.Context.Cluster {
				continue
			}
			said, err := yaml.Marshal(cluster.Cluster)
			if err != nil {
				return ""
			}
			return string(said)
		}
	}
	return ""
}
