package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// pagePatience bounds all of the browser's story, and stepPatience each thing that
// is waited for in it.
const pagePatience, stepPatience = 9 * time.Minute, 2 * time.Minute

// TestAPersonTriesBerthOnTheDemosPage types and clicks, in a real browser, what
// somebody would who has no account anywhere: a deploy from Slack with a second
// person's yes, its progress, its address, and its way through archive and restore
// to its end; then another deploy from Discord. DEMO_PICTURES names a folder to keep
// screenshots in.
func TestAPersonTriesBerthOnTheDemosPage(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed")
	}
	t.Chdir("../..")
	t.Setenv("KUBECONFIG", "")
	d := &demo{out: newTeller(io.Discard, 100, false), programs: t.TempDir()}
	build := exec.Command("go", "build", "-o", d.programs+"/", "./cmd/berth", "./cmd/berth-helm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building berth: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pagePatience)
	t.Cleanup(cancel)
	t.Cleanup(d.stop)
	for _, step := range []func(context.Context) error{d.startCluster, d.startGitHub, d.startChats, d.startBerth} {
		if err := step(ctx); err != nil {
			t.Fatal(d.explain(err))
		}
	}
	p := openBrowser(ctx, t, chromium, d)
	p.inSlack()
	p.inDiscord()
	for _, odd := range d.chats.slack.Odd() {
		t.Errorf("Slack would have objected: %s", odd)
	}
	for _, odd := range d.chats.discord.Odd() {
		t.Errorf("Discord would have objected: %s", odd)
	}
}

// inSlack is an environment's whole life, from Slack.
func (p *page) inSlack() {
	p.opens(p.d.chats.slack.URL()+"/#channel="+slackChannel, slackPage)
	p.as(slackAna)
	p.types("/berth deploy shop/pr-7")
	p.awaits("waits for approval", "Approve")
	p.picture("slack-waits")
	p.as(slackBen)
	p.clicks("Approve")
	p.awaitsOne("is being deployed", "is running") // it may be done before the page is drawn
	p.opensThread()
	p.sees("#thread", "The deploy of shop/pr-7")
	p.picture("slack-progress")
	p.awaits("is running", "Archive")
	p.sees("#thread", "The deploy of shop/pr-7 is done")
	p.picture("slack-running")
	if link := p.evaluates(`[...document.querySelectorAll('#messages a')].map((a) => a.href).find((u) => u.includes('pr-7.shop')) ?? ''`); !strings.HasPrefix(link, "http://pr-7.shop.preview.example.org") {
		p.t.Errorf("the card opens %q", link)
	}
	p.as(slackAna)
	p.clicks("Archive")
	p.confirms()
	p.awaits("is archived", "Restore")
	p.picture("slack-archived")
	p.clicks("Restore")
	p.awaits("is running", "Clean up")
	p.clicks("Clean up")
	p.confirms()
	p.awaits("is cleaned up", "")
	p.picture("slack-cleaned")
}

// inDiscord is a deploy from Discord with a second person's yes there.
func (p *page) inDiscord() {
	c := &p.d.chats
	p.opens(c.discord.URL()+"/?channel="+c.channel, discordPage)
	p.as(c.ana)
	p.types("/berth deploy target:shop/pr-7")
	p.awaits("waits for approval", "Approve")
	p.picture("discord-waits")
	p.as(c.ben)
	p.clicks("Approve")
	p.awaits("is running", "Archive")
	p.awaits("ben agreed here", "Archive")
	p.picture("discord-running")
}

// look is where things stand on a page, by CSS selectors.
type look struct {
	person string // where one becomes somebody, of their id
	box    string // where one types
	cards  string // what everybody in the channel sees
}

var (
	slackPage   = look{person: "[data-person=%q]", box: "#composer textarea", cards: "#messages > article.message:not(.only)"}
	discordPage = look{person: "[data-as=%q]", box: "#main textarea", cards: "#messages > article.message:not(.only)"}
)

// page is the browser on one of the demo's chats.
type page struct {
	t    *testing.T
	ctx  context.Context //nolint:containedctx // the browser's tab is its context
	d    *demo
	look look
}

func openBrowser(ctx context.Context, t *testing.T, chromium string, d *demo) *page {
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1240, 900))
	for _, flag := range []string{"no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	ctx, stop := chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(stop)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(closeTab)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1240, 900)); err != nil { // which starts it, for as long as ctx lasts
		t.Fatal(err)
	}
	return &page{t: t, ctx: ctx, d: d}
}

// opens goes to an address that looks so.
func (p *page) opens(address string, as look) {
	p.t.Helper()
	p.look = as
	p.does(chromedp.Navigate(address))
}

func (p *page) does(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, stepPatience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.picture("failed")
		p.t.Fatalf("%v\nthe page says: %s\nberth says: %s", err, p.text("body"), p.d.berth.tail())
	}
}

// evaluates is what an expression of JavaScript says.
func (p *page) evaluates(expression string) string {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.t.Fatal(p.d.explain(err))
	}
	return text
}

func (p *page) text(selector string) string {
	text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q)?.innerText ?? ''`, selector)))
	if err != nil {
		return err.Error()
	}
	return text
}

// as has another person sit before the screen.
func (p *page) as(person string) {
	p.t.Helper()
	button := fmt.Sprintf(p.look.person, person)
	p.does(chromedp.WaitVisible(chromedp.CSS(button)), chromedp.Click(chromedp.CSS(button)), chromedp.WaitVisible(chromedp.CSS(button+".here")))
}

func (p *page) types(text string) {
	p.t.Helper()
	box := chromedp.CSS(p.look.box)
	p.does(chromedp.WaitVisible(box), chromedp.SendKeys(box, text+"\r"))
}

// newest is, in JavaScript, the newest card of the environment that everybody
// sees. News of it, which tell that something is done, are no card.
func (p *page) newest() string {
	return fmt.Sprintf(`[...document.querySelectorAll(%q)].filter((m) => m.innerText.includes('shop/pr-7') && !m.innerText.includes('of shop/pr-7')).at(-1)`, p.look.cards)
}

// awaits waits until the newest card says words and has a button.
func (p *page) awaits(words, button string) {
	p.t.Helper()
	has := "true"
	if button != "" {
		has = fmt.Sprintf(`[...card.querySelectorAll('button, a.btn')].some((b) => b.innerText.trim() === %q)`, button)
	}
	p.polls(fmt.Sprintf(`(() => { const card = %s; return !!card && card.innerText.includes(%q) && %s })()`, p.newest(), words, has),
		fmt.Sprintf("a card that says %q with the button %q", words, button))
}

// awaitsOne waits until the newest card says one of these.
func (p *page) awaitsOne(words ...string) {
	p.t.Helper()
	p.polls(fmt.Sprintf(`(() => { const card = %s; return !!card && %s.some((w) => card.innerText.includes(w)) })()`, p.newest(), quoted(words)), fmt.Sprintf("a card that says one of %q", words))
}

// quoted is a list in JavaScript.
func quoted(words []string) string {
	text, _ := json.Marshal(words) // strings are never refused
	return string(text)
}

// sees waits until an element says words.
func (p *page) sees(selector, words string) {
	p.t.Helper()
	p.polls(fmt.Sprintf(`(document.querySelector(%q)?.innerText ?? '').includes(%q)`, selector, words), fmt.Sprintf("%s with %q", selector, words))
}

func (p *page) polls(expression, what string) {
	p.t.Helper()
	deadline := time.Now().Add(stepPatience)
	for {
		found, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](expression))
		if err == nil && found {
			return
		}
		if err != nil || time.Now().After(deadline) {
			p.picture("failed")
			p.t.Fatalf("waited in vain for %s: %v\nthe page says: %s\nberth says: %s", what, err, p.text("body"), p.d.berth.tail())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// clicks clicks on a button of the newest card as soon as it has one, in one go:
// the card may be another a moment later.
func (p *page) clicks(label string) {
	p.t.Helper()
	p.polls(fmt.Sprintf(`(() => { const b = [...(%s)?.querySelectorAll('button, a.btn') ?? []].find((b) => b.innerText.trim() === %q); b?.click(); return !!b })()`, p.newest(), label),
		fmt.Sprintf("a card with the button %q", label))
}

// confirms says yes to what is asked before a click counts.
func (p *page) confirms() {
	p.t.Helper()
	yes := chromedp.CSS("[data-yes]")
	p.does(chromedp.WaitVisible(yes), chromedp.Click(yes), chromedp.WaitNotPresent(yes))
}

func (p *page) opensThread() {
	p.t.Helper()
	p.polls(fmt.Sprintf(`(() => { const b = (%s)?.querySelector('.replies'); b?.click(); return !!b })()`, p.newest()), "a thread")
}

// picture keeps a screenshot, for people to look at and for the docs.
func (p *page) picture(name string) {
	p.t.Helper()
	folder := os.Getenv("DEMO_PICTURES")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600); err != nil {
		p.t.Fatal(err)
	}
}
