package slacktest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const (
	// stepPatience ends a step of somebody in a browser that hangs, and
	// browserPatience all of them.
	stepPatience, browserPatience = 2 * time.Minute, 10 * time.Minute
)

// browse opens a page in a browser without a window; without one the test is
// skipped.
func browse(t *testing.T, address string, width, height int) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(width, height))
	for _, flag := range []string{"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), browserPatience)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(width), int64(height))); err != nil { // which starts it, for as long as ctx lasts
		t.Fatal(err)
	}
	run(ctx, t, chromedp.Navigate(address))
	return ctx
}

// picture keeps a screenshot where SLACKTEST_PICTURES names a folder, for people
// to look at.
func picture(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	folder := os.Getenv("SLACKTEST_PICTURES")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(ctx context.Context, t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	if err := chromedp.Do(within, steps...); err != nil {
		picture(ctx, t, "failed.png")
		says, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`)) // the browser may be gone
		t.Fatalf("%v, after %v; the page says:\n%s", err, time.Since(began), says)
	}
	t.Logf("%v", time.Since(began).Round(time.Millisecond)) // which step is slow shows where a deadline is missed
}

// read is the text that stands in an element.
func read(ctx context.Context, t *testing.T, at chromedp.CSS) string {
	t.Helper()
	text, err := chromedp.Run(ctx, chromedp.Text(at))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// press has the button of the mouse go down on an element; what it returns has it
// come up there.
func press(ctx context.Context, t *testing.T, at chromedp.CSS) (release func()) {
	t.Helper()
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		within, cancel := context.WithTimeout(ctx, stepPatience)
		defer cancel()
		if err := chromedp.Do(within, steps...); err != nil {
			t.Fatal(err)
		}
	}
	do(chromedp.WaitVisible(at))
	type spot struct{ X, Y float64 }
	mid, err := chromedp.Run(ctx, chromedp.Evaluate[spot](fmt.Sprintf(`(() => { const r = document.querySelector(%q).getBoundingClientRect(); return { X: r.x + r.width / 2, Y: r.y + r.height / 2 } })()`, string(at))))
	if err != nil {
		t.Fatal(err)
	}
	do(chromedp.MouseEvent(chromedp.MousePressed, mid.X, mid.Y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	return func() {
		t.Helper()
		do(chromedp.MouseEvent(chromedp.MouseReleased, mid.X, mid.Y, chromedp.ButtonLeft, chromedp.ClickCount(1)))
	}
}

// TestAClickCountsThoughThePageChangesMeanwhile has the page hear of something new
// while the button of the mouse is down.
func TestAClickCountsThoughThePageChangesMeanwhile(t *testing.T) {
	a := newApp(t, Options{})
	a.ok("chat.postMessage", obj{"channel": "C1", "text": "first"})
	ctx := browse(t, a.URL()+"/#as=U1&channel=C1", 1100, 760)
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS(`[data-person=U1].here`)))
	release := press(ctx, t, `[data-person=U2]`)
	_, err := a.Say("U2", "C1", "", "Somebody writes meanwhile")
	a.must(err)
	run(ctx, t, chromedp.WaitReady(chromedp.CSS(`body[data-held]`)))
	release()
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS(`[data-person=U2].here`)))
}

// card is like what an app asks people to decide.
func card() obj {
	text := func(s string) obj { return obj{"type": "mrkdwn", "text": s} }
	deny := button("Deny", "no")
	deny["style"] = "danger"
	yes := button("Approve", "yes")
	yes["style"] = "primary"
	wipe := button("Archive", "wipe")
	wipe["confirm"] = obj{"title": obj{"type": "plain_text", "text": "Archive shop/pr-7?"}, "text": obj{"type": "plain_text", "text": "Its database is deleted."}, "confirm": obj{"type": "plain_text", "text": "Archive"}, "deny": obj{"type": "plain_text", "text": "Keep"}, "style": "danger"}
	return obj{"text": "ana wants to deploy shop/pr-7", "attachments": []any{obj{"color": "#d9a514", "fallback": "ana wants to deploy shop/pr-7", "blocks": []any{
		obj{"type": "header", "text": obj{"type": "plain_text", "text": ":anchor: Deploy shop/pr-7", "emoji": true}},
		obj{"type": "section", "text": text("<@U1> wants *shop/pr-7* at <https://github.com/acme/shop/commit/9c1f2e7|`9c1f2e7`>\n>Make the basket bigger — _Ana_")},
		obj{"type": "section", "fields": []any{text("*Policy*\nproduction needs two"), text("*Still needed*\n1 of 2, from <!subteam^S1>"), text("*Expires*\n2026-11-20 15:04 UTC"), text("*State*\n:hourglass_flowing_sand: waits")}},
		obj{"type": "section", "text": text("```web: image 1.4.1 → 1.4.2\ndb:  ~ instance class (replaces it)```")},
		obj{"type": "divider"},
		obj{"type": "actions", "elements": []any{yes, deny, wipe, button("Details", "show")}},
		obj{"type": "context", "elements": []any{text("Request `01jd0000` · asked 2 minutes ago in Slack")}},
	}}}}
}

func reasonModal() obj {
	return obj{
		"type": "modal", "callback_id": "why", "title": obj{"type": "plain_text", "text": "Deny shop/pr-7"}, "submit": obj{"type": "plain_text", "text": "Deny"}, "close": obj{"type": "plain_text", "text": "Cancel"},
		"blocks": []any{section("What you write is shown on the card."), obj{"type": "input", "block_id": "reason", "label": obj{"type": "plain_text", "text": "Why?"}, "hint": obj{"type": "plain_text", "text": "One sentence is enough."}, "element": obj{"type": "plain_text_input", "action_id": "text", "multiline": true, "focus_on_load": true, "max_length": 500}}},
	}
}

func TestPersonTypesACommandAndClicksInABrowser(t *testing.T) {
	// How fast the app is is not what this is about: nothing runs out meanwhile.
	a := newApp(t, Options{AckTimeout: time.Minute, Now: func() time.Time { return time.Unix(1_700_000_000, 0) }})
	a.answers(func(g got) (int, string) {
		switch {
		case g.path == "/slack/commands" && g.form.Get("text") != "help":
			message := card()
			message["channel"] = "C1"
			out := a.ok("chat.postMessage", message)
			a.ok("chat.postMessage", obj{"channel": "C1", "thread_ts": out["ts"], "text": "Building `web` …\n• chart rendered\n• waiting for *2* pods"})
			return 200, `{"text": "Asked. <https://example.org|The card> is below."}`
		case g.payload["type"] == "block_actions":
			if str(objects(list(g.payload, "actions"))[0], "value") == "no" {
				a.ok("views.open", obj{"trigger_id": g.payload["trigger_id"], "view": reasonModal()})
			}
		case g.payload["type"] == "view_submission":
			return 200, ""
		}
		return 200, ""
	})
	_, err := a.Say("U2", "C1", "", "Morning! Is anybody using *pr-7*? See https://example.org/pr-7")
	a.must(err)
	ctx := browse(t, a.URL()+"/#as=U1&channel=C1", 1100, 760)
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS(`#composer textarea`)), chromedp.SendKeys(chromedp.CSS(`#composer textarea`), "/berth"), chromedp.WaitVisible(chromedp.CSS(`.slash`)))
	picture(ctx, t, "typing.png")
	run(ctx, t, chromedp.SendKeys(chromedp.CSS(`#composer textarea`), " deploy shop/pr-7\r"), chromedp.WaitVisible(chromedp.CSS(`.attachment .btn.primary`)), chromedp.WaitVisible(chromedp.CSS(`.message.only`)))
	picture(ctx, t, "card.png")
	run(ctx, t, chromedp.Click(chromedp.CSS(`.replies`)), chromedp.WaitVisible(chromedp.CSS(`#thread .mrkdwn code`)))
	picture(ctx, t, "thread.png")
	run(ctx, t, chromedp.Click(chromedp.CSS(`[data-person=U2]`)), chromedp.WaitNotPresent(chromedp.CSS(`.message.only`)), chromedp.Click(chromedp.CSS(`[data-action=a-wipe]`)), chromedp.WaitVisible(chromedp.CSS(`[role=alertdialog]`)))
	picture(ctx, t, "confirm.png")
	run(ctx, t, chromedp.Click(chromedp.CSS(`[data-yes]`)), chromedp.WaitNotPresent(chromedp.CSS(`[role=alertdialog]`)), chromedp.Click(chromedp.CSS(`[data-action=a-no]`)), chromedp.WaitVisible(chromedp.CSS(`.modal textarea`)), chromedp.SendKeys(chromedp.CSS(`.modal textarea`), "not on a Friday"))
	picture(ctx, t, "modal.png")
	run(ctx, t, chromedp.Click(chromedp.CSS(`.modal button[type=submit]`)), chromedp.WaitNotPresent(chromedp.CSS(`.modal`)))
	var kinds []string
	for range 4 {
		g := a.next()
		kinds = append(kinds, str(g.payload, "type"))
		if g.payload["type"] == "view_submission" && !strings.Contains(g.raw, "not+on+a+Friday") {
			t.Errorf("the submission has no reason: %s", g.raw)
		}
	}
	if strings.Join(kinds, " ") != " block_actions block_actions view_submission" {
		t.Errorf("delivered %q", kinds)
	}
}

func TestHomeTabAndNarrowWindow(t *testing.T) {
	a := newApp(t, Options{AckTimeout: time.Minute})
	a.answers(func(g got) (int, string) {
		if e, ok := g.payload["event"].(obj); ok && e["type"] == "app_home_opened" {
			link := button("Open", "open")
			link["url"] = "https://pr-7.example.org"
			a.ok("views.publish", obj{"user_id": e["user"], "view": obj{"type": "home", "blocks": []any{
				obj{"type": "header", "text": obj{"type": "plain_text", "text": "My environments"}},
				obj{"type": "section", "text": obj{"type": "mrkdwn", "text": ":large_green_circle: *shop/pr-7* runs `9c1f2e7`\nexpires in 2 days"}, "accessory": obj{"type": "overflow", "action_id": "more", "options": []any{obj{"text": obj{"type": "plain_text", "text": "Extend"}, "value": "extend"}, obj{"text": obj{"type": "plain_text", "text": "Archive"}, "value": "archive"}}}},
				actions(link, button("Logs", "logs")),
				obj{"type": "divider"},
				obj{"type": "header", "text": obj{"type": "plain_text", "text": "Waiting for me"}},
				obj{"type": "context", "elements": []any{obj{"type": "mrkdwn", "text": "Nothing waits for you."}}},
			}}})
		}
		return 200, ""
	})
	ctx := browse(t, a.URL()+"/", 700, 760)
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS(`[data-channel=app]`)), chromedp.Click(chromedp.CSS(`[data-channel=app]`)), chromedp.WaitVisible(chromedp.CSS(`#messages.home [data-action=more]`)))
	picture(ctx, t, "home.png")
	run(ctx, t, chromedp.Click(chromedp.CSS(`[data-action=more]`)), chromedp.WaitVisible(chromedp.CSS(`[role=menu]`)))
	picture(ctx, t, "menu.png")
	run(ctx, t, chromedp.Click(chromedp.CSS(`[role=menuitem]`)), chromedp.WaitNotPresent(chromedp.CSS(`[role=menu]`)))
	a.next()
	if act := objects(list(a.next().payload, "actions"))[0]; act["type"] != "overflow" || str(act["selected_option"].(obj), "value") != "extend" {
		t.Errorf("chose %v", act)
	}
}

func TestOneMessageIsDrawnAlone(t *testing.T) {
	a := newApp(t, Options{})
	for name, what := range map[string]obj{"message": card(), "modal": reasonModal()} {
		raw, _, err := (&delivery{what: "event", payload: what}).body()
		a.must(err)
		path, err := a.Preview([]byte(raw))
		a.must(err)
		ctx := browse(t, a.URL()+path, 800, 560)
		run(ctx, t, chromedp.WaitVisible(chromedp.CSS(`body[data-ready]`)))
		picture(ctx, t, "alone-"+name+".png")
		if words := read(ctx, t, chromedp.CSS("#client")); !strings.Contains(words, "shop/pr-7") || strings.HasSuffix(words, "0") {
			t.Errorf("the %s says %q", name, words)
		}
	}
	if _, err := a.Preview([]byte(`{"text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}`)); err == nil || !strings.Contains(err.Error(), "invalid_blocks") {
		t.Errorf("a header of mrkdwn: %v", err)
	}
}

func TestMarkupIsDrawnAndNeverRun(t *testing.T) {
	a := newApp(t, Options{})
	say := func(text string) {
		t.Helper()
		a.ok("chat.postMessage", obj{"channel": "C1", "text": text})
	}
	say("*bold* _italic_ ~gone~ `code *not bold*` snake_case_name 2*3*4 :rocket: &lt;b&gt; &amp;amp; <https://example.org|a *link*> <@U1> <#C1> <!subteam^S1> <!here>")
	say("> quoted\n> twice\nafter\n```\nfirst  line\n  <b>second</b> *raw*\n```\nend")
	say("<script>alert(1)</script> <javascript:alert(1)|click> <img src=x onerror=alert(1)>")
	a.ok("chat.postMessage", obj{"channel": "C1", "text": "all kinds", "blocks": []any{
		obj{"type": "rich_text", "elements": []any{obj{"type": "rich_text_section", "elements": []any{obj{"type": "text", "text": "rich ", "style": obj{"bold": true}}, obj{"type": "emoji", "name": "tada"}}}, obj{"type": "rich_text_list", "style": "bullet", "elements": []any{obj{"type": "rich_text_section", "elements": []any{obj{"type": "text", "text": "one"}}}}}}},
		obj{"type": "markdown", "text": "# Title\n**bold** and [a link](https://example.org)\n- item\n\n```go\nx := 1\n```"},
		actions(obj{"type": "static_select", "action_id": "pick", "placeholder": plainText("Pick one"), "options": []any{obj{"text": plainText("First"), "value": "1"}}}, obj{"type": "checkboxes", "action_id": "tick", "options": []any{obj{"text": plainText("Yes"), "value": "y"}}}, button("Plain", "p")),
	}})
	ctx := browse(t, a.URL()+"/", 700, 900)
	run(ctx, t, chromedp.WaitVisible(chromedp.CSS(`#messages [data-action=pick]`)))
	picture(ctx, t, "markup.png")
	html, err := chromedp.Run(ctx, chromedp.InnerHTML(chromedp.CSS(`#messages`)))
	a.must(err)
	for _, want := range []string{
		`<b>bold</b> <i>italic</i> <s>gone</s> <code>code *not bold*</code> snake_case_name 2*3*4 🚀 &lt;b&gt; &amp;amp;`, `<span class="mention">@ana</span>`, `<span class="mention">#deploys</span>`,
		`<span class="mention">@db</span>`, `<span class="mention">@here</span>`, `<blockquote>quoted<br>twice</blockquote>`, "<pre>first  line\n  &lt;b&gt;second&lt;/b&gt; *raw*</pre>", `<b>rich </b>🎉`, `<li><div class="rich-section">one</div></li>`,
		`&lt;script&gt;alert(1)&lt;/script&gt;`, `&lt;javascript:alert(1)|click&gt;`, `<b>Title</b>`, `• item`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page has no %s\n%s", want, html)
		}
	}
	if strings.Contains(html, "<script") || strings.Contains(html, "<img") || strings.Contains(html, `href="javascript`) {
		t.Error("markup of a message became the page's")
	}
}

func TestLinkToAMessageLeadsThere(t *testing.T) {
	a := newApp(t, Options{})
	var first string
	for n := range 40 {
		out := a.ok("chat.postMessage", obj{"channel": "C1", "text": "line\n" + strings.Repeat("x\n", n%3), "metadata": nil})
		if n == 0 {
			first = str(out, "ts")
		}
	}
	reply := a.ok("chat.postMessage", obj{"channel": "C1", "text": "a reply", "thread_ts": first})
	in, _ := a.Message("C1", str(reply, "ts"))
	a.ok("chat.postEphemeral", obj{"channel": "C1", "user": "U1", "text": "It is <" + in.Permalink + "|there>."})
	root, _ := a.Message("C1", first)
	ctx := browse(t, root.Permalink, 1100, 500)
	at := chromedp.CSS(`[id="main-` + first + `"]`)
	run(ctx, t, chromedp.WaitVisible(at), chromedp.WaitVisible(chromedp.CSS(`.message.only a[target]`)))
	top := func() bool {
		visible, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`(() => { const r = document.getElementById("main-`+first+`").getBoundingClientRect(); return r.bottom > 0 && r.top < innerHeight })()`))
		a.must(err)
		return visible
	}
	if !top() {
		t.Error("the message is not in sight")
	}
	run(ctx, t, chromedp.Click(chromedp.CSS(`.message.only a[target]`)), chromedp.WaitVisible(chromedp.CSS(`[id="thread-`+in.TS+`"]`)))
}
