package awstest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

var zoneOps = map[string]func(*call) (params, *apiError){
	"ChangeResourceRecordSets": changeRecords, "ListResourceRecordSets": listRecords, "GetChange": getChange,
	"GetHostedZone": getZone, "ListHostedZones": listZones, "ListHostedZonesByName": zonesByName,
	"CreateHostedZone": createZone, "DeleteHostedZone": deleteZone,
	"ListTagsForResource": zoneTags, "ChangeTagsForResource": changeZoneTags,
}

// Record is a record set of a hosted zone.
type Record struct {
	Name, Type string // the name with its dot, and as it is: "*.shop.example.org."
	TTL        int64
	Values     []string
}

// AddZone makes a hosted zone in an account, as whoever runs it does, and tells
// its id. Without name servers it gets some that nobody can reach.
func (s *Server) AddZone(account, name string, servers ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	th := s.addZone(account, name, "berth-test", servers)
	th.given = true
	return th.id
}

func (s *Server) addZone(account, name, reference string, servers []string) *thing {
	if len(servers) == 0 {
		servers = []string{"ns-1.awsdns-00.com", "ns-2.awsdns-00.net"}
	}
	id, name := fmt.Sprintf("Z%015d", s.number()), fqdn(name)
	th := s.add(&thing{
		account: account, region: "aws-global", service: "route53", kind: "hostedzone", id: id, arn: "arn:aws:route53:::hostedzone/" + id,
		body:   params{"Name": name, "CallerReference": reference, "Config": params{"PrivateZone": false}},
		hidden: params{"servers": anys(servers)},
	})
	ns := []any{}
	for _, one := range servers {
		ns = append(ns, params{"Value": fqdn(one)})
	}
	soa := fqdn(servers[0]) + " awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"
	th.hidden["records"] = params{
		recordKey(params{"Name": name, "Type": "NS"}):  params{"Name": name, "Type": "NS", "TTL": int64(172800), "ResourceRecords": ns},
		recordKey(params{"Name": name, "Type": "SOA"}): params{"Name": name, "Type": "SOA", "TTL": int64(900), "ResourceRecords": []any{params{"Value": soa}}},
	}
	return th
}

// Records are the record sets of a zone, in AWS' order; nil for none.
func (s *Server) Records(zone string) []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Record
	for _, th := range s.pick(func(th *thing) bool { return th.service == "route53" && th.id == zone }) {
		for _, r := range sortedRecords(th) {
			one := Record{Name: r.str("Name"), Type: r.str("Type"), TTL: r.num("TTL")}
			for _, v := range r.subs("ResourceRecords") {
				one.Values = append(one.Values, v.str("Value"))
			}
			out = append(out, one)
		}
	}
	return out
}

// fqdn is a name as Route 53 takes it: lower case, with a dot at its end, and
// with \052 for what it stands for.
func fqdn(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '\\' && i+3 < len(name) {
			if n, err := strconv.ParseUint(name[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return strings.TrimSuffix(strings.ToLower(b.String()), ".") + "."
}

// escaped is a name as Route 53 shows it: what is no letter, digit, hyphen,
// underscore or dot is written in octal.
// Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html
func escaped(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "\\%03o", c)
	}
	return b.String()
}

func recordKey(r params) string {
	return strings.Join([]string{fqdn(r.str("Name")), r.str("Type"), r.str("SetIdentifier")}, "|")
}

// reversed is a name by which Route 53 sorts: its labels from the last to the first.
func reversed(name string) string {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	slices.Reverse(labels)
	return strings.Join(labels, ".") + "."
}

func sortedRecords(zone *thing) []params {
	records, _ := zone.hidden["records"].(params)
	var out []params
	for _, k := range sortedKeys(records) {
		out = append(out, records.sub(k))
	}
	slices.SortStableFunc(out, func(a, b params) int {
		return cmp.Or(strings.Compare(reversed(a.str("Name")), reversed(b.str("Name"))), strings.Compare(a.str("Type"), b.str("Type")))
	})
	return out
}

func (c *call) zone(member string) (*thing, *apiError) {
	id := strings.TrimPrefix(c.in.str(member), "/hostedzone/")
	if th := c.find("hostedzone", id); th != nil {
		return th, nil
	}
	return nil, fail("NoSuchHostedZone", "No hosted zone found with ID: %s", id).withStatus(404)
}

// Limits of a batch.
// Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
const (
	maxRecordsOfBatch = 1000
	maxLettersOfBatch = 32000
)

func changeRecords(c *call) (params, *apiError) {
	zone, err := c.zone("HostedZoneId")
	if err != nil {
		return nil, err
	}
	before, _ := zone.hidden["records"].(params)
	b := batch{zone: zone.body.str("Name"), records: maps.Clone(before), seen: map[string]bool{}}
	for _, change := range c.in.sub("ChangeBatch").subs("Changes") {
		b.apply(change.str("Action"), change.sub("ResourceRecordSet"))
	}
	b.conflicts()
	if b.count > maxRecordsOfBatch || b.letters > maxLettersOfBatch {
		b.refuse("Number of records or characters limit exceeded.")
	}
	if len(b.wrong) > 0 {
		return nil, fail("InvalidChangeBatch", "%s", strings.Join(b.wrong, "\n"))
	}
	zone.hidden["records"] = b.records
	id := fmt.Sprintf("C%015d", c.s.number())
	th := c.new("change", id, "", nil, params{"Id": "/change/" + id, "Status": "PENDING", "SubmittedAt": c.s.now()})
	c.s.after(th, func() { th.body["Status"] = "INSYNC" })
	return params{"ChangeInfo": maps.Clone(th.body)}, nil
}

func getChange(c *call) (params, *apiError) {
	th := c.find("change", strings.TrimPrefix(c.in.str("Id"), "/change/"))
	if th == nil {
		return nil, fail("NoSuchChange", "A change with the specified change ID does not exist.").withStatus(404)
	}
	c.s.look(th)
	return params{"ChangeInfo": th.body}, nil
}

func listRecords(c *call) (params, *apiError) {
	zone, err := c.zone("HostedZoneId")
	if err != nil {
		return nil, err
	}
	if c.in.has("StartRecordType") && !c.in.has("StartRecordName") {
		return nil, fail("InvalidInput", "The request included a type but no name.")
	}
	limit := 300
	if n, err := strconv.Atoi(c.in.str("MaxItems")); err == nil {
		limit = n
	}
	limit = min(limit, c.s.opts.Page)
	out := params{"IsTruncated": false, "MaxItems": strconv.Itoa(limit)}
	list := []any{}
	name, kind := reversed(fqdn(c.in.str("StartRecordName"))), c.in.str("StartRecordType")
	for _, r := range sortedRecords(zone) {
		at := reversed(r.str("Name"))
		if c.in.has("StartRecordName") && (at < name || at == name && r.str("Type") < kind) {
			continue
		}
		if len(list) == limit {
			out["IsTruncated"], out["NextRecordName"], out["NextRecordType"] = true, escaped(r.str("Name")), r.str("Type")
			break
		}
		list = append(list, r.with(params{"Name": escaped(r.str("Name"))}))
	}
	out["ResourceRecordSets"] = list
	return out, nil
}

func shownZone(th *thing) params {
	records, _ := th.hidden["records"].(params)
	return th.body.with(params{"Id": "/hostedzone/" + th.id, "ResourceRecordSetCount": int64(len(records))})
}

func getZone(c *call) (params, *apiError) {
	th, err := c.zone("Id")
	if err != nil {
		return nil, err
	}
	return params{"HostedZone": shownZone(th), "DelegationSet": params{"NameServers": th.hidden["servers"]}}, nil
}

func listZones(c *call) (params, *apiError) {
	limit, _ := strconv.Atoi(c.in.str("MaxItems"))
	got, next := page(c.all("hostedzone"), c.in.str("Marker"), limit, c.s.opts.Page)
	list := []any{}
	for _, th := range got {
		list = append(list, shownZone(th))
	}
	out := params{"HostedZones": list, "IsTruncated": next != "", "MaxItems": strconv.Itoa(c.s.opts.Page)}
	if next != "" {
		out["NextMarker"] = next
	}
	if m := c.in.str("Marker"); m != "" {
		out["Marker"] = m
	}
	return out, nil
}

func zonesByName(c *call) (params, *apiError) {
	all := slices.Clone(c.all("hostedzone"))
	slices.SortStableFunc(all, func(a, b *thing) int {
		return strings.Compare(reversed(a.body.str("Name")), reversed(b.body.str("Name")))
	})
	list := []any{}
	for _, th := range all {
		if from := c.in.str("DNSName"); from == "" || reversed(th.body.str("Name")) >= reversed(fqdn(from)) {
			list = append(list, shownZone(th))
		}
	}
	return params{"HostedZones": list, "IsTruncated": false, "MaxItems": c.in.or("MaxItems", "100")}, nil
}

func createZone(c *call) (params, *apiError) {
	for _, th := range c.all("hostedzone") {
		if th.body.str("CallerReference") == c.in.str("CallerReference") {
			return nil, fail("HostedZoneAlreadyExists", "A hosted zone has already been created with the specified caller reference.").withStatus(409)
		}
	}
	th := c.s.addZone(c.account, c.in.str("Name"), c.in.str("CallerReference"), nil)
	return params{
		"HostedZone": shownZone(th), "DelegationSet": params{"NameServers": th.hidden["servers"]}, "Location": "https://route53.amazonaws.com/2013-04-01/hostedzone/" + th.id,
		"ChangeInfo": params{"Id": "/change/C0", "Status": "INSYNC", "SubmittedAt": c.s.now()},
	}, nil
}

func deleteZone(c *call) (params, *apiError) {
	th, err := c.zone("Id")
	if err != nil {
		return nil, err
	}
	if records, _ := th.hidden["records"].(params); len(records) > 2 {
		return nil, fail("HostedZoneNotEmpty", "The specified hosted zone contains non-required resource record sets and so cannot be deleted.")
	}
	c.s.drop(th)
	return params{"ChangeInfo": params{"Id": "/change/C0", "Status": "INSYNC", "SubmittedAt": c.s.now()}}, nil
}

func zoneTags(c *call) (params, *apiError) {
	th, err := c.zone("ResourceId")
	if err != nil {
		return nil, err
	}
	return params{"ResourceTagSet": params{"ResourceType": "hostedzone", "ResourceId": th.id, "Tags": tagList(th.tags)}}, nil
}

func changeZoneTags(c *call) (params, *apiError) {
	th, err := c.zone("ResourceId")
	if err != nil {
		return nil, err
	}
	for _, k := range c.in.strs("RemoveTagKeys") {
		delete(th.tags, k)
	}
	return params{}, setTags(th, tagsOf(c.in, "AddTags"), "InvalidInput")
}
