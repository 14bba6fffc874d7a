package githubtest

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
)

// RenderThread draws a thread for a terminal that is width columns wide (0 is
// 80): the title, then a box for each comment with its Markdown made readable,
// a line for each event, and the environments of a pull request. Without color
// it writes no escape sequences. It returns w's error.
func RenderThread(w io.Writer, t Thread, width int, color bool) error {
	if width <= 0 {
		width = 80
	}
	d := &drawing{width: max(width, 24), color: color}
	d.title(t)
	if t.Body != "" {
		d.box(t.Author, "opened this", t.Created, t.Body, t.Reactions, "")
	}
	for _, i := range timeline(t) {
		switch {
		case i.Comment != nil:
			c := i.Comment
			edited := ""
			if c.Edits > 0 {
				edited = ", edited"
			}
			d.box(c.Author, "commented", c.Created, c.Body, c.Reactions, edited)
		case i.Event != nil:
			d.event(*i.Event)
		case i.Deployment != nil:
			d.deployed(*i.Deployment)
		}
	}
	d.environments(environments(t))
	_, err := io.WriteString(w, d.out.String())
	return err
}

// The few colours of a drawing, as SGR parameters.
const (
	bold    = "1"
	dim     = "2"
	italic  = "3"
	under   = "4"
	struck  = "9"
	red     = "31"
	green   = "32"
	yellow  = "33"
	blue    = "34"
	magenta = "35"
	cyan    = "36"
)

type drawing struct {
	out   strings.Builder
	width int
	color bool
}

// paint puts text into colours, which do not nest.
func (d *drawing) paint(text string, codes ...string) string { return paint(d.color, text, codes...) }

func paint(on bool, text string, codes ...string) string {
	if !on || text == "" || len(codes) == 0 {
		return text
	}
	return "\x1b[" + strings.Join(codes, ";") + "m" + text + "\x1b[0m"
}

func toneCode(state string) string {
	return map[string]string{"good": green, "bad": red, "busy": yellow, "merged": magenta, "calm": dim}[tone(state)]
}

func (d *drawing) line(text string) { d.out.WriteString(strings.TrimRight(text, " ") + "\n") }

func (d *drawing) title(t Thread) {
	word := stateWord(t.State)
	if t.State == "open" {
		word = "Open"
	}
	for i, line := range wrapWords([]span{{text: t.Title, codes: []string{bold}}, {text: fmt.Sprintf(" #%d", t.Number), codes: []string{dim}}}, d.width) {
		if i == 0 {
			d.line("")
		}
		d.line(line.draw(d.color))
	}
	about := []span{{text: "● " + word, codes: []string{toneCode(t.State), bold}}, {text: " "}, {text: t.Author.Login, codes: []string{bold}}}
	if t.Pull {
		verb := " wants to merge "
		if t.State == "merged" {
			verb = " merged "
		}
		head := t.Head
		if t.HeadRepo != t.Repo {
			owner, _, _ := strings.Cut(t.HeadRepo, "/")
			head = owner + ":" + head
		}
		about = append(about, span{text: verb}, span{text: head, codes: []string{cyan}}, span{text: " into "}, span{text: t.Base, codes: []string{cyan}},
			span{text: " "}, span{text: fmt.Sprintf("+%d", t.Added), codes: []string{green}}, span{text: " "}, span{text: fmt.Sprintf("−%d", t.Removed), codes: []string{red}})
	} else {
		about = append(about, span{text: " opened this issue"})
	}
	for _, line := range wrapWords(about, d.width) {
		d.line(line.draw(d.color))
	}
	d.line("")
}

// box draws one comment. Its frame is blue for a bot.
func (d *drawing) box(author Actor, verb string, at time.Time, body string, reactions []Reaction, edited string) {
	frame := []string{dim}
	if author.Bot {
		frame = []string{blue}
	}
	head := []span{{text: author.Login, codes: []string{bold}}}
	if author.Bot && !strings.HasSuffix(author.Login, "[bot]") {
		head = append(head, span{text: " bot", codes: []string{blue}})
	}
	head = append(head, span{text: " " + verb + " " + at.Format("15:04:05") + edited, codes: []string{dim}})
	label := clip(head, d.width-6)
	rest := strings.Repeat("─", max(0, d.width-5-label.width()))
	d.line(d.paint("╭─ ", frame...) + label.draw(d.color) + " " + d.paint(rest+"╮", frame...))
	side := d.paint("│", frame...)
	for _, line := range renderText(body, d.width-4) {
		gap := strings.Repeat(" ", max(0, d.width-4-line.width()))
		d.line(side + " " + line.draw(d.color) + gap + " " + side)
	}
	foot := ""
	for _, t := range tally(reactions) {
		foot += fmt.Sprintf(" %s %d ", reactionEmoji(t.Content), len(t.Users))
	}
	if foot != "" {
		rest := strings.Repeat("─", max(0, d.width-3-columns(foot)))
		d.line(d.paint("╰─", frame...) + foot + d.paint(rest+"╯", frame...))
		return
	}
	d.line(d.paint("╰"+strings.Repeat("─", d.width-2)+"╯", frame...))
}

func (d *drawing) spans(list []span) {
	for i, line := range wrapWords(list, d.width-4) {
		indent := "  "
		if i > 0 {
			indent = "    "
		}
		d.line(indent + line.draw(d.color))
	}
}

func (d *drawing) event(e Event) {
	switch e.Kind {
	case "committed":
		d.spans([]span{{text: "○ ", codes: []string{dim}}, {text: short(e.SHA), codes: []string{yellow}}, {text: " " + e.Message}, {text: " " + e.Actor.Login, codes: []string{dim}}})
	default:
		state := map[string]string{"closed": "closed", "merged": "merged", "reopened": "open"}[e.Kind]
		d.spans([]span{{text: "● ", codes: []string{toneCode(state)}}, {text: e.Actor.Login, codes: []string{bold}}, {text: " " + e.Kind + " this"}, {text: " " + e.At.Format("15:04:05"), codes: []string{dim}}})
	}
}

func (d *drawing) deployed(x Deployment) {
	d.spans([]span{
		{text: "▲ ", codes: []string{toneCode(x.State())}}, {text: x.Creator.Login, codes: []string{bold}}, {text: " deploys "},
		{text: short(x.SHA), codes: []string{yellow}}, {text: " to "}, {text: x.Environment, codes: []string{bold}},
		{text: " "}, {text: stateWord(x.State()), codes: []string{toneCode(x.State())}},
	})
}

// environments draws what is deployed where, below the conversation.
func (d *drawing) environments(all []Deployment) {
	if len(all) == 0 {
		return
	}
	d.line("")
	d.line(d.paint("Environments", bold))
	for _, x := range all {
		row := []span{
			{text: "● ", codes: []string{toneCode(x.State())}}, {text: x.Environment, codes: []string{bold}}, {text: " "},
			{text: stateWord(x.State()), codes: []string{toneCode(x.State())}}, {text: " "}, {text: short(x.SHA), codes: []string{yellow}},
		}
		if x.URL() != "" && x.State() == "success" {
			row = append(row, span{text: " "}, span{text: x.URL(), codes: []string{cyan, under}})
		}
		d.spans(row)
	}
}

// columns is how wide text is on a terminal. What has no width of its own,
// such as a variation selector, makes the emoji before it two columns wide.
func columns(text string) int { return runewidth.StringWidth(text) }
