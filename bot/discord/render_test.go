package discord

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot"
)

var update = flag.Bool("update", false, "write the golden files anew")

// longDiff is more than a message holds.
func longDiff() string {
	var b strings.Builder
	for i := range 900 {
		fmt.Fprintf(&b, "-replicas: %d\n+replicas: %d\n", i, i+1)
	}
	return b.String()
}

func TestRenderedMessages(t *testing.T) {
	tests := map[string]bot.ChatMessage{
		"text": {Text: "**shop/pr-42** is running `4242424`.\n<https://pr-42.shop.example.org>"},
		"card": {
			Tone: bot.ChatWaiting, Icon: "🕒", Title: "deploy shop/pr-42 waits", Text: "Ana wants `deploy shop/pr-42`.",
			Fields: []bot.ChatField{{Name: "Who", Text: "ana"}, {Name: "Needs", Text: "`@db`, 1 of 2"}},
			Parts:  []bot.ChatSection{{Title: "What changes", Text: "```diff\n-a\n+b\n```"}},
			Small:  "expires 2026-11-20 15:04 UTC",
			Buttons: []bot.ChatButton{
				{Label: "Approve", Line: "approve 01jd0000000000000000000000", Style: bot.StylePrimary, Digest: "0123456789abcdef"},
				{Label: "Deny", Line: "deny 01jd0000000000000000000000", Style: bot.StyleDanger, Reason: "Why?"},
				{Label: "Open", URL: "https://pr-42.shop.example.org"},
			},
			Call: []string{"discord:9", "slack:U1", "discord-role:1/2", "discord-role:3/4", "discord-role:1/1"},
		},
		"long": {
			Tone: bot.ChatBad, Title: "failed", Text: "What happened:\n\n" + bot.Block(longDiff(), "diff"), Whole: "[all of it](https://berth.example.org/runs/1)",
			Small: "run [1](https://berth.example.org/runs/1)",
		},
		"file":  {Text: "The whole plan.", File: &bot.ChatFile{Name: "plan.diff", Text: "-a\n+b\n"}},
		"empty": {},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			p := render(m, "1")
			if found := breaches(asSent(t, p)); len(found) > 0 {
				t.Error(found)
			}
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if err := e.Encode(p); err != nil {
				t.Fatal(err)
			}
			got := b.Bytes()
			path := filepath.Join("testdata", "rendered", name+".json")
			if *update {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("it is not as in %s:\n%s", path, got)
			}
		})
	}
}

func TestWhatIsCutIsInAFileOrSaysWhereItIs(t *testing.T) {
	m := bot.ChatMessage{Tone: bot.ChatBad, Title: "failed", Text: bot.Block("first line\n"+longDiff()+"last line", "diff")}
	p := render(m, "")
	text := p.Embeds[0].Description
	for _, want := range []string{"first line", "last line", "left out"} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing of %q in %s", want, text)
		}
	}
	end := func() string { // the last field
		fields := p.Embeds[len(p.Embeds)-1].Fields
		if len(fields) == 0 {
			return ""
		}
		return fields[len(fields)-1].Value
	}
	if !strings.Contains(end(), "in the file below") {
		t.Errorf("it ends with %q", end())
	}
	if p.file == nil || !strings.Contains(string(p.file.content), longDiff()) {
		t.Error("the whole is in no file")
	}
	if n := strings.Count(text, fence); n != 4 {
		t.Errorf("%d fences in %s", n, text)
	}
	m.Whole = "The [whole](https://berth.example.org/x)."
	p = render(m, "")
	if p.file != nil || !strings.Contains(end(), "[whole](<https://berth.example.org/x>)") {
		t.Errorf("it does not say where the whole is, but ends with %q", end())
	}
}

func TestOnlyThoseThatAreCalledAre(t *testing.T) {
	m := bot.ChatMessage{
		Text: `\<@5> @everyone`, Call: []string{"discord:9", "discord:9", "discord:x", "slack:U1", "discord-role:1/2", "discord-role:7/8", "discord-role:1/1", "discord-role:2"},
	}
	p := asSent(t, render(m, "1"))
	if got := fmt.Sprint(*p.AllowedMentions.Parse, p.AllowedMentions.Users, p.AllowedMentions.Roles); got != "[] [9] [2]" {
		t.Errorf("allowed: %s", got)
	}
	if !strings.HasPrefix(p.Content, "<@9> <@&2>\n") {
		t.Errorf("content %q", p.Content)
	}
}

func TestButtonsThatCannotBeShownAreLeftOut(t *testing.T) {
	var all []bot.ChatButton
	for i := range 40 {
		all = append(all, bot.ChatButton{Label: fmt.Sprint("b", i), Line: fmt.Sprint("status shop/pr-", i)})
	}
	none := []bot.ChatButton{
		{Label: "too long", Line: "deploy shop/pr-1 --set " + strings.Repeat("x", 200)}, {Label: "", Line: "help"}, {Label: "bad", URL: "javascript:x"},
		{Label: "twice", Line: "status shop/pr-0"}, {Label: "nothing"}, {Label: "no digest", Line: "approve x", Digest: "not hex"},
	}
	p := asSent(t, render(bot.ChatMessage{Text: "x", Buttons: append(append(all[:1:1], none...), all[1:]...)}, ""))
	if found := breaches(p); len(found) > 0 {
		t.Error(found)
	}
	n := 0
	for _, row := range p.Components {
		for _, b := range row.Components {
			if b.Label != fmt.Sprint("b", n) {
				t.Errorf("%q is not b%d", b.Label, n)
			}
			n++
		}
	}
	if n != 25 {
		t.Errorf("%d buttons", n)
	}
}

// wild makes messages of all that outside text may hold, of all lengths.
type wild struct{ *rand.Rand }

func (w wild) text(most int) string {
	var b strings.Builder
	for n := w.IntN(most + 1); b.Len() < n; {
		switch w.IntN(6) {
		case 0:
			b.WriteString(hostile[w.IntN(len(hostile))])
		case 1:
			b.WriteString(strings.Repeat("語", w.IntN(60)))
		case 2:
			b.WriteString(strings.Repeat("👩‍👩‍👧", w.IntN(20)))
		case 3:
			b.WriteString(strings.Repeat("x", w.IntN(300)))
		case 4:
			b.WriteString("\n")
		default:
			b.WriteString("some words ")
		}
	}
	return b.String()
}

// markdown is a text as Berth makes them: what is from outside is escaped.
func (w wild) markdown(most int) string {
	var pieces []string
	for range w.IntN(5) {
		switch w.IntN(5) {
		case 0:
			pieces = append(pieces, bot.Block(w.text(most), "diff"))
		case 1:
			pieces = append(pieces, "**"+bot.Escape(w.text(most), most)+"** "+bot.Code(w.text(most), most))
		case 2:
			pieces = append(pieces, "| a | b |\n|---|---|\n| "+bot.Escape(w.text(200), 200)+" | "+bot.Code(w.text(200), 200)+" |")
		case 3:
			pieces = append(pieces, "- "+bot.Escape(w.text(most), most)+"\n- [x](https://ours.example/)")
		default:
			pieces = append(pieces, bot.Escape(w.text(most), most))
		}
	}
	return strings.Join(pieces, "\n\n")
}

func (w wild) message() bot.ChatMessage {
	m := bot.ChatMessage{
		Tone: []bot.ChatTone{bot.ChatPlain, bot.ChatWaiting, bot.ChatBad}[w.IntN(3)], Icon: w.text(10), Title: w.text(600), Text: w.markdown(9000),
		Small: w.markdown(400), Whole: []string{"", "[all](https://ours.example/all)", w.markdown(900)}[w.IntN(3)],
	}
	for range w.IntN(40) * w.IntN(2) {
		m.Fields = append(m.Fields, bot.ChatField{Name: w.text(300), Text: w.markdown(1500)})
	}
	for range w.IntN(15) * w.IntN(2) {
		m.Parts = append(m.Parts, bot.ChatSection{Title: w.text(300), Text: w.markdown(6000)})
	}
	for range w.IntN(40) * w.IntN(2) {
		m.Buttons = append(m.Buttons, bot.ChatButton{Label: w.text(200), Line: w.text(120), URL: []string{"", "https://ours.example/" + w.text(600)}[w.IntN(2)], Digest: "abc"})
	}
	for range w.IntN(300) * w.IntN(2) {
		m.Call = append(m.Call, fmt.Sprint("discord:", 100000000000000000+w.IntN(1000)), fmt.Sprint("discord-role:1/", 100000000000000000+w.IntN(1000)), w.text(30))
	}
	if w.IntN(4) == 0 {
		m.File = &bot.ChatFile{Name: w.text(200), Text: w.text(3000)}
	}
	return m
}

func TestAnyMessageIsWithinTheLimitsAndCallsNobodyByItsText(t *testing.T) {
	for seed := range uint64(200) {
		m := wild{rand.New(rand.NewPCG(seed, 7))}.message()
		p := render(m, "1")
		mark(p, "key")
		sent := asSent(t, p)
		if found := breaches(sent); len(found) > 0 {
			t.Fatalf("seed %d: %q", seed, found)
		}
		calls, _ := callsOf(m.Call, "1")
		sent.Content = strings.TrimPrefix(sent.Content, calls)
		for _, text := range sent.texts() {
			names, links := markup(text)
			for _, l := range links {
				if !strings.HasPrefix(l, "https://ours.example/") {
					t.Fatalf("seed %d links to %q in %q", seed, l, text)
				}
			}
			if len(names) > 0 {
				t.Fatalf("seed %d: %q in %q", seed, names, text)
			}
		}
	}
}
