// Package sdktest is the conformance suite that every executor passes. It works
// over the same wire as Berth, on a program or on an Executor in the test's own
// process, and needs neither Berth nor a network:
//
//	func TestConformance(t *testing.T) {
//		sdktest.Run(t, sdktest.Suite{
//			New:  func() sdk.Executor { return page.New(t.TempDir()) },
//			Step: sdk.Step{With: map[string]any{"text": "hello"}},
//		})
//	}
package sdktest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Suite says what to test and with what.
type Suite struct {
	// Command is the executor's program and its arguments. It is started as
	// Berth starts it. Either Command or New is set.
	Command []string
	// Env is the program's environment, NAME=value, beside PATH, HOME and TMPDIR.
	Env []string
	// New makes the executor, which is then served in this process. Executors
	// that it makes share their world: one sees what another has deployed.
	New func() sdk.Executor

	// Step holds settings that work. Where its ID, names or namespace are
	// empty, the suite fills them in; the verb is the suite's own. What the
	// step makes must not exist when the suite begins.
	Step sdk.Step
	// Invalid are settings (Step.With) that the executor must refuse, by what
	// is wrong with them.
	Invalid map[string]map[string]any
	// Slow is a step whose Run, with its Verb or deploy, goes on until it is
	// cancelled. Nil leaves cancellation untested.
	Slow *sdk.Step
	// Secrets are texts, such as the values in Env and in Step.With that must
	// stay where they are, and those that Step.Secrets refers to: none may be seen
	// in anything that comes back, however it is written (see sdk.SecretForms).
	Secrets []string
	// Rotate gives what Step.Secrets refers to other values, which are among
	// Secrets too. What was agreed on must hold after it. Nil leaves that untested.
	Rotate func(t *testing.T)
	// Snapshot is the state of the world that the executor changes, in any
	// form. It is compared before and after calls that must change nothing.
	// Nil compares only what Observe says.
	Snapshot func(t *testing.T) string

	// CancelWithin is how soon Run returns after it was cancelled; 0 means 10 s.
	CancelWithin time.Duration
	// HealthyWithin is how soon after a deploy Observe says healthy; 0 means 30 s.
	HealthyWithin time.Duration
	// CallTimeout bounds every call; 0 means 5 min.
	CallTimeout time.Duration
}

// Run runs the suite as subtests of t, in an order in which one leaves the world
// as the next needs it.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if (s.Command == nil) == (s.New == nil) {
		t.Fatal("sdktest: set either Command or New")
	}
	s.fill()
	seen := newSeen(s.Secrets)
	b := &bench{Suite: s, seen: seen, client: connect(t, s, seen)}
	for _, part := range []struct {
		name string
		test func(*bench, *testing.T)
	}{
		{"it describes itself, the same every time", (*bench).describe},
		{"it refuses what it does not know", (*bench).unknownVerb},
		{"it refuses settings that are wrong", (*bench).invalid},
		{"it names a secret that is missing", (*bench).missingSecret},
		{"a plan of what is not there changes nothing", (*bench).plan},
		{"deploy is done twice without harm", (*bench).deploy},
		{"it is healthy after a deploy", (*bench).healthy},
		{"a plan of what is there changes nothing", (*bench).plan},
		{"another value of a secret voids no plan", (*bench).rotate},
		{"archive and restore are done twice without harm", (*bench).archive},
		{"rollback, restart, sleep and wake are done twice without harm", (*bench).others},
		{"a step can be stopped", (*bench).cancel},
		{"cleanup is done twice without harm", (*bench).cleanup},
		{"it is absent after a cleanup", (*bench).absent},
		{"no secret was seen", (*bench).noSecrets},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(b, t) })
	}
}

// fill gives what is not set its standard value.
func (s *Suite) fill() {
	fillStep(&s.Step, "conformance")
	if s.Slow != nil {
		slow := *s.Slow
		fillStep(&slow, "slow")
		if slow.Verb == "" {
			slow.Verb = sdk.Deploy
		}
		s.Slow = &slow
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&s.CancelWithin, 10 * time.Second}, {&s.HealthyWithin, 30 * time.Second}, {&s.CallTimeout, 5 * time.Minute}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
}

func fillStep(s *sdk.Step, part string) {
	for _, f := range []struct {
		value    *string
		standard string
	}{
		{&s.ID, "sdktest-" + part}, {&s.App, "sdktest"}, {&s.Env, "pr-1"}, {&s.Part, part}, {&s.Namespace, "sdktest-pr-1"},
	} {
		if *f.value == "" {
			*f.value = f.standard
		}
	}
}

// bench is what the tests share.
type bench struct {
	Suite
	client      *client
	seen        *seen
	description sdk.Description
	plans       bool
	observes    bool
	deployed    bool
}

// can tells whether the executor describes the verb.
func (b *bench) can(v sdk.Verb) bool {
	for _, known := range b.description.Verbs {
		if known == v {
			return true
		}
	}
	return false
}

// do is step with the verb.
func (b *bench) do(v sdk.Verb) sdk.Step {
	s := b.Step
	s.Verb = v
	s.ID += "-" + string(v)
	switch v {
	case sdk.Restore:
		s.AsWas = true
	case sdk.Rollback:
		s.Earlier = b.Step.ID + "-" + string(sdk.Deploy)
	}
	return s
}

func (b *bench) context(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), b.CallTimeout)
	t.Cleanup(cancel)
	return ctx
}

// seen collects every text that came from the executor, and remembers the
// places in which a secret was.
type seen struct {
	forms []string // how the secrets may be written

	mu    sync.Mutex
	leaks []string
}

func newSeen(secrets []string) *seen {
	s := &seen{}
	for _, secret := range secrets {
		s.forms = append(s.forms, sdk.SecretForms(secret)...)
	}
	return s
}

// text notes what was seen at a place.
func (s *seen) text(place string, texts ...string) {
	for _, text := range texts {
		for _, form := range s.forms {
			if strings.Contains(text, form) {
				s.mu.Lock()
				s.leaks = append(s.leaks, place)
				s.mu.Unlock()
				break
			}
		}
	}
}

// Write makes seen the place for a program's standard error and output. A
// secret that is cut in two by the pieces is not found there.
func (s *seen) Write(p []byte) (int, error) {
	s.text("the program's log", string(p))
	return len(p), nil
}
