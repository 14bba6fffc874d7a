package awstest

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxSkew is how far a request's date may be off.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
const maxSkew = 15 * time.Minute

// signature is what a request says of who signed it for what.
type signature struct {
	key     string
	date    time.Time
	region  string
	service string
	token   string
	signed  []string
}

// authorization is the form of the SigV4 header.
var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9]+)/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$`)

// signatureOf reads the signature of a request, in its header or, when it was
// presigned, in its query, which is emptied of it.
func signatureOf(r *http.Request, query url.Values) (signature, *apiError) {
	header := r.Header.Get("Authorization")
	date, token := r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	if header == "" && query.Get("X-Amz-Credential") != "" {
		header = query.Get("X-Amz-Algorithm") + " Credential=" + query.Get("X-Amz-Credential") +
			", SignedHeaders=" + query.Get("X-Amz-SignedHeaders") + ", Signature=" + query.Get("X-Amz-Signature")
		date, token = query.Get("X-Amz-Date"), query.Get("X-Amz-Security-Token")
		for key := range query {
			if strings.HasPrefix(key, "X-Amz-") {
				query.Del(key)
			}
		}
	}
	if header == "" {
		return signature{}, fail("MissingAuthenticationToken", "Request is missing Authentication Token").withStatus(http.StatusForbidden)
	}
	m := authorization.FindStringSubmatch(header)
	if m == nil {
		return signature{}, fail("IncompleteSignature", "the Authorization header is not of the form that SigV4 has").withStatus(http.StatusBadRequest)
	}
	sig := signature{key: m[1], region: m[3], service: m[4], token: token, signed: strings.Split(m[5], ";")}
	t, err := time.Parse("20060102T150405Z", date)
	if err != nil || t.Format("20060102") != m[2] {
		return sig, fail("SignatureDoesNotMatch", "the date of the request is not that of its credential scope").withStatus(http.StatusForbidden)
	}
	sig.date = t
	if off := time.Since(t).Abs(); off > maxSkew {
		return sig, fail("SignatureDoesNotMatch", "Signature expired: the date is off by %s", off).withStatus(http.StatusForbidden)
	}
	if !slices.Contains(sig.signed, "host") || !slices.IsSorted(sig.signed) {
		return sig, fail("SignatureDoesNotMatch", "the signed headers lack host or are not sorted").withStatus(http.StatusForbidden)
	}
	return sig, nil
}

// credential is an access key that the server knows.
type credential struct {
	secret, token string
	account       string
	arn           string // of who has it
	user          string
	until         time.Time // zero: for ever
}

// caller is whose a request is.
func (s *Server) caller(sig signature) (credential, *apiError) {
	c, ok := s.keys[sig.key]
	switch {
	case !ok, c.token != sig.token:
		return c, fail("InvalidClientTokenId", "The security token included in the request is invalid.").withStatus(http.StatusForbidden)
	case !c.until.IsZero() && s.now().After(c.until):
		return c, fail("ExpiredToken", "The security token included in the request is expired").withStatus(http.StatusForbidden)
	}
	return c, nil
}
