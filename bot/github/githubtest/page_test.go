package githubtest

import (
	"bufio"
	"bytes"
	"flag"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; look at it and run with -update\n%s", name, got)
	}
}

func TestThreadIsDrawnForATerminal(t *testing.T) {
	s := story(t)
	thread := s.Thread("acme/shop", s.pull)
	for name, width := range map[string]int{"thread.txt": 72, "thread-narrow.txt": 34} {
		var buf bytes.Buffer
		s.must(RenderThread(&buf, thread, width, false))
		for line := range strings.Lines(buf.String()) {
			if n := columns(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%s has a line of %d columns: %s", name, n, line)
			}
		}
		golden(t, name, buf.Bytes())
	}
	var plain, colored bytes.Buffer
	s.must(RenderThread(&plain, thread, 72, false))
	s.must(RenderThread(&colored, thread, 72, true))
	if stripped := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAll(colored.Bytes(), nil); !bytes.Equal(stripped, plain.Bytes()) {
		t.Error("colour changes more than the colour")
	}
	if strings.Contains(plain.String(), "alert") || strings.Contains(plain.String(), "berth:shop") || strings.Contains(plain.String(), "\x1b") {
		t.Error("what is hidden is shown")
	}
}

func TestMarkdownNeverSteersTheTerminalNorEndsALineLate(t *testing.T) {
	hostile := "# a\x1b[31mb\n\n" + strings.Repeat("x", 500) + "\n\n| a | b |\n|---|---|\n| " + strings.Repeat("wide ", 60) + " | 1 |\n\n" +
		"```\n" + strings.Repeat("code", 90) + "\n```\n\n> - 1. deep\n>   - deeper " + strings.Repeat("語", 90) + "\n\n<b>\x07</b> a&amp;b\n"
	for width := 10; width < 90; width += 7 {
		for _, r := range renderText(hostile, width) {
			if strings.ContainsAny(r.draw(false), "\x1b\x07\n") || (width >= 20 && r.width() > width) {
				t.Errorf("width %d: %q", width, r.draw(false))
			}
		}
	}
}

// sees holds what source looks like in 40 columns, with "|" between the lines.
func sees(t *testing.T, source, want string) {
	t.Helper()
	var got []string
	for _, r := range renderText(source, 40) {
		got = append(got, r.draw(false))
	}
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("got %q, want %q", text, want)
	}
}

func TestFoldsStayFoldedInATerminal(t *testing.T) {
	tests := map[string]struct{ source, want string }{
		"a fold over several blocks": {"a\n\n<details><summary>Log</summary>\n\nhidden\n\n</details>\n\nb", "a||▸ Log||b"},
		"a fold in one block":        {"<details>\n<summary>Log</summary>\nhidden\n</details>\n\nb", "▸ Log||b"},
		"a fold that is open":        {"<details open><summary>Log</summary>\n\nshown\n\n</details>", "▾ Log||shown"},
		"a fold in a fold":           {"<details><summary>A</summary>\n\n<details><summary>B</summary>\n\nx\n\n</details>\n\ny\n\n</details>\n\nz", "▸ A||z"},
		"a hidden marker":            {"<!-- berth <details> -->\nseen", "seen"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { sees(t, test.source, test.want) })
	}
}

func TestTablesInATerminal(t *testing.T) {
	tests := map[string]struct{ source, want string }{
		"columns are aligned":                       {"| a | b |\n|---|--:|\n| long | 1 |\n| x | 10 |", "a      b|────────|long   1|x     10"},
		"a heading without words is left out":       {"| | |\n|---|---|\n| Runs | x |", "Runs  x"},
		"a link says where it leads, if that fits":  {"| a |\n|---|\n| [x](http://h) |", "a|────────────|x (http://h)"},
		"one that would make it too wide does not":  {"| a | b |\n|---|---|\n| [x](http://host/quite/a/long/path/to/it) | y |", "a  b|────|x  y"},
		"a row is not cut for what is right of it":  {"| | |\n|---|---|\n| Runs | a text that is cut at its end |\n| Expires | soon |", "Runs     a text that is cut at its end|Expires  soon"},
		"what is too wide all the same is cut once": {"| | |\n|---|---|\n| Runs | a text that is cut, since it is too long |\n| Expires | soon |", "Runs     a text that is cut, since it i…|Expires  soon"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { sees(t, test.source, test.want) })
	}
}

func FuzzRenderText(f *testing.F) {
	f.Add(sticky, 40)
	f.Add("- a\n  - b\n\n| x |\n|--:|\n| :eyes: |", 12)
	f.Fuzz(func(t *testing.T, source string, width int) {
		width = 20 + (width&0xff)%100
		for _, r := range renderText(source, width) {
			if strings.ContainsAny(r.draw(false), "\x1b\n\r") {
				t.Errorf("%q", r.draw(false))
			}
		}
	})
}

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestPageShowsTheConversationSafely(t *testing.T) {
	s := story(t)
	address := s.Thread("acme/shop", s.pull).URL
	code, body := get(t, address)
	if code != 200 {
		t.Fatalf("got %d: %s", code, body)
	}
	for _, want := range []string{
		"More replicas", "wants to merge 2 commits", "<details>", "<summary>Log (14 lines)</summary>", "✅", "👀",
		`<td align="right">41 s</td>`, "View deployment", "https://pr-1.shop.preview.example.org", "edited 2 times", `<option selected>ana</option>`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Contains(body, "alert(1)") || strings.Contains(body, "berth:shop") {
		t.Error("the page shows what is hidden")
	}
	for _, path := range []string{"/-/page.css", "/-/page.js", "/avatars/ana", "/avatars/berth%5Bbot%5D"} {
		if code, _ := get(t, s.URL()+path); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
	for _, path := range []string{"/acme/shop/pull/99", "/acme/nope/pull/1", "/-/page.go"} {
		if code, _ := get(t, s.URL()+path); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
	req, err := http.NewRequestWithContext(soon(t), http.MethodGet, s.URL()+"/", nil)
	s.must(err)
	req.Header.Set("Accept", "text/html")
	res, err := http.DefaultClient.Do(req)
	s.must(err)
	defer drain(res.Body)
	if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Content-Type"), "html") {
		t.Errorf("the list: %d", res.StatusCode)
	}
}

func TestFormCommentsAsTheChosenUser(t *testing.T) {
	s := newShop(t, Options{})
	k := newSink(t)
	s.must(s.SetWebhook(Webhook{URL: k.URL, Events: []string{"issue_comment", "pull_request"}}))
	address := s.Thread("acme/shop", s.pull).URL
	post := func(origin string, form url.Values) int {
		req, err := http.NewRequestWithContext(soon(t), http.MethodPost, address+"/act", strings.NewReader(form.Encode()))
		s.must(err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
		res, err := (&http.Client{CheckRedirect: noRedirect}).Do(req)
		s.must(err)
		drain(res.Body)
		return res.StatusCode
	}
	tests := map[string]struct {
		origin string
		form   url.Values
		want   int
	}{
		"a comment is taken":                {s.URL(), url.Values{"as": {"rob"}, "body": {"/deploy\r\nnow"}, "do": {"comment"}}, 303},
		"an empty one is not":               {s.URL(), url.Values{"as": {"rob"}, "body": {" "}, "do": {"comment"}}, 422},
		"someone unknown may not":           {s.URL(), url.Values{"as": {"mallory"}, "body": {"x"}, "do": {"comment"}}, 422},
		"someone who cannot see it may not": {s.URL(), url.Values{"as": {"eve"}, "body": {"x"}, "do": {"comment"}}, 422},
		"another site's page may not":       {"http://evil.test", url.Values{"as": {"rob"}, "body": {"x"}, "do": {"comment"}}, 403},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := post(test.origin, test.form); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	comments := s.Thread("acme/shop", s.pull).Comments
	if len(comments) != 1 || comments[0].Body != "/deploy\nnow" || comments[0].Author.Login != "rob" {
		t.Errorf("comments %+v", comments)
	}
	if got := post(s.URL(), url.Values{"as": {"ana"}, "do": {"close"}}); got != 303 || s.Thread("acme/shop", s.pull).State != "closed" {
		t.Errorf("closing: %d", got)
	}
	s.must(s.Flush(soon(t)))
	if got := k.all(); len(got) != 2 || got[0].event != "issue_comment" || got[1].event != "pull_request" {
		t.Errorf("%d events", len(got))
	}
}

func TestPageIsToldOfEachChange(t *testing.T) {
	s := newShop(t, Options{})
	req, err := http.NewRequestWithContext(soon(t), http.MethodGet, s.Thread("acme/shop", s.pull).URL+"/live", nil)
	s.must(err)
	res, err := http.DefaultClient.Do(req)
	s.must(err)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	next := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		return "the end"
	}
	if got := next(); got != "data: changed" {
		t.Fatalf("got %q", got)
	}
	_, err = s.Comment("acme/shop", s.pull, "ana", "hello")
	s.must(err)
	if got := next(); got != "data: changed" {
		t.Errorf("got %q", got)
	}
}
