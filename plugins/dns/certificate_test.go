package dns

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestCertificateIsReadAsItIsMeant(t *testing.T) {
	t.Parallel()
	const zone = "preview.example.org"
	own := []string{"pr-42.shop.preview.example.org"}
	tests := map[string]struct {
		with    string
		own     []string
		names   []string
		reach   reach
		secret  string
		space   string
		issuer  string // annotation=name
		refused string // a word of the refusal
	}{
		"one wildcard of the app covers its environments": {with: `{"secret":"tls-web"}`, own: own, names: []string{"*.shop.preview.example.org"}, reach: reachApp},
		"names that are listed are taken as they are":     {with: `{"secret":"tls-web","names":["api","*.api","Zürich"]}`, own: own, names: []string{"*.api.preview.example.org", "api.preview.example.org", "xn--zrich-kva.preview.example.org"}, reach: reachNone},
		"the environment has a wildcard below its name":   {with: `{"secret":"tls-web","wildcard":"environment"}`, own: own, names: []string{"*.pr-42.shop.preview.example.org", "pr-42.shop.preview.example.org"}, reach: reachEnvironment},
		"none is the part's names alone":                  {with: `{"secret":"tls-web","wildcard":"none"}`, own: own, names: own, reach: reachNone},
		"several names with one parent share a wildcard":  {with: `{"secret":"tls-web"}`, own: []string{"pr-42.shop.preview.example.org", "pr-42-api.shop.preview.example.org"}, names: []string{"*.shop.preview.example.org"}, reach: reachApp},
		"a wildcard of the app just below the zone":       {with: `{"secret":"tls-web"}`, own: []string{"pr-42-shop.preview.example.org"}, names: []string{"*.preview.example.org"}, reach: reachApp},
		"another namespace":                               {with: `{"secret":"tls-web","namespace":"ingress"}`, own: own, names: []string{"*.shop.preview.example.org"}, reach: reachApp, space: "ingress"},
		"an issuer of cert-manager":                       {with: `{"secret":"tls-web","cert_manager":{"issuer":"staging"}}`, own: own, issuer: "cert-manager.io/issuer=staging"},
		"a cluster issuer of cert-manager":                {with: `{"secret":"tls-web","cert_manager":{"cluster_issuer":"letsencrypt"}}`, own: own, issuer: "cert-manager.io/cluster-issuer=letsencrypt"},

		"an environment's name below the first word": {with: `{"secret":"tls-web"}`, own: []string{"web.pr-42.preview.example.org"}, refused: "wildcard: environment"},
		"an environment's name as a part of a word":  {with: `{"secret":"tls-web"}`, own: []string{"web.shop-pr-42.preview.example.org"}, refused: "wildcard: environment"},
		"the zone itself has no wildcard of the app": {with: `{"secret":"tls-web"}`, own: []string{zone}, refused: "wildcard: none"},
		"no Secret":                                {with: `{}`, own: own, refused: "secret"},
		"a Secret that is no name":                 {with: `{"secret":"No Good"}`, own: own, refused: "secret"},
		"a namespace that is no name":              {with: `{"secret":"tls-web","namespace":"../x"}`, own: own, refused: "namespace"},
		"a name outside the zone":                  {with: `{"secret":"tls-web","names":["shop.example.com."]}`, own: own, refused: "not in the zone"},
		"a name that no certificate can have":      {with: `{"secret":"tls-web","names":["_x"]}`, own: own, refused: "_"},
		"a name with a line's end":                 {with: `{"secret":"tls-web","names":["a\nb"]}`, own: own, refused: "name"},
		"a name too long for its proof":            {with: `{"secret":"tls-web","names":["` + strings.Repeat("a.", 105) + `a"]}`, own: own, refused: "too long"},
		"no names at all":                          {with: `{"secret":"tls-web"}`, refused: "names"},
		"an unknown key":                           {with: `{"secret":"tls-web","wildcards":"app"}`, own: own, refused: "wildcards"},
		"an unknown reach":                         {with: `{"secret":"tls-web","wildcard":"all"}`, own: own, refused: "app, environment or none"},
		"two issuers":                              {with: `{"secret":"tls-web","cert_manager":{"issuer":"a","cluster_issuer":"b"}}`, own: own, refused: "issuer"},
		"no issuer":                                {with: `{"secret":"tls-web","cert_manager":{}}`, own: own, refused: "issuer"},
		"an issuer that would break an annotation": {with: `{"secret":"tls-web","cert_manager":{"issuer":"a\nb: c"}}`, own: own, refused: "issuer"},
		"a text where keys belong":                 {with: `"tls-web"`, own: own, refused: "certificate"},
		"more names than a certificate can have":   {with: `{"secret":"tls-web","names":[` + strings.TrimSuffix(manyNames(101), ",") + `]}`, own: own, refused: "100"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var with any
			if err := json.Unmarshal([]byte(test.with), &with); err != nil {
				t.Fatal(err)
			}
			wish, err := readCertificate(sdk.Step{App: "shop", Env: "pr-42", Namespace: "shop-pr-42", With: map[string]any{"certificate": with}}, zone, test.own)
			if test.refused != "" {
				e, ok := errors.AsType[*sdk.Error](err)
				if !ok || e.Fault != sdk.FaultInvalid || !strings.Contains(e.Msg, test.refused) || strings.Contains(e.Msg, "\n") {
					t.Fatalf("got %+v, %v; want a refusal that says %q", wish, err, test.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			space := "shop-pr-42"
			if test.space != "" {
				space = test.space
			}
			issuer := ""
			if wish.issuer != nil {
				issuer = wish.issuer.annotation + "=" + wish.issuer.name
			}
			if !slices.Equal(wish.names, test.names) || wish.issuer == nil && wish.reach != test.reach || wish.namespace != space || wish.secret != "tls-web" || issuer != test.issuer {
				t.Errorf("got %+v, issuer %q", wish, issuer)
			}
		})
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`"a` + strings.Repeat("b", i%50) + string(rune('a'+i/50)) + `",`)
	}
	return b.String()
}

func TestAPartWithoutCertificateHasNone(t *testing.T) {
	t.Parallel()
	for _, with := range []map[string]any{nil, {}, {"certificate": nil}} {
		if wish, err := readCertificate(sdk.Step{With: with}, "example.org", nil); wish != nil || err != nil {
			t.Errorf("%v: got %+v, %v", with, wish, err)
		}
	}
}

func FuzzCertificate(f *testing.F) {
	f.Add(`{"secret":"tls-web","names":["*.a","b."],"wildcard":"app"}`, "pr-42.shop.preview.example.org")
	f.Add(`{"secret":"tls-web","cert_manager":{"issuer":"x"}}`, "*.x")
	f.Fuzz(func(t *testing.T, text, own string) {
		var with any
		if json.Unmarshal([]byte(text), &with) != nil {
			return
		}
		wish, err := readCertificate(sdk.Step{App: "shop", Env: "pr-42", Namespace: "n", With: map[string]any{"certificate": with}}, "preview.example.org", []string{own})
		if err != nil {
			if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Fault != sdk.FaultInvalid || strings.ContainsAny(e.Msg, "\n\r\x1b") {
				t.Errorf("a refusal that is not for people: %#v", err)
			}
			return
		}
		if wish == nil || wish.issuer != nil {
			return
		}
		if len(wish.names) == 0 || len(wish.names) > maxCertificateNames || !slices.IsSorted(wish.names) {
			t.Errorf("names %q", wish.names)
		}
	})
}
