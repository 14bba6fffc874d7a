package discord

import (
	"strings"

	"github.com/berth-dev/berth/bot"
)

// What would be lost for good stands whole in a message, at the cost of all else
// in it; where that is not enough, its first things stand there with the number
// of the others, and beside them as much of the rest as there would be otherwise.

const (
	// lossBeside is how much a message's loss may take of its characters with
	// everything else there, shortened; and lossAlone where only the title and
	// the head of the text are beside it.
	lossBeside = 3600
	lossAlone  = 5500
	// lossCut is how much of it is shown where it is too long for either.
	lossCut = 2200
)

// shown is what a message shows of its loss.
type shown struct {
	pieces []string // Discord's Markdown, each for a description of its own
	whole  bool     // there is no more of it
	tight  bool     // little else has room
}

// fitLoss finds out how much of a loss is shown.
func fitLoss(m bot.ChatMessage) shown {
	if m.Loss.Len() == 0 {
		return shown{whole: true}
	}
	within := func(room int) func(int) bool {
		return func(most int) bool {
			if most > room/4 {
				return false // no line takes less
			}
			md := m.Loss.Markdown(most)
			return len(md) <= maxMarkdown && size(markdown(md)) <= room
		}
	}
	for _, room := range []struct {
		size  int
		tight bool
	}{{lossBeside, false}, {lossAlone, true}} {
		if most, whole := m.Loss.Fit(within(room.size)); whole {
			return shown{pieces: inPieces(markdown(m.Loss.Markdown(most))), whole: true, tight: room.tight}
		}
	}
	most, _ := m.Loss.Fit(within(lossCut))
	return shown{pieces: inPieces(markdown(m.Loss.Markdown(most)))}
}

// maxPiece is how much of a loss stands in one embed. With the head of a text it
// is still no more than a description may have.
const maxPiece = 3700

// inPieces is a text in as many embeds as it needs, by lines.
func inPieces(s string) (all []string) {
	var piece strings.Builder
	room := maxPiece
	for line := range strings.Lines(s) {
		if room -= size(line); room < 0 && piece.Len() > 0 {
			all = append(all, strings.Trim(piece.String(), "\n"))
			piece.Reset()
			room = maxPiece - size(line)
		}
		piece.WriteString(line)
	}
	return append(all, strings.Trim(piece.String(), "\n"))
}

// size is how many characters it takes.
func (s shown) size() (n int) {
	for _, piece := range s.pieces {
		n += size(piece) + 2
	}
	return n
}

// lossFile is all of a loss as a file, before what the message's own file has.
func lossFile(m bot.ChatMessage) *bot.ChatFile {
	text := m.Loss.Plain()
	if m.File != nil {
		text += "\n" + m.File.Text
	}
	return &bot.ChatFile{Name: m.Loss.File, Text: text}
}
