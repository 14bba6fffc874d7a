package discord

import (
	"crypto/ed25519"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

const (
	// MaxBody is the largest request that is taken, in bytes. Those of Discord have
	// some kilobytes.
	MaxBody = 1 << 20
	// maxSkew is how far a request's timestamp may be from now, to either side, so
	// that what somebody recorded is of no use later.
	maxSkew = 5 * time.Minute
	// keySize is the size of a public key, in bytes.
	keySize = ed25519.PublicKeySize
	// maxTimestamp is the longest timestamp that is looked at: Unix seconds have ten
	// digits until the year 2286.
	maxTimestamp = 12
)

// The headers that sign a request.
// Source: https://docs.discord.com/developers/interactions/overview#validating-security-request-headers
const (
	signatureHeader = "X-Signature-Ed25519"
	timestampHeader = "X-Signature-Timestamp"
)

// verifier tells whether requests are Discord's.
type verifier struct {
	key ed25519.PublicKey // nil means that none is
	now func() time.Time
}

// newVerifier reads the application's public key; "" makes a verifier that takes
// nothing.
func newVerifier(publicKey string, now func() time.Time) (*verifier, error) {
	if publicKey == "" {
		return &verifier{now: now}, nil
	}
	key, err := readKey(publicKey)
	if err != nil {
		return nil, err
	}
	return &verifier{key: key, now: now}, nil
}

// genuine tells whether Discord signed this body at this time, which must be
// about now. A public key keeps no secret, so that nothing can be learned from
// how long the comparison takes.
func (v *verifier) genuine(h http.Header, body []byte) bool {
	timestamp, signature := one(h, timestampHeader), one(h, signatureHeader)
	if v.key == nil || timestamp == "" || len(timestamp) > maxTimestamp || len(signature) != 2*ed25519.SignatureSize {
		return false
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return false
	}
	if age := v.now().Sub(time.Unix(seconds, 0)); age > maxSkew || age < -maxSkew {
		return false
	}
	sig, err := hex.DecodeString(signature)
	if err != nil {
		return false
	}
	signed := make([]byte, 0, len(timestamp)+len(body))
	signed = append(append(signed, timestamp...), body...)
	return ed25519.Verify(v.key, signed, sig)
}

// one is the value of a header that stands there once, however its name is
// written.
func one(h http.Header, name string) string {
	if values := h.Values(name); len(values) == 1 {
		return values[0]
	}
	return ""
}
