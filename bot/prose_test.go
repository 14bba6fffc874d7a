package bot_test

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

func TestWhatARefusalSaysToTypeIsShownAsCode(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	in := github("link aaaa-bbbb-cccc-dddd", 42)
	in.Actor = bot.Actor{Identity: "github:cy"}
	if reply := w.SayIn(in); !strings.Contains(reply.Text, "Type `link github:cy` where") {
		t.Error(reply.Text)
	}
}

func TestProse(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"code stays":                      {"Type `link x` where.", "Type `link x` where."},
		"at both ends":                    {"`a` and `b`", "`a` and `b`"},
		"what is in code is as it was":    {"Run `a_b *c* @d`: *e*", "Run `a_b *c* @d`: \\*e\\*"},
		"what nothing closes is no code":  {"Type `link @ana", "Type \\`link @\u200bana"},
		"between two is nothing":          {"a `` @ana", "a \\`\\` @\u200bana"},
		"quoted backticks call nobody":    {"He said: ` @ana ` @ben `x`", "He said: `@ana` @\u200bben `x`"},
		"a line feed ends nothing":        {"a `b\n\n# c` d", "a `b  # c` d"},
		"markup around code is only text": {"**`x`**", "\\*\\*`x`\\*\\*"},
		"empty":                           {"", ""},
	} {
		if got := bot.Prose(c.in, 2000); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
