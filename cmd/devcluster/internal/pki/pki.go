// Package pki makes the certificates of a cluster, once: a restart finds them
// where they were, so that a kubeconfig stays valid for as long as the data
// directory exists.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime of every certificate. They protect a loopback cluster with test data
// and nobody renews them, so they outlive the directory that they are in.
const lifetime = 10 * 365 * 24 * time.Hour

// Names of the certificates in the directory, without ".crt" and ".key".
const (
	CA                 = "ca"
	FrontProxyCA       = "front-proxy-ca"
	APIServer          = "apiserver"
	Kubelet            = "kubelet"                  // serves the nodes' kubelet API
	KubeletClient      = "apiserver-kubelet-client" // what the API server shows to a kubelet
	FrontProxyClient   = "front-proxy-client"
	Admin              = "admin"
	ControllerManager  = "kube-controller-manager"
	Scheduler          = "kube-scheduler"
	KWOK               = "kwok"
	ServiceAccountKeys = "service-account" // a key alone
)

// KubeletClientName is the common name that a kubelet lets in.
const KubeletClientName = "kube-apiserver-kubelet-client"

type leaf struct {
	name, commonName string
	organization     []string
	ca               string
	server           bool
}

// leaves are all certificates but the authorities'. The scheduler has the role
// that Kubernetes gives it by its name. The controller manager would need a
// service account per controller, which makes a start slower, and KWOK plays
// every kubelet at once, for which there is no role: both may do everything.
var leaves = []leaf{
	{name: APIServer, commonName: "kube-apiserver", ca: CA, server: true},
	{name: Kubelet, commonName: "kubelet", ca: CA, server: true},
	{name: KubeletClient, commonName: KubeletClientName, organization: []string{"system:masters"}, ca: CA},
	{name: FrontProxyClient, commonName: FrontProxyClient, ca: FrontProxyCA},
	{name: Admin, commonName: "devcluster-admin", organization: []string{"system:masters"}, ca: CA},
	{name: ControllerManager, commonName: "system:kube-controller-manager", organization: []string{"system:masters"}, ca: CA},
	{name: Scheduler, commonName: "system:kube-scheduler", ca: CA},
	{name: KWOK, commonName: "devcluster-kwok", organization: []string{"system:masters"}, ca: CA},
}

// Ensure makes dir with all keys and certificates if it is not there. It appears
// in one step: an interrupted start leaves no half of it. serviceIP is the
// address of the service `kubernetes` in the cluster.
func Ensure(dir string, serviceIP net.IP) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(part, 0o700); err != nil {
		return err
	}
	if err := create(part, serviceIP); err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	return os.Rename(part, dir)
}

func create(dir string, serviceIP net.IP) error {
	cas := map[string]*authority{}
	for _, name := range []string{CA, FrontProxyCA} {
		a, err := newAuthority(dir, name)
		if err != nil {
			return err
		}
		cas[name] = a
	}
	for _, l := range leaves {
		if err := cas[l.ca].issue(dir, l, serviceIP); err != nil {
			return err
		}
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	// Kubernetes reads an elliptic-curve key for service accounts in SEC 1 form
	// alone (k8s.io/client-go/util/keyutil).
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, ServiceAccountKeys+".key"), "EC PRIVATE KEY", der)
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(dir, name string) (*authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	tmpl, err := template("devcluster-" + name)
	if err != nil {
		return nil, err
	}
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	a := &authority{cert: tmpl, key: key}
	return a, a.write(dir, name, tmpl, key)
}

func (a *authority) issue(dir string, l leaf, serviceIP net.IP) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	tmpl, err := template(l.commonName)
	if err != nil {
		return err
	}
	tmpl.Subject.Organization = l.organization
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if l.server {
		tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), serviceIP}
		tmpl.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	}
	return a.write(dir, l.name, tmpl, key)
}

func (a *authority) write(dir, name string, tmpl *x509.Certificate, key *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return err
	}
	if err := writeKey(dir, name, key); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der)
}

func template(commonName string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(lifetime),
	}, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, name+".key"), "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
