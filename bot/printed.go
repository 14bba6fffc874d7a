package bot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
)

// Limits of what a reply shows of what pods print. All of it is in the API.
const (
	printedLines  = 60
	printedTail   = 200 // lines of each container, unless the command says
	printedWithin = 20 * time.Second
)

// Logs passes on what an environment's programs print, line by line: what the
// command logs shows of them, without end where q.Follow wants that. The errors
// are those of actions.Runner.Logs.
func (s *Service) Logs(ctx context.Context, env actions.Name, part string, q actions.LogQuery, out func(actions.LogLine) error) error {
	if s.observer == nil {
		return actions.Errorf("bot.logs", actions.CodeUnavailable, "This Berth looks at no environments.")
	}
	return s.observer.Logs(ctx, env, part, q, out)
}

// printed shows the end of what an environment's programs printed.
func (s *Service) printed(ctx context.Context, in Input, c Command) (Reply, error) {
	if c.ID != "" {
		return Reply{}, refusal(actions.CodeInvalid, "What pods print is an environment's, not a run's; write %s.", in.code(VerbLogs, "shop/pr-42", "--pods"))
	}
	_, env, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	if _, err := s.store.Environment(ctx, env); isNotFound(err) {
		return Reply{}, s.noEnvironment(ctx, in, env)
	}
	q := c.Printed.Query(s.now())
	if q.Tail == 0 {
		q.Tail = printedTail
	}
	looking, cancel := context.WithTimeout(ctx, printedWithin)
	defer cancel()
	var lines []string
	total := 0
	err = s.Logs(looking, env, c.Printed.Part, q, func(l actions.LogLine) error {
		total++
		if lines = append(lines, PrintedLine(l)); len(lines) > 2*printedLines {
			lines = append(lines[:0], lines[len(lines)-printedLines:]...)
		}
		return nil
	})
	lines = lines[max(0, len(lines)-printedLines):]
	if ctx.Err() == nil && actions.CodeOf(err) == actions.CodeCancelled { // its time is up
		came := "The rest did not come"
		if total == 0 {
			came = "Nothing came"
		}
		err = actions.Wrap("bot.printed", actions.CodeUnavailable, err, fmt.Sprintf(
			"%s within %d seconds; narrow it down with `--part`, `--pod` or `--since`, or read it in a terminal.", came, int(printedWithin.Seconds())))
	}
	switch {
	case ctx.Err() != nil:
		return Reply{}, ctx.Err()
	case err != nil && total == 0:
		return Reply{}, err
	}
	title := fmt.Sprintf("What runs in %s printed:", Code(env.String(), 100))
	if total == 0 {
		return info("What runs in %s has printed nothing of that kind.", Code(env.String(), 100)), nil
	}
	if total > len(lines) {
		title = fmt.Sprintf("What runs in %s printed, the last %d of %d lines (`berth logs %s --pods` in a terminal shows all, and `-f` what comes):", Code(env.String(), 100), len(lines), total, env)
	}
	text := title + "\n\n" + Block(strings.Join(lines, "\n"), "")
	if err != nil {
		text += "\n\nThat is not all: " + Prose(actions.Message(err), 500)
	}
	return info("%s", text), nil
}

// PrintedLine is a line of a program as people read it, with who printed it.
func PrintedLine(l actions.LogLine) string {
	from := l.Source
	if from == "" {
		from = l.Part
	}
	return flat(from) + ": " + strings.TrimRight(oneLine.Replace(Plain(l.Text)), " ")
}

// oneLine keeps how far a line is set in, which traces of stacks live by.
var oneLine = strings.NewReplacer("\n", " ", "\t", "    ", "\u2028", " ", "\u2029", " ")
