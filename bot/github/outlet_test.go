package github

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

func TestANoticeIsToldOnceWhereItBelongs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	s := w.replicas[0].surface
	issue, err := w.OpenIssue(bothRepo, "ana", "Operations", "")
	w.must(err)
	n := bot.Notice{
		Event: bot.EventExpiring, Severity: bot.SeverityWarning, Env: actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}, Key: "expiring:1",
		Title: "shop/pr-1 expires in <1 hour>, says @eve", Text: "It is cleaned up then; ask @eve.",
		Commands: []bot.Suggestion{{Label: "Extend by 24 hours", Command: "extend shop/pr-1 --ttl 24h"}},
	}
	for range 3 {
		w.must(s.Tell(t.Context(), n))
		w.must(s.TellIn(t.Context(), placeID(bothRepo, issue), n))
	}
	told := func(number int) (found []string) {
		for _, c := range w.Thread(bothRepo, number).Comments {
			if strings.HasPrefix(c.Body, "<!-- berth:reply=t") {
				found = append(found, c.Body)
			}
		}
		return found
	}
	w.until("both are told", func() bool { return len(told(w.pull)) > 0 && len(told(issue)) > 0 })
	w.settled()
	if len(told(w.pull)) != 1 || len(told(issue)) != 1 {
		t.Fatalf("told %d and %d times", len(told(w.pull)), len(told(issue)))
	}
	here, there := told(w.pull)[0], told(issue)[0]
	if !strings.Contains(here, "⚠️ **shop/pr-1 expires") || !strings.Contains(here, "`/extend shop/pr-1 --ttl 24h` – Extend by 24 hours") || !strings.Contains(here, "type here") {
		t.Errorf("on the pull request:\n%s", here)
	}
	if !strings.Contains(there, "/acme/shop/pull/1") || strings.Contains(there, "type here") {
		t.Errorf("on the issue:\n%s", there)
	}
	if strings.Contains(here+there, "@eve") || !strings.Contains(here, `\<1 hour>`) {
		t.Errorf("what others wrote does something:\n%s", here)
	}
	n.Key = "expiring:2"
	w.must(s.Tell(t.Context(), n))
	w.until("another is told", func() bool { return len(told(w.pull)) == 2 })
	for what, err := range map[string]error{
		"about nothing":           s.Tell(t.Context(), bot.Notice{Key: "k"}),
		"about no pull request":   s.Tell(t.Context(), bot.Notice{Key: "k", Env: actions.Name{App: "shop", Env: "demo"}}),
		"in a place that is none": s.TellIn(t.Context(), "ops", n),
		"without a key":           s.TellIn(t.Context(), placeID(bothRepo, issue), bot.Notice{}),
	} {
		if code := actions.CodeOf(err); code != actions.CodeNotFound && code != actions.CodeInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A crash between the comment and the record of it.
func TestANoticeThatWasPostedIsFoundAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true})
	s := w.replicas[0].surface
	n := bot.Notice{Env: actions.Name{App: "shop", Env: actions.PullRequestName(w.pull)}, Key: "k", Title: "Something"}
	w.must(s.Tell(t.Context(), n))
	w.until("it is told", func() bool { return len(w.ours("<!-- berth:reply=t")) == 1 })
	w.settled()
	id := strings.TrimSuffix(strings.TrimPrefix(strings.SplitN(w.ours("<!-- berth:reply=t")[0].Body, "\n", 2)[0], "<!-- berth:reply="), " -->")
	w.must(s.keepPost(t.Context(), id, post{Repo: bothRepo, Number: w.pull, Text: "**Something**", Begun: true, At: s.now().UTC()}))
	w.must(s.Tell(t.Context(), n))
	w.settled()
	if got := len(w.ours("<!-- berth:reply=t")); got != 1 {
		t.Errorf("told %d times", got)
	}
}
