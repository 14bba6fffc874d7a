package actions_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// Whatever was written, anchored and removed in whatever order: the books are
// sound, and are no more once one key of theirs is touched.
func TestAnyTouchOfTheBooksIsFound(t *testing.T) {
	rdb := redistest.Client(t)
	rapid.Check(t, func(rt *rapid.T) {
		ctx := t.Context()
		rdb.FlushDB(ctx)
		at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		b := newBooks(t, rdb, actions.StoreOptions{Now: func() time.Time { return at }, KeepAudit: 10 * 24 * time.Hour})
		b.write(pr1, 2)
		for range rapid.IntRange(1, 8).Draw(rt, "days") {
			switch rapid.SampledFrom([]string{"write", "write more", "anchor", "retain"}).Draw(rt, "do") {
			case "write":
				b.write(pr1, rapid.IntRange(1, 3).Draw(rt, "records"))
			case "write more":
				b.write(pr2, rapid.IntRange(1, 3).Draw(rt, "records"))
			case "anchor":
				b.anchor()
			case "retain":
				b.retain()
			}
			at = at.Add(time.Duration(rapid.IntRange(0, 6).Draw(rt, "then")) * 24 * time.Hour)
		}
		b.write(pr1, 1)
		b.anchor()
		if _, breaks := b.verify(); len(breaks) != 0 {
			rt.Fatalf("untouched: %+v", breaks)
		}
		keys := slices.DeleteFunc(rdb.Keys(ctx, "*audit*").Val(), func(k string) bool { return strings.Contains(k, "reply") || strings.Contains(k, "turn") })
		slices.Sort(keys)
		key := rapid.SampledFrom(keys).Draw(rt, "key")
		did := "removed"
		switch kind := rdb.Type(ctx, key).Val(); {
		case rapid.Bool().Draw(rt, "remove"):
			rdb.Del(ctx, key)
		case kind == "string":
			was := rdb.Get(ctx, key).Val()
			did = "wrote over"
			rdb.Set(ctx, key, spoil(rt, was), 0)
		case kind == "hash":
			all := rdb.HGetAll(ctx, key).Val()
			fields := make([]string, 0, len(all))
			for f := range all {
				fields = append(fields, f)
			}
			slices.Sort(fields)
			field := rapid.SampledFrom(fields).Draw(rt, "field")
			did = "spoiled a field of"
			rdb.HSet(ctx, key, field, spoil(rt, all[field]))
		case kind == "list":
			all := b.list(key)
			i := rapid.IntRange(0, len(all)-1).Draw(rt, "at")
			did = "spoiled an element of"
			if rapid.Bool().Draw(rt, "take out") {
				all = slices.Delete(all, i, i+1)
			} else {
				all[i] = spoil(rt, all[i])
			}
			b.rewrite(key, all)
		}
		if _, breaks := b.verify(); len(breaks) == 0 {
			rt.Fatalf("nobody sees that somebody %s %s", did, key)
		}
	})
}

// spoil changes one byte.
func spoil(rt *rapid.T, text string) string {
	c := []byte(text)
	i := rapid.IntRange(0, len(c)-1).Draw(rt, "byte")
	c[i] ^= byte(rapid.IntRange(1, 255).Draw(rt, "flip"))
	return string(c)
}
