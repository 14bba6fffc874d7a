package githubtest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkComment is a comment by the API, checked on its way in and out.
func BenchmarkComment(b *testing.B) {
	s := New(Options{RateLimit: 1 << 30})
	defer s.Close()
	if err := s.AddRepo(Repo{Name: "acme/shop", Files: shopFiles}); err != nil {
		b.Fatal(err)
	}
	if err := s.AddToken(Token{Value: "t", User: "ana", Scopes: []string{"repo"}}); err != nil {
		b.Fatal(err)
	}
	n, err := s.OpenPullRequest(PullRequest{Repo: "acme/shop", Head: "topic", Author: "ana"})
	if err != nil || n != 1 {
		b.Fatal(n, err)
	}
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/repos/acme/shop/issues/1/comments", strings.NewReader(`{"body":"hi"}`))
		r.Header.Set("Authorization", "Bearer t")
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", "bench")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			b.Fatal(w.Code, w.Body)
		}
	}
}
