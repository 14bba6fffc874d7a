package github

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// known are people whose accounts have the numbers that they are pinned to.
type known map[string]string

func (k known) Person(_ context.Context, identity string) (approvals.Person, error) {
	if identity == "github:ana" {
		return approvals.Person{ID: "actor:Ana", Name: "Ana", Roles: []string{"sre"}, Identities: []string{identity}}, nil
	}
	return approvals.Person{ID: identity, Name: identity, Identities: []string{identity}}, nil
}

func (k known) Pin(_ context.Context, identity, id string) error {
	if number, ok := k[identity]; ok && number != id {
		return actions.Errorf("known.pin", actions.CodeForbidden, "The account %s is not the one that Berth knows; take it out of `actors`.", identity)
	}
	return nil
}

func TestALoginThatChangedHandsCommandsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{NoWorker: true, Surface: func(o *Options) { o.People = known{"github:ana": "1"} }})
	id := w.say("ana", "/deploy")
	w.until("it is refused", func() bool { return slices.Contains(w.reactions(id), "-1") })
	w.settled()
	answers := w.ours("<!-- berth:reply=c" + itoa(id))
	if len(answers) != 1 || !strings.Contains(answers[0].Body, "nothing ran.") || !strings.Contains(answers[0].Body, "`actors`") {
		t.Errorf("ana is answered %v", answers)
	}
	if n := len(w.allRequests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestWhoAnAccountIs(t *testing.T) {
	t.Parallel()
	s := testSurface(t)
	s.people = known{"github:ana": "5"}
	tests := map[string]struct {
		who  account
		name string
		role []string
		code actions.Code
	}{
		"one that the config names": {account{ID: 5, Login: "ana"}, "Ana", []string{"sre", "github:write"}, ""},
		"another of the same login": {account{ID: 6, Login: "ana"}, "", nil, actions.CodeForbidden},
		"a stranger":                {account{ID: 7, Login: "rob"}, "rob", []string{"github:write"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := s.actor(t.Context(), tt.who, "write")
			if actions.CodeOf(err) != tt.code || a.Name != tt.name || !slices.Equal(a.Roles, tt.role) {
				t.Errorf("actor = %+v, %v", a, err)
			}
		})
	}
	s.people = nil
	if a, err := s.actor(t.Context(), account{ID: 5, Login: "ana"}, "write"); err != nil || a.Name != "ana" || a.Identity != "github:ana" {
		t.Errorf("without people, actor = %+v, %v", a, err)
	}
}
