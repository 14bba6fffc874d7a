package slack

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// documented is Slack's own example of a signed request.
// Source: https://docs.slack.dev/authentication/verifying-requests-from-slack
const (
	documentedBody      = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	documentedSignature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
	documentedTime      = 1531420618
)

func TestSignatures(t *testing.T) {
	at := time.Unix(documentedTime, 0)
	stamp := strconv.Itoa(documentedTime)
	tests := map[string]struct {
		secret string
		header http.Header
		body   string
		now    time.Time
		want   bool
	}{
		"Slack's documented example is genuine":        {want: true},
		"four minutes late is in time":                 {now: at.Add(4 * time.Minute), want: true},
		"five minutes early is in time":                {now: at.Add(-5 * time.Minute), want: true},
		"a header in lower case counts":                {header: http.Header{"x-slack-signature": {documentedSignature}, "x-slack-request-timestamp": {stamp}}, want: true},
		"a header in capitals counts":                  {header: http.Header{"X-SLACK-SIGNATURE": {documentedSignature}, "X-SLACK-REQUEST-TIMESTAMP": {stamp}}, want: true},
		"later than five minutes is stale":             {now: at.Add(5*time.Minute + time.Second)},
		"more than five minutes in the future is too":  {now: at.Add(-5*time.Minute - time.Second)},
		"another secret's is not genuine":              {secret: "another"},
		"without a secret nothing is genuine":          {secret: "-"},
		"one changed byte of the body shows":           {body: strings.Replace(documentedBody, "foobar", "foobas", 1)},
		"one byte more shows":                          {body: documentedBody + "&"},
		"another time than the signed one shows":       {header: http.Header{"X-Slack-Signature": {documentedSignature}, "X-Slack-Request-Timestamp": {strconv.Itoa(documentedTime + 1)}}},
		"a missing signature is none":                  {header: http.Header{"X-Slack-Request-Timestamp": {stamp}}},
		"a missing time is none":                       {header: http.Header{"X-Slack-Signature": {documentedSignature}}},
		"two signatures are none":                      {header: http.Header{"X-Slack-Signature": {documentedSignature, documentedSignature}, "X-Slack-Request-Timestamp": {stamp}}},
		"another version's signature is none":          {header: http.Header{"X-Slack-Signature": {"v1=" + documentedSignature[3:]}, "X-Slack-Request-Timestamp": {stamp}}},
		"half a signature is none":                     {header: http.Header{"X-Slack-Signature": {documentedSignature[:35]}, "X-Slack-Request-Timestamp": {stamp}}},
		"a signature that is no hex is none":           {header: http.Header{"X-Slack-Signature": {"v0=" + strings.Repeat("zz", 32)}, "X-Slack-Request-Timestamp": {stamp}}},
		"a time with a sign is none":                   {header: http.Header{"X-Slack-Signature": {documentedSignature}, "X-Slack-Request-Timestamp": {"+" + stamp}}},
		"a time beyond all times is none":              {header: http.Header{"X-Slack-Signature": {documentedSignature}, "X-Slack-Request-Timestamp": {"99999999999999999999"}}},
		"a time that would turn around below is none":  {header: http.Header{"X-Slack-Signature": {documentedSignature}, "X-Slack-Request-Timestamp": {"-9223372036854775808"}}},
		"the letters of a time are looked at as bytes": {header: http.Header{"X-Slack-Signature": {documentedSignature}, "X-Slack-Request-Timestamp": {"１５３１４２０６１８"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			secret, header, body, now := first(tt.secret, testSecret), tt.header, first(tt.body, documentedBody), tt.now
			if secret == "-" {
				secret = ""
			}
			if header == nil {
				header = http.Header{"X-Slack-Signature": {documentedSignature}, "X-Slack-Request-Timestamp": {stamp}}
			}
			if now.IsZero() {
				now = at.Add(3 * time.Second)
			}
			signed, got := newVerifier(secret).genuine(header, []byte(body), now)
			if got != tt.want {
				t.Errorf("genuine is %v", got)
			}
			if got && !signed.Equal(at) {
				t.Errorf("it was signed at %s", signed)
			}
		})
	}
}

func TestTheFrontDoor(t *testing.T) {
	w := newWorld(t)
	now := w.clock.now()
	request := func(method, path, body string, header map[string]string) int {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		for key, value := range header {
			r.Header.Set(key, value)
		}
		out := httptest.NewRecorder()
		w.front.ServeHTTP(out, r)
		return out.Code
	}
	signed := func(body string) map[string]string {
		return map[string]string{"X-Slack-Request-Timestamp": strconv.FormatInt(now.Unix(), 10), "X-Slack-Signature": sign(testSecret, now, []byte(body))}
	}
	large := strings.Repeat("a", MaxBody+1)
	challengeBody := `{"type":"url_verification","challenge":"3eZbrw1aB"}`
	tests := map[string]struct {
		method, path, body string
		header             map[string]string
		want               int
	}{
		"what is not POSTed is refused":                 {http.MethodGet, "/slack/commands", "", nil, 405},
		"what is not there is not found":                {http.MethodPost, "/slack/other", "", signed(""), 404},
		"an unsigned command is refused":                {http.MethodPost, "/slack/commands", w.command("list"), nil, 401},
		"an unsigned challenge is not answered":         {http.MethodPost, "/slack/events", challengeBody, nil, 401},
		"unsigned nonsense is refused, not read":        {http.MethodPost, "/slack/interactions", "%zz", nil, 401},
		"what is too large is not read":                 {http.MethodPost, "/slack/events", large, signed(large), 413},
		"signed nonsense is malformed":                  {http.MethodPost, "/slack/interactions", "payload=%7b", signed("payload=%7b"), 400},
		"a signed form without its ids is malformed":    {http.MethodPost, "/slack/commands", "text=list", signed("text=list"), 400},
		"a signed event that is no JSON is malformed":   {http.MethodPost, "/slack/events", "[]", signed("[]"), 400},
		"a signed challenge is answered":                {http.MethodPost, "/slack/events", challengeBody, signed(challengeBody), 200},
		"a look at the certificate is answered":         {http.MethodPost, "/slack/commands", "ssl_check=1&token=x", signed("ssl_check=1&token=x"), 200},
		"an unsigned look at the certificate is not":    {http.MethodPost, "/slack/commands", "ssl_check=1&token=x", nil, 401},
		"a signature over another path's body is its's": {http.MethodPost, "/slack/events", w.command("list"), signed(w.command("list")), 400},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := request(tt.method, tt.path, tt.body, tt.header); got != tt.want {
				t.Errorf("the answer is %d, not %d", got, tt.want)
			}
		})
	}
	if len(w.shelf.all()) != 0 {
		t.Errorf("something was stored: %+v", w.shelf.all())
	}
	r := httptest.NewRequest(http.MethodPost, "/slack/events", strings.NewReader(large))
	r.ContentLength = -1 // it does not say how long it is
	out := httptest.NewRecorder()
	w.front.ServeHTTP(out, r)
	if out.Code != 413 {
		t.Errorf("a large request that does not say so is answered with %d", out.Code)
	}
	if got := w.post("/slack/events", challengeBody); got.Body.String() != `{"challenge":"3eZbrw1aB"}` {
		t.Errorf("the challenge is answered with %s", got.Body)
	}
}

func TestASocketAloneTakesNothingOverHTTP(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.SigningSecret, o.AppToken = "", "xapp-1" })
	body := w.command("list")
	r := httptest.NewRequest(http.MethodPost, "/slack/commands", strings.NewReader(body))
	at := w.clock.now()
	r.Header.Set("X-Slack-Request-Timestamp", strconv.FormatInt(at.Unix(), 10))
	r.Header.Set("X-Slack-Signature", sign("", at, []byte(body)))
	out := httptest.NewRecorder()
	w.front.ServeHTTP(out, r)
	if out.Code != 401 {
		t.Errorf("what is signed with no secret is answered with %d", out.Code)
	}
}
