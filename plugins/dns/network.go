package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxUDP is the longest message that is sent without asking first whether the
	// way takes longer ones. Source: RFC 1035, section 4.2.1.
	maxUDP = 512
	// ednsSize is the longest answer that is taken by UDP.
	// Source: the DNS flag day of 2020.
	ednsSize = 1232
	// tsigFudge is by how much clocks may differ, in seconds. Source: RFC 8945,
	// section 10.
	tsigFudge = 300
	// tcpTimeout bounds one exchange over TCP, and each message of a transfer.
	tcpTimeout = 15 * time.Second
)

// udpTimeouts are how long each try by UDP waits for its answer. After the last
// one TCP is tried: there are networks that lose every answer of some size.
var udpTimeouts = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

// tsigKey signs messages.
type tsigKey struct {
	name, algorithm string // with a dot at the end
	secret          string // base64
}

// network carries messages to name servers.
type network interface {
	// exchange sends m, signed when key is not nil, and returns the answer, of
	// whatever Rcode. It tries again when nothing comes back.
	exchange(ctx context.Context, address string, m *dns.Msg, key *tsigKey) (*dns.Msg, error)
	// transfer is the whole zone, as AXFR has it.
	transfer(ctx context.Context, address, zone string, key *tsigKey) ([]dns.RR, error)
	// lookup finds a host's addresses with the system's resolver.
	lookup(ctx context.Context, host string) ([]string, error)
}

// sockets is the network itself.
type sockets struct{}

func (sockets) lookup(ctx context.Context, host string) ([]string, error) {
	return net.DefaultResolver.LookupHost(ctx, host)
}

// exchange goes by UDP, and by TCP where a message is long, an answer is cut or
// none comes.
func (sockets) exchange(ctx context.Context, address string, m *dns.Msg, key *tsigKey) (*dns.Msg, error) {
	packed, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("pack a message: %w", err)
	}
	if len(packed) <= maxUDP-200 { // room for a signature
		for _, timeout := range udpTimeouts {
			answer, err := once(ctx, "udp", address, m, key, timeout)
			if err == nil && !answer.Truncated {
				return answer, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err == nil || !isTimeout(err) {
				break
			}
		}
	}
	answer, err := once(ctx, "tcp", address, m, key, tcpTimeout)
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err()
	}
	return answer, err
}

// errAnswer is an answer that cannot be one to what was sent.
var errAnswer = errors.New("the answer does not fit the question")

// errUnsigned is an answer that should have been signed.
var errUnsigned = errors.New("the answer is not signed with the key that the question was signed with")

// signingError is a server's refusal of a signature.
type signingError struct{ rcode int }

func (e *signingError) Error() string { return "signature refused: " + dns.RcodeToString[e.rcode] }

// once sends m one time.
func once(ctx context.Context, protocol, address string, m *dns.Msg, key *tsigKey, timeout time.Duration) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m = m.Copy()
	m.Id = dns.Id()
	client := &dns.Client{Net: protocol, Timeout: timeout, UDPSize: ednsSize}
	if key != nil {
		client.TsigSecret = map[string]string{key.name: key.secret}
		m.SetTsig(key.name, key.algorithm, tsigFudge, time.Now().Unix())
	}
	conn, err := client.DialContext(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A cancelled step does not wait for an answer.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	question := m.Question[0]
	answer, _, err := client.ExchangeWithConnContext(ctx, m, conn)
	if answer == nil {
		return nil, err
	}
	if key != nil {
		if err := signed(answer, err); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if !answer.Response || answer.Opcode != m.Opcode || len(answer.Question) > 1 ||
		len(answer.Question) == 1 && !sameQuestion(answer.Question[0], question) {
		return nil, errAnswer
	}
	return answer, nil
}

// signed checks the signature of an answer; err is what the library found of it.
func signed(answer *dns.Msg, err error) error {
	t := answer.IsTsig()
	switch {
	case t != nil && t.Error != dns.RcodeSuccess:
		return &signingError{rcode: int(t.Error)}
	case err != nil:
		return err
	case t == nil && (answer.Rcode == dns.RcodeNotAuth || answer.Rcode == dns.RcodeRefused || answer.Rcode == dns.RcodeFormatError || answer.Rcode == dns.RcodeNotImplemented || answer.Rcode == dns.RcodeServerFailure):
		return nil // it may not know the key at all; nobody gains by forging a refusal
	case t == nil:
		return errUnsigned
	}
	return nil
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func (sockets) transfer(ctx context.Context, address, zone string, key *tsigKey) ([]dns.RR, error) {
	m := new(dns.Msg).SetAxfr(dns.Fqdn(zone))
	t := &dns.Transfer{ReadTimeout: tcpTimeout, WriteTimeout: tcpTimeout}
	if key != nil {
		t.TsigSecret = map[string]string{key.name: key.secret}
		m.SetTsig(key.name, key.algorithm, tsigFudge, time.Now().Unix())
	}
	conn, err := (&dns.Client{Net: "tcp", Timeout: tcpTimeout}).DialContext(ctx, address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	conn.TsigSecret = t.TsigSecret
	t.Conn = conn
	envelopes, err := t.In(m, address)
	if err != nil {
		return nil, err
	}
	var out []dns.RR
	for e := range envelopes {
		if e.Error != nil && err == nil {
			err = e.Error
		}
		out = append(out, e.RR...)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return out, err
}
