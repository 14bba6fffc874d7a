package dnstest

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// PowerDNS starts PowerDNS with an SQLite database and dynamic updates. A test is
// skipped where it is not installed; CI installs it. It serves no secondary.
func PowerDNS(t testing.TB, o Options) *Server {
	t.Helper()
	server := program(t, "pdns_server", "pdns-server pdns-backend-sqlite3")
	util := program(t, "pdnsutil", "pdns-server")
	s := newServer(t, o)
	dir := folder(t)
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "pdns.conf"), fmt.Sprintf(`launch=gsqlite3
gsqlite3-database=%s
gsqlite3-pragma-synchronous=0
local-address=%s
local-port=%s
socket-dir=%s
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8
disable-axfr=no
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
version-string=anonymous
`, filepath.Join(dir, "pdns.sqlite"), host, port, dir))
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	run(program(t, "sqlite3", "sqlite3"), filepath.Join(dir, "pdns.sqlite"), ".read /usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")
	pdnsutil := func(args ...string) { t.Helper(); run(util, append([]string{"--config-dir", dir}, args...)...) }
	pdnsutil("import-tsig-key", KeyName, s.Algorithm, s.Secret)
	for i, zone := range s.Zones {
		records := ""
		if i == 0 {
			records = o.Records
		}
		file := filepath.Join(dir, zone+".zone")
		write(t, file, zoneFile(zone, records))
		pdnsutil("load-zone", zone, file)
		pdnsutil("set-meta", zone, "TSIG-ALLOW-DNSUPDATE", KeyName)
		pdnsutil("set-meta", zone, "TSIG-ALLOW-AXFR", KeyName)
	}
	s.start(t, exec.Command(server, "--config-dir="+dir, "--guardian=no", "--daemon=no"))
	return s
}
