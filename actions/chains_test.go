package actions_test

import (
	"slices"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

func TestChainsAreListedByName(t *testing.T) {
	store := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	script := actions.NewScript(`audit() return nil`)
	for _, env := range []actions.Name{{App: "shop", Env: "pr-2"}, {App: "shop", Env: "pr-1"}, {App: "store", Env: "demo"}, {App: "shop", Env: "pr-1"}} {
		if _, err := store.Exec(t.Context(), env, script, nil, nil, actions.Record{Kind: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		app   string
		after actions.Name
		limit int
		want  []string
	}{
		"all of them":         {"", actions.Name{}, 10, []string{"shop/pr-1", "shop/pr-2", "store/demo"}},
		"those of one app":    {"shop", actions.Name{}, 10, []string{"shop/pr-1", "shop/pr-2"}},
		"those after another": {"", actions.Name{App: "shop", Env: "pr-1"}, 1, []string{"shop/pr-2"}},
		"none of a wrong app": {"(shop", actions.Name{}, 10, nil},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := store.Chains(t.Context(), c.app, c.after, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range found {
				got = append(got, n.String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("want %v, got %v", c.want, got)
			}
		})
	}
}
