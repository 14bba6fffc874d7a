package dns

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/berth-dev/berth/plugins/sdk"
)

// rate is a limit of a certificate authority as Let's Encrypt counts it: a
// bucket of so many, which fills up evenly within period. No limit is the zero
// rate.
type rate struct {
	most   int
	period time.Duration
}

// each is how long it takes until one more fits.
func (r rate) each() time.Duration { return r.period / time.Duration(r.most) }

// acmeLimits are what an authority allows.
type acmeLimits struct {
	orders   rate // new orders of an account
	domain   rate // certificates of a registered domain
	same     rate // certificates of exactly the same names
	failures rate // failed validations of a name
}

// letsEncryptLimits are kept to with every authority for which settings say
// nothing else: it is the one that most people use, and no other is stricter.
// Source: https://letsencrypt.org/docs/rate-limits/
var letsEncryptLimits = acmeLimits{
	orders:   rate{most: 300, period: 3 * time.Hour},
	domain:   rate{most: 50, period: 7 * 24 * time.Hour},
	same:     rate{most: 5, period: 7 * 24 * time.Hour},
	failures: rate{most: 5, period: time.Hour},
}

// ledger is what an account has used of its limits. It is kept beside the
// account's key, so that all processes that order with it count together.
//
// For each limit it holds the time at which the bucket is full again (the
// "theoretical arrival time" of GCRA), which is all that counting needs: what is
// past says nothing any more and is dropped.
type ledger struct {
	Full map[string]time.Time `json:"full,omitempty"`
	// Until is when the authority takes orders again, after it has said that they
	// were too many.
	Until time.Time `json:"until,omitzero"`
}

// readLedger reads what write wrote. Nothing is an empty ledger; one that is
// damaged is an error, for an empty one would allow too much.
func readLedger(data []byte) (*ledger, error) {
	l := &ledger{}
	if len(data) > 0 {
		if err := json.Unmarshal(data, l); err != nil {
			return nil, sdk.Internal("The record of what the ACME account has ordered is damaged: delete its key `ledger` to begin a new one: %w", err)
		}
	}
	if l.Full == nil {
		l.Full = map[string]time.Time{}
	}
	return l, nil
}

// write is the ledger as it is kept, without what is past.
func (l *ledger) write(now time.Time) ([]byte, error) {
	maps.DeleteFunc(l.Full, func(_ string, at time.Time) bool { return !at.After(now) })
	if !l.Until.After(now) {
		l.Until = time.Time{}
	}
	return json.Marshal(l)
}

// charge is one limit that something counts against.
type charge struct {
	key  string
	rate rate
	what string // for people: what there may be so many of
}

// next is when the charge fits, now or later.
func (l *ledger) next(c charge, now time.Time) time.Time {
	if c.rate.most <= 0 {
		return now
	}
	at := l.full(c, now).Add(c.rate.each() - c.rate.period)
	if at.Before(now) {
		return now
	}
	return at
}

// full is when c's bucket is full.
func (l *ledger) full(c charge, now time.Time) time.Time {
	if at := l.Full[c.key]; at.After(now) {
		return at
	}
	return now
}

// spend counts the charges.
func (l *ledger) spend(now time.Time, charges ...charge) {
	for _, c := range charges {
		if c.rate.most > 0 {
			l.Full[c.key] = l.full(c, now).Add(c.rate.each())
		}
	}
}

// refund takes charges back that came to nothing.
func (l *ledger) refund(charges ...charge) {
	for _, c := range charges {
		if at, ok := l.Full[c.key]; ok && c.rate.most > 0 {
			l.Full[c.key] = at.Add(-c.rate.each())
		}
	}
}

// refusal says why an order with these charges has to wait, and until when; nil
// when it may be made now.
func (l *ledger) refusal(now time.Time, names []string, charges ...charge) error {
	when, why := now, ""
	if l.Until.After(when) {
		when, why = l.Until, "it has said itself that there were too many orders"
	}
	for _, c := range charges {
		if at := l.next(c, now); at.After(when) {
			when, why = at, fmt.Sprintf("it gives no more than %d %s in %s", c.rate.most, c.what, spanText(c.rate.period))
		}
	}
	if why == "" {
		return nil
	}
	return waitError(now, when, fmt.Sprintf("The certificate authority gives no certificate for %s just now: %s. The next one is possible at %s. One wildcard for the whole app (`wildcard: app`) needs the fewest.",
		namesText(names), why, timeText(when)))
}

// soon is how long a step may be put off. What is possible only later is not
// waited for: whoever asked is told the time.
const soon = 15 * time.Minute

// waitError is a failure that goes away at when.
func waitError(now, when time.Time, msg string) *sdk.Error {
	e := sdk.Downstream("%s", msg)
	if wait := when.Sub(now); wait <= soon {
		return e.WithRetryAfter(wait)
	}
	return e
}

// orderCharge is what counts with the order, whatever becomes of it.
func (a acmeLimits) orderCharge() charge {
	return charge{key: "orders", rate: a.orders, what: "orders"}
}

// certificateCharges are what counts when the certificate is given.
func (a acmeLimits) certificateCharges(names []string) []charge {
	all := []charge{{key: "same:" + namesHash(names), rate: a.same, what: "certificates for the same names"}}
	for _, domain := range registeredDomains(names) {
		all = append(all, charge{key: "domain:" + domain, rate: a.domain, what: "certificates for names in " + domain})
	}
	return all
}

// failureCharges are what counts when names fail their validation.
func (a acmeLimits) failureCharges(names []string) []charge {
	var all []charge
	for _, name := range names {
		all = append(all, charge{key: "failures:" + strings.TrimPrefix(name, "*."), rate: a.failures, what: "failed validations of " + strings.TrimPrefix(name, "*.")})
	}
	slices.SortFunc(all, func(a, b charge) int { return strings.Compare(a.key, b.key) })
	return slices.CompactFunc(all, func(a, b charge) bool { return a.key == b.key })
}

// registeredDomains are the domains below a public suffix that names lie in,
// sorted; a name that is a suffix itself counts as its own.
func registeredDomains(names []string) []string {
	var out []string
	for _, name := range names {
		name = strings.TrimPrefix(name, "*.")
		domain, err := publicsuffix.EffectiveTLDPlusOne(name)
		if err != nil {
			domain = name
		}
		out = append(out, domain)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// namesHash stands for a set of names.
func namesHash(names []string) string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(sorted), "\n")))
	return hex.EncodeToString(sum[:8])
}

// namesText names the names to people; of many only the first.
func namesText(names []string) string {
	const most = 3
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// timeText is a time as messages say it.
func timeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// spanText is a limit's period in words.
func spanText(d time.Duration) string {
	switch {
	case d == 7*24*time.Hour:
		return "a week"
	case d == time.Hour:
		return "an hour"
	case d%time.Hour == 0:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return d.String()
}
