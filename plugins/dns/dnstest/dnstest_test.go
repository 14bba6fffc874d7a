package dnstest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/dns/dnstest"
)

func TestServersTakeChangesAndTellThem(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, dnstest.Options) *dnstest.Server{"BIND": dnstest.BIND, "PowerDNS": dnstest.PowerDNS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, dnstest.Options{Records: "www IN A 192.0.2.1"})
			before := s.Serial(t, s.Zone())
			s.Change(t, s.Zone(), []string{"new." + s.Zone() + ". 60 IN A 192.0.2.2"}, "www."+s.Zone())
			lines := s.Transfer(t, s.Zone())
			if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "new.") }) ||
				slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "www.") }) {
				t.Errorf("the zone is %q", lines)
			}
			if after := s.Serial(t, s.Zone()); after == before {
				t.Errorf("the serial is still %d", after)
			}
		})
	}
}

func TestASecondaryFollowsWhenItIsTold(t *testing.T) {
	t.Parallel()
	primary := dnstest.BIND(t, dnstest.Options{})
	second := dnstest.BIND(t, dnstest.Options{Primary: primary})
	primary.Change(t, primary.Zone(), []string{"new." + primary.Zone() + ". 60 IN A 192.0.2.2"})
	if primary.Serial(t, primary.Zone()) == second.Serial(t, primary.Zone()) {
		t.Fatal("the secondary follows by itself")
	}
	second.Notify(t, primary.Zone())
	for primary.Serial(t, primary.Zone()) != second.Serial(t, primary.Zone()) {
		if t.Context().Err() != nil {
			t.Fatal("the secondary does not follow")
		}
	}
}
