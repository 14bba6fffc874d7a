package dns

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

const (
	// renewBefore is how long before its end a certificate is renewed, at most.
	// Source: https://letsencrypt.org/docs/integration-guide/ (30 of 90 days).
	renewBefore = 30 * 24 * time.Hour
	// renewPart of its lifetime is that for certificates with a shorter one.
	renewPart = 3
	// latePart of its lifetime is what is left of a certificate when that it was
	// not renewed begins to be a fault.
	latePart = 6
	// windowLimit is how long the authority may take to say when it wants a
	// certificate renewed: nobody waits for that.
	windowLimit = 3 * time.Second
	// windowAgain is when one that failed to say so is asked again.
	windowAgain = time.Hour
	// windowDefault is when one is asked again that does not say when.
	// Source: RFC 9773, section 4.3.2 (six hours).
	windowDefault = 6 * time.Hour
	// maxWindows bounds how many answers are kept.
	maxWindows = 1000
)

// renewAt is when a certificate is renewed by the calendar alone.
func renewAt(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-min(renewBefore, leaf.NotAfter.Sub(leaf.NotBefore)/renewPart))
}

// late tells whether a certificate should long have been renewed.
func late(leaf *x509.Certificate, now time.Time) bool {
	return leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/latePart
}

// windows keeps what authorities say of when certificates are to be renewed
// (ARI, RFC 9773), which they may bring forward, as before a mass revocation. It
// is safe for concurrent use.
type windows struct {
	now func() time.Time

	mu   sync.Mutex
	kept map[string]window
}

type window struct {
	at    time.Time // when to renew; zero when the authority does not say
	again time.Time // when to ask again
}

func newWindows(now func() time.Time) *windows {
	return &windows{now: now, kept: map[string]window{}}
}

// renewAt is when leaf is to be renewed: when its authority says, or by the
// calendar where that says nothing or nothing in time.
func (w *windows) renewAt(ctx context.Context, a acmeSettings, leaf *x509.Certificate) time.Time {
	id, err := acme.ARIUniqueIdentifier(leaf)
	if err != nil {
		return renewAt(leaf)
	}
	key, now := a.directory+" "+id, w.now()
	w.mu.Lock()
	known, ok := w.kept[key]
	w.mu.Unlock()
	if !ok || !now.Before(known.again) {
		known = w.ask(ctx, a, leaf, id)
		w.mu.Lock()
		if len(w.kept) >= maxWindows {
			clear(w.kept)
		}
		w.kept[key] = known
		w.mu.Unlock()
	}
	if known.at.IsZero() {
		return renewAt(leaf)
	}
	return known.at
}

func (w *windows) ask(ctx context.Context, a acmeSettings, leaf *x509.Certificate, id string) window {
	client, transport, err := a.client()
	if err != nil {
		return window{again: w.now().Add(windowAgain)}
	}
	defer transport.close()
	ctx, cancel := context.WithTimeout(ctx, windowLimit)
	defer cancel()
	info, err := client.GetRenewalInfo(ctx, leaf)
	if err != nil || !info.HasWindow() {
		return window{again: w.now().Add(windowAgain)}
	}
	wait := windowDefault
	if info.RetryAfter != nil {
		wait = min(max(time.Until(*info.RetryAfter), time.Minute), 24*time.Hour)
	}
	return window{at: momentIn(info.SuggestedWindow.Start, info.SuggestedWindow.End, id), again: w.now().Add(wait)}
}

// momentIn is a moment between start and end that is as good as random, and the
// same for all who ask about the certificate with that id: all replicas, and
// every environment with a copy, shall say the same.
func momentIn(start, end time.Time, id string) time.Time {
	span := end.Sub(start)
	if span <= 0 {
		return start
	}
	sum := sha256.Sum256([]byte(id))
	return start.Add(time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(span))) //nolint:gosec // what is left is less than span, which is one
}
