package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// Policy is what the policies said of a request.
type Policy struct {
	Effect  string     `json:"effect" enum:"release,approve,expire,deny,refuse" doc:"What becomes of the request: it runs, it waits for approval, it ended."`
	Reason  string     `json:"reason,omitempty" doc:"Which rule, what is missing and who can give it, for people."`
	Rules   []Rule     `json:"rules" doc:"The rules that matched, in the order of the config."`
	Again   *time.Time `json:"again,omitempty" doc:"When time alone may change it."`
	Version string     `json:"version,omitempty" doc:"Tells the policies apart from those before and after."`
}

// Rule is what one rule that matched says.
type Rule struct {
	Rule         string     `json:"rule" example:"cleanup-needs-sre"`
	Effect       string     `json:"effect" enum:"release,approve,expire,deny,refuse" doc:"What it wants by itself, now."`
	Reason       string     `json:"reason,omitempty"`
	Groups       []Group    `json:"groups,omitempty" doc:"Whose approvals it asks for; each group must be met."`
	NotRequester bool       `json:"not_requester,omitempty" doc:"Whoever asked does not count."`
	Majority     bool       `json:"majority,omitempty" doc:"One denial does not end it."`
	ExpiresAt    *time.Time `json:"expires_at,omitempty"`
	RemindAt     *time.Time `json:"remind_at,omitempty"`
	Reminders    int        `json:"reminders,omitempty"`
	Escalated    bool       `json:"escalated,omitempty" doc:"It waited too long, and others may agree as well."`
	Ignored      []Ignored  `json:"ignored,omitempty" doc:"Decisions that do not count for it, and why."`
	BreakGlass   []string   `json:"break_glass,omitempty" doc:"Who may set it aside, for a reason."`
	BrokenBy     string     `json:"broken_by,omitempty" doc:"Who did."`
}

// Group is how far one group of approvers is.
type Group struct {
	Count   int      `json:"count" doc:"So many must agree."`
	From    []string `json:"from" doc:"Of these." example:"[\"role:sre\"]"`
	By      []string `json:"by,omitempty" doc:"Who agreed and counts, each person once."`
	Against []string `json:"against,omitempty" doc:"Who said no and counts."`
	Missing int      `json:"missing" doc:"So many more must agree."`
}

// Ignored is a decision that does not count.
type Ignored struct {
	By       string `json:"by"`
	Identity string `json:"identity,omitempty"`
	Decision string `json:"decision" enum:"approve,deny"`
	Why      string `json:"why"`
}

// Glass is that somebody set rules aside.
type Glass struct {
	By       string    `json:"by"`
	Identity string    `json:"identity,omitempty"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Simulation is what would become of a command. Nothing of it is stored.
type Simulation struct {
	Command string `json:"command" doc:"In its normal form."`
	As      string `json:"as" doc:"Who would ask."`
	Policy  Policy `json:"policy"`
	Text    string `json:"text" doc:"The same in words: GitHub-flavoured Markdown."`
	Plan    *Plan  `json:"plan,omitempty" doc:"What it would change."`
}

func toPolicy(o *approvals.Outcome) *Policy {
	if o == nil {
		return nil
	}
	out := &Policy{Effect: string(o.Effect), Reason: o.Reason, Rules: make([]Rule, 0, len(o.Rules)), Again: timeOrNull(o.Again), Version: o.Version}
	for _, r := range o.Rules {
		rule := Rule{
			Rule: r.Rule, Effect: string(r.Effect), Reason: r.Reason, NotRequester: r.NotRequester, Majority: r.Majority, ExpiresAt: timeOrNull(r.ExpiresAt),
			RemindAt: timeOrNull(r.RemindAt), Reminders: r.Reminders, Escalated: r.Escalated, BreakGlass: r.BreakGlass, BrokenBy: r.BrokenBy,
		}
		for _, g := range r.Groups {
			from := g.From
			if from == nil {
				from = []string{}
			}
			rule.Groups = append(rule.Groups, Group{Count: g.Count, From: from, By: g.By, Against: g.Against, Missing: g.Missing})
		}
		for _, i := range r.Ignored {
			rule.Ignored = append(rule.Ignored, Ignored{By: i.By, Identity: i.Identity, Decision: string(i.Verdict), Why: i.Why})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

func toGlass(g *approvals.Glass) *Glass {
	if g == nil {
		return nil
	}
	return &Glass{By: g.By.Actor, Identity: g.By.Identity, Reason: g.Reason, At: g.At.UTC()}
}

type simulationInput struct {
	Body struct {
		Command string `json:"command" minLength:"1" maxLength:"4096" doc:"What somebody would type, without a slash." example:"cleanup shop/demo"`
		As      string `json:"as,omitempty" maxLength:"140" doc:"Who: an actor of the config by name, or an identity. Left out, it is whoever asks." example:"ana"`
	}
}

// policyOperations registers what tells about policies.
func (a *API) policyOperations(h huma.API) {
	explain := operation("explain-policies", http.MethodPost, "/api/v1/policies/explain", "Tell what the policies would say of a command",
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusBadGateway)
	explain.Description = "The command is planned and the policies are asked. Nothing is changed and nothing is stored."
	huma.Register(h, explain, a.simulate)
}

func (a *API) simulate(ctx context.Context, in *simulationInput) (*body[Simulation], error) {
	sim, err := a.service.Simulate(ctx, from(ctx).input(in.Body.Command, ""), in.Body.As)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	r := sim.Request
	return &body[Simulation]{Simulation{
		Command: r.Command, As: r.Requester.Actor, Policy: *toPolicy(&sim.Outcome), Text: sim.Text, Plan: toPlan(r.Plan),
	}}, nil
}

// Verification is what is known of the audit after it was checked.
type Verification struct {
	OK bool `json:"ok" doc:"Every record is there, in order and as it was written."`
	actions.Verified
	Found []actions.AuditBreak `json:"found" doc:"Where it is not what was written, up to some of each chain."`
}

type verifyQuery struct {
	App         string `query:"app" maxLength:"40" doc:"Only this app's chains."`
	Environment string `query:"environment" maxLength:"81" doc:"Only this environment's chain, by its whole name; berth is the chain of what belongs to none." example:"shop/pr-42"`
}

// foundMost bounds how many breaks one answer tells.
const foundMost = 1000

func (a *API) verify(ctx context.Context, q *verifyQuery) (*body[Verification], error) {
	out := Verification{Found: []actions.AuditBreak{}}
	tell := func(b actions.AuditBreak) {
		if len(out.Found) < foundMost {
			out.Found = append(out.Found, b)
		}
	}
	var err error
	if q.Environment != "" {
		var name actions.Name
		if name, err = actions.ParseChain(q.Environment); err == nil {
			out.Verified, err = a.service.VerifyChain(ctx, name, tell)
		}
	} else {
		out.Verified, err = a.service.VerifyAudit(ctx, q.App, tell)
	}
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	out.OK = out.Breaks == 0
	return &body[Verification]{out}, nil
}

// retry asks for what failed once more.
func (a *API) retry(ctx context.Context, in *idPath) (*body[Request], error) {
	return a.change(ctx, bot.Command{Verb: bot.VerbRetry, ID: in.ID}, "")
}
