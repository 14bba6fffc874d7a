package actions_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/berth-dev/berth/actions"
)

// content is what runs in a part of a fakeCluster.
type content struct {
	SHA, Value string // the commit, and With["value"]
	Set        string // --set image.tag
	Level      string // the variable LEVEL
}

// held is what a fakeCluster keeps of a part.
type held struct {
	Runs     content
	By       string // the step whose result it is
	Archived bool   // its compute is gone, its data are kept
	Asleep   bool
	Broken   bool // the last change of it ended in the middle
	Data     int  // tells one set of data from another
}

// loss is a set of data that a step took away.
type loss struct {
	part string
	data int
	step string
	verb actions.Verb
}

// fakeCluster holds what its executors made, as a cluster would. The executor
// "full" does every verb, "store" knows no history and does not sleep, and
// "plain" deploys and cleans up alone.
type fakeCluster struct {
	mu      sync.Mutex
	parts   map[string]*held
	history map[string]map[string]content // by part and step, what "full" can go back to
	losses  []loss
	faults  []string // what an executor was asked for and must never be
	next    int
	steps   []actions.Step
	// before is asked before a step does its work, and after once it has. An error
	// of after leaves the part broken.
	before, after func(ctx context.Context, s actions.Step) error
}

func newFakeCluster() *fakeCluster {
	return &fakeCluster{parts: map[string]*held{}, history: map[string]map[string]content{}}
}

var fakeVerbs = map[string][]actions.Verb{
	"full":  {actions.VerbDeploy, actions.VerbArchive, actions.VerbRestore, actions.VerbCleanup, actions.VerbRollback, actions.VerbRestart, actions.VerbSleep, actions.VerbWake},
	"store": {actions.VerbDeploy, actions.VerbArchive, actions.VerbRestore, actions.VerbCleanup},
	"plain": {actions.VerbDeploy, actions.VerbCleanup},
}

func (c *fakeCluster) Executor(_ context.Context, use string) (actions.Executor, error) {
	return &clusterExecutor{c, use}, nil
}

type clusterExecutor struct {
	c   *fakeCluster
	use string
}

func (x *clusterExecutor) Describe(context.Context) (actions.Description, error) {
	return actions.Description{Name: x.use, Verbs: fakeVerbs[x.use], Binary: "b1"}, nil
}

func (x *clusterExecutor) Plan(_ context.Context, s actions.Step) (actions.PartPlan, error) {
	return actions.PartPlan{Summary: string(s.Verb) + " " + s.Part, Inputs: map[string]string{"earlier": s.Earlier}}, nil
}

func (x *clusterExecutor) Run(ctx context.Context, s actions.Step, sink func(actions.Event)) (actions.Outputs, error) {
	c := x.c
	c.mu.Lock()
	c.steps = append(c.steps, s)
	before, after := c.before, c.after
	c.mu.Unlock()
	if before != nil {
		if err := before(ctx, s); err != nil {
			return nil, err
		}
	}
	if err := c.work(x.use, s, sink); err != nil {
		return nil, err
	}
	if after == nil {
		return nil, nil
	}
	if err := after(ctx, s); err != nil {
		c.mu.Lock()
		if p := c.parts[s.Env.String()+"/"+s.Part]; p != nil && s.Verb != actions.VerbArchive {
			p.Broken = true
		}
		c.mu.Unlock()
		return nil, err
	}
	return nil, nil
}

// work does a step; one that is done already is success.
func (c *fakeCluster) work(use string, s actions.Step, sink func(actions.Event)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(fakeVerbs[use], s.Verb) {
		c.faults = append(c.faults, fmt.Sprintf("%s was asked to %s (%s)", use, s.Verb, s.ID))
	}
	key := s.Env.String() + "/" + s.Part
	p := c.parts[key]
	value, _ := s.With["value"].(string)
	runs := content{SHA: s.Commit.SHA, Value: value, Set: s.Set["image.tag"], Level: s.Vars["LEVEL"]}
	switch s.Verb {
	case actions.VerbCleanup:
		if p != nil {
			c.losses = append(c.losses, loss{key, p.Data, s.ID, s.Verb})
			sink(actions.Event{Kind: actions.EventReceipt, Resource: &actions.Resource{Kind: "Deployment", Name: s.Part, Change: actions.ResourceDelete, Destructive: true}})
		}
		delete(c.parts, key)
		delete(c.history, key)
		return nil
	case actions.VerbArchive:
		if p != nil {
			p.Archived, p.Asleep, p.Broken = true, false, false
		}
		return nil
	case actions.VerbRollback:
		earlier, ok := c.history[key][s.Earlier]
		if p == nil || !ok {
			return actions.Errorf("fake", actions.CodeDownstream, "There is no %q to go back to.", s.Earlier)
		}
		runs = earlier
	case actions.VerbRestore:
		if p != nil && s.AsWas && p.Archived {
			runs = p.Runs
		}
	case actions.VerbDeploy:
		if p != nil && p.Archived { // what stands here starts empty
			c.losses = append(c.losses, loss{key, p.Data, s.ID, s.Verb})
			p = nil
		}
	case actions.VerbSleep, actions.VerbWake, actions.VerbRestart:
		if p == nil || p.Archived {
			return actions.Errorf("fake", actions.CodeDownstream, "There is no %s to %s.", s.Part, s.Verb)
		}
		p.Asleep = s.Verb == actions.VerbSleep || (p.Asleep && s.Verb == actions.VerbRestart)
		return nil
	}
	if p == nil {
		c.next++
		p = &held{Data: c.next}
		c.parts[key] = p
	}
	p.Runs, p.By, p.Archived, p.Asleep, p.Broken = runs, s.ID, false, false, false
	if c.history[key] == nil {
		c.history[key] = map[string]content{}
	}
	c.history[key][s.ID] = runs
	return nil
}

func (x *clusterExecutor) Observe(_ context.Context, s actions.Step) (actions.Observation, error) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	p := x.c.parts[s.Env.String()+"/"+s.Part]
	switch {
	case p == nil || p.Archived:
		return actions.Observation{Health: actions.Absent}, nil
	case p.Broken:
		return actions.Observation{Health: actions.Unhealthy, Text: "it is broken"}, nil
	case p.Asleep:
		return actions.Observation{Health: actions.Healthy, Text: "asleep"}, nil
	}
	return actions.Observation{Health: actions.Healthy}, nil
}

// hook sets what is asked before and after each step.
func (c *fakeCluster) hook(before, after func(ctx context.Context, s actions.Step) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before, c.after = before, after
}

// holds is what the cluster has of an environment, by part.
func (c *fakeCluster) holds(env actions.Name) map[string]held {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]held{}
	for key, p := range c.parts {
		if name, part, ok := cutLast(key); ok && name == env.String() {
			out[part] = *p
		}
	}
	return out
}

func cutLast(key string) (before, after string, ok bool) {
	for i := len(key) - 1; i >= 0; i-- {
		if key[i] == '/' {
			return key[:i], key[i+1:], true
		}
	}
	return key, "", false
}

// did are the steps that ran since from, as "part verb", in the order in which
// they began.
func (c *fakeCluster) did(from int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, s := range c.steps[from:] {
		out = append(out, s.Part+" "+string(s.Verb))
	}
	return out
}

func (c *fakeCluster) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.steps)
}

// last is the newest step of a part.
func (c *fakeCluster) last(part string) actions.Step {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range slices.Backward(c.steps) {
		if s.Part == part {
			return s
		}
	}
	return actions.Step{}
}

// lost are the losses so far.
func (c *fakeCluster) lost() []loss {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.losses)
}

func (c *fakeCluster) fault() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.faults)
}

// failing makes the named steps ("web deploy") fail, before or after their work.
func (c *fakeCluster) failing(before, after map[string]error) {
	at := func(errs map[string]error) func(context.Context, actions.Step) error {
		errs = maps.Clone(errs)
		return func(_ context.Context, s actions.Step) error { return errs[s.Part+" "+string(s.Verb)] }
	}
	c.hook(at(before), at(after))
}
