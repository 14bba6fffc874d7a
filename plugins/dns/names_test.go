package dns

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestNamesAreReadOneWayOnly(t *testing.T) {
	const zone = "preview.example.org"
	long := strings.Repeat("a", 63)
	for name, test := range map[string]struct {
		text, want string // "" is a refusal
	}{
		"a name is relative to the zone":                         {"pr-1.shop", "pr-1.shop.preview.example.org"},
		"@ is the zone itself":                                   {"@", zone},
		"case does not matter":                                   {"PR-1.Shop", "pr-1.shop.preview.example.org"},
		"a wildcard is one at the front":                         {"*.pr-1", "*.pr-1.preview.example.org"},
		"a wildcard of the zone is one":                          {"*", "*.preview.example.org"},
		"a name with a dot at its end is absolute":               {"x.preview.example.org.", "x.preview.example.org"},
		"the zone, absolute, is the zone":                        {"preview.example.org.", zone},
		"an absolute name elsewhere is refused":                  {"x.example.org.", ""},
		"a zone that only ends alike is another":                 {"x.evilpreview.example.org.", ""},
		"the parent zone is another":                             {"example.org.", ""},
		"letters beyond ASCII become punycode":                   {"büro", "xn--bro-hoa.preview.example.org"},
		"punycode stays what it is":                              {"xn--bro-hoa", "xn--bro-hoa.preview.example.org"},
		"punycode that decodes to nothing is refused":            {"xn--zzzzzzzzz", ""},
		"a full-width dot separates labels":                      {"a。b", "a.b.preview.example.org"},
		"underscores are for services":                           {"_sip._tcp", "_sip._tcp.preview.example.org"},
		"a label of 63 characters fits":                          {long, long + ".preview.example.org"},
		"one of 64 does not":                                     {long + "a", ""},
		"a name whose mark would be too long is refused":         {strings.Join([]string{long, long, long, strings.Repeat("a", 40)}, "."), ""},
		"nothing is no name":                                     {"", ""},
		"a dot alone is no name":                                 {".", ""},
		"two dots are refused":                                   {"a..b", ""},
		"a dot in front is refused":                              {".a", ""},
		"going up is refused":                                    {"../x", ""},
		"a space is refused":                                     {"a b", ""},
		"a line's end is refused":                                {"a\nb", ""},
		"a NUL is refused":                                       {"a\x00b", ""},
		"an escaped dot is refused":                              {`a\.b`, ""},
		"a decimal escape is refused":                            {`a\046b`, ""},
		"a quote is refused":                                     {`a"b`, ""},
		"a slash is refused":                                     {"a/b", ""},
		"a semicolon is refused":                                 {"a;b", ""},
		"a shell's words are refused":                            {"$(id)", ""},
		"a template's rest is refused":                           {"{{ .Name }}", ""},
		"a dash at an end is refused":                            {"a-", ""},
		"a dash in front is refused":                             {"-a", ""},
		"a wildcard in the middle is refused":                    {"a.*.b", ""},
		"a wildcard within a word is refused":                    {"a*", ""},
		"two wildcards are refused":                              {"*.*.a", ""},
		"what is not UTF-8 is refused":                           {"a\xffb", ""},
		"a name that reads from right to left in part is":        {"a\u202eb", ""},
		"a zero-width character does not make another name":      {"a\u200bb", "ab.preview.example.org"},
		"100 KB are refused":                                     {strings.Repeat("a.", 50_000), ""},
		"a name of an ownership record is refused":               {"_berth.pr-1", ""},
		"one below such a name is refused":                       {"x._berth", ""},
		"the word that stands for a wildcard is refused":         {"wildcard.pr-1", ""},
		"that word further back is a word":                       {"a.wildcard", "a.wildcard.preview.example.org"},
		"an address is a name like any other, within the zone":   {"192.0.2.1", "192.0.2.1.preview.example.org"},
		"a name of the zone, relative, is below it":              {"preview.example.org", "preview.example.org.preview.example.org"},
		"a name in another script with the same look is another": {"рr-1", "xn--r-1-zed.preview.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseName(zone, test.text)
			if got != test.want && err == nil || (err == nil) != (test.want != "") {
				t.Fatalf("%q is %q, %v; want %q", test.text, got, err, test.want)
			}
			if err == nil {
				return
			}
			e, ok := errors.AsType[*sdk.Error](err)
			if !ok || e.Fault != sdk.FaultInvalid || len(e.Msg) > 600 || strings.ContainsAny(e.Msg, "\n\x00\u202e") {
				t.Errorf("the refusal is %q", err)
			}
		})
	}
}

func TestZonesAreWhoseTheSettingsSay(t *testing.T) {
	settings, err := readSettings(map[string]any{"zones": map[string]any{
		"Preview.Example.org.": map[string]any{"apps": []any{"shop"}, "provider": map[string]any{"rfc2136": map[string]any{"server": "192.0.2.53"}}},
		"all.example.org":      map[string]any{"apps": []any{"*"}, "provider": map[string]any{"rfc2136": map[string]any{"server": "[2001:db8::53]:5353"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		zone, app string
		ok        bool
	}{
		"its app may use it":                     {"preview.example.org", "shop", true},
		"in any spelling":                        {"PREVIEW.example.org.", "shop", true},
		"another app may not":                    {"preview.example.org", "shops", false},
		"nor one with a name that begins alike":  {"preview.example.org", "sho", false},
		"nor one called like the star":           {"preview.example.org", "*", false},
		"the star is every app":                  {"all.example.org", "any", true},
		"a zone that is not named is refused":    {"example.org", "shop", false},
		"so is one below a zone":                 {"x.preview.example.org", "shop", false},
		"so is one with an escape":               {`preview\.example.org`, "shop", false},
		"so is one that only looks the same":     {"prеview.example.org", "shop", false},
		"so is no zone at all":                   {"", "shop", false},
		"so is one that has something behind it": {"preview.example.org..", "shop", false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := settings.zone(test.zone, test.app); (err == nil) != test.ok {
				t.Errorf("%q for %q: %v", test.zone, test.app, err)
			}
		})
	}
	if z := settings.zones["all.example.org"]; z.rfc2136.server != "[2001:db8::53]:5353" {
		t.Errorf("the server is %s", z.rfc2136.server)
	}
}

func TestOwnerNamesLeadBackToNames(t *testing.T) {
	for name, owner := range map[string]string{
		"pr-1.example.org":   "_berth.pr-1.example.org",
		"*.pr-1.example.org": "_berth.wildcard.pr-1.example.org",
		"example.org":        "_berth.example.org",
	} {
		if got := ownerName(name); got != owner {
			t.Errorf("the mark of %s is at %s, want %s", name, got, owner)
		}
		if got, ok := ownedName(owner); !ok || got != name {
			t.Errorf("%s is of %s, want %s", owner, got, name)
		}
	}
	if _, ok := ownedName("pr-1._berth.example.org"); ok {
		t.Error("a name with the word further back is taken for a mark's")
	}
}

func FuzzName(f *testing.F) {
	for _, text := range []string{"pr-1.shop", "*.a", "@", "a..b", "büro", `a\.b`, "x.preview.example.org.", "_berth.x", "a。b", "xn--a"} {
		f.Add(text)
	}
	const zone = "preview.example.org"
	f.Fuzz(func(t *testing.T, text string) {
		name, err := parseName(zone, text)
		if err != nil {
			return
		}
		if !within(name, zone) || len(ownerName(name)) > maxName || strings.ToLower(name) != name {
			t.Errorf("%q became %q", text, name)
		}
		if again, err := parseName(zone, relative(name, zone)); err != nil || again != name {
			t.Errorf("%q became %q, and that %q, %v", text, name, again, err)
		}
		if back, ok := ownedName(ownerName(name)); !ok || back != name {
			t.Errorf("the mark of %q is %q's", name, back)
		}
	})
}
