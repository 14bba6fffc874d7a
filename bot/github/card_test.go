package github

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// testCard is a request for a deploy that waits for two of role:sre and one of
// a team; change makes it what a test needs.
func testCard(change func(*approvals.Request)) card {
	sc := testScene(func(sc *scene) { updating(sc, approvals.StatePending) })
	r := sc.latest
	r.RunID, r.CreatedAt, r.Digest = "", then, "3f5a9c01d2e4b6a8c0d1e2f3a4b5c6d7e8f90112233445566778899aabbccdde"
	r.Outcome = &approvals.Outcome{Effect: approvals.EffectApprove, Reason: "Waits for approvals.", Rules: []approvals.RuleOutcome{
		{
			Rule: "demo-needs-sre", Effect: approvals.EffectApprove, NotRequester: true, ExpiresAt: then.Add(4 * time.Hour), BreakGlass: []string{"role:sre"},
			Groups: []approvals.GroupOutcome{{Count: 2, From: []string{"role:sre", "actor:dan"}, Missing: 2}},
		},
		{
			Rule: "db-by-ops", Effect: approvals.EffectApprove, ExpiresAt: then.Add(72 * time.Hour),
			Groups: []approvals.GroupOutcome{{Count: 1, From: []string{"github-team:acme/ops", "codeowners"}, Missing: 1}},
		},
	}}
	change(r)
	return card{sc: sc, r: r, repo: sc.repo, number: sc.number}
}

func decision(who string, verdict approvals.Verdict, place approvals.Place, reason string) approvals.Decision {
	return approvals.Decision{
		Verdict: verdict, By: approvals.Requester{Actor: who, Identity: "github:" + who}, Place: place, Reason: reason, At: then.Add(10 * time.Minute),
	}
}

var (
	onThePull  = approvals.Place{Surface: "github", ID: "acme/shop#42", Message: "1234"}
	inTerminal = approvals.Place{Surface: "cli"}
)

// agreed makes r one on which ben and cleo agreed, in that state.
func agreed(r *approvals.Request, state approvals.State) {
	r.State = state
	r.Decisions = []approvals.Decision{
		decision("ben", approvals.Approve, onThePull, ""),
		decision("cleo", approvals.Approve, inTerminal, "looked at it with dan"),
	}
	rules := r.Outcome.Rules
	rules[0].Groups[0].By, rules[0].Groups[0].Missing = []string{"ben", "cleo"}, 0
	rules[1].Groups[0].By, rules[1].Groups[0].Missing = []string{"ben"}, 0
	if state != approvals.StatePending {
		r.Outcome.Effect = approvals.EffectRelease
		rules[0].Effect, rules[1].Effect = approvals.EffectRelease, approvals.EffectRelease
	}
}

func oneAgreed(r *approvals.Request) {
	r.Decisions = []approvals.Decision{
		decision("ben", approvals.Approve, onThePull, "fine"),
		decision("ana", approvals.Approve, onThePull, ""),
	}
	r.Outcome.Rules[0].Groups[0].By, r.Outcome.Rules[0].Groups[0].Missing = []string{"ben"}, 1
	for i := range r.Outcome.Rules {
		r.Outcome.Rules[i].Ignored = []approvals.Ignored{{By: "ana", Verdict: approvals.Approve, Why: "asked for it themselves", Identity: "github:ana"}}
	}
}

func TestRenderCard(t *testing.T) {
	cards := map[string]func(*approvals.Request){
		"waiting":    func(*approvals.Request) {},
		"one agreed": oneAgreed,
		"destructive, from a terminal": func(r *approvals.Request) {
			r.Command, r.Order.Verb, r.Order.Reason = "cleanup shop/pr-42", actions.VerbCleanup, "the demo is over"
			r.Place = inTerminal
			r.Plan.Destructive, r.Plan.Parts[0].Destructive = true, true
			r.Plan.Parts[0].Summary = "delete the instance shop-pr-42 and its data"
		},
		"by a push": func(r *approvals.Request) {
			r.Place.Message, r.Order.Reason, r.Order.Commit.Fork = "", "a push to the pull request", true
		},
		"approved": func(r *approvals.Request) { agreed(r, approvals.StateReleased) },
		"done":     func(r *approvals.Request) { agreed(r, approvals.StateSucceeded) },
		"failed": func(r *approvals.Request) {
			agreed(r, approvals.StateFailed)
			r.Reason = "Part web: pod web-1 cannot pull image `shop:v9`.\nEvents:\n  more"
		},
		"denied": func(r *approvals.Request) {
			r.State, r.Outcome.Effect, r.Reason = approvals.StateDenied, approvals.EffectDeny, "Denied by cleo: too late in the day."
			r.Decisions = []approvals.Decision{decision("cleo", approvals.Deny, onThePull, "too late in the day")}
			r.Outcome.Rules[0].Groups[0].Against = []string{"cleo"}
		},
		"expired": func(r *approvals.Request) {
			oneAgreed(r)
			r.State, r.Outcome.Effect, r.Reason = approvals.StateExpired, approvals.EffectExpire, "Nobody else agreed within 4 hours."
		},
		"superseded": func(r *approvals.Request) {
			r.State, r.Reason = approvals.StateSuperseded, "rob asked for a newer deploy of shop/pr-42, request 01jd0000000000000000000008."
		},
		"withdrawn": func(r *approvals.Request) { r.State, r.Reason = approvals.StateCancelled, "Cancelled by ana: a typo." },
		"stopped": func(r *approvals.Request) {
			agreed(r, approvals.StateCancelled)
			r.RunID, r.Reason = "01jd0000000000000000000002", "Cancelled by ana."
		},
		"refused by now": func(r *approvals.Request) {
			r.State, r.Reason = approvals.StateRefused, "The rule `freeze` says: no deploys over the weekend."
			r.Outcome = &approvals.Outcome{Effect: approvals.EffectRefuse, Reason: r.Reason, Rules: []approvals.RuleOutcome{{Rule: "freeze", Effect: approvals.EffectRefuse, Reason: "no deploys over the weekend"}}}
		},
		"needs nobody any more": func(r *approvals.Request) {
			r.State, r.Outcome = approvals.StateReleased, nil
		},
		"planned again": func(r *approvals.Request) {
			r.Changed = []string{"the commit: 1111111 is now 2222222", "web: the image `ghcr.io/acme/shop:1` moved"}
		},
		"escalated": func(r *approvals.Request) {
			oneAgreed(r)
			r.Outcome.Rules[0].Escalated = true
			r.Outcome.Rules[0].Groups[0].From = []string{"role:sre", "role:lead"}
		},
		"glass broken by a decision": func(r *approvals.Request) { broken(r, approvals.StateReleased) },
		"glass broken in vain": func(r *approvals.Request) {
			r.Glass = &approvals.Glass{By: approvals.Requester{Actor: "rob"}, Reason: "I am in a hurry", At: then}
		},
		"not to be seen": func(r *approvals.Request) {
			r.Reason, r.Outcome.Rules = "Whether ben is in the team acme/ops could not be seen: GitHub did not answer; it is tried again.", nil
		},
		"hostile": hostileCard,
		"long": func(r *approvals.Request) {
			r.Plan.Parts[1].Diff = strings.Repeat("+ a line of the difference\n", 9000)
			for range 100 {
				r.Decisions = append(r.Decisions, decision("ben", approvals.Approve, onThePull, strings.Repeat("long ", 400)))
			}
		},
	}
	s := testSurface(t)
	for name, change := range cards {
		t.Run(name, func(t *testing.T) {
			c := testCard(change)
			got := s.renderCard(c)
			if n := utf8.RuneCountInString(got); n > maxBody {
				t.Errorf("%d characters are more than GitHub takes", n)
			}
			if !strings.HasPrefix(got, "<!-- berth:request="+c.r.ID+" -->\n") {
				t.Error("it does not begin with its marker")
			}
			if asked := strings.Contains(got, "/approve "+c.r.ID); asked != (c.r.State == approvals.StatePending) {
				t.Errorf("it says what to type: %v", asked)
			}
			golden(t, "card_"+strings.NewReplacer(" ", "_", ",", "").Replace(name), got)
		})
	}
}

// broken makes r one for which ben broke the glass, in that state.
func broken(r *approvals.Request, state approvals.State) {
	r.State = state
	d := decision("ben", approvals.Approve, onThePull, "the shop is down, nobody else is awake")
	d.BreakGlass = true
	r.Decisions = []approvals.Decision{d}
	r.Glass = &approvals.Glass{By: d.By, Reason: d.Reason, At: d.At, Digest: r.Digest}
	r.Outcome.Effect = approvals.EffectRelease
	for i := range r.Outcome.Rules {
		r.Outcome.Rules[i].Effect, r.Outcome.Rules[i].BrokenBy = approvals.EffectRelease, "ben"
	}
}

// hostileCard fills everything that others write with what they should not reach.
func hostileCard(r *approvals.Request) {
	evil := "@ana </details> <script> | `x` [a](http://evil) #1 ![i](http://evil/i.png)"
	r.Requester.Actor, r.Order.Reason, r.Order.Commit.Message, r.Reason = evil, evil, evil, evil
	r.Place = approvals.Place{Surface: "github", ID: "acme/shop#42", Message: "1)](http://evil"}
	r.Plan.Destructive, r.Plan.Parts[0].Destructive, r.Plan.Parts[0].Summary = true, true, evil
	r.Plan.Parts[1].Diff = "```\n</details>@ana\n````"
	r.Changed = []string{evil}
	r.Glass = &approvals.Glass{By: approvals.Requester{Actor: evil}, Reason: evil, At: then}
	d := decision("eve", approvals.Deny, approvals.Place{Surface: evil}, evil)
	d.By.Actor = evil
	r.Decisions = []approvals.Decision{d}
	r.Outcome.Rules[0].Rule = evil
	r.Outcome.Rules[0].Groups[0].From, r.Outcome.Rules[0].Groups[0].By, r.Outcome.Rules[0].Groups[0].Against = []string{evil, "github-team:" + evil}, []string{evil}, []string{evil}
	for i := range r.Outcome.Rules {
		r.Outcome.Rules[i].Ignored = []approvals.Ignored{{By: evil, Verdict: approvals.Deny, Why: evil, Identity: d.By.Identity}}
	}
}

func TestNotices(t *testing.T) {
	tests := map[string]func(*approvals.Request){
		"broken glass":  func(r *approvals.Request) { broken(r, approvals.StateReleased) },
		"planned again": func(r *approvals.Request) { r.Changed = []string{"the commit: 1111111 is now 2222222"} },
		"escalated": func(r *approvals.Request) {
			r.Outcome.Rules[0].Escalated = true
			r.Outcome.Rules[0].Groups[0].From = []string{"role:sre", "role:lead"}
		},
		"reminded": func(r *approvals.Request) {
			oneAgreed(r)
			r.Outcome.Rules[0].Reminders = 2
		},
	}
	s := testSurface(t)
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			found := s.notices(testCard(change), "https://github.com/acme/shop/pull/42#issuecomment-9")
			if len(found) != 1 {
				t.Fatalf("%d notices: %v", len(found), found)
			}
			golden(t, "notice_"+strings.ReplaceAll(name, " ", "_"), found[0].text+"\n")
		})
	}
	if found := s.notices(testCard(func(*approvals.Request) {}), ""); len(found) != 0 {
		t.Errorf("a request that just waits is told of: %v", found)
	}
}
