package kube

import (
	"encoding/base64"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	secret := "s3cr3t-v4lue"
	for name, text := range map[string]string{
		"a password in an address": "dial postgres://app:" + secret + "@db:5432/app failed",
		"a bearer token":           "Authorization: Bearer " + secret + secret,
		"a setting":                "DB_PASSWORD=" + secret + " next",
		"JSON":                     `{"apiKey": "` + secret + `"}`,
		"YAML":                     "client-secret: " + secret,
		"a private key":            "-----BEGIN RSA PRIVATE KEY-----\n" + secret + "\n-----END RSA PRIVATE KEY-----",
		"a JWT":                    "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0." + secret,
	} {
		if got := Redact(text); strings.Contains(got, secret) {
			t.Errorf("%s: %s", name, got)
		}
	}
	m := NewMasker(RandomKey(), map[string]any{"db": map[string]any{"password": "hunter22"}}, []*unstructured.Unstructured{ObjectOf(map[string]any{
		"kind": "Secret", "data": map[string]any{"a": base64.StdEncoding.EncodeToString([]byte("from-data"))}, "stringData": map[string]any{"b": "from-text"},
	})})
	if got := m.Text("hunter22 from-data from-text plain"); got != "*** *** *** plain" {
		t.Errorf("got %q", got)
	}
	for _, plain := range []string{"3 tokens left", "image nginx:1.29 cannot be pulled", "secretName: tls", "pod web-1 is not ready"} {
		if got := Redact(plain); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}
