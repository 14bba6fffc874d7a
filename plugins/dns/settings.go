package dns

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// defaultTTL is how long caches keep a record whose part does not say it, in
	// seconds: environments come and go.
	defaultTTL = 60
	// maxTTL is the longest, in seconds. Source: RFC 2181, section 8; a week is
	// what resolvers keep at most.
	maxTTL = 7 * 24 * 3600
	// defaultWait is how long a step waits for the authoritative servers.
	defaultWait = 2 * time.Minute
	// dnsPort is where name servers listen. Source: RFC 1035, section 4.2.
	dnsPort = "53"
	// everyApp in a zone's apps means all of them.
	everyApp = "*"
)

// zoneSettings are what the settings say of one zone.
type zoneSettings struct {
	name    string   // absolute, as key.name
	apps    []string // which may have names in it; everyApp for all
	ttl     uint32   // seconds
	wait    time.Duration
	servers []server // instead of those that the zone names; nil asks the zone
	rfc2136 *rfc2136Settings
	route53 *route53Settings
	cloud   *cloudflareSettings
}

// rfc2136Settings are a way to a server that takes updates by RFC 2136.
type rfc2136Settings struct {
	server    string // host:port
	keyName   string // "" sends nothing signed
	algorithm string // as algorithms has it
	secret    sdk.SecretRef
}

// route53Settings are a hosted zone of AWS.
type route53Settings struct {
	ZoneID   string `json:"zone_id"`
	Region   string `json:"region"`
	Role     string `json:"role"`     // ARN of a role to take; "" keeps the executor's own
	Endpoint string `json:"endpoint"` // instead of AWS's own; for tests and proxies
}

// cloudflareSettings are a zone at Cloudflare.
type cloudflareSettings struct {
	zoneID string // "" looks it up by the zone's name
	url    string // "" is Cloudflare's own
	token  sdk.SecretRef
}

// settings are what the config says under plugins.dns.settings.
type settings struct {
	zones map[string]zoneSettings
	acme  json.RawMessage // see the certificates; nil without
}

type rawSettings struct {
	Zones map[string]rawZone `json:"zones"`
	ACME  json.RawMessage    `json:"acme"`
}

type rawZone struct {
	Apps     []string    `json:"apps"`
	TTL      *int64      `json:"ttl"`
	Wait     string      `json:"wait"`
	Servers  []string    `json:"servers"`
	Provider rawProvider `json:"provider"`
}

type rawProvider struct {
	RFC2136 *struct {
		Server string `json:"server"`
		Key    *struct {
			Name      string `json:"name"`
			Algorithm string `json:"algorithm"`
			Secret    any    `json:"secret"`
		} `json:"key"`
	} `json:"rfc2136"`
	Route53    *route53Settings `json:"route53"`
	Cloudflare *struct {
		ZoneID string `json:"zone_id"`
		URL    string `json:"url"`
		Token  any    `json:"token"`
	} `json:"cloudflare"`
}

// settingsSchema is the JSON Schema of the executor's settings.
func settingsSchema() map[string]any {
	text := func(about string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": about}
	}
	object := func(required []any, properties map[string]any) map[string]any {
		return map[string]any{"type": "object", "additionalProperties": false, "required": required, "properties": properties}
	}
	tsig := object([]any{"name", "secret"}, map[string]any{
		"name":      text("name of the TSIG key, as the server knows it"),
		"algorithm": map[string]any{"enum": algorithmNames(), "default": defaultAlgorithm},
		"secret":    sdk.SecretSchema(),
	})
	provider := object([]any{}, map[string]any{
		"rfc2136": object([]any{"server"}, map[string]any{
			"server": text("host or host:port of the server that takes updates"),
			"key":    tsig,
		}),
		"route53": object([]any{"zone_id"}, map[string]any{
			"zone_id":  text("the hosted zone's id"),
			"region":   text("region of AWS's API, when it is not the default partition's"),
			"role":     text("ARN of a role to take first"),
			"endpoint": text("address of the API instead of AWS's own"),
		}),
		"cloudflare": object([]any{"token"}, map[string]any{
			"zone_id": text("the zone's id; looked up by its name without it"),
			"url":     text("address of the API instead of Cloudflare's own"),
			"token":   sdk.SecretSchema(),
		}),
	})
	provider["minProperties"], provider["maxProperties"] = 1, 1
	return map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
		"properties": map[string]any{
			"zones": map[string]any{"type": "object", "additionalProperties": object([]any{"apps", "provider"}, map[string]any{
				"apps":     map[string]any{"type": "array", "minItems": 1, "items": text("an app that may have names in the zone; * is every app")},
				"ttl":      map[string]any{"type": "integer", "minimum": 1, "maximum": maxTTL, "default": defaultTTL, "description": "seconds that caches keep a record whose part does not say it"},
				"wait":     map[string]any{"type": "string", "default": "2m", "description": "how long to wait for all authoritative servers; 0s asks none of them"},
				"servers":  map[string]any{"type": "array", "minItems": 1, "items": text("host or host:port of an authoritative server to wait for, instead of those that the zone names")},
				"provider": provider,
			})},
			"acme": acmeSchema(),
		},
	}
}

// readSettings checks what the schema says and what it cannot say.
func readSettings(from map[string]any) (settings, error) {
	var raw rawSettings
	if err := decode(from, &raw); err != nil {
		return settings{}, sdk.Invalid("The settings of the dns executor cannot be used: %s.", err)
	}
	out := settings{zones: map[string]zoneSettings{}, acme: raw.ACME}
	for _, name := range sorted(raw.Zones) {
		z, err := readZone(name, raw.Zones[name])
		if err != nil {
			return settings{}, err
		}
		if _, twice := out.zones[z.name]; twice {
			return settings{}, sdk.Invalid("The zone %s is twice in the settings of the dns executor.", z.name)
		}
		out.zones[z.name] = z
	}
	return out, nil
}

func readZone(name string, raw rawZone) (zoneSettings, error) {
	absolute, err := hostName("The zone", name)
	if err != nil {
		return zoneSettings{}, err
	}
	z := zoneSettings{name: absolute, apps: raw.Apps, ttl: defaultTTL, wait: defaultWait}
	if len(raw.Apps) == 0 {
		return z, sdk.Invalid("The zone %s does not say which `apps` may have names in it; [\"*\"] is every app.", absolute)
	}
	if raw.TTL != nil {
		if *raw.TTL < 1 || *raw.TTL > maxTTL {
			return z, sdk.Invalid("The `ttl` of zone %s is %d; it is a number of seconds from 1 to %d.", absolute, *raw.TTL, maxTTL)
		}
		z.ttl = uint32(*raw.TTL)
	}
	if raw.Wait != "" {
		if z.wait, err = time.ParseDuration(raw.Wait); err != nil || z.wait < 0 {
			return z, sdk.Invalid("The `wait` of zone %s is %s, which is no duration; write it as 2m.", absolute, quoted(raw.Wait))
		}
	}
	for _, text := range raw.Servers {
		at, err := address("A server of zone "+absolute, text)
		if err != nil {
			return z, err
		}
		z.servers = append(z.servers, server{name: text, address: at})
	}
	return z, readProvider(&z, raw.Provider)
}

func readProvider(z *zoneSettings, raw rawProvider) error {
	given := 0
	for _, is := range []bool{raw.RFC2136 != nil, raw.Route53 != nil, raw.Cloudflare != nil} {
		if is {
			given++
		}
	}
	if given != 1 {
		return sdk.Invalid("The zone %s needs one `provider`: rfc2136, route53 or cloudflare.", z.name)
	}
	var err error
	switch {
	case raw.RFC2136 != nil:
		r := &rfc2136Settings{}
		if r.server, err = address("The server of zone "+z.name, raw.RFC2136.Server); err != nil {
			return err
		}
		if k := raw.RFC2136.Key; k != nil {
			if r.keyName, err = hostName("The TSIG key's name of zone "+z.name, k.Name); err != nil {
				return err
			}
			if r.algorithm, err = algorithm(k.Algorithm); err != nil {
				return err
			}
			if r.secret, err = sdk.SecretOf(k.Secret, "TSIG key "+k.Name); err != nil {
				return err
			}
		}
		z.rfc2136 = r
	case raw.Route53 != nil:
		if !hostedZoneID.MatchString(raw.Route53.ZoneID) {
			return sdk.Invalid("The zone %s needs a `zone_id` of Route 53, such as Z0123456789ABC.", z.name)
		}
		z.route53 = raw.Route53
	default:
		c := &cloudflareSettings{zoneID: raw.Cloudflare.ZoneID, url: raw.Cloudflare.URL}
		if c.token, err = sdk.SecretOf(raw.Cloudflare.Token, "token of Cloudflare for "+z.name); err != nil {
			return err
		}
		z.cloud = c
	}
	return nil
}

// hostedZoneID is an id of Route 53. Source: its API reference, ResourceId.
var hostedZoneID = regexp.MustCompile(`^(/hostedzone/)?[A-Z0-9]{1,32}$`)

// zone is the zone that a part of app names, in any spelling.
func (s settings) zone(text, app string) (zoneSettings, error) {
	name, err := hostName("The zone", text)
	if err != nil {
		return zoneSettings{}, err
	}
	z, ok := s.zones[name]
	if !ok {
		return z, sdk.Invalid("The zone %s is not one that Berth may change: whoever answers for the platform names zones under plugins.dns.settings.zones.", name)
	}
	if !z.allows(app) {
		return z, sdk.Invalid("The app %s may not have names in the zone %s: it is not among the zone's `apps` in the settings of the dns executor.", quoted(app), name)
	}
	return z, nil
}

// allows tells whether app may have names in z.
func (z zoneSettings) allows(app string) bool {
	return slices.Contains(z.apps, everyApp) || slices.Contains(z.apps, app)
}

// address is host:port of a server, from an address or a name with or without a
// port.
func address(what, text string) (string, error) {
	host, port := text, dnsPort
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", sdk.Invalid("%s is %s, whose port is none.", what, quoted(text))
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(ip.String(), port), nil
	}
	name, err := hostName(what, host)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(name, port), nil
}

// decode reads a part's or the executor's settings strictly into v.
func decode(from map[string]any, v any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return errors.New("they are not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err = dec.Decode(v)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return errors.New("`" + wrong.Field + "` cannot be a " + wrong.Value)
	}
	if err != nil {
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			return errors.New("there is no setting " + name)
		}
		return errors.New("they cannot be read")
	}
	return nil
}

// sorted are m's keys in order, so that the same fault is told first every time.
func sorted[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
