package discordtest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var shots = flag.String("shots", "", "a folder that the browser's pictures are kept in")

const (
	// stepPatience ends a step of somebody in a browser that hangs, and
	// browserPatience all of them.
	stepPatience, browserPatience = 2 * time.Minute, 10 * time.Minute
)

// browser starts a headless browser of the test's own.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("there is no chromium here, so nobody looks at the page")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 820))
	for _, name := range []string{"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
		options = append(options, chromedp.Flag(name, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), browserPatience)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, quit := chromedp.NewContext(ctx)
	t.Cleanup(quit)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 820)); err != nil { // which starts it, for as long as ctx lasts
		t.Fatal(err)
	}
	return ctx
}

func shoot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

const bigCard = `{"embeds":[{"title":"⏳ Deploy shop/pr-7 waits for a yes","url":"https://berth.example.org/r/1","description":"**Ana** asks for it: [` + "`abc1234`" + `](https://github.com/acme/shop/commit/abc1234) *Two replicas* by Ben\n` +
	"```diff\\n@@ values @@\\n-replicas: 1\\n+replicas: 2\\n```" + `\n⚠ **Destroys** the volume ` + "`data-0`" + `","color":16755763,"fields":[{"name":"Policy","value":"1 of 2, needs <@&ROLE>","inline":true},{"name":"Expires","value":"in 4 hours","inline":true},{"name":"Cluster","value":"staging","inline":true},{"name":"What changes","value":"- web: **2** replicas\n- db: nothing\n> the rest stays"}],"footer":{"text":"berth · 3f9a1c02"}}],
	"components":[{"type":1,"components":[{"type":2,"style":3,"label":"Approve","custom_id":"yes"},{"type":2,"style":4,"label":"Deny","custom_id":"no"},{"type":2,"style":2,"label":"Details","custom_id":"more"},{"type":2,"style":5,"label":"Open","url":"https://shop.example.org"},{"type":2,"style":2,"label":"Cancel","custom_id":"stop","disabled":true}]}],
	"allowed_mentions":{"parse":[]}}`

// playBot answers as a deployment bot would: a card for a command, a modal for Deny,
// and the card's end.
func playBot(w *world) {
	w.answersBy(func(out http.ResponseWriter, in obj) {
		data := in["data"].(obj)
		switch {
		case in["type"] == 4.0:
			reply(out, `{"type":8,"data":{"choices":[{"name":"shop/pr-7","value":"shop/pr-7"},{"name":"shop/pr-42","value":"shop/pr-42"}]}}`)
		case in["type"] == 2.0 && strings.Contains(string(encode(data)), "nothing"):
			out.WriteHeader(http.StatusInternalServerError)
		case in["type"] == 2.0:
			id := w.api("POST", "channels/"+w.channel+"/messages", strings.ReplaceAll(bigCard, "ROLE", w.admin)).body["id"].(string)
			reply(out, `{"type":4,"data":{"content":"Asked for. [The card](https://discord.com/channels/1/`+w.channel+`/`+id+`) is in this channel.","flags":64}}`)
		case data["custom_id"] == "no":
			reply(out, `{"type":9,"data":{"title":"Deny the deploy","custom_id":"why","components":[{"type":18,"label":"Why?","description":"Everybody can read it.","component":{"type":4,"custom_id":"reason","style":2,"max_length":200}}]}}`)
		default:
			reply(out, `{"type":7,"data":{"embeds":[{"title":"⛔ Deploy shop/pr-7 was denied","description":"by **Ben** in Discord: not today","color":14297916}],"components":[]}}`)
		}
	})
}

func TestSomebodyUsesThePageInABrowser(t *testing.T) {
	ctx := browser(t)
	w := newWorld(t, Options{AnswerWithin: time.Minute})
	w.listen()
	playBot(w)
	address := w.URL() + "/?as=" + w.ana + "&channel=" + w.channel
	run := func(what string, steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, stepPatience)
		defer cancel()
		if err := chromedp.Do(within, steps...); err != nil {
			shoot(ctx, t, "failed")
			says, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`)) // the browser may be gone
			t.Fatalf("%s: %v, after %v; the page says:\n%s", what, err, time.Since(began), says)
		}
		t.Logf("%s: %v", what, time.Since(began).Round(time.Millisecond)) // which step is slow shows where a deadline is missed
	}
	box := chromedp.CSS(`#main textarea`)
	run("open the page", chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS(`[data-as="`+w.ana+`"].here`)))
	run("type a command", chromedp.SendKeys(box, "/b"), chromedp.WaitVisible(chromedp.CSS(`.offers .command`)))
	shoot(ctx, t, "1-commands")
	run("complete it", chromedp.SendKeys(box, "erth deploy sh"), chromedp.WaitVisible(chromedp.CSS(`.offers .choice`)))
	shoot(ctx, t, "2-choices")
	run("choose and send", chromedp.SendKeys(box, "\t"), chromedp.WaitVisible(chromedp.CSS(`.offers .option`)), chromedp.SendKeys(box, "\r"), chromedp.WaitVisible(chromedp.CSS(`[data-custom="no"]`)), chromedp.WaitVisible(chromedp.CSS(`.message.only`)))
	card := w.Messages(w.channel)[0].ID
	thread := w.ok(w.api("POST", "channels/"+w.channel+"/messages/"+card+"/threads", `{"name":"Progress of shop/pr-7"}`), 201).body["id"].(string)
	w.ok(w.api("POST", "channels/"+thread+"/messages", `{"content":"`+"`db`"+` is ready, `+"`web`"+` rolls out **1 of 2**\n-# step 3 of 5"}`), 200)
	w.ok(w.api("POST", "channels/"+thread+"/messages", `{"content":"<@`+w.ana+`> it needs you"}`), 200)
	w.id(w.Reply(w.ben, card, "what does it *do*? @Ana"))
	file := "--b\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n{\"content\":\"The whole plan\"}\r\n--b\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"plan.diff\"\r\nContent-Type: text/plain\r\n\r\n+one\n-two\n\r\n--b--\r\n"
	w.ok(w.do("POST", "channels/"+w.channel+"/messages", "multipart/form-data; boundary=b", []byte(file), "Bot "+w.Token()), 200)
	run("see it live", chromedp.WaitVisible(chromedp.CSS(`.threadlink`)), chromedp.WaitVisible(chromedp.CSS(`.file`)))
	shoot(ctx, t, "3-card")
	run("open the thread and the file", chromedp.Click(chromedp.CSS(`.threadlink`)), chromedp.WaitVisible(chromedp.CSS(`#threadmessages .mentioned`)), chromedp.Click(chromedp.CSS(`.file summary`)))
	shoot(ctx, t, "4-thread")
	run("follow a link to a message", chromedp.Click(chromedp.CSS(`[data-channel="`+w.channel+`"]:not(.thread)`)), chromedp.WaitNotVisible(chromedp.CSS(`#thread`)), chromedp.Click(chromedp.CSS(`.message.only a`)), chromedp.WaitVisible(chromedp.CSS(`.message.found`)))
	run("be Ben", chromedp.Click(chromedp.CSS(`[data-as="`+w.ben+`"]`)), chromedp.WaitVisible(chromedp.CSS(`[data-as="`+w.ben+`"].here`)), chromedp.WaitNotPresent(chromedp.CSS(`.message.only`)), chromedp.Click(chromedp.CSS(`[data-custom="no"]`)), chromedp.WaitVisible(chromedp.CSS(`.modal textarea`)))
	shoot(ctx, t, "5-modal")
	run("say why", chromedp.SendKeys(chromedp.CSS(`.modal textarea`), "not today"), chromedp.Click(chromedp.CSS(`.modal .primary`)), chromedp.WaitNotPresent(chromedp.CSS(`.modal`)), chromedp.WaitNotPresent(chromedp.CSS(`[data-custom="no"]`)))
	run("ask for what nobody answers", chromedp.SendKeys(box, "/berth deploy nothing "), chromedp.SendKeys(box, "\r"), chromedp.WaitVisible(chromedp.CSS(`.failed`)))
	shoot(ctx, t, "6-failed")
	run("type what is wrong", chromedp.SendKeys(box, "/berth fly away\r"), chromedp.WaitVisible(chromedp.CSS(`#main .composer .error`)))
	if m := w.Message(card); m.Edits != 1 || len(m.Components) != 0 {
		t.Errorf("%+v", m)
	}
	run("look at it in light", chromedp.EmulateViewport(1280, 820), chromedp.Navigate(w.URL()+"/?theme=light&as="+w.ben+"&channel="+w.channel), chromedp.WaitVisible(chromedp.CSS(`.embed`)))
	shoot(ctx, t, "7-light")
	run("look at it on a telephone", chromedp.EmulateViewport(390, 800), chromedp.Navigate(w.URL()+"/?as="+w.ben+"&channel="+w.channel), chromedp.WaitVisible(chromedp.CSS(`.embed`)))
	shoot(ctx, t, "8-narrow")
	run("draw one alone", chromedp.EmulateViewport(760, 500), chromedp.Navigate(w.URL()+"/page/message/"+w.channel+"/"+card+"?bare=1"), chromedp.WaitVisible(chromedp.CSS(`#bare .embed`)))
	shoot(ctx, t, "9-bare")
	w.Forgive() // The failure was on purpose.
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

// TestAClickCountsThoughThePageChangesMeanwhile has the bot edit a card while the
// button of the mouse is down on it.
func TestAClickCountsThoughThePageChangesMeanwhile(t *testing.T) {
	ctx := browser(t)
	w := newWorld(t, Options{AnswerWithin: time.Minute})
	w.listen()
	playBot(w)
	card := strings.ReplaceAll(bigCard, "ROLE", w.admin)
	id := w.ok(w.api("POST", "channels/"+w.channel+"/messages", card), 200).body["id"].(string)
	if err := chromedp.Do(ctx, chromedp.Navigate(w.URL()+"/?as="+w.ana+"&channel="+w.channel)); err != nil {
		t.Fatal(err)
	}
	release := press(ctx, t, `[data-custom="no"]`)
	w.ok(w.api("PATCH", "channels/"+w.channel+"/messages/"+id, strings.Replace(card, "in 4 hours", "in 3 hours", 1)), 200)
	within, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	if err := chromedp.Do(within, chromedp.WaitReady(chromedp.CSS(`body[data-held]`))); err != nil {
		t.Fatal(err)
	}
	release()
	if err := chromedp.Do(within, chromedp.WaitVisible(chromedp.CSS(`.modal textarea`))); err != nil {
		t.Fatal(err)
	}
	if m := w.Message(id); m.Edits != 1 {
		t.Errorf("%+v", m)
	}
}

func TestThePageTakesNothingFromOtherSites(t *testing.T) {
	w := newWorld(t, Options{})
	req, err := http.NewRequest(http.MethodPost, w.URL()+"/page/type", strings.NewReader(`{}`))
	w.must(err)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(req)
	w.must(err)
	defer res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Error(res.Status)
	}
}

func TestEphemeralMessagesAreDrawnForTheirReaderAlone(t *testing.T) {
	w := newWorld(t, Options{})
	w.listen()
	w.answers(`{"type":4,"data":{"content":"For Ana.","flags":64}}`)
	in, err := w.Command(w.ana, w.channel, "/berth list")
	w.must(err)
	for who, want := range map[string]int{w.ana: 200, w.ben: 404} {
		res, err := http.Get(w.URL() + "/page/message/" + w.channel + "/" + in.Original + "?bare=1&as=" + who)
		w.must(err)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s", who, res.Status)
		}
	}
	for who, want := range map[string]bool{w.ana: true, w.ben: false} {
		res, err := http.Get(w.URL() + "/page/view?" + url.Values{"as": {who}, "channel": {w.channel}}.Encode())
		w.must(err)
		var v view
		w.must(json.NewDecoder(res.Body).Decode(&v))
		res.Body.Close()
		if (len(v.Messages) == 1) != want {
			t.Errorf("%s sees %v", who, v.Messages)
		}
	}
}
