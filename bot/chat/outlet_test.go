package chat

import (
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// onlyNotice is the id of the only notice that is stored.
func onlyNotice(t *testing.T, h *hall) string {
	t.Helper()
	keys := h.rdb.Keys(t.Context(), keyNotice("*")).Val()
	if len(keys) != 1 {
		t.Fatalf("%d notices are stored", len(keys))
	}
	return keys[0][len(keyNotice("")):]
}

func TestANoticeWhosePostWasNotHeardOfIsNotToldTwice(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	n := bot.Notice{Event: bot.EventFailed, Severity: bot.SeverityError, Env: pr7, Key: "failed:1", Title: "shop/pr-7: deploy failed"}
	if err := h.Outlet(bot.PlatformSlack).Tell(t.Context(), "C1", n); err != nil {
		t.Fatal(err)
	}
	id := onlyNotice(t, h)
	h.slack.lost = func(string) error {
		return &actions.Error{Op: "board", Code: actions.CodeUnavailable, Msg: "It went away.", Retry: true}
	}
	if _, err := h.tellNotice(t.Context(), id); actions.CodeOf(err) != actions.CodeUnavailable {
		t.Fatalf("a lost answer: %v", err)
	}
	h.slack.lost = nil
	for _, s := range []*Surface{h.another(t, "b").Surface, h.Surface} {
		if again, err := s.tellNotice(t.Context(), id); again != 0 || err != nil {
			t.Fatalf("afterwards: %s, %v", again, err)
		}
	}
	if n := len(h.slack.messages); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

func TestANoticeThatCannotBeToldNowIsToldLaterOrGivenUp(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		err   error
		later time.Duration // that pass before it is tried again
		told  int
	}{
		"the platform wants a pause":                  {err: &bot.Limited{After: time.Millisecond}, told: 1},
		"the platform does not answer":                {err: &actions.Error{Code: actions.CodeUnavailable, Msg: "It went away.", Retry: true}, told: 1},
		"the platform does not answer for a day":      {err: &actions.Error{Code: actions.CodeUnavailable, Msg: "It went away.", Retry: true}, later: staleNotice + time.Hour},
		"Berth may not write in the channel":          {err: actions.Errorf("board", actions.CodeForbidden, "Berth is not in this channel.")},
		"the channel is gone":                         {err: actions.Errorf("board", actions.CodeNotFound, "There is no such channel.")},
		"the platform will never take such a message": {err: actions.Errorf("board", actions.CodeInvalid, "It has too much in it.")},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := newHall(t)
			now := time.Now()
			h.now = func() time.Time { return now }
			n := bot.Notice{Event: bot.EventFailed, Severity: bot.SeverityError, Env: pr7, Key: "failed:1", Title: "shop/pr-7: deploy failed"}
			if err := h.Outlet(bot.PlatformSlack).Tell(t.Context(), "C1", n); err != nil {
				t.Fatal(err)
			}
			failing := true
			h.slack.fail = func(method string) error {
				if failing && method == "post" {
					return tt.err
				}
				return nil
			}
			id := onlyNotice(t, h)
			_, _ = h.tellNotice(t.Context(), id) // the agenda tries again when it says so, or fails
			now = now.Add(tt.later)
			if tt.later > 0 {
				_, _ = h.tellNotice(t.Context(), id)
			}
			failing = false
			for range 2 {
				if again, err := h.tellNotice(t.Context(), id); again != 0 && tt.told == 0 || err != nil {
					t.Fatalf("afterwards: %s, %v", again, err)
				} else if again > 0 {
					time.Sleep(again)
				}
			}
			if n := len(h.slack.messages); n != tt.told {
				t.Errorf("it was told %d times, want %d", n, tt.told)
			}
		})
	}
}
