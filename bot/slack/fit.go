package slack

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// piece is about how long the pieces are that very long lines are made into, in
// characters, so that the middle of one can be left out like other lines.
const piece = 400

// fencing is what the fences of a block of code take.
const fencing = 2 * (len(fence) + 1)

// cost is how many characters a line takes at most, with its end. It is counted
// without writing the line, since cutting asks for it again and again.
func (l textLine) cost() int {
	n := width(l.lead) + 3 // its end, and what makes or prevents a quotation
	for _, s := range l.spans {
		n += costOf(s.text)
		if l.code > 0 {
			continue
		}
		if s.marked() {
			n += marking
		}
		if s.link != "" {
			n += costOf(s.link) + 3
		}
		if s.time != "" {
			n += len(s.time) + 3
		}
	}
	return n
}

// marking is what the marks around a span take at most: four on each side, and
// what keeps them apart.
const marking = 10

// size is how many characters a text takes at most.
func size(text []textLine) int {
	n := 0
	for i, l := range text {
		n += l.cost()
		if l.code > 0 && (i == 0 || text[i-1].code != l.code) {
			n += fencing
		}
	}
	return n
}

// fit makes a text fit into most characters: its head and its tail stay, and a
// line between them says how much was left out. It tells whether it was.
func fit(text []textLine, most int) ([]textLine, bool) {
	if size(text) <= most {
		return text, false
	}
	text = wrap(text, min(piece, max(most/4, 20)))
	const notice = 60 // characters: the line that says so
	room := most - notice - 2*fencing
	head, tail := 0, len(text)
	for used := 0; head < tail; head++ {
		if used += text[head].cost() + fenceAt(text, head); used > room/2 {
			break
		}
	}
	for used := 0; tail > head; tail-- {
		if used += text[tail-1].cost() + fenceAt(text, tail-1); used > room-room/2 {
			break
		}
	}
	out := slices.Clone(text[:head])
	out = append(out, leftOut(text[head:tail], around(text, head, tail)))
	return append(out, text[tail:]...), true
}

// fenceAt is what fences add at a line where a block of code begins or ends.
func fenceAt(text []textLine, i int) int {
	n := 0
	if text[i].code > 0 && (i == 0 || text[i-1].code != text[i].code) {
		n += fencing
	}
	if text[i].code > 0 && (i == len(text)-1 || text[i+1].code != text[i].code) {
		n += fencing
	}
	return n
}

// around is the block of code that both sides of a cut are in, 0 for none.
func around(text []textLine, head, tail int) int {
	if head > 0 && tail < len(text) && text[head-1].code == text[tail].code {
		return text[head-1].code
	}
	return 0
}

// leftOut says how much is not there: in lines, or in characters where the
// middle of one line is missing.
func leftOut(text []textLine, code int) textLine {
	whole, runes := 0, 0
	for _, l := range text {
		whole += count(!l.more)
		for _, s := range l.spans {
			runes += utf8.RuneCountInString(s.text)
		}
	}
	said := fmt.Sprintf("… %d lines left out …", whole)
	switch whole {
	case 1:
		said = "… 1 line left out …"
	case 0:
		said = fmt.Sprintf("… %d characters left out …", runes)
	}
	return textLine{code: code, spans: []span{{text: said, italic: code == 0}}}
}

// wrap makes pieces of lines that take more than most characters.
func wrap(text []textLine, most int) []textLine {
	var out []textLine
	for _, l := range text {
		if l.cost() <= most {
			out = append(out, l)
			continue
		}
		out = append(out, l.pieces(most)...)
	}
	return out
}

// pieces makes several lines of one. A link that is too long for a line of its
// own is none any more.
func (l textLine) pieces(most int) []textLine {
	room := max(most-width(l.lead)-8, 16) // 8: what marks, quotes and the like add
	made := []textLine{{lead: l.lead, quote: l.quote, code: l.code, more: l.more}}
	used := 0
	newLine := func() {
		made = append(made, textLine{lead: l.lead, quote: l.quote, code: l.code, more: true})
		used = 0
	}
	for _, s := range l.spans {
		fixed := marking
		if s.link != "" {
			if fixed += costOf(s.link) + 3; fixed > room/2 {
				s.link, fixed = "", marking
			}
		}
		s.time = "" // which stands for the whole text, and here is room for a part
		for s.text != "" {
			if used > 0 && used+fixed+8 > room {
				newLine()
			}
			at := fill(s.text, room-used-fixed)
			part := s
			part.text, s.text = s.text[:at], s.text[at:]
			last := &made[len(made)-1]
			last.spans = append(last.spans, part)
			used += fixed + costOf(part.text)
			if s.text != "" {
				newLine()
			}
		}
	}
	return made
}

// costOf is how many characters a text takes at most once it is escaped.
func costOf(s string) int {
	n := 0
	for _, r := range s {
		n += runeCost(r)
	}
	return n
}

// runeCost is how many characters a rune takes at most: "&amp;", or what is put
// beside it to keep it apart.
func runeCost(r rune) int {
	switch {
	case r == '&':
		return 5
	case r == '<', r == '>':
		return 4
	case r == '`', r == ':':
		return 2
	case r > 0xffff:
		return 2
	}
	return 1
}

// fill is how many bytes of s fit into room characters, at least one rune's, and
// up to the end of a word where one is near.
func fill(s string, room int) int {
	n := 0
	for i, r := range s {
		if n += runeCost(r); n > room && i > 0 {
			if space := strings.LastIndexByte(s[:i], ' '); space > i*3/4 {
				return space + 1
			}
			return i
		}
	}
	return len(s)
}

// chunks are the lines of a text in groups that take at most most characters
// each.
func chunks(text []textLine, most int) [][]textLine {
	text = wrap(text, most-fencing)
	var out [][]textLine
	used := 0
	for i, l := range text {
		cost := l.cost()
		if l.code > 0 && (used == 0 || text[i-1].code != l.code) {
			cost += fencing
		}
		if used > 0 && used+cost > most {
			used, cost = 0, l.cost()
			if l.code > 0 {
				cost += fencing
			}
		}
		if used == 0 {
			if l.blank() {
				continue // nothing begins with a free line
			}
			out = append(out, nil)
		}
		used += cost
		out[len(out)-1] = append(out[len(out)-1], l)
	}
	return out
}

// share gives out total to those who want something: all that they want to the
// modest, and as much as each other to the rest.
func share(total int, wants []int) []int {
	given := make([]int, len(wants))
	left := len(wants)
	for left > 0 {
		each, modest := total/left, 0
		for i, want := range wants {
			if given[i] == 0 && want <= each {
				given[i] = max(want, 1)
				total -= want
				modest++
			}
		}
		left -= modest
		if modest == 0 {
			for i := range wants {
				if given[i] == 0 {
					given[i] = max(each, 1)
				}
			}
			return given
		}
	}
	return given
}
