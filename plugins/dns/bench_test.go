package dns

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

// BenchmarkThreeRecords has three records made, made again with nothing to
// change, and removed, each beside nsupdate doing the same at the same server.
func BenchmarkThreeRecords(b *testing.B) {
	w := newWorld(b, "")
	with := map[string]any{"zone": w.server.Zone(), "records": []any{
		map[string]any{"name": "a.pr-1", "type": "A", "values": "192.0.2.1"},
		map[string]any{"name": "b.pr-1", "type": "CNAME", "values": "ingress.example.org"},
		map[string]any{"name": "c.pr-1", "type": "TXT", "values": "hello"},
	}}
	nsupdate, err := exec.LookPath("nsupdate")
	if err != nil {
		b.Skip("nsupdate is not installed: apt-get install bind9-dnsutils")
	}
	host, port, _ := strings.Cut(w.server.Address, ":")
	script := func(lines ...string) {
		cmd := exec.Command(nsupdate, "-y", w.server.Algorithm+":"+w.server.KeyName+":"+w.server.Secret)
		cmd.Stdin = strings.NewReader("server " + host + " " + port + "\nzone " + w.server.Zone() + "\n" + strings.Join(lines, "\n") + "\nsend\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	remove := []string{"update delete a.pr-9." + w.server.Zone(), "update delete b.pr-9." + w.server.Zone(), "update delete c.pr-9." + w.server.Zone()}
	add := []string{
		"update add a.pr-9." + w.server.Zone() + " 60 A 192.0.2.1",
		"update add b.pr-9." + w.server.Zone() + " 60 CNAME ingress.example.org.",
		"update add c.pr-9." + w.server.Zone() + " 60 TXT hello",
	}
	for _, bench := range []struct {
		name string
		do   func()
	}{
		{"deploy and cleanup by berth", func() { w.run(w.step(sdk.Deploy, with)); w.run(w.step(sdk.Cleanup, with)) }},
		{"deploy and cleanup by nsupdate", func() { script(append(remove, add...)...); script(remove...) }},
		{"unchanged by berth", func() { w.run(w.step(sdk.Deploy, with)) }},
		{"unchanged by nsupdate", func() { script(append(remove, add...)...) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			if strings.HasPrefix(bench.name, "unchanged") {
				bench.do()
			}
			for b.Loop() {
				bench.do()
			}
		})
	}
}
