package chat

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// crowd knows who is in its groups, by account.
type crowd map[string][]string

var errUnseen = errors.New("nobody can say")

func (c crowd) Member(_ context.Context, group string, _ *approvals.Request, p approvals.Person) (bool, error) {
	if group == "SBLIND" {
		return true, errUnseen
	}
	for _, member := range c[group] {
		for _, identity := range p.Identities {
			if identity == member {
				return true, nil
			}
		}
	}
	return false, nil
}

func TestWhomARuleAsksNeedsNoRoleToAnswer(t *testing.T) {
	t.Parallel()
	groups := crowd{"SDBA": {"slack:U7", "slack:U3"}, "SGLASS": {"slack:U8"}}
	actors := append(team(), bottest.Actor{Name: "cem", Identities: []string{"slack:U6"}})
	rule := bottest.Rule{Name: "they agree", BreakGlass: []string{"slack-group:SGLASS"}, Approve: &bottest.Approve{NotRequester: true, Needs: []bottest.Need{
		{Count: 1, From: []string{"slack-group:SBLIND", "slack-group:SDBA", "actor:cem"}},
	}}}
	tests := map[string]struct {
		user, line string // ID stands for the request's
		guests     []string
		says       string
		ends       bool
	}{
		"one of the group agrees by a button":                {user: "U7", line: "approve ID", says: "approved", ends: true},
		"and by naming the environment":                      {user: "U7", line: "approve shop/pr-7", says: "approved", ends: true},
		"and as a guest who may look":                        {user: "U7", line: "approve ID", guests: []string{bot.RoleViewer}, says: "approved", ends: true},
		"and says no":                                        {user: "U7", line: "deny ID --reason late", says: "denied", ends: true},
		"somebody who is asked by name agrees":               {user: "U6", line: "approve ID", says: "approved", ends: true},
		"one of the group looks at the plan":                 {user: "U7", line: "diff ID", says: "changes"},
		"and at why it waits":                                {user: "U7", line: "explain ID", says: "they agree"},
		"but asks for nothing":                               {user: "U7", line: "deploy shop/pr-8", says: "has no role"},
		"nor cancels it":                                     {user: "U7", line: "cancel ID", says: "has no role"},
		"who may break the glass does not so agree":          {user: "U8", line: "approve ID", says: "has no role"},
		"but breaks it":                                      {user: "U8", line: "approve ID --break-glass --reason fire", says: "glass", ends: true},
		"a stranger does not agree":                          {user: "U9", line: "approve ID", says: "has no role"},
		"nor looks":                                          {user: "U9", line: "diff ID", says: "has no role"},
		"whom the config lets only look does not by a group": {user: "U3", line: "approve ID", says: "may only look"},
		"of another environment there is nothing to say":     {user: "U7", line: "approve shop/pr-9", says: "has no role"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			known := map[string]Groups{"slack-group": groups}
			w := newWorld(t, func(o *Options) {
				o.Groups = known
				o.Rules = func(bot.ChatPlace) Rules { return Rules{Guests: tt.guests} }
			})
			w.world.GovernGroups(map[string]bottest.Groups{"slack-group": groups}, actors, rule)
			w.take(t, event("e1", "U1", "deploy shop/pr-7"))
			r := w.world.Await(func() string { w.slack.answer(t, "e1"); return w.asked(t) }(), pending)
			w.take(t, event("e2", tt.user, strings.ReplaceAll(tt.line, "ID", r.ID)))
			if m := w.slack.answer(t, "e2"); !strings.Contains(m.Text, tt.says) {
				t.Errorf("answered is %s", m.Text)
			}
			if tt.ends {
				w.world.Await(r.ID, func(r *approvals.Request) bool { return r.State.Ended() })
				return
			}
			if r, err := w.world.Requests.Get(t.Context(), r.ID); err != nil || r.State != approvals.StatePending || len(r.Decisions) != 0 {
				t.Errorf("the request is %s, with %+v: %v", r.State, r.Decisions, err)
			}
		})
	}
}

// passingCrowd cannot say who is in a group, now.
type passingCrowd struct{}

func (passingCrowd) Member(context.Context, string, *approvals.Request, approvals.Person) (bool, error) {
	return false, actions.Errorf("group", actions.CodeUnavailable, "The platform does not say.")
}

func TestWhoIsAskedIsNotRefusedWhileNobodyCanSayWhoIsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Groups = map[string]Groups{"slack-group": passingCrowd{}} })
	w.world.GovernGroups(map[string]bottest.Groups{"slack-group": passingCrowd{}}, team(),
		bottest.Rule{Name: "they agree", Approve: &bottest.Approve{Needs: []bottest.Need{{Count: 1, From: []string{"slack-group:SDBA"}}}}})
	w.take(t, event("e1", "U1", "deploy shop/pr-7"))
	w.slack.answer(t, "e1")
	r := w.world.Await(w.asked(t), pending)
	e := event("e2", "U7", "approve "+r.ID)
	if _, err := w.doer(t.Context(), e, Rules{}); actions.CodeOf(err) != actions.CodeUnavailable {
		t.Errorf("who clicks is known: %v", err)
	}
}
