// Package dnstest starts real name servers for tests: BIND, and PowerDNS. They
// listen on loopback, on ports of their own, keep their data in the test's own
// folder and end with it.
package dnstest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	random "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	// KeyName is the TSIG key that servers let change and transfer their zones.
	KeyName = "berth"
	// Algorithm is that key's, as settings name it.
	Algorithm = "hmac-sha256"
	// startup is how long a server may take to answer, on a busy machine.
	startup = 2 * time.Minute
)

// Options say what kind of server to start.
type Options struct {
	// Zones are the ones that it serves; none means preview.example.org.
	Zones []string
	// Records are lines of a zone file for the first zone, relative to it.
	Records string
	// Primary makes the server a secondary of another. It follows that one's changes
	// only when it is told to (see Notify), so that it can lag.
	Primary *Server
	// Algorithm of the TSIG key; "" is Algorithm.
	Algorithm string
	// Policy is BIND's update-policy, without its braces; "" lets the key change
	// everything.
	Policy string
}

// Server is a name server that runs.
type Server struct {
	Address   string // host:port, for UDP and TCP
	Zones     []string
	KeyName   string
	Algorithm string
	Secret    string // of the key, base64

	program *exec.Cmd
	ended   chan struct{}
	output  *log
}

// Zone is the first of the server's zones.
func (s *Server) Zone() string { return s.Zones[0] }

// log keeps what a server prints, for a test that fails.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// BIND starts BIND's named. A test is skipped where it is not installed; CI
// installs it.
func BIND(t testing.TB, o Options) *Server {
	t.Helper()
	named := program(t, "named", "bind9")
	s := newServer(t, o)
	dir := folder(t)
	var conf strings.Builder
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&conf, `options { directory %q; listen-on port %s { %s; }; listen-on-v6 { none; }; pid-file none; session-keyfile none;
	recursion no; dnssec-validation no; notify no; allow-notify { 127.0.0.1; }; allow-transfer { key %s; }; };
controls { };
key %s { algorithm %s; secret %q; };
`, dir, port, host, KeyName, KeyName, s.Algorithm, s.Secret)
	for i, zone := range s.Zones {
		if o.Primary != nil {
			from, at, _ := net.SplitHostPort(o.Primary.Address)
			fmt.Fprintf(&conf, "zone %q { type secondary; file %q; primaries { %s port %s key %s; }; };\n", zone, zone+".db", from, at, KeyName)
			continue
		}
		records := ""
		if i == 0 {
			records = o.Records
		}
		write(t, filepath.Join(dir, zone+".db"), zoneFile(zone, records))
		policy := o.Policy
		if policy == "" {
			policy = "grant " + KeyName + " zonesub ANY;"
		}
		fmt.Fprintf(&conf, "zone %q { type primary; file %q; update-policy { %s }; };\n", zone, zone+".db", policy)
	}
	file := filepath.Join(dir, "named.conf")
	write(t, file, conf.String())
	s.start(t, exec.Command(named, "-g", "-n", "1", "-c", file))
	return s
}

// zoneFile is a zone whose name server is at loopback.
func zoneFile(zone, records string) string {
	return fmt.Sprintf("$ORIGIN %s.\n$TTL 300\n@ IN SOA ns1 hostmaster 1 86400 3600 604800 120\n@ IN NS ns1\nns1 IN A 127.0.0.1\n%s\n", zone, records)
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{Address: freeAddress(t), Zones: o.Zones, KeyName: KeyName, Algorithm: o.Algorithm, output: &log{}, ended: make(chan struct{})}
	if s.Algorithm == "" {
		s.Algorithm = Algorithm
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it cannot fail: crypto/rand
	s.Secret = base64.StdEncoding.EncodeToString(secret[:])
	if o.Primary != nil {
		s.Secret, s.Algorithm = o.Primary.Secret, o.Primary.Algorithm
		if len(s.Zones) == 0 {
			s.Zones = o.Primary.Zones
		}
	}
	if len(s.Zones) == 0 {
		s.Zones = []string{"preview.example.org"}
	}
	return s
}

// program is where an executable is. Debian puts servers where users' PATH has
// nothing.
func program(t testing.TB, name, packages string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); exec.Command(path, "-V").Run() == nil {
			return path
		}
	}
	t.Skipf("%s is not installed: apt-get install %s", name, packages)
	return ""
}

// folder is one that a server may write to, whatever user it becomes.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dnstest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// freeAddress is one on loopback that nobody listens at, neither by UDP nor TCP. Its
// port is none of those that a system gives to whoever asks for any, from 32768 on,
// so that nobody has it before the server.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		tcp, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 12_000+random.N(20_000)))
		if err != nil {
			continue // somebody has it
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		_ = tcp.Close()
		if err == nil {
			_ = udp.Close()
			return tcp.Addr().String()
		}
	}
	t.Fatal("there is no port that is free for both UDP and TCP")
	return ""
}

// start runs the server until the test ends, and returns when it answers for all
// of its zones.
func (s *Server) start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.program = cmd
	go func() {
		_ = cmd.Wait() // how it ended shows in its output
		close(s.ended)
	}()
	t.Cleanup(s.Stop)
	deadline := time.Now().Add(startup)
	for _, zone := range s.Zones {
		for s.serial(zone) == 0 {
			select {
			case <-s.ended:
				t.Fatalf("%s ended:\n%s", cmd.Path, s.output)
			case <-time.After(20 * time.Millisecond):
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s does not answer for %s:\n%s", cmd.Path, zone, s.output)
			}
		}
	}
}

// Stop ends the server.
func (s *Server) Stop() {
	_ = s.program.Process.Kill()
	<-s.ended
}

// Output is what the server printed.
func (s *Server) Output() string { return s.output.String() }

// serial is a zone's serial number, 0 when the server does not answer for it.
func (s *Server) serial(zone string) uint32 {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(zone), dns.TypeSOA)
	answer, _, err := (&dns.Client{Timeout: time.Second}).Exchange(m, s.Address)
	if err != nil {
		return 0
	}
	for _, rr := range answer.Answer {
		if soa, ok := rr.(*dns.SOA); ok && answer.Authoritative {
			return soa.Serial
		}
	}
	return 0
}

// Serial is a zone's serial number, which every change moves on.
func (s *Server) Serial(t testing.TB, zone string) uint32 {
	t.Helper()
	serial := s.serial(zone)
	if serial == 0 {
		t.Fatalf("%s does not answer for %s", s.Address, zone)
	}
	return serial
}

// Transfer is a whole zone by AXFR: a line for each record, in order, as zone
// files have them, without the SOA.
func (s *Server) Transfer(t testing.TB, zone string) []string {
	t.Helper()
	m := new(dns.Msg).SetAxfr(dns.Fqdn(zone))
	m.SetTsig(dns.Fqdn(s.KeyName), dns.Fqdn(s.Algorithm), 300, time.Now().Unix())
	transfer := &dns.Transfer{TsigSecret: map[string]string{dns.Fqdn(s.KeyName): s.Secret}, ReadTimeout: startup}
	envelopes, err := transfer.In(m, s.Address)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for e := range envelopes {
		if e.Error != nil {
			t.Errorf("transfer of %s: %v", zone, e.Error)
		}
		for _, rr := range e.RR {
			if rr.Header().Rrtype != dns.TypeSOA {
				out = append(out, strings.ReplaceAll(rr.String(), "\t", " "))
			}
		}
	}
	slices.Sort(out)
	return out
}

// Change makes a change by RFC 2136 as somebody else would: lines of a zone file
// are added, and all records of the names in remove go.
func (s *Server) Change(t testing.TB, zone string, add []string, remove ...string) {
	t.Helper()
	m := new(dns.Msg).SetUpdate(dns.Fqdn(zone))
	for _, name := range remove {
		m.RemoveName([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: dns.Fqdn(name)}}})
	}
	for _, line := range add {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		m.Insert([]dns.RR{rr})
	}
	m.SetTsig(dns.Fqdn(s.KeyName), dns.Fqdn(s.Algorithm), 300, time.Now().Unix())
	client := &dns.Client{Net: "tcp", Timeout: startup, TsigSecret: map[string]string{dns.Fqdn(s.KeyName): s.Secret}}
	answer, _, err := client.Exchange(m, s.Address)
	if err != nil || answer.Rcode != dns.RcodeSuccess {
		t.Fatalf("change of %s: %v, %v", zone, answer, err)
	}
}

// Notify tells a secondary that its primary has something new, as a primary does.
func (s *Server) Notify(t testing.TB, zone string) {
	t.Helper()
	m := new(dns.Msg).SetNotify(dns.Fqdn(zone))
	if _, _, err := (&dns.Client{Timeout: startup}).Exchange(m, s.Address); err != nil {
		t.Fatal(err)
	}
}
