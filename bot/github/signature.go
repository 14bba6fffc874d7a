package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"sync"
)

// signaturePrefix begins the only signature that is taken. The older SHA-1
// header is not looked at.
// Source: https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
const signaturePrefix = "sha256="

// verifier checks the signatures of deliveries. Its HMACs are kept, since
// hashing the secret again costs two blocks a delivery.
type verifier struct{ macs sync.Pool }

// newVerifier makes a verifier of secret. An empty secret would let everybody
// sign, so that with one nothing is genuine.
func newVerifier(secret []byte) *verifier {
	v := new(verifier)
	if len(secret) > 0 {
		v.macs.New = func() any { return hmac.New(sha256.New, secret) }
	}
	return v
}

// genuine tells whether header is the signature of body, in a time that does
// not depend on how much of it is right.
func (v *verifier) genuine(header string, body []byte) bool {
	digits, ok := strings.CutPrefix(header, signaturePrefix)
	if !ok || len(digits) != hex.EncodedLen(sha256.Size) {
		return false
	}
	var given, want [sha256.Size]byte
	if _, err := hex.Decode(given[:], []byte(digits)); err != nil {
		return false
	}
	mac, ok := v.macs.Get().(hash.Hash)
	if !ok {
		return false
	}
	mac.Reset()
	mac.Write(body)
	mac.Sum(want[:0])
	v.macs.Put(mac)
	return hmac.Equal(given[:], want[:])
}
