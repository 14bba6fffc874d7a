package slack

import (
	"strings"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/bot"
)

// What would be lost for good stands whole in a message, at the cost of all else
// in it; where that is not enough, its first things stand there with the number
// of the others, and beside them as much of the rest as there would be otherwise.

const (
	// leastBeside is how much a message with everything in it takes beside its loss
	// when all texts are as short as they get, in characters as JSON; and leastTight
	// what its title, the head of its text, a notice and its buttons do.
	leastBeside = 5200
	leastTight  = 3400
	// homeShare is how much of a room that has less than leastBeside the loss takes,
	// in parts of a hundred.
	homeShare = 40
	// besideBlocks is how many blocks are left to the rest.
	besideBlocks = 8
)

// fitLoss finds out how much of the loss is shown.
func (l *layout) fitLoss(in room) {
	loss := l.m.Loss
	if loss.Len() == 0 {
		return
	}
	written := lossText{loss: loss}
	within := func(chars int) func(int) bool {
		return func(most int) bool {
			if most > chars/6 {
				return false // no line takes less
			}
			blocks := lossBlocks(written.lines(most))
			return weight(blocks) <= chars && len(blocks) <= max(in.blocks-besideBlocks, 1)
		}
	}
	for _, room := range []struct {
		chars int
		tight bool
	}{{in.chars - leastBeside, false}, {in.chars - leastTight, true}} {
		if most, whole := loss.Fit(within(room.chars)); whole {
			l.loss, l.tight = written.lines(most), room.tight
			return
		}
	}
	most, _ := loss.Fit(within(max(in.chars-leastBeside, in.chars*homeShare/100) * 2 / 3))
	l.loss, l.lossCut = written.lines(most), true
}

// lossText reads the Markdown of a loss line by line, each once.
type lossText struct {
	loss *bot.ChatLoss
	read map[bot.ChatLossLine]textLine
}

// lines are the title, the first most things, and how many more there are.
func (t *lossText) lines(most int) []textLine {
	if t.read == nil {
		t.read = map[bot.ChatLossLine]textLine{}
	}
	out := []textLine{{spans: []span{{text: oneLine(t.loss.Title), bold: true}}}}
	for _, line := range t.loss.Lines(most) {
		made, known := t.read[line]
		if !known {
			made = textLine{lead: strings.Repeat(step, line.Depth) + []string{"• ", "◦ "}[line.Depth]}
			for _, l := range lines(line.Text) {
				made.spans = append(made.spans, l.spans...)
			}
			t.read[line] = made
		}
		out = append(out, made)
	}
	if more := t.loss.More(most); more != "" {
		out = append(out, textLine{spans: []span{{text: more, bold: true}}})
	}
	return out
}

func (l *layout) lossBlocks() []slackapi.Block { return lossBlocks(l.loss) }

// lossBlocks are a loss as sections, which Slack is told not to fold away.
func lossBlocks(text []textLine) []slackapi.Block {
	m := marksIn(text)
	var blocks []slackapi.Block
	for _, c := range chunks(text, maxSectionText) {
		blocks = append(blocks, section(mrkdwn(c, m)))
	}
	return blocks
}
