package dns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Plan implements sdk.Planner. It asks the server that takes changes, and
// changes nothing.
func (x *Executor) Plan(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	p, err := x.plan(ctx, step)
	if err != nil {
		return sdk.Plan{}, x.explain(step, err)
	}
	return p, nil
}

func (x *Executor) plan(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	j, err := x.job(step)
	if err != nil {
		return sdk.Plan{}, err
	}
	p := sdk.Plan{Inputs: map[string]string{}}
	if step.Verb == sdk.Deploy || step.Verb == sdk.Restore && !step.AsWas {
		p.Inputs["records"] = digest(j.part.sets)
	}
	if !step.Brief {
		if err := j.foresee(ctx, &p); err != nil {
			return sdk.Plan{}, err
		}
	}
	for _, a := range x.annexes {
		if err := a.plan(ctx, j, &p); err != nil {
			return sdk.Plan{}, err
		}
	}
	return p, nil
}

// digest is of all that decides what records a deploy makes.
func digest(sets []*rrset) string {
	h := sha256.New()
	for _, s := range sets {
		fmt.Fprintf(h, "%s %d %q\n", s.key, s.ttl, s.values)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// planned is what would be changed in one zone.
type planned struct {
	zone    zoneSettings
	changes []change
	p       provider
}

// foresee fills p with what a run would do now.
func (j *job) foresee(ctx context.Context, p *sdk.Plan) error {
	all, err := j.decide(ctx)
	if err != nil {
		return err
	}
	var notes []string
	counts := map[sdk.Change]int{}
	var diff strings.Builder
	for _, z := range all {
		for _, c := range z.changes {
			if !c.writes() {
				continue
			}
			r := resource(c)
			p.Resources = append(p.Resources, r)
			if c.mark {
				continue
			}
			counts[r.Change]++
		}
		for _, line := range diffOf(z.changes) {
			diff.WriteString(line + "\n")
		}
		note, err := cacheNote(ctx, z.p, z.changes)
		if err != nil {
			return err
		}
		if note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	p.Diff = diff.String()
	p.Summary = summary(counts, len(p.Resources), notes)
	return nil
}

// decide says what each zone's changes would be.
func (j *job) decide(ctx context.Context) ([]planned, error) {
	one := func(z zoneSettings, want []*rrset, decide func(*sight) ([]change, error)) (planned, error) {
		p, err := j.x.open(ctx, j.step, z)
		if err != nil {
			return planned{}, err
		}
		changes, err := j.weigh(ctx, p, z.name, want, decide)
		return planned{zone: z, changes: changes, p: p}, err
	}
	switch j.step.Verb {
	case sdk.Deploy, sdk.Restore:
		zone, want := j.zone, j.part.sets
		if j.step.Verb == sdk.Restore && j.step.AsWas {
			var err error
			if zone, want, err = j.archived(ctx); err != nil {
				return nil, err
			}
		}
		first, err := one(zone, want, func(s *sight) ([]change, error) { return s.become(want, false) })
		if err != nil {
			return nil, err
		}
		out := []planned{first}
		if manifest := first.changes[len(first.changes)-1].before; !parseManifest(manifest, j.me, zone.name).arrived() {
			for _, z := range j.others(zone.name) {
				other, err := one(z, nil, (*sight).clear)
				if err != nil {
					return nil, err
				}
				out = append(out, other)
			}
		}
		return out, nil
	case sdk.Archive, sdk.Cleanup:
		decide := (*sight).clear
		if j.step.Verb == sdk.Archive {
			decide = (*sight).shelve
		}
		var out []planned
		for _, z := range j.zones() {
			zone, err := one(z, j.wanted(z), decide)
			if err != nil {
				return nil, err
			}
			out = append(out, zone)
		}
		return out, nil
	}
	return nil, sdk.Invalid("The dns executor cannot %s a part.", quoted(string(j.step.Verb)))
}

// resource is what a plan says of a change.
func resource(c change) sdk.Resource {
	r := sdk.Resource{Kind: kindRecord, Name: c.String(), Change: sdk.ChangeUpdate}
	switch {
	case c.before == nil:
		r.Change = sdk.ChangeCreate
	case c.after == nil:
		r.Change = sdk.ChangeDelete
	}
	return r
}

// diffOf are the lines of a unified diff that show changes, as a zone file has
// the records: for each name first what goes. Marks are not shown.
func diffOf(changes []change) []string {
	var names []string
	gone, made := map[string][]string{}, map[string][]string{}
	lines := func(sign string, s *rrset) (out []string) {
		for _, v := range valuesOf(s) {
			out = append(out, fmt.Sprintf("%s%s. %d %s %s", sign, s.name, s.ttl, s.kind, shownValue(s.kind, v)))
		}
		return out
	}
	for _, c := range changes {
		if !c.writes() || c.mark {
			continue
		}
		if !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
		gone[c.name] = append(gone[c.name], lines("-", c.before)...)
		made[c.name] = append(made[c.name], lines("+", c.after)...)
	}
	var out []string
	for _, name := range names {
		out = append(append(out, gone[name]...), made[name]...)
	}
	return out
}

// shownValue is a value as a zone file has it, on one line.
func shownValue(kind recordType, v string) string {
	switch kind {
	case typeCNAME:
		return v + "."
	case typeTXT:
		return fmt.Sprintf("%q", v)
	}
	return v
}

// summary is one line on what a plan is.
func summary(counts map[sdk.Change]int, all int, notes []string) string {
	var words []string
	for _, c := range []struct {
		change sdk.Change
		word   string
	}{{sdk.ChangeCreate, "make"}, {sdk.ChangeUpdate, "change"}, {sdk.ChangeDelete, "remove"}} {
		switch n := counts[c.change]; n {
		case 0:
		case 1:
			words = append(words, c.word+" 1 record")
		default:
			words = append(words, fmt.Sprintf("%s %d records", c.word, n))
		}
	}
	text := strings.Join(words, ", ")
	switch {
	case text == "" && all > 0:
		text = "change only the records of ownership"
	case text == "":
		text = "nothing to change"
	}
	return strings.Join(append([]string{text}, notes...), ". ")
}

func compareKeys(a, b key) int { return strings.Compare(a.String(), b.String()) }
