package command

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what a line may hold. They are generous for people and leave a
// hostile line nothing to grow with.
const (
	MaxLine   = 4096 // bytes in a line
	MaxWords  = 128  // words in a line
	MaxSets   = 50   // --set flags in a command
	MaxKey    = 128  // bytes in a --set key
	MaxValue  = 1024 // bytes in a --set value
	MaxRef    = 244  // bytes in a --ref; the longest branch name that GitHub takes
	MaxReason = 500  // characters in a --reason
	MaxWith   = 20   // --with flags in a command

	MaxRevision = 1e9 // that --to takes
)

// word is a piece of a line between spaces.
type word struct {
	text   string
	quoted bool // began with a quote, so it is no flag whatever it looks like
}

// quotes are the characters that open a quoted piece, with those that close
// it. Phones turn straight quotes into curly ones without asking.
var quotes = map[rune]string{'"': `"`, '\'': "'", '“': "”\"", '‘': "’'", '„': "”“\"", '«': "»"}

// split cuts a line into words. A quote opens at the start of a word or after
// a "=", so that the apostrophe in don't is just a letter. Between double
// quotes, \" and \\ stand for " and \.
func split(line string) ([]word, error) {
	if err := vet(line); err != nil {
		return nil, err
	}
	var (
		words   []word
		current strings.Builder
		inWord  bool
		quoted  bool
		opener  rune
		closers string
		before  = ' '
	)
	end := func() {
		if inWord {
			words = append(words, word{text: current.String(), quoted: quoted})
		}
		current.Reset()
		inWord, quoted = false, false
	}
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		switch {
		case closers != "":
			switch {
			case opener == '"' && r == '\\' && i+1 < len(runes) && (runes[i+1] == '"' || runes[i+1] == '\\'):
				i++
				current.WriteRune(runes[i])
			case strings.ContainsRune(closers, r):
				closers = ""
			default:
				current.WriteRune(r)
			}
		case unicode.IsSpace(r):
			end()
		case quotes[r] != "" && (!inWord || before == '='):
			quoted = quoted || !inWord
			inWord, opener, closers = true, r, quotes[r]
		default:
			inWord = true
			current.WriteRune(r)
		}
		before = r
	}
	if closers != "" {
		return nil, invalid("A quote (%c) is opened and never closed; close it, or leave it out.", opener)
	}
	end()
	if len(words) > MaxWords {
		return nil, invalid("A command may have %d words at most; this one has %d. Put text with spaces in quotes.", MaxWords, len(words))
	}
	return words, nil
}

// vet refuses what no keyboard types by accident and what would read
// differently than it is: control characters and those that turn the direction
// of text.
func vet(line string) error {
	if len(line) > MaxLine {
		return invalid("A command may be %d bytes long at most; this one has %d.", MaxLine, len(line))
	}
	if !utf8.ValidString(line) {
		return invalid("The command is not valid UTF-8 text; type it again.")
	}
	for _, r := range line {
		switch {
		case r == '\t' || r == ' ':
		case r == '\n' || r == '\r' || r == '\u2028' || r == '\u2029':
			return invalid("A command is one line; this one has a line break in it.")
		case unicode.IsControl(r):
			return invalid("The command has a control character (U+%04X) in it; type it again instead of pasting it.", r)
		case unicode.Is(unicode.Bidi_Control, r), r == '\u200b', r == '\ufeff', r >= 0xE0000 && r <= 0xE007F:
			return invalid("The command has an invisible character (U+%04X) in it that could hide what it says; type it again instead of pasting it.", r)
		}
	}
	return nil
}
