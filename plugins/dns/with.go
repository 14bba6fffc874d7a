package dns

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// maxRecords is how many RRsets one part can have: what one change of every
	// provider takes at once, with the records of ownership.
	maxRecords = 50
	// maxValues is how many records one RRset can have.
	maxValues = 50
	// maxPart bounds all values of a part, in bytes, so that one message of DNS
	// (64 KiB) holds a change of all of them. Route 53 takes 32,000 characters:
	// https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html
	maxPart = 10_000
)

// part is what a part's `with` wants, checked and in its normal form.
type part struct {
	main string   // the absolute name that the outputs name; "" without records
	sets []*rrset // in the order of the settings
}

// rawPart is `with` as it is written.
type rawPart struct {
	Zone        string          `json:"zone"`
	Name        *string         `json:"name"`
	A           texts           `json:"a"`
	AAAA        texts           `json:"aaaa"`
	CNAME       string          `json:"cname"`
	TXT         texts           `json:"txt"`
	TTL         *int64          `json:"ttl"`
	Records     []rawRecord     `json:"records"`
	Certificate json.RawMessage `json:"certificate"` // see the certificates
}

type rawRecord struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Values texts  `json:"values"`
	TTL    *int64 `json:"ttl"`
}

// texts is a text or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

// withSchema is the JSON Schema of a part's `with`.
func withSchema() map[string]any {
	text := func(about string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": about}
	}
	list := func(about string) map[string]any {
		return map[string]any{"description": about, "oneOf": []any{
			map[string]any{"type": "string", "minLength": 1},
			map[string]any{"type": "array", "minItems": 1, "maxItems": maxValues, "items": map[string]any{"type": "string", "minLength": 1}},
		}}
	}
	ttl := map[string]any{"type": "integer", "minimum": 1, "maximum": maxTTL, "description": "seconds that caches keep the record; the zone's default without it"}
	return map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
		"required": []any{"zone"},
		"properties": map[string]any{
			"zone":  text("a zone of the executor's settings that the app may have names in"),
			"name":  text("name in the zone, relative to it; @ is the zone itself, *.x everything below x"),
			"a":     list("IPv4 addresses of the name"),
			"aaaa":  list("IPv6 addresses of the name"),
			"cname": text("host that the name is another name of"),
			"txt":   list("texts of the name"),
			"ttl":   ttl,
			"records": map[string]any{
				"type": "array", "maxItems": maxRecords, "description": "more records of the part",
				"items": map[string]any{
					"type": "object", "additionalProperties": false, "required": []any{"name", "type", "values"},
					"properties": map[string]any{
						"name": text("as name above"),
						"type": map[string]any{"enum": []any{string(typeA), string(typeAAAA), string(typeCNAME), string(typeTXT)}},
						// One value alone can be written without a list.
						"values": list("addresses, the one host of a CNAME, or texts"),
						"ttl":    ttl,
					},
				},
			},
			"certificate": certificateSchema(),
		},
	}
}

// readPart checks a part's settings as a whole before anything is asked or
// changed.
func readPart(s settings, step sdk.Step) (zoneSettings, part, error) {
	var raw rawPart
	if err := decode(step.With, &raw); err != nil {
		return zoneSettings{}, part{}, sdk.Invalid("The settings of this dns part cannot be used: %s.", err)
	}
	if raw.Zone == "" {
		return zoneSettings{}, part{}, sdk.Invalid("A dns part needs `zone`, one of those in the settings of the dns executor.")
	}
	z, err := s.zone(raw.Zone, step.App)
	if err != nil {
		return z, part{}, err
	}
	records, err := raw.list()
	if err != nil {
		return z, part{}, err
	}
	var out part
	for _, r := range records {
		set, err := readRecord(z, r, raw.TTL)
		if err != nil {
			return z, part{}, err
		}
		out.sets = append(out.sets, set)
	}
	if len(out.sets) > 0 {
		out.main = out.sets[0].name
	}
	return z, out, checkTogether(out.sets, z.name)
}

// list is all that raw wants, in one form.
func (raw rawPart) list() ([]rawRecord, error) {
	var out []rawRecord
	add := func(kind recordType, values texts) {
		if len(values) > 0 {
			out = append(out, rawRecord{Type: string(kind), Values: values})
		}
	}
	add(typeA, raw.A)
	add(typeAAAA, raw.AAAA)
	if raw.CNAME != "" {
		add(typeCNAME, texts{raw.CNAME})
	}
	add(typeTXT, raw.TXT)
	switch {
	case len(out) > 0 && raw.Name == nil:
		return nil, sdk.Invalid("A dns part with `cname`, `a`, `aaaa` or `txt` needs a `name`; \"@\" is the zone itself.")
	case len(out) == 0 && raw.Name != nil:
		return nil, sdk.Invalid("The name %s has no record: give it a `cname`, `a`, `aaaa` or `txt`.", quoted(*raw.Name))
	}
	for i := range out {
		out[i].Name = *raw.Name
	}
	if out = append(out, raw.Records...); len(out) > maxRecords {
		return nil, sdk.Invalid("The part has %d records, and %d is the most: use several parts.", len(out), maxRecords)
	}
	return out, nil
}

// readRecord is one RRset as it is to be.
func readRecord(z zoneSettings, r rawRecord, ttl *int64) (*rrset, error) {
	name, err := parseName(z.name, r.Name)
	if err != nil {
		return nil, err
	}
	set := &rrset{key: key{name, recordType(strings.ToUpper(r.Type))}, ttl: z.ttl}
	if r.TTL != nil {
		ttl = r.TTL
	}
	if ttl != nil {
		if *ttl < 1 || *ttl > maxTTL {
			return nil, sdk.Invalid("The `ttl` of %s is %d; it is a number of seconds from 1 to %d.", name, *ttl, maxTTL)
		}
		set.ttl = uint32(*ttl)
	}
	if len(r.Values) == 0 || len(r.Values) > maxValues {
		return nil, sdk.Invalid("The record %s has %d values; it needs 1 to %d.", set.key, len(r.Values), maxValues)
	}
	for _, text := range r.Values {
		value, err := normalValue(set.kind, text)
		if err != nil {
			return nil, err
		}
		set.values = append(set.values, value)
	}
	slices.Sort(set.values)
	set.values = slices.Compact(set.values)
	return set, nil
}

// String names k for people.
func (k key) String() string { return k.name + " " + string(k.kind) }

// checkTogether refuses what cannot be side by side.
func checkTogether(sets []*rrset, zone string) error {
	types, size := map[string][]recordType{}, 0
	for _, s := range sets {
		if slices.Contains(types[s.name], s.kind) {
			return sdk.Invalid("The part has %s twice: put all its values into one.", s.key)
		}
		types[s.name] = append(types[s.name], s.kind)
		for _, v := range s.values {
			size += len(v)
		}
		switch {
		case s.kind != typeCNAME:
		case len(s.values) > 1:
			return sdk.Invalid("The CNAME of %s points at %d hosts, and it can point at one.", s.name, len(s.values))
		case s.name == zone:
			return sdk.Invalid("The zone %s itself cannot be a CNAME, which can stand beside no other record: give it addresses.", zone)
		case s.values[0] == s.name:
			return sdk.Invalid("The CNAME of %s points at itself.", s.name)
		}
	}
	for _, name := range sorted(types) {
		if kinds := types[name]; len(kinds) > 1 && slices.Contains(kinds, typeCNAME) {
			return sdk.Invalid("The name %s has a CNAME and other records, and a CNAME can stand beside no other.", name)
		}
	}
	if size > maxPart {
		return sdk.Invalid("The values of this part have %d bytes in all; %d is the most. Use several parts.", size, maxPart)
	}
	return nil
}
