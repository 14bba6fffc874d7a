package slack

import (
	"net/http"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot"
)

// TestPeopleOfAnOrganisationAreWhoTheyAre clicks as Slack tells it in an
// organisation: the account's team is the organisation, or another of the
// account's workspaces, where a command names the one that it is typed in.
func TestPeopleOfAnOrganisationAreWhoTheyAre(t *testing.T) {
	const asTeam = `"team_id":"T1"}`
	tests := map[string]struct {
		organisation string // of the first workspace
		whole        bool   // the app is installed in all of it
		of           string // the account's, as users.info says
		change       []string
		want         string
	}{
		"of the workspace, named by the organisation":       {"E1", false, "E1", []string{asTeam, `"team_id":"E1"}`}, "slack:U1"},
		"of the workspace, named by another of theirs":      {"E1", false, "E1", []string{asTeam, `"team_id":"T7"}`}, "slack:U1"},
		"of the workspace, named by another that has Berth": {"E1", false, "E1", []string{asTeam, `"team_id":"T2"}`}, "slack:U1"},
		"of a stranger's organisation":                      {"E1", false, "E9", []string{asTeam, `"team_id":"E9"}`}, "slack:E9.U1"},
		"of a stranger's workspace":                         {"E1", false, "", []string{asTeam, `"team_id":"T9"}`}, "slack:T9.U1"},
		"of a stranger where there is no organisation":      {"", false, "", []string{asTeam, `"team_id":"T9"}`}, "slack:T9.U1"},
		"of no organisation by that of a stranger":          {"", false, "E9", []string{asTeam, `"team_id":"E9"}`}, "slack:E9.U1"},
		"with the app in the whole organisation": {"E1", true, "E1", []string{
			asTeam, `"team_id":"T7"}`, `"team":{"id":"T1","domain":"acme"},"enterprise":null,"is_enterprise_install":false`,
			`"team":null,"enterprise":{"id":"E1","name":"Acme"},"is_enterprise_install":true`, `"team":"T1"`, `"team":"T7"`,
		}, "slack:U1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.api.on("auth.test", func(c called) (int, any) {
				_, usual := w.api.usual(c)
				out, _ := usual.(map[string]any)
				if c.token == "xoxb-home" && tt.organisation != "" {
					out["enterprise_id"], out["is_enterprise_install"] = tt.organisation, tt.whole
				}
				return http.StatusOK, out
			})
			w.api.on("users.info", func(c called) (int, any) {
				user := map[string]any{"id": c.form.Get("user")}
				if tt.of != "" {
					user["enterprise_user"] = map[string]any{"id": "W1", "enterprise_id": tt.of}
				}
				return http.StatusOK, map[string]any{"ok": true, "user": user}
			})
			if got := w.post("/slack/interactions", w.click(buttonValue{Line: "approve 01"}, tt.change...)); got.Code != http.StatusOK {
				t.Fatalf("it is answered with %d %s", got.Code, got.Body)
			}
			if e := w.shelf.one(t); e.Identity != tt.want {
				t.Errorf("%s clicked, not %s", e.Identity, tt.want)
			}
		})
	}
}

// TestNobodyPassesForSomebodyWhileSlackDoesNotSay has Slack fail to tell whose an
// account is.
func TestNobodyPassesForSomebodyWhileSlackDoesNotSay(t *testing.T) {
	w := newWorld(t)
	w.api.on("auth.test", func(called) (int, any) {
		return http.StatusOK, map[string]any{"ok": true, "team_id": "T1", "enterprise_id": "E1", "user_id": "UBOT1", "bot_id": "BBOT"}
	})
	down := true
	w.api.on("users.info", func(called) (int, any) {
		w.api.mu.Lock()
		defer w.api.mu.Unlock()
		if down {
			return http.StatusInternalServerError, nil
		}
		return http.StatusOK, map[string]any{"ok": true, "user": map[string]any{"id": "U1", "enterprise_user": map[string]any{"enterprise_id": "E1"}}}
	})
	w.running(t) // it asks at once whose the token is
	w.post("/slack/interactions", w.click(buttonValue{Line: "approve 01"}, `"team_id":"T1"}`, `"team_id":"T7"}`))
	until(t, w.api.change, "they are told that it waits", func() bool { return len(w.api.told()) > 0 })
	if all := w.shelf.all(); len(all) != 0 {
		t.Fatalf("it is stored as %+v", all)
	}
	w.api.mu.Lock()
	down = false
	w.api.mu.Unlock()
	until(t, w.shelf.change, "it is stored", func() bool { return len(w.shelf.all()) == 1 })
	if e := w.shelf.one(t); e.Identity != "slack:U1" || e.Kind != bot.ChatCommand || !strings.HasPrefix(e.Line, "approve") {
		t.Errorf("%+v", e)
	}
}
