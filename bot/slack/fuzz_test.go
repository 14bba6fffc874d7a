package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/berth-dev/berth/bot"
)

// sieve is an Intake that lets no event through that others could not keep.
type sieve struct{ t testing.TB }

func (s sieve) Take(_ context.Context, e bot.ChatEvent) error {
	place, err := bot.ParseChatPlace(bot.PlatformSlack, e.Place.ID())
	if err == nil && e.Place.Channel != "" {
		place.User = e.Place.User
	}
	kept := new(bot.ChatEvent)
	text, bad := json.Marshal(e)
	if bad == nil {
		bad = json.Unmarshal(text, kept)
	}
	switch {
	case err != nil || place != e.Place:
		s.t.Errorf("the place %+v is read back as %+v: %v", e.Place, place, err)
	case !wordy(e.ID):
		s.t.Errorf("the id is %q", e.ID)
	case !idPattern.MatchString(e.User) || e.Identity != "slack:"+e.User && !strings.HasSuffix(e.Identity, "."+e.User):
		s.t.Errorf("%q is called %q", e.User, e.Identity)
	case bad != nil || !reflect.DeepEqual(*kept, e):
		s.t.Errorf("it is read back as %+v: %v", *kept, bad)
	case len(e.Name) > maxName || strings.ContainsAny(e.Name, "\n\r\x00"):
		s.t.Errorf("it is done by %q", e.Name)
	case e.Answer != "" && !strings.HasPrefix(e.Answer, viewAnswer) && !strings.HasPrefix(e.Answer, "http"):
		s.t.Errorf("it is answered at %q", e.Answer)
	case len(e.Links) > maxLinks || !stamped(e.Message):
		s.t.Errorf("it is about %q, %q", e.Message, e.Links)
	}
	return nil
}

// hush is a Slack that takes everything, without a network.
type hush struct{}

func (hush) RoundTrip(r *http.Request) (*http.Response, error) {
	const all = `{"ok":true,"url":"https://acme.slack.com/","team_id":"T1","user_id":"UBOT1","view":{"id":"V1"},"ts":"1.1","channel":{"id":"D1"}}`
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(all)), Request: r}, nil
}

// sifted is a Surface whose events go through a sieve.
func sifted(f *testing.F) (s *Surface, at time.Time) {
	f.Helper()
	at = time.Unix(1_700_000_000, 0).UTC()
	s, err := New(Options{
		SigningSecret: testSecret, BotToken: "xoxb-home", Workspaces: map[string]string{"T2": "xoxb-two"}, APIURL: "https://slack.example.org/api/",
		PublicURL: "https://berth.example.org", HTTP: &http.Client{Transport: hush{}}, Now: func() time.Time { return at },
	})
	if err != nil {
		f.Fatal(err)
	}
	s.Attach(sieve{f}, &guesser{})
	return s, at
}

// known fails the test for an answer that Slack gets from Berth in no case.
func known(t *testing.T, out reply) {
	t.Helper()
	switch out.status {
	case http.StatusOK, http.StatusBadRequest, http.StatusServiceUnavailable:
	default:
		t.Errorf("the answer is %d", out.status)
	}
	if _, err := json.Marshal(out.body); err != nil {
		t.Errorf("the answer cannot be written: %v", err)
	}
}

func FuzzCommandForm(f *testing.F) {
	s, at := sifted(f)
	for _, text := range []string{"list", "deploy shop/pr-42 —ref <http://x.org|x.org> &amp; “more”", "`a`", "```b```", "\x00\u202e", strings.Repeat("<", 100)} {
		f.Add(url.Values{"team_id": {"T1"}, "channel_id": {"C1"}, "user_id": {"U1"}, "user_name": {"ana"}, "text": {text}, "response_url": {"https://x.org/"}, "trigger_id": {"1.2"}}.Encode())
	}
	f.Add("ssl_check=1")
	f.Add("%zz&;=")
	f.Fuzz(func(t *testing.T, body string) {
		known(t, s.commandForm(t.Context(), at, []byte(body)))
	})
}

// payloads are interactions of each kind, as Slack describes them.
var payloads = []string{
	`{"type":"block_actions","user":{"id":"U1","username":"ana","team_id":"T1"},"container":{"type":"message","message_ts":"1.1","channel_id":"C1"},"trigger_id":"9","team":{"id":"T1"},"channel":{"id":"C1"},"message":{"ts":"1.1","thread_ts":"1.0","attachments":[{"text":"x"}]},"response_url":"https://x.org/","actions":[{"action_id":"a","block_id":"b","text":{"text":"Go"},"value":"{\"line\":\"approve 01\",\"digest\":\"ab\"}","type":"button","action_ts":"1.5"}]}`,
	`{"type":"block_actions","user":{"id":"U1"},"team":null,"enterprise":{"id":"E1"},"view":{"id":"V1","type":"modal","private_metadata":"{\"c\":\"C1\"}"},"actions":[{"value":"{\"line\":\"deny 01\",\"reason\":\"Why?\"}"}]}`,
	`{"type":"block_actions","user":{"id":"U1"},"team":{"id":"T2"},"view":{"id":"V1","type":"home"},"actions":[{"value":"{\"line\":\"logs shop/pr-1\",\"show\":true}"}]}`,
	`{"type":"view_submission","user":{"id":"U1"},"team":{"id":"T1"},"view":{"id":"V1","hash":"1.a","callback_id":"berth_reason","private_metadata":"{\"c\":\"C1\",\"l\":\"deny 01\"}","state":{"values":{"reason":{"reason":{"value":"no\n\"way\""}}}}}}`,
	`{"type":"view_submission","user":{"id":"U1"},"team":{"id":"T1"},"view":{"id":"V1","callback_id":"berth_run_form","state":{"values":{"verb":{"verb":{"selected_option":{"value":"deploy"}}},"environment":{"environment":{"selected_option":{"value":"shop/pr-1"}}},"ref":{"ref":{"value":"a b"}},"place":{"place":{"selected_conversation":"C2"}}}}},"response_urls":[{"channel_id":"C2","response_url":"https://x.org/"}]}`,
	`{"type":"view_closed","user":{"id":"U1"},"view":{"id":"V1"}}`,
	`{"type":"message_action","callback_id":"berth_message","user":{"id":"U1"},"team":{"id":"T1"},"channel":{"id":"C1"},"trigger_id":"1","message":{"ts":"1.1","text":"see <https://github.com/a/b/pull/4|x> and shop/pr-3 #5"}}`,
	`{"type":"shortcut","callback_id":"berth_run","user":{"id":"U1"},"team":{"id":"T1"},"trigger_id":"1"}`,
	`{"type":"block_suggestion","user":{"id":"U1"},"team":{"id":"T1"},"action_id":"environment","value":"pr-","view":{"id":"V1","type":"modal","private_metadata":"{\"c\":\"C1\",\"f\":[\"pr-9\"]}"}}`,
}

func FuzzInteraction(f *testing.F) {
	s, at := sifted(f)
	for _, p := range payloads {
		f.Add(p)
	}
	f.Add("null")
	f.Add(`{"type":"block_actions","actions":[null],"view":null}`)
	f.Fuzz(func(t *testing.T, payload string) {
		known(t, s.interactionForm(t.Context(), at, []byte(wrapped(payload))))
		known(t, s.interactionEnvelope(t.Context(), []byte(payload)))
	})
}

func FuzzInteractionForm(f *testing.F) {
	s, at := sifted(f)
	f.Add(wrapped(payloads[0]))
	f.Add("payload=1&payload=2")
	f.Add("payload=%")
	f.Fuzz(func(t *testing.T, body string) { known(t, s.interactionForm(t.Context(), at, []byte(body))) })
}

func FuzzEvent(f *testing.F) {
	s, at := sifted(f)
	for _, fields := range []string{
		`"type":"app_mention","user":"U1","text":"<@UBOT1> list","ts":"1699999999.1","channel":"C1","thread_ts":"1.0"`,
		`"type":"message","user":"U1","text":"list","ts":"1.1","channel":"D1","channel_type":"im"`,
		`"type":"message","subtype":"message_changed","message":{"text":1},"channel":"D1"`,
		`"type":"app_home_opened","user":"U1","tab":"home","event_ts":"1.1","channel":"D1"`,
		`"type":"link_shared","user":"U1","channel":"C1","message_ts":"1.1","links":[{"url":"https://berth.example.org/r/1"}]`,
		`"type":"app_uninstalled"`, `"type":"x","user":{}`,
	} {
		f.Add(eventText("Ev1", fields))
	}
	f.Add(`{"type":"url_verification","challenge":"x"}`)
	f.Add(`{"type":"app_rate_limited","team_id":"T1"}`)
	f.Fuzz(func(t *testing.T, body string) { known(t, s.eventBody(t.Context(), at, []byte(body))) })
}

func FuzzSocketEnvelope(f *testing.F) {
	s, _ := sifted(f)
	for _, p := range payloads {
		f.Add(`{"type":"interactive","envelope_id":"e1","accepts_response_payload":true,"payload":` + p + `}`)
	}
	f.Add(`{"type":"slash_commands","envelope_id":"e1","payload":{"team_id":"T1","channel_id":"C1","user_id":"U1","text":"list"}}`)
	f.Add(`{"type":"events_api","envelope_id":"e1","retry_attempt":1,"payload":` + eventText("Ev1", `"type":"app_mention","user":"U1","text":"x","ts":"1.1","channel":"C1"`) + `}`)
	f.Add(`{"type":"hello","num_connections":1,"connection_info":{"app_id":"A1"},"debug_info":{"approximate_connection_time":18060}}`)
	f.Add(`{"type":"disconnect","reason":"warning"}`)
	f.Fuzz(func(t *testing.T, data string) {
		r, err := decodeSocket([]byte(data))
		if err != nil {
			return
		}
		if r.EnvelopeID != "" && r.Type != "hello" && r.Type != "disconnect" && !wordy(r.EnvelopeID) {
			t.Errorf("the envelope %q is taken", r.EnvelopeID)
		}
		known(t, s.envelope(t.Context(), r))
	})
}

func FuzzTypedText(f *testing.F) {
	for _, text := range []string{"<@UBOT> deploy shop/pr-42 —ref main", "`<@UBOT>` x", "<@UBOT|b>:\u00a0list", "<!subteam^S1|@x> <#C1|c> <mailto:a@b|a@b>", "&amp;lt;", "—a –b ——c", "/berth /berth x", "```\n`"} {
		f.Add(text, "UBOT")
		f.Add(text, "")
	}
	f.Fuzz(func(t *testing.T, text, self string) {
		for name, line := range map[string]string{"a mention": mentionText(text, self), "a message": directText(text, self), "a command": withoutSlash(commandText(plainText(text)))} {
			if utf8.ValidString(text) && !utf8.ValidString(line) {
				t.Errorf("%s %q is read as %q", name, text, line)
			}
			if line != strings.TrimSpace(line) {
				t.Errorf("%s %q is read as %q, with space around it", name, text, line)
			}
			if len(line) > 3*len(text) { // a byte that is no character becomes one that says so
				t.Errorf("%s of %d bytes is read as one of %d", name, len(text), len(line))
			}
		}
		if short := oneLine(text); strings.ContainsAny(short, "\n\r\t\x00") || oneLine(short) != short {
			t.Errorf("%q on one line is %q", text, short)
		}
		if targets := found(text); len(targets) > maxFound {
			t.Errorf("%q names %q", text, targets)
		} else {
			for _, name := range targets {
				if !target.MatchString(name) {
					t.Errorf("%q names %q", text, name)
				}
			}
		}
	})
}

func FuzzNote(f *testing.F) {
	f.Add(`{"t":"T1","c":"C1","h":"1.1","m":"1.2","l":"deny 01","d":"ab","r":"https://x.org/","u":1700000000,"f":["pr-1"]}`)
	f.Add(``)
	f.Add(`{"f":[null]}`)
	f.Fuzz(func(t *testing.T, metadata string) {
		n, err := readNote(metadata)
		if err != nil {
			return
		}
		text, err := n.text()
		if err != nil {
			return // it is too long
		}
		if back, err := readNote(text); err != nil || back.Line != n.Line || back.Channel != n.Channel || width(text) > maxPrivateMetadata {
			t.Errorf("%+v is read back as %+v: %v", n, back, err)
		}
	})
}

func FuzzSignature(f *testing.F) {
	at := time.Unix(documentedTime, 0)
	f.Add(strconv.Itoa(documentedTime), documentedSignature, documentedBody)
	f.Add("0", "v0=", "")
	f.Add(fmt.Sprint(int64(-1)<<63), "v0="+strings.Repeat("0", 64), "a")
	v := newVerifier(testSecret)
	f.Fuzz(func(t *testing.T, stamp, signature, body string) {
		_, genuine := v.genuine(http.Header{timestampHeader: {stamp}, signatureHeader: {signature}}, []byte(body), at)
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		right := err == nil && strings.EqualFold(signature, sign(testSecret, time.Unix(seconds, 0), []byte(body))) && strings.HasPrefix(signature, "v0=")
		if genuine && !right {
			t.Errorf("%q at %q is genuine", signature, stamp)
		}
	})
}
