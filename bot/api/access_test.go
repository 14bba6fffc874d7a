package api_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"github.com/berth-dev/berth/bot"
)

func TestWhoCanDoWhatIsToldAsTheDocumentSays(t *testing.T) {
	s := start(t)
	const path = "/api/v1/access"
	for name, want := range map[string]bot.Access{
		"nobody is named": {People: []bot.AccessPerson{}},
		"somebody with everything that there is": {
			People: []bot.AccessPerson{{
				Name: "ana", Roles: []string{"sre"}, Identities: []string{"slack:U0ANA"}, May: bot.MayAct,
				Decides: []string{"data"}, BreaksGlass: []string{"data"}, Unseen: []string{"github-team:acme/db"},
			}},
			Others:   []bot.AccessOthers{{Who: "everybody else", Where: "slack", Roles: []string{"viewer"}, May: bot.MayRead}},
			Channels: []bot.AccessChannel{{Where: "slack", Channel: "C0123", Apps: []string{"shop"}, Verbs: []string{"status"}}},
			Rules:    []bot.AccessRule{{Rule: "data", When: "plan.destructive", From: []string{"role:sre"}, BreakGlass: []string{"role:lead"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.Access = want
			a := s.call(http.MethodGet, path, nil, nil)
			var got bot.Access
			if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK || !reflect.DeepEqual(got, want) {
				t.Errorf("it answers %d %s, %v", a.status, a.body, err)
			}
		})
	}
	for name, tt := range map[string]struct {
		token  string
		status int
	}{
		"not to those who only look":   {"eve-token", http.StatusForbidden},
		"not without a token":          {"", http.StatusUnauthorized},
		"not for a token that is none": {"nobodys", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.raw(http.MethodGet, path, tt.token, nil, nil)
			s.conforms(http.MethodGet, path, a)
			if a.status != tt.status {
				t.Errorf("it answers %d %s, want %d", a.status, a.body, tt.status)
			}
		})
	}
}
