package chat

import (
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

func TestEachPersonIsCalledOnceForAQuestion(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	for range 3 {
		h.card(t, inC1, r)
		h.card(t, inD1, r)
		h.look(t)
	}
	if calls := append(h.slack.called(), h.discord.called()...); !slices.Equal(calls, []string{"slack:U2"}) {
		t.Errorf("called were %v, want ben, once", calls)
	}
}

func TestNobodyIsCalledWhereTheyCannotRead(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.Govern(team(), twoPeople())
	r := h.pending(t, h.ask(t, "deploy shop/pr-7").ID)
	direct := inC1
	direct.Channel = "D1"
	h.card(t, direct, r)
	h.card(t, bot.ChatPlace{Platform: bot.PlatformSlack, User: "U1"}, r)
	h.look(t)
	if calls := h.slack.called(); len(calls) != 0 {
		t.Errorf("called in ana's direct messages were %v", calls)
	}
	h.card(t, inC1, r)
	if calls := h.slack.called(); !slices.Equal(calls, []string{"slack:U2"}) {
		t.Errorf("called in the channel were %v", calls)
	}
}

func TestWhoIsCalled(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.world.People.Reload(append(team(), bottest.Actor{Name: "eve", Roles: []string{"sre"}, Identities: []string{"slack:T2.U9", "github:eve"}}), nil)
	r := &approvals.Request{Requester: approvals.Requester{Identity: "slack:U1"}}
	said := &approvals.Request{Requester: r.Requester, Decisions: []approvals.Decision{{By: approvals.Requester{Identity: "discord:2"}}}}
	for what, tt := range map[string]struct {
		at     bot.ChatPlace
		r      *approvals.Request
		groups []string
		want   string
	}{
		"a role by the accounts that its people have there":    {inC1, r, []string{"role:sre"}, "slack:U2"},
		"a role on the other platform":                         {inD1, r, []string{"role:sre"}, "discord:2"},
		"one who has said something, wherever":                 {inC1, said, []string{"role:sre"}, ""},
		"an actor by name":                                     {inC1, r, []string{"actor:ben"}, "slack:U2"},
		"not who asked":                                        {inC1, r, []string{"actor:ana", "role:deployer"}, ""},
		"an account of that workspace, and those of the first": {bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: "T2", Channel: "C9"}, r, []string{"role:sre"}, "slack:U2 slack:T2.U9"},
		"groups of the platform itself":                        {inC1, r, []string{"slack-group:S1", "slack-group:T1.S2", "slack-group:T2.S3", "discord-role:81/1"}, "slack-group:S1 slack-group:T1.S2"},
		"roles of the guild itself":                            {inD1, r, []string{"slack-group:S1", "discord-role:81/1", "discord-role:7/1"}, "discord-role:81/1"},
		"nobody by what only GitHub knows":                     {inC1, r, []string{"github-team:acme/ops", "codeowners"}, ""},
	} {
		var names []string
		if err := h.callable(t.Context(), tt.at, tt.r, tt.groups, func(name, _ string) { names = append(names, name) }); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %q, want %q", what, got, tt.want)
		}
	}
}
