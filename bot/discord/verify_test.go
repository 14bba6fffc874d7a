package discord

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seed makes the key that tests sign with.
var seed = bytes.Repeat([]byte{7}, ed25519.SeedSize)

// testNow is when tests happen.
var testNow = time.Date(2026, 11, 20, 15, 4, 5, 0, time.UTC)

func testKey() (public string, private ed25519.PrivateKey) {
	private = ed25519.NewKeyFromSeed(seed)
	return hex.EncodeToString(private.Public().(ed25519.PublicKey)), private
}

// sign signs as Discord documents it: Ed25519 over the timestamp with the body
// right behind it, in hex.
func sign(private ed25519.PrivateKey, timestamp, body string) string {
	return hex.EncodeToString(ed25519.Sign(private, []byte(timestamp+body)))
}

// signed is a request of Discord's.
func signed(at time.Time, body string) *http.Request {
	_, private := testKey()
	timestamp := strconv.FormatInt(at.Unix(), 10)
	r := httptest.NewRequest(http.MethodPost, "/discord/interactions", strings.NewReader(body))
	r.Header.Set("X-Signature-Timestamp", timestamp)
	r.Header.Set("X-Signature-Ed25519", sign(private, timestamp, body))
	return r
}

// The first three vectors of RFC 8032, 7.1: what is signed is split where the
// timestamp of a request would end, which changes nothing of what is signed.
func TestVectorsOfRFC8032(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]struct{ public, message, signature string }{
		"an empty message": {
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		"a message of one byte": {
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
		"a message of two bytes": {
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := readKey(v.public)
			if err != nil {
				t.Fatal(err)
			}
			message, _ := hex.DecodeString(v.message)
			signature, _ := hex.DecodeString(v.signature)
			if !ed25519.Verify(key, message, signature) {
				t.Error("the vector does not hold")
			}
		})
	}
}

func TestOnlyWhatDiscordSignedIsTaken(t *testing.T) {
	t.Parallel()
	public, private := testKey()
	const body = `{"type":1}`
	timestamp := strconv.FormatInt(testNow.Unix(), 10)
	right := sign(private, timestamp, body)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	shift := func(d time.Duration) (string, string) {
		ts := strconv.FormatInt(testNow.Add(d).Unix(), 10)
		return ts, sign(private, ts, body)
	}
	stale, staleSignature := shift(-5*time.Minute - time.Second)
	future, futureSignature := shift(5*time.Minute + time.Second)
	edge, edgeSignature := shift(-5 * time.Minute)
	for name, c := range map[string]struct {
		timestamp, signature, body string
		want                       bool
	}{
		"what Discord signed":                      {timestamp, right, body, true},
		"a signature in capitals":                  {timestamp, strings.ToUpper(right), body, true},
		"exactly five minutes old":                 {edge, edgeSignature, body, true},
		"five minutes and a second old":            {stale, staleSignature, body, false},
		"five minutes and a second in the future":  {future, futureSignature, body, false},
		"no signature":                             {timestamp, "", body, false},
		"no timestamp":                             {"", right, body, false},
		"another key's signature":                  {timestamp, sign(other, timestamp, body), body, false},
		"a body with one byte changed":             {timestamp, right, `{"type":2}`, false},
		"a body with a byte more":                  {timestamp, right, body + " ", false},
		"another timestamp":                        {strconv.FormatInt(testNow.Unix()+1, 10), right, body, false},
		"a signature with one digit changed":       {timestamp, flip(right), body, false},
		"half a signature":                         {timestamp, right[:64], body, false},
		"a signature that is no hex":               {timestamp, strings.Repeat("zz", 64), body, false},
		"a timestamp that is no number":            {"now", sign(private, "now", body), body, false},
		"a timestamp with a sign moved to the end": {timestamp[:9], sign(private, timestamp, body), timestamp[9:] + body, false},
		"a very long timestamp":                    {"000" + timestamp, sign(private, "000"+timestamp, body), body, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := newVerifier(public, func() time.Time { return testNow })
			if err != nil {
				t.Fatal(err)
			}
			h := http.Header{}
			if c.timestamp != "" {
				h.Set("X-Signature-Timestamp", c.timestamp)
			}
			if c.signature != "" {
				h.Set("X-Signature-Ed25519", c.signature)
			}
			if got := v.genuine(h, []byte(c.body)); got != c.want {
				t.Errorf("genuine: %v", got)
			}
		})
	}
}

func TestWithoutAKeyNothingIsTaken(t *testing.T) {
	t.Parallel()
	v, err := newVerifier("", func() time.Time { return testNow })
	if err != nil {
		t.Fatal(err)
	}
	r := signed(testNow, "{}")
	if v.genuine(r.Header, []byte("{}")) {
		t.Error("taken")
	}
}

func TestAHeaderThatStandsTwiceIsRefused(t *testing.T) {
	t.Parallel()
	public, _ := testKey()
	v, err := newVerifier(public, func() time.Time { return testNow })
	if err != nil {
		t.Fatal(err)
	}
	r := signed(testNow, "{}")
	r.Header.Add("X-Signature-Ed25519", r.Header.Get("X-Signature-Ed25519"))
	if v.genuine(r.Header, []byte("{}")) {
		t.Error("taken")
	}
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"x", "00", strings.Repeat("0", 63), strings.Repeat("0", 66), strings.Repeat("g", 64)} {
		if _, err := newVerifier(key, time.Now); err == nil {
			t.Errorf("%q is taken for a key", key)
		}
	}
}

func flip(s string) string {
	last := byte('0')
	if s[len(s)-1] == last {
		last = '1'
	}
	return s[:len(s)-1] + string(last)
}

func FuzzGenuine(f *testing.F) {
	public, private := testKey()
	v, err := newVerifier(public, func() time.Time { return testNow })
	if err != nil {
		f.Fatal(err)
	}
	timestamp := fmt.Sprint(testNow.Unix())
	f.Add(timestamp, sign(private, timestamp, "{}"), []byte("{}"))
	f.Add("", "", []byte{})
	f.Fuzz(func(t *testing.T, timestamp, signature string, body []byte) {
		h := http.Header{"X-Signature-Timestamp": {timestamp}, "X-Signature-Ed25519": {signature}}
		if v.genuine(h, body) && string(body) != "{}" {
			t.Errorf("a forgery: %q %q %q", timestamp, signature, body)
		}
	})
}
