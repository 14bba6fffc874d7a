package aws

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// snapshot is one of an instance or of a cluster.
type snapshot struct {
	id, arn, status string
	of              string // the database's name
	engine, version string
	storage         int32 // GiB
	tags            map[string]string
	createdAt       time.Time
	automatic       bool
}

const snapshotReady = "available"

// finalName is the name of the last snapshot of a database: the same for every
// try to delete it, and another for a later database of the same name.
func finalName(database, resourceID string) string {
	const hashBytes = 5 // 40 bits; it tells apart the lives of one name
	sum := sha256.Sum256([]byte(resourceID))
	return database + "-final-" + hex.EncodeToString(sum[:hashBytes])
}

// tagFinal is on a database that is about to be deleted, and so on its last
// snapshot: the name of that.
const tagFinal = "berth:final"

// final tells whether an archive or a cleanup of Berth made the snapshot. One
// that a person makes gets the database's tags as well, but has another name.
func (n snapshot) final() bool { return !n.automatic && n.tags[tagFinal] == n.id }

// finals are the last snapshots of the part's own, the newest first.
func (t *database) finals(ctx context.Context) ([]snapshot, error) {
	all, err := t.api.snapshots(ctx, t.name, true)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n snapshot) bool { return !n.final() || !t.s.mine(n.tags) || n.status == "deleting" })
	slices.SortFunc(all, newestFirst)
	return all, nil
}

// newestFirst takes one that is still being made for the newest.
func newestFirst(a, b snapshot) int {
	if a.createdAt.IsZero() != b.createdAt.IsZero() {
		if a.createdAt.IsZero() {
			return -1
		}
		return 1
	}
	return cmp.Or(b.createdAt.Compare(a.createdAt), cmp.Compare(a.id, b.id))
}

// kept is the snapshot that an archive left and that nothing has been restored
// from, nil when there is none. An older one is never taken for it: whatever was
// restored from is marked, and so is what a cleanup left.
func (t *database) kept(ctx context.Context) (*snapshot, error) {
	all, err := t.finals(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		if n.tags[tagRestored] == "" && n.tags[tagRetained] == "" {
			return &n, nil
		}
	}
	return nil, nil
}

// source is the snapshot that settings want a new database to be made from, nil
// for none. What a plan found stays what it is while there is that snapshot.
func (t *database) source(ctx context.Context) (*snapshot, error) {
	agreed := t.s.step.Agreed[t.kind+" snapshot"]
	id := cmp.Or(agreed, t.Snapshot)
	switch {
	case t.Snapshot == "" && t.From == nil:
		return nil, nil
	case agreed == "" && (unknown(t.Snapshot) || t.From != nil && (unknown(t.From.Name) || unknown(t.From.Environment))):
		return &snapshot{id: firstOf(t.Snapshot, "the newest")}, nil
	case id != "":
		n, err := t.api.snapshot(ctx, id)
		if err != nil {
			return nil, err
		}
		if n == nil {
			return nil, sdk.Invalid("The snapshot %q is not there, in %s: the %s cannot be made from it. Name another one, or ask for the action again.", clip(id, 200), t.s.place, t.title())
		}
		return n, nil
	}
	return t.newest(ctx)
}

// newest is the newest snapshot of another database that is ready.
func (t *database) newest(ctx context.Context) (*snapshot, error) {
	of, whose := t.From.Name, owner{}
	if of == "" {
		whose = owner{
			app: cmp.Or(t.From.App, t.s.owner.app), env: t.From.Environment, part: cmp.Or(t.From.Part, t.s.owner.part), installation: t.s.owner.installation,
		}
		of = whose.name(dbNameLimit)
	}
	all, err := t.api.snapshots(ctx, of, false)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n snapshot) bool {
		return n.status != snapshotReady || whose.known() && !tagsOwner(n.tags).is(whose)
	})
	slices.SortFunc(all, newestFirst)
	if len(all) == 0 {
		return nil, sdk.Invalid("There is no snapshot of the %s %q in %s yet, neither an automatic nor a last one. Give it `backup_days`, or name a `snapshot`.", t.word, of, t.s.place)
	}
	return &all[0], nil
}

// fits refuses a snapshot of something else than the settings ask for.
func (t *database) fits(n *snapshot) error {
	if t.Engine != "" && n.engine != "" && t.Engine != n.engine {
		return sdk.Invalid("The snapshot %q is of %s, and `engine` is %s. Leave `engine` out, or name another snapshot.", n.id, n.engine, clip(t.Engine, 40))
	}
	return nil
}
