package dns

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestLedgerSaysWhenTheNextCertificateIsPossible(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	week := 7 * 24 * time.Hour
	shop, blog := []string{"*.shop.preview.example.co.uk"}, []string{"*.blog.preview.example.co.uk"}
	tests := map[string]struct {
		before func(l *ledger)
		names  []string
		next   time.Duration // from now
		retry  bool
	}{
		"nothing was ordered": {names: shop},
		"four of the same names leave one": {names: shop, before: func(l *ledger) {
			for range 4 {
				l.spend(now, letsEncryptLimits.certificateCharges(shop)...)
			}
		}},
		"five of the same names are all of a week's, and the next comes back after a fifth of it": {names: shop, next: week / 5, before: func(l *ledger) {
			for range 5 {
				l.spend(now, letsEncryptLimits.certificateCharges(shop)...)
			}
		}},
		"other names of the domain are not the same names": {names: blog, before: func(l *ledger) {
			for range 5 {
				l.spend(now, letsEncryptLimits.certificateCharges(shop)...)
			}
		}},
		"fifty of a registered domain are all, whatever the names": {names: blog, next: week / 50, before: func(l *ledger) {
			for i := range 50 {
				l.spend(now, letsEncryptLimits.certificateCharges([]string{fmt.Sprintf("pr-%d.example.co.uk", i)})...)
			}
		}},
		"another registered domain under the same public suffix counts apart": {names: []string{"a.other.co.uk"}, before: func(l *ledger) {
			for i := range 50 {
				l.spend(now, letsEncryptLimits.certificateCharges([]string{fmt.Sprintf("pr-%d.example.co.uk", i)})...)
			}
		}},
		"three hundred orders are all, and the next comes back soon": {names: shop, next: 36 * time.Second, retry: true, before: func(l *ledger) {
			for range 300 {
				l.spend(now, letsEncryptLimits.orderCharge())
			}
		}},
		"five failures of a name stop its next order": {names: shop, next: 12 * time.Minute, retry: true, before: func(l *ledger) {
			for range 5 {
				l.spend(now, letsEncryptLimits.failureCharges(shop)...)
			}
		}},
		"what came to nothing does not count": {names: shop, before: func(l *ledger) {
			for range 9 {
				l.spend(now, letsEncryptLimits.certificateCharges(shop)...)
				l.refund(letsEncryptLimits.certificateCharges(shop)...)
			}
		}},
		"the authority's own word counts":         {names: shop, next: 26 * time.Hour, before: func(l *ledger) { l.Until = now.Add(26 * time.Hour) }},
		"its word is over when the time has come": {names: shop, before: func(l *ledger) { l.Until = now }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := reread(t, &ledger{Full: map[string]time.Time{}}, now)
			if test.before != nil {
				test.before(l)
			}
			l = reread(t, l, now)
			charges := append(letsEncryptLimits.certificateCharges(test.names), letsEncryptLimits.orderCharge())
			charges = append(charges, letsEncryptLimits.failureCharges(test.names)...)
			err := l.refusal(now, test.names, charges...)
			if test.next == 0 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var e *sdk.Error
			if !errors.As(err, &e) || e.Fault != sdk.FaultDownstream || e.Retry != test.retry {
				t.Fatalf("got %v, want a refusal with retry %t", err, test.retry)
			}
			if err := l.refusal(now.Add(test.next-time.Second), test.names, charges...); err == nil {
				t.Error("it is allowed a second too early")
			}
			if err := l.refusal(now.Add(test.next), test.names, charges...); err != nil {
				t.Errorf("it is not allowed when it said: %v", err)
			}
		})
	}
}

// reread writes the ledger and reads it again, as every order does.
func reread(t *testing.T, l *ledger, now time.Time) *ledger {
	t.Helper()
	data, err := l.write(now)
	if err != nil {
		t.Fatal(err)
	}
	again, err := readLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TestLedgerNeverAllowsMoreThanTheBucketHolds plays an authority that counts by
// a bucket of its own, as Let's Encrypt does.
func TestLedgerNeverAllowsMoreThanTheBucketHolds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := charge{key: "k", rate: rate{most: rapid.IntRange(1, 9).Draw(t, "most"), period: time.Duration(rapid.IntRange(1, 1000).Draw(t, "period")) * time.Hour}}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		level, last := float64(c.rate.most), now
		l := &ledger{Full: map[string]time.Time{}}
		for range 60 {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(c.rate.period)).Draw(t, "pause")))
			level = min(float64(c.rate.most), level+float64(now.Sub(last))/float64(c.rate.period)*float64(c.rate.most))
			last = now
			if l.next(c, now).After(now) {
				continue
			}
			l.spend(now, c)
			if level--; level < -1e-6 {
				t.Fatalf("the bucket is overdrawn: %v", level)
			}
		}
	})
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte(`{"full":{"orders":"2026-03-01T12:00:00Z"},"until":"2026-03-01T12:00:00Z"}`))
	f.Add([]byte(`{"full":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := readLedger(data)
		if err != nil {
			return
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		c := letsEncryptLimits.orderCharge()
		l.spend(now, c)
		if l.next(c, now).Before(now) {
			t.Error("the next order is possible in the past")
		}
		if _, err := l.write(now); err != nil && l.Until.Year() < 10000 {
			for _, at := range l.Full {
				if at.Year() >= 10000 || at.Year() < 0 {
					return // no time that JSON can say
				}
			}
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
