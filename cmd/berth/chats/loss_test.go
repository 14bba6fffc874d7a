package chats

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot/chat"
	"github.com/berth-dev/berth/bot/chat/chattest"
)

// TestNobodyAgreesToALossThatTheyCannotSee posts requests that take away more and
// more, with names as long as they get. Either all of them are to be read, or
// none can agree there, and it is said how many there are besides.
func TestNobodyAgreesToALossThatTheyCannotSee(t *testing.T) {
	for platform, start := range platforms {
		for kind, evil := range map[string]string{"long": "a", "hostile": chattest.Hostile} {
			t.Run(platform+" "+kind, func(t *testing.T) {
				s := start(t, false)
				for _, n := range []int{1, 2, 14, 20, 21, 40, 300} {
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						r := chattest.Losing(chattest.LongNames(n, evil))
						_, calls := s.post(t, fmt.Sprint(kind, n), chat.RequestCard(chattest.View(r)))
						seen := textOf(t, calls)
						shown := 0
						for i := range n {
							if strings.Contains(seen, fmt.Sprintf("begin-%d-", i)) && strings.Contains(seen, fmt.Sprintf("-end-%d", i)) {
								shown++
							}
						}
						approve, read := strings.Contains(seen, "approve "+r.ID), strings.Contains(seen, "then decide")
						more := strings.Contains(seen, fmt.Sprintf("… and %d more", n-shown))
						if whole := shown == n; approve != whole || read == whole || more == whole {
							t.Errorf("%d of %d things are shown; approve %v, read %v, how many more %v", shown, n, approve, read, more)
						}
						if kind == "long" && n <= 20 && shown < n {
							t.Errorf("only %d of %d things are shown", shown, n)
						}
						if shown < min(n, 5) {
							t.Errorf("%d things are shown", shown)
						}
						if !strings.Contains(seen, "deny "+r.ID) || !strings.Contains(seen, "cancel "+r.ID) {
							t.Error("it cannot be denied or withdrawn")
						}
						if odd := s.odd(); len(odd) > 0 {
							t.Error(strings.Join(odd, "\n"))
						}
					})
				}
			})
		}
	}
}

// textOf is all that was sent, without what screen readers get besides.
func textOf(t *testing.T, calls []sent) string {
	t.Helper()
	var b strings.Builder
	for _, call := range calls {
		if body, ok := call.Body.(map[string]any); ok {
			delete(body, "text")
		}
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		must(t, enc.Encode(call))
	}
	return b.String()
}
