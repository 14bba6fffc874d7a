package aws

import (
	"context"
	"slices"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// archive takes a last snapshot and deletes the rest.
func (t *database) archive(ctx context.Context) (progress, error) {
	now, err := t.api.look(ctx)
	if err != nil {
		return progress{}, err
	}
	finals, err := t.finals(ctx)
	if err != nil {
		return progress{}, err
	}
	if now == nil {
		for _, n := range finals {
			if n.status != snapshotReady {
				return waiting("snapshot %q is %s", n.id, n.status)
			}
		}
		return t.dropSpent(ctx, finals)
	}
	if err := t.s.refuse(t.title(), now.tags); err != nil {
		return progress{}, err
	}
	return t.end(ctx, now, finals, true)
}

// dropSpent deletes the snapshots of earlier archives, now that there is a newer
// one: they were restored from, and nothing would take them up again.
func (t *database) dropSpent(ctx context.Context, finals []snapshot) (progress, error) {
	for _, n := range finals {
		if n.tags[tagRestored] == "" || n.tags[tagRetained] != "" {
			continue
		}
		if err := t.api.dropSnapshot(ctx, n.id); err != nil {
			return progress{}, err
		}
	}
	return finished()
}

// end deletes a database that is there, with a last snapshot or without one.
func (t *database) end(ctx context.Context, now *dbState, finals []snapshot, last bool) (progress, error) {
	switch {
	case now.status == "deleting":
		return waiting("%s is being deleted", t.title())
	case now.protected:
		return progress{}, t.protected()
	case !last && (!now.cluster || broken(now.status)), now.status == "failed":
		// What failed when it was made holds nothing, and AWS takes no snapshot of it.
		// A cluster can be deleted only when it is at rest.
		if err := t.api.remove(ctx, now, ""); err != nil {
			return progress{}, err
		}
		return waiting("%s is being deleted", t.title())
	}
	if ok, at, err := t.ready(ctx, now); !ok {
		return at, err
	}
	if !last {
		if err := t.api.remove(ctx, now, ""); err != nil {
			return progress{}, err
		}
		return waiting("%s is being deleted", t.title())
	}
	if !now.copiesTags {
		if err := t.api.modify(ctx, dbChange{copyTags: true, told: []string{"its snapshots get its tags"}}); err != nil {
			return progress{}, err
		}
		return waiting("%s is being changed", t.title())
	}
	name := finalName(t.name, now.resourceID)
	for _, n := range finals {
		switch {
		case n.id == name && n.status != snapshotReady:
			return waiting("snapshot %q is %s", n.id, n.status)
		case n.id == name:
			// An earlier try took it, and the database has gone on since then.
			if err := t.api.dropSnapshot(ctx, n.id); err != nil {
				return progress{}, err
			}
		}
	}
	// The snapshot gets the database's tags as they are when it is taken, so what
	// a restore has to know is there before; there is no moment without it.
	if missing := missingTags(now.tags, now.lastTags(name)); len(missing) > 0 {
		if err := t.api.tag(ctx, now.arn, missing); err != nil {
			return progress{}, err
		}
	}
	if err := t.api.remove(ctx, now, name); err != nil {
		return progress{}, err
	}
	return waiting("%s is being deleted, with snapshot %q", t.title(), name)
}

// lastTags are what a database gets before its last snapshot of that name is
// taken. A cluster that has lost instances since it was written down, to a try
// that was cut off, keeps what was written.
func (d *dbState) lastTags(name string) map[string]string {
	out := d.memory(name)
	if !slices.Contains(d.memberStatus, "deleting") && d.instances >= remembered(d.tags).instances {
		return out
	}
	for key := range out {
		if key != tagFinal && d.tags[key] != "" {
			delete(out, key)
		}
	}
	return out
}

func (t *database) protected() error {
	return sdk.Invalid("The %s has deletion protection, and Berth does not take that off. Set `deletion_protection: false` and deploy, or turn it off in AWS, and try again.", t.title())
}

// restore brings back what archive kept.
func (t *database) restore(ctx context.Context, asWas bool) (progress, error) {
	now, err := t.api.look(ctx)
	if err != nil {
		return progress{}, err
	}
	kept, err := t.kept(ctx)
	if err != nil {
		return progress{}, err
	}
	switch {
	case now == nil && kept == nil:
		return progress{}, t.gone()
	case now == nil && !asWas:
		return t.begin(ctx, kept, t.fresh())
	case !asWas:
		return t.converge(ctx, now, kept, t.wanted(now))
	case kept == nil: // it was brought back before
		return t.wake(ctx)
	}
	as := t.plain()
	if now == nil {
		return as.begin(ctx, kept, remembered(kept.tags))
	}
	return as.converge(ctx, now, kept, remembered(kept.tags))
}

// plain is the database without its settings, for when they do not count.
func (t *database) plain() *database {
	as := *t
	as.dbSettings = dbSettings{}
	return &as
}

func (t *database) gone() error {
	return sdk.Invalid("The last snapshot of the %s is gone from %s, so that it cannot be brought back. Clean the environment up, and deploy it anew.", t.title(), t.s.place)
}

// retention is how long cleanup keeps the last snapshot. Without settings the
// database's own tag says it.
func (t *database) retention(tags map[string]string) retention {
	if t.s.known || tags[tagRetain] == "" {
		return t.s.retain
	}
	kept, err := readRetain(tags[tagRetain], t.s.retain)
	if err != nil {
		return t.s.retain // somebody has changed the tag
	}
	return kept
}

// remove deletes the database, and its last snapshots but what is to be
// retained: of those that no earlier cleanup left, the newest one.
func (t *database) remove(ctx context.Context) (progress, error) {
	now, err := t.api.look(ctx)
	if err != nil {
		return progress{}, err
	}
	finals, err := t.finals(ctx)
	if err != nil {
		return progress{}, err
	}
	if now != nil && t.s.mine(now.tags) {
		return t.end(ctx, now, finals, !t.retention(now.tags).none())
	}
	for _, n := range finals {
		if n.status != snapshotReady && n.status != "failed" {
			return waiting("snapshot %q is %s", n.id, n.status)
		}
	}
	drop, keep := t.sort(finals)
	for _, n := range keep {
		if n.tags[tagRetained] == "" {
			until := t.retention(n.tags).until(t.s.now())
			if err := t.api.tag(ctx, n.arn, map[string]string{tagRetained: until}); err != nil {
				return progress{}, err
			}
		}
	}
	for _, n := range drop {
		if err := t.api.dropSnapshot(ctx, n.id); err != nil {
			return progress{}, err
		}
	}
	return finished()
}

// sort tells which last snapshots a cleanup deletes and which it keeps.
func (t *database) sort(finals []snapshot) (drop, keep []snapshot) {
	newest := true
	for _, n := range finals {
		switch until, ok := retainedUntil(n.tags); {
		case ok && until.After(t.s.now()):
			keep = append(keep, n)
		case ok:
			drop = append(drop, n)
		case newest && n.status == snapshotReady && n.tags[tagRestored] == "" && !t.retention(n.tags).none():
			keep = append(keep, n)
			newest = false
		default:
			drop = append(drop, n)
		}
	}
	return drop, keep
}

// retainedUntil is when a snapshot that a cleanup left may go; ok is false for
// one that none has left. What cannot be read is kept: somebody has changed it.
func retainedUntil(tags map[string]string) (until time.Time, ok bool) {
	text := tags[tagRetained]
	if text == "" {
		return time.Time{}, false
	}
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return endless, true
	}
	return until, true
}
