package cluster

import (
	"fmt"
	"os"

	"github.com/berth-dev/berth/cmd/devcluster/internal/pki"
	"github.com/berth-dev/berth/cmd/devcluster/internal/stages"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// schedulerConfig enables the plugin that keeps pods Pending on demand.
const schedulerConfig = `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: %q, qps: 200, burst: 400}
leaderElection: {leaderElect: false}
enableProfiling: false
profiles:
- schedulerName: default-scheduler
  plugins:
    filter:
      enabled: [{name: %s}]
`

// writeConfigs writes the configuration files of all components, and the
// kubeconfigs.
func (c *cluster) writeConfigs() error {
	kwok, err := stages.KWOKConfig()
	if err != nil {
		return err
	}
	scheduler := fmt.Sprintf(schedulerConfig, c.dir.config(pki.Scheduler+".kubeconfig"), stages.SchedulerPlugin)
	for path, data := range map[string][]byte{
		c.dir.config("kwok.yaml"):      kwok,
		c.dir.config("scheduler.yaml"): []byte(scheduler),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	for user, path := range map[string]string{
		pki.Admin:             c.dir.kubeconfig(),
		pki.ControllerManager: c.dir.config(pki.ControllerManager + ".kubeconfig"),
		pki.Scheduler:         c.dir.config(pki.Scheduler + ".kubeconfig"),
		pki.KWOK:              c.dir.config(pki.KWOK + ".kubeconfig"),
	} {
		if err := c.writeKubeconfig(path, user); err != nil {
			return fmt.Errorf("kubeconfig of %s: %w", user, err)
		}
	}
	return nil
}

// writeKubeconfig writes a kubeconfig that holds its certificates itself, so
// that it can be copied elsewhere.
func (c *cluster) writeKubeconfig(path, user string) error {
	const name = "devcluster"
	ca, err := os.ReadFile(c.dir.cert(pki.CA))
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(c.dir.cert(user))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.dir.key(user))
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: c.server(), CertificateAuthorityData: ca}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: user}
	config.CurrentContext = name
	return clientcmd.WriteToFile(*config, path)
}
