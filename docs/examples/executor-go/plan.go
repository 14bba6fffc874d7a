package main

import (
	"context"
	"fmt"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Plan says what Run would do, by looking alone.
func (x executor) Plan(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	s, err := x.open(ctx, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	defer s.close()
	now, err := s.look(ctx)
	if err != nil {
		return sdk.Plan{}, err
	}
	if step.Verb == sdk.Cleanup {
		return s.planCleanup(now), nil
	}
	if err := s.mayHave(now); err != nil {
		return sdk.Plan{}, err
	}
	want, err := wanted(ctx, s.name, step)
	if err != nil {
		return sdk.Plan{}, err
	}
	// What decides the result: for a secret, where it is kept, and never its value.
	// Another password is no other plan.
	ref, err := sdk.SecretOf(step.With["password"], "the password of "+s.name)
	if err != nil {
		return sdk.Plan{}, err
	}
	p := sdk.Plan{
		Summary: fmt.Sprintf("Redis user %s on %s: nothing to change", s.name, s.address),
		Inputs:  map[string]string{"server": s.address, "rules": want.text, "password": ref.String(), "template": want.template},
	}
	switch {
	case now.user == nil:
		p.Summary = fmt.Sprintf("create the Redis user %s, with its keys, on %s", s.name, s.address)
		p.Diff = "+ user " + s.name + " " + want.text + "\n"
		p.Resources = []sdk.Resource{
			{Kind: "Redis user", Name: s.name, Change: sdk.ChangeCreate},
			{Kind: "Redis keys", Name: s.prefix() + "*", Change: sdk.ChangeCreate},
		}
	case !now.has(want):
		p.Summary = fmt.Sprintf("give the Redis user %s on %s its rules and password anew", s.name, s.address)
		p.Diff = "- user " + s.name + " " + now.rules + "\n+ user " + s.name + " " + want.text + "\n"
		p.Resources = []sdk.Resource{{Kind: "Redis user", Name: s.name, Change: sdk.ChangeUpdate}}
	}
	return p, nil
}

func (s *share) planCleanup(now state) sdk.Plan {
	if now.owner != s.owner {
		return sdk.Plan{Summary: "nothing of the environment is on " + s.address}
	}
	return sdk.Plan{
		Summary:     fmt.Sprintf("delete the Redis user %s and all its keys on %s", s.name, s.address),
		Diff:        "- user " + s.name + " " + now.rules + "\n- keys " + s.prefix() + "*\n",
		Destructive: true,
		Resources: []sdk.Resource{
			{Kind: "Redis user", Name: s.name, Change: sdk.ChangeDelete},
			{Kind: "Redis keys", Name: s.prefix() + "*", Change: sdk.ChangeDelete, Destructive: true},
		},
	}
}
