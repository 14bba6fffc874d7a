package sdktest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// seen collects every text that came from the executor, and remembers the
// places in which a secret was.
type seen struct {
	secrets [][]string // how each may be written

	mu    sync.Mutex
	leaks []string
}

func newSeen(secrets []string) *seen {
	s := &seen{}
	for _, secret := range secrets {
		s.secrets = append(s.secrets, sdk.SecretForms(secret))
	}
	return s
}

// text notes what was seen at a place. A leak names the secret by its place among
// Suite.Secrets, since the test's own output is no place for it either.
func (s *seen) text(place string, texts ...string) {
	for _, text := range texts {
		for i, forms := range s.secrets {
			if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, form) }) {
				s.mu.Lock()
				s.leaks = append(s.leaks, fmt.Sprintf("%s (it is number %d of Suite.Secrets)", place, i+1))
				s.mu.Unlock()
			}
		}
	}
}

// stream is a place that is written to in pieces, such as a program's standard
// error: a secret that two pieces share is found as well.
func (s *seen) stream(place string) io.Writer {
	longest := 0
	for _, forms := range s.secrets {
		for _, form := range forms {
			longest = max(longest, len(form))
		}
	}
	return &pieces{seen: s, place: place, keep: longest}
}

type pieces struct {
	seen  *seen
	place string
	keep  int // bytes of what came before

	mu   sync.Mutex
	last []byte
}

func (p *pieces) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = append(p.last, b...)
	p.seen.text(p.place, string(p.last))
	if over := len(p.last) - p.keep; over > 0 {
		p.last = append(p.last[:0], p.last[over:]...)
	}
	return len(b), nil
}
