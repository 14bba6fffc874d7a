package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestCertificatesAreMadeOnceAndFitTheirAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	ip := net.IPv4(10, 96, 0, 1)
	if err := Ensure(dir, ip); err != nil {
		t.Fatal(err)
	}
	for _, l := range leaves {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, l.name+".crt"), filepath.Join(dir, l.name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		ca, err := os.ReadFile(filepath.Join(dir, l.ca+".crt"))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		opts := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if l.server {
			opts.KeyUsages, opts.DNSName = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, "127.0.0.1"
		}
		if _, err := pair.Leaf.Verify(opts); err != nil {
			t.Errorf("%s: %v", l.name, err)
		}
	}

	before, err := os.ReadFile(filepath.Join(dir, Admin+".key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := Ensure(dir, ip); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, Admin+".key"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("a second call made them anew")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", f, info.Mode(), err)
		}
	}
}

func TestAnInterruptedStartIsMadeGood(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	if err := os.MkdirAll(dir+".part", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(dir, net.IPv4(10, 96, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ServiceAccountKeys+".key")); err != nil {
		t.Error(err)
	}
}
