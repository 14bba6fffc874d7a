package githubtest

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestAnOutageIsOfTheWholeAPI(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	t.Cleanup(s.Close)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.AddRepo(Repo{Name: "acme/shop"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		outage Outage
		path   string
		status int
		body   string
	}{
		{OutageErrors, "/repos/acme/shop", 500, "Server Error"},
		{OutageErrors, "/repos/acme/shop/pulls", 500, "Server Error"},
		{OutageEmpty, "/repos/acme/shop/pulls", 200, "[]"},
		{OutageEmpty, "/repos/acme/shop", 404, "Not Found"},
		{OutageEmpty, "/repos/acme/shop/pulls/1", 404, "Not Found"},
		{0, "/repos/acme/shop", 200, `"full_name":"acme/shop"`},
	} {
		s.Heal()
		s.Break(tt.outage)
		res, err := http.Get(s.APIURL() + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != tt.status || !strings.Contains(string(body), tt.body) {
			t.Errorf("outage %d: %s = %d %s", tt.outage, tt.path, res.StatusCode, body)
		}
	}
}
