package dns

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// firstPoll is how long to wait before a server is asked again; each time it is
	// twice as long, up to lastPoll.
	firstPoll = 50 * time.Millisecond
	lastPoll  = 5 * time.Second
)

// expectation is what every authoritative server shall answer.
type expectation struct {
	key
	values []string // nil: nothing
	old    []string // what was there before; may go on where a wildcard says the same
}

// expected are the expectations of what shall be there.
func expected(want []*rrset) []expectation {
	var out []expectation
	for _, w := range want {
		out = append(out, expectation{key: w.key, values: w.values})
	}
	return out
}

// gone are the expectations of what changes took away.
func gone(changes []change) []expectation {
	var out []expectation
	for _, c := range changes {
		if c.writes() && !c.mark && c.after == nil {
			out = append(out, expectation{key: c.key, old: c.before.values})
		}
	}
	return out
}

// await returns when every authoritative server of z answers as expected. Each
// is asked itself, so that no cache stands between.
func (j *job) await(ctx context.Context, p provider, z zoneSettings, expect []expectation, out sdk.Events) error {
	if len(expect) == 0 || z.wait == 0 {
		return nil
	}
	servers, err := zoneServers(ctx, p, z)
	if err != nil {
		return err
	}
	waited, cancel := context.WithTimeout(ctx, z.wait)
	defer cancel()
	w := &waiting{net: j.x.net, out: out, total: len(servers)}
	var all sync.WaitGroup
	for _, s := range servers {
		all.Go(func() { w.follow(waited, s, expect) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(w.behind) > 0 {
		slices.Sort(w.behind)
		return sdk.Downstream("The zone %s is changed, but after %s not every authoritative server has it: %s. Look at what keeps that server from getting the zone, and try again.", z.name, z.wait, strings.Join(w.behind, "; ")).WithRetry()
	}
	return nil
}

// zoneServers are those of the settings, or of the zone itself.
func zoneServers(ctx context.Context, p provider, z zoneSettings) ([]server, error) {
	if len(z.servers) > 0 {
		return z.servers, nil
	}
	return p.servers(ctx)
}

// waiting is one wait for several servers.
type waiting struct {
	net   network
	out   sdk.Events
	total int

	mu     sync.Mutex
	done   int
	behind []string // what servers still say that did not come along
}

// follow asks one server until it answers as expected or ctx ends.
func (w *waiting) follow(ctx context.Context, s server, expect []expectation) {
	said := ""
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		why := lags(ctx, w.net, s, expect)
		if why == "" {
			w.caughtUp(s, said != "")
			return
		}
		if late := over(ctx); !late || said == "" {
			if why != said && !late {
				w.progress(why)
			}
			said = why
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			w.mu.Lock()
			w.behind = append(w.behind, said)
			w.mu.Unlock()
			return
		}
	}
}

// over tells whether ctx has ended, or ends at this moment: a question that its
// deadline cuts off fails a little before the context does.
func over(ctx context.Context) bool {
	at, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(at)
}

func (w *waiting) caughtUp(s server, late bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done++
	if late {
		w.out.Progress(s.name+" has it", w.done, w.total)
	}
}

func (w *waiting) progress(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out.Progress("waiting: "+why, w.done, w.total)
}

// lags says how a server's answer is not as expected yet, "" when it is.
func lags(ctx context.Context, n network, s server, expect []expectation) string {
	for _, e := range expect {
		got, err := query(ctx, n, s, e.key)
		if err != nil {
			return err.Error()
		}
		if e.values != nil {
			if !slices.Equal(got, e.values) {
				return fmt.Sprintf("%s still answers %s for %s", s.name, answerText(got), e.key)
			}
			continue
		}
		if len(got) == 0 || !slices.Equal(got, e.old) {
			continue // it is gone, or a wildcard answers now
		}
		if made, err := query(ctx, n, s, key{neighbour(e.name), e.kind}); err != nil || !slices.Equal(made, got) {
			return fmt.Sprintf("%s still answers %s for %s", s.name, answerText(got), e.key)
		}
	}
	return ""
}

func answerText(values []string) string {
	if len(values) == 0 {
		return "that there is nothing"
	}
	return quoted(strings.Join(values, ", "))
}

// query asks an authoritative server for the values at k, in their order.
func query(ctx context.Context, n network, s server, k key) ([]string, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(k.name), dns.StringToType[string(k.kind)])
	m.RecursionDesired = false
	m.SetEdns0(ednsSize, false)
	answer, err := n.exchange(ctx, s.address, m, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s does not answer (%s)", s.name, networkCause(err))
	case answer.Rcode != dns.RcodeSuccess && answer.Rcode != dns.RcodeNameError:
		return nil, fmt.Errorf("%s answers %s for %s", s.name, dns.RcodeToString[answer.Rcode], k)
	case !answer.Authoritative:
		return nil, fmt.Errorf("%s does not answer for the zone of %s itself", s.name, k.name)
	}
	return valuesOf(fromRecords(answer.Answer)[k]), nil
}
