package dns

import (
	"context"
	"slices"

	"github.com/cloudflare/cloudflare-go"
)

// apply implements provider. It looks once more before it writes, and again
// after its marks are written: of two that marked one name the first keeps it.
func (p *cloudflareZone) apply(ctx context.Context, changes []change) error {
	if !slices.ContainsFunc(changes, change.writes) {
		return nil
	}
	var keys []key
	for _, c := range changes {
		keys = append(keys, c.key)
	}
	now, err := p.read(ctx, keys)
	if err != nil {
		return err
	}
	for _, c := range changes {
		if !now[c.key].same(c.before) {
			return errMoved
		}
	}
	steps := p.steps(changes)
	slices.SortStableFunc(steps, func(a, b change) int { return rank(a) - rank(b) })
	checked := false
	for _, c := range steps {
		if !c.writes() {
			continue
		}
		if rank(c) > 0 && !checked {
			checked = true
			if err := p.stillMine(ctx, changes); err != nil {
				return err
			}
		}
		if err := p.write(ctx, c); err != nil {
			return err
		}
	}
	if !checked {
		return p.stillMine(ctx, changes)
	}
	return nil
}

// steps are changes as they are made one by one. A mark that changes says both
// the old and the new until all records are changed: whoever is cut off in between
// finds everything claimed that may be there.
func (p *cloudflareZone) steps(changes []change) []change {
	var out []change
	for _, c := range changes {
		if !c.mark || c.before == nil || c.after == nil || !c.writes() {
			out = append(out, c)
			continue
		}
		both := &rrset{key: c.key, ttl: c.before.ttl, values: slices.Concat(c.before.values, c.after.values)}
		slices.Sort(both.values)
		both.values = slices.Compact(both.values)
		first, last := c, c
		first.after = both
		last.before, last.last = both, true
		out = append(out, first, last)
	}
	return out
}

// rank orders what cannot be done at once: marks that are made, records that go,
// records that are made or changed, marks that go.
func rank(c change) int {
	switch {
	case c.mark && c.after != nil && !c.last:
		return 0
	case c.mark:
		return 3
	case c.after == nil:
		return 1
	}
	return 2
}

// stillMine takes this change's new marks back where another's is beside them
// and older.
func (p *cloudflareZone) stillMine(ctx context.Context, changes []change) error {
	for _, c := range changes {
		if !c.mark || c.after == nil || c.before != nil {
			continue
		}
		list, err := p.records(ctx, c.name)
		if err != nil {
			return err
		}
		if s := fromCloudflare(list)[c.key]; s != nil && slices.Equal(s.values, c.after.values) {
			continue
		}
		var ours []cloudflare.DNSRecord
		first := true
		for _, r := range list {
			if slices.Contains(c.after.values, fromPresentation(c.kind, r.Content, 10)) {
				ours = append(ours, r)
			}
		}
		for _, r := range list {
			_, isMark := parseOwner(fromPresentation(c.kind, r.Content, 10))
			for _, o := range ours {
				older := r.CreatedOn.Before(o.CreatedOn) || r.CreatedOn.Equal(o.CreatedOn) && r.ID < o.ID
				if isMark && older && r.ID != o.ID {
					first = false
				}
			}
		}
		if first {
			continue
		}
		for _, o := range ours {
			if err := p.remove(ctx, o.ID); err != nil {
				return err
			}
		}
		return errMoved
	}
	return nil
}

// write makes one RRset what it shall be: what stays is left alone, and where one
// value takes the place of another the record is changed rather than made anew.
func (p *cloudflareZone) write(ctx context.Context, c change) error {
	id, err := p.container(ctx)
	if err != nil {
		return err
	}
	native, _ := beforeOf(c).([]cloudflare.DNSRecord)
	if c.last {
		if native, err = p.records(ctx, c.name); err != nil {
			return err
		}
		native = slices.DeleteFunc(native, func(r cloudflare.DNSRecord) bool { return r.Type != string(c.kind) })
	}
	missing := slices.Clone(valuesOf(c.after))
	var spare []cloudflare.DNSRecord
	for _, r := range native {
		value := fromPresentation(c.kind, r.Content, 10)
		i := slices.Index(missing, value)
		if i < 0 {
			spare = append(spare, r)
			continue
		}
		missing = slices.Delete(missing, i, i+1)
		if uint32(min(max(r.TTL, 0), maxTTL)) != c.after.ttl {
			if err := p.update(ctx, id, r.ID, c.after, value); err != nil {
				return err
			}
		}
	}
	for _, value := range missing {
		if len(spare) > 0 {
			err = p.update(ctx, id, spare[0].ID, c.after, value)
			spare = spare[1:]
		} else {
			err = p.create(ctx, id, c.after, value)
		}
		if err != nil {
			return err
		}
	}
	for _, r := range spare {
		if err := p.remove(ctx, r.ID); err != nil {
			return err
		}
	}
	return nil
}

func (p *cloudflareZone) create(ctx context.Context, id *cloudflare.ResourceContainer, s *rrset, value string) error {
	_, err := p.api.CreateDNSRecord(ctx, id, cloudflare.CreateDNSRecordParams{
		Type: string(s.kind), Name: s.name, Content: cloudflareContent(s.kind, value), TTL: int(s.ttl), Comment: "Berth",
	})
	switch {
	case codeOf(err, identicalRecord):
		return nil // an answer was lost, and the try before it made the record
	case codeOf(err, takenRecords...):
		return errMoved
	}
	return err
}

func (p *cloudflareZone) update(ctx context.Context, id *cloudflare.ResourceContainer, record string, s *rrset, value string) error {
	_, err := p.api.UpdateDNSRecord(ctx, id, cloudflare.UpdateDNSRecordParams{
		ID: record, Type: string(s.kind), Name: s.name, Content: cloudflareContent(s.kind, value), TTL: int(s.ttl),
	})
	if isNotFound(err) || codeOf(err, takenRecords...) {
		return errMoved
	}
	return err
}

func (p *cloudflareZone) remove(ctx context.Context, record string) error {
	id, err := p.container(ctx)
	if err != nil {
		return err
	}
	if err := p.api.DeleteDNSRecord(ctx, id, record); err != nil && !isNotFound(err) {
		return err
	}
	return nil
}
