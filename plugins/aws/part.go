package aws

import (
	"context"
	"maps"
	"slices"

	"github.com/berth-dev/berth/plugins/sdk"
)

// part is what a step is about: the things that its settings ask for, or, in a
// cleanup, those that are there.
type part struct {
	step     sdk.Step
	platform platform
	asked    asked
	units    []unit // in the order of kinds
}

// unit is one thing of a part.
type unit struct {
	kind  kind
	thing thing
	s     *session
}

// open reads a step's settings. It reaches out for nothing.
func (x *Executor) open(ctx context.Context, step sdk.Step) (*part, error) {
	if step.App == "" || step.Env == "" || step.Part == "" {
		return nil, sdk.Invalid("An aws part needs the names of its app, environment and part: they are the tags of what it makes.")
	}
	p, err := readPlatform(step.Settings)
	if err != nil {
		return nil, err
	}
	a, err := readAsked(step.With, p)
	if err != nil {
		return nil, err
	}
	out := &part{step: step, platform: p, asked: a}
	if len(a.kinds) == 0 {
		if step.Verb == sdk.Cleanup {
			return out, nil
		}
		return nil, sdk.Invalid("An aws part asks for something: give it one of %s.", listed(kindNames(p.enabled())))
	}
	where, err := p.placeOf(a)
	if err != nil {
		return nil, err
	}
	s, err := x.session(ctx, step, p, a, where)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds() {
		settings, ok := a.kinds[k.name]
		if !ok {
			continue
		}
		t, err := k.open(s, input{settings: settings})
		if err != nil {
			return nil, err
		}
		out.units = append(out.units, unit{kind: k, thing: t, s: s})
	}
	return out, nil
}

func kindNames(all []kind) []string {
	out := make([]string, 0, len(all))
	for _, k := range all {
		out = append(out, k.name)
	}
	return out
}

// find adds what bears the part's tags, whatever its settings say now: a kind
// that they have dropped, or, when there are none, all that was ever made for
// it. Without settings it looks at every place, otherwise at all regions of the
// part's account, in another of which it may have been before. When one of them
// cannot be looked at, it fails.
func (x *Executor) find(ctx context.Context, p *part) error {
	places := p.platform.places()
	if len(p.units) > 0 {
		places = p.platform.placesOf(p.units[0].s.place.account)
	}
	for i, where := range places {
		s, err := x.session(ctx, p.step, p.platform, p.asked, where)
		if err != nil {
			return err
		}
		if len(p.units) > 0 && p.units[0].s.place == where {
			s = p.units[0].s
		}
		there, err := x.listAll(ctx, s, p.platform.enabled(), i == 0 || places[i-1].account != where.account)
		if err != nil {
			return err
		}
		for _, f := range there {
			if err := p.add(s, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// add opens what was found, unless it is there already.
func (p *part) add(s *session, f found) error {
	k := kinds()[slices.IndexFunc(kinds(), func(k kind) bool { return k.name == f.kind })]
	t, err := k.open(s, input{settings: p.asked.kinds[f.kind], name: f.name})
	if err != nil {
		return err
	}
	same := func(u unit) bool {
		return u.kind.name == f.kind && u.thing.title() == t.title() && u.s.place.account == s.place.account && (k.global || u.s.place == s.place)
	}
	if !slices.ContainsFunc(p.units, same) {
		p.units = append(p.units, unit{kind: k, thing: t, s: s})
	}
	return nil
}

// waitsFor are the units of p that have to be done before u, which is the other
// way round when things are taken away.
func (p *part) waitsFor(u unit, verb sdk.Verb) []int {
	var out []int
	for i, other := range p.units {
		first, then := other.kind, u.kind
		if verb == sdk.Cleanup || verb == sdk.Archive || verb == sdk.Sleep {
			first, then = then, first
		}
		if first.name != then.name && slices.Contains(then.after, first.name) {
			out = append(out, i)
		}
	}
	return out
}

// act is what a verb does to the thing, nil when it leaves it alone.
func (u unit) act(step sdk.Step) func(context.Context) (progress, error) {
	switch step.Verb {
	case sdk.Deploy:
		return u.thing.deploy
	case sdk.Cleanup:
		return u.thing.remove
	case sdk.Archive:
		if t, ok := u.thing.(archiver); ok {
			return t.archive
		}
	case sdk.Restore:
		if t, ok := u.thing.(archiver); ok {
			return func(ctx context.Context) (progress, error) { return t.restore(ctx, step.AsWas) }
		}
		if !step.AsWas {
			return u.thing.deploy
		}
	case sdk.Sleep:
		if t, ok := u.thing.(sleeper); ok {
			return t.sleep
		}
	case sdk.Wake:
		if t, ok := u.thing.(sleeper); ok {
			return t.wake
		}
	case sdk.Restart:
		if t, ok := u.thing.(restarter); ok {
			return func(ctx context.Context) (progress, error) { return t.restart(ctx, step.ID) }
		}
	}
	return nil
}

// propose is what a verb would do to the thing.
func (u unit) propose(ctx context.Context, step sdk.Step) (proposal, error) {
	verb := step.Verb
	_, archives := u.thing.(archiver)
	if verb == sdk.Restore && !archives && !step.AsWas {
		verb = sdk.Deploy // it was kept as it was, and gets the present settings
	}
	if verb != sdk.Restore && u.act(step) == nil {
		return proposal{lines: []string{"  " + u.thing.title() + " stays as it is"}}, nil
	}
	return u.thing.plan(ctx, verb)
}

// tell adds the outputs of one kind to those of the part: as rds_endpoint, and
// as endpoint when no other kind of the part has that.
func tell(all map[string]map[string]string) map[string]string {
	count := map[string]int{}
	for _, outputs := range all {
		for key := range outputs {
			count[key]++
		}
	}
	out := map[string]string{}
	for _, kind := range slices.Sorted(maps.Keys(all)) {
		for key, value := range all[kind] {
			out[kind+"_"+key] = value
			if count[key] == 1 {
				out[key] = value
			}
		}
	}
	return out
}
