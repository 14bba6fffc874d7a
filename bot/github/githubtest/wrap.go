package githubtest

import "strings"

// span is a piece of text in one style.
type span struct {
	text  string
	codes []string
}

// row is one line of spans.
type row []span

func (r row) width() int {
	n := 0
	for _, s := range r {
		n += columns(s.text)
	}
	return n
}

func (r row) draw(color bool) string {
	var b strings.Builder
	for _, s := range r {
		b.WriteString(paint(color, s.text, s.codes...))
	}
	return b.String()
}

// clean drops control characters: a comment must not steer the terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || (r >= 0x7f && r < 0xa0) {
			return -1
		}
		return r
	}, text)
}

// wrapWords breaks spans into lines of at most width columns: at spaces, at
// line breaks, and within a word that is longer than a line.
func wrapWords(spans []span, width int) []row {
	var rows []row
	var line row
	used := 0
	flush := func() {
		for len(line) > 0 && strings.TrimRight(line[len(line)-1].text, " ") == "" {
			line = line[:len(line)-1]
		}
		rows, line, used = append(rows, line), nil, 0
	}
	for _, word := range words(spans) {
		switch {
		case word[0].text == "\n":
			flush()
			continue
		case used == 0 && strings.TrimSpace(word.draw(false)) == "":
			continue
		case used > 0 && used+word.width() > width && strings.TrimSpace(word.draw(false)) != "":
			flush()
		}
		for word.width() > width-used {
			if strings.TrimSpace(word.draw(false)) == "" {
				break
			}
			head, tail := split(word, width-used)
			line = append(line, head...)
			flush()
			word = tail
		}
		line = append(line, word...)
		used += word.width()
	}
	if len(line) > 0 {
		flush()
	}
	return rows
}

// words cuts spans into words, runs of spaces and line breaks. A word may be in
// several styles.
func words(spans []span) []row {
	var out []row
	var word row
	end := func() {
		if word != nil {
			out = append(out, word)
			word = nil
		}
	}
	for _, s := range spans {
		rest := s.text
		for rest != "" {
			i := strings.IndexAny(rest, " \n")
			switch {
			case i < 0:
				word = append(word, span{rest, s.codes})
				rest = ""
			case i > 0:
				word = append(word, span{rest[:i], s.codes})
				rest = rest[i:]
			default:
				end()
				out = append(out, row{{rest[:1], s.codes}})
				rest = rest[1:]
			}
		}
	}
	end()
	return out
}

// split cuts a row after at most width columns, and after one character at
// least, so that it always makes headway.
func split(r row, width int) (head, tail row) {
	used := 0
	for i, s := range r {
		for at, c := range s.text {
			w := columns(string(c))
			if used+w > width && used > 0 {
				head = append(head, span{s.text[:at], s.codes})
				tail = append(tail, span{s.text[at:], s.codes})
				return head, append(tail, r[i+1:]...)
			}
			used += w
		}
		head = append(head, s)
	}
	return head, nil
}

// clip cuts a row to width columns; an ellipsis says that there was more.
func clip(spans []span, width int) row {
	r := row(spans)
	if r.width() <= width {
		return r
	}
	head, _ := split(r, max(1, width-1))
	return append(head, span{"…", []string{dim}})
}
