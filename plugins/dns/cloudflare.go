package dns

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloudflare/cloudflare-go"
	pacing "golang.org/x/time/rate"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// cloudflareNegative is the zone's negative TTL, which its API does not tell.
	// Source: https://developers.cloudflare.com/dns/manage-dns-records/reference/dns-record-types/#soa
	cloudflareNegative = 30 * time.Minute
	// identicalRecord is the code of an error that says that the very record is
	// there already.
	// Source: https://developers.cloudflare.com/dns/manage-dns-records/troubleshooting/records-with-same-name/
	identicalRecord = 81058
)

// takenRecords are codes of errors that say that another record is in the way:
// one of the same name and type, a CNAME, or any beside a CNAME.
var takenRecords = []int{81053, 81054, 81057}

const (
	// cloudflareRate and cloudflareBurst keep within 1,200 calls in five minutes: of a
	// token that makes more, all are refused for the next five.
	// Source: https://developers.cloudflare.com/fundamentals/api/reference/limits/
	cloudflareRate  = 3 // calls a second
	cloudflareBurst = 250
)

// paced holds calls back that would be too many, of all steps together. The
// library's own limit is one of each client, and knows no bursts.
type paced struct {
	limit *pacing.Limiter
	base  http.RoundTripper // nil is the standard one
}

// RoundTrip implements http.RoundTripper.
func (p paced) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := p.limit.Wait(r.Context()); err != nil {
		return nil, err
	}
	if p.base == nil {
		return http.DefaultTransport.RoundTrip(r)
	}
	return p.base.RoundTrip(r)
}

// cloudflareZone is a zone at Cloudflare. Its API changes one record at a time,
// so marks of ownership come first where records are made, and go last; whoever
// finds another's mark beside its own steps back.
type cloudflareZone struct {
	api  *cloudflare.API
	zone string

	mu sync.Mutex
	id *cloudflare.ResourceContainer // nil until it was looked up
}

var _ provider = (*cloudflareZone)(nil)

func newCloudflare(x *Executor, z zoneSettings, token string) (*cloudflareZone, error) {
	client := *x.http
	client.Transport = paced{limit: x.pace, base: x.http.Transport}
	options := []cloudflare.Option{cloudflare.HTTPClient(&client), cloudflare.UsingRateLimit(10 * cloudflareBurst), cloudflare.UsingRetryPolicy(6, 1, 30), cloudflare.UserAgent("berth-dns/" + Version)}
	if z.cloud.url != "" {
		options = append(options, cloudflare.BaseURL(strings.TrimSuffix(z.cloud.url, "/")))
	}
	api, err := cloudflare.NewWithAPIToken(token, options...)
	if err != nil {
		return nil, sdk.Invalid("The settings of Cloudflare for the zone %s cannot be used.", z.name)
	}
	p := &cloudflareZone{api: api, zone: z.name}
	if z.cloud.zoneID != "" {
		p.id = cloudflare.ZoneIdentifier(z.cloud.zoneID)
	}
	return p, nil
}

// container is the zone's id; it is looked up once for each step.
func (p *cloudflareZone) container(ctx context.Context) (*cloudflare.ResourceContainer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id != nil {
		return p.id, nil
	}
	zones, err := p.api.ListZonesContext(ctx, cloudflare.WithZoneFilters(p.zone, "", ""))
	if err != nil {
		return nil, err
	}
	for _, z := range zones.Result {
		if plainName(z.Name) == p.zone {
			p.id = cloudflare.ZoneIdentifier(z.ID)
			return p.id, nil
		}
	}
	return nil, sdk.Invalid("Cloudflare shows no zone %s to the token of the settings: give the token the right to read and edit that zone's DNS, or set `zone_id`.", p.zone)
}

// records are those at name, of any type; with "" all of the zone.
func (p *cloudflareZone) records(ctx context.Context, name string) ([]cloudflare.DNSRecord, error) {
	id, err := p.container(ctx)
	if err != nil {
		return nil, err
	}
	list, _, err := p.api.ListDNSRecords(ctx, id, cloudflare.ListDNSRecordsParams{Name: name})
	if err != nil {
		return nil, err
	}
	if name == "" {
		return list, nil
	}
	return slices.DeleteFunc(list, func(r cloudflare.DNSRecord) bool { return plainName(r.Name) != name }), nil
}

// read implements provider.
func (p *cloudflareZone) read(ctx context.Context, keys []key) (map[key]*rrset, error) {
	out := map[key]*rrset{}
	seen := map[string]map[key]*rrset{}
	for _, k := range keys {
		if seen[k.name] == nil {
			list, err := p.records(ctx, k.name)
			if err != nil {
				return nil, err
			}
			seen[k.name] = fromCloudflare(list)
		}
		if s := seen[k.name][k]; s != nil {
			out[k] = s
		}
	}
	return out, nil
}

func fromCloudflare(list []cloudflare.DNSRecord) map[key]*rrset {
	out := map[key]*rrset{}
	for _, r := range list {
		k := key{plainName(r.Name), recordType(r.Type)}
		if !slices.Contains(recordTypes, k.kind) {
			continue
		}
		s := out[k]
		if s == nil {
			s = &rrset{key: k, ttl: uint32(min(max(r.TTL, 0), maxTTL)), native: []cloudflare.DNSRecord(nil)}
			out[k] = s
		}
		s.values = append(s.values, fromPresentation(k.kind, r.Content, 10))
		s.native = append(s.native.([]cloudflare.DNSRecord), r)
		slices.Sort(s.values)
	}
	return out
}

// others implements provider.
func (p *cloudflareZone) others(ctx context.Context, name string) ([]string, error) {
	list, err := p.records(ctx, name)
	out := map[string]bool{}
	for _, r := range list {
		if !slices.Contains(recordTypes, recordType(r.Type)) {
			out[r.Type] = true
		}
	}
	return sorted(out), err
}

// cloudflareContent is a value as the API takes it.
func cloudflareContent(kind recordType, value string) string {
	return strings.TrimSuffix(toPresentation(kind, value, 10), ".")
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[*cloudflare.NotFoundError](err)
	return ok
}

// codeOf tells whether an error of the API has one of the codes.
func codeOf(err error, codes ...int) bool {
	e, ok := errors.AsType[*cloudflare.RequestError](err)
	return ok && slices.ContainsFunc(e.ErrorCodes(), func(c int) bool { return slices.Contains(codes, c) })
}

// servers implements provider.
func (p *cloudflareZone) servers(ctx context.Context) ([]server, error) {
	id, err := p.container(ctx)
	if err != nil {
		return nil, err
	}
	z, err := p.api.ZoneDetails(ctx, id.Identifier)
	if err != nil {
		return nil, err
	}
	if plainName(z.Name) != p.zone {
		return nil, sdk.Invalid("The zone %s of Cloudflare is %s, not %s: correct `zone_id` in the settings of the dns executor.", clip(id.Identifier), clip(z.Name), p.zone)
	}
	return hostServers(z.NameServers), nil
}

// negative implements provider.
func (p *cloudflareZone) negative(context.Context) (time.Duration, error) {
	return cloudflareNegative, nil
}

// list implements provider.
func (p *cloudflareZone) list(ctx context.Context) ([]*rrset, error) {
	all, err := p.records(ctx, "")
	if err != nil {
		return nil, err
	}
	sets := fromCloudflare(all)
	out := make([]*rrset, 0, len(sets))
	for _, s := range sets {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *rrset) int { return compareKeys(a.key, b.key) })
	return out, nil
}

// explainCloudflare is what an error of Cloudflare means, nil for any other.
func explainCloudflare(err error) *sdk.Error {
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: err}
	_, unauthorized := errors.AsType[*cloudflare.AuthorizationError](err)
	_, forbidden := errors.AsType[*cloudflare.AuthenticationError](err)
	_, limited := errors.AsType[*cloudflare.RatelimitError](err)
	_, broken := errors.AsType[*cloudflare.ServiceError](err)
	refused, isRefused := errors.AsType[*cloudflare.RequestError](err)
	switch {
	case unauthorized, forbidden:
		e.Msg = "Cloudflare does not let Berth do it: the token of the settings is wrong, or lacks the right to read the zone and to edit its DNS."
	case isNotFound(err):
		e.Msg = "Cloudflare has no such zone for the token of the settings: correct `zone_id`."
	case limited, broken:
		e.Msg, e.Retry = "Cloudflare has too much to do just now. Try again.", true
	case isRefused:
		e.Msg = fmt.Sprintf("Cloudflare does not take the record: %s.", quoted(strings.Join(refused.ErrorMessages(), "; ")))
	case strings.Contains(err.Error(), "HTTP request failed"), strings.Contains(err.Error(), "rate limit retries"), strings.Contains(err.Error(), "please try again later"):
		e.Msg, e.Retry = fmt.Sprintf("Cloudflare cannot be used just now: %s. Try again.", networkCause(err)), true
	default:
		return nil
	}
	return e
}

// explainAPI is what an error of a provider with an API means, nil for others.
func explainAPI(err error) *sdk.Error {
	if e := explainRoute53(err); e != nil {
		return e
	}
	return explainCloudflare(err)
}
