package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// figures prints what happened, in numbers.
func (w *world) figures(s *story, asked, took time.Duration) {
	w.wishes.mu.Lock()
	defer w.wishes.mu.Unlock()
	f := w.out.figure
	f("requests", "%d accepted over %.0f s, in %d environments of %d apps; %d wishes turned away; %d calls of clients",
		len(w.wishes.accepted), asked.Seconds(), len(s.resting), len(theApps), w.wishes.turnedAway, w.wishes.asked)
	f("time", "%.0f s until all had ended", took.Seconds())
	f("replicas killed", "%d times (kill -9), and started again", w.storm.kills)
	f("Redis restarted", "%d times: %s", len(w.storm.restarts), strings.Join(w.storm.restarts, "; "))
	f("network", "%s", counts(w.storm.cuts))
	f("states", "%s", counts(s.states()))
	f("why they failed", "%s", counts(s.failures()))
	f("decisions", "%d counted, %d of people who do not count, %d too late; %d requests withdrawn; %d replanned",
		w.tally.counted, w.tally.notCounted, w.tally.tooLate, w.tally.cancelled, s.count("request.replanned"))
	outcomes := map[string]int{}
	for _, a := range s.arrivals {
		outcomes[a.outcome]++
	}
	f("effects", "%d; %d arrivals of steps: %s", len(s.effects), len(s.arrivals), counts(outcomes))
	f("runs taken over", "%d", s.count("run.resumed"))
	var accepted, ended []time.Duration
	for _, wish := range w.wishes.accepted {
		accepted = append(accepted, wish.answered)
		q, there := s.requests[wish.id]
		if a := appNamed(q.App); there && len(a.groups) == 0 && q.EndedAt != nil && q.State == "succeeded" {
			ended = append(ended, q.EndedAt.Sub(q.CreatedAt))
		}
	}
	f("asked → accepted", "%s", latencies(accepted))
	f("accepted → succeeded", "%s (of apps that nobody has to agree to)", latencies(ended))
	records := 0
	for _, trail := range s.trails {
		records += len(trail)
	}
	f("audit", "%d records in %d chains", records, len(s.chains))
}

// states counts requests by state.
func (s *story) states() map[string]int {
	n := map[string]int{}
	for _, q := range s.requests {
		n[q.State]++
	}
	return n
}

// failures counts failed requests by the kind of failure.
func (s *story) failures() map[string]int {
	n := map[string]int{}
	for _, q := range s.requests {
		if q.State == "failed" {
			n[q.Code]++
		}
	}
	return n
}

// counts is "cut 3, slow 2".
func counts(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// latencies is "p50 12ms, p99 340ms".
func latencies(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("p50 %s, p99 %s", percentile(all, 50).Round(time.Millisecond), percentile(all, 99).Round(time.Millisecond))
}
