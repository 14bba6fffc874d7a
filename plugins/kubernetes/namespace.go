package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// namespaceBlock is what the environment's namespace gets beside its marks.
type namespaceBlock struct {
	Labels         map[string]string `json:"labels"`
	Annotations    map[string]string `json:"annotations"`
	Quota          map[string]any    `json:"quota"`
	Limits         *limits           `json:"limits"`
	Network        any               `json:"network"` // "isolated", "open" or a networkMore
	ServiceAccount *struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"service_account"`
	PullSecrets []string `json:"pull_secrets"`

	more *networkMore // nil when the network is open
}

type limits struct {
	Default        map[string]any `json:"default"`
	DefaultRequest map[string]any `json:"default_request"`
	Min            map[string]any `json:"min"`
	Max            map[string]any `json:"max"`
}

type networkMore struct {
	From []string `json:"from"`
	To   []string `json:"to"` // nil: everywhere; empty: the namespace itself and DNS alone
}

// readNamespace puts the part's `namespace` over the platform's and checks it.
func (s *settings) readNamespace(step sdk.Step) error {
	b := s.raw.Namespace
	if b == nil {
		return nil
	}
	def := s.platform.Namespace
	b.Labels, b.Annotations = merged(def.Labels, b.Labels), merged(def.Annotations, b.Annotations)
	if b.Quota == nil {
		b.Quota = def.Quota
	}
	if b.Limits == nil {
		b.Limits = def.Limits
	}
	if b.Network == nil {
		b.Network = def.Network
	}
	if b.ServiceAccount == nil {
		b.ServiceAccount = def.ServiceAccount
	}
	if b.PullSecrets == nil {
		b.PullSecrets = def.PullSecrets
	}
	for _, key := range slices.Sorted(maps.Keys(b.Labels)) {
		if strings.HasPrefix(key, ownMarks) || key == kube.LabelManagedBy {
			return sdk.Invalid("The label %q of a namespace is Berth's own to set; leave it out.", kube.Clip(key, 80))
		}
	}
	return s.checkNamespace(b, step)
}

func (s *settings) checkNamespace(b *namespaceBlock, step sdk.Step) error {
	tables := map[string]map[string]any{"quota": b.Quota}
	if b.Limits != nil {
		tables["limits.default"], tables["limits.default_request"] = b.Limits.Default, b.Limits.DefaultRequest
		tables["limits.min"], tables["limits.max"] = b.Limits.Min, b.Limits.Max
	}
	for _, what := range slices.Sorted(maps.Keys(tables)) {
		for _, name := range slices.Sorted(maps.Keys(tables[what])) {
			q := tables[what][name]
			if _, err := resource.ParseQuantity(plainText(q)); err != nil {
				return sdk.Invalid("`%s` of %q is %q, which is no quantity; write one such as 500m or 2Gi.", what, kube.Clip(name, 60), kube.Clip(plainText(q), 40))
			}
		}
	}
	if a := b.ServiceAccount; a != nil && a.Name != "" {
		if err := readName("The `name` of `service_account`", a.Name); err != nil {
			return err
		}
	}
	for _, from := range b.PullSecrets {
		ns, name, ok := strings.Cut(from, "/")
		if !ok || len(validation.IsDNS1123Label(ns)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
			return sdk.Invalid("%q under `pull_secrets` is no NAMESPACE/NAME of a Secret.", kube.Clip(from, 120))
		}
		if !contains(s.platform.PullSecretNamespaces, ns) && ns != step.Namespace {
			return sdk.Invalid("The pull secret %q may not be copied: `pull_secret_namespaces` in the kubernetes executor's `settings` does not have %q.", kube.Clip(from, 120), ns)
		}
	}
	return b.readNetwork()
}

func (b *namespaceBlock) readNetwork() error {
	switch n := b.Network.(type) {
	case nil:
		b.more = &networkMore{}
	case string:
		switch n {
		case "open":
		case "isolated":
			b.more = &networkMore{}
		default:
			return sdk.Invalid("`network` is %q; write isolated, open, or what may be reached beside.", kube.Clip(n, 40))
		}
	default:
		b.more = &networkMore{}
		if err := decodeLoose(n, b.more); err != nil {
			return sdk.Invalid("`network` is neither isolated, open nor {from, to}: %v.", err)
		}
	}
	if b.more == nil {
		return nil
	}
	for _, name := range b.more.From {
		if len(validation.IsDNS1123Label(name)) > 0 {
			return sdk.Invalid("%q under `network.from` is no name of a namespace.", kube.Clip(name, 80))
		}
	}
	for _, to := range b.more.To {
		if _, err := netip.ParsePrefix(to); err != nil && len(validation.IsDNS1123Label(to)) > 0 {
			return sdk.Invalid("%q under `network.to` is neither a CIDR nor a name of a namespace.", kube.Clip(to, 80))
		}
	}
	return nil
}

// Names of what the namespace gets.
const (
	nameQuota   = "berth-quota"
	nameLimits  = "berth-limits"
	nameNetwork = "berth-isolated"
)

// objects are what the block makes, without copied secrets.
func (b *namespaceBlock) objects(p *platform) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	add := func(version, kind, name string, content map[string]any) {
		content["apiVersion"], content["kind"] = version, kind
		meta, _ := content["metadata"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
		}
		meta["name"] = name
		content["metadata"] = meta
		out = append(out, kube.ObjectOf(content))
	}
	if len(b.Quota) > 0 {
		add("v1", "ResourceQuota", nameQuota, map[string]any{"spec": map[string]any{"hard": texts(b.Quota)}})
	}
	if l := b.Limits; l != nil {
		item := map[string]any{"type": "Container"}
		for key, values := range map[string]map[string]any{"default": l.Default, "defaultRequest": l.DefaultRequest, "min": l.Min, "max": l.Max} {
			if len(values) > 0 {
				item[key] = texts(values)
			}
		}
		add("v1", "LimitRange", nameLimits, map[string]any{"spec": map[string]any{"limits": []any{item}}})
	}
	if b.more != nil {
		add("networking.k8s.io/v1", "NetworkPolicy", nameNetwork, map[string]any{"spec": b.more.policy(p.IngressNamespaces)})
	}
	if a := b.ServiceAccount; a != nil || len(b.PullSecrets) > 0 {
		content, name := map[string]any{}, defaultServiceUser
		if a != nil {
			name = orWord(a.Name, name)
			if len(a.Annotations) > 0 {
				content["metadata"] = map[string]any{"annotations": texts(a.Annotations)}
			}
		}
		if len(b.PullSecrets) > 0 {
			var refs []any
			for _, from := range b.PullSecrets {
				_, secret, _ := strings.Cut(from, "/")
				refs = append(refs, map[string]any{"name": secret})
			}
			content["imagePullSecrets"] = refs
		}
		add("v1", "ServiceAccount", name, content)
	}
	return out
}

// policy lets pods of the namespace talk to one another, and ingress controllers
// in; and what is said beside that. Where pods may call is limited only when `to`
// says so, since a database beside the environment is what most of them need, and
// on clouds it has an address like any pod's; environments are kept apart all the
// same, since each lets nobody in.
func (m *networkMore) policy(ingress []string) map[string]any {
	own := map[string]any{"podSelector": map[string]any{}}
	space := func(names []string) map[string]any {
		return map[string]any{"namespaceSelector": map[string]any{"matchExpressions": []any{
			map[string]any{"key": "kubernetes.io/metadata.name", "operator": "In", "values": anys(names)},
		}}}
	}
	from := []any{own}
	if names := append(append([]string{}, ingress...), m.From...); len(names) > 0 {
		from = append(from, space(names))
	}
	policy := map[string]any{
		"podSelector": map[string]any{},
		"policyTypes": []any{"Ingress"},
		"ingress":     []any{map[string]any{"from": from}},
	}
	if m.To == nil {
		return policy
	}
	to := []any{own}
	for _, t := range m.To {
		if _, err := netip.ParsePrefix(t); err == nil {
			to = append(to, map[string]any{"ipBlock": map[string]any{"cidr": t}})
			continue
		}
		to = append(to, space([]string{t}))
	}
	dns := []any{map[string]any{"port": int64(53), "protocol": "UDP"}, map[string]any{"port": int64(53), "protocol": "TCP"}}
	policy["policyTypes"] = []any{"Ingress", "Egress"}
	policy["egress"] = []any{map[string]any{"to": to}, map[string]any{"ports": dns}}
	return policy
}

func texts[V any](m map[string]V) map[string]any {
	out := make(map[string]any, len(m))
	for key, value := range m {
		out[key] = plainText(value)
	}
	return out
}

func anys(list []string) []any {
	out := make([]any, 0, len(list))
	for _, s := range list {
		out = append(out, s)
	}
	return out
}

func merged(under, over map[string]string) map[string]string {
	out := maps.Clone(under)
	if out == nil {
		return over
	}
	maps.Copy(out, over)
	return out
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// jsonDigest is a digest of anything that JSON can say; keys are sorted by it.
func jsonDigest(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	return digestOf(data), nil
}
