package discord

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

func TestWhoHasARole(t *testing.T) {
	t.Parallel()
	const path = "GET guilds/10/members/20"
	person := approvals.Person{Name: "Ana", Identities: []string{"github:ana", "discord:20", "discord:x/../y"}}
	for name, c := range map[string]struct {
		status int
		body   string
		group  string
		want   bool
		code   actions.Code
	}{
		"somebody with it":                {200, `{"user":{"id":"20"},"roles":["5","30"]}`, "10/30", true, ""},
		"somebody without it":             {200, `{"user":{"id":"20"},"roles":["5"]}`, "10/30", false, ""},
		"everybody has that of the guild": {200, `{"user":{"id":"20"},"roles":[]}`, "10/10", true, ""},
		"somebody who left has none":      {404, `{"code":10007,"message":"Unknown Member"}`, "10/10", false, ""},
		"an account that is gone":         {404, `{"code":10013,"message":"Unknown User"}`, "10/30", false, ""},
		"a guild that Berth is not in":    {404, `{"code":10004,"message":"Unknown Guild"}`, "10/30", false, actions.CodeDownstream},
		"a guild that Berth may not see":  {403, `{"code":50001,"message":"Missing Access"}`, "10/30", false, actions.CodeDownstream},
		"a token that is refused":         {401, `{"code":0}`, "10/30", false, actions.CodeDownstream},
		"Discord down":                    {503, ``, "10/30", false, actions.CodeUnavailable},
		"too many calls":                  {429, `{"retry_after":2.5,"global":false}`, "10/30", false, actions.CodeUnavailable},
		"another account":                 {200, `{"user":{"id":"21"},"roles":["30"]}`, "10/30", false, actions.CodeUnavailable},
		"an answer that is none":          {200, `[]`, "10/30", false, actions.CodeUnavailable},
		"a group that is none":            {200, `{}`, "ops", false, actions.CodeInvalid},
		"a group that is a path":          {200, `{}`, "10/../30", false, actions.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newRest(t)
			api.on(path, c.status, c.body)
			s, _ := surfaceOf(t, api, &taken{}, nil)
			got, err := s.Roles().Member(t.Context(), c.group, nil, person)
			if got != c.want || actions.CodeOf(err) != c.code || c.code == "" && err != nil {
				t.Errorf("%v %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "bot-secret") {
				t.Error("the error has the token")
			}
		})
	}
}

func TestRolesAreRememberedForAMoment(t *testing.T) {
	t.Parallel()
	const path = "GET guilds/10/members/20"
	api := newRest(t)
	api.on(path, 200, `{"user":{"id":"20"},"roles":["30"]}`)
	now := testNow
	s, _ := surfaceOf(t, api, &taken{}, func(o *Options) { o.Now = func() time.Time { return now } })
	is := func() bool {
		t.Helper()
		in, err := s.Roles().Member(context.Background(), "10/30", nil, approvals.Person{Identities: []string{"discord:20"}})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	for range 2 {
		if !is() {
			t.Fatal("not in the role")
		}
	}
	if n := api.count(path); n != 1 {
		t.Fatalf("asked %d times", n)
	}
	api.on(path, 404, `{"code":10007}`)
	now = now.Add(keepRoles)
	if is() {
		t.Error("somebody who left still has the role")
	}
}
