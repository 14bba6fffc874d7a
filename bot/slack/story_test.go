package slack

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/slack/slacktest"
)

// card is a message with each kind of button.
var card = bot.ChatMessage{
	Title: "Deploy shop/pr-42", Text: "ana wants it.", Buttons: []bot.ChatButton{
		{Label: "Approve", Line: "approve 01jd", Style: bot.StylePrimary, Digest: "abcdef0123456789"},
		{Label: "Deny", Line: "deny 01jd", Style: bot.StyleDanger, Digest: "abcdef0123456789", Reason: "Why not?"},
		{Label: "Details", Line: "explain 01jd", Show: true},
		{Label: "Cancel", Line: "cancel 01jd", Confirm: "Cancel it?"},
		{Label: "Open", URL: "https://pr-42.example.org"},
	},
}

// overBoth runs a test over HTTP and over Socket Mode.
func overBoth(t *testing.T, do func(t *testing.T, w *town, s *Surface), prepare ...func(w *town)) {
	t.Helper()
	for name, socket := range map[string]bool{"over HTTP": false, "over Socket Mode": true} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, socket, slacktest.Options{})
			for _, p := range prepare {
				p(w)
			}
			s, _ := w.connected(1)
			do(t, w, s)
			w.await("all is acknowledged", func() bool { return w.Idle(t.Context()) == nil })
		})
	}
}

func TestWhatPeopleTypeArrives(t *testing.T) {
	overBoth(t, func(t *testing.T, w *town, s *Surface) {
		root, err := w.Say("U2", "C1", "", "is it broken?")
		w.must(err)
		w.acked(w.Command("U1", "C1", "status shop/pr-42"))
		if e := w.stored("status shop/pr-42"); e.Place.ID() != "T1/C1" || e.Identity != "slack:U1" || e.Name != "ana" || e.Private || e.Until.Sub(e.At) != 30*time.Minute {
			t.Errorf("a command is stored as %+v", e)
		} else {
			w.must(s.Answer(context.Background(), e, 0, bot.ChatMessage{Text: "It is well."}))
			if own := w.Ephemerals("U1"); len(own) != 1 || !strings.Contains(own[0].Words, "It is well.") || len(w.Ephemerals("U2")) != 0 {
				t.Errorf("the answer is %+v", own)
			}
		}
		mention, err := w.Mention("U2", "C1", root.TS, `deploy shop/pr-7 —reason “see https://example.org/a?b=1&c=2”`)
		w.must(err)
		e := w.stored(`deploy shop/pr-7 --reason “see https://example.org/a?b=1&c=2”`)
		if e.Place.ID() != "T1/C1/"+root.TS || e.Message != mention.TS || e.Identity != "slack:U2" || e.Private || e.Answer != "" {
			t.Errorf("a mention in a thread is stored as %+v", e)
		}
		w.must(s.Answer(context.Background(), e, 0, bot.ChatMessage{Text: "Only ben reads this."}))
		if own := w.Ephemerals("U2"); len(own) != 1 || own[0].Thread != root.TS {
			t.Errorf("the answer to a mention is %+v", own)
		}
		_, err = w.Say("U1", w.DM("U1"), "", "list")
		w.must(err)
		if e := w.stored("list"); e.Place.ID() != "T1/"+w.DM("U1") || !e.Private || e.Identity != "slack:U1" {
			t.Errorf("a direct message is stored as %+v", e)
		}
		w.must(w.OpenHome("U1"))
		if e := w.stored("home"); e.Place.ID() != "T1/@U1" || e.Kind != bot.ChatHome {
			t.Errorf("an opened Home tab is stored as %+v", e)
		}
		link, err := w.Say("U1", "C1", "", "look: https://berth.example.org/e/shop/pr-42 and https://berth.example.org.evil.org/e")
		w.must(err)
		if e := w.stored("links"); e.Message != link.TS || !slices.Equal(e.Links, []string{"https://berth.example.org/e/shop/pr-42"}) || e.Place.ID() != "T1/C1" {
			t.Errorf("a link is stored as %+v", e)
		}
	})
}

func TestPeopleOfSeveralWorkspacesAreToldApart(t *testing.T) {
	overBoth(t, func(t *testing.T, w *town, _ *Surface) {
		w.acked(w.Command("U5", "C2", "list"))
		if e := w.stored("list"); e.Identity != "slack:T2.U5" || e.Place.ID() != "T2/C2" {
			t.Errorf("somebody of the second workspace is stored as %+v", e)
		}
		_, err := w.Mention("U9", "C1", "", "status")
		w.must(err)
		if e := w.stored("status"); e.Identity != "slack:T9.U9" || e.Place.ID() != "T1/C1" {
			t.Errorf("a stranger in a shared channel is stored as %+v", e)
		}
		_, err = w.Mention("U1", "C2", "", "history shop/pr-1")
		w.must(err)
		if e := w.stored("history shop/pr-1"); e.Identity != "slack:U1" || e.Place.ID() != "T2/C2" {
			t.Errorf("somebody of the first workspace in the second's channel is stored as %+v", e)
		}
	})
}

func TestCardsAreClickedAndWindowsFilledIn(t *testing.T) {
	overBoth(t, func(t *testing.T, w *town, s *Surface) {
		sent, err := s.Post(context.Background(), bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}, "k1", card)
		w.must(err)
		shown, _ := w.Message("C1", sent.ID)
		w.acked(w.Click("U2", shown, "Approve"))
		w.acked(w.Click("U2", shown, "Approve"))
		if e := w.stored("approve 01jd"); e.Digest != "abcdef0123456789" || !e.Clicked || e.Message != sent.ID || e.Identity != "slack:U2" {
			t.Errorf("a click is stored as %+v", e)
		}
		w.acked(w.Click("U2", shown, "Open"))
		w.acked(w.Click("U2", shown, "Deny"))
		w.await("the window that asks why is open", func() bool { return w.View("U2") != nil })
		w.acked(w.Submit(w.View("U2").ID, map[string]string{"Why not?": "the \"cart\"\nbreaks"}))
		if e := w.stored(`deny 01jd --reason "the \"cart\" breaks"`); e.Digest != "abcdef0123456789" || e.Message != sent.ID || e.Place.ID() != "T1/C1" || e.Answer == "" {
			t.Errorf("a denial is stored as %+v", e)
		}
		if w.View("U2") != nil {
			t.Error("the window stays open")
		}
		w.acked(w.Click("U1", shown, "Details"))
		e := w.stored("explain 01jd")
		if !strings.HasPrefix(e.Answer, viewAnswer) {
			t.Fatalf("the answer goes to %q", e.Answer)
		}
		w.must(s.Answer(context.Background(), e, 0, bot.ChatMessage{Title: "Details", Text: "All there is to say."}))
		if v, _ := json.Marshal(w.View("U1")); !strings.Contains(string(v), "All there is to say.") {
			t.Errorf("the window shows %s", v)
		}
	})
}

func TestShortcutsLeadToCommands(t *testing.T) {
	overBoth(t, func(t *testing.T, w *town, _ *Surface) {
		about, err := w.Say("U2", "C1", "", "please look at https://github.com/acme/shop/pull/42")
		w.must(err)
		w.acked(w.Shortcut("U1", "C1", about.TS, ShortcutMessage))
		w.await("the form is open", func() bool { return w.View("U1") != nil })
		form := w.View("U1").ID
		for typed, want := range map[string]string{"": "shop/pr-42 shop/pr-7 pr-42", "pr-7": "shop/pr-7 pr-7", "nothing like it": ""} {
			got, err := w.Suggest(form, fieldTarget, typed)
			w.must(err)
			if strings.Join(got, " ") != want {
				t.Errorf("%q is offered %q", typed, got)
			}
		}
		w.acked(w.Submit(form, map[string]string{fieldTarget: "shop/pr-42", fieldReason: "asked for"}))
		if e := w.stored(`deploy shop/pr-42 --reason "asked for"`); e.Place.ID() != "T1/C1" || e.Identity != "slack:U1" {
			t.Errorf("it is stored as %+v", e)
		}
		w.acked(w.Shortcut("U2", "", "", ShortcutRun))
		w.await("the form is open", func() bool { return w.View("U2") != nil })
		form = w.View("U2").ID
		w.acked(w.Submit(form, map[string]string{fieldVerb: "archive", fieldTarget: "shop/pr-7", fieldRef: "main"}))
		if w.View("U2") == nil {
			t.Fatal("a form that was filled in wrong is closed")
		}
		w.acked(w.Submit(form, map[string]string{fieldVerb: "archive", fieldTarget: "shop/pr-7", fieldRef: "", fieldPlace: "C1"}))
		if e := w.stored("archive shop/pr-7"); e.Place.ID() != "T1/C1" || e.Identity != "slack:U2" {
			t.Errorf("it is stored as %+v", e)
		}
	})
}

func TestWhatEachMethodNeedsTheManifestAsksFor(t *testing.T) {
	w := newTown(t, false, slacktest.Options{})
	s, _ := w.connected(1)
	ctx := context.Background()
	at := bot.ChatPlace{Platform: "slack", Workspace: "T1", Channel: "C1"}
	sent, err := s.Post(ctx, at, "k1", card)
	w.must(err)
	w.must(s.Edit(ctx, sent, card))
	at.Thread = sent.ID
	reply, err := s.Post(ctx, at, "k2", bot.ChatMessage{Text: "It goes on."})
	w.must(err)
	since := time.Now().Add(-time.Minute)
	for key, place := range map[string]bot.ChatPlace{"k1": sent.Place, "k2": at} {
		if found, err := s.Find(ctx, place, key, since); err != nil || found.ID != map[string]string{"k1": sent.ID, "k2": reply.ID}[key] {
			t.Errorf("%s is found as %+v: %v", key, found, err)
		}
	}
	_, err = s.Post(ctx, bot.ChatPlace{Platform: "slack", Workspace: "T1", User: "U1"}, "k3", bot.ChatMessage{Text: "For you alone."})
	w.must(err)
	w.must(s.Page(ctx, "T1", "U1", bot.ChatPage{Text: "Nothing waits."}))
	for _, c := range s.Checks(ctx) {
		if !c.OK {
			t.Errorf("the check %+v", c)
		}
	}
}
