package actions_test

import (
	"slices"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

func TestNotesAreAChainOfTheirOwn(t *testing.T) {
	ctx := t.Context()
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	for _, kind := range []string{"person.linked", "config.loaded"} {
		if err := s.Note(ctx, actions.Record{Kind: kind, Actor: "ana"}); err != nil {
			t.Fatal(err)
		}
	}
	chain, err := actions.ParseChain("berth")
	if err != nil || chain != actions.BerthChain || actions.ChainName(chain) != "berth" {
		t.Errorf("ParseChain = %v, %v", chain, err)
	}
	records, err := s.Audit(ctx, chain, 0, 0)
	if err != nil || len(records) != 2 || records[1].Seq != 2 || records[1].Env != actions.BerthChain {
		t.Errorf("Audit = %+v, %v", records, err)
	}
	if _, err := note(ctx, s, actions.Name{App: "berth", Env: "pr-1"}, "w", actions.Record{Kind: "word.set"}); err != nil {
		t.Fatal(err)
	}
	all, err := s.Chains(ctx, "", actions.Name{}, 10)
	if want := []actions.Name{actions.BerthChain, {App: "berth", Env: "pr-1"}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("Chains = %v, %v", all, err)
	}
	if app, err := s.Chains(ctx, "berth", actions.Name{}, 10); err != nil || len(app) != 1 {
		t.Errorf("chains of an app named berth = %v, %v", app, err)
	}
	if after, err := s.Chains(ctx, "", actions.BerthChain, 10); err != nil || len(after) != 1 {
		t.Errorf("chains after Berth's own = %v, %v", after, err)
	}
	if err := s.VerifyAudit(ctx, chain); err != nil {
		t.Error(err)
	}
}

func TestRefusalsAreRecordedButDoNotFloodAChain(t *testing.T) {
	ctx, rdb := t.Context(), redistest.Client(t)
	s := actions.NewStore(rdb, actions.StoreOptions{})
	refuse := func(env actions.Name) {
		t.Helper()
		rec := actions.Record{Actor: "eve", Surface: "api", Address: "192.0.2.1", Detail: map[string]string{"command": "cleanup"}}
		if err := s.Refused(ctx, env, rec); err != nil {
			t.Fatal(err)
		}
		if len(rec.Detail) != 1 {
			t.Errorf("the caller's record was changed: %v", rec.Detail)
		}
	}
	refuse(shop42)
	if never, _ := s.Audit(ctx, shop42, 0, 0); len(never) != 0 {
		t.Errorf("a name that never was has a chain: %+v", never)
	}
	own, err := s.Audit(ctx, actions.BerthChain, 0, 0)
	if err != nil || len(own) != 1 || own[0].Kind != actions.KindRefused || own[0].Detail["environment"] != "shop/pr-42" || own[0].Address != "192.0.2.1" {
		t.Fatalf("Berth's chain = %+v, %v", own, err)
	}
	if _, err := note(ctx, s, shop42, "w", actions.Record{Kind: "word.set"}); err != nil {
		t.Fatal(err)
	}
	for range 25 {
		refuse(shop42)
	}
	records, err := s.Audit(ctx, shop42, 1, 0)
	if err != nil || len(records) != 10 {
		t.Fatalf("%d refusals are recorded, %v; want 10", len(records), err)
	}
	rdb.Del(ctx, s.Key(shop42, "refused")) // as when the minute is over
	refuse(shop42)
	refuse(shop42)
	records, err = s.Audit(ctx, shop42, 11, 0)
	if err != nil || len(records) != 2 || records[0].Detail["left_out"] != "15" || records[1].Detail["left_out"] != "" {
		t.Errorf("the next records are %+v, %v; want one that says that 15 were left out", records, err)
	}
	if err := s.VerifyAudit(ctx, shop42); err != nil {
		t.Error(err)
	}
}
