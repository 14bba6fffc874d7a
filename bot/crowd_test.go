package bot_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// TestACrowdThatDecidesAtOnceIsAnsweredEach has more people agree at the same
// moment than are needed, some of them twice: each gets an answer, and the
// request runs once, with the approvals of different people.
func TestACrowdThatDecidesAtOnceIsAnsweredEach(t *testing.T) {
	const people, needed = 24, 8
	w := bottest.New(t, redistest.Client(t))
	var all []bottest.Actor
	for i := range people {
		name := fmt.Sprintf("p%02d", i)
		all = append(all, bottest.Actor{Name: name, Roles: []string{"sre"}, Identities: []string{"github:" + name, "slack:" + name}})
	}
	w.Govern(append(all, crew[0]), bottest.Rule{
		Name: "many", When: `request.verb == "cleanup"`,
		Approve: &bottest.Approve{Needs: []bottest.Need{{Count: needed, From: []string{"role:sre"}}}, NotRequester: true, Within: time.Hour},
	})
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	var crowd sync.WaitGroup
	for _, p := range all {
		for _, identity := range p.Identities {
			crowd.Go(func() {
				for range 2 { // a double click
					reply, err := w.Service.Execute(context.Background(), as(identity, "approve "+r.ID))
					if err != nil {
						t.Errorf("%s has no answer: %v", identity, err)
					} else if reply.Tone != bot.ToneInfo && reply.Code != actions.CodeConflict {
						t.Errorf("%s is answered %s: %s", identity, reply.Code, reply.Text)
					}
				}
			})
		}
	}
	crowd.Wait()
	end := w.Await(r.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	if end.State != approvals.StateSucceeded {
		t.Fatalf("it is %s: %s", end.State, end.Reason)
	}
	agreed := map[string]bool{}
	for _, d := range end.Decisions {
		agreed[d.By.Actor] = true
	}
	if len(agreed) < needed {
		t.Errorf("it ran with %d people's approval", len(agreed))
	}
	records, err := w.Store.Audit(context.Background(), r.Order.Env, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	approved, ran := 0, 0
	for _, rec := range records {
		if rec.RequestID == r.ID && rec.Kind == "request.approved" {
			approved++
		}
	}
	runs, err := w.Store.Runs(context.Background(), r.Order.Env, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		if run.RequestID == r.ID {
			ran++
		}
	}
	if approved != len(end.Decisions) || ran != 1 {
		t.Errorf("%d approvals are in the audit, %d on the request, and it ran %d times", approved, len(end.Decisions), ran)
	}
}
