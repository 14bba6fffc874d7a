package discordtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func field(name, value string) string {
	return fmt.Sprintf(`{"name":%q,"value":%q}`, name, value)
}

func many(n int, one func(i int) string) string {
	var all []string
	for i := range n {
		all = append(all, one(i))
	}
	return strings.Join(all, ",")
}

func button(i int) string {
	return fmt.Sprintf(`{"type":2,"style":2,"label":"B%d","custom_id":"c%d"}`, i, i)
}

func rows(inner string) string {
	return `{"components":[{"type":1,"components":[` + inner + `]}]}`
}

func embeds(inner string) string { return `{"embeds":[{` + inner + `}]}` }

// TestWhatDiscordRefusesInMessagesIsRefused names where Discord says that it is
// wrong: a path into the errors tree.
func TestWhatDiscordRefusesInMessagesIsRefused(t *testing.T) {
	x := strings.Repeat("x", 5000)
	tests := map[string]struct{ body, at string }{
		"content of 2,001":                      {`{"content":"` + x[:2001] + `"}`, "content"},
		"2,001 units of UTF-16":                 {`{"content":"` + strings.Repeat("🚢", 1001) + `"}`, "content"},
		"content that is no text":               {`{"content":5}`, "content"},
		"11 embeds":                             {`{"embeds":[` + many(11, func(int) string { return `{"title":"x"}` }) + `]}`, "embeds"},
		"an empty embed":                        {`{"embeds":[{}]}`, "embeds.0.description"},
		"a title of 257":                        {embeds(`"title":"` + x[:257] + `"`), "embeds.0.title"},
		"a description of 4,097":                {embeds(`"description":"` + x[:4097] + `"`), "embeds.0.description"},
		"26 fields":                             {embeds(`"fields":[` + many(26, func(int) string { return field("a", "b") }) + `]`), "embeds.0.fields"},
		"a field's name of 257":                 {embeds(`"fields":[` + field(x[:257], "b") + `]`), "embeds.0.fields.0.name"},
		"a field without words":                 {embeds(`"fields":[` + field("a", " ") + `]`), "embeds.0.fields.0.value"},
		"a field's value of 1,025":              {embeds(`"fields":[` + field("a", x[:1025]) + `]`), "embeds.0.fields.0.value"},
		"a footer of 2,049":                     {embeds(`"footer":{"text":"` + x[:2049] + `"}`), "embeds.0.footer.text"},
		"an author of 257":                      {embeds(`"author":{"name":"` + x[:257] + `"}`), "embeds.0.author.name"},
		"6,001 characters in two embeds":        {`{"embeds":[{"description":"` + x[:3001] + `"},{"description":"` + x[:3000] + `"}]}`, "embeds"},
		"a colour beyond":                       {embeds(`"title":"x","color":16777216`), "embeds.0.color"},
		"a link that is none":                   {embeds(`"title":"x","url":"javascript:alert(1)"`), "embeds.0.url"},
		"a time that is none":                   {embeds(`"title":"x","timestamp":"yesterday"`), "embeds.0.timestamp"},
		"6 rows":                                {`{"components":[` + many(6, func(i int) string { return `{"type":1,"components":[` + button(i) + `]}` }) + `]}`, "components"},
		"an empty row":                          {rows(""), "components.0.components"},
		"6 buttons in a row":                    {rows(many(6, button)), "components.0.components"},
		"a button without a row":                {`{"components":[` + button(1) + `]}`, "components.0.type"},
		"a label of 81":                         {rows(`{"type":2,"style":1,"label":"` + x[:81] + `","custom_id":"a"}`), "components.0.components.0.label"},
		"a button without words":                {rows(`{"type":2,"style":1,"custom_id":"a"}`), "components.0.components.0"},
		"a custom_id of 101":                    {rows(`{"type":2,"style":1,"label":"a","custom_id":"` + x[:101] + `"}`), "components.0.components.0.custom_id"},
		"no custom_id":                          {rows(`{"type":2,"style":1,"label":"a"}`), "components.0.components.0.custom_id"},
		"a custom_id twice":                     {rows(button(1) + "," + button(1)), "components.0.components.1.custom_id"},
		"a link with a custom_id":               {rows(`{"type":2,"style":5,"label":"a","url":"https://x.org","custom_id":"a"}`), "components.0.components.0.custom_id"},
		"a link to nowhere":                     {rows(`{"type":2,"style":5,"label":"a","url":"ftp://x.org"}`), "components.0.components.0.url"},
		"a link of 513":                         {rows(`{"type":2,"style":5,"label":"a","url":"https://x.org/` + x[:500] + `"}`), "components.0.components.0.url"},
		"a button of a style that there is not": {rows(`{"type":2,"style":9,"label":"a","custom_id":"a"}`), "components.0.components.0.style"},
		"a menu of 26":                          {rows(`{"type":3,"custom_id":"m","options":[` + many(26, func(i int) string { return fmt.Sprintf(`{"label":"a","value":"%d"}`, i) }) + `]}`), "components.0.components.0.options"},
		"a nonce of 26":                         {`{"content":"x","nonce":"` + x[:26] + `"}`, "nonce"},
		"users both parsed and listed":          {`{"content":"x","allowed_mentions":{"parse":["users"],"users":["1"]}}`, "allowed_mentions.parse"},
		"a mention that is none":                {`{"content":"x","allowed_mentions":{"users":["@ana"]}}`, "allowed_mentions.users.0"},
		"a mention of 101":                      {`{"content":"x","allowed_mentions":{"users":[` + many(101, func(i int) string { return fmt.Sprintf(`"%d"`, i) }) + `]}}`, "allowed_mentions.users"},
		"a kind of mention that there is not":   {`{"content":"x","allowed_mentions":{"parse":["all"]}}`, "allowed_mentions.parse.0"},
		"a file that was not sent":              {`{"content":"x","attachments":[{"id":"0","filename":"a.txt"}]}`, "attachments.0.id"},
		"a reply to nothing":                    {`{"content":"x","message_reference":{"message_id":"1"}}`, "message_reference"},
		"a body that is a list":                 {`[]`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			r := w.api("POST", "channels/"+w.channel+"/messages", test.body)
			at, _ := r.body["errors"].(map[string]any)
			for _, step := range strings.FieldsFunc(test.at, func(c rune) bool { return c == '.' }) {
				at, _ = at[step].(map[string]any)
			}
			if r.status != 400 || r.code() != 50035 || at["_errors"] == nil {
				t.Errorf("got %d %s", r.status, r.raw)
			}
			if len(w.Odd()) == 0 && test.at != "message_reference" && test.at != "" {
				t.Error("it is not listed as odd")
			}
			if len(w.Messages(w.channel)) != 0 {
				t.Error("it was posted all the same")
			}
			w.Forgive()
		})
	}
}

func TestWhatDiscordOnlyToleratesIsListed(t *testing.T) {
	tests := map[string]func(w *world) response{
		"a property that there is not": func(w *world) response {
			return w.api("POST", "channels/"+w.channel+"/messages", `{"content":"x","colour":1}`)
		},
		"a query that there is not": func(w *world) response { return w.api("GET", "channels/"+w.channel+"/messages?sort=up", "") },
		"an ephemeral message in public": func(w *world) response {
			return w.api("POST", "channels/"+w.channel+"/messages", `{"content":"x","flags":64}`)
		},
		"a nonce enforced that is not set": func(w *world) response {
			return w.api("POST", "channels/"+w.channel+"/messages", `{"content":"x","enforce_nonce":true}`)
		},
		"a browser's User-Agent": func(w *world) response {
			req, err := http.NewRequest("GET", w.APIURL()+"users/@me", nil)
			w.must(err)
			req.Header.Set("Authorization", "Bot "+w.Token())
			res, err := http.DefaultClient.Do(req)
			w.must(err)
			res.Body.Close()
			return response{status: res.StatusCode}
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			if r := test(w); r.status != 200 || len(w.Odd()) != 1 {
				t.Errorf("%d %s: %v", r.status, r.raw, w.Odd())
			}
			w.Forgive()
		})
	}
}

func TestCommandsAreHeldToTheirLimits(t *testing.T) {
	x := strings.Repeat("x", 200)
	option := func(inner string) string {
		return `[{"name":"berth","description":"x","options":[` + inner + `]}]`
	}
	plain := func(i int) string { return fmt.Sprintf(`{"type":3,"name":"o%d","description":"x"}`, i) }
	tests := map[string]struct {
		body string
		code int
	}{
		"a name with capitals":               {`[{"name":"Berth","description":"x"}]`, 50035},
		"a name of 33":                       {`[{"name":"` + x[:33] + `","description":"x"}]`, 50035},
		"no description":                     {`[{"name":"berth"}]`, 50035},
		"a description of 101":               {`[{"name":"berth","description":"` + x[:101] + `"}]`, 50035},
		"a message command with description": {`[{"type":3,"name":"Show it","description":"x"}]`, 50035},
		"a name twice":                       {`[{"name":"berth","description":"x"},{"name":"berth","description":"y"}]`, 50035},
		"26 options":                         {option(many(26, plain)), 50035},
		"an option twice":                    {option(plain(1) + "," + plain(1)), 50035},
		"a required one after an optional":   {option(plain(1) + `,{"type":3,"name":"b","description":"x","required":true}`), 50035},
		"a subcommand beside an option":      {option(plain(1) + `,{"type":1,"name":"b","description":"x"}`), 50035},
		"a subcommand in a subcommand":       {option(`{"type":1,"name":"a","description":"x","options":[{"type":1,"name":"b","description":"x"}]}`), 50035},
		"26 choices":                         {option(`{"type":3,"name":"a","description":"x","choices":[` + many(26, func(i int) string { return fmt.Sprintf(`{"name":"%d","value":"%d"}`, i, i) }) + `]}`), 50035},
		"choices and autocomplete":           {option(`{"type":3,"name":"a","description":"x","autocomplete":true,"choices":[{"name":"a","value":"a"}]}`), 50035},
		"a kind of option that there is not": {option(`{"type":77,"name":"a","description":"x"}`), 50035},
		"101 commands":                       {`[` + many(101, func(i int) string { return fmt.Sprintf(`{"name":"c%d","description":"x"}`, i) }) + `]`, 30032},
		"6 message commands":                 {`[` + many(6, func(i int) string { return fmt.Sprintf(`{"type":3,"name":"c%d"}`, i) }) + `]`, 30032},
		"more than 8,000 characters": {option(many(25, func(i int) string {
			return fmt.Sprintf(`{"type":3,"name":"o%d","description":"%s","choices":[%s]}`, i, x[:100], many(3, func(j int) string { return fmt.Sprintf(`{"name":"%d%s","value":"%d%s"}`, j, x[:40], j, x[:40]) }))
		})), 50035},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			if r := w.api("PUT", "applications/"+w.ApplicationID()+"/commands", test.body); r.status != 400 || r.code() != test.code {
				t.Errorf("%d %s", r.status, r.raw)
			}
			w.Forgive()
		})
	}
}

func TestRegisteringTheSameAgainChangesNothing(t *testing.T) {
	w := newWorld(t, Options{})
	path := "applications/" + w.ApplicationID() + "/commands"
	first := w.ok(w.api("PUT", path, commandsJSON), 200)
	second := w.ok(w.api("PUT", path, commandsJSON), 200)
	if string(first.raw) != string(second.raw) {
		t.Errorf("%s\n%s", first.raw, second.raw)
	}
	var all []obj
	w.must(json.Unmarshal(first.raw, &all))
	for _, one := range all {
		w.ok(w.api("GET", path+"/"+one["id"].(string), ""), 200)
	}
	w.ok(w.api("PATCH", path+"/"+all[0]["id"].(string), `{"description":"Other"}`), 200)
	w.ok(w.api("DELETE", path+"/"+all[1]["id"].(string), ""), 204)
	if r := w.api("DELETE", path+"/"+all[1]["id"].(string), ""); r.code() != 10063 {
		t.Errorf("%s", r.raw)
	}
}

func TestWrongAnswersFailForTheirUserAndAreOdd(t *testing.T) {
	x := strings.Repeat("x", 200)
	modal := func(inner string) string {
		return `{"type":9,"data":{"title":"T","custom_id":"m","components":[` + inner + `]}}`
	}
	tests := map[string]string{
		"not JSON":                           `hello`,
		"no type":                            `{}`,
		"a PONG":                             `{"type":1}`,
		"an update without a message":        `{"type":7,"data":{"content":"x"}}`,
		"suggestions for a command":          `{"type":8,"data":{"choices":[]}}`,
		"an empty message":                   `{"type":4,"data":{}}`,
		"content of 2,001":                   `{"type":4,"data":{"content":"` + strings.Repeat("x", 2001) + `"}}`,
		"a modal's title of 46":              `{"type":9,"data":{"title":"` + x[:46] + `","custom_id":"m","components":[{"type":1,"components":[{"type":4,"custom_id":"a","style":1,"label":"a"}]}]}}`,
		"a modal without fields":             modal(""),
		"a modal's label of 46":              modal(`{"type":1,"components":[{"type":4,"custom_id":"a","style":1,"label":"` + x[:46] + `"}]}`),
		"a modal's field twice":              modal(`{"type":1,"components":[{"type":4,"custom_id":"a","style":1,"label":"a"}]},{"type":1,"components":[{"type":4,"custom_id":"a","style":1,"label":"b"}]}`),
		"a modal's placeholder of 101":       modal(`{"type":18,"label":"a","component":{"type":4,"custom_id":"a","style":1,"placeholder":"` + x[:101] + `"}}`),
		"a modal's field of a wrong style":   modal(`{"type":18,"label":"a","component":{"type":4,"custom_id":"a","style":3}}`),
		"a modal's longest before the least": modal(`{"type":18,"label":"a","component":{"type":4,"custom_id":"a","style":1,"min_length":9,"max_length":3}}`),
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.listen()
			w.answers(body)
			in, err := w.Command(w.ana, w.channel, "/berth list")
			w.must(err)
			if in.Failed != silence || len(w.Odd()) == 0 || len(w.Ephemerals(w.ana))+len(w.Messages(w.channel)) != 0 {
				t.Errorf("%+v %v", in, w.Odd())
			}
			w.Forgive()
		})
	}
}

func TestSuggestionsAreHeldToTheirLimits(t *testing.T) {
	for name, choices := range map[string]string{
		"26 of them":      many(26, func(i int) string { return fmt.Sprintf(`{"name":"%d","value":"%d"}`, i, i) }),
		"a name of 101":   `{"name":"` + strings.Repeat("x", 101) + `","value":"x"}`,
		"a value of 101":  `{"name":"x","value":"` + strings.Repeat("x", 101) + `"}`,
		"an empty name":   `{"name":"","value":"x"}`,
		"a number's kind": `{"name":"x","value":7}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.listen()
			w.answers(`{"type":8,"data":{"choices":[` + choices + `]}}`)
			if got, err := w.Suggest(w.ana, w.channel, "/berth deploy x"); err == nil || len(w.Odd()) == 0 {
				t.Errorf("%v", got)
			}
			w.Forgive()
		})
	}
}

func TestErrorsHaveDiscordsCodes(t *testing.T) {
	w := newWorld(t, Options{})
	private := w.id(w.AddChannel(Channel{Guild: w.guild, Name: "private", Denied: ViewChannel}))
	quiet := w.id(w.AddChannel(Channel{Guild: w.guild, Name: "quiet", Denied: SendMessages | CreatePublicThreads}))
	away := w.id(w.AddGuild(Guild{Name: "Elsewhere", NoBot: true}))
	said := w.id(w.Say(w.ana, quiet, "hello"))
	direct := w.ok(w.api("POST", "users/@me/channels", `{"recipient_id":"`+w.carl+`"}`), 200).body["id"].(string)
	tests := map[string]struct {
		method, path, body string
		status, code       int
	}{
		"a route that there is not":           {"GET", "nothing", "", 404, 0},
		"a method that there is not":          {"DELETE", "gateway", "", 405, 0},
		"a channel that there is not":         {"GET", "channels/1", "", 404, 10003},
		"a channel that the bot does not see": {"GET", "channels/" + private, "", 403, 50001},
		"a channel to be silent in":           {"POST", "channels/" + quiet + "/messages", `{"content":"x"}`, 403, 50013},
		"a thread that may not be":            {"POST", "channels/" + quiet + "/messages/" + said + "/threads", `{"name":"x"}`, 403, 50013},
		"a message that there is not":         {"GET", "channels/" + quiet + "/messages/1", "", 404, 10008},
		"somebody else's message":             {"PATCH", "channels/" + quiet + "/messages/" + said, `{"content":"x"}`, 403, 50005},
		"nothing to say":                      {"POST", "channels/" + w.channel + "/messages", `{}`, 400, 50006},
		"somebody without direct messages":    {"POST", "channels/" + direct + "/messages", `{"content":"x"}`, 403, 50007},
		"nobody to write to":                  {"POST", "users/@me/channels", `{"recipient_id":"1"}`, 404, 10013},
		"a guild that there is not":           {"GET", "guilds/1", "", 404, 10004},
		"a guild without the bot":             {"GET", "guilds/" + away + "/roles", "", 403, 50001},
		"a member that there is not":          {"GET", "guilds/" + w.guild + "/members/1", "", 404, 10013},
		"a webhook of somebody else":          {"POST", "webhooks/1/x", `{"content":"x"}`, 404, 10015},
		"a token that there is not":           {"POST", "webhooks/" + w.ApplicationID() + "/x", `{"content":"x"}`, 401, 50027},
		"an interaction that there is not":    {"POST", "interactions/1/x/callback", `{"type":5}`, 404, 10062},
		"commands of somebody else":           {"GET", "applications/1/commands", "", 404, 10002},
		"a body that is not JSON":             {"POST", "channels/" + w.channel + "/messages", `{`, 400, 50109},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if r := w.api(test.method, test.path, test.body); r.status != test.status || r.code() != test.code {
				t.Errorf("%d %s", r.status, r.raw)
			}
		})
	}
	if r := w.do("GET", "users/@me", "", nil, "Bot wrong"); r.status != 401 {
		t.Errorf("a wrong token: %d", r.status)
	}
	w.RemoveMember(w.guild, w.ben)
	if r := w.api("GET", "guilds/"+w.guild+"/members/"+w.ben, ""); r.code() != 10007 {
		t.Errorf("a member who left: %s", r.raw)
	}
	if w.InvalidRequests() != 8 {
		t.Errorf("%d invalid requests were counted", w.InvalidRequests())
	}
	w.Forgive()
}

func TestWhatIsReadFitsItsDescription(t *testing.T) {
	w := newWorld(t, Options{}) // Every answer is proofed; what does not fit is odd.
	for _, path := range []string{
		"users/@me", "users/@me/guilds", "users/" + w.ana, "applications/@me", "oauth2/applications/@me", "gateway", "gateway/bot", "channels/" + w.channel,
		"channels/" + w.channel + "/messages", "guilds/" + w.guild + "?with_counts=true", "guilds/" + w.guild + "/members/" + w.ana,
		"guilds/" + w.guild + "/channels", "guilds/" + w.guild + "/roles",
	} {
		w.ok(w.api("GET", path, ""), 200)
	}
	w.ok(w.api("PATCH", "applications/@me", `{"description":"x"}`), 200)
}

func TestMessagesAreListedNewestFirst(t *testing.T) {
	w := newWorld(t, Options{Intents: IntentMessageContent})
	var ids []string
	for i := range 5 {
		ids = append(ids, w.id(w.Say(w.ana, w.channel, fmt.Sprint(i))))
	}
	for query, want := range map[string]string{"": "4 3 2 1 0", "?limit=2": "4 3", "?limit=2&after=" + ids[0]: "2 1", "?limit=2&before=" + ids[4]: "3 2"} {
		var all []obj
		w.must(json.Unmarshal(w.ok(w.api("GET", "channels/"+w.channel+"/messages"+query, ""), 200).raw, &all))
		var got []string
		for _, m := range all {
			got = append(got, m["content"].(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", query, got)
		}
	}
}

func TestWhatIsReadOverRESTIsForTheBotAlone(t *testing.T) {
	w := newWorld(t, Options{})
	w.id(w.Say(w.ana, w.channel, "a secret"))
	mention := w.id(w.Say(w.ana, w.channel, "@berth status"))
	w.ok(w.api("PUT", "channels/"+w.channel+"/messages/"+mention+"/reactions/%F0%9F%91%80/@me", ""), 204)
	direct := w.id(w.DirectChannel(w.ana))
	w.id(w.Say(w.ana, direct, "list"))
	for path, want := range map[string]string{
		"channels/" + w.channel + "/messages?limit=100&after=1": "<@" + w.ApplicationID() + "> status,", "channels/" + direct + "/messages": "list",
	} {
		var all []obj
		w.must(json.Unmarshal(w.ok(w.api("GET", path, ""), 200).raw, &all))
		var got []string
		for _, m := range all {
			got = append(got, m["content"].(string))
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s: %q", path, got)
		}
		if reactions, _ := all[0]["reactions"].([]any); len(all) == 2 && (len(reactions) != 1 || reactions[0].(obj)["me"] != true) {
			t.Errorf("%v", all[0])
		}
	}
	w.Deny(w.channel, ReadMessageHistory)
	if r := w.ok(w.api("GET", "channels/"+w.channel+"/messages", ""), 200); string(r.raw) != "[]\n" {
		t.Errorf("without the permission it is %s", r.raw)
	}
	w.Deny(w.channel, ViewChannel)
	if r := w.api("GET", "channels/"+w.channel+"/messages", ""); r.status != 403 || r.code() != 50001 {
		t.Errorf("a channel that is hidden: %d %s", r.status, r.raw)
	}
}

func TestRateLimitsAreEnforcedAndTheirBreachIsOdd(t *testing.T) {
	w := newWorld(t, Options{RateLimits: true})
	path := "channels/" + w.channel + "/messages"
	for i := range 5 {
		if r := w.ok(w.api("POST", path, `{"content":"x"}`), 200); r.header.Get("X-Ratelimit-Remaining") != fmt.Sprint(4-i) {
			t.Errorf("%v", r.header)
		}
	}
	r := w.api("POST", path, `{"content":"x"}`)
	if r.status != 429 || r.body["retry_after"] != 5.0 || r.header.Get("Retry-After") != "5" || r.header.Get("X-Ratelimit-Scope") != "user" || r.body["global"] != false {
		t.Errorf("%d %s %v", r.status, r.raw, r.header)
	}
	if len(w.Odd()) != 0 {
		t.Error("the first 429 is nobody's fault")
	}
	w.later(time.Second)
	w.api("POST", path, `{"content":"x"}`)
	if len(w.Odd()) != 1 {
		t.Errorf("sent again too early: %v", w.Odd())
	}
	w.Forgive()
	w.later(5 * time.Second)
	w.ok(w.api("POST", path, `{"content":"x"}`), 200)
	for range 50 {
		r = w.api("GET", "users/@me", "")
	}
	if r.status != 429 || r.body["global"] != true || r.header.Get("X-Ratelimit-Global") != "true" {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

func TestInvalidRequestsEndInABan(t *testing.T) {
	w := newWorld(t, Options{InvalidLimit: 3})
	for range 3 {
		w.do("GET", "users/@me", "", nil, "Bot wrong")
	}
	if r := w.api("GET", "users/@me", ""); r.status != 429 || r.body != nil {
		t.Errorf("%d %s", r.status, r.raw)
	}
	w.later(11 * time.Minute)
	w.ok(w.api("GET", "users/@me", ""), 200)
	w.Forgive()
}

func TestFaultsComeAsAskedFor(t *testing.T) {
	w := newWorld(t, Options{})
	path := "channels/" + w.channel + "/messages"
	w.Fail("POST /channels/{channel}/messages", 2, Failure{Status: 503})
	w.Fail("", 1, Failure{Status: 429, RetryAfter: 1500 * time.Millisecond})
	if a, b := w.api("POST", path, `{"content":"x"}`), w.api("POST", path, `{"content":"x"}`); a.status != 503 || b.status != 503 {
		t.Errorf("%d %d", a.status, b.status)
	}
	if r := w.api("GET", "users/@me", ""); r.status != 429 || r.body["retry_after"] != 1.5 || r.header.Get("Retry-After") != "2" {
		t.Errorf("%d %s", r.status, r.raw)
	}
	w.Lose("POST /channels", 1)
	req, err := http.NewRequest("POST", w.APIURL()+path, strings.NewReader(`{"content":"once"}`))
	w.must(err)
	req.Header.Set("Authorization", "Bot "+w.Token())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "DiscordBot (https://example.org, 1)")
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Error("the answer was not lost")
	}
	if all := w.Messages(w.channel); len(all) != 1 || all[0].Content != "once" {
		t.Errorf("%+v", all)
	}
	w.Slow("GET /users", 1, 30*time.Millisecond)
	start := time.Now()
	w.ok(w.api("GET", "users/@me", ""), 200)
	if time.Since(start) < 30*time.Millisecond {
		t.Error("it was not slow")
	}
}

func TestAnEndpointThatTakesWrongSignaturesIsNotTaken(t *testing.T) {
	w := newWorld(t, Options{})
	careless := http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { reply(out, `{"type":1}`) })
	w.bot.Config.Handler = careless
	if err := w.SetEndpoint(soon(t), w.bot.URL); err == nil {
		t.Error("it was taken")
	}
	if r := w.api("PATCH", "applications/@me", `{"interactions_endpoint_url":"`+w.bot.URL+`"}`); r.code() != 50035 {
		t.Errorf("%s", r.raw)
	}
	w.bot.Config.Handler = http.HandlerFunc(w.serveBot)
	w.ok(w.api("PATCH", "applications/@me", `{"interactions_endpoint_url":"`+w.bot.URL+`"}`), 200)
	w.Forgive()
	w.Probe()
	w.bot.Config.Handler = careless
	w.Probe()
	if len(w.Odd()) != 1 {
		t.Errorf("%v", w.Odd())
	}
	w.Forgive()
}

func FuzzMarkdownNeverLetsHTMLThrough(f *testing.F) {
	for _, seed := range []string{"**a** *b* __c__ ~~d~~ ||e||", "[x](https://y.org) <https://z.org> https://a.b/c).", "```diff\n+a\n```", "> q\n>>> r\n# h\n- l\n1. n", "<@1> <@&2> <#3> <t:1:R> </a b:1>", "[a](javascript:x) <img src=x>", "***a** b*", "\\*\\<b>"} {
		f.Add(seed)
	}
	m := markdown{name: func(byte, string) string { return "<b>" }, now: time.Unix(0, 0)}
	f.Fuzz(func(t *testing.T, text string) {
		out := string(m.block(text))
		for _, tag := range strings.Split(out, "<")[1:] {
			name := strings.TrimLeft(strings.FieldsFunc(tag, func(r rune) bool { return r == ' ' || r == '>' })[0], "/")
			switch name {
			case "b", "em", "u", "s", "i", "code", "pre", "span", "a", "blockquote", "br", "p", "h3", "h4", "h5":
			default:
				t.Fatalf("%q lets %q through", text, tag)
			}
			if name == "a" && strings.HasPrefix(tag, "a ") && !strings.HasPrefix(tag, `a href="http`) {
				t.Fatalf("%q links to %q", text, tag)
			}
		}
	})
}

func FuzzTypedCommandsAreReadOrRefused(f *testing.F) {
	for _, seed := range []string{"/berth deploy shop/pr-7 --ref x", `/berth approve request:"a b" reason:c d`, "/berth deploy environment:", "/", "/berth", `/berth deploy "`} {
		f.Add(seed)
	}
	w := New(Options{})
	guild, err := w.AddGuild(Guild{Name: "x"})
	if err != nil {
		f.Fatal(err)
	}
	channel, err := w.AddChannel(Channel{Guild: guild, Name: "x"})
	if err != nil {
		f.Fatal(err)
	}
	var bodies []obj
	if err := json.Unmarshal([]byte(commandsJSON), &bodies); err != nil {
		f.Fatal(err)
	}
	for _, b := range bodies {
		w.commands[""] = append(w.commands[""], w.newCommand(b, ""))
	}
	f.Fuzz(func(t *testing.T, text string) {
		cmd, options, err := w.parseTyped(w.channels[channel], text)
		if err == nil && (cmd == nil || cmd.Name != "berth" || len(options) != 1) {
			t.Fatalf("%q is %v %v", text, cmd, options)
		}
		w.completing(w.channels[channel], text)
	})
}
