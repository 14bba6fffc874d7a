package actions_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// Whatever somebody puts under a key of the audit: it is named, and the rest is
// looked at all the same.
func TestAKeyThatHoldsSomethingElseHidesNothing(t *testing.T) {
	const chain = "berth:{shop/pr-1}:audit"
	for key, want := range map[string]string{
		chain:                            "record 1 of the audit of shop/pr-1 cannot be read, nor can any after it: the key " + chain + " holds no list",
		chain + ":head":                  "record 3 of the audit of shop/pr-1 has no head that vouches for it: the key of the head holds no text",
		chain + ":cut":                   "record 1 of the audit of shop/pr-1 cannot be looked at: the checkpoint",
		anchorsKey:                       "anchor 1 cannot be read, nor can any after it: the key " + anchorsKey + " holds no list",
		anchorsKey + ":head":             "anchor 1 has no head that vouches for it",
		anchorsKey + ":cut":              "anchor 1 cannot be looked at, nor can any after it: the key " + anchorsKey + ":cut",
		anchoredKey:                      "anchor 1 does not vouch for what is stored as anchored: the key " + anchoredKey + " holds no hash",
		"berth:chains":                   "anchor 1 alone tells which chains there are: the key berth:chains holds no sorted set",
		"berth:{shop/pr-1}:state:of:all": "",
	} {
		t.Run(key, func(t *testing.T) {
			b := newBooks(t, redistest.Client(t), actions.StoreOptions{})
			b.write(pr1, 3)
			b.write(pr2, 3)
			b.anchor()
			b.rdb.LSet(b.ctx, b.store.Key(pr2, "audit"), 1, "nonsense")
			b.rdb.Del(b.ctx, key)
			if kind := b.rdb.SAdd(b.ctx, key, "hello"); kind.Err() != nil {
				t.Fatal(kind.Err())
			}
			v, breaks := b.verify()
			if v.Chains != 2 || v.Breaks != len(breaks) {
				t.Errorf("looked at %+v, breaks %+v", v, breaks)
			}
			said := make([]string, len(breaks))
			for i := range breaks {
				said[i] = breaks[i].Error()
			}
			for _, want := range []string{want, "record 2 of the audit of shop/pr-2 was changed"} {
				if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, want) }) {
					t.Errorf("%q was not found, but %q", want, said)
				}
			}
			if want != "" && len(said) != 2 {
				t.Errorf("found %q; want two breaks", said)
			}
		})
	}
}

func TestAChainThatCannotBeReadDoesNotKeepTheOthersFromBeingAnchored(t *testing.T) {
	b := newBooks(t, redistest.Client(t), actions.StoreOptions{})
	b.write(pr1, 3)
	b.write(pr2, 3)
	b.anchor()
	b.write(pr1, 1)
	b.rdb.Set(b.ctx, b.store.Key(pr1, "audit"), "hello", 0)
	b.write(pr2, 1)
	if a := b.anchor(); a.Seq != 2 {
		t.Errorf("anchored as %+v, want the second anchor", a)
	}
	if v, breaks := b.verify(); v.Unanchored != 0 || len(breaks) != 1 || breaks[0].Env != pr1 {
		t.Errorf("%+v, breaks %+v", v, breaks)
	}
}

func TestVerifyingWhatHasNoAuditIsAnError(t *testing.T) {
	b := newBooks(t, redistest.Client(t), actions.StoreOptions{})
	none := func(b actions.AuditBreak) { t.Error(b.Error()) }
	if _, err := b.store.VerifyAll(b.ctx, "", none); err != nil {
		t.Errorf("everything, while there is nothing: %v", err)
	}
	if _, err := b.store.VerifyChain(b.ctx, actions.BerthChain, none); err != nil {
		t.Errorf("Berth's own chain, while there is nothing: %v", err)
	}
	b.write(pr1, 1)
	for _, app := range []string{"shop", "nope"} {
		_, err := b.store.VerifyAll(b.ctx, app, none)
		if found := app == "shop"; found != (err == nil) || (!found && actions.CodeOf(err) != actions.CodeNotFound) {
			t.Errorf("app %s: %v", app, err)
		}
	}
	for _, env := range []actions.Name{pr1, pr2} {
		_, err := b.store.VerifyChain(b.ctx, env, none)
		if found := env == pr1; found != (err == nil) || (!found && actions.CodeOf(err) != actions.CodeNotFound) {
			t.Errorf("%s: %v", env, err)
		}
	}
	b.anchor()
	b.rdb.Del(b.ctx, b.store.Key(pr1, "audit"), b.store.Key(pr1, "audit:head"), "berth:chains")
	found := 0
	if v, err := b.store.VerifyAll(b.ctx, "shop", func(actions.AuditBreak) { found++ }); err != nil || v.Chains != 1 || found != 1 {
		t.Errorf("an app whose chains were removed: %+v, %d breaks, %v", v, found, err)
	}
}

func TestARecordThatCannotBeReadIsNamedAndPassed(t *testing.T) {
	b := newBooks(t, redistest.Client(t), actions.StoreOptions{})
	b.write(pr1, 4)
	key := b.store.Key(pr1, "audit")
	b.rdb.LSet(b.ctx, key, 1, "nonsense")
	b.rdb.LSet(b.ctx, key, 2, strings.Replace(b.list(key)[2], `"seq":3`, `"seq":1`, 1)) // what a record says must not lead anybody in a circle
	records, to, err := b.store.AuditFrom(b.ctx, pr1, 0, 0)
	broken, named := errors.AsType[*actions.AuditBreak](err)
	if !named || broken.Env != pr1 || broken.Seq != 2 || to != 2 || len(records) != 1 || actions.CodeOf(err) != actions.CodeInternal ||
		!strings.Contains(actions.Message(err), "Record 2 of the audit of shop/pr-1 cannot be read") {
		t.Fatalf("%d records up to %d, %v", len(records), to, err)
	}
	if records, to, err = b.store.AuditFrom(b.ctx, pr1, to, 0); err != nil || len(records) != 2 || to != 4 {
		t.Errorf("%d records up to %d, %v", len(records), to, err)
	}
	b.rdb.Del(b.ctx, key)
	b.rdb.Set(b.ctx, key, "hello", 0)
	_, to, err = b.store.AuditFrom(b.ctx, pr1, 0, 0)
	if broken, named = errors.AsType[*actions.AuditBreak](err); !named || broken.Seq != 1 || to != 0 {
		t.Errorf("a chain that is none: up to %d, %v", to, err)
	}
}
