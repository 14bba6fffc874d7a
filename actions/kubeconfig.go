package actions

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxKubeconfig is the longest kubeconfig, or certificate that it names, that
// is looked into, in bytes. Those of people with a hundred clusters have less
// than one MiB.
const maxKubeconfig = 4 << 20

// kubeconfig is what of a kubeconfig decides which cluster is meant. Who one is
// there is left out, and so is the way to it: credentials are renewed, and
// proxies differ from machine to machine, without anything else changing.
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
		Name    string        `yaml:"name"`
		Cluster kubeconfigAPI `yaml:"cluster"`
	} `yaml:"clusters"`
}

// kubeconfigAPI is an API server, and how it is told from another.
type kubeconfigAPI struct {
	Server        string `yaml:"server"`
	TLSServerName string `yaml:"tls-server-name"`
	Insecure      bool   `yaml:"insecure-skip-tls-verify"`
	Authority     string `yaml:"certificate-authority-data"` // base64
	AuthorityFile string `yaml:"certificate-authority"`      // relative to the kubeconfig
}

// serverOf tells which API server a cluster's kubeconfig leads to, and how it is
// told from another one. It is text to compare, not to show. "" stands for none:
// the in-cluster account, or a file that cannot be read, of which the executors
// that need it say what is wrong.
func serverOf(c Cluster) string {
	if c.EKS.Name != "" {
		return fmt.Sprintf("eks %q %q", c.EKS.Region, c.EKS.Name)
	}
	if c.Kubeconfig == "" {
		return ""
	}
	text, err := readAtMost(c.Kubeconfig, maxKubeconfig)
	if err != nil {
		return ""
	}
	api, ok := apiIn(text, c.Context)
	if !ok {
		return ""
	}
	authority := api.Authority
	if plain, err := base64.StdEncoding.DecodeString(authority); err == nil {
		authority = string(plain)
	}
	if authority == "" && api.AuthorityFile != "" {
		file := api.AuthorityFile
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(c.Kubeconfig), file)
		}
		if text, err := readAtMost(file, maxKubeconfig); err == nil {
			authority = string(text)
		}
	}
	return fmt.Sprintf("%q %q %t %q", strings.TrimSuffix(api.Server, "/"), api.TLSServerName, api.Insecure, strings.TrimSpace(authority))
}

// apiIn finds the API server of a context in a kubeconfig's text; "" means its
// current context.
func apiIn(text []byte, context string) (kubeconfigAPI, bool) {
	var k kubeconfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return kubeconfigAPI{}, false
	}
	if context == "" {
		context = k.CurrentContext
	}
	for _, c := range k.Contexts {
		if c.Name != context {
			continue
		}
		for _, cluster := range k.Clusters {
			if cluster.Name == c.Context.Cluster {
				return cluster.Cluster, true
			}
		}
	}
	return kubeconfigAPI{}, false
}

func readAtMost(path string, most int64) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the path is the operator's configuration
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, most))
}
