package chats

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/berth-dev/berth/bot/chat/chattest"
)

// drawWithin is how long one picture may take.
const drawWithin = 2 * time.Minute

// TestPictures draws every card by the stand-ins' pages into the directory that
// CHATS_PICTURES names: one picture for each, and a sheet with all of them for
// each platform. CHATS_CARDS is a regular expression that chooses among them.
func TestPictures(t *testing.T) {
	dir := os.Getenv("CHATS_PICTURES")
	if dir == "" {
		t.Skip("CHATS_PICTURES names no directory for pictures")
	}
	wanted, err := regexp.Compile(os.Getenv("CHATS_CARDS"))
	must(t, err)
	program, err := exec.LookPath("chromium")
	must(t, err)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()))
	for _, flag := range []string{"no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	defer stop()
	browser, quit := chromedp.NewContext(allocator)
	defer quit()
	must(t, chromedp.Do(browser, chromedp.Navigate("about:blank")))
	for name, start := range platforms {
		t.Run(name, func(t *testing.T) {
			s := start(t, false)
			to := filepath.Join(dir, name)
			must(t, os.MkdirAll(to, 0o755))
			var shown, chosen []string
			for _, card := range chattest.Cards() {
				if !wanted.MatchString(card.Name) {
					continue
				}
				made, _ := s.post(t, card.Name, card.Message)
				file := strings.NewReplacer(" ", "_", ",", "").Replace(card.Name) + ".png"
				must(t, draw(browser, s.page(made), filepath.Join(to, file), 640))
				figure := fmt.Sprintf(`<figure><figcaption>%s</figcaption><img src="%s"></figure>`, card.Name, file)
				shown = append(shown, figure)
				if slices.Contains(inDocs, card.Name) {
					chosen = append(chosen, figure)
				}
			}
			must(t, sheet(browser, to, "sheet", shown, 2000))
			must(t, sheet(browser, to, "cards-"+name, chosen, 1320))
		})
	}
}

// inDocs are the cards of the sheets "cards-…", which stand in docs/pictures.
var inDocs = []string{
	"request waiting for two groups", "request that takes data away", "request to which one agreed", "request done", "request denied",
	"progress of a run", "news asked of a request", "environment sleeping", "environment running, but a part is not well",
}

// sheet draws pictures side by side.
func sheet(browser context.Context, dir, name string, figures []string, width int64) error {
	content := sheetHead + strings.Join(figures, "\n") + `<script>document.body.dataset.ready = ""</script>`
	source := filepath.Join(dir, name+".html")
	if err := os.WriteFile(source, []byte(content), 0o644); err != nil {
		return err
	}
	return draw(browser, "file://"+source, filepath.Join(dir, name+".png"), width)
}

// sheetHead begins a sheet of pictures.
const sheetHead = `<!doctype html><meta charset="utf-8"><style>
body { columns: 440px auto; column-gap: 12px; margin: 12px; font: 12px sans-serif; background: #ddd }
figure { break-inside: avoid; margin: 0 0 12px; background: #fff; border: 1px solid #999 }
figcaption { padding: 3px 6px; background: #333; color: #fff }
img { display: block; width: 100% }
</style><body>
`

// draw makes a picture of a page once it is ready, which Slack's says of its body.
func draw(browser context.Context, address, to string, width int64) error {
	tab, done := chromedp.NewContext(browser)
	defer done()
	tab, cancel := context.WithTimeout(tab, drawWithin)
	defer cancel()
	err := chromedp.Do(tab, chromedp.EmulateViewport(width, 60), chromedp.Navigate(address), chromedp.WaitReady(chromedp.CSS(`body[data-ready], #bare > *`)))
	if err != nil {
		return fmt.Errorf("draw %s: %w", address, err)
	}
	picture, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		return fmt.Errorf("draw %s: %w", address, err)
	}
	return os.WriteFile(to, picture, 0o644)
}
