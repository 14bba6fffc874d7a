package bottest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/berth-dev/berth/actions"
)

// Executor keeps the parts that it deployed in memory. It is every executor of
// a World, whatever name a part uses. A part is held up, fails, drifts or is out
// of sight as the test says.
type Executor struct {
	mu      sync.Mutex
	parts   map[string]part // by "app/name/part"
	fails   map[string]failure
	gates   map[string]gate
	blind   map[string]bool
	drift   map[string][]string
	changes map[string]int // of what a part's plan stands for
	done    map[string]bool
	made    map[string]string // SHA by the id of the step that deployed it
	printed map[string][]actions.LogLine
	more    chan struct{} // closed, and replaced, when something is printed
}

// gate holds the steps of a part with these verbs up, or all of them.
type gate struct {
	open  chan struct{}
	verbs []actions.Verb
}

func (g gate) of(v actions.Verb) chan struct{} {
	if len(g.verbs) > 0 && !slices.Contains(g.verbs, v) {
		return nil
	}
	return g.open
}

// failure is what a part's steps fail with.
type failure struct {
	err   error
	verbs []actions.Verb // none means all
}

func (f failure) of(v actions.Verb) error {
	if len(f.verbs) > 0 && !slices.Contains(f.verbs, v) {
		return nil
	}
	return f.err
}

// part is one part as it is: what runs, and what is kept while it does not.
type part struct {
	sha      string // of what runs; "" when nothing does
	asleep   bool
	restarts int
	data     bool   // it has a volume
	archived string // SHA of what was archived
}

func newExecutor() *Executor {
	return &Executor{
		parts: map[string]part{}, fails: map[string]failure{}, gates: map[string]gate{}, blind: map[string]bool{}, drift: map[string][]string{},
		changes: map[string]int{}, done: map[string]bool{}, made: map[string]string{},
		printed: map[string][]actions.LogLine{}, more: make(chan struct{}),
	}
}

// Drift makes a part differ from what was deployed, until it is called without
// differences, or the part is deployed again.
func (x *Executor) Drift(part string, differences ...string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drift[part] = differences
}

// Restarts is how often a part of an environment was restarted.
func (x *Executor) Restarts(env actions.Name, part string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.parts[env.String()+"/"+part].restarts
}

// Runs is the SHA of what runs of a part; "" when nothing does, or it sleeps.
func (x *Executor) Runs(env actions.Name, part string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if p := x.parts[env.String()+"/"+part]; !p.asleep {
		return p.sha
	}
	return ""
}

// Fail lets the steps of a part with these verbs fail with err, or every one
// where none is named, until it is called with nil.
func (x *Executor) Fail(part string, err error, verbs ...actions.Verb) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fails[part] = failure{err, verbs}
}

// Blind says whether a part cannot be seen.
func (x *Executor) Blind(part string, blind bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.blind[part] = blind
}

// Change makes what the part's plan stands for something else from now on, as a
// chart does that is published anew.
func (x *Executor) Change(part string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.changes[part]++
}

// Hold holds the steps of a part with these verbs up, or all of them, until the
// function that it returns is called.
func (x *Executor) Hold(part string, verbs ...actions.Verb) (release func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	held := gate{make(chan struct{}), verbs}
	x.gates[part] = held
	return sync.OnceFunc(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.gates, part)
		close(held.open)
	})
}

// Executor is x, whatever the name.
func (x *Executor) Executor(context.Context, string) (actions.Executor, error) { return x, nil }

// Describe says what x can.
func (x *Executor) Describe(context.Context) (actions.Description, error) {
	return actions.Description{
		Name: "memory", Version: "1", Binary: "m1",
		Verbs: []actions.Verb{
			actions.VerbDeploy, actions.VerbArchive, actions.VerbRestore, actions.VerbCleanup,
			actions.VerbRollback, actions.VerbRestart, actions.VerbSleep, actions.VerbWake,
		},
		Schema: map[string]any{"type": "object"}, Logs: true,
	}, nil
}

func key(s actions.Step) string { return s.Env.String() + "/" + s.Part }

// Plan says which commit takes the place of which.
func (x *Executor) Plan(_ context.Context, s actions.Step) (actions.PartPlan, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.parts[key(s)].sha
	p := actions.PartPlan{
		Part: s.Part, Use: "memory", Summary: fmt.Sprintf("%s %s", s.Verb, s.Part), Executor: "m1",
		Inputs: map[string]string{"sha": s.Commit.SHA, "set": fmt.Sprint(s.Set), "changes": fmt.Sprint(x.changes[s.Part])}, Destructive: s.Verb == actions.VerbCleanup,
	}
	if !s.Brief && before != s.Commit.SHA {
		p.Diff = fmt.Sprintf("--- %[1]s\n+++ %[1]s\n@@ -1 +1 @@\n-sha: %[2]s\n+sha: %[3]s\n", s.Part, before, s.Commit.SHA)
	}
	return p, nil
}

// Run does the step.
func (x *Executor) Run(ctx context.Context, s actions.Step, sink func(actions.Event)) (actions.Outputs, error) {
	x.mu.Lock()
	gate, err := x.gates[s.Part].of(s.Verb), x.fails[s.Part].of(s.Verb)
	x.mu.Unlock()
	sink(actions.Event{Kind: actions.EventLog, Text: "begin " + string(s.Verb)})
	if gate != nil {
		sink(actions.Event{Kind: actions.EventProgress, Text: "0 of 1 pods ready", Done: 0, Total: 1})
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, actions.Wrap("memory.run", actions.CodeCancelled, ctx.Err(), "It was stopped.")
		}
	}
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.done[s.ID] { // steps arrive at least once
		if err := x.change(s, sink); err != nil {
			return nil, err
		}
		x.done[s.ID] = true
	}
	sink(actions.Event{Kind: actions.EventLog, Text: "done \x1b[31mred\x1b[0m"})
	return actions.Outputs{"name": s.Part}, nil
}

// change does what the step says to its part.
func (x *Executor) change(s actions.Step, sink func(actions.Event)) error {
	p := x.parts[key(s)]
	switch s.Verb {
	case actions.VerbDeploy:
		p.sha, p.asleep, p.data, p.archived = s.Commit.SHA, false, true, ""
		x.made[s.ID] = p.sha
		delete(x.drift, s.Part)
	case actions.VerbRollback:
		sha, ok := x.made[s.Earlier]
		if !ok {
			return actions.Errorf("memory.rollback", actions.CodeNotFound, "Nothing is known of step %s.", s.Earlier)
		}
		p.sha, p.asleep = sha, false
		x.made[s.ID] = sha
	case actions.VerbArchive:
		if p.sha != "" {
			p.archived, p.sha, p.asleep = p.sha, "", false
			receipt(s, "Deployment", false, sink)
		}
	case actions.VerbRestore:
		if !p.data {
			return actions.Errorf("memory.restore", actions.CodeNotFound, "The volume of %s is gone.", s.Part)
		}
		if p.sha = s.Commit.SHA; s.AsWas && p.archived != "" {
			p.sha = p.archived
		}
		p.archived = ""
		x.made[s.ID] = p.sha
	case actions.VerbCleanup:
		if p.sha != "" {
			receipt(s, "Deployment", false, sink)
		}
		if p.data {
			receipt(s, "Volume", true, sink)
		}
		delete(x.parts, key(s))
		return nil
	case actions.VerbRestart:
		p.restarts++
	case actions.VerbSleep, actions.VerbWake:
		p.asleep = s.Verb == actions.VerbSleep
	default:
		return actions.Errorf("memory.run", actions.CodeInvalid, "%s is not for parts.", s.Verb)
	}
	x.parts[key(s)] = p
	return nil
}

// receipt tells of a thing that was taken away.
func receipt(s actions.Step, kind string, data bool, sink func(actions.Event)) {
	r := actions.Resource{Kind: kind, Name: s.Part, Namespace: s.Namespace, Change: actions.ResourceDelete, Destructive: data}
	sink(actions.Event{Kind: actions.EventReceipt, Text: "deleted " + kind + " " + s.Part, Resource: &r})
}

// Observe looks at the part.
func (x *Executor) Observe(_ context.Context, s actions.Step) (actions.Observation, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.blind[s.Part]:
		return actions.Observation{}, actions.Errorf("memory.observe", actions.CodeUnavailable, "The cluster did not answer.")
	case x.parts[key(s)].sha == "":
		return actions.Observation{Health: actions.Absent}, nil
	}
	seen := actions.Observation{Health: actions.Healthy, Drift: x.drift[s.Part]}
	if x.parts[key(s)].asleep {
		seen.Text = "asleep"
	}
	if s.Part == "web" {
		seen.Links = []actions.Link{{Name: "web", URL: "https://" + s.Env.Env + "." + s.Env.App + ".example.org"}}
	}
	return seen, nil
}
