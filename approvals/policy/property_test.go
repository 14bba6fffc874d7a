package policy

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// The property test draws worlds, rules and decisions, and compares what an
// Engine says with what the rules mean, found in a simpler and slower way.

var (
	allPeople = []string{"ana", "bo", "cy", "dan", "eve", "lee", "zoe", "zed"}
	allGroups = []string{"role:sre", "role:db", "role:lead", "actor:ana", "actor:dan", "github-team:acme/ops", "codeowners"}
)

func drawWorld(t *rapid.T) *world {
	w := newWorld()
	for _, group := range []string{"github-team:acme/ops", "codeowners"} {
		w.teams[group] = rapid.SliceOfNDistinct(rapid.SampledFrom(allPeople), 0, 3, rapid.ID[string]).Draw(t, group)
		w.blind[group] = rapid.IntRange(0, 9).Draw(t, "blind "+group) == 0
	}
	w.now = start.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "hours")) * time.Hour)
	return w
}

func drawApprove(t *rapid.T) *Approve {
	a := &Approve{
		NotRequester: rapid.Bool().Draw(t, "not requester"),
		Majority:     rapid.Bool().Draw(t, "majority"),
		Within:       time.Duration(rapid.IntRange(1, 8).Draw(t, "within")) * time.Hour,
		Remind:       time.Duration(rapid.IntRange(0, 2).Draw(t, "remind")) * time.Hour,
	}
	for range rapid.IntRange(1, 3).Draw(t, "needs") {
		a.Needs = append(a.Needs, need(rapid.IntRange(1, 2).Draw(t, "count"), rapid.SliceOfNDistinct(rapid.SampledFrom(allGroups), 1, 3, rapid.ID[string]).Draw(t, "from")...))
	}
	if rapid.Bool().Draw(t, "escalates") {
		a.Escalate = &Escalate{After: time.Duration(rapid.IntRange(0, 8).Draw(t, "after")) * time.Hour, To: []string{rapid.SampledFrom(allGroups).Draw(t, "to")}}
	}
	return a
}

func drawDecision(t *rapid.T) approvals.Decision {
	name := rapid.SampledFrom(allPeople).Draw(t, "by")
	account := rapid.SampledFrom([]string{"github:", "token:"}).Draw(t, "account")
	return approvals.Decision{
		Verdict: rapid.SampledFrom([]approvals.Verdict{approvals.Approve, approvals.Approve, approvals.Deny}).Draw(t, "verdict"),
		By:      approvals.Requester{Actor: name, Identity: account + name}, Digest: rapid.SampledFrom([]string{"d", "d", "d", "older"}).Draw(t, "digest"),
		At: start.Add(time.Duration(rapid.IntRange(0, 16).Draw(t, "at")) * 30 * time.Minute),
	}
}

func drawRequest(t *rapid.T) *approvals.Request {
	r := request()
	r.Requester = from(rapid.SampledFrom(allPeople).Draw(t, "requester"))
	for range rapid.IntRange(0, 6).Draw(t, "decisions") {
		r.Decisions = append(r.Decisions, drawDecision(t))
	}
	return r
}

// counted is who agreed or denied in the end and counts for a, by id, with the
// needs that each may fill: the meaning of a rule, one sentence after the other.
func (w *world) counted(a *Approve, r *approvals.Request) (agreed, denied map[string][]int) {
	escalated := a.Escalate != nil && !w.now.Before(start.Add(a.Escalate.After))
	belongs := func(p approvals.Person, groups []string) bool {
		return slices.ContainsFunc(groups, func(g string) bool {
			return g == p.ID || slices.ContainsFunc(p.Roles, func(role string) bool { return g == "role:"+role }) || !w.blind[g] && slices.Contains(w.teams[g], p.Name)
		})
	}
	last := map[string]approvals.Decision{}
	for _, d := range r.Decisions {
		p, _ := w.Person(context.Background(), d.By.Identity)
		if d.Digest != r.Digest || d.At.After(start.Add(a.Within)) {
			continue
		}
		if was, ok := last[p.ID]; !ok || d.At.After(was.At) || d.At.Equal(was.At) && d.Verdict == approvals.Deny {
			last[p.ID] = d
		}
	}
	asked, _ := w.Person(context.Background(), r.Requester.Identity)
	agreed, denied = map[string][]int{}, map[string][]int{}
	for id, d := range last {
		p, _ := w.Person(context.Background(), d.By.Identity)
		if a.NotRequester && id == asked.ID {
			continue
		}
		var fills []int
		for i, n := range a.Needs {
			if belongs(p, n.From) || escalated && belongs(p, a.Escalate.To) {
				fills = append(fills, i)
			}
		}
		if len(fills) == 0 {
			continue
		}
		if d.Verdict == approvals.Approve {
			agreed[id] = fills
		} else {
			denied[id] = fills
		}
	}
	return agreed, denied
}

// fillable tries every way to give people to needs.
func fillable(left []int, people [][]int) bool {
	if !slices.ContainsFunc(left, func(n int) bool { return n > 0 }) {
		return true
	}
	if len(people) == 0 {
		return false
	}
	for _, n := range people[0] {
		if left[n] > 0 {
			left[n]--
			ok := fillable(left, people[1:])
			left[n]++
			if ok {
				return true
			}
		}
	}
	return fillable(left, people[1:])
}

func evaluate(t *rapid.T, e *Engine, r *approvals.Request) approvals.Outcome {
	out, err := e.Evaluate(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, a, r := drawWorld(rt), drawApprove(rt), drawRequest(rt)
		rule := Rule{Name: "ask", Approve: a}
		e := w.engine(t, rule)
		got := evaluate(rt, e, r)

		// What it says is what the rule means; nothing is released below quorum.
		agreed, denied := w.counted(a, r)
		var left []int
		quorum := 0
		for _, n := range a.Needs {
			left, quorum = append(left, n.Count), quorum+n.Count
		}
		var people [][]int
		for _, fills := range agreed {
			people = append(people, fills)
		}
		full := fillable(left, people)
		vetoed := !a.Majority && len(denied) > 0 || a.Majority && len(denied) >= quorum && len(denied) > len(agreed)
		anyBlind := w.blind["github-team:acme/ops"] || w.blind["codeowners"]
		switch {
		case got.Effect == approvals.EffectRelease && (!full || vetoed || len(agreed) < quorum || a.Majority && len(agreed) <= len(denied)):
			rt.Fatalf("released by %v against %v, of %d that are needed", agreed, denied, quorum)
		case (got.Effect == approvals.EffectDeny) != vetoed:
			rt.Fatalf("%s, though those who deny are %v and those who agree %v", got.Effect, denied, agreed)
		case got.Effect == approvals.EffectExpire && w.now.Before(start.Add(a.Within)):
			rt.Fatal("expired before its time")
		case !anyBlind && full && !vetoed && (!a.Majority || len(agreed) > len(denied)) && got.Effect != approvals.EffectRelease:
			rt.Fatalf("%s, though %v agree and %v deny", got.Effect, agreed, denied)
		case !anyBlind && got.Effect == approvals.EffectApprove && !w.now.Before(start.Add(a.Within)):
			rt.Fatal("waits after its time")
		case got.Effect == approvals.EffectApprove && !got.Again.After(w.now):
			rt.Fatalf("it is to be looked at again at %v, and it is %v", got.Again, w.now)
		}

		// Everybody who decided counts, or is told why not.
		if group := got.Rules[0].Groups; len(group) != len(a.Needs) {
			rt.Fatalf("%d groups of %d", len(group), len(a.Needs))
		}

		// The order in which decisions are listed does not matter.
		shuffled := *r
		shuffled.Decisions = rapid.Permutation(r.Decisions).Draw(rt, "order")
		if other := evaluate(rt, e, &shuffled); other.Effect != got.Effect || other.Reason != got.Reason {
			rt.Fatalf("in another order: %s %q, not %s %q", other.Effect, other.Reason, got.Effect, got.Reason)
		}

		// Time alone takes no release back, and gives none but by escalation.
		later := *w
		later.now = w.now.Add(time.Duration(rapid.IntRange(1, 200).Draw(rt, "later")) * time.Hour)
		after := evaluate(rt, later.engine(t, rule), r)
		if got.Effect == approvals.EffectRelease && after.Effect != approvals.EffectRelease && !slices.ContainsFunc(r.Decisions, func(d approvals.Decision) bool { return d.Verdict == approvals.Deny }) {
			rt.Fatalf("released, and %s after %v: %s", after.Effect, later.now.Sub(w.now), after.Reason)
		}
		if got.Effect != approvals.EffectRelease && after.Effect == approvals.EffectRelease && a.Escalate == nil {
			rt.Fatalf("%s, and released by waiting", got.Effect)
		}

		// A denial more never releases.
		more := *r
		d := drawDecision(rt)
		d.Verdict, d.At = approvals.Deny, start.Add(100*time.Hour)
		if rapid.Bool().Draw(rt, "in time") {
			d.At = start.Add(a.Within)
		}
		more.Decisions = append(slices.Clone(r.Decisions), d)
		if with := evaluate(rt, e, &more); got.Effect != approvals.EffectRelease && with.Effect == approvals.EffectRelease {
			rt.Fatalf("a denial by %s makes a release of %s", d.By.Identity, got.Effect)
		}

		// Another rule never makes it less strict.
		other := Rule{Name: "other", Approve: drawApprove(rt)}
		if rapid.Bool().Draw(rt, "refuses") {
			other = Rule{Name: "other", Refuse: "No."}
		}
		both := evaluate(rt, w.engine(t, rule, other), r)
		if strict(both.Effect) < strict(got.Effect) {
			rt.Fatalf("%s, and with one rule more %s", got.Effect, both.Effect)
		}
		if other.Refuse != "" && both.Effect != approvals.EffectRefuse {
			rt.Fatalf("a refusal became %s", both.Effect)
		}
	})
}

func strict(e approvals.Effect) int {
	return slices.Index([]approvals.Effect{approvals.EffectRelease, approvals.EffectApprove, approvals.EffectExpire, approvals.EffectDeny, approvals.EffectRefuse}, e)
}

// TestQuotaOfAtOnce holds that however many requests come at once, no more of
// them are let through than there are places.
func TestQuotaOfAtOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		most := rapid.IntRange(0, 4).Draw(rt, "most")
		e := w.engine(t, Rule{Name: "few", Quota: &Quota{Per: PerApp, Most: most}})
		for i := range rapid.IntRange(0, 8).Draw(rt, "requests") {
			r := request()
			r.ID = r.ID[:25] + string(rune('a'+i))
			r.Order.Verb = actions.VerbDeploy
			r.Order.Env.Env = rapid.SampledFrom([]string{"pr-1", "pr-2", "pr-3", "pr-4", "pr-5", "pr-6"}).Draw(rt, "env")
			w.requests = append(w.requests, r)
		}
		made := map[actions.Name]bool{}
		for _, i := range rapid.Permutation(indices(len(w.requests))).Draw(rt, "order") {
			if evaluate(rt, e, w.requests[i]).Effect == approvals.EffectRelease {
				made[w.requests[i].Order.Env] = true
			} else {
				w.requests[i].State = approvals.StateRefused
			}
		}
		if len(made) > most {
			rt.Fatalf("%d environments where %d are allowed", len(made), most)
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
