package dns

import (
	"regexp"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// reach is whose a certificate is, and who shares it.
type reach string

// The values of `wildcard`. One wildcard of the app is ordered once and copied
// into each environment; the others are ordered for each environment.
const (
	reachApp         reach = "app"
	reachEnvironment reach = "environment"
	reachNone        reach = "none"
)

// maxCertificateNames is how many names a certificate can have.
// Source: https://letsencrypt.org/docs/rate-limits/
const maxCertificateNames = 100

// certificateWish is what a part says under `certificate`.
type certificateWish struct {
	secret    string // the Secret's name
	namespace string // where the Secret is wanted
	reach     reach
	names     []string // absolute, in order; wildcards begin with "*."
	issuer    *certManagerIssuer
}

// certManagerIssuer is who issues where cert-manager does the work.
type certManagerIssuer struct {
	annotation string // what an Ingress says it with
	name       string
}

// certificateWith is `certificate` as it is written.
type certificateWith struct {
	Secret      string   `json:"secret"`
	Namespace   string   `json:"namespace"`
	Names       []string `json:"names"`
	Wildcard    reach    `json:"wildcard"`
	CertManager *struct {
		Issuer        string `json:"issuer"`
		ClusterIssuer string `json:"cluster_issuer"`
	} `json:"cert_manager"`
}

// certificateSchema is the JSON Schema of `certificate` in a part's settings.
func certificateSchema() map[string]any {
	text := func(description string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": description}
	}
	return map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"secret"},
		"description": "A TLS certificate for the part's names, in a Kubernetes Secret.",
		"properties": map[string]any{
			"secret":    text("The Secret of type kubernetes.io/tls that holds it."),
			"namespace": text("Where the Secret is; the environment's namespace when left out."),
			"names": map[string]any{
				"type": "array", "minItems": 1, "maxItems": maxCertificateNames, "items": map[string]any{"type": "string", "minLength": 1},
				"description": "What it is for, written like `name`; the part's own names when left out.",
			},
			"wildcard": map[string]any{
				"enum":        []any{string(reachApp), string(reachEnvironment), string(reachNone)},
				"description": "app: one wildcard for all environments of the app, the default without `names`. environment: each name and the names below it. none: just the names, the default with `names`.",
			},
			"cert_manager": map[string]any{
				"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
				"description": "Leave it to cert-manager: the part only says what an Ingress has to be annotated with.",
				"properties":  map[string]any{"issuer": text("An Issuer in the environment's namespace."), "cluster_issuer": text("A ClusterIssuer.")},
			},
		},
	}
}

var (
	// objectName is what Kubernetes takes for the name of a Secret or an issuer.
	// Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
	objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	// namespaceName is what it takes for a namespace's. Source: the same.
	namespaceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// readCertificate is what `certificate` of the step's settings asks for, nil
// when it is not there. own are the absolute names of the part's records.
func readCertificate(step sdk.Step, zone string, own []string) (*certificateWish, error) {
	raw, ok := step.With["certificate"]
	if !ok || raw == nil {
		return nil, nil
	}
	var with certificateWith
	if err := decodeUnder("certificate", raw, &with); err != nil {
		return nil, err
	}
	wish := &certificateWish{secret: with.Secret, namespace: step.Namespace, reach: with.Wildcard}
	if with.Namespace != "" {
		wish.namespace = with.Namespace
	}
	switch {
	case !objectName.MatchString(wish.secret):
		return nil, sdk.Invalid("`certificate` needs `secret`, the name of a Kubernetes Secret; %s is none.", quoted(wish.secret))
	case !namespaceName.MatchString(wish.namespace):
		return nil, sdk.Invalid("The certificate's namespace %s is no name of a namespace.", quoted(wish.namespace))
	}
	if m := with.CertManager; m != nil {
		return wish, wish.leaveTo(m.Issuer, m.ClusterIssuer)
	}
	return wish, wish.name(with.Names, zone, own, step.Env)
}

// leaveTo has cert-manager do the work.
func (w *certificateWish) leaveTo(issuer, clusterIssuer string) error {
	w.issuer = &certManagerIssuer{annotation: "cert-manager.io/issuer", name: issuer}
	if clusterIssuer != "" {
		w.issuer = &certManagerIssuer{annotation: "cert-manager.io/cluster-issuer", name: clusterIssuer}
	}
	if (issuer == "") == (clusterIssuer == "") || !objectName.MatchString(w.issuer.name) {
		return sdk.Invalid("`cert_manager` needs the name of an issuer: either `issuer` or `cluster_issuer`.")
	}
	return nil
}

// name finds out which names the certificate is for.
func (w *certificateWish) name(listed []string, zone string, own []string, env string) error {
	if w.reach == "" {
		w.reach = reachApp
		if len(listed) > 0 {
			w.reach = reachNone
		}
	}
	names := own
	if len(listed) > 0 {
		names = nil
		for _, text := range listed {
			name, err := parseName(zone, text)
			if err != nil {
				return err
			}
			names = append(names, name)
		}
	}
	for _, name := range names {
		switch w.reach {
		case reachApp:
			wild, err := appWildcard(name, zone, env)
			if err != nil {
				return err
			}
			w.names = append(w.names, wild)
		case reachEnvironment:
			w.names = append(w.names, name)
			if !strings.HasPrefix(name, "*.") {
				w.names = append(w.names, "*."+name)
			}
		case reachNone:
			w.names = append(w.names, name)
		default:
			return sdk.Invalid("`wildcard` of a certificate is app, environment or none, not %s.", quoted(string(w.reach)))
		}
	}
	slices.Sort(w.names)
	w.names = slices.Compact(w.names)
	return w.check()
}

// check refuses what no authority gives.
func (w *certificateWish) check() error {
	if len(w.names) == 0 {
		return sdk.Invalid("The certificate has no names: the part has no `name`, so list them under `certificate: {names: […]}`.")
	}
	if len(w.names) > maxCertificateNames {
		return sdk.Invalid("The certificate would have %d names, and %d is the most: use a wildcard.", len(w.names), maxCertificateNames)
	}
	for _, name := range w.names {
		if strings.Contains(name, "_") {
			return sdk.Invalid("There can be no certificate for %s: names of hosts have no \"_\". List the names it is for under `certificate: {names: […]}`.", quoted(name))
		}
		if challenge := ownerName(challengeName(name)); len(challenge) > maxName {
			return sdk.Invalid("The name %s is too long to be proved to a certificate authority: take one of at most %d characters.", quoted(name), len(strings.TrimPrefix(name, "*."))-(len(challenge)-maxName))
		}
	}
	return nil
}

// challengeName is where the challenge for name is. Source: RFC 8555, section 8.4.
func challengeName(name string) string { return "_acme-challenge." + strings.TrimPrefix(name, "*.") }

// appWildcard is the wildcard that covers name and the names like it of the
// app's other environments. The environment must show in name's first word alone,
// or there would be a wildcard for each.
func appWildcard(name, zone, env string) (string, error) {
	if strings.HasPrefix(name, "*.") {
		return name, nil
	}
	_, rest, _ := strings.Cut(name, ".")
	if !within(rest, zone) {
		return "", sdk.Invalid("A wildcard for the app cannot cover %s, the zone itself: set `wildcard: none`.", name)
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(rest, zone), "."), ".") {
		if l == env || strings.HasPrefix(l, env+"-") || strings.HasSuffix(l, "-"+env) {
			return "", sdk.Invalid("One wildcard for the app cannot cover %s: the environment's name is not in its first word alone, so each environment needs its own. Set `wildcard: environment` or `none`.", name)
		}
	}
	return "*." + rest, nil
}

// decodeUnder reads the settings under key strictly into to.
func decodeUnder(key string, value, to any) error {
	m, ok := value.(map[string]any)
	if !ok {
		return sdk.Invalid("The settings under `%s` cannot be used: they are not keys with values.", key)
	}
	if err := decode(m, to); err != nil {
		return sdk.Invalid("The settings under `%s` cannot be used: %s.", key, err)
	}
	return nil
}
