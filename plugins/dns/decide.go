package dns

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/berth-dev/berth/plugins/sdk"
)

// sight is what was read of a part in one zone.
type sight struct {
	zone     string
	me       owner
	found    map[key]*rrset
	manifest *manifest // nil without one
	others   map[string][]string
}

// look reads what a part has in a zone and what is at the names that it wants.
// All types of every name are read, so that the change can name them as its
// conditions.
func look(ctx context.Context, p provider, zone string, me owner, want []*rrset) (*sight, error) {
	s := &sight{zone: zone, me: me, others: map[string][]string{}}
	manifestKey := key{manifestName(me, zone), typeTXT}
	keys := append([]key{manifestKey}, keysOf(namesOf(want))...)
	found, err := p.read(ctx, keys)
	if err != nil {
		return nil, err
	}
	s.found, s.manifest = found, parseManifest(found[manifestKey], me, zone)
	if s.manifest != nil {
		var more []string
		for _, name := range namesOf(s.manifest.sets) {
			if !slices.Contains(namesOf(want), name) {
				more = append(more, name)
			}
		}
		if len(more) > 0 {
			rest, err := p.read(ctx, keysOf(more))
			if err != nil {
				return nil, err
			}
			maps.Copy(s.found, rest)
		}
	}
	for _, w := range want {
		if w.kind == typeCNAME && s.found[w.key] == nil {
			if s.others[w.name], err = p.others(ctx, w.name); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// settled tells, with one round of questions, whether all is as a deploy of want
// would leave it.
func settled(ctx context.Context, p provider, zone string, me owner, want []*rrset) (map[key]*rrset, bool, error) {
	manifestKey := key{manifestName(me, zone), typeTXT}
	keys := []key{manifestKey}
	for _, name := range namesOf(want) {
		keys = append(keys, key{ownerName(name), typeTXT})
	}
	for _, w := range want {
		keys = append(keys, w.key)
	}
	found, err := p.read(ctx, keys)
	if err != nil {
		return nil, false, err
	}
	is := sameValues(found[manifestKey], (&manifest{sets: want}).set(me, zone))
	for _, name := range namesOf(want) {
		mark := found[key{ownerName(name), typeTXT}]
		is = is && slices.Contains(valuesOf(mark), me.text())
	}
	for _, w := range want {
		is = is && w.same(found[w.key])
	}
	return found, is, nil
}

// sameValues is same but for the TTL, which nobody waits for.
func sameValues(a, b *rrset) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.values, b.values)
}

// keysOf are all the RRsets that matter for names, marks included.
func keysOf(names []string) []key {
	var out []key
	for _, name := range names {
		for _, kind := range recordTypes {
			out = append(out, key{name, kind})
		}
		out = append(out, key{ownerName(name), typeTXT})
	}
	return out
}

// namesOf are the names of sets in their order, each once.
func namesOf(sets []*rrset) []string {
	var out []string
	for _, s := range sets {
		if !slices.Contains(out, s.name) {
			out = append(out, s.name)
		}
	}
	return out
}

// holder is whose a name is: mine, nobody's, or an error that names the owner.
func (s *sight) holder(name string) (mine bool, err error) {
	set := s.found[key{ownerName(name), typeTXT}]
	o, marks := markOf(set)
	switch {
	case set == nil:
		return false, nil
	case marks == 0:
		return false, sdk.Invalid("There is a TXT record at %s that is not Berth's, where the record belongs that says whose %s is. Remove it, or give the part another name.", ownerName(name), name)
	case marks > 1:
		return false, sdk.Invalid("The TXT record %s names several owners of %s. Remove those that are wrong.", ownerName(name), name)
	case !o.is(s.me):
		return false, sdk.Invalid("The name %s is that of environment %s: give this part another `name`.", name, o.of(s.me))
	}
	return true, nil
}

// kept are the types of name that the manifest claims; nil when it does not
// speak of name.
func (s *sight) kept(name string) map[recordType]bool {
	if s.manifest == nil {
		return nil
	}
	var out map[recordType]bool
	for _, set := range s.manifest.sets {
		if set.name == name {
			if out == nil {
				out = map[recordType]bool{}
			}
			out[set.kind] = true
		}
	}
	return out
}

// mayHave says why the part may not have what it wants at name, nil when it may.
func (s *sight) mayHave(name string, mine bool, kinds []recordType) error {
	claimed := s.kept(name)
	for _, kind := range recordTypes {
		there := s.found[key{name, kind}] != nil
		ours := mine && (claimed == nil || claimed[kind])
		cname := slices.Contains(kinds, typeCNAME) || kind == typeCNAME
		if there && !ours && (cname || slices.Contains(kinds, kind)) {
			return s.foreign(name, kind, mine)
		}
	}
	if others := s.others[name]; len(others) > 0 && slices.Contains(kinds, typeCNAME) {
		return sdk.Invalid("The name %s has a record of type %s, and a CNAME can stand beside no other: give this part another `name`, or addresses.", name, others[0])
	}
	return nil
}

// foreign is the refusal of a record without Berth's mark.
func (s *sight) foreign(name string, kind recordType, mine bool) error {
	if mine {
		return sdk.Invalid("The record %s %s is in the way: the name is this part's, but that record is not Berth's. Remove it.", name, kind)
	}
	return sdk.Invalid("The record %s %s is there already and is not Berth's. Give this part another `name`, or remove the record; to hand it over to Berth, add a TXT record %s with the text %s",
		name, kind, ownerName(name), quotedWhole(s.me.text()))
}

// quotedWhole is quoted for a text that has to be told whole, to be copied.
func quotedWhole(s string) string { return fmt.Sprintf("%q", s) }

// become are the changes after which the part has want and nothing else in the
// zone, on the condition that what was read is still so. Moving notes that there
// may be something in another zone. It fails when a name is not the part's to
// have.
func (s *sight) become(want []*rrset, moving bool) ([]change, error) {
	var out []change
	for _, name := range namesOf(want) {
		mine, err := s.holder(name)
		if err != nil {
			return nil, err
		}
		wanted := map[recordType]*rrset{}
		var kinds []recordType
		for _, w := range want {
			if w.name == name {
				wanted[w.kind], kinds = w, append(kinds, w.kind)
			}
		}
		if err := s.mayHave(name, mine, kinds); err != nil {
			return nil, err
		}
		claimed := s.kept(name)
		for _, kind := range recordTypes {
			k := key{name, kind}
			c := change{key: k, before: s.found[k], after: s.found[k]}
			if w := wanted[kind]; w != nil {
				c.after = w
			} else if mine && claimed[kind] {
				c.after = nil
			}
			out = append(out, c)
		}
		out = append(out, s.mark(name, &s.me))
	}
	gone := s.release(func(name string) bool { return slices.Contains(namesOf(want), name) }, true)
	return append(append(out, gone...), s.remember(&manifest{sets: want, moving: moving})), nil
}

// release are the changes that take away what the manifest claims, but for the
// names that stay says. A name that is another's by now is left alone. Without
// marks the marks stay, to keep the names for a restore.
func (s *sight) release(stay func(name string) bool, marks bool) []change {
	if s.manifest == nil {
		return nil
	}
	var out []change
	for _, name := range namesOf(s.manifest.sets) {
		if stay(name) {
			continue
		}
		if mine, err := s.holder(name); err != nil || !mine {
			continue // it is lost to somebody, or to nobody, and theirs to take away
		}
		claimed := s.kept(name)
		for _, kind := range recordTypes {
			k := key{name, kind}
			if found := s.found[k]; found != nil && claimed[kind] {
				out = append(out, change{key: k, before: found})
			}
		}
		if marks {
			out = append(out, s.mark(name, nil))
			continue
		}
		out = append(out, s.mark(name, &s.me))
	}
	return out
}

// mark makes the record of ownership of name say o; nil takes it away. One that
// says so already stays as it is.
func (s *sight) mark(name string, o *owner) change {
	k := key{ownerName(name), typeTXT}
	before := s.found[k]
	after := remarked(before, name, o)
	if sameValues(before, after) {
		after = before
	}
	return change{key: k, before: before, after: after, mark: true}
}

// remember makes the manifest say m.
func (s *sight) remember(m *manifest) change {
	k := key{manifestName(s.me, s.zone), typeTXT}
	before, after := s.found[k], m.set(s.me, s.zone)
	if sameValues(before, after) {
		after = before
	}
	return change{key: k, before: before, after: after, mark: true}
}
