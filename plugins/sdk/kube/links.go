package kube

import (
	"context"
	"net"
	neturl "net/url"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/berth-dev/berth/plugins/sdk"
)

// AnnotationURL on any object is an address that people open.
const AnnotationURL = "berth.dev/url"

// maxLinks is how many links one part shows.
const maxLinks = 10

// Links are the addresses under which the objects of f can be opened: url, where
// the settings say one, those that objects are annotated with, then Ingress,
// Gateway API and Services with an address of their own.
func (c *Cluster) Links(ctx context.Context, f *Sight, url string, mask *Masker) []sdk.Link {
	var out []sdk.Link
	add := func(name, address string) {
		u, err := neturl.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return
		}
		known := slices.ContainsFunc(out, func(l sdk.Link) bool { return l.URL == address })
		if !known && len(out) < maxLinks {
			out = append(out, sdk.Link{Name: name, URL: mask.ExactText(address)})
		}
	}
	if url != "" {
		add("url", url)
	}
	for _, o := range f.Objects {
		if o.Live != nil {
			add(o.Live.GetName(), o.Live.GetAnnotations()[AnnotationURL])
		}
	}
	for _, kind := range []struct {
		name string
		of   func(context.Context, *unstructured.Unstructured) []string
	}{
		{"Ingress.networking.k8s.io", func(_ context.Context, u *unstructured.Unstructured) []string { return ingressURLs(u) }},
		{"HTTPRoute.gateway.networking.k8s.io", c.routeURLs},
		{"Service.", func(_ context.Context, u *unstructured.Unstructured) []string { return serviceURLs(u) }},
	} {
		for _, o := range f.Objects {
			if o.Live == nil || GroupKind(o.Live) != kind.name {
				continue
			}
			for _, address := range kind.of(ctx, o.Live) {
				add(o.Live.GetName(), address)
			}
		}
	}
	return out
}

// ingressURLs has one address for each rule: https where TLS is set up for its
// host. A rule for any host is reached at the load balancer's address.
func ingressURLs(u *unstructured.Unstructured) []string {
	var secure []string
	wildcardTLS := false
	for _, t := range eachMap(u.Object, "spec", "tls") {
		hosts, _, _ := unstructured.NestedStringSlice(t, "hosts")
		secure = append(secure, hosts...)
		wildcardTLS = wildcardTLS || len(hosts) == 0
	}
	var out []string
	for _, rule := range eachMap(u.Object, "spec", "rules") {
		host, _ := rule["host"].(string)
		scheme := "http"
		if wildcardTLS || slices.ContainsFunc(secure, func(s string) bool { return hostMatches(s, host) }) {
			scheme = "https"
		}
		if host == "" {
			host = loadBalancer(u)
		}
		if host == "" || strings.HasPrefix(host, "*") {
			continue
		}
		out = append(out, scheme+"://"+host+firstPath(rule))
	}
	return out
}

// firstPath is the path of a rule's first backend, "" for the root.
func firstPath(rule map[string]any) string {
	all := eachMap(rule, "http", "paths")
	if len(all) == 0 {
		return ""
	}
	path, _ := all[0]["path"].(string)
	if path == "/" || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "(*[$^\\") {
		return ""
	}
	return path
}

func hostMatches(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		_, rest, found := strings.Cut(host, ".")
		return found && "."+rest == suffix
	}
	return pattern == host
}

// loadBalancer is the first address that status.loadBalancer has.
func loadBalancer(u *unstructured.Unstructured) string {
	for _, i := range eachMap(u.Object, "status", "loadBalancer", "ingress") {
		for _, key := range []string{"hostname", "ip"} {
			if host, _ := i[key].(string); host != "" {
				return bracketed(host)
			}
		}
	}
	return ""
}

// serviceURLs has an address for each TCP port of a Service that has one of its
// own.
func serviceURLs(u *unstructured.Unstructured) []string {
	host := loadBalancer(u)
	if host == "" {
		return nil
	}
	var out []string
	for _, p := range eachMap(u.Object, "spec", "ports") {
		port, _ := p["port"].(int64)
		if protocol, _ := p["protocol"].(string); protocol != "" && protocol != "TCP" {
			continue
		}
		switch port {
		case 80:
			out = append(out, "http://"+host)
		case 443:
			out = append(out, "https://"+host)
		default:
			scheme := "http"
			if name, _ := p["name"].(string); strings.HasPrefix(name, "https") || port == 8443 {
				scheme = "https"
			}
			out = append(out, scheme+"://"+host+":"+strconv.FormatInt(port, 10))
		}
	}
	return out
}

func bracketed(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}

// routeURLs has an address for each host of a Gateway API route; its Gateways
// say whether that is https, and give the host where the route has none.
func (c *Cluster) routeURLs(ctx context.Context, route *unstructured.Unstructured) []string {
	hosts, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	var out []string
	for _, ref := range eachMap(route.Object, "spec", "parentRefs") {
		if kind, _ := ref["kind"].(string); kind != "" && kind != "Gateway" {
			continue
		}
		name, _ := ref["name"].(string)
		namespace, _ := ref["namespace"].(string)
		if namespace == "" {
			namespace = route.GetNamespace()
		}
		section, _ := ref["sectionName"].(string)
		gateway := c.gateway(ctx, route.GroupVersionKind().GroupVersion(), namespace, name)
		for _, l := range gatewayListeners(gateway, section) {
			all := hosts
			if len(all) == 0 {
				all = []string{l.host}
			}
			for _, h := range all {
				if h != "" && !strings.HasPrefix(h, "*") && (l.host == "" || hostMatches(l.host, h) || l.address) {
					out = append(out, l.scheme+"://"+h+l.port)
				}
			}
		}
	}
	if len(out) == 0 {
		for _, h := range hosts {
			if !strings.HasPrefix(h, "*") {
				out = append(out, "http://"+h)
			}
		}
	}
	// People want the safe address first.
	slices.SortStableFunc(out, func(a, b string) int {
		return strings.Compare(strings.SplitN(b, ":", 2)[0], strings.SplitN(a, ":", 2)[0])
	})
	return out
}

// gateway gets a Gateway, nil when it cannot be seen: links are then guessed
// from the route alone.
func (c *Cluster) gateway(ctx context.Context, gv schema.GroupVersion, namespace, name string) *unstructured.Unstructured {
	g, err := c.dynamic.Resource(gv.WithResource("gateways")).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return g
}

type listener struct {
	scheme, host, port string
	address            bool // host is the Gateway's address, since the listener takes any host
}

// gatewayListeners are the HTTP and HTTPS listeners, or the one of that name.
func gatewayListeners(g *unstructured.Unstructured, section string) []listener {
	if g == nil {
		return nil
	}
	address := ""
	for _, a := range eachMap(g.Object, "status", "addresses") {
		if v, _ := a["value"].(string); v != "" {
			address = bracketed(v)
			break
		}
	}
	var out []listener
	for _, raw := range eachMap(g.Object, "spec", "listeners") {
		if name, _ := raw["name"].(string); section != "" && name != section {
			continue
		}
		l := listener{}
		switch protocol, _ := raw["protocol"].(string); protocol {
		case "HTTP":
			l.scheme = "http"
		case "HTTPS":
			l.scheme = "https"
		default:
			continue
		}
		l.host, _ = raw["hostname"].(string)
		if l.host == "" {
			l.host, l.address = address, true
		}
		if port, _ := raw["port"].(int64); port != 80 && l.scheme == "http" || port != 443 && l.scheme == "https" {
			l.port = ":" + strconv.FormatInt(port, 10)
		}
		out = append(out, l)
	}
	return out
}

// eachMap are the maps in the list at path.
func eachMap(content map[string]any, path ...string) []map[string]any {
	v, _, _ := unstructured.NestedFieldNoCopy(content, path...)
	list, _ := v.([]any)
	var out []map[string]any
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
