package kubernetes

import (
	"testing"
)

func TestWhereAnIsolatedNetworkLetsPodsCall(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		network any
		targets int // of the egress rule for all ports, the namespace included; 0: not limited
	}{
		"by default they may call anywhere":                          {nil, 0},
		"isolated says who may come in, and nothing of calls":        {"isolated", 0},
		"letting more in does not limit calls":                       {map[string]any{"from": []any{"monitoring"}}, 0},
		"naming where they may go shuts the rest":                    {map[string]any{"to": []any{"10.0.0.0/8", "databases"}}, 3},
		"an empty list leaves the namespace and DNS, and shuts more": {map[string]any{"to": []any{}}, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := namespaceBlock{Network: test.network}
			if err := b.readNetwork(); err != nil {
				t.Fatal(err)
			}
			policy := b.more.policy([]string{"ingress-nginx"})
			if ingress, _ := policy["ingress"].([]any); len(ingress) != 1 {
				t.Errorf("anybody gets in: %v", policy)
			}
			types, _ := policy["policyTypes"].([]any)
			egress, _ := policy["egress"].([]any)
			if test.targets == 0 {
				if len(types) != 1 || types[0] != "Ingress" || egress != nil {
					t.Errorf("calls are limited: %v", policy)
				}
				return
			}
			if len(types) != 2 || len(egress) != 2 {
				t.Fatalf("calls are not limited: %v", policy)
			}
			rule, _ := egress[0].(map[string]any)
			if to, _ := rule["to"].([]any); len(to) != test.targets {
				t.Errorf("calls go to %v", to)
			}
		})
	}
}
