package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
)

func TestVerifyingWhatHasNoAuditIsNotFound(t *testing.T) {
	s := start(t)
	s.Work()
	s.deploy("shop/pr-42")
	for query, want := range map[string]int{
		"": http.StatusOK, "?app=shop": http.StatusOK, "?environment=shop/pr-42": http.StatusOK,
		"?app=nope": http.StatusNotFound, "?environment=shop/typo": http.StatusNotFound, "?environment=nope/pr-42": http.StatusNotFound,
	} {
		if a := s.call(http.MethodGet, "/api/v1/audit/verify"+query, nil, nil); a.status != want {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
}

// export reads the audit as one stream, with the error that it ends with.
func (s *server) export(query string) (lines [][]byte, status int, err error) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/api/v1/audit"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer ci-token")
	req.Header.Set("Accept", "application/x-ndjson")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return bytes.Split(bytes.TrimSpace(all), []byte("\n")), res.StatusCode, err
}

func TestARecordThatCannotBeReadKeepsNoOtherFromAnExport(t *testing.T) {
	s := start(t)
	s.Work()
	s.deploy("shop/pr-42")
	s.deploy("shop/pr-43")
	whole, _, err := s.export("")
	if err != nil {
		t.Fatal(err)
	}
	key := s.Store.Key(actions.Name{App: "shop", Env: "pr-42"}, "audit")
	if err := s.Redis.LSet(t.Context(), key, 2, "nonsense").Err(); err != nil {
		t.Fatal(err)
	}
	lines, _, err := s.export("")
	var p api.Problem
	if bad := json.Unmarshal(lines[len(lines)-1], &p); bad != nil || err == nil || len(lines) != len(whole) {
		t.Fatalf("%d lines of %d, %v, %v", len(lines), len(whole), bad, err)
	}
	if want := "Record 3 of the audit of shop/pr-42 cannot be read"; p.Status != http.StatusInternalServerError || !strings.Contains(p.Detail, want) {
		t.Errorf("the last line is %+v; want %q", p, want)
	}
	if a := s.call(http.MethodGet, "/api/v1/audit?environment=shop/pr-42", nil, nil); a.status != http.StatusInternalServerError || !strings.Contains(string(a.body), "Record 3 of the audit of shop/pr-42") {
		t.Errorf("the list: %d %s", a.status, a.body)
	}
	s.Redis.Del(t.Context(), key)
	s.Redis.Set(t.Context(), key, "hello", 0)
	lines, status, err := s.export("?environment=shop/pr-42")
	if err != nil || status != http.StatusInternalServerError || !strings.Contains(string(lines[0]), "Record 1 of the audit of shop/pr-42 cannot be read, nor can any after it") {
		t.Errorf("a chain alone that is none: %d %s, %v", status, lines, err)
	}
	if lines, _, err = s.export("?app=shop"); err == nil || !strings.Contains(string(lines[0]), "pr-43") {
		t.Errorf("the others: %d lines, %v", len(lines), err)
	}
}
