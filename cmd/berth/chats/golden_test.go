package chats

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/berth-dev/berth/bot/chat/chattest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// platforms are all of them, with what stands in for them.
var platforms = map[string]func(t *testing.T, live bool) *stand{"slack": onSlack, "discord": onDiscord}

// TestEveryCardIsTakenAndLooksAsItShould posts every card and edits it to be the
// same, which the stand-ins take only within their platforms' limits.
func TestEveryCardIsTakenAndLooksAsItShould(t *testing.T) {
	for name, start := range platforms {
		t.Run(name, func(t *testing.T) {
			s := start(t, false)
			var written []string
			for _, card := range chattest.Cards() {
				t.Run(card.Name, func(t *testing.T) {
					made, calls := s.post(t, card.Name, card.Message)
					if made.ID == "" || made.URL == "" {
						t.Errorf("it stands at %+v", made)
					}
					found, err := s.platform.Find(t.Context(), s.at, card.Name, began)
					if err != nil || found.ID != made.ID {
						t.Errorf("it is found as %+v, not %+v: %v", found, made, err)
					}
					if err := s.platform.Edit(t.Context(), made, card.Message); err != nil {
						t.Errorf("edit: %v", err)
					}
					if odd := s.odd(); len(odd) > 0 {
						t.Error(strings.Join(odd, "\n"))
					}
					written = append(written, golden(t, name, card.Name, calls))
				})
			}
			unused(t, name, written)
		})
	}
}

// golden compares what was sent with what a file says, and returns its name.
func golden(t *testing.T, platform, card string, calls []sent) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(calls); err != nil {
		t.Fatal(err)
	}
	got := seen(b.String())
	path := filepath.Join("testdata", platform, strings.NewReplacer(" ", "_", ",", "").Replace(card)+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("what was sent is not as in %s; if it should be so now, run with -update:\n%s", path, difference(string(want), got))
	}
	return filepath.Base(path)
}

// seen writes characters that are not seen as JSON's escapes.
func seen(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > 0x7f && !unicode.IsGraphic(r) && r < 0x10000 {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// difference is the first line in which two texts differ.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(b), len(a))
}

// unused finds golden files of cards that are no more.
func unused(t *testing.T, platform string, written []string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join("testdata", platform))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(written, f.Name()) {
			if *update {
				must(t, os.Remove(filepath.Join("testdata", platform, f.Name())))
				continue
			}
			t.Errorf("testdata/%s/%s is of no card", platform, f.Name())
		}
	}
}
