package bottest

import (
	"context"
	"fmt"
	"sync"

	"github.com/berth-dev/berth/actions"
)

// Executor keeps the parts that it deployed in memory. It is every executor of
// a World, whatever name a part uses. A part is held up, fails or is out of
// sight as the test says.
type Executor struct {
	mu      sync.Mutex
	parts   map[string]string // SHA by "app/name/part"
	fails   map[string]error
	gates   map[string]chan struct{}
	blind   map[string]bool
	changes map[string]int // of what a part's plan stands for
}

func newExecutor() *Executor {
	return &Executor{parts: map[string]string{}, fails: map[string]error{}, gates: map[string]chan struct{}{}, blind: map[string]bool{}, changes: map[string]int{}}
}

// Fail lets every step of a part fail with err, until it is called with nil.
func (x *Executor) Fail(part string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fails[part] = err
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

// Hold holds every step of a part up until the function that it returns is
// called.
func (x *Executor) Hold(part string) (release func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	gate := make(chan struct{})
	x.gates[part] = gate
	return sync.OnceFunc(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		delete(x.gates, part)
		close(gate)
	})
}

// Executor is x, whatever the name.
func (x *Executor) Executor(context.Context, string) (actions.Executor, error) { return x, nil }

// Describe says what x can.
func (x *Executor) Describe(context.Context) (actions.Description, error) {
	return actions.Description{
		Name: "memory", Version: "1", Binary: "m1",
		Verbs:  []actions.Verb{actions.VerbDeploy, actions.VerbArchive, actions.VerbRestore, actions.VerbCleanup},
		Schema: map[string]any{"type": "object"},
	}, nil
}

func key(s actions.Step) string { return s.Env.String() + "/" + s.Part }

// Plan says which commit takes the place of which.
func (x *Executor) Plan(_ context.Context, s actions.Step) (actions.PartPlan, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.parts[key(s)]
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
	gate, err := x.gates[s.Part], x.fails[s.Part]
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
	if s.Verb.Down() {
		x.parts[key(s)] = s.Commit.SHA
	} else {
		delete(x.parts, key(s))
	}
	sink(actions.Event{Kind: actions.EventLog, Text: "done \x1b[31mred\x1b[0m"})
	return actions.Outputs{"name": s.Part}, nil
}

// Observe looks at the part.
func (x *Executor) Observe(_ context.Context, s actions.Step) (actions.Observation, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.blind[s.Part]:
		return actions.Observation{}, actions.Errorf("memory.observe", actions.CodeUnavailable, "The cluster did not answer.")
	case x.parts[key(s)] == "":
		return actions.Observation{Health: actions.Absent}, nil
	case s.Part == "web":
		return actions.Observation{Health: actions.Healthy, Links: []actions.Link{{Name: "web", URL: "https://" + s.Env.Env + "." + s.Env.App + ".example.org"}}}, nil
	default:
		return actions.Observation{Health: actions.Healthy}, nil
	}
}
