package slack

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/bot"
)

var update = flag.Bool("update", false, "write the golden files anew")

// mentions are those that Berth makes.
var mentions = regexp.MustCompile(`<@[UW][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>|<!date\^[0-9]+\^[^|<>]*\|[^<>]+>`)

// golden compares v, as JSON, with a file.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "render", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is not as it was; look, and run with -update:\n%s", path, b.String())
	}
}

// checked fails for what Slack would not take.
func checked(t *testing.T, blocks []slackapi.Block, surface string) {
	t.Helper()
	text, err := marshal(blocks)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range checkBlocks([]byte(text), surface) {
		t.Error(fault)
	}
}

// requestCard is a card as package chat makes them.
func requestCard() bot.ChatMessage {
	return bot.ChatMessage{
		Tone: bot.ChatWaiting, Icon: "🕒", Title: "cleanup of shop/pr-7 waits for approval",
		Text: "**Ana** wants " + bot.Code("cleanup shop/pr-7", 100) + ".\n\n**This takes data away.**",
		Fields: []bot.ChatField{
			{Name: "Commit", Text: "[`abc1234`](https://github.com/acme/shop/commit/abc1234) " + bot.Escape("Fix <the> cart & *all*", 80)},
			{Name: "Approvals", Text: "1 of 2, needs " + bot.Escape("@db", 40)},
			{Name: "Expires", Text: "2026-11-20 15:04 UTC"},
		},
		Parts: []bot.ChatSection{{Title: "db (aws): deletes", Text: bot.Block("- rds: shop-pr-7\n+ snapshot: shop-pr-7", "diff")}},
		Small: "request `01jd0000000000000000000000` · policy cleanup-needs-sre",
		Whole: "[All of it](https://berth.example.org/requests/01jd)",
		Buttons: []bot.ChatButton{
			{Label: "Approve", Line: "approve 01jd0000000000000000000000", Digest: "0123456789abcdef", Style: bot.StylePrimary, Confirm: "This takes data away. Approve it?"},
			{Label: "Deny", Line: "deny 01jd0000000000000000000000", Digest: "0123456789abcdef", Style: bot.StyleDanger, Reason: "Why not?"},
			{Label: "Details", Line: "diff 01jd0000000000000000000000", Show: true},
			{Label: "Dashboard", URL: "https://berth.example.org/requests/01jd?a=1&b=2"},
		},
		Call: []string{"slack:U1", "slack-group:S1", "discord:9", "slack:T2.W3", "slack-group:T2.S9", "slack:<!channel>", "slack:U1"},
	}
}

func TestRender(t *testing.T) {
	longDiff := strings.Repeat("+ replicas: 3 & <more>\n- replicas: 2\n", 2000)
	for name, m := range map[string]bot.ChatMessage{
		"request":         requestCard(),
		"reply":           {Tone: bot.ChatGood, Text: "`shop/pr-7` is running.\n\n- [Open](https://pr-7.example.org)\n- `/berth logs shop/pr-7`"},
		"empty":           {},
		"long-text":       {Title: "Log", Text: bot.Block(longDiff, "text"), Whole: "`berth logs shop/pr-7` in a terminal shows all."},
		"file":            {Title: "Plan", Text: "What changes:", File: &bot.ChatFile{Name: "plan.diff", Text: longDiff}},
		"long-title":      {Icon: "🔴", Title: strings.Repeat("very long ", 30)},
		"buttons-refused": {Text: "x", Buttons: []bot.ChatButton{{Label: "Run", URL: "javascript:alert(1)"}, {Label: "", Line: "a"}, {Label: "Long", Line: strings.Repeat("a", 2000)}, {Label: "Good", Line: "list"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := render(m, call("T1", m.Call), messageRoom)
			checked(t, r.blocks, "message")
			golden(t, name, map[string]any{"text": r.text, "blocks": r.blocks})
		})
	}
}

func TestViews(t *testing.T) {
	t.Run("a long answer in a window", func(t *testing.T) {
		v := messageModal(bot.ChatMessage{Title: "Log of shop/pr-7, all of it", Text: bot.Block(strings.Repeat("a line of the log, with <tags> & \"quotes\"\n", 20_000), ""), Whole: "`berth logs` shows all."})
		checked(t, v.Blocks.BlockSet, "view")
		if n := width(v.Title.Text); n > maxModalTitle {
			t.Errorf("the title has %d characters", n)
		}
		text, _ := json.Marshal(v)
		if len(text) > maxView || len(v.Blocks.BlockSet) < 40 {
			t.Errorf("it is of %d blocks and %d bytes", len(v.Blocks.BlockSet), len(text))
		}
		if !strings.Contains(string(text), "lines left out") || !strings.Contains(string(text), "berth logs") {
			t.Error("that it was cut is not said")
		}
	})
	t.Run("a long answer of nothing but what is escaped", func(t *testing.T) {
		v := messageModal(bot.ChatMessage{Title: "Log", Text: bot.Block(strings.Repeat("<<<<&&&&>>>>\n", 30_000), "")})
		checked(t, v.Blocks.BlockSet, "view")
		if text, err := json.Marshal(v); err != nil || len(text) > maxView {
			t.Errorf("it has %d bytes (%v)", len(text), err)
		}
	})
	t.Run("somebody's page", func(t *testing.T) {
		card := requestCard()
		card.Parts = nil
		env := bot.ChatMessage{Icon: "🟢", Title: "shop/pr-7 is running", Text: "[pr-7.example.org](https://pr-7.example.org)", Small: "expires in 2 days",
			Buttons: []bot.ChatButton{{Label: "Open", URL: "https://pr-7.example.org"}, {Label: "Extend", Line: "extend shop/pr-7 --ttl 24h"}}}
		v := homeView(bot.ChatPage{Waiting: []bot.ChatMessage{card}, Mine: []bot.ChatMessage{env, env}, Text: "Berth is at [berth.example.org](https://berth.example.org)."})
		checked(t, v.Blocks.BlockSet, "view")
		golden(t, "home", v)
	})
	t.Run("an empty page", func(t *testing.T) {
		v := homeView(bot.ChatPage{})
		checked(t, v.Blocks.BlockSet, "view")
		golden(t, "home-empty", v)
	})
	t.Run("a page of hundreds", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		var p bot.ChatPage
		for range 300 {
			p.Mine, p.Waiting = append(p.Mine, hostile(r)), append(p.Waiting, hostile(r))
		}
		v := homeView(p)
		checked(t, v.Blocks.BlockSet, "view")
		if text, _ := json.Marshal(v); !strings.Contains(string(text), "more:") {
			t.Error("that there are more is not said")
		}
	})
}

// hostile is a message that tries what it can.
func hostile(r *rand.Rand) bot.ChatMessage {
	words := []string{
		"plain ", "<!channel> ", "<@U123> ", "&amp; ", "```", "`", "\n", "\n\n", "**bold** ", "*", "_", "~~x~~ ", "https://x.org/?a=1&b=<2> ", "[l](https://x.org/a|b)", "| a | b |\n|---|---|\n| c | d |\n",
		"> quote\n", "- item\n", "1. one\n", "👩‍👩‍👧‍👦", "é́́", "\x1b[31m", "\u202e", "<details><summary>s</summary>\n\n", "<br>", ":smile: ", "```diff\n+ a\n- b\n", strings.Repeat("x", 500), strings.Repeat("&", 900), strings.Repeat("<", 300),
		strings.Repeat("line of text\n", 40), "\\", "\x00", "\xff", "[" + strings.Repeat("y", 400) + "](https://x.org/" + strings.Repeat("z", 900) + ")",
	}
	text := func(most int) string {
		var b strings.Builder
		for range r.IntN(most + 1) {
			b.WriteString(words[r.IntN(len(words))])
		}
		return b.String()
	}
	m := bot.ChatMessage{Icon: text(1), Title: text(8), Text: text(60), Small: text(6), Whole: text(4)}
	for range r.IntN(30) {
		m.Fields = append(m.Fields, bot.ChatField{Name: text(3), Text: text(10)})
	}
	for range r.IntN(40) {
		m.Parts = append(m.Parts, bot.ChatSection{Title: text(3), Text: text(30)})
	}
	for i := range r.IntN(40) {
		b := bot.ChatButton{Label: text(2), Line: text(3), Digest: "0123456789abcdef", Confirm: text(3), Reason: text(3), Style: bot.StyleDanger}
		if i%5 == 0 {
			b.URL = "https://x.org/" + text(3)
		}
		m.Buttons = append(m.Buttons, b)
	}
	if r.IntN(3) == 0 {
		m.File = &bot.ChatFile{Name: text(1), Text: text(200)}
	}
	for range r.IntN(40) {
		m.Call = append(m.Call, fmt.Sprintf("slack:U%d", r.IntN(100)), text(1))
	}
	return m
}

func TestWhateverIsSaidSlackTakesIt(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 150 {
		m := hostile(r)
		sent := render(m, call("T1", m.Call), messageRoom)
		checked(t, sent.blocks, "message")
		if n := width(sent.text); n > wiseText {
			t.Errorf("the text has %d characters", n)
		}
		(&checker{}).markup("text", sent.text)
		window := messageModal(m)
		checked(t, window.Blocks.BlockSet, "view")
		if text, err := json.Marshal(window); err != nil || len(text) > maxView {
			t.Errorf("the window has %d bytes (%v)", len(text), err)
		}
		checked(t, render(m, "", unfurlRoom).blocks, "message")
		if t.Failed() {
			t.Fatalf("message %d: %+v", i, m)
		}
	}
}

func TestCalls(t *testing.T) {
	for name, c := range map[string]struct {
		who  []string
		want string
	}{
		"people and groups of Slack":         {[]string{"slack:U1", "slack-group:S1"}, "<@U1> <!subteam^S1>"},
		"nobody of elsewhere":                {[]string{"discord:1", "github:ana", "discord-role:1/2", "ana"}, ""},
		"somebody of a further workspace":    {[]string{"slack:T2.U2"}, "<@U2>"},
		"a group of the place's workspace":   {[]string{"slack-group:T1.S1", "slack-group:T2.S2"}, "<!subteam^S1>"},
		"nobody twice":                       {[]string{"slack:U1", "slack:U1"}, "<@U1>"},
		"nothing that only looks like an id": {[]string{"slack:!channel", "slack:U1>", "slack:here", "slack-group:Sx", "slack:U", "slack:"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := call("T1", c.who); got != c.want {
				t.Errorf("want %q, got %q", c.want, got)
			}
		})
	}
}

func TestButtonValues(t *testing.T) {
	want := buttonValue{Line: `deny 01jd --reason "a & <b>"`, Digest: "0123", Reason: "Why?", Show: true}
	text, err := marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parseButtonValue(text); err != nil || got != want {
		t.Errorf("%q is read as %+v (%v)", text, got, err)
	}
	for name, s := range map[string]string{
		"no JSON": "approve", "nothing": "", "no line": `{"digest":"a"}`, "more": `{"line":"a"}{"line":"b"}`, "unknown": `{"line":"a","user":"b"}`, "too long": `{"line":"` + strings.Repeat("a", 10_000) + `"}`,
	} {
		if v, err := parseButtonValue(s); err == nil {
			t.Errorf("%s is taken: %+v", name, v)
		}
	}
}

// FuzzButtonValue holds that what is read of a button's value is what was put
// there, and that nothing else is taken.
func FuzzButtonValue(f *testing.F) {
	for _, seed := range []string{`{"line":"approve 01jd","digest":"0123"}`, `{"line":""}`, `{"line":"a","show":true}x`, `null`, `[]`, `{"line":"a","LINE":"b"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parseButtonValue(s)
		if err != nil {
			return
		}
		text, err := marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseButtonValue(text); err != nil || again != v {
			t.Fatalf("%q is read as %+v, and that as %+v (%v)", s, v, again, err)
		}
	})
}

// FuzzAnswerAddress holds that no address but Slack's own is answered at.
func FuzzAnswerAddress(f *testing.F) {
	for _, seed := range []string{"https://hooks.slack.com/commands/1/2/3", "https://slack.com@evil.org/", "https://evil.org/#.slack.com", "https://evil.org\\.slack.com/", "//slack.com", "https://slack.com:443/", "https://[::1]/.slack.com"} {
		f.Add(seed)
	}
	s, err := New(Options{BotToken: "xoxb-1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address string) {
		if !s.api.answers(address) {
			return
		}
		req, err := http.NewRequest(http.MethodPost, address, nil)
		if err != nil {
			return // it is not called either
		}
		if host := strings.ToLower(req.URL.Host); req.URL.Scheme != "https" || req.URL.User != nil ||
			host != "slack.com" && host != "slack-gov.com" && !strings.HasSuffix(host, ".slack.com") && !strings.HasSuffix(host, ".slack-gov.com") {
			t.Fatalf("%q is answered at %q", address, host)
		}
	})
}
