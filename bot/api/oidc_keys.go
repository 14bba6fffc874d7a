package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

const (
	// keysLife is how long keys are used before the issuer is asked again: how
	// long a key that it has withdrawn can still do harm.
	keysLife = time.Hour
	// askEvery is how often an issuer is asked at most, whatever unknown keys the
	// tokens name that strangers send.
	askEvery = 5 * time.Second
	// askTime bounds one look at an issuer's documents.
	askTime = 10 * time.Second
	// maxDocument is how many bytes of a document of an issuer are read.
	maxDocument = 1 << 20
)

// algorithms are those with which a token may be signed. All have a public and
// a private key: with a shared one, whoever can verify could sign.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

var algorithmNames = func() []string {
	out := make([]string, len(algorithms))
	for i, a := range algorithms {
		out[i] = string(a)
	}
	return out
}()

// keySet are the public keys of one issuer. They are read when the first token
// of it comes, not before, and anew when one names a key that is not there.
type keySet struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger
	flight singleflight.Group // one look at a time, however many wait for it

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	got   time.Time // when keys were read
	tried time.Time // when the issuer was asked last
	fault error     // why that failed
}

func (a *API) newKeySet(issuer string) *keySet {
	return &keySet{issuer: issuer, client: a.client, now: a.now, log: a.log}
}

// newIssuerClient is the HTTP client that asks issuers. It follows no redirects:
// what the config names is what says which keys there are.
func newIssuerClient() *http.Client {
	return &http.Client{
		Timeout:       askTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errAway marks that an issuer could not say which keys it has.
var errAway = errors.New("the issuer's keys cannot be read")

// heard is a keySet that remembers how one verification went: the verifier of
// go-oidc keeps the text of errors alone.
type heard struct {
	set   *keySet
	away  error // the issuer could not be asked
	right bool  // the signature is the issuer's
}

// VerifySignature is that of oidc.KeySet.
func (h *heard) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	payload, err := h.set.verify(ctx, raw)
	if errors.Is(err, errAway) {
		h.away = err
	}
	h.right = err == nil
	return payload, err
}

// verify is the payload of a token that one of the keys has signed. Its error
// is errAway when the issuer would have to be asked and does not answer.
func (k *keySet) verify(ctx context.Context, raw string) ([]byte, error) {
	token, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		return nil, fmt.Errorf("oidc.parse: %w", err)
	}
	keys, err := k.read(ctx, keysLife)
	if err != nil {
		return nil, err
	}
	if payload, ok := signed(token, keys); ok {
		return payload, nil
	}
	// The issuer may have changed its keys since, unless the token names one that
	// is there: then it is the signature that is wrong.
	id := token.Signatures[0].Header.KeyID
	if id != "" && slices.ContainsFunc(keys, func(key jose.JSONWebKey) bool { return key.KeyID == id }) {
		return nil, errors.New("oidc.verify: the signature is wrong")
	}
	if keys, err = k.read(ctx, askEvery); err != nil {
		return nil, err
	}
	if payload, ok := signed(token, keys); ok {
		return payload, nil
	}
	return nil, errors.New("oidc.verify: no key of the issuer has signed it")
}

// signed tries the keys that the token may be signed with.
func signed(token *jose.JSONWebSignature, keys []jose.JSONWebKey) ([]byte, bool) {
	if len(token.Signatures) != 1 {
		return nil, false
	}
	header := token.Signatures[0].Header
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		if payload, err := token.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// read is the keys as they were less than life ago.
func (k *keySet) read(ctx context.Context, life time.Duration) ([]jose.JSONWebKey, error) {
	if keys, err, done := k.cached(life); done {
		return keys, err
	}
	answer := k.flight.DoChan("", func() (any, error) {
		if keys, err, done := k.cached(life); done {
			return keys, err
		}
		// Others wait for the same look, so it does not end with who began it.
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), askTime)
		defer stop()
		keys, err := k.ask(ctx)
		if err != nil {
			k.log.WarnContext(ctx, "an issuer's keys cannot be read; its tokens are not taken meanwhile", "issuer", k.issuer, "error", err)
			err = fmt.Errorf("%w: %w", errAway, err)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.tried, k.fault = k.now(), err
		if err == nil {
			k.keys, k.got = keys, k.tried
		}
		return keys, err
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errAway, ctx.Err())
	case r := <-answer:
		keys, _ := r.Val.([]jose.JSONWebKey)
		return keys, r.Err
	}
}

// cached is what is known without asking: keys that are young enough, or that
// the issuer failed a moment ago.
func (k *keySet) cached(life time.Duration) (keys []jose.JSONWebKey, err error, done bool) { //nolint:revive // the error is part of what is cached
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	within := func(at time.Time, d time.Duration) bool { // a clock that was set back makes nothing young
		age := now.Sub(at)
		return !at.IsZero() && age >= 0 && age < d
	}
	switch {
	case k.keys != nil && within(k.got, life):
		return k.keys, nil, true
	case k.fault != nil && within(k.tried, askEvery):
		return nil, k.fault, true
	}
	return nil, nil, false
}

// ask reads which keys the issuer has now.
func (k *keySet) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	text, err := k.get(ctx, wellKnown(k.issuer))
	if err != nil {
		return nil, err
	}
	var about oidc.ProviderConfig
	if err := json.Unmarshal(text, &about); err != nil {
		return nil, fmt.Errorf("oidc.discover: %w", err)
	}
	if about.IssuerURL != k.issuer {
		return nil, fmt.Errorf("oidc.discover: the document is of %q", about.IssuerURL)
	}
	if !private(about.JWKSURL) {
		return nil, fmt.Errorf("oidc.discover: the keys are at %q, which is not https", about.JWKSURL)
	}
	if text, err = k.get(ctx, about.JWKSURL); err != nil {
		return nil, err
	}
	return parseKeys(text)
}

// parseKeys reads a set of keys, without those that sign no tokens here.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("oidc.keys: %w", err)
	}
	var out []jose.JSONWebKey
	for _, one := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(one, &key) != nil || !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
			continue // of a kind that is not known here, say
		}
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil, errors.New("oidc.keys: there is no public key to verify with")
	}
	return out, nil
}

// get reads a document of the issuer.
func (k *keySet) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("oidc.get: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("oidc.get: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("oidc.get: %s answered %s", address, res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = fmt.Errorf("%s has more than %d bytes", address, maxDocument)
	}
	if err != nil {
		return nil, fmt.Errorf("oidc.get: %w", err)
	}
	return text, nil
}

// wellKnown is where an issuer describes itself.
// Source: https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
func wellKnown(issuer string) string {
	for len(issuer) > 0 && issuer[len(issuer)-1] == '/' {
		issuer = issuer[:len(issuer)-1]
	}
	return issuer + "/.well-known/openid-configuration"
}

// private tells whether nobody on the way can change what an address answers:
// it is https, or on this machine.
func private(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}
