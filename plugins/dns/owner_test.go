package dns

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestNothingIsTakenThatIsNotThePartsOwn(t *testing.T) {
	t.Parallel()
	const zone = "preview.example.org"
	w := newWorld(t, strings.Join([]string{
		"foreign IN A 192.0.2.9",
		"mail IN MX 10 mx",
		"texts IN TXT \"v=spf1 -all\"",
		"_berth.odd IN TXT \"something else\"",
		"_berth.theirs IN TXT \"heritage=berth,app=shop,environment=pr-2,part=url,installation=inst-1\"",
		"theirs IN A 192.0.2.9",
		"_berth.elsewhere IN TXT \"heritage=berth,app=shop,environment=pr-1,part=url,installation=inst-2\"",
		"_berth.part IN TXT \"heritage=berth,app=shop,environment=pr-1,part=other,installation=inst-1\"",
		"_berth.both IN TXT \"heritage=berth,app=shop,environment=pr-1,part=url,installation=inst-1\"",
		"_berth.both IN TXT \"heritage=berth,app=shop,environment=pr-2,part=url,installation=inst-1\"",
		"sub IN NS ns.elsewhere.example.",
		"cnamed IN CNAME somewhere.example.",
	}, "\n"))
	for name, test := range map[string]struct {
		with map[string]any
		say  []string
	}{
		"a record that Berth did not make":               {map[string]any{"name": "foreign", "a": "192.0.2.1"}, []string{"foreign.preview.example.org A is there already", `"heritage=berth,app=shop,environment=pr-1,part=url,installation=inst-1"`, "_berth.foreign"}},
		"a CNAME beside such a record":                   {map[string]any{"name": "foreign", "cname": "x.example"}, []string{"foreign.preview.example.org A"}},
		"a CNAME beside a mail exchanger":                {map[string]any{"name": "mail", "cname": "x.example"}, []string{"MX"}},
		"an address beside a CNAME":                      {map[string]any{"name": "cnamed", "a": "192.0.2.1"}, []string{"cnamed.preview.example.org CNAME"}},
		"another environment's name":                     {map[string]any{"name": "theirs", "a": "192.0.2.1"}, []string{"shop/pr-2 (part url)"}},
		"another Berth's name":                           {map[string]any{"name": "elsewhere", "a": "192.0.2.1"}, []string{"shop/pr-1 (part url) of another Berth"}},
		"another part's name":                            {map[string]any{"name": "part", "a": "192.0.2.1"}, []string{"part other"}},
		"a name that two claim":                          {map[string]any{"name": "both", "a": "192.0.2.1"}, []string{"several owners"}},
		"a name whose mark's place is taken":             {map[string]any{"name": "odd", "a": "192.0.2.1"}, []string{"_berth.odd"}},
		"a text beside the texts of others":              {map[string]any{"name": "texts", "txt": "x"}, []string{"texts.preview.example.org TXT"}},
		"a name that is delegated away":                  {map[string]any{"name": "x.sub", "a": "192.0.2.1"}, []string{"sub.preview.example.org is delegated"}},
		"one fine name and one of others, together":      {map[string]any{"name": "fine", "a": "192.0.2.1", "records": []any{map[string]any{"name": "foreign", "type": "A", "values": "192.0.2.1"}}}, []string{"foreign.preview.example.org A"}},
		"a CNAME at the zone itself":                     {map[string]any{"name": "@", "cname": "x.example"}, []string{"zone preview.example.org itself"}},
		"a CNAME to itself":                              {map[string]any{"name": "a", "cname": "A.preview.example.org."}, []string{"itself"}},
		"a CNAME beside an address of the part":          {map[string]any{"name": "a", "cname": "x.example", "a": "192.0.2.1"}, []string{"stand beside no other"}},
		"one record twice":                               {map[string]any{"name": "a", "a": "192.0.2.1", "records": []any{map[string]any{"name": "A", "type": "A", "values": "192.0.2.2"}}}, []string{"twice"}},
		"a CNAME to two hosts":                           {map[string]any{"records": []any{map[string]any{"name": "a", "type": "CNAME", "values": []any{"x.example", "y.example"}}}}, []string{"can point at one"}},
		"a name without a record":                        {map[string]any{"name": "a"}, []string{"has no record"}},
		"a record without a name":                        {map[string]any{"a": "192.0.2.1"}, []string{"needs a `name`"}},
		"no record at all":                               {map[string]any{}, []string{"needs a record"}},
		"an unknown setting":                             {map[string]any{"name": "a", "a": "192.0.2.1", "mx": "x"}, []string{`no setting "mx"`}},
		"a text that says whose a name is":               {map[string]any{"name": "a", "txt": "heritage=berth,app=x,environment=y,part=z"}, []string{"cannot begin with"}},
		"a TTL of nothing":                               {map[string]any{"name": "a", "a": "192.0.2.1", "ttl": 0}, []string{"`ttl`"}},
		"a TTL of a year":                                {map[string]any{"name": "a", "a": "192.0.2.1", "ttl": 31536000}, []string{"`ttl`"}},
		"a number where a text belongs":                  {map[string]any{"name": "a", "a": 5}, []string{"cannot be used"}},
		"a name outside of the zone, by its end":         {map[string]any{"name": "a.example.org.", "a": "192.0.2.1"}, []string{"is not in the zone"}},
		"a name that is what a mark's is called":         {map[string]any{"name": "_berth.theirs", "txt": "x"}, []string{"_berth"}},
		"a name with an escape that would be two labels": {map[string]any{"name": `a\.b`, "a": "192.0.2.1"}, []string{"escapes"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			test.with["zone"] = zone
			msg := w.refused(w.step(sdk.Deploy, test.with))
			for _, s := range test.say {
				if !strings.Contains(msg, s) {
					t.Errorf("it says %q, and not %q", msg, s)
				}
			}
		})
	}
	t.Run("a zone of another app", func(t *testing.T) {
		w := *w
		w.t = t
		step := w.step(sdk.Deploy, w.cname())
		step.App = "blog"
		if msg := w.refused(step); !strings.Contains(msg, `"blog" may not have names`) {
			t.Errorf("it says %q", msg)
		}
	})
}

func TestARecordThatIsHandedOverIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "mine IN A 192.0.2.9\nmine IN TXT \"theirs\"")
	with := map[string]any{"zone": w.server.Zone(), "name": "mine", "a": "192.0.2.1"}
	msg := w.refused(w.step(sdk.Deploy, with))
	_, text, _ := strings.Cut(msg, "with the text ")
	w.server.Change(t, w.server.Zone(), []string{"_berth.mine.preview.example.org. 77 IN TXT " + text, "_berth.mine.preview.example.org. 77 IN TXT note"})
	w.run(w.step(sdk.Deploy, with))
	w.has("mine.preview.example.org. 60 IN A 192.0.2.1")
	// Texts that somebody put beside it are theirs, and stay as they are.
	w.run(w.step(sdk.Cleanup, with))
	w.has(`mine.preview.example.org. 300 IN TXT "theirs"`, `_berth.mine.preview.example.org. 77 IN TXT "note"`)
	if lines := w.zone(); len(lines) != 4 {
		t.Errorf("the cleanup leaves %q", lines)
	}
}

func TestWhatSomebodyElseTookOverIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	w.run(w.step(sdk.Deploy, w.cname()))
	// Somebody takes the mark away and keeps the record.
	w.server.Change(t, w.server.Zone(), nil, "_berth.pr-1.shop.preview.example.org")
	w.run(w.step(sdk.Cleanup, w.cname()))
	w.has("pr-1.shop.preview.example.org. 60 IN CNAME")
	if lines := w.zone(); len(lines) != 3 {
		t.Errorf("the cleanup leaves %q", lines)
	}
}

func TestAWildcardOfTheZoneStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	for name, records := range map[string]string{
		"a CNAME":          "* IN CNAME catchall.example.",
		"an address":       "* IN A 192.0.2.9",
		"a text":           "* IN TXT \"v=spf1 -all\"",
		"a mail exchanger": "* IN MX 10 mx",
		"one a step below": "*.shop IN CNAME catchall.example.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, records)
			before := w.zone()
			w.run(w.step(sdk.Deploy, w.cname()))
			w.has("pr-1.shop.preview.example.org. 60 IN CNAME ingress.example.org.")
			w.run(w.step(sdk.Archive, w.cname()))
			w.run(w.step(sdk.Cleanup, w.cname()))
			if after := w.zone(); strings.Join(before, "\n") != strings.Join(after, "\n") {
				t.Errorf("the zone was\n%s\nand is\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		})
	}
	t.Run("which says the same as the part wants", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "* 60 IN CNAME ingress.example.org.")
		w.run(w.step(sdk.Deploy, w.cname()))
		w.has("pr-1.shop.preview.example.org. 60 IN CNAME ingress.example.org.")
		w.run(w.step(sdk.Cleanup, w.cname()))
	})
}

func TestAPartThatMovesLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := startBIND(t, "preview.example.org", "other.example.org")
	w := worldAt(t, s)
	w.run(w.step(sdk.Deploy, w.cname()))
	with := w.cname()
	with["zone"] = "other.example.org"
	p, err := w.x.Plan(t.Context(), w.step(sdk.Deploy, with))
	if err != nil || !strings.Contains(p.Diff, "-pr-1.shop.preview.example.org.") || !strings.Contains(p.Diff, "+pr-1.shop.other.example.org.") {
		t.Errorf("the plan is %q, %v", p.Diff, err)
	}
	// Killed at any message, the move is brought to its end by the next deploy.
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		x := New(Options{})
		x.net = &dying{network: sockets{}, left: n, lost: true, end: cancel}
		moved := x.Run(ctx, w.step(sdk.Deploy, with), &events{})
		cancel()
		w.run(w.step(sdk.Deploy, with))
		if lines := w.zone(); len(lines) != 2 {
			t.Fatalf("killed at message %d, the old zone still has %q", n, lines)
		}
		if lines := s.Transfer(t, "other.example.org"); len(lines) != 2+4 || slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, manifestMoving) }) {
			t.Fatalf("killed at message %d, the new zone has %q", n, lines)
		}
		if moved == nil {
			break
		}
		w.run(w.step(sdk.Deploy, w.cname()))
	}
	// What is a certificate alone from now on leaves its names, too.
	w.run(w.step(sdk.Deploy, w.cname()))
	bare := map[string]any{"zone": "other.example.org", "certificate": map[string]any{"secret": "tls", "names": []any{"a"}, "cert_manager": map[string]any{"issuer": "a"}}}
	w.run(w.step(sdk.Deploy, bare))
	if lines := w.zone(); len(lines) != 2 {
		t.Errorf("without names the old zone still has %q", lines)
	}
	w.run(w.step(sdk.Cleanup, with))
	if lines := s.Transfer(t, "other.example.org"); len(lines) != 2 {
		t.Errorf("the new zone still has %q", lines)
	}
}
