package approvals_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	policies "github.com/berth-dev/berth/approvals/policy"
)

// staff are people whose roles come and go.
type staff struct {
	mu    sync.Mutex
	roles map[string][]string // by identity
}

func (s *staff) Person(_ context.Context, identity string) (approvals.Person, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, name, _ := strings.Cut(identity, ":")
	return approvals.Person{ID: identity, Name: name, Roles: s.roles[identity], Identities: []string{identity}}, nil
}

func (s *staff) set(identity string, roles ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roles[identity] = roles
}

// shelfOfApps has any app.
type shelfOfApps struct{}

func (shelfOfApps) App(name string) (*actions.App, error) { return &actions.App{Name: name}, nil }
func (shelfOfApps) Apps() []*actions.App                  { return nil }

// court is a bench with the real policies and people to decide: ben, cem and dan
// are of the sre.
type court struct {
	*bench
	staff *staff
}

func newCourt(t *testing.T, rdb redis.UniversalClient, o approvals.Options, all ...policies.Rule) *court {
	c := &court{newBench(t, rdb, o), &staff{roles: map[string][]string{}}}
	for _, name := range []string{"ben", "cem", "dan"} {
		c.staff.set("github:"+name, "sre")
	}
	c.govern(o.Now, all...)
	return c
}

// govern puts rules in force.
func (c *court) govern(now func() time.Time, all ...policies.Rule) {
	c.tb.Helper()
	engine, err := policies.New(policies.Options{
		Rules: all, People: c.staff, Apps: shelfOfApps{}, Environments: c.store, Requests: c.Requests, Now: now,
	})
	if err != nil {
		c.tb.Fatal(err)
	}
	c.SetPolicy(engine)
}

func (c *court) yes(id, name string) (*approvals.Request, error) {
	return c.Decide(c.tb.Context(), id, approvals.Decision{
		Verdict: approvals.Approve, By: approvals.Requester{Actor: name, Identity: "github:" + name},
	})
}

func sreAgree(count int) policies.Rule {
	return policies.Rule{Name: "sre-agree", Approve: &policies.Approve{Needs: []policies.Need{{Count: count, From: []string{"role:sre"}}}}}
}

func TestAnApproverWhoLeavesTheGroupBeforeTheReleaseDoesNotCount(t *testing.T) {
	t.Parallel()
	c := newCourt(t, redistest.Client(t), approvals.Options{}, sreAgree(2))
	c.work(approvals.WorkerOptions{Floor: newFloor(t)})
	r := c.untilState(c.submit(shop42, actions.VerbDeploy).ID, approvals.StatePending)
	if _, err := c.yes(r.ID, "ben"); err != nil {
		t.Fatal(err)
	}
	c.staff.set("github:ben")
	r, err := c.yes(r.ID, "cem")
	if err != nil || r.State != approvals.StatePending || len(r.Decisions) != 2 {
		t.Fatalf("after the second yes it is %s with %d decisions, %v", r.State, len(r.Decisions), err)
	}
	rule := r.Outcome.Rules[0]
	if rule.Groups[0].Missing != 1 || len(rule.Ignored) != 1 || rule.Ignored[0].By != "ben" || rule.Ignored[0].Why == "" {
		t.Errorf("the outcome does not tell that ben counts no more: %+v", rule)
	}
	if r, err = c.yes(r.ID, "dan"); err != nil || (r.State != approvals.StateReleased && r.State != approvals.StateRunning) {
		t.Fatalf("after the third yes it is %s, %v", r.State, err)
	}
	c.untilState(r.ID, approvals.StateSucceeded)
}

func TestWhatIsReleasedIsHeldBackWhenItMayNotRunAnyMore(t *testing.T) {
	t.Parallel()
	for name, turn := range map[string]func(*court){
		"since an approver lost the role":    func(c *court) { c.staff.set("github:ben") },
		"since the policy asks for more now": func(c *court) { c.govern(nil, sreAgree(2)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCourt(t, redistest.Client(t), approvals.Options{}, sreAgree(1))
			f, h := newFloor(t), newHeld()
			f.onRun = h.run
			c.work(approvals.WorkerOptions{Floor: f})
			first := c.untilState(c.submit(shop42, actions.VerbRestart).ID, approvals.StatePending)
			if _, err := c.yes(first.ID, "cem"); err != nil {
				t.Fatal(err)
			}
			h.next(t) // the environment is busy now
			second := c.untilState(c.submit(shop42, actions.VerbRestart).ID, approvals.StatePending)
			if _, err := c.yes(second.ID, "ben"); err != nil {
				t.Fatal(err)
			}
			c.until(second.ID, "put aside, since its environment is busy", func(r *approvals.Request) bool {
				waits, err := c.rdb.ZCard(c.tb.Context(), "berth:{queue}:later").Result()
				return err == nil && waits > 0 && r.State == approvals.StateReleased
			})
			turn(c)
			h.finish(t, actions.RunSucceeded)
			c.untilState(first.ID, approvals.StateSucceeded)
			second = c.untilState(second.ID, approvals.StatePending)
			if !strings.Contains(second.Reason, "sre") {
				t.Errorf("it waits and says %q", second.Reason)
			}
			kinds := c.kinds(shop42, second.ID)
			if kinds[len(kinds)-1] != "request.held_back" {
				t.Errorf("the audit says %v", kinds)
			}
			c.yes(second.ID, "dan")
			c.yes(second.ID, "cem")
			h.next(t)
			h.finish(t, actions.RunSucceeded)
			c.untilState(second.ID, approvals.StateSucceeded)
		})
	}
}

func TestReplicasWhoseClocksAreTenMinutesApartAgreeOnWhatHasExpired(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	rule := sreAgree(1)
	rule.Approve.Within = 2 * time.Second
	replica := func(name string, off time.Duration) *court {
		rdb := newClient(t, o)
		clock := actions.NewClock(rdb, func() time.Time { return time.Now().Add(off) }, nil)
		if err := clock.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		c := newCourt(t, rdb, approvals.Options{Now: clock.Now}, rule)
		c.work(approvals.WorkerOptions{Floor: newFloor(t), Replica: name})
		return c
	}
	ahead, behind := replica("ahead", 5*time.Minute), replica("behind", -5*time.Minute)
	began := time.Now()
	for i, c := range []*court{ahead, behind} {
		env := actions.Name{App: "shop", Env: []string{"aa", "bb"}[i]}
		waits := c.submit(env, actions.VerbDeploy)
		if off := time.Since(waits.CreatedAt).Abs(); off > 4*time.Minute {
			t.Errorf("a request was made %s away from now", off)
		}
		c.untilState(waits.ID, approvals.StatePending)
		expired := c.untilState(waits.ID, approvals.StateExpired)
		if waited := expired.EndedAt.Sub(expired.CreatedAt); waited < 2*time.Second || time.Since(began) > patience {
			t.Errorf("it expired after %s", waited)
		}
		if _, err := c.yes(waits.ID, "ben"); actions.CodeOf(err) != actions.CodeConflict || !strings.Contains(actions.Message(err), "expired") {
			t.Errorf("a yes that comes too late is answered with %v", err)
		}
	}
}

func TestAPolicyWhoseConditionFailsReleasesNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	broken := policies.Rule{Name: "by-tier", When: `request.set["tier"] == "gold"`, Refuse: "No."}
	t.Run("when a request is made it is refused", func(t *testing.T) {
		t.Parallel()
		c := newCourt(t, redistest.Client(t), approvals.Options{}, broken)
		c.work(approvals.WorkerOptions{Floor: newFloor(t)})
		r := c.untilState(c.submit(shop42, actions.VerbDeploy).ID, approvals.StateRefused)
		if !strings.Contains(r.Reason, "by-tier") {
			t.Errorf("it says %q", r.Reason)
		}
	})
	t.Run("when a request waits it waits on", func(t *testing.T) {
		t.Parallel()
		c := newCourt(t, redistest.Client(t), approvals.Options{}, sreAgree(1))
		c.work(approvals.WorkerOptions{Floor: newFloor(t)})
		r := c.untilState(c.submit(shop42, actions.VerbDeploy).ID, approvals.StatePending)
		c.govern(nil, broken, sreAgree(1))
		if n, err := c.Reconsider(t.Context()); n != 1 || err != nil {
			t.Fatalf("%d requests are weighed anew, %v", n, err)
		}
		c.until(r.ID, "waiting for another reason", func(r *approvals.Request) bool {
			return r.State == approvals.StatePending && strings.Contains(r.Reason, "by-tier")
		})
		if _, err := c.yes(r.ID, "ben"); actions.CodeOf(err) != actions.CodeInvalid || !strings.Contains(actions.Message(err), "by-tier") {
			t.Errorf("a yes is answered with %v", err)
		}
		c.govern(nil, sreAgree(1))
		if _, err := c.yes(r.ID, "ben"); err != nil {
			t.Fatal(err)
		}
		c.untilState(r.ID, approvals.StateSucceeded)
	})
}

func TestGlassThatIsBrokenInAskingIsAuditedAsJustThat(t *testing.T) {
	t.Parallel()
	rule := sreAgree(2)
	rule.BreakGlass = []string{"role:sre"}
	var log bytes.Buffer
	c := newCourt(t, redistest.Client(t), approvals.Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, rule)
	stop := c.work(approvals.WorkerOptions{Floor: newFloor(t)})
	r := c.submit(shop42, actions.VerbDeploy, func(r *approvals.Request) {
		r.Requester = approvals.Requester{Actor: "ben", Identity: "github:ben"}
		r.Glass = &approvals.Glass{Reason: "the shop is down"}
	})
	c.untilState(r.ID, approvals.StateSucceeded)
	records, err := c.store.Audit(t.Context(), shop42, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, rec := range records {
		told = told || rec.Kind == "request.glass_broken" && rec.Actor == "ben" && rec.Detail["reason"] == "the shop is down" && rec.Detail["to"] == "released"
	}
	if !told {
		t.Errorf("the audit says %+v", records)
	}

	stranger := c.submit(shop43, actions.VerbDeploy, func(r *approvals.Request) {
		r.Requester = approvals.Requester{Actor: "eve", Identity: "github:eve"}
		r.Glass = &approvals.Glass{Reason: "the shop is down"}
	})
	if r := c.untilState(stranger.ID, approvals.StatePending, approvals.StateRefused); r.State == approvals.StateReleased {
		t.Errorf("somebody of no group broke the glass: %+v", r)
	}
	stop()
	if n := strings.Count(log.String(), "the glass is broken"); n != 1 {
		t.Errorf("the log tells of it %d times:\n%s", n, log.String())
	}
}
