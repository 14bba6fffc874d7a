package sdktest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// servesHostAlone starts the program with one certificate for the host, and asks
// it with that one, another, and none.
func (b *bench) servesHostAlone(t *testing.T) {
	if b.Command == nil {
		t.Skip("the executor is served in this process")
	}
	host, stranger := newCertificate(t), newCertificate(t)
	h := sdk.Handshake()
	p := b.start(t, h.MagicCookieKey+"="+h.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
		"PLUGIN_CLIENT_CERT="+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: host.Certificate[0]})))
	fields := strings.Split(p.hello(t), "|")
	if len(fields) < 6 || fields[5] == "" {
		t.Fatalf("its first line has no certificate, and so it does not serve with TLS though the host asks for it: %q", fields)
	}
	der, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil {
		t.Fatalf("the certificate in its first line is not base64 without padding: %v", err)
	}
	own, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("the certificate in its first line is none: %v", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(own)
	ask := func(creds credentials.TransportCredentials) error {
		conn, err := grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(creds))
		if err != nil {
			return err
		}
		defer conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), b.CancelWithin)
		defer cancel()
		_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
		return err
	}
	with := func(certs ...tls.Certificate) credentials.TransportCredentials {
		return credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: certs, MinVersion: tls.VersionTLS12})
	}
	if err := ask(with(host)); err != nil {
		t.Errorf("it does not tell its host that it is well: %v", err)
	}
	for who, creds := range map[string]credentials.TransportCredentials{
		"has another certificate than the host's": with(stranger),
		"has no certificate":                      with(),
		"does not use TLS":                        insecure.NewCredentials(),
	} {
		if ask(creds) == nil {
			t.Errorf("it serves somebody who %s; every process of this machine could have its credentials used", who)
		}
	}
}

// newCertificate is one like go-plugin makes: it signs itself.
func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost", Organization: []string{"sdktest"}}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		SerialNumber: serial, BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
