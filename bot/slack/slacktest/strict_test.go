package slacktest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// long is a text of n characters.
func long(n int) string { return strings.Repeat("ä", n) }

func plainText(s string) obj { return obj{"type": "plain_text", "text": s} }

// many repeats a value.
func many(n int, v any) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// with is an object with one field more.
func with(o obj, name string, v any) obj {
	out := clone(o).(obj)
	out[name] = v
	return out
}

func TestWhatSlackWouldNotShowIsRefused(t *testing.T) {
	menu := func(n int) obj {
		return obj{"type": "static_select", "action_id": "m", "options": many(n, obj{"text": plainText("x"), "value": "x"})}
	}
	confirm := obj{"title": plainText("Sure?"), "text": plainText("It is."), "confirm": plainText("Yes"), "deny": plainText("No")}
	blocks := map[string]struct {
		blocks  []any
		problem string // that is told; empty takes the blocks
	}{
		"fifty blocks":                                {many(50, obj{"type": "divider"}), ""},
		"fifty-one blocks":                            {many(51, obj{"type": "divider"}), "no more than 50 items allowed"},
		"a block of no type that there is":            {[]any{obj{"type": "banner"}}, "unsupported type: banner"},
		"a block that is a text":                      {[]any{"section"}, "must be an object"},
		"a section with neither text nor fields":      {[]any{obj{"type": "section"}}, "missing required field: text or fields"},
		"a section's text of 3,000 characters":        {[]any{section(long(3000))}, ""},
		"a section's text of 3,001 characters":        {[]any{section(long(3001))}, "must be less than 3001 characters"},
		"a section's text of none":                    {[]any{section("")}, "must be more than 0 characters"},
		"ten fields":                                  {[]any{obj{"type": "section", "fields": many(10, plainText("x"))}}, ""},
		"eleven fields":                               {[]any{obj{"type": "section", "fields": many(11, plainText("x"))}}, "no more than 10 items allowed"},
		"a field of 2,001 characters":                 {[]any{obj{"type": "section", "fields": []any{plainText(long(2001))}}}, "must be less than 2001 characters"},
		"a header of mrkdwn":                          {[]any{obj{"type": "header", "text": obj{"type": "mrkdwn", "text": "x"}}}, "must be a valid enum value"},
		"a header of 151 characters":                  {[]any{obj{"type": "header", "text": plainText(long(151))}}, "must be less than 151 characters"},
		"a field that a block does not have":          {[]any{with(section("x"), "colour", "red")}, "invalid additional property: colour"},
		"emoji in mrkdwn":                             {[]any{obj{"type": "section", "text": obj{"type": "mrkdwn", "text": "x", "emoji": true}}}, "invalid additional property: emoji"},
		"twenty-five buttons":                         {[]any{actions(buttons(25)...)}, ""},
		"twenty-six buttons":                          {[]any{actions(buttons(26)...)}, "no more than 25 items allowed"},
		"actions without a button":                    {[]any{obj{"type": "actions", "elements": []any{}}}, "no fewer than 1 items allowed"},
		"two buttons of one action_id":                {[]any{actions(button("A", "x"), button("B", "x"))}, "action_id already exists: a-x"},
		"two blocks of one block_id":                  {[]any{with(section("x"), "block_id", "b"), with(section("y"), "block_id", "b")}, "block_id already exists: b"},
		"a block_id of 256 characters":                {[]any{with(section("x"), "block_id", long(256))}, "must be less than 256 characters"},
		"a button that says 76 characters":            {[]any{actions(button(long(76), "x"))}, "must be less than 76 characters"},
		"a button's value of 2,001 characters":        {[]any{actions(with(button("A", "x"), "value", long(2001)))}, "must be less than 2001 characters"},
		"a button's style that there is not":          {[]any{actions(with(button("A", "x"), "style", "good"))}, "must be a valid enum value"},
		"a button's address that is none":             {[]any{actions(with(button("A", "x"), "url", "shop/pr-7"))}, "must be a valid url"},
		"a button's address of 3,001 characters":      {[]any{actions(with(button("A", "x"), "url", "https://"+strings.Repeat("x", 3000)))}, "must be less than 3001 characters"},
		"a button that asks first":                    {[]any{actions(with(button("A", "x"), "confirm", confirm))}, ""},
		"a question of 301 characters":                {[]any{actions(with(button("A", "x"), "confirm", with(confirm, "text", plainText(long(301)))))}, "must be less than 301 characters"},
		"a question without a title":                  {[]any{actions(with(button("A", "x"), "confirm", obj{"text": plainText("x")}))}, "missing required field: title"},
		"a yes of 31 characters":                      {[]any{actions(with(button("A", "x"), "confirm", with(confirm, "confirm", plainText(long(31)))))}, "must be less than 31 characters"},
		"eleven things in a context":                  {[]any{obj{"type": "context", "elements": many(11, plainText("x"))}}, "no more than 10 items allowed"},
		"a button in a context":                       {[]any{obj{"type": "context", "elements": []any{button("A", "x")}}}, "unsupported type: button"},
		"a menu of a hundred":                         {[]any{actions(menu(100))}, ""},
		"a menu of a hundred and one":                 {[]any{actions(menu(101))}, "no more than 100 items allowed"},
		"a menu with neither options nor groups":      {[]any{actions(obj{"type": "static_select", "action_id": "m"})}, "must have either options or option_groups"},
		"an overflow of six":                          {[]any{actions(obj{"type": "overflow", "action_id": "o", "options": many(6, obj{"text": plainText("x"), "value": "x"})})}, "no more than 5 items allowed"},
		"an option that says 76 characters":           {[]any{actions(obj{"type": "overflow", "action_id": "o", "options": []any{obj{"text": plainText(long(76)), "value": "x"}}})}, "must be less than 76 characters"},
		"an image without words":                      {[]any{obj{"type": "image", "image_url": "https://x.org/x.png"}}, "missing required field: alt_text"},
		"markdown of 12,000 characters in two blocks": {[]any{obj{"type": "markdown", "text": long(6000)}, obj{"type": "markdown", "text": long(6001)}}, "12001 characters of markdown"},
	}
	a := oddApp(t, Options{})
	for name, test := range blocks {
		t.Run(name, func(t *testing.T) {
			for where, args := range map[string]obj{
				"invalid_blocks":      {"channel": "C1", "text": "x", "blocks": test.blocks},
				"invalid_attachments": {"channel": "C1", "text": "x", "attachments": []any{obj{"color": "#fff", "fallback": "x", "blocks": test.blocks}}},
			} {
				out := a.call("chat.postMessage", args)
				odd := a.TakeOdd()
				if test.problem == "" {
					if out["ok"] != true || odd != nil {
						t.Errorf("refused: %v, odd %v", out, odd)
					}
					continue
				}
				told, _ := out["response_metadata"].(obj)
				if out["error"] != where || len(odd) != 1 || !strings.Contains(odd[0].Problem, test.problem) || !strings.Contains(quoted(told["messages"]), test.problem) {
					t.Errorf("got %v, odd %v", out, odd)
				}
			}
		})
	}
}

func buttons(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = button("B", string(rune('a'+i)))
	}
	return out
}

func TestArgumentsOfMethodsAreChecked(t *testing.T) {
	modal := reasonModal()
	tests := map[string]struct {
		method string
		args   obj
		err    string // the answer's error; empty is ok
		odd    string // what is noted; empty is nothing
	}{
		"a method that there is not":              {"chat.shout", obj{}, "unknown_method", "no such method"},
		"a message of nothing":                    {"chat.postMessage", obj{"channel": "C1"}, "no_text", "without text"},
		"a message to nowhere":                    {"chat.postMessage", obj{"text": "x"}, "channel_not_found", "without channel"},
		"a channel that there is not":             {"chat.postMessage", obj{"channel": "C9", "text": "x"}, "channel_not_found", ""},
		"a private channel without the bot":       {"chat.postMessage", obj{"channel": "C2", "text": "x"}, "channel_not_found", ""},
		"an archived channel":                     {"chat.postMessage", obj{"channel": "C3", "text": "x"}, "is_archived", ""},
		"a channel by name":                       {"chat.postMessage", obj{"channel": "#deploys", "text": "x"}, "", "by id, not by name"},
		"an argument that there is not":           {"chat.postMessage", obj{"channel": "C1", "text": "x", "color": "red"}, "", "no argument color"},
		"a text that is a number":                 {"chat.postMessage", obj{"channel": "C1", "text": 7}, "invalid_arguments", "must be a string"},
		"blocks that are a text in JSON":          {"chat.postMessage", obj{"channel": "C1", "text": "x", "blocks": `[{"type": "divider"}]`}, "", ""},
		"blocks without words for notifications":  {"chat.postMessage", obj{"channel": "C1", "blocks": []any{obj{"type": "divider"}}}, "", "missing_text_in_message"},
		"a thread that there is not":              {"chat.postMessage", obj{"channel": "C1", "text": "x", "thread_ts": "1700000000.000100"}, "thread_not_found", ""},
		"a thread that is no timestamp":           {"chat.postMessage", obj{"channel": "C1", "text": "x", "thread_ts": "yesterday"}, "invalid_thread_ts", "yesterday"},
		"a text that is advised against":          {"chat.postMessage", obj{"channel": "C1", "text": long(4001)}, "", "advised against"},
		"metadata without a payload":              {"chat.update", obj{"channel": "C1", "ts": "1.000000", "text": "x", "metadata": obj{"event_type": "berth"}}, "invalid_metadata_format", "missing required field: event_payload"},
		"an edit of nothing":                      {"chat.update", obj{"channel": "C1", "ts": "1700000000.000100", "text": "x"}, "message_not_found", ""},
		"words for a stranger":                    {"chat.postEphemeral", obj{"channel": "C1", "user": "U9", "text": "x"}, "user_not_in_channel", ""},
		"words for nobody":                        {"chat.postEphemeral", obj{"channel": "C1", "text": "x"}, "user_not_found", "without user"},
		"a modal without a trigger":               {"views.open", obj{"view": modal}, "invalid_arguments", "without trigger_id"},
		"a modal with a wrong trigger":            {"views.open", obj{"view": modal, "trigger_id": "1.2.3"}, "invalid_trigger_id", "no such trigger"},
		"a modal of a title that is too long":     {"views.open", obj{"trigger_id": "x", "view": with(modal, "title", plainText(long(25)))}, "invalid_arguments", "must be less than 25 characters [json-pointer:/view/title/text]"},
		"a modal that keeps too much":             {"views.open", obj{"trigger_id": "x", "view": with(modal, "private_metadata", long(3001))}, "invalid_arguments", "must be less than 3001 characters"},
		"a modal of inputs without a button":      {"views.open", obj{"trigger_id": "x", "view": with(modal, "submit", nil)}, "invalid_arguments", "submit is required"},
		"a modal of a hundred and one blocks":     {"views.open", obj{"trigger_id": "x", "view": with(modal, "blocks", many(101, obj{"type": "divider"}))}, "invalid_arguments", "no more than 100 items allowed"},
		"a Home tab that is a modal":              {"views.publish", obj{"user_id": "U1", "view": modal}, "invalid_arguments", "must be one of home"},
		"a Home tab of somebody who is not there": {"views.publish", obj{"user_id": "U9", "view": obj{"type": "home", "blocks": []any{}}}, "user_not_found", ""},
		"a view that there is not":                {"views.update", obj{"view_id": "V9", "view": modal}, "not_found", ""},
		"JSON where a form is wanted":             {"users.info", obj{"user": "U1"}, "user_not_found", "it takes no JSON"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := oddApp(t, Options{})
			out := a.call(test.method, test.args)
			problems := ""
			for _, o := range a.Odd() {
				problems += o.Problem + "\n"
			}
			if str(out, "error") != test.err || (test.odd == "") != (problems == "") || !strings.Contains(problems, test.odd) {
				t.Errorf("got %v, odd %q", out, problems)
			}
		})
	}
}

func TestFormsAreReadByTheirTypes(t *testing.T) {
	a := newApp(t, Options{})
	out := a.form("chat.postMessage", url.Values{"channel": {"C1"}, "text": {"x"}, "unfurl_links": {"false"}, "blocks": {`[{"type":"divider"}]`}, "token": {"ignored"}})
	if out["ok"] != true || len(a.Messages("C1")[0].Blocks) != 1 {
		t.Errorf("got %v", out)
	}
	if out := a.form("conversations.history", url.Values{"channel": {"C1"}, "limit": {"1"}}); len(list(out, "messages")) != 1 {
		t.Errorf("got %v", out)
	}
	if out := a.form("chat.postMessage", url.Values{"channel": {"C1"}, "text": {"x"}, "blocks": {`[{`}}); out["error"] != "invalid_blocks" {
		t.Errorf("got %v", out)
	}
	a.TakeOdd()
}

func TestTokensAndScopesAreEnforced(t *testing.T) {
	a := oddApp(t, Options{App: App{Scopes: []string{"commands"}}})
	res, out := a.post(a.APIURL()+"chat.postMessage", a.team.BotToken, obj{"channel": "C1", "text": "x"})
	if out["error"] != "missing_scope" || out["needed"] != "chat:write" || out["provided"] != "commands" || res.Header.Get("X-Oauth-Scopes") != "commands" || res.Header.Get("X-Accepted-Oauth-Scopes") != "chat:write" {
		t.Errorf("got %v %v", out, res.Header)
	}
	for token, want := range map[string]string{"": "not_authed", "xoxb-other": "invalid_auth", a.App().Token: "not_allowed_token_type"} {
		if _, out := a.post(a.APIURL()+"auth.test", token, obj{}); out["error"] != want {
			t.Errorf("the token %q: %v", token, out)
		}
	}
	if out := a.call("auth.test", obj{}); out["team_id"] != "T1" || out["user_id"] != a.team.Bot {
		t.Errorf("auth.test: %v", out)
	}
	if out := a.call("apps.connections.open", obj{}); out["error"] != "not_allowed_token_type" {
		t.Errorf("a bot's token opens a socket: %v", out)
	}
}

func TestLimitsRunOutAndComeBack(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	a := newApp(t, Options{RateLimits: true, Now: func() time.Time { return now }})
	post := func() (*http.Response, obj) {
		return a.post(a.APIURL()+"chat.postMessage", a.team.BotToken, obj{"channel": "C1", "text": "x"})
	}
	_, first := post()
	_, second := post()
	res, third := post()
	if first["ok"] != true || second["ok"] != true || third["error"] != "ratelimited" || res.StatusCode != 429 || res.Header.Get("Retry-After") != "1" {
		t.Errorf("got %v, %v, %v %d", first, second, third, res.StatusCode)
	}
	now = now.Add(time.Second)
	if _, again := post(); again["ok"] != true {
		t.Errorf("a second later: %v", again)
	}
	var refused obj
	ts := str(first, "ts")
	n := 0
	for ; refused == nil && n < 100; n++ {
		if _, out := a.post(a.APIURL()+"chat.update", a.team.BotToken, obj{"channel": "C1", "ts": ts, "text": "y"}); out["ok"] != true {
			refused = out
		}
	}
	if refused["error"] != "ratelimited" || n != 51 {
		t.Errorf("refused the edit %d: %v", n, refused)
	}
}

func TestFaultsHappenAsOftenAsAsked(t *testing.T) {
	a := newApp(t, Options{})
	args := obj{"channel": "C1", "text": "x"}
	a.Fail("chat.*", 1, Fault{Status: 429, RetryAfter: 7 * time.Second})
	a.Fail("chat.postMessage", 1, Fault{Status: 500})
	a.Fail("chat.postMessage", 1, Fault{Error: "internal_error"})
	for n, want := range []int{429, 500, 200, 200} {
		res, out := a.post(a.APIURL()+"chat.postMessage", a.team.BotToken, args)
		if res.StatusCode != want || (n == 0 && res.Header.Get("Retry-After") != "7") || (n == 2 && out["error"] != "internal_error") || (n == 3 && out["ok"] != true) {
			t.Errorf("call %d: %d %v", n, res.StatusCode, out)
		}
	}
	a.Fail("chat.postMessage", 1, Fault{Status: 502, Done: true})
	if res, _ := a.post(a.APIURL()+"chat.postMessage", a.team.BotToken, args); res.StatusCode != 502 || len(a.Messages("C1")) != 2 {
		t.Errorf("an answer that is lost: %d, %d messages", res.StatusCode, len(a.Messages("C1")))
	}
	a.Gone("C1", a.Messages("C1")[0].TS)
	if out := a.call("chat.update", obj{"channel": "C1", "ts": "1.000000", "text": "x"}); out["error"] != "message_not_found" {
		t.Errorf("got %v", out)
	}
	a.Deactivate("U2")
	if out := a.call("conversations.open", obj{"users": "U2"}); out["error"] != "user_disabled" {
		t.Errorf("got %v", out)
	}
}
