package awstest

import (
	"net/netip"
	"strings"
)

// batch is a change batch while it is looked at: all of it is done, or nothing.
type batch struct {
	zone           string
	records        params
	seen           map[string]bool
	wrong          []string
	count, letters int
}

func (b *batch) refuse(format string, args ...any) {
	b.wrong = append(b.wrong, fail("", format, args...).msg)
}

// apply takes one change, or says why not.
func (b *batch) apply(action string, r params) {
	name, kind, key := fqdn(r.str("Name")), r.str("Type"), recordKey(r)
	r = r.with(params{"Name": name})
	if b.seen[action+key] {
		b.refuse("The request contains an invalid set of changes for a resource record set '%s %s'", kind, name)
		return
	}
	b.seen[action+key] = true
	times := 1
	if action == "UPSERT" {
		times = 2 // it counts as a deletion and a creation
	}
	b.count += times * max(1, len(r.list("ResourceRecords")))
	for _, v := range r.subs("ResourceRecords") {
		b.letters += times * len(v.str("Value"))
	}
	if name != b.zone && !strings.HasSuffix(name, "."+b.zone) {
		b.refuse("RRSet with DNS name %s is not permitted in zone %s", name, b.zone)
		return
	}
	if !b.valid(r) {
		return
	}
	old := b.records.sub(key)
	switch {
	case action == "CREATE" && old != nil:
		b.refuse("Tried to create resource record set [name='%s', type='%s'] but it already exists", name, kind)
	case action == "DELETE" && old == nil:
		b.refuse("Tried to delete resource record set [name='%s', type='%s'] but it was not found", name, kind)
	case action == "DELETE" && !sameRecord(old, r):
		b.refuse("Tried to delete resource record set [name='%s', type='%s'] but the values provided do not match the current values", name, kind)
	case action == "DELETE" && name == b.zone && (kind == "NS" || kind == "SOA"):
		b.refuse("A HostedZone must contain at least one NS record for the zone itself, and exactly one SOA record.")
	case action == "DELETE":
		delete(b.records, key)
	default:
		b.records[key] = r
	}
}

func sameRecord(a, b params) bool {
	if a.num("TTL") != b.num("TTL") || len(a.list("ResourceRecords")) != len(b.list("ResourceRecords")) {
		return false
	}
	have := map[string]bool{}
	for _, v := range a.subs("ResourceRecords") {
		have[v.str("Value")] = true
	}
	for _, v := range b.subs("ResourceRecords") {
		if !have[v.str("Value")] {
			return false
		}
	}
	return true
}

// valid holds a record set to the rules of its type.
func (b *batch) valid(r params) bool {
	before := len(b.wrong)
	name, kind, values := r.str("Name"), r.str("Type"), r.subs("ResourceRecords")
	if r.has("AliasTarget") {
		if r.has("TTL") || len(values) > 0 {
			b.refuse("Invalid request: an alias has neither TTL nor values")
		}
		return len(b.wrong) == before
	}
	if !r.has("TTL") || len(values) == 0 {
		b.refuse("Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found none in Change with [Action, Name=%s, Type=%s]", name, kind)
	}
	for _, label := range strings.Split(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || len(name) > 255 {
			b.refuse("FATAL problem: DomainLabelTooLong or DomainLabelEmpty encountered with '%s'", name)
			break
		}
	}
	if kind == "CNAME" && len(values) > 1 {
		b.refuse("Resource record set of type CNAME can contain only one record: '%s'", name)
	}
	seen := map[string]bool{}
	for _, v := range values {
		text := v.str("Value")
		if seen[text] {
			b.refuse("Duplicate Resource Record: '%s'", text)
		}
		seen[text] = true
		if why := badValue(kind, text); why != "" {
			b.refuse("Invalid Resource Record: FATAL problem: %s encountered with '%s'", why, text)
		}
	}
	return len(b.wrong) == before
}

func badValue(kind, text string) string {
	addr, err := netip.ParseAddr(text)
	switch {
	case kind == "A" && (err != nil || !addr.Is4()):
		return "ARRDATAIllegalIPv4Address"
	case kind == "AAAA" && (err != nil || !addr.Is6()):
		return "AAAARRDATAIllegalIPv6Address"
	case kind == "TXT":
		return badText(text)
	case kind == "CNAME" && (text == "" || strings.ContainsAny(text, " \t\"")):
		return "UnparseableCharacter"
	}
	return ""
}

// badText says what is wrong with the value of a TXT record: one or more strings
// in quotation marks, each of at most 255 characters.
func badText(text string) string {
	const most = 255
	rest := strings.TrimSpace(text)
	for rest != "" {
		if rest[0] != '"' {
			return "InvalidCharacterString (Value should be enclosed in quotation marks)"
		}
		end, length := 1, 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' && end+1 < len(rest) {
				if c := rest[end+1]; c >= '0' && c <= '7' && end+3 < len(rest) {
					end += 2
				}
				end++
			}
			end++
			length++
		}
		switch {
		case end >= len(rest):
			return "InvalidCharacterString (Value should be enclosed in quotation marks)"
		case length > most:
			return "CharacterStringTooLong (Value is too long)"
		}
		rest = strings.TrimSpace(rest[end+1:])
	}
	if strings.TrimSpace(text) == "" {
		return "InvalidCharacterString (Value is empty)"
	}
	return ""
}

// conflicts looks for CNAMEs that are not alone.
func (b *batch) conflicts() {
	others := map[string]bool{}
	for _, k := range sortedKeys(b.records) {
		if r := b.records.sub(k); r.str("Type") != "CNAME" {
			others[r.str("Name")] = true
		}
	}
	for _, k := range sortedKeys(b.records) {
		r := b.records.sub(k)
		switch name := r.str("Name"); {
		case r.str("Type") != "CNAME":
		case name == b.zone:
			b.refuse("RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s", name, b.zone)
		case others[name]:
			b.refuse("RRSet of type CNAME with DNS name %s is not permitted as it conflicts with other records with the same DNS name in zone %s", name, b.zone)
		}
	}
}
