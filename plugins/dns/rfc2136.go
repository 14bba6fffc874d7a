package dns

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// defaultAlgorithm signs when the settings do not name another.
	defaultAlgorithm = "hmac-sha256"
	// atOnce is how many queries one step has under way.
	atOnce = 16
)

// algorithms are the ones for TSIG that can be used, as settings and as messages
// name them. MD5 and SHA-1 are not: RFC 8945, section 6, advises against them.
var algorithms = map[string]string{
	"hmac-sha224": dns.HmacSHA224, "hmac-sha256": dns.HmacSHA256, "hmac-sha384": dns.HmacSHA384, "hmac-sha512": dns.HmacSHA512,
}

func algorithmNames() []any {
	var out []any
	for _, name := range sorted(algorithms) {
		out = append(out, name)
	}
	return out
}

// algorithm is text as messages name it.
func algorithm(text string) (string, error) {
	if text == "" {
		text = defaultAlgorithm
	}
	if a, ok := algorithms[strings.ToLower(strings.TrimSuffix(text, "."))]; ok {
		return a, nil
	}
	return "", sdk.Invalid("The TSIG algorithm %s is none that can be used; hmac-sha256 and hmac-sha512 are.", quoted(text))
}

// rfc2136 is a zone at a server that takes updates, such as BIND, Knot or
// PowerDNS. An update is one message with what was read as its conditions, so it
// happens as a whole, or, when somebody else was faster, not at all.
type rfc2136 struct {
	net    network
	zone   string
	server string // host:port
	key    *tsigKey
	asked  []server // instead of the zone's own; nil asks
}

var _ provider = (*rfc2136)(nil)

// newRFC2136 makes the provider of z. Secret is the value of the TSIG key, ""
// without one.
func newRFC2136(n network, z zoneSettings, secret string) (*rfc2136, error) {
	p := &rfc2136{net: n, zone: z.name, server: z.rfc2136.server, asked: z.servers}
	if z.rfc2136.keyName == "" {
		return p, nil
	}
	secret = strings.TrimSpace(secret)
	if _, err := base64.StdEncoding.DecodeString(secret); err != nil || secret == "" {
		return nil, sdk.Invalid("The secret of the TSIG key %s is not base64, as tsig-keygen writes it.", quoted(z.rfc2136.keyName))
	}
	p.key = &tsigKey{name: dns.Fqdn(z.rfc2136.keyName), algorithm: z.rfc2136.algorithm, secret: secret}
	return p, nil
}

// rcodeError is an answer that is a refusal.
type rcodeError struct {
	server string
	zone   string
	rcode  int
	update bool
}

func (e *rcodeError) Error() string {
	return fmt.Sprintf("%s answers %s for %s", e.server, dns.RcodeToString[e.rcode], e.zone)
}

// serverError is a failure to speak with a server.
type serverError struct {
	server string
	err    error
}

func (e *serverError) Error() string { return e.server + ": " + e.err.Error() }
func (e *serverError) Unwrap() error { return e.err }

// ask sends one question to the server that takes updates.
func (p *rfc2136) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	m.RecursionDesired = false
	m.SetEdns0(ednsSize, false)
	answer, err := p.net.exchange(ctx, p.server, m, p.key)
	if err != nil {
		return nil, &serverError{p.server, err}
	}
	if answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError {
		return nil, &rcodeError{server: p.server, zone: p.zone, rcode: answer.Rcode}
	}
	if cut := delegated(answer, p.zone); cut != "" {
		return nil, sdk.Invalid("The name %s is not in the zone %s any more: %s is delegated to servers of its own. Name that zone instead.", quoted(name), p.zone, cut)
	}
	if !answer.Authoritative {
		return nil, &rcodeError{server: p.server, zone: p.zone, rcode: dns.RcodeNotAuth}
	}
	return answer, nil
}

// delegated is the name within zone that an answer refers to other servers for,
// "" when it does not.
func delegated(answer *dns.Msg, zone string) string {
	if answer.Authoritative {
		return ""
	}
	for _, rr := range answer.Ns {
		if at := plainName(rr.Header().Name); rr.Header().Rrtype == dns.TypeNS && at != zone && within(at, zone) {
			return at
		}
	}
	return ""
}

// read implements provider.
func (p *rfc2136) read(ctx context.Context, keys []key) (map[key]*rrset, error) {
	answers, err := p.askAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	out := map[key]*rrset{}
	missing := map[string]bool{} // names that are known not to be there
	for i, k := range keys {
		missing[k.name] = missing[k.name] || answers[i].Rcode == dns.RcodeNameError
		if s := fromRecords(answers[i].Answer)[k]; s != nil {
			out[k] = s
		}
	}
	// What a wildcard made up is not there. A name whose ownership record is marked
	// as Berth's is there itself; so is one below which the server knows of nothing.
	var doubtful []key
	for k := range out {
		mark := out[key{ownerName(k.name), typeTXT}]
		switch {
		case strings.HasPrefix(k.name, "*."), k.name == p.zone, missing[ownerName(k.name)]:
		case marked(mark), k.kind == typeTXT && marked(out[k]):
		default:
			doubtful = append(doubtful, k)
		}
	}
	return out, p.dropMadeUp(ctx, out, doubtful)
}

// marked tells whether an RRset has a text of Berth's.
func marked(s *rrset) bool {
	return s != nil && slices.ContainsFunc(s.values, func(v string) bool { return strings.HasPrefix(v, heritage) })
}

func (p *rfc2136) askAll(ctx context.Context, keys []key) ([]*dns.Msg, error) {
	answers := make([]*dns.Msg, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, k := range keys {
		g.Go(func() (err error) {
			answers[i], err = p.ask(ctx, k.name, dns.StringToType[string(k.kind)])
			return err
		})
	}
	return answers, g.Wait()
}

// dropMadeUp takes those of the doubtful out of found that a wildcard answers
// for: a neighbour that cannot exist is answered the same.
func (p *rfc2136) dropMadeUp(ctx context.Context, found map[key]*rrset, doubtful []key) error {
	if len(doubtful) == 0 {
		return nil
	}
	probes := make([]key, len(doubtful))
	for i, k := range doubtful {
		probes[i] = key{neighbour(k.name), k.kind}
	}
	answers, err := p.askAll(ctx, probes)
	if err != nil {
		return err
	}
	for i, k := range doubtful {
		made := fromRecords(answers[i].Answer)[probes[i]]
		if made != nil && slices.Equal(made.values, found[k].values) {
			delete(found, k)
		}
	}
	return nil
}

// neighbour is a name beside name that nobody has.
func neighbour(name string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it cannot fail: crypto/rand
	_, rest, _ := strings.Cut(name, ".")
	return "berth-probe-" + hex.EncodeToString(b[:]) + "." + rest
}

// beside are types that can be beside a CNAME, and those that are not data.
// Source: RFC 4034, section 2.5 and 3; RFC 8482.
var beside = map[uint16]bool{
	dns.TypeRRSIG: true, dns.TypeNSEC: true, dns.TypeNSEC3: true, dns.TypeHINFO: true,
	dns.TypeA: true, dns.TypeAAAA: true, dns.TypeCNAME: true, dns.TypeTXT: true,
}

// others implements provider.
func (p *rfc2136) others(ctx context.Context, name string) ([]string, error) {
	types := func(name string) (map[string]bool, error) {
		answer, err := p.ask(ctx, name, dns.TypeANY)
		if err != nil {
			return nil, err
		}
		out := map[string]bool{}
		for _, rr := range answer.Answer {
			if h := rr.Header(); plainName(h.Name) == name && !beside[h.Rrtype] {
				out[dns.TypeToString[h.Rrtype]] = true
			}
		}
		return out, nil
	}
	found, err := types(name)
	if err != nil || len(found) == 0 || strings.HasPrefix(name, "*.") || name == p.zone {
		return sorted(found), err
	}
	made, err := types(neighbour(name))
	for kind := range made {
		delete(found, kind)
	}
	return sorted(found), err
}

// exclusive are types of which a server silently refuses a CNAME beside: with
// them as a condition it refuses the whole update instead. Source: RFC 2136,
// section 3.4.2.2.
var exclusive = []uint16{dns.TypeMX, dns.TypeNS, dns.TypeSRV, dns.TypeCAA, dns.TypePTR, dns.TypeNAPTR, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeTLSA, dns.TypeSSHFP, dns.TypeDNAME, dns.TypeLOC, dns.TypeHINFO}

// apply implements provider with one UPDATE.
func (p *rfc2136) apply(ctx context.Context, changes []change) error {
	if !slices.ContainsFunc(changes, change.writes) {
		return nil
	}
	answer, err := p.net.exchange(ctx, p.server, p.update(changes), p.key)
	if err != nil {
		return &serverError{p.server, err}
	}
	switch answer.Rcode {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeYXDomain, dns.RcodeYXRrset, dns.RcodeNXRrset, dns.RcodeNameError:
		return errMoved
	}
	return &rcodeError{server: p.server, zone: p.zone, rcode: answer.Rcode, update: true}
}

// update is the message that makes changes on the condition that all is as it
// was read. What goes comes before what is new, so that a CNAME can take the
// place of an address.
func (p *rfc2136) update(changes []change) *dns.Msg {
	m := new(dns.Msg).SetUpdate(dns.Fqdn(p.zone))
	empty := func(k key, kind uint16) []dns.RR {
		return []dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: dns.Fqdn(k.name), Rrtype: kind}}}
	}
	for _, c := range changes {
		if c.before == nil {
			m.RRsetNotUsed(empty(c.key, dns.StringToType[string(c.kind)]))
		} else {
			m.Used(copies(c.before))
		}
		if c.kind == typeCNAME && c.after != nil && c.before == nil {
			for _, other := range exclusive {
				m.RRsetNotUsed(empty(c.key, other))
			}
		}
		if c.writes() && c.before != nil {
			m.RemoveRRset(empty(c.key, dns.StringToType[string(c.kind)]))
		}
	}
	for _, c := range changes {
		if c.writes() && c.after != nil {
			m.Insert(toRecords(c.after))
		}
	}
	return m
}

// copies are the records that s was read from, for a message that alters them.
func copies(s *rrset) []dns.RR {
	native, _ := s.native.([]dns.RR)
	if native == nil {
		return toRecords(s)
	}
	out := make([]dns.RR, len(native))
	for i, rr := range native {
		out[i] = dns.Copy(rr)
	}
	return out
}

// negative implements provider.
func (p *rfc2136) negative(ctx context.Context) (time.Duration, error) {
	answer, err := p.ask(ctx, p.zone, dns.TypeSOA)
	if err != nil {
		return 0, err
	}
	for _, rr := range answer.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return time.Duration(min(soa.Minttl, soa.Hdr.Ttl)) * time.Second, nil
		}
	}
	return 0, &rcodeError{server: p.server, zone: p.zone, rcode: dns.RcodeNotAuth}
}

// servers implements provider: those of the settings, or the ones that the zone
// names itself.
func (p *rfc2136) servers(ctx context.Context) ([]server, error) {
	if len(p.asked) > 0 {
		return p.asked, nil
	}
	answer, err := p.ask(ctx, p.zone, dns.TypeNS)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, rr := range answer.Answer {
		if ns, ok := rr.(*dns.NS); ok {
			names = append(names, plainName(ns.Ns))
		}
	}
	slices.Sort(names)
	glue := fromRecords(answer.Extra)
	var out []server
	for _, name := range names {
		addresses := append(slices.Clone(valuesOf(glue[key{name, typeA}])), valuesOf(glue[key{name, typeAAAA}])...)
		if len(addresses) == 0 {
			if addresses, err = p.net.lookup(ctx, name); err != nil {
				return nil, &serverError{name, fmt.Errorf("its address cannot be found: %w", err)}
			}
		}
		out = append(out, server{name: name, address: net.JoinHostPort(addresses[0], dnsPort)})
	}
	if len(out) == 0 {
		return nil, &serverError{p.server, errors.New("it names no name servers for " + p.zone)}
	}
	return out, nil
}

func valuesOf(s *rrset) []string {
	if s == nil {
		return nil
	}
	return s.values
}

// list implements provider with a zone transfer.
func (p *rfc2136) list(ctx context.Context) ([]*rrset, error) {
	rrs, err := p.net.transfer(ctx, p.server, p.zone, p.key)
	if err != nil {
		return nil, &serverError{p.server, fmt.Errorf("zone transfer: %w", err)}
	}
	sets := fromRecords(rrs)
	out := make([]*rrset, 0, len(sets))
	for _, s := range sets {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *rrset) int { return strings.Compare(a.name+" "+string(a.kind), b.name+" "+string(b.kind)) })
	return out, nil
}
