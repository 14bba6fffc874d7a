package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// txtPiece is the longest string of a TXT record, in bytes; a longer text is
	// several of them. Source: RFC 1035, section 3.3.
	txtPiece = 255
	// maxText is the longest text, in bytes, that Berth puts into one record. More
	// would fit into a message of DNS, but not into what Cloudflare takes (2,048
	// characters) and Route 53 (4,000, escapes included).
	maxText = 2000
	// heritage begins every text of an ownership record.
	heritage = "heritage=berth"
)

// normalValue is value in the one form in which values are compared, or why a
// record of that type cannot have it.
func normalValue(kind recordType, value string) (string, error) {
	switch kind {
	case typeA, typeAAAA:
		ip, err := netip.ParseAddr(value)
		if err != nil || ip.Zone() != "" {
			return "", sdk.Invalid("%s is no address, and a record of type %s needs one.", quoted(value), kind)
		}
		if ip.Is4() != (kind == typeA) || ip.Is4In6() {
			return "", sdk.Invalid("%s is not an address of the kind that %s has: A has IPv4, AAAA IPv6.", quoted(value), kind)
		}
		return ip.String(), nil
	case typeCNAME:
		return hostName("What the CNAME points at,", value)
	case typeTXT:
		switch {
		case value == "":
			return "", sdk.Invalid("A text of type TXT is empty.")
		case len(value) > maxText:
			return "", sdk.Invalid("A text of type TXT has %d bytes; %d is the most.", len(value), maxText)
		case strings.HasPrefix(strings.ToLower(strings.TrimSpace(value)), heritage):
			return "", sdk.Invalid("A text of type TXT cannot begin with %q: that is how Berth says whose a name is.", heritage)
		}
		for _, c := range []byte(value) {
			if c < ' ' || c == 0x7f {
				return "", sdk.Invalid("A text of type TXT has a line's end or another control character: %s.", quoted(value))
			}
		}
		return value, nil
	}
	return "", sdk.Invalid("%s is no type of record that a part can have; A, AAAA, CNAME and TXT are.", quoted(string(kind)))
}

// pieces cuts a text as records of type TXT hold it.
func pieces(text string) []string {
	var out []string
	for len(text) > txtPiece {
		out, text = append(out, text[:txtPiece]), text[txtPiece:]
	}
	return append(out, text)
}

// toRecords is what s is on the wire.
func toRecords(s *rrset) []dns.RR {
	out := make([]dns.RR, 0, len(s.values))
	for _, v := range s.values {
		h := dns.RR_Header{Name: dns.Fqdn(s.name), Class: dns.ClassINET, Ttl: s.ttl}
		switch s.kind {
		case typeA:
			h.Rrtype = dns.TypeA
			out = append(out, &dns.A{Hdr: h, A: netip.MustParseAddr(v).AsSlice()})
		case typeAAAA:
			h.Rrtype = dns.TypeAAAA
			out = append(out, &dns.AAAA{Hdr: h, AAAA: netip.MustParseAddr(v).AsSlice()})
		case typeCNAME:
			h.Rrtype = dns.TypeCNAME
			out = append(out, &dns.CNAME{Hdr: h, Target: dns.Fqdn(v)})
		case typeTXT:
			h.Rrtype = dns.TypeTXT
			t := &dns.TXT{Hdr: h}
			for _, piece := range pieces(v) {
				t.Txt = append(t.Txt, strings.ReplaceAll(piece, `\`, `\\`))
			}
			out = append(out, t)
		}
	}
	return out
}

// fromRecords are the RRsets of recordTypes among rrs, each with the records
// that it was read from as native.
func fromRecords(rrs []dns.RR) map[key]*rrset {
	out := map[key]*rrset{}
	for _, rr := range rrs {
		kind, value, ok := fromRecord(rr)
		if !ok {
			continue
		}
		k := key{name: plainName(rr.Header().Name), kind: kind}
		s := out[k]
		if s == nil {
			s = &rrset{key: k, ttl: rr.Header().Ttl, native: []dns.RR(nil)}
			out[k] = s
		}
		s.values = append(s.values, value)
		s.native = append(s.native.([]dns.RR), rr)
	}
	for _, s := range out {
		slices.Sort(s.values)
	}
	return out
}

// fromRecord is the normal value of a record of one of recordTypes.
func fromRecord(rr dns.RR) (kind recordType, value string, ok bool) {
	if rr.Header().Class != dns.ClassINET {
		return "", "", false
	}
	switch rr := rr.(type) {
	case *dns.A:
		ip, _ := netip.AddrFromSlice(rr.A)
		return typeA, ip.Unmap().String(), true
	case *dns.AAAA:
		ip, _ := netip.AddrFromSlice(rr.AAAA)
		return typeAAAA, ip.String(), true
	case *dns.CNAME:
		return typeCNAME, plainName(rr.Target), true
	case *dns.TXT:
		text := ""
		for _, piece := range rr.Txt {
			text += unescapeBase(piece, 10) // RFC 1035, section 5.1
		}
		return typeTXT, text, true
	}
	return "", "", false
}

// plainName is a name of the wire in lower case and without the dot at its end.
func plainName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func digit(c byte) bool { return c >= '0' && c <= '9' }

// toPresentation is a value as interfaces over HTTP take it: hosts with a dot at
// the end, texts in quotes. Escapes are of the given base: ten, or eight at
// Route 53.
func toPresentation(kind recordType, value string, base int) string {
	switch kind {
	case typeCNAME:
		return value + "."
	case typeTXT:
		var words []string
		for _, piece := range pieces(value) {
			var b strings.Builder
			for _, c := range []byte(piece) {
				switch {
				case c == '"' || c == '\\':
					b.WriteByte('\\')
					b.WriteByte(c)
				case c < ' ' || c > '~':
					digits := strconv.FormatUint(uint64(c), base)
					b.WriteString(`\` + strings.Repeat("0", 3-len(digits)) + digits)
				default:
					b.WriteByte(c)
				}
			}
			words = append(words, `"`+b.String()+`"`)
		}
		return strings.Join(words, " ")
	}
	return value
}

// fromPresentation reads what toPresentation wrote, and whatever else such an
// interface has, into the normal form as far as there is one.
func fromPresentation(kind recordType, text string, base int) string {
	if kind != typeTXT {
		if value, err := normalValue(kind, text); err == nil {
			return value
		}
		return text
	}
	if !strings.HasPrefix(text, `"`) {
		return unescapeBase(text, base)
	}
	var out strings.Builder
	inside := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inside = !inside
		case c == '\\' && i+1 < len(text):
			n := 2
			if i+3 < len(text) && digit(text[i+1]) && digit(text[i+2]) && digit(text[i+3]) {
				n = 4
			}
			out.WriteString(unescapeBase(text[i:i+n], base))
			i += n - 1
		case inside:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// unescapeBase undoes \X, and \DDD with digits of the base.
func unescapeBase(s string, base int) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		if i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], base, 8); err == nil {
				out = append(out, byte(n))
				i += 3
				continue
			}
		}
		out = append(out, s[i+1])
		i++
	}
	return string(out)
}
