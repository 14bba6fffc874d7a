package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/berth-dev/berth/plugins/sdk"
)

// How much of what one script prints is passed on: enough for a person, and
// bounded whatever it prints. In between, lines are counted and left out.
const (
	maxLine   = 4 << 10 // bytes of a line
	headLines = 2000
	headBytes = 512 << 10
	tailLines = 200
	// maxAnswer bounds the standard output of a script that answers by it.
	maxAnswer = 1 << 20
)

// mask hides secrets in what scripts print. Unlike a replacer it knows where in
// the raw text it is, so that a line can be cut without leaving a part of one.
type mask struct {
	mu      sync.Mutex
	forms   []string
	longest int
}

func (m *mask) add(secret string) {
	if m == nil || secret == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range sdk.SecretForms(secret) {
		if !slices.Contains(m.forms, f) {
			m.forms, m.longest = append(m.forms, f), max(m.longest, len(f))
		}
	}
}

// room is how many bytes behind a cut have to be known to hide what begins
// before it.
func (m *mask) room() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.longest
}

// text is the first limit bytes of raw without secrets; 0 is all of it.
func (m *mask) text(raw string, limit int) string { return m.hide(raw, limit, false) }

// hide is text for what may be open: broken off, as by the end of the program in
// the middle of a line, so that what it ends in may be the beginning of a secret.
func (m *mask) hide(raw string, limit int, open bool) string {
	m.mu.Lock()
	forms := m.forms
	m.mu.Unlock()
	if limit <= 0 || limit > len(raw) {
		limit = len(raw)
	}
	type span struct{ from, to int }
	var spans []span
	for _, f := range forms {
		for at := 0; ; {
			i := strings.Index(raw[at:], f)
			if i < 0 || at+i >= limit {
				break
			}
			spans = append(spans, span{at + i, at + i + len(f)})
			at += i + 1
		}
		for n := min(len(f)-1, len(raw)); open && n >= sdk.MinSecret; n-- {
			if from := len(raw) - n; from < limit && raw[from:] == f[:n] {
				spans = append(spans, span{from, len(raw)})
				break
			}
		}
	}
	if len(spans) == 0 {
		return raw[:limit]
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	at := 0
	for _, s := range spans {
		if s.from >= at {
			b.WriteString(raw[at:s.from])
			b.WriteString("***")
		}
		at = max(at, s.to)
	}
	if at < limit {
		b.WriteString(raw[at:limit])
	}
	return b.String()
}

// teller passes one script's lines on: the first ones as they come, then, when
// the script has ended, the last ones. Lines in between are not even looked at.
type teller struct {
	say    func(string)
	prefix string
	mask   *mask

	mu      sync.Mutex
	lines   int
	bytes   int
	tail    []rawLine // a ring
	next    int
	skipped int64
	lost    int64   // bytes of the lines that were left out
	last    rawLine // the last line that is not empty
	over    bool
}

// rawLine is a line as it was read, how much of it was left out, and whether the
// output ended before it did.
type rawLine struct {
	text []byte
	cut  int64
	open bool
}

func (l *rawLine) set(to rawLine) {
	l.text, l.cut, l.open = append(l.text[:0], to.text...), to.cut, to.open
}

// shown is a line as people see it.
func (t *teller) shown(l rawLine) string {
	// Once more at the end: without its escape sequences a text may be a secret.
	text := t.mask.hide(printable(t.mask.hide(string(l.text), maxLine, l.open)), 0, l.open)
	if cut := l.cut + int64(max(0, len(l.text)-maxLine)); cut > 0 {
		text += fmt.Sprintf(" … (%s left out)", plural(cut, "byte"))
	}
	return text
}

func (t *teller) line(raw rawLine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(raw.text) > 0 {
		t.last.set(raw)
	}
	switch {
	case t.over: // a straggler is not told beside its place
	case t.lines < headLines && t.bytes < headBytes && t.tail == nil:
		text := t.shown(raw)
		t.lines, t.bytes = t.lines+1, t.bytes+len(text)
		t.say(t.prefix + text)
	case len(t.tail) < tailLines:
		var l rawLine
		l.set(raw)
		t.tail = append(t.tail, l)
	default:
		t.skipped++
		t.lost += int64(len(t.tail[t.next].text)) + t.tail[t.next].cut
		t.tail[t.next].set(raw)
		t.next = (t.next + 1) % tailLines
	}
}

// end tells the last lines and what is missing before them, and is the last line
// of all.
func (t *teller) end() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.skipped > 0 {
		t.say(fmt.Sprintf("%s… %s (%s) left out here", t.prefix, plural(t.skipped, "line"), plural(t.lost, "byte")))
	}
	for i := range t.tail {
		t.say(t.prefix + t.shown(t.tail[(t.next+i)%len(t.tail)]))
	}
	return strings.TrimSpace(t.shown(t.last))
}

// read is a pipe's reader: lines, of which no more than what can be told is kept.
func (t *teller) read(r io.Reader) { eachLine(r, maxLine+t.mask.room(), t.line) }

// eachLine calls line with each line of r: its first keep bytes, which are not to be
// kept, and the number of those that were left out.
func eachLine(r io.Reader, keep int, line func(rawLine)) {
	br := bufio.NewReaderSize(r, 64<<10)
	var text []byte
	var cut int64
	some := false
	for {
		piece, err := br.ReadSlice('\n')
		whole := err == nil
		if whole {
			piece = piece[:len(piece)-1]
		}
		if len(piece) > 0 || whole {
			some = true
		}
		room := min(max(0, keep-len(text)), len(piece))
		text = append(text, piece[:room]...)
		cut += int64(len(piece) - room)
		switch {
		case whole:
			line(rawLine{text: text, cut: cut})
			text, cut, some = text[:0], 0, false
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			if some {
				line(rawLine{text, cut, true})
			}
			return
		}
	}
}

// printable is what a terminal would show of a line: what a carriage return has
// overwritten is gone, and so are control characters and escape sequences.
func printable(s string) string {
	s = strings.TrimRight(s, "\r")
	if i := strings.LastIndexByte(s, '\r'); i >= 0 {
		s = s[i+1:]
	}
	s = strings.ToValidUTF8(s, "�")
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	var b strings.Builder
	escape := 0 // 1 behind ESC, 2 in a sequence
	var last rune
	for _, c := range s {
		switch {
		case c == 0x1b:
			escape = 1
		case escape == 1:
			if escape = 0; c == '[' {
				escape = 2
			}
		case escape == 2:
			if c >= 0x40 && c <= 0x7e {
				escape = 0
			}
		case c == '\t' || !unicode.IsControl(c):
			b.WriteRune(c)
		case c == 0 && last != 0 || b.Len() == 0 && c == 0:
			b.WriteRune('␀') // one for all that follow
		}
		last = c
	}
	return b.String()
}

// answer collects a script's standard output, at most maxAnswer of it.
type answer struct {
	text strings.Builder
	more bool
}

func (a *answer) read(r io.Reader) {
	n, _ := io.Copy(&a.text, io.LimitReader(r, maxAnswer))
	if n == maxAnswer {
		rest, _ := io.Copy(io.Discard, r)
		a.more = rest > 0
	}
}
