package bot_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
	"github.com/berth-dev/berth/bot/command"
)

func line(source, text string, second int) actions.LogLine {
	return actions.LogLine{Time: time.Unix(int64(second), 0), Source: source, Text: text}
}

func TestWhatPodsPrintIsAReply(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	if r := w.Say("logs shop/pr-42 --pods"); !strings.Contains(r.Text, "has printed nothing of that kind") {
		t.Errorf("nothing at all: %s", r.Text)
	}
	w.Executor.Print("db", line("db-0/db", "ready", 1))
	w.Executor.Print("web",
		line("web-1/app", "panic: no\x1b[2J\x1b]0;title\x07 database", 2),
		line("web-1/app", "\tat main.go:1", 3),
		line("web-1/app", "```\n@ops <img src=x> | **bold**\r", 4),
		line("web-2/app", "\xff\u202etxt", 5))
	want := "What runs in `shop/pr-42` printed:\n\n````\n" +
		"db-0/db: ready\nweb-1/app: panic: no database\nweb-1/app:     at main.go:1\nweb-1/app: ``` @ops <img src=x> | **bold**\nweb-2/app: \uFFFDtxt\n````"
	if r := w.Say("logs shop/pr-42 --pods"); r.Text != want {
		t.Errorf("the reply is\n%q, want\n%q", r.Text, want)
	}
	if r := w.SayIn(github("/logs --grep main.go", 42)); !strings.Contains(r.Text, "at main.go:1") || strings.Contains(r.Text, "ready") {
		t.Errorf("on a pull request: %s", r.Text)
	}
	w.Executor.Fail("db", actions.Errorf("x", actions.CodeDownstream, "The cluster [does](https://example.org) not answer @ops."), "logs")
	if r := w.Say("logs shop/pr-42 --pods"); !strings.Contains(r.Text, "That is not all: The cluster \\[does\\]") || strings.Contains(r.Text, "@ops.") {
		t.Errorf("a part that failed is told of so: %s", r.Text)
	}
	w.Executor.Fail("db", nil)
	for n := range 150 {
		w.Executor.Print("web", line("web-1/app", fmt.Sprintf("line %d %s", n, strings.Repeat("x", 30)), 10+n))
	}
	r := w.Say("logs shop/pr-42 --pods")
	if !strings.Contains(r.Text, "the last 60 of 155 lines") || !strings.Contains(r.Text, "line 149 ") || !strings.Contains(r.Text, "line 90 ") || strings.Contains(r.Text, "line 89 ") {
		t.Errorf("many lines are %s", r.Text)
	}
	for said, want := range map[string]string{
		"logs shop/pr-9 --pods":                                      "",
		"logs shop/pr-42 --part nothing":                             `There is no part "nothing"`,
		"logs 01hzy3v7qk6r8m0c5d9x2w4b1e --pods":                     "is an environment's, not a run's",
		"logs shop/pr-42 --part web --pod web-2":                     "txt",
		"logs shop/pr-42 --part web --pod web-2 --tail 1 --since 1m": "has printed nothing of that kind",
	} {
		if r := w.Say(said); !strings.Contains(r.Text, want) || strings.Contains(r.Text, "line 1") {
			t.Errorf("%s: %s", said, r.Text)
		}
	}
}

// late is an observer whose programs print for longer than anyone waits.
type late struct{ says bool }

func (late) Observe(context.Context, actions.Name) (map[string]actions.Observation, error) {
	return nil, nil
}

func (l late) Logs(ctx context.Context, _ actions.Name, _ string, _ actions.LogQuery, out func(actions.LogLine) error) error {
	if _, limited := ctx.Deadline(); !limited {
		return nil
	}
	if l.says {
		if err := out(line("web-1/app", "hello", 1)); err != nil {
			return err
		}
	}
	return actions.Wrap("logs", actions.CodeCancelled, context.DeadlineExceeded, "It was stopped before all was told.")
}

func TestAReplyDoesNotWaitForAllThatIsPrinted(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Do("deploy shop/pr-42")
	reply := func(says bool) (bot.Reply, error) {
		s := bot.New(bot.Options{Catalog: w.Catalog, Store: w.Store, Requests: w.Requests, Observer: late{says}, Parse: command.Parse})
		return s.Execute(t.Context(), bot.Input{Line: "logs shop/pr-42 --pods", Actor: bottest.Ana()})
	}
	if r, err := reply(true); err != nil || !strings.Contains(r.Text, "web-1/app: hello") || !strings.Contains(r.Text, "That is not all: The rest did not come within 20 seconds; narrow it down with `--part`") {
		t.Errorf("%q, %v", r.Text, err)
	}
	if r, err := reply(false); actions.CodeOf(err) != actions.CodeUnavailable || !strings.Contains(actions.Message(err), "Nothing came within 20 seconds") {
		t.Errorf("%q, %v", r.Text, err)
	}
}
