package slack

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// signaturePrefix is the version of the only signature that is taken.
	// Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
	signaturePrefix = "v0="
	signatureHeader = "X-Slack-Signature"
	timestampHeader = "X-Slack-Request-Timestamp"
	// maxSkew is how far the time of a request may be from ours, either way: what
	// is older may be a copy.
	// Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
	maxSkew = 5 * time.Minute
)

// verifier checks the signatures of requests. Its HMACs are kept, since hashing
// the secret again costs two blocks a request.
type verifier struct{ macs sync.Pool }

// newVerifier makes a verifier of secret. An empty secret would let everybody
// sign, so that with one nothing is genuine.
func newVerifier(secret string) *verifier {
	v := new(verifier)
	if secret != "" {
		v.macs.New = func() any { return hmac.New(sha256.New, []byte(secret)) }
	}
	return v
}

// genuine tells whether Slack signed body at a time that is near now, and which
// time that is. How long it takes does not depend on how much of the signature
// is right. Nothing of body is looked into.
func (v *verifier) genuine(h http.Header, body []byte, now time.Time) (time.Time, bool) {
	stamp, ok := only(h, timestampHeader)
	if !ok || len(stamp) > 12 || strings.Trim(stamp, "0123456789") != "" {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	at := time.Unix(seconds, 0)
	if now.Sub(at).Abs() > maxSkew {
		return time.Time{}, false
	}
	signature, _ := only(h, signatureHeader)
	digits, ok := strings.CutPrefix(signature, signaturePrefix)
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return time.Time{}, false
	}
	var given, want [sha256.Size]byte
	if _, err := hex.Decode(given[:], []byte(digits)); err != nil {
		return time.Time{}, false
	}
	mac, ok := v.macs.Get().(hash.Hash)
	if !ok {
		return time.Time{}, false
	}
	mac.Reset()
	mac.Write([]byte("v0:" + stamp + ":"))
	mac.Write(body)
	mac.Sum(want[:0])
	v.macs.Put(mac)
	return at, hmac.Equal(given[:], want[:])
}

// only is the value of a header that must be there once, however its name is
// written: some proxies hand names on as they came.
func only(h http.Header, name string) (string, bool) {
	values := h.Values(name)
	if len(values) == 0 {
		for key, other := range h {
			if strings.EqualFold(key, name) {
				values = append(values, other...)
			}
		}
	}
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}
