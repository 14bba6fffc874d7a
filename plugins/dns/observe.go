package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Observe implements sdk.Observer: what the server that takes changes has is
// compared with what was deployed, and every authoritative server is asked.
func (x *Executor) Observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	o, err := x.observe(ctx, step)
	if err != nil {
		return sdk.Observation{}, x.explain(step, err)
	}
	return o, nil
}

func (x *Executor) observe(ctx context.Context, step sdk.Step) (sdk.Observation, error) {
	j, err := x.job(step)
	if err != nil {
		return sdk.Observation{}, err
	}
	o, err := j.observe(ctx)
	if err != nil {
		return sdk.Observation{}, err
	}
	for _, a := range x.annexes {
		if err := a.observe(ctx, j, &o); err != nil {
			return sdk.Observation{}, err
		}
	}
	return o, nil
}

// observe is what is seen of the part's records.
func (j *job) observe(ctx context.Context) (sdk.Observation, error) {
	if len(j.part.sets) == 0 {
		return sdk.Observation{Health: sdk.Healthy}, nil // of an annex alone
	}
	for _, z := range j.zones() {
		p, err := j.x.open(ctx, j.step, z)
		if err != nil {
			return sdk.Observation{}, err
		}
		s, err := look(ctx, p, z.name, j.me, nil)
		if err != nil {
			return sdk.Observation{}, err
		}
		switch {
		case s.manifest == nil:
			continue
		case s.manifest.archived:
			return sdk.Observation{Health: sdk.Absent, Text: "archived: the names answer nothing until they are restored"}, nil
		}
		return j.see(ctx, p, z, s)
	}
	return sdk.Observation{Health: sdk.Absent}, nil
}

// see is what is seen of records that were deployed into z.
func (j *job) see(ctx context.Context, p provider, z zoneSettings, s *sight) (sdk.Observation, error) {
	o := sdk.Observation{Health: sdk.Healthy, Links: links(s.manifest.sets), Drift: s.drift()}
	if z.wait == 0 {
		if len(o.Drift) > 0 {
			o.Health, o.Text = sdk.Degraded, o.Drift[0]
		}
		return o, nil
	}
	servers, err := zoneServers(ctx, p, z)
	if err != nil {
		return o, err
	}
	behind := make([]string, len(servers))
	var all sync.WaitGroup
	for i, at := range servers {
		all.Go(func() { behind[i] = lags(ctx, j.x.net, at, expected(s.manifest.sets)) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return o, ctx.Err()
	}
	right := 0
	for _, why := range behind {
		if why == "" {
			right++
		}
	}
	behind = slices.DeleteFunc(behind, func(why string) bool { return why == "" })
	switch {
	case right == 0:
		o.Health = sdk.Unhealthy
	case right < len(servers):
		o.Health = sdk.Degraded
	}
	o.Text = strings.Join(behind, "; ")
	o.Facts = append(o.Facts, sdk.Fact{Name: "name servers", Text: fmt.Sprintf("%d of %d answer as deployed", right, len(servers))})
	return o, nil
}

// drift is how the zone differs from what the manifest says, a sentence each.
func (s *sight) drift() []string {
	var out []string
	for _, name := range namesOf(s.manifest.sets) {
		if mine, err := s.holder(name); err != nil || !mine {
			out = append(out, fmt.Sprintf("The record %s no longer says that %s is this part's.", ownerName(name), name))
		}
	}
	for _, want := range s.manifest.sets {
		live := s.found[want.key]
		switch {
		case live == nil:
			out = append(out, fmt.Sprintf("The record %s is gone.", want.key))
		case !slices.Equal(live.values, want.values):
			out = append(out, fmt.Sprintf("The record %s is %s; deployed was %s.", want.key, answerText(live.values), answerText(want.values)))
		case live.ttl != want.ttl:
			out = append(out, fmt.Sprintf("The TTL of %s is %d s; deployed were %d s.", want.key, live.ttl, want.ttl))
		}
	}
	return out
}

// links are the addresses that people open: of names that lead to a host.
func links(sets []*rrset) []sdk.Link {
	var out []sdk.Link
	for _, name := range namesOf(sets) {
		leads := slices.ContainsFunc(sets, func(s *rrset) bool { return s.name == name && s.kind != typeTXT })
		if leads && !strings.HasPrefix(name, "*.") && !strings.Contains(name, "_") {
			out = append(out, sdk.Link{Name: name, URL: "https://" + name})
		}
	}
	return out
}

// Inventory implements sdk.Inventory: every name of every zone of the settings
// that bears this installation's mark. Each zone is listed as a whole, by a
// transfer or by the provider's API; one that cannot be is an error.
func (x *Executor) Inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error) {
	step := sdk.Step{Cluster: scope.Cluster, Namespace: scope.Namespace, Installation: scope.Installation, Settings: scope.Settings}
	out, err := x.inventory(ctx, step)
	if err != nil {
		return nil, x.explain(step, err)
	}
	for _, a := range x.annexes {
		more, err := a.inventory(ctx, scope)
		if err != nil {
			return nil, x.explain(step, err)
		}
		out = append(out, more...)
	}
	return out, nil
}

func (x *Executor) inventory(ctx context.Context, step sdk.Step) ([]sdk.Owned, error) {
	if step.Installation == "" {
		return nil, sdk.Invalid("What is whose cannot be told without the installation's name.")
	}
	s, err := readSettings(step.Settings)
	if err != nil {
		return nil, err
	}
	var out []sdk.Owned
	for _, name := range sorted(s.zones) {
		p, err := x.open(ctx, step, s.zones[name])
		if err != nil {
			return nil, err
		}
		sets, err := p.list(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("list the zone %s", name), err)
		}
		out = append(out, ownedIn(sets, step.Installation)...)
	}
	return out, nil
}

// ownedIn is what sets, a whole zone, have of an installation.
func ownedIn(sets []*rrset, installation string) []sdk.Owned {
	there := map[key]bool{}
	for _, s := range sets {
		there[s.key] = true
	}
	var out []sdk.Owned
	for _, s := range sets {
		o, marks := markOf(s)
		if marks != 1 || o.installation != installation || s.kind != typeTXT {
			continue
		}
		name, isMark := ownedName(s.name)
		if !isMark {
			if slices.ContainsFunc(s.values, func(v string) bool {
				return strings.HasPrefix(v, manifestRecord) || strings.HasPrefix(v, manifestArchive)
			}) {
				out = append(out, sdk.Owned{App: o.app, Env: o.env, Part: o.part, Kind: kindManifest, Name: s.name, Elsewhere: true})
			}
			continue
		}
		kind := kindArchive
		for _, t := range recordTypes {
			if there[key{name, t}] {
				kind = kindRecord
			}
		}
		out = append(out, sdk.Owned{App: o.app, Env: o.env, Part: o.part, Kind: kind, Name: name, Elsewhere: true})
	}
	return out
}
