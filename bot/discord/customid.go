package discord

import (
	"strings"
	"unicode/utf8"

	"github.com/berth-dev/berth/bot"
)

const (
	// maxCustomID is the longest custom_id: of 100 characters, and here of as many
	// bytes, so that nobody has to know what Discord counts as one.
	// Source: https://docs.discord.com/developers/components/reference#anatomy-of-a-component-custom-id
	maxCustomID = 100
	// press begins the custom_id of every button of Berth's, and numbers its form.
	press = "b1"
	// maxDigest is how much of a plan's digest a button carries (bot.ChatButton).
	maxDigest = 16
)

// pressed is what the custom_id of a button or modal says: a command to click
// on.
type pressed struct {
	line    string
	digest  string
	confirm bool // to be asked first
	asked   bool // it is the yes to that
	reason  bool // which is to be asked for
}

// customID is a button as its custom_id. It is false for one that does not fit.
func customID(b bot.ChatButton) (string, bool) {
	return pressed{line: b.Line, digest: b.Digest, confirm: b.Confirm != "", reason: b.Reason != ""}.encode()
}

// encode writes "b1|digest|flags|line".
func (p pressed) encode() (string, bool) {
	flags := ""
	if p.confirm {
		flags += "c"
	}
	if p.asked {
		flags += "a"
	}
	if p.reason {
		flags += "r"
	}
	id := strings.Join([]string{press, p.digest, flags, p.line}, "|")
	_, ok := decodePress(id)
	return id, ok
}

// decodePress reads what encode wrote. It is false for what is none of ours.
func decodePress(id string) (pressed, bool) {
	words := strings.SplitN(id, "|", 4)
	if len(words) != 4 || words[0] != press || !utf8.ValidString(id) || len(id) > maxCustomID {
		return pressed{}, false
	}
	p := pressed{digest: words[1], line: words[3]}
	for _, flag := range words[2] {
		switch {
		case flag == 'c' && !p.confirm:
			p.confirm = true
		case flag == 'a' && !p.asked:
			p.asked = true
		case flag == 'r' && !p.reason:
			p.reason = true
		default:
			return pressed{}, false
		}
	}
	if len(p.digest) > maxDigest || strings.Trim(p.digest, "0123456789abcdef") != "" || p.line == "" || p.line != oneLine(p.line) {
		return pressed{}, false
	}
	return p, true
}
