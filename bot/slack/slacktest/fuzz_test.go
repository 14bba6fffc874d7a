package slacktest

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzCalls holds that nothing that is sent to a method or a response_url makes
// the stand-in fall over, or answer as Slack does not, whatever it refuses.
func FuzzCalls(f *testing.F) {
	names := append(sortedKeys(methods), "response_url")
	for _, body := range []string{
		`{"channel":"C1","text":"x","blocks":[{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"}}]}]}`,
		`{"channel":"C1","ts":"1.000000","attachments":[null,{"blocks":[{"type":"input"}]}]}`,
		`{"view":{"type":"modal","title":{"type":"plain_text","text":"x"},"blocks":[{"type":"rich_text","elements":[]}]},"trigger_id":"x"}`,
		`channel=C1&blocks=[null]&users=U1,U2&limit=-1&cursor=9=`, `{"files":[{"id":"F1"}]}`, `{"replace_original":true,"delete_original":1}`, `[`, `null`,
	} {
		for n := range names {
			f.Add(n, body)
		}
	}
	s := New(Options{})
	f.Cleanup(s.Close)
	w := s.AddWorkspace(Workspace{ID: "T1"})
	for _, err := range []error{s.AddUser(User{ID: "U1", Name: "ana"}), s.AddChannel(Channel{ID: "C1"})} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, n int, body string) {
		name := names[uint(n)%uint(len(names))]
		path := "/api/" + name
		if name == "response_url" {
			s.mu.Lock()
			path = s.newResponse("commands", s.workspaces["T1"], s.users["U1"], s.channels["C1"], nil).path
			s.mu.Unlock()
		}
		r := httptest.NewRequest("POST", path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+w.BotToken)
		r.Header.Set("Content-Type", "application/json; charset=utf-8")
		if !strings.HasPrefix(body, "{") {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		rec := httptest.NewRecorder()
		s.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("%s answers %d: %s", name, rec.Code, rec.Body)
		}
		s.TakeOdd()
		if odd := s.Odd(); odd != nil {
			t.Fatal(odd)
		}
	})
}
