package kube

import (
	"reflect"
	"testing"
)

func TestIngressURLs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		object string
		want   []string
	}{
		"a host":                         {"spec: {rules: [{host: a.org}]}", []string{"http://a.org"}},
		"a host with TLS":                {"spec: {tls: [{hosts: [a.org]}], rules: [{host: a.org}, {host: b.org}]}", []string{"https://a.org", "http://b.org"}},
		"TLS by wildcard":                {`spec: {tls: [{hosts: ["*.x.org"]}], rules: [{host: a.x.org}, {host: a.b.x.org}]}`, []string{"https://a.x.org", "http://a.b.x.org"}},
		"TLS for all":                    {"spec: {tls: [{secretName: s}], rules: [{host: a.org}]}", []string{"https://a.org"}},
		"a path":                         {"spec: {rules: [{host: a.org, http: {paths: [{path: /shop}]}}]}", []string{"http://a.org/shop"}},
		"a pattern is no path":           {`spec: {rules: [{host: a.org, http: {paths: [{path: "/(.*)"}]}}]}`, []string{"http://a.org"}},
		"no host, with an address":       {"{spec: {rules: [{}]}, status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}}", []string{"http://10.0.0.1"}},
		"no host, with an IPv6 address":  {`{spec: {rules: [{}]}, status: {loadBalancer: {ingress: [{ip: "fd00::1"}]}}}`, []string{"http://[fd00::1]"}},
		"no host and no address":         {"spec: {rules: [{}]}", nil},
		"a wildcard is no address":       {`spec: {rules: [{host: "*.a.org"}]}`, nil},
		"things that are not as thought": {"spec: {rules: [1, x, {host: 5}], tls: nope}", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := ingressURLs(parse(t, tt.object)); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestServiceURLs(t *testing.T) {
	t.Parallel()
	u := parse(t, "{spec: {ports: [{port: 80}, {port: 443}, {port: 3000}, {port: 8443}, {port: 53, protocol: UDP}]}, status: {loadBalancer: {ingress: [{hostname: lb.org}]}}}")
	want := []string{"http://lb.org", "https://lb.org", "http://lb.org:3000", "https://lb.org:8443"}
	if got := serviceURLs(u); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestGatewayListeners(t *testing.T) {
	t.Parallel()
	g := parse(t, `{spec: {listeners: [{name: a, protocol: HTTP, port: 80, hostname: "*.x.org"}, {name: b, protocol: HTTPS, port: 443}, {name: c, protocol: TCP, port: 1}, {name: d, protocol: HTTPS, port: 8443}]}, status: {addresses: [{value: 10.0.0.1}]}}`)
	want := []listener{{scheme: "http", host: "*.x.org"}, {scheme: "https", host: "10.0.0.1", address: true}, {scheme: "https", host: "10.0.0.1", port: ":8443", address: true}}
	if got := gatewayListeners(g, ""); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := gatewayListeners(g, "b"); len(got) != 1 || got[0].scheme != "https" {
		t.Errorf("by name: %+v", got)
	}
	if got := gatewayListeners(nil, ""); got != nil {
		t.Errorf("of none: %+v", got)
	}
}
