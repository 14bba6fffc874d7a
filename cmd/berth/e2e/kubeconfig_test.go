package e2e

import (
	"net"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// goneKubeconfig points at an address where nobody listens.
func goneKubeconfig(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := l.Addr().String()
	must(t, l.Close())
	config := clientcmdapi.NewConfig()
	config.Clusters["gone"] = &clientcmdapi.Cluster{Server: "https://" + addr, InsecureSkipTLSVerify: true}
	config.AuthInfos["nobody"] = &clientcmdapi.AuthInfo{Token: "none"}
	return write(t, config, "gone", "nobody")
}

// poorKubeconfig is of an account that may do nothing.
func poorKubeconfig(t testing.TB, w *world) string {
	t.Helper()
	ctx := t.Context()
	accounts := w.client.CoreV1().ServiceAccounts("default")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "poor"}}
	if _, err := accounts.Create(ctx, account, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		must(t, err)
	}
	token, err := accounts.CreateToken(ctx, "poor", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	admin, err := clientcmd.LoadFromFile(w.kubeconfig)
	must(t, err)
	config := clientcmdapi.NewConfig()
	config.Clusters["poor"] = admin.Clusters[admin.Contexts[admin.CurrentContext].Cluster]
	config.AuthInfos["poor"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	return write(t, config, "poor", "poor")
}

// write puts a config with one context into a file.
func write(t testing.TB, config *clientcmdapi.Config, cluster, user string) string {
	t.Helper()
	config.Contexts["it"] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: user}
	config.CurrentContext = "it"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, clientcmd.WriteToFile(*config, path))
	return path
}
