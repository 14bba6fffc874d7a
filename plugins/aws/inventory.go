package aws

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Inventory lists all that bears the installation's tags, in every region and
// account that settings name. When one of them cannot be seen whole, it fails.
// What a cleanup left for a time is listed once that time is over.
func (x *Executor) Inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	if scope.Installation == "" {
		return nil, sdk.Invalid("Berth's installation has to be told to list what it owns: without its name, another's cannot be told from it.")
	}
	p, err := readPlatform(scope.Settings)
	if err != nil {
		return nil, err
	}
	places := p.places()
	lists := make([][]found, len(places))
	errs := make([]error, len(places))
	var group sync.WaitGroup
	for i, where := range places {
		s, err := x.session(ctx, sdk.Step{Installation: scope.Installation}, p, asked{}, where)
		if err != nil {
			return nil, err
		}
		first := i == 0 || places[i-1].account != where.account
		group.Go(func() { lists[i], errs[i] = x.listAll(ctx, s, p.enabled(), first) })
	}
	group.Wait()
	var out []sdk.Owned
	for i, err := range errs {
		if err != nil {
			return nil, explain(err, "")
		}
		for _, f := range lists[i] {
			if f.retained.After(x.o.Clock()) {
				continue
			}
			out = append(out, sdk.Owned{
				App: f.owner.app, Env: f.owner.env, Part: f.owner.part, Kind: titleOf(f.kind), Name: f.name, CreatedAt: f.createdAt, Elsewhere: true,
			})
		}
	}
	return out, nil
}

func titleOf(name string) string {
	for _, k := range kinds() {
		if k.name == name {
			return k.title
		}
	}
	return name
}

// listAll is what bears the session's tags in its place, of all kinds. Global
// kinds are listed when global says so, which is in one region of an account.
func (x *Executor) listAll(ctx context.Context, s *session, all []kind, global bool) ([]found, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(k kind) bool { return k.global && !global })
	lists := make([][]found, len(all))
	errs := make([]error, len(all))
	var group sync.WaitGroup
	for i, k := range all {
		group.Go(func() { lists[i], errs[i] = k.list(ctx, s) })
	}
	group.Wait()
	var out []found
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("list %s things in %s: %w", all[i].name, s.place, err)
		}
		for _, f := range lists[i] {
			f.kind = all[i].name
			out = append(out, f)
		}
	}
	return out, nil
}

// endless is when something that is kept for ever may go.
var endless = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
