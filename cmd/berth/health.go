package main

import (
	"context"
	"encoding/json"
	"net/http"
	"runtime/debug"
	"slices"
	"time"

	"github.com/berth-dev/berth/bot"
)

// watchEvery is how often Berth looks at what it can do without for a while:
// GitHub, the clusters.
const watchEvery = 30 * time.Second

// readyz answers 200 when Berth can take and carry out commands. What it can
// do without for a while is named, but does not make it unready.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	checks := append([]bot.Check{s.checkup.checkRedis(r.Context())}, s.checkup.checkPlugins(r.Context())...)
	checks = append(checks, s.config.check(), s.config.checkAgreement())
	s.checks.Lock()
	checks = append(checks, s.checks.last...)
	s.checks.Unlock()
	if s.stopping.Load() {
		checks = append(checks, bot.Check{Name: "berth", Needed: true, Detail: "it is stopping"})
	}
	ready := !slices.ContainsFunc(checks, func(c bot.Check) bool { return c.Needed && !c.OK })
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	answer := struct {
		Ready  bool        `json:"ready"`
		Checks []bot.Check `json:"checks"`
	}{ready, checks}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.log.Debug("readyz was not read to its end", "error", err)
	}
}

// watch looks at GitHub and the clusters at intervals, so that /readyz answers
// at once, until ctx ends.
func (s *server) watch(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	publish := func(found []bot.Check) {
		s.checks.Lock()
		s.checks.last = found
		s.checks.Unlock()
	}
	publish(s.checkup.unheard())
	var before []bot.Check
	for {
		found := s.checkup.look(ctx)
		publish(found)
		s.logChanges(before, found)
		if before == nil {
			// All that start-up needed and the work does not goes back to the system,
			// now that the plugins are up: the bot core is small while it waits.
			debug.FreeOSMemory()
		}
		before = found
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// logChanges says what has gone, and what has come back.
func (s *server) logChanges(before, now []bot.Check) {
	for _, check := range now {
		was := slices.IndexFunc(before, func(b bot.Check) bool { return b.Name == check.Name })
		switch {
		case !check.OK && (was < 0 || before[was].OK):
			s.log.Warn("not reachable; trying again", "what", check.Name, "detail", check.Detail, "fix", check.Fix)
		case check.OK && was >= 0 && !before[was].OK:
			s.log.Info("reachable again", "what", check.Name)
		}
	}
}
