package dns

import (
	"fmt"
	"testing"
)

// TestOfSeveralFaultsTheSameIsToldEachTime holds that a refusal does not depend on
// the order in which Go happens to walk a map, nor a list of servers on the one in
// which a provider happens to have them: who asks again is told the same.
func TestOfSeveralFaultsTheSameIsToldEachTime(t *testing.T) {
	t.Parallel()
	var sets []*rrset
	for i := range 9 {
		name := fmt.Sprintf("n%d.example.org", i)
		sets = append(sets, &rrset{key: key{name, typeCNAME}, values: []string{"a.example.org"}}, &rrset{key: key{name, typeA}, values: []string{"192.0.2.1"}})
	}
	said := map[string]bool{}
	for range 30 {
		err := checkTogether(sets, "example.org")
		if err == nil {
			t.Fatal("a CNAME with company is accepted")
		}
		said[err.Error()] = true
	}
	if len(said) != 1 {
		t.Errorf("%d different refusals: %v", len(said), said)
	}
	if got := hostServers([]string{"ns-2.example.org.", "ns-1.example.org."}); len(got) != 2 || got[0].name != "ns-1.example.org" {
		t.Errorf("the servers are %v", got)
	}
}
