package dns

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Certificates are ordered with acmez's low-level client rather than certmagic.
// certmagic keeps storage, locks, renewal and retries to itself and runs for as
// long as its program does; here a step begins, is killed and begun again
// elsewhere, so each of an order's moves is recorded in the cluster before it is
// made, limits are counted across processes, and Berth's schedule renews.

const (
	// letsEncrypt is the authority that is asked when settings name no other.
	// Source: https://letsencrypt.org/docs/acme-protocol-updates/
	letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"
	// acmeAnswer is how long one answer of an authority may take.
	acmeAnswer = 30 * time.Second
	// acmePatience is how long a validation or an order may take at the authority.
	acmePatience = 5 * time.Minute
	// maxAcmeAnswer bounds an answer of an authority, in bytes. A chain has some
	// ten thousand.
	maxAcmeAnswer = 1 << 20
)

// acmeSettings are what the executor's settings say under `acme`.
type acmeSettings struct {
	set       bool // whether they are there at all
	directory string
	email     string
	namespace string // where accounts and certificates are kept
	caFile    string // PEM; whom to trust beside the system's authorities
	profile   string
	eab       *acmeBinding
	limits    acmeLimits
}

// acmeBinding ties the ACME account to one that is there already (RFC 8555,
// section 7.3.4).
type acmeBinding struct {
	keyID string
	key   sdk.SecretRef
}

type acmeText struct {
	Directory string `json:"directory"`
	Email     string `json:"email"`
	Namespace string `json:"namespace"`
	CAFile    string `json:"ca_file"`
	Profile   string `json:"profile"`
	EAB       *struct {
		KeyID  string `json:"key_id"`
		MACKey any    `json:"mac_key"`
	} `json:"eab"`
	Limits struct {
		Orders *int `json:"orders"`
		Domain *int `json:"domain"`
		Same   *int `json:"same"`
	} `json:"limits"`
}

// acmeSchema is the JSON Schema of `acme` in the executor's settings.
func acmeSchema() map[string]any {
	text := func(description string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": description}
	}
	most := func(description string) map[string]any {
		return map[string]any{"type": "integer", "minimum": 0, "description": description + " 0: as many as are asked for."}
	}
	return map[string]any{
		"type": "object", "additionalProperties": false,
		"description": "Where certificates come from. Whoever sets it agrees to the authority's terms of service.",
		"properties": map[string]any{
			"directory": map[string]any{"type": "string", "pattern": "^https://", "description": "The authority's ACME directory; Let's Encrypt's when left out."},
			"email":     text("Whom the authority may write to."),
			"namespace": text("Where accounts, keys and certificates are kept, in each cluster; \"berth\" when left out."),
			"ca_file":   text("PEM file of authorities to trust when talking to the directory, beside the system's."),
			"profile":   text("The kind of certificate, where the authority has several: classic, tlsserver or shortlived with Let's Encrypt."),
			"eab": map[string]any{
				"type": "object", "additionalProperties": false, "required": []any{"key_id", "mac_key"},
				"description": "External account binding, which some authorities ask for.",
				"properties":  map[string]any{"key_id": text("As the authority names the key."), "mac_key": sdk.SecretSchema()},
			},
			"limits": map[string]any{
				"type": "object", "additionalProperties": false,
				"description": "What the authority allows. Left out: what Let's Encrypt allows.",
				"properties": map[string]any{
					"orders": most("Orders in three hours; 300 when left out."),
					"domain": most("Certificates of a registered domain in a week; 50 when left out."),
					"same":   most("Certificates for exactly the same names in a week; 5 when left out."),
				},
			},
		},
	}
}

// readACME reads the settings, which are checked even while no part needs them.
func readACME(settings map[string]any) (acmeSettings, error) {
	a := acmeSettings{directory: letsEncrypt, namespace: "berth", limits: letsEncryptLimits}
	raw, ok := settings["acme"]
	if !ok || raw == nil {
		return a, nil
	}
	a.set = true
	var t acmeText
	if err := decodeUnder("acme", raw, &t); err != nil {
		return a, err
	}
	a.email, a.caFile, a.profile = t.Email, t.CAFile, t.Profile
	a.directory, a.namespace = cmp.Or(t.Directory, a.directory), cmp.Or(t.Namespace, a.namespace)
	if u, err := url.Parse(a.directory); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return a, sdk.Invalid("`directory` under `acme` in the executor's settings is the address of an ACME directory and begins with https://; %s is none.", quoted(a.directory))
	}
	if !namespaceName.MatchString(a.namespace) {
		return a, sdk.Invalid("`namespace` under `acme` in the executor's settings is no name of a namespace: %s.", quoted(a.namespace))
	}
	if strings.ContainsAny(a.email, " \t\r\n?,") || a.email != "" && !strings.Contains(a.email, "@") {
		return a, sdk.Invalid("`email` under `acme` in the executor's settings is no address: %s.", quoted(a.email))
	}
	for _, limit := range []struct {
		most *int
		of   *rate
	}{{t.Limits.Orders, &a.limits.orders}, {t.Limits.Domain, &a.limits.domain}, {t.Limits.Same, &a.limits.same}} {
		if limit.most == nil {
			continue
		}
		if limit.of.most = *limit.most; limit.of.most < 0 {
			return a, sdk.Invalid("A limit under `acme` in the executor's settings is negative.")
		}
	}
	if t.EAB == nil {
		return a, nil
	}
	ref, err := sdk.SecretOf(t.EAB.MACKey, "the key of the external account binding")
	if err != nil {
		return a, err
	}
	a.eab = &acmeBinding{keyID: t.EAB.KeyID, key: ref}
	if a.eab.keyID == "" {
		return a, sdk.Invalid("`eab` under `acme` in the executor's settings needs `key_id`.")
	}
	return a, nil
}

// authority is who an error is about, for people.
func (a acmeSettings) authority() string {
	if u, err := url.Parse(a.directory); err == nil {
		return "the certificate authority " + u.Hostname()
	}
	return "the certificate authority"
}

// client makes a client of the authority. What the authority asks to wait is
// found in the transport afterwards: the library does not tell.
func (a acmeSettings) client() (*acme.Client, *acmeTransport, error) {
	roots, err := a.roots()
	if err != nil {
		return nil, nil, err
	}
	t := &acmeTransport{base: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: acmeAnswer,
		MaxIdleConnsPerHost:   2,
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,
	}}
	return &acme.Client{
		Directory:   a.directory,
		HTTPClient:  &http.Client{Transport: t, Timeout: acmeAnswer},
		UserAgent:   "berth-dns/" + Version,
		PollTimeout: acmePatience,
	}, t, nil
}

func (a acmeSettings) roots() (*x509.CertPool, error) {
	if a.caFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(a.caFile)
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The file that `ca_file` under `acme` names cannot be read: check the path and its permissions.", Err: err}
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, sdk.Invalid("The file that `ca_file` under `acme` names has no certificate in PEM form.")
	}
	return pool, nil
}

// acmeTransport remembers what the authority asked to wait when it refused, and
// bounds its answers.
type acmeTransport struct {
	base *http.Transport

	mu   sync.Mutex
	wait time.Duration
}

// RoundTrip implements http.RoundTripper.
func (t *acmeTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		t.mu.Lock()
		t.wait = retryAfter(resp.Header.Get("Retry-After"), time.Now())
		t.mu.Unlock()
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAcmeAnswer}
	return resp, nil
}

// asked is how long the last refusal asked to wait, 0 when it did not say.
func (t *acmeTransport) asked() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait
}

func (t *acmeTransport) close() { t.base.CloseIdleConnections() }

// maxRetryAfter bounds what is believed of a Retry-After. A week is the longest
// period of any limit.
const maxRetryAfter = 7 * 24 * time.Hour

// retryAfter is what a Retry-After header asks for, 0 when it says nothing that
// makes sense. Source: RFC 9110, section 10.2.3.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		return min(max(time.Duration(seconds)*time.Second, 0), maxRetryAfter)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

var errLongAnswer = errors.New("the answer is too long")

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongAnswer
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
