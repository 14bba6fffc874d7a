package dns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Kinds of what the executor makes.
const (
	kindRecord   = "DNS record"
	kindArchive  = "DNS name kept for an archive"
	kindManifest = "List of a part's DNS records"
)

// changeTries is how often a change is decided anew because somebody else
// changed what it was decided on.
const changeTries = 8

// attempt looks, decides and applies, and begins anew when somebody else was
// faster. It returns what it applied.
func (j *job) attempt(ctx context.Context, p provider, zone string, want []*rrset, decide func(*sight) ([]change, error)) ([]change, error) {
	for try := 1; ; try++ {
		changes, err := j.weigh(ctx, p, zone, want, decide)
		if err != nil || !slices.ContainsFunc(changes, change.writes) {
			return changes, err
		}
		if err = p.apply(ctx, changes); err == nil || !errors.Is(err, errMoved) || try == changeTries {
			return changes, err
		}
	}
}

// weigh looks and decides. What it would refuse is looked at twice: answers to
// several questions are not of one moment, and a record that is being made may
// be seen without its mark.
func (j *job) weigh(ctx context.Context, p provider, zone string, want []*rrset, decide func(*sight) ([]change, error)) ([]change, error) {
	said := ""
	for try := 1; ; try++ {
		s, err := look(ctx, p, zone, j.me, want)
		if err != nil {
			return nil, err
		}
		changes, err := decide(s)
		if err == nil || err.Error() == said || try == changeTries {
			return changes, err
		}
		said = err.Error()
	}
}

// deploy makes the part's records what the settings say, or, for a restore of
// what was, what the archive says.
func (j *job) deploy(ctx context.Context, out sdk.Events) error {
	zone, want := j.zone, j.part.sets
	if j.step.Verb == sdk.Restore && j.step.AsWas {
		var err error
		if zone, want, err = j.archived(ctx); err != nil {
			return err
		}
	}
	p, err := j.x.open(ctx, j.step, zone)
	if err != nil {
		return err
	}
	found, is, err := settled(ctx, p, zone.name, j.me, want)
	if err != nil {
		return err
	}
	j.outputs(zone, want, out)
	if is && len(want) > 0 {
		out.Log("The records are as they should be already.")
		return j.await(ctx, p, zone, expected(want), out)
	}
	var left []zoneSettings
	if manifest := found[key{manifestName(j.me, zone.name), typeTXT}]; !parseManifest(manifest, j.me, zone.name).arrived() {
		if left, err = j.elsewhere(ctx, zone.name); err != nil {
			return err
		}
	}
	become := func(moving bool) ([]change, error) {
		return j.attempt(ctx, p, zone.name, want, func(s *sight) ([]change, error) { return s.become(want, moving) })
	}
	changes, err := become(len(left) > 0)
	if err != nil {
		return err
	}
	tell(changes, out)
	for _, z := range left {
		if err := j.leave(ctx, z, nil, out); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		if _, err := become(false); err != nil {
			return err
		}
	}
	if err := j.await(ctx, p, zone, append(expected(want), gone(changes)...), out); err != nil {
		return err
	}
	return j.caches(ctx, p, changes, out)
}

// others are the zones but one that the app may use.
func (j *job) others(except string) []zoneSettings {
	var out []zoneSettings
	for _, name := range sorted(j.settings.zones) {
		if z := j.settings.zones[name]; name != except && z.allows(j.step.App) {
			out = append(out, z)
		}
	}
	return out
}

// elsewhere are the other zones in which an earlier deploy left something, when
// the part has moved.
func (j *job) elsewhere(ctx context.Context, except string) ([]zoneSettings, error) {
	var out []zoneSettings
	for _, z := range j.others(except) {
		p, err := j.x.open(ctx, j.step, z)
		if err != nil {
			return nil, err
		}
		at := key{manifestName(j.me, z.name), typeTXT}
		found, err := p.read(ctx, []key{at})
		if err != nil {
			return nil, err
		}
		if found[at] != nil {
			out = append(out, z)
		}
	}
	return out, nil
}

// outputs are what parts that need this one can use.
func (j *job) outputs(z zoneSettings, want []*rrset, out sdk.Events) {
	out.Output("zone", z.name)
	if len(want) > 0 {
		out.Output("fqdn", want[0].name)
		out.Output("name", relative(want[0].name, z.name))
	}
}

// archived finds what an archive of the part remembers, in whatever zone.
func (j *job) archived(ctx context.Context) (zoneSettings, []*rrset, error) {
	for _, z := range j.zones() {
		p, err := j.x.open(ctx, j.step, z)
		if err != nil {
			return z, nil, err
		}
		s, err := look(ctx, p, z.name, j.me, nil)
		if err != nil {
			return z, nil, err
		}
		if s.manifest != nil && len(s.manifest.sets) > 0 {
			return z, s.manifest.sets, nil
		}
	}
	if len(j.part.sets) == 0 {
		return j.zone, nil, nil // it had no records
	}
	return j.zone, nil, sdk.Invalid("Nothing is archived of this part: the record %s, which said what its names were, is gone. Deploy it instead.", manifestName(j.me, j.zone.name))
}

// zones are where the part may have something: first where its settings say, then
// the others of the app. Without settings they are all that there are.
func (j *job) zones() []zoneSettings {
	var out []zoneSettings
	if j.zone.name != "" {
		out = append(out, j.zone)
	}
	for _, name := range sorted(j.settings.zones) {
		if z := j.settings.zones[name]; name != j.zone.name && (j.zone.name == "" || z.allows(j.step.App)) {
			out = append(out, z)
		}
	}
	return out
}

// archive takes the records away and keeps what they were, and the names.
func (j *job) archive(ctx context.Context, out sdk.Events) error {
	for _, z := range j.zones() {
		p, err := j.x.open(ctx, j.step, z)
		if err != nil {
			return err
		}
		changes, err := j.attempt(ctx, p, z.name, j.wanted(z), (*sight).shelve)
		if err != nil {
			return err
		}
		tell(changes, out)
		if err := j.await(ctx, p, z, gone(changes), out); err != nil {
			return err
		}
		if err := j.caches(ctx, p, changes, out); err != nil {
			return err
		}
	}
	return nil
}

// wanted are the sets of the part's settings, if z is the zone of those.
func (j *job) wanted(z zoneSettings) []*rrset {
	if z.name == j.zone.name {
		return j.part.sets
	}
	return nil
}

// shelve are the changes that archive.
func (s *sight) shelve() ([]change, error) {
	s.recall()
	if s.manifest == nil {
		return nil, nil
	}
	kept := &manifest{archived: true}
	for _, set := range s.manifest.sets {
		if live := s.found[set.key]; live != nil && !s.manifest.archived {
			set = &rrset{key: set.key, ttl: live.ttl, values: live.values} // as it is, whoever changed it
		}
		kept.sets = append(kept.sets, set)
	}
	return append(s.release(func(string) bool { return false }, false), s.remember(kept)), nil
}

// recall makes up for a manifest that somebody removed: what is at names that
// were read and bear the part's mark is the part's.
func (s *sight) recall() {
	if s.manifest != nil {
		return
	}
	m := &manifest{}
	for k, set := range s.found {
		name, ok := ownedName(k.name)
		if !ok || k.kind != typeTXT {
			continue
		}
		if o, marks := markOf(set); marks != 1 || !o.is(s.me) {
			continue
		}
		for _, kind := range recordTypes {
			if live := s.found[key{name, kind}]; live != nil {
				m.sets = append(m.sets, live)
			}
		}
		if len(m.sets) == 0 || m.sets[len(m.sets)-1].name != name {
			m.sets = append(m.sets, &rrset{key: key{name: name, kind: typeTXT}}) // the mark alone is left
		}
	}
	if len(m.sets) > 0 {
		slices.SortFunc(m.sets, func(a, b *rrset) int { return compareKeys(a.key, b.key) })
		s.manifest = m
	}
}

// cleanup takes everything of the part away, in every zone where it may have
// something.
func (j *job) cleanup(ctx context.Context, out sdk.Events) error {
	for _, z := range j.zones() {
		if err := j.leave(ctx, z, j.wanted(z), out); err != nil {
			return err
		}
	}
	return nil
}

// leave takes away all that the part has in z. Names are where it may have
// something that its manifest does not speak of.
func (j *job) leave(ctx context.Context, z zoneSettings, names []*rrset, out sdk.Events) error {
	p, err := j.x.open(ctx, j.step, z)
	if err != nil {
		return err
	}
	changes, err := j.attempt(ctx, p, z.name, names, (*sight).clear)
	if err != nil {
		return err
	}
	tell(changes, out)
	for _, c := range changes {
		if c.writes() && !c.mark {
			out.Receipt(sdk.Resource{Kind: kindRecord, Name: c.String(), Change: sdk.ChangeDelete})
		}
	}
	if err := j.await(ctx, p, z, gone(changes), out); err != nil {
		return err
	}
	return j.caches(ctx, p, changes, out)
}

// clear are the changes that leave nothing.
func (s *sight) clear() ([]change, error) {
	s.recall()
	return append(s.release(func(string) bool { return false }, true), s.remember(nil)), nil
}

// tell logs what was changed.
func tell(changes []change, out sdk.Events) {
	for _, line := range diffOf(changes) {
		out.Log(line)
	}
}

// caches says how long resolvers elsewhere may go on with what they know.
func (j *job) caches(ctx context.Context, p provider, changes []change, out sdk.Events) error {
	note, err := cacheNote(ctx, p, changes)
	if err == nil && note != "" {
		out.Log(note)
	}
	return err
}

// cacheNote is one sentence on what caches may remember, "" when nothing
// changed. An old record is kept for its TTL; that a name was not there is kept
// for as long as the zone says.
func cacheNote(ctx context.Context, p provider, changes []change) (string, error) {
	var old time.Duration
	isNew := false
	for _, c := range changes {
		switch {
		case c.mark || !c.writes():
		case c.before != nil:
			old = max(old, time.Duration(c.before.ttl)*time.Second)
		default:
			isNew = true
		}
	}
	note := ""
	if old > 0 {
		note = fmt.Sprintf("Caches elsewhere may keep what was there before for up to %s (its TTL).", old)
	}
	if !isNew {
		return note, nil
	}
	negative, err := p.negative(ctx)
	if err != nil {
		return "", err
	}
	if note != "" {
		note += " "
	}
	return note + fmt.Sprintf("Who asked for a new name before may be told for up to %s that it does not exist (the zone's negative TTL).", negative), nil
}
