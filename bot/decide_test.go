package bot_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// crew are the people of these tests.
var crew = []bottest.Actor{
	{Name: "ana", Roles: []string{"sre"}, Identities: []string{"github:ana", "slack:U1"}},
	{Name: "ben", Roles: []string{"sre"}, Identities: []string{"github:ben", "slack:U2"}},
	{Name: "dan", Roles: []string{"sre"}, Identities: []string{"github:dan"}},
	{Name: "cid", Roles: []string{"deployer"}, Identities: []string{"github:cid"}},
	{Name: "lea", Roles: []string{"lead"}, Identities: []string{"github:lea"}},
}

// cleanupNeedsTwo is the rule of these tests.
var cleanupNeedsTwo = bottest.Rule{
	Name: "cleanup-needs-two", When: `request.verb == "cleanup"`, BreakGlass: []string{"role:lead"},
	Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 2, From: []string{"role:sre"}}}, NotRequester: true, Within: 4 * time.Hour},
}

// as is a line that somebody types in a terminal.
func as(identity, line string) bot.Input {
	return bot.Input{Line: line, Actor: bot.Actor{Identity: identity}, Place: approvals.Place{Surface: "cli", Address: "192.0.2.7"}, Private: true}
}

// cleanup has ana ask for a cleanup that waits.
func cleanup(w *bottest.World) *approvals.Request {
	reply := w.SayIn(as("github:ana", "cleanup shop/pr-42"))
	return w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
}

func TestWhoDecidesIsToldWhatItDid(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	golden(t, "explain_waiting", w.Say("explain "+r.ID).Text)
	for _, c := range []struct {
		name, identity, line string
		code                 actions.Code
		says                 string
	}{
		{"an unknown id", "github:ben", "approve 01jd3m6tq8c5x0v9b7n2k4h1wz", actions.CodeNotFound, "There is no request or run"},
		{"the requester", "github:ana", "approve " + r.ID, actions.CodeForbidden, "asked for it themselves"},
		{"the requester from another account", "slack:U1", "approve " + r.ID, actions.CodeForbidden, "asked for it themselves"},
		{"somebody of no group", "github:cid", "approve " + r.ID, actions.CodeForbidden, "role:sre"},
		{"somebody of no group who says no", "github:cid", "deny " + r.ID, actions.CodeForbidden, "role:sre"},
		{"somebody without a role", "github:eve", "approve " + r.ID, actions.CodeForbidden, "has no role here"},
		{"breaking a glass that is not theirs", "github:ben", "approve " + r.ID + " --break-glass --reason x", actions.CodeForbidden, "cannot break the glass"},
		{"nothing that waits there", "github:ben", "approve shop/pr-7", actions.CodeNotFound, "Nothing waits for approval at `shop/pr-7`"},
		{"the first approval", "github:ben", "approve shop/pr-42", "", "It waits for 1 more of `role:sre` (approved so far: ben)"},
		{"the same person again", "slack:U2", "approve " + r.ID, "", "It takes the place of what `github:ben` said"},
		{"the second approval", "github:dan", "approve " + r.ID + " --reason sure", "", "Nothing more is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			reply := w.SayIn(as(c.identity, c.line))
			if reply.Code != c.code || !strings.Contains(bot.Unescape(reply.Text), c.says) {
				t.Errorf("want %q and %q, got %q: %s", c.code, c.says, reply.Code, reply.Text)
			}
		})
	}
	end := w.Await(r.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	if end.State != approvals.StateSucceeded || len(end.Decisions) != 3 {
		t.Errorf("it ended as %s with %+v", end.State, end.Decisions)
	}
	for _, account := range []string{"github:ben", "github:dan"} {
		if reply := w.SayIn(as(account, "approve "+r.ID)); reply.Tone != bot.ToneInfo || !strings.Contains(reply.Text, "approval of `cleanup shop/pr-42` (request `"+r.ID+"`) was counted already; it is succeeded") {
			t.Errorf("the second click of %s: %s %s", account, reply.Code, reply.Text)
		}
	}
	for account, line := range map[string]string{"github:lea": "approve ", "github:ben": "deny "} {
		if reply := w.SayIn(as(account, line+r.ID)); reply.Code != actions.CodeConflict || !strings.Contains(reply.Text, "ended already") {
			t.Errorf("%s by %s once it has ended: %s %s", line, account, reply.Code, reply.Text)
		}
	}
	if reply := w.SayIn(as("github:ben", "deny shop/pr-42 too late")); reply.Code != actions.CodeConflict || !strings.Contains(reply.Text, "is succeeded") {
		t.Errorf("the environment's, once it has ended: %s %s", reply.Code, reply.Text)
	}
	golden(t, "explain_approved", w.Say("explain "+r.ID).Text)
}

func TestADenialEndsIt(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	w.SayIn(as("github:ben", "approve "+r.ID))
	reply := w.SayIn(as("github:dan", "deny shop/pr-42 not before the demo"))
	if reply.Tone != bot.ToneInfo || reply.Request.State != approvals.StateDenied {
		t.Fatalf("%s: %s", reply.Tone, reply.Text)
	}
	golden(t, "deny", reply.Text)
	golden(t, "explain_denied", w.Say("explain "+r.ID).Text)
}

func TestBrokenGlassIsToldLoudly(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	reply := w.SayIn(as("github:lea", `approve `+r.ID+` --break-glass --reason "it eats the cluster"`))
	if reply.Tone != bot.ToneInfo || !strings.Contains(reply.Text, "lea broke the glass") {
		t.Fatalf("%s: %s", reply.Tone, reply.Text)
	}
	if end := w.Await(r.ID, func(r *approvals.Request) bool { return r.State.Ended() }); end.State != approvals.StateSucceeded || end.Glass == nil {
		t.Errorf("it ended as %s", end.State)
	}
	golden(t, "explain_glass", w.Say("explain "+r.ID).Text)
	w.Do("deploy shop/pr-42")
	reply = w.SayIn(as("github:lea", `cleanup shop/pr-42 --break-glass --reason "again"`))
	if reply.Tone != bot.ToneAccepted || !strings.Contains(reply.Text, "The glass is broken") {
		t.Fatalf("%s: %s", reply.Tone, reply.Text)
	}
	if end := w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() }); end.State != approvals.StateSucceeded {
		t.Errorf("asked for with a broken glass it is %s: %s", end.State, end.Reason)
	}
}

func TestADecisionOnWhatIsStillPlanned(t *testing.T) {
	w := bottest.New(t, redistest.Client(t)) // without a worker
	w.People.Reload(crew, nil)
	r := w.SayIn(as("github:ana", "deploy shop/pr-42")).Request
	for _, line := range []string{"approve " + r.ID, "approve shop/pr-42"} {
		if reply := w.SayIn(as("github:ben", line)); reply.Code != actions.CodeConflict || !strings.Contains(reply.Text, "being planned") || strings.Contains(reply.Text, "how that came") {
			t.Errorf("%s: %s %s", line, reply.Code, reply.Text)
		}
	}
}

func TestADecisionByEnvironmentThatArrivesAgainIsAboutTheSame(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	w.Do("deploy shop/pr-42")
	first := cleanup(w)
	in := as("github:ben", "deny shop/pr-42 no")
	in.Key = "comment:1"
	if reply := w.SayIn(in); reply.Request == nil || reply.Request.ID != first.ID {
		t.Fatal(reply.Text)
	}
	second := cleanup(w)
	if reply := w.SayIn(in); reply.Request == nil || reply.Request.ID != first.ID || !strings.Contains(reply.Text, "said already") {
		t.Errorf("the second arrival: %s", reply.Text)
	}
	if r, err := w.Requests.Get(context.Background(), second.ID); err != nil || r.State != approvals.StatePending {
		t.Errorf("the newer request is %v, %v", r, err)
	}
}

func TestOfSeveralThatWaitNoneIsGuessed(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	both := cleanupNeedsTwo
	both.When = `request.verb in ["archive", "extend"]`
	w.Govern(crew, both)
	w.Do("deploy shop/pr-42")
	ids := map[string]bool{}
	for _, line := range []string{"archive shop/pr-42", "extend shop/pr-42"} {
		reply := w.SayIn(as("github:ana", line))
		ids[reply.Request.ID] = true
		w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
	}
	reply := w.SayIn(as("github:ben", "approve shop/pr-42"))
	if reply.Code != actions.CodeConflict || !strings.Contains(reply.Text, "2 requests wait") {
		t.Fatalf("%s: %s", reply.Code, reply.Text)
	}
	for id := range ids {
		if !strings.Contains(reply.Text, "`berth approve "+id+"`") {
			t.Errorf("%s is not offered in %s", id, reply.Text)
		}
	}
}

func TestRefusalsAreInTheAudit(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	w.SayIn(as("github:eve", "deploy shop/pr-42 --set image.tag=secret"))
	w.SayIn(as("github:cid", "approve "+r.ID))
	records, err := w.Store.Audit(context.Background(), r.Order.Env, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, rec := range records {
		if rec.Identity == "github:eve" || rec.Identity == "github:cid" {
			kinds = append(kinds, rec.Kind)
			for _, text := range rec.Detail {
				if strings.Contains(text, "secret") {
					t.Errorf("the audit tells a value of --set: %+v", rec)
				}
			}
		}
	}
	if strings.Join(kinds, " ") != "command.refused request.decision_refused" {
		t.Errorf("the audit has %q", kinds)
	}
	if err := w.Store.VerifyAudit(context.Background(), r.Order.Env); err != nil {
		t.Error(err)
	}
}

func TestRetry(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Work()
	w.Executor.Fail("web", actions.Errorf("memory.run", actions.CodeDownstream, "No."))
	failed := w.Do("deploy shop/pr-42 --set image.tag=v1")
	w.Executor.Fail("web", nil)
	reply := w.Say("retry " + failed.ID)
	if reply.Tone != bot.ToneAccepted || reply.Request.ID == failed.ID {
		t.Fatalf("%s: %s", reply.Tone, reply.Text)
	}
	if again := w.Say("retry " + failed.ID); again.Request == nil || again.Request.ID != reply.Request.ID {
		t.Errorf("twice: %s", again.Text)
	}
	end := w.Await(reply.Request.ID, func(r *approvals.Request) bool { return r.State.Ended() })
	if end.State != approvals.StateSucceeded || end.Order.Set["image.tag"] != "v1" {
		t.Errorf("it ended as %s with %v", end.State, end.Order.Set)
	}
	if again := w.Say("retry " + failed.ID); again.Tone != bot.ToneInfo || again.Request.ID != end.ID || !strings.Contains(again.Text, "retried already") {
		t.Errorf("once it has ended: %s", again.Text)
	}
	if reply := w.Say("retry " + end.ID); reply.Code != actions.CodeConflict || !strings.Contains(reply.Text, "only a failed one") {
		t.Errorf("of one that succeeded: %s %s", reply.Code, reply.Text)
	}
}

func TestSimulation(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo, bottest.Rule{Name: "freeze", When: `environment.name == "pr-13"`, Refuse: "Nothing runs on 13."})
	w.Do("deploy shop/pr-42")
	in := bot.Input{Actor: bot.Actor{Identity: "github:ana"}, Place: approvals.Place{Surface: "cli"}}
	for name, c := range map[string]struct {
		line, as string
		effect   approvals.Effect
		code     actions.Code
		says     string
	}{
		"what no rule is about":              {"deploy shop/pr-42", "", approvals.EffectRelease, "", "No rule is about it"},
		"what waits":                         {"cleanup shop/pr-42", "ben", approvals.EffectApprove, "", "by ben would wait for approval. It waits for 2 of `role:sre`."},
		"what is refused":                    {"deploy shop/pr-13", "github:cid", approvals.EffectRefuse, "", "Nothing runs on 13"},
		"with a glass that they have":        {"cleanup shop/pr-42 --break-glass --reason fire", "lea", approvals.EffectRelease, "", "was set aside by lea"},
		"as nobody":                          {"deploy shop/pr-42", "zoe", "", actions.CodeNotFound, "names nobody"},
		"as somebody whom GitHub may let in": {"deploy shop/pr-42", "github:zoe", approvals.EffectRelease, "", "what GitHub lets them do was not looked up"},
		"as a stranger":                      {"deploy shop/pr-42", "oidc:eve", "", actions.CodeForbidden, "can give them one"},
		"what is no action":                  {"status shop/pr-42", "", "", actions.CodeInvalid, "is no action"},
		"a slip":                             {"deplpy shop/pr-42", "", "", actions.CodeInvalid, "Did you mean"},
		"what cannot be":                     {"restore shop/pr-42", "", "", actions.CodeConflict, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := in
			in.Line = c.line
			sim, err := w.Service.Simulate(context.Background(), in, c.as)
			if err != nil {
				if actions.CodeOf(err) != c.code || !strings.Contains(actions.Message(err), c.says) {
					t.Errorf("want %q and %q, got %v", c.code, c.says, err)
				}
				return
			}
			if c.code != "" || sim.Outcome.Effect != c.effect || !strings.Contains(sim.Text, c.says) {
				t.Errorf("want %q and %q, got %s: %s", c.effect, c.says, sim.Outcome.Effect, sim.Text)
			}
		})
	}
	t.Run("by somebody who may only look", func(t *testing.T) {
		in := bot.Input{Line: "deploy shop/pr-42 --ref other", Actor: bot.Actor{Name: "vic", Identity: "token:vic", Roles: []string{bot.RoleViewer}}}
		if sim, err := w.Service.Simulate(context.Background(), in, "ana"); actions.CodeOf(err) != actions.CodeForbidden {
			t.Errorf("it is planned: %v, %v", sim, err)
		}
	})
	if all, err := w.Requests.Active(context.Background(), ""); err != nil || len(all) > 0 {
		t.Errorf("simulating left %v, %v", all, err)
	}
}

func TestLinkingInCommands(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	public := github("/link github:ben-private", 42)
	public.Actor = bot.Actor{Identity: "github:ben", Name: "ben"}
	if reply := w.SayIn(public); reply.Code != actions.CodeForbidden || !strings.Contains(reply.Text, "`berth link github:ben`") {
		t.Errorf("a code in public: %s %s", reply.Code, reply.Text)
	}
	given := w.SayIn(as("github:ben", "link github:ben-private")).Text
	_, after, found := strings.Cut(given, "/link ")
	if !found {
		t.Fatalf("no code is given: %s", given)
	}
	for _, own := range []string{"github:ben", "GitHub:Ben", "slack:U2"} {
		if reply := w.SayIn(as("github:ben", "link "+own)); strings.Contains(reply.Text, "/link ") || own != "slack:U2" && !strings.Contains(reply.Text, "yours already") {
			t.Errorf("link %s, which is ben's already: %s", own, reply.Text)
		}
	}
	public.Line, public.Actor = "link "+after[:19], bot.Actor{Identity: "github:ben-private", Name: "ben-private"}
	reply := w.SayIn(public)
	if reply.Tone != bot.ToneInfo || !strings.Contains(reply.Text, "ben's account with the role `sre`") {
		t.Fatalf("%s: %s", reply.Tone, reply.Text)
	}
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	w.SayIn(as("github:ben", "approve "+r.ID))
	second := w.SayIn(as("github:ben-private", "approve "+r.ID))
	if second.Request == nil || second.Request.State != approvals.StatePending {
		t.Errorf("two accounts of ben's count twice: %s", second.Text)
	}
	w.SayIn(as("github:eve", "link aaaa-bbbb-cccc-dddd"))
	notes, err := w.Store.Audit(context.Background(), actions.BerthChain, 0, 0)
	if err != nil || len(notes) != 3 || notes[0].Kind != actions.KindRefused || notes[1].Kind != "link.made" || strings.Contains(notes[2].Detail["command"], "aaaa") {
		t.Errorf("the audit has %+v, %v", notes, err)
	}
	golden(t, "link", w.SayIn(as("github:ben", "link")).Text)
	if reply := w.SayIn(as("github:ben", "link remove github:ben-private")); reply.Tone != bot.ToneInfo {
		t.Error(reply.Text)
	}
	if reply := w.SayIn(as("github:ben-private", "approve "+r.ID)); reply.Code != actions.CodeForbidden {
		t.Errorf("the account that was taken away: %s", reply.Text)
	}
}

func TestAYesToAPlanIsNoneToALaterOne(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	one := cleanupNeedsTwo
	one.Approve = &bottest.Approve{Needs: []bottest.Need{{Count: 1, From: []string{"role:sre"}}}, NotRequester: true}
	w.Govern(crew, one)
	w.Do("deploy shop/pr-42")
	first := cleanup(w)
	typed := time.Now()
	w.Executor.Change("web")
	w.SayIn(as("github:ben", "approve "+first.ID))
	second := w.Await(first.ID, func(r *approvals.Request) bool { return r.State == approvals.StatePending && r.Replans == 1 })
	if second.Digest == first.Digest {
		t.Fatal("the plan is the same")
	}
	for name, in := range map[string]bot.Input{
		"typed before there was the new plan":          {At: typed},
		"given for the digest of the plan before that": {Digest: first.Digest},
	} {
		for _, line := range []string{"approve " + first.ID, "approve shop/pr-42"} {
			in.Line, in.Actor, in.Place = line, bot.Actor{Identity: "github:dan"}, approvals.Place{Surface: "github", Message: "7"}
			if reply := w.SayIn(in); reply.Code != actions.CodeStale || !strings.Contains(reply.Text, "planned again") {
				t.Errorf("%s, %s: %s %s", line, name, reply.Code, reply.Text)
			}
		}
	}
	if r, err := w.Requests.Get(context.Background(), first.ID); err != nil || r.State != approvals.StatePending || len(r.Decisions) > 0 {
		t.Fatalf("it is %+v, %v", r, err)
	}
	in := as("github:dan", "approve "+first.ID)
	in.At, in.Digest = time.Now(), second.Digest
	if reply := w.SayIn(in); reply.Tone == bot.ToneRefused {
		t.Error(reply.Text)
	}
	w.Await(first.ID, func(r *approvals.Request) bool { return r.State == approvals.StateSucceeded })
}

func TestAWordThatArrivesAgainDoesNotUndoALaterOne(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	most := bottest.Rule{Name: "most", When: `request.verb == "cleanup"`, Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 2, From: []string{"role:sre"}}}, Majority: true}}
	w.Govern(crew, most)
	w.Do("deploy shop/pr-42")
	r := w.Await(w.SayIn(as("github:cid", "cleanup shop/pr-42")).Request.ID, func(r *approvals.Request) bool { return r.State == approvals.StatePending })
	yes := as("github:ana", "approve "+r.ID)
	yes.Key = "comment:1"
	w.SayIn(yes)
	for _, account := range []string{"github:ana", "slack:U1"} { // both are ana's
		w.SayIn(as(account, "deny "+r.ID+" I was wrong"))
		if reply := w.SayIn(yes); !strings.Contains(reply.Text, "said already") {
			t.Errorf("the second arrival after a no by %s: %s", account, reply.Text)
		}
		now, err := w.Requests.Get(context.Background(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if g := now.Outcome.Rules[0].Groups[0]; len(g.By) != 0 || len(g.Against) != 1 {
			t.Errorf("after a no by %s, %v are for it and %v against it", account, g.By, g.Against)
		}
	}
}

func TestWhoTriesOverAndOverFillsNoAudit(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	for range 40 {
		if reply := w.SayIn(as("github:cid", "approve "+r.ID)); reply.Code != actions.CodeForbidden {
			t.Fatal(reply.Text)
		}
	}
	records, err := w.Store.Audit(context.Background(), r.Order.Env, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, rec := range records {
		if rec.Kind == "request.decision_refused" {
			tried++
		}
	}
	if now, err := w.Requests.Get(context.Background(), r.ID); err != nil || now.Revision != r.Revision || tried == 0 || tried > 20 {
		t.Errorf("%d tries are recorded, and the request is at %d, not %d, %v", tried, now.Revision, r.Revision, err)
	}
}

func TestAGlassIsBrokenForTheRulesThatItIsOf(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	other := bottest.Rule{Name: "and-one-more", When: `request.verb == "cleanup"`, Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 1, From: []string{"role:sre"}}}}}
	w.Govern(crew, cleanupNeedsTwo, other)
	w.Do("deploy shop/pr-42")
	r := cleanup(w)
	if reply := w.SayIn(as("github:lea", "approve "+r.ID+" --break-glass --reason fire")); reply.Tone == bot.ToneRefused {
		t.Fatalf("it is refused since another rule stands: %s", reply.Text)
	}
	now, err := w.Requests.Get(context.Background(), r.ID)
	if err != nil || now.State != approvals.StatePending || now.Outcome.Rules[0].BrokenBy != "lea" || now.Outcome.Rules[1].Groups[0].Missing != 1 {
		t.Fatalf("it is %+v, %v", now, err)
	}
	w.SayIn(as("github:ben", "approve "+r.ID))
	w.Await(r.ID, func(r *approvals.Request) bool { return r.State == approvals.StateSucceeded })
}

func TestASimulatedPlanIsToldInSentences(t *testing.T) {
	w := bottest.New(t, redistest.Client(t))
	w.Govern(crew, cleanupNeedsTwo)
	w.Do("deploy shop/pr-42")
	sim, err := w.Service.Simulate(context.Background(), as("github:ana", "cleanup shop/pr-42"), "")
	if err != nil || !strings.HasSuffix(sim.Text, "cleanup web. **It takes data away.**") {
		t.Errorf("%+v, %v", sim, err)
	}
}
