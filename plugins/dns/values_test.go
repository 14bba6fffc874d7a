package dns

import (
	"slices"
	"strings"
	"testing"
)

func TestValuesAreCheckedAndBroughtIntoOneForm(t *testing.T) {
	for name, test := range map[string]struct {
		kind       recordType
		text, want string // "" is a refusal
	}{
		"an address":                                 {typeA, "192.0.2.1", "192.0.2.1"},
		"an IPv6 address in its shortest form":       {typeAAAA, "2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		"an address of the other kind is refused":    {typeA, "2001:db8::1", ""},
		"and the other way round":                    {typeAAAA, "192.0.2.1", ""},
		"IPv4 in IPv6 is refused":                    {typeAAAA, "::ffff:192.0.2.1", ""},
		"an address with leading zeros is refused":   {typeA, "192.0.2.01", ""},
		"one with a zone is refused":                 {typeAAAA, "fe80::1%eth0", ""},
		"one with a port is refused":                 {typeA, "192.0.2.1:80", ""},
		"a host":                                     {typeCNAME, "Ingress.Example.ORG.", "ingress.example.org"},
		"a host in another script":                   {typeCNAME, "büro.example.org", "xn--bro-hoa.example.org"},
		"a wildcard is no host":                      {typeCNAME, "*.example.org", ""},
		"an address is a host's name, if a bad one":  {typeCNAME, "192.0.2.1", "192.0.2.1"},
		"a URL is no host":                           {typeCNAME, "https://example.org/", ""},
		"the root is no host":                        {typeCNAME, ".", ""},
		"a text":                                     {typeTXT, `v=spf1 "x" \ ü`, `v=spf1 "x" \ ü`},
		"no text is refused":                         {typeTXT, "", ""},
		"a line's end is refused":                    {typeTXT, "a\nb", ""},
		"a text that says whose a name is, is not":   {typeTXT, "heritage=berth,app=other", ""},
		"not in another spelling either":             {typeTXT, " Heritage=BERTH,app=other", ""},
		"a long text is several strings":             {typeTXT, strings.Repeat("x", 2000), strings.Repeat("x", 2000)},
		"a longer one is refused":                    {typeTXT, strings.Repeat("x", 2001), ""},
		"another type is refused":                    {"MX", "10 mail", ""},
		"a type with other letters is refused, too":  {"a", "192.0.2.1", ""},
		"a shell's words are no address, of course":  {typeA, "$(id)", ""},
		"nor is a number that some libraries accept": {typeA, "3221225985", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := normalValue(test.kind, test.text)
			if err == nil && got != test.want || (err == nil) != (test.want != "") {
				t.Errorf("%q is %q, %v; want %q", test.text, got, err, test.want)
			}
		})
	}
}

// FuzzText holds that a text comes back from the wire and from the interfaces
// over HTTP as it went there.
func FuzzText(f *testing.F) {
	for _, text := range []string{"a", `"\`, "ü\xff\x00", `\046`, strings.Repeat("x", 700), `" "`, `\`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || len(text) > maxText {
			return
		}
		s := &rrset{key: key{"a.example.org", typeTXT}, ttl: 1, values: []string{text}}
		rr := toRecords(s)[0]
		buf := make([]byte, 70_000)
		n, err := packRR(rr, buf)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		back, err := unpackRR(buf[:n])
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if _, got, _ := fromRecord(back); got != text {
			t.Errorf("%q came back from the wire as %q", text, got)
		}
		for _, base := range []int{8, 10} {
			if got := fromPresentation(typeTXT, toPresentation(typeTXT, text, base), base); got != text {
				t.Errorf("%q came back as %q with base %d", text, got, base)
			}
		}
	})
}

func TestManifestsAreReadAsTheyWereWritten(t *testing.T) {
	me := owner{app: "shop", env: "pr-1", part: "url", installation: "i"}
	const zone = "preview.example.org"
	m := &manifest{archived: true, sets: []*rrset{
		{key: key{"z.preview.example.org", typeTXT}, ttl: 5, values: []string{"a b  c %20", "heritage=other"}},
		{key: key{"*.a.preview.example.org", typeA}, ttl: 60, values: []string{"192.0.2.1", "192.0.2.2"}},
		{key: key{zone, typeTXT}, ttl: 60, values: []string{"x"}},
	}}
	back := parseManifest(m.set(me, zone), me, zone)
	if back == nil || !back.archived || !slices.EqualFunc(back.sets, m.sets, (*rrset).same) {
		t.Fatalf("it came back as %+v", back)
	}
	other := me
	other.env = "pr-2"
	if parseManifest(m.set(me, zone), other, zone) != nil {
		t.Error("another's manifest is taken for one's own")
	}
}

func FuzzManifest(f *testing.F) {
	f.Add("record=0 pr-1.shop CNAME 60 ingress.example.org")
	f.Add("archived=1 @ TXT 60 a b")
	f.Add("record=9999999999999999999 @ A 1 1")
	f.Add("heritage=berth,app=%zz")
	me := owner{app: "shop", env: "pr-1", part: "url"}
	f.Fuzz(func(t *testing.T, text string) {
		m := parseManifest(&rrset{values: []string{me.text(), text}}, me, "example.org")
		if m == nil {
			if _, ok := parseOwner(text); !ok {
				t.Fatal("the mark beside it is not seen")
			}
			return
		}
		for _, s := range m.sets {
			if !within(s.name, "example.org") || checkOwnable(s.name, "example.org") != nil && s.name != "example.org" {
				t.Errorf("it claims %s", s.key)
			}
		}
	})
}
