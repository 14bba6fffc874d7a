package aws

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/berth-dev/berth/plugins/sdk"
)

func (t *secret) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	there, tags, err := t.look(ctx)
	if err != nil {
		return proposal{}, err
	}
	mine := there != nil && t.s.mine(tags)
	p := proposal{monthly: secretMonthly, asks: "a secret"}
	switch {
	case verb == sdk.Cleanup && !mine:
		return proposal{}, nil
	case verb == sdk.Cleanup:
		p = proposal{lines: []string{"- " + t.title()}}
		p.resources = []sdk.Resource{{Kind: "secret", Name: t.Name, Change: sdk.ChangeDelete, Destructive: t.s.retain.none()}}
	case there == nil && verb == sdk.Deploy:
		p.lines = []string{"+ " + t.title() + " with the keys " + listed(t.keys())}
		p.resources = []sdk.Resource{{Kind: "secret", Name: t.Name, Change: sdk.ChangeCreate}}
	case there == nil:
		return proposal{}, sdk.Invalid("The %s is gone, so that it cannot be brought back. Deploy instead; what was generated is made anew.", t.title())
	case !mine:
		return proposal{}, t.s.refuse(t.title(), tags)
	case verb == sdk.Deploy:
		return t.planUpdate(ctx, p, there, tags)
	}
	return p, nil
}

func (t *secret) planUpdate(ctx context.Context, p proposal, there *secretsmanager.DescribeSecretOutput, tags map[string]string) (proposal, error) {
	var what []string
	if there.DeletedDate != nil {
		what = append(what, "is taken back from its deletion")
	} else {
		old, err := t.read(ctx)
		if err != nil {
			return p, err
		}
		if changed := t.changedKeys(old); len(changed) > 0 {
			what = append(what, "gets the keys "+listed(changed))
		}
	}
	if !t.tagged(tags) || t.described(there) {
		what = append(what, "gets other tags or another description")
	}
	if len(what) == 0 {
		return p, nil
	}
	p.lines = []string{"~ " + t.title() + " " + listed(what)}
	p.resources = []sdk.Resource{{Kind: "secret", Name: t.Name, Change: sdk.ChangeUpdate}}
	return p, nil
}

// changedKeys are the keys that a deploy would set, so far as that can be told
// without looking up what settings refer to: those are compared when it runs.
func (t *secret) changedKeys(old map[string]string) []string {
	var out []string
	for _, key := range t.keys() {
		value, ok := old[key]
		if want, plain := t.Values[key]; !ok || plain && want != value {
			out = append(out, key)
		}
	}
	return out
}
