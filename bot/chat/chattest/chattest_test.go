package chattest

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot"
)

var update = flag.Bool("update", false, "write the golden files")

// TestEveryCardIsAsItWas compares all cards with their golden files.
func TestEveryCardIsAsItWas(t *testing.T) {
	t.Parallel()
	wanted := map[string]bool{}
	for _, c := range Cards() {
		file := filepath.Join("testdata", strings.ReplaceAll(strings.ReplaceAll(c.Name, ",", ""), " ", "_")+".json")
		if wanted[file] {
			t.Fatalf("two cards are called %q", c.Name)
		}
		wanted[file] = true
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			if err := enc.Encode(c.Message); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("it is now\n%s\nand was\n%s", b.String(), want)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !wanted[file] {
			t.Errorf("%s belongs to no card", file)
		}
	}
}

// future finds what would have people believe that something has happened which
// may never happen.
var future = regexp.MustCompile(`(?i)\b(expires?|in \d+ (hours?|days?)|until|then)\b[^.]{0,60}\bis (cleaned up|archived)\b`)

func TestNoCardSaysOfWhatIsToComeThatItIs(t *testing.T) {
	t.Parallel()
	for _, c := range Cards() {
		text, err := json.Marshal(c.Message)
		if err != nil {
			t.Fatal(err)
		}
		if found := future.Find(text); found != nil {
			t.Errorf("%s says %q", c.Name, found)
		}
	}
}

func TestNoCardHasButtonsToDecideOnWhatIsDecided(t *testing.T) {
	t.Parallel()
	for _, c := range Cards() {
		waits := strings.HasPrefix(c.Name, "request") && c.Message.Tone == "waiting" && !strings.Contains(c.Name, "and another")
		for _, b := range c.Message.Buttons {
			decides := strings.HasPrefix(b.Line, "approve ") || strings.HasPrefix(b.Line, "deny ")
			if decides && !waits && !strings.HasSuffix(c.Name, "diff") && !strings.HasPrefix(c.Name, "answer of a diff") && !strings.HasPrefix(c.Name, "answer of details") && !strings.HasPrefix(c.Name, "hostile request") && c.Name != "overlong request" {
				t.Errorf("%s has the button %q", c.Name, b.Label)
			}
			if decides && b.Digest == "" {
				t.Errorf("%s: %q counts for any plan", c.Name, b.Label)
			}
			if strings.HasPrefix(b.Line, "approve ") && c.Message.Loss.Len() > 0 && (b.When != bot.WhenWhole || b.Confirm == "" && b.Reason == "") {
				t.Errorf("%s: %q agrees to a loss that need not have been seen, or at one click", c.Name, b.Label)
			}
			if strings.HasPrefix(b.Line, "deny ") && b.Reason == "" || strings.Contains(b.Line, "--break-glass") && b.Reason == "" {
				t.Errorf("%s: %q asks for no reason", c.Name, b.Label)
			}
			if strings.ContainsAny(b.Line, "\n\x00<>`") || len(b.Line) > 75 {
				t.Errorf("%s: the command %q of %q is none that somebody would type", c.Name, b.Line, b.Label)
			}
			if (b.Line == "") == (b.URL == "") {
				t.Errorf("%s: %q does nothing, or two things", c.Name, b.Label)
			}
		}
	}
}
