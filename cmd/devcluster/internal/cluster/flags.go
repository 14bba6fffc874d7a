package cluster

import (
	"fmt"
	"net"

	"github.com/berth-dev/berth/cmd/devcluster/internal/pki"
)

// Addresses inside the cluster. Nothing on the machine has them. KWOK's own
// default for pods would collide with the services'.
const (
	serviceCIDR = "10.96.0.0/16"
	podCIDR     = "10.244.0.0/16"
)

// serviceIP is the service `kubernetes`: the first address of serviceCIDR.
var serviceIP = net.IPv4(10, 96, 0, 1)

func (c *cluster) etcdFlags(temporary bool) []string {
	flags := []string{
		"--data-dir=" + c.dir.etcdData(),
		"--client=unix://" + etcdSocket,
		"--peer=unix://" + etcdPeerSocket,
	}
	if temporary {
		flags = append(flags, "--remove-on-exit="+string(c.dir))
	}
	return flags
}

func (c *cluster) apiServerFlags() []string {
	return []string{
		"--etcd-servers=unix://" + etcdSocket,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", c.ports.APIServer),
		// An endpoint must not be on loopback. This one is reserved for
		// documentation (RFC 5737, TEST-NET-1), and nothing dials it.
		"--advertise-address=192.0.2.1",
		"--tls-cert-file=" + c.dir.cert(pki.APIServer),
		"--tls-private-key-file=" + c.dir.key(pki.APIServer),
		"--client-ca-file=" + c.dir.cert(pki.CA),
		"--kubelet-certificate-authority=" + c.dir.cert(pki.CA),
		"--kubelet-client-certificate=" + c.dir.cert(pki.KubeletClient),
		"--kubelet-client-key=" + c.dir.key(pki.KubeletClient),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + c.dir.cert(pki.FrontProxyCA),
		"--requestheader-allowed-names=" + pki.FrontProxyClient,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.dir.cert(pki.FrontProxyClient),
		"--proxy-client-key-file=" + c.dir.key(pki.FrontProxyClient),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.dir.key(pki.ServiceAccountKeys),
		"--service-account-signing-key-file=" + c.dir.key(pki.ServiceAccountKeys),
		"--service-cluster-ip-range=" + serviceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
	}
}

func (c *cluster) controllerManagerFlags() []string {
	return []string{
		"--kubeconfig=" + c.dir.config(pki.ControllerManager+".kubeconfig"),
		"--leader-elect=false",
		"--secure-port=0",
		"--service-account-private-key-file=" + c.dir.key(pki.ServiceAccountKeys),
		"--root-ca-file=" + c.dir.cert(pki.CA),
		"--cluster-signing-cert-file=" + c.dir.cert(pki.CA),
		"--cluster-signing-key-file=" + c.dir.key(pki.CA),
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--profiling=false",
	}
}

func (c *cluster) schedulerFlags() []string {
	return []string{
		"--config=" + c.dir.config("scheduler.yaml"),
		"--secure-port=0",
	}
}

func (c *cluster) kwokFlags() []string {
	return []string{
		"--kubeconfig=" + c.dir.config(pki.KWOK+".kubeconfig"),
		"--config=" + c.dir.config("kwok.yaml"),
		"--manage-all-nodes=true",
		"--node-ip=127.0.0.1",
		"--cidr=" + podCIDR,
		"--node-lease-duration-seconds=40",
		// KWOK's own server stays off: given a port and no address, it would listen
		// on all interfaces. Package node serves the kubelet API.
		"--node-port=0",
		"--server-address=",
	}
}
