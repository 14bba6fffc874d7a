package dns

import (
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/dns/dnstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestCheckNamesTheZoneThatCannotBeWorkedWith(t *testing.T) {
	t.Parallel()
	primary := startBIND(t)
	second := dnstest.BIND(t, dnstest.Options{Primary: primary})
	w := worldAt(t, primary, second)
	check := func() sdk.Finding {
		t.Helper()
		serial := primary.Serial(t, primary.Zone())
		found, err := w.x.Check(t.Context(), sdk.Scope{Installation: "inst-1", Settings: w.settings})
		if err != nil || len(found) != 1 || found[0].Name != "zone preview.example.org" {
			t.Fatalf("found is %+v, %v", found, err)
		}
		if primary.Serial(t, primary.Zone()) != serial {
			t.Error("it changed the zone")
		}
		return found[0]
	}
	if f := check(); !f.OK || !strings.Contains(f.Detail, "2 of 2") {
		t.Errorf("found is %+v", f)
	}
	second.Stop()
	if f := check(); f.OK || !strings.Contains(f.Detail, second.Address+" does not answer") || f.Fix == "" {
		t.Errorf("without a secondary found is %+v", f)
	}
	if err := os.WriteFile(w.file, []byte("d3Jvbmc=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := check(); f.OK || !strings.Contains(f.Detail, "does not accept Berth's signature") || strings.Contains(f.Detail, "d3Jvbmc") {
		t.Errorf("with a wrong key found is %+v", f)
	}
}

func TestCheckHasTheRoleThatCertificatesNeed(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	namespace, roles := w.namespace("shop-pr-1"), rights(t)
	for name, of := range map[string][]rbacv1.PolicyRule{"berth-certificates": homeRights.Namespaced, "berth-certificate-copies": copyRights.Namespaced} {
		if !slices.EqualFunc(roles[name].Rules, of, func(a, b rbacv1.PolicyRule) bool { return a.String() == b.String() }) {
			t.Errorf("the page's role %s is not the one that is checked", name)
		}
	}
	check := func(kubeconfig string) []sdk.Finding {
		t.Helper()
		found, err := w.x.Check(t.Context(), sdk.Scope{Cluster: sdk.Cluster{Kubeconfig: kubeconfig}, Namespace: namespace, Installation: "inst-1", Settings: w.settings})
		if err != nil || len(found) != 5 {
			t.Fatalf("found is %+v, %v", found, err)
		}
		return found
	}
	for _, f := range check(clustertest.Kubeconfig(t)) {
		if !f.OK {
			t.Errorf("found is %+v", f)
		}
	}
	w.acme("ca_file", "/none/such")
	found := check(w.limited(map[string]rbacv1.Role{namespace: roles["berth-certificate-copies"]}))
	if authority, home, copies := found[1], found[3], found[4]; authority.OK || authority.Fix == "" || home.OK || !strings.Contains(home.Paste, "leases") || !strings.Contains(home.Paste, w.home) || !copies.OK {
		t.Errorf("found is %+v", found)
	}
}
