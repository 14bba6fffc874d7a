package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// mostTold is how many faults of one kind are told one by one.
const mostTold = 10

// judge looks at what came of the storm and prints the figures. Its error is
// what must not be.
func (w *world) judge(ctx context.Context, asked, took time.Duration) error {
	s, err := w.hear(ctx)
	if err != nil {
		return err
	}
	w.figures(s, asked, took)
	var faults []error
	for _, check := range []struct {
		says string
		find func(context.Context, *story) []string
	}{
		{"clients were answered as they must be", func(context.Context, *story) []string { return w.wishes.faults }},
		{"none is lost, and none is there that nobody asked for", w.lost},
		{"each is in exactly one terminal state, and its audit says so", w.states},
		{"none failed but for what the cloud refused, or what kept changing", w.failures},
		{"every step's effect happened once, and none is without its request", w.once},
		{"no two runs were at work in one environment at once", w.alone},
		{"nothing ran without its quorum, or after a veto", w.quorum},
		{"what ran is what was agreed on", w.agreed},
		{"environments are at rest", w.rest},
		{"the audit chains verify", w.verify},
	} {
		found := check.find(ctx, s)
		if len(found) == 0 {
			w.out.step("ok      %s", check.says)
			continue
		}
		w.out.step("BROKEN  %s: %d times not", check.says, len(found))
		for _, f := range found[:min(len(found), mostTold)] {
			w.out.figure("", "%s", f)
		}
		faults = append(faults, fmt.Errorf("not so: %s", check.says))
	}
	return errors.Join(faults...)
}

// lost compares what was accepted with what is there.
func (w *world) lost(_ context.Context, s *story) (faults []string) {
	ours := map[string]bool{}
	for _, wish := range w.wishes.accepted {
		if ours[wish.id] {
			faults = append(faults, fmt.Sprintf("request %s was given to two wishes", wish.id))
		}
		ours[wish.id] = true
		if _, there := s.requests[wish.id]; !there {
			faults = append(faults, fmt.Sprintf("request %s, %s, was accepted and is not there", wish.id, wish.command))
		}
		if !slices.Contains(s.listed, wish.id) {
			faults = append(faults, fmt.Sprintf("request %s, %s, is not listed", wish.id, wish.command))
		}
	}
	for _, id := range s.listed {
		if !ours[id] {
			faults = append(faults, fmt.Sprintf("request %s is there and was never accepted: %s", id, s.requests[id].Command))
		}
	}
	return faults
}

// states follows each request through its audit.
func (w *world) states(_ context.Context, s *story) (faults []string) {
	for id, q := range s.requests {
		bad := func(format string, args ...any) {
			faults = append(faults, "request "+id+": "+fmt.Sprintf(format, args...))
		}
		state, ends := approvals.State(""), 0
		for _, rec := range s.trails[id] {
			from, to, yes := changesState(rec)
			switch {
			case !yes:
				continue
			case state == "" && (rec.Kind != "request.submitted" || to != approvals.StatePlanning):
				bad("its audit begins with %s", rec.Kind)
			case state != "" && (from != state || !from.CanMove(to)):
				bad("was %s, and is audited as going from %s to %s", state, from, to)
			}
			if state = to; state.Ended() {
				ends++
			}
		}
		if ends != 1 || string(state) != q.State {
			bad("is %s, came to an end %d times by its audit, and is %q there", q.State, ends, state)
		}
	}
	return faults
}

// overtaken is in the reason of a run that was left in the middle and whose
// environment another run changed since, which never happens as long as one run
// at a time has an environment until its end.
const overtaken = "before this one could go on"

// failures looks for requests that failed because of the storm: a crash costs
// time and nothing else.
func (w *world) failures(_ context.Context, s *story) (faults []string) {
	for id, q := range s.requests {
		refused := slices.ContainsFunc(s.arrivals, func(a arrival) bool { return s.owners[a.run()] == id && a.outcome == "refused" })
		impossible := q.Code == string(actions.CodeConflict) && !strings.Contains(q.Reason, overtaken)
		if q.State == "failed" && !refused && !impossible && q.Code != string(actions.CodeStale) {
			faults = append(faults, fmt.Sprintf("request %s, %s, failed (%s): %s", id, q.Command, q.Code, q.Reason))
		}
	}
	return faults
}

// once compares the ledger with the audit.
func (w *world) once(_ context.Context, s *story) (faults []string) {
	type place struct{ request, part string }
	made := map[place]int{}
	for _, e := range s.effects {
		id, known := s.owners[e.run()]
		q, there := s.requests[id]
		switch {
		case !known || !there:
			faults = append(faults, fmt.Sprintf("the effect of step %s in %s belongs to no request", e.Step, e.environment()))
			continue
		case q.Environment != e.environment() || q.Verb != e.Verb:
			faults = append(faults, fmt.Sprintf("the effect of step %s is a %s of %s; request %s is a %s of %s", e.Step, e.Verb, e.environment(), id, q.Verb, q.Environment))
		case !slices.Contains([]string{"succeeded", "failed", "cancelled"}, q.State):
			faults = append(faults, fmt.Sprintf("request %s is %s, and step %s of it had an effect", id, q.State, e.Step))
		}
		made[place{id, e.Part}]++
	}
	partsOf := map[string][]string{} // by request
	for p, n := range made {
		partsOf[p.request] = append(partsOf[p.request], p.part)
		if n > 1 {
			faults = append(faults, fmt.Sprintf("part %s of request %s had its effect %d times", p.part, p.request, n))
		}
	}
	for id, q := range s.requests {
		a := appNamed(q.App)
		needs := a.needs
		if q.DryRun {
			needs = 0
		}
		if n := len(partsOf[id]); q.State == "succeeded" && n != needs {
			faults = append(faults, fmt.Sprintf("request %s succeeded with %d of %d effects", id, n, needs))
		}
	}
	return faults
}

// alone looks for two runs, or two processes of one run, that were at work in
// one environment at the same time.
func (w *world) alone(_ context.Context, s *story) (faults []string) {
	places := map[string][]arrival{}
	for _, a := range s.arrivals {
		if a.end.IsZero() {
			faults = append(faults, fmt.Sprintf("step %s in %s never ended", a.Step, a.environment()))
			continue
		}
		places[a.environment()] = append(places[a.environment()], a)
	}
	for env, all := range places {
		slices.SortFunc(all, func(a, b arrival) int { return a.begin.Compare(b.begin) })
		for i, a := range all {
			for _, b := range all[i+1:] {
				if !b.begin.Before(a.end) {
					continue
				}
				if a.run() != b.run() || a.PID != b.PID {
					faults = append(faults, fmt.Sprintf("in %s step %s (process %d) began %s before step %s (process %d) had ended (%s)",
						env, b.Step, b.PID, a.end.Sub(b.begin).Round(time.Millisecond), a.Step, a.PID, a.outcome))
				}
			}
		}
	}
	return faults
}

// quorum goes through each request's audit and looks who had agreed whenever it
// was released or began to run.
func (w *world) quorum(_ context.Context, s *story) (faults []string) {
	for id, q := range s.requests {
		a := appNamed(q.App)
		if len(a.groups) == 0 {
			continue
		}
		agreed, denied := map[string]bool{}, map[string]bool{}
		for _, rec := range s.trails[id] {
			who := personOf(rec.Actor)
			switch rec.Kind {
			case "request.approved":
				agreed[who] = who != q.Requester
				delete(denied, who)
			case "request.denied", "request.objected":
				denied[who] = true
				delete(agreed, who)
			case "request.replanned":
				agreed, denied = map[string]bool{}, map[string]bool{}
			}
			_, to, yes := changesState(rec)
			if !yes || (to != approvals.StateReleased && to != approvals.StateRunning) {
				continue
			}
			if those := people(agreed); !enough(a.groups, those) || len(denied) > 0 {
				faults = append(faults, fmt.Sprintf("request %s of %s, %s, became %s (%s) when %v had agreed and %v had denied", id, q.Requester, q.Command, to, rec.Kind, keys(those), keys(denied)))
			}
		}
	}
	return faults
}

func people(agreed map[string]bool) map[string]bool {
	out := map[string]bool{}
	for who, counts := range agreed {
		if counts {
			out[who] = true
		}
	}
	return out
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// agreed compares the digest of each run with what was decided on, and what was
// put there with what the plan said.
func (w *world) agreed(_ context.Context, s *story) (faults []string) {
	for id, q := range s.requests {
		digest, ran := "", ""
		for _, rec := range s.trails[id] {
			switch {
			case rec.Kind == "request.replanned":
				digest = ""
			case rec.Kind == "run.started":
				if ran = rec.Digest; digest == "" || ran != digest {
					faults = append(faults, fmt.Sprintf("request %s ran %q; what was planned and agreed on is %q", id, rec.Digest, digest))
				}
			case strings.HasPrefix(rec.Kind, "request.") && rec.Digest != "":
				if digest != "" && rec.Digest != digest {
					faults = append(faults, fmt.Sprintf("request %s has digest %q at %s, and had %q before", id, rec.Digest, rec.Kind, digest))
				}
				digest = rec.Digest
			}
		}
		if ran != "" && ran != q.Digest {
			faults = append(faults, fmt.Sprintf("request %s shows digest %q and ran %q", id, q.Digest, ran))
		}
		for _, d := range q.Approvals {
			if d.Digest != q.Digest {
				faults = append(faults, fmt.Sprintf("%s decided on digest %q of request %s, which shows %q", d.By, d.Digest, id, q.Digest))
			}
		}
	}
	for _, e := range s.effects {
		q := s.requests[s.owners[e.run()]]
		if q.Plan == nil {
			continue
		}
		for _, part := range q.Plan.Parts {
			if part.Part == e.Part && part.Inputs[versionInput] != e.Version {
				faults = append(faults, fmt.Sprintf("step %s put version %q there; request %s is about version %q", e.Step, e.Version, q.ID, part.Inputs[versionInput]))
			}
		}
	}
	return faults
}

// rest looks for environments that are still in the middle of something.
func (w *world) rest(_ context.Context, s *story) (faults []string) {
	for _, e := range s.resting {
		if actions.State(e.State).Pending() || e.RunID != "" {
			faults = append(faults, fmt.Sprintf("%s/%s is %s, in the hands of run %q", e.App, e.Name, e.State, e.RunID))
		}
	}
	return faults
}

// verify checks the chains, as an operator does: on a server, and in an export
// without one.
func (w *world) verify(ctx context.Context, s *story) (faults []string) {
	if len(s.chains) == 0 {
		faults = append(faults, "there is no chain")
	}
	said, err := w.operator(ctx, "audit", "verify")
	if err != nil {
		faults = append(faults, fmt.Sprintf("berth audit verify: %v: %s", err, said))
	}
	w.out.figure("berth audit verify", "%s", strings.Join(strings.Fields(said), " "))
	export := filepath.Join(w.dir, "audit.ndjson")
	if said, err = w.operator(ctx, "audit", "-o", "ndjson"); err != nil {
		return append(faults, fmt.Sprintf("berth audit -o ndjson: %v: %s", err, said))
	}
	if err := os.WriteFile(export, []byte(said), 0o600); err != nil {
		return append(faults, err.Error())
	}
	if said, err = w.operator(ctx, "audit", "verify", "--file", export); err != nil {
		faults = append(faults, fmt.Sprintf("berth audit verify --file: %v: %s", err, said))
	}
	return faults
}

// operator runs the command line against a replica, and returns what it printed.
func (w *world) operator(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.options.berth, args...) //nolint:gosec // the program that is tried here
	cmd.Env = append(os.Environ(), "BERTH_SERVER="+w.replicas[0].url, "BERTH_TOKEN="+w.cast.requesters[0].token, "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// percentile is the value that so many hundredths of sorted are not above.
func percentile[T cmp.Ordered](sorted []T, p int) T {
	var zero T
	if len(sorted) == 0 {
		return zero
	}
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
