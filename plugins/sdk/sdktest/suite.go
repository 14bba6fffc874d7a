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
	"slices"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
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

	// Step holds a part's With and the executor's Settings that work. Where its
	// ID, names, namespace or installation are empty, the suite fills them in; the
	// verb is the suite's own. What the step makes must not exist when the suite
	// begins.
	Step sdk.Step
	// Invalid are values of Step.With that the executor must refuse, by what is
	// wrong with them.
	Invalid map[string]map[string]any
	// InvalidSettings are values of Step.Settings that the executor's schema of
	// them, or else its Run, must refuse, by what is wrong with them.
	InvalidSettings map[string]map[string]any
	// Slow is a step whose Run, with its Verb or deploy, goes on until it is
	// cancelled. Nil leaves cancellation untested. Without Settings it has those
	// of Step.
	Slow *sdk.Step
	// Secrets are texts, such as the values in Env and in Step.With that must
	// stay where they are, and those that Step.Secrets refers to: none may be seen
	// in anything that comes back, however it is written (see sdk.SecretForms).
	Secrets []string
	// Rotate gives what Step.Secrets refers to other values, which are among
	// Secrets too. What was agreed on must hold after it. Nil leaves that untested.
	Rotate func(t *testing.T)
	// Said is what the executor has said in places that the suite does not hear,
	// such as the log of one that New made. No secret may be in it at the end. Nil
	// when there is nothing else; a program's standard error is always heard.
	Said func(t *testing.T) string
	// Snapshot is the state of the world that the executor changes, in any form,
	// without what changes by itself. It is compared before and after calls that
	// must change nothing: Plan, Observe, Inventory, Check, what is refused, and
	// the second run of a step. Nil compares only what Observe says.
	Snapshot func(t *testing.T) string
	// Owned is everything in the world that bears the marks of Step's environment,
	// one text for each thing, in any order: what the test itself finds there, not
	// what the executor's Inventory says. Nothing may be left of it after a
	// cleanup. Nil leaves that untested.
	Owned func(t *testing.T) []string
	// Interrupted makes an executor that dies at its n-th call of the world outside,
	// 1 being the first: that call and all later ones fail, or that call's answer is
	// lost and all later ones fail (see Cut). The suite has it deploy, and clean up,
	// with n from 1 until it is not interrupted any more; a healthy executor then has
	// to clean up after it, and to deploy again, as if nothing had been. Needs Owned.
	Interrupted func(t *testing.T, n int) sdk.Executor
	// InterruptedEnv is Interrupted for a program: what is added to Env for a start
	// of Command that dies so.
	InterruptedEnv func(t *testing.T, n int) []string
	// InterruptEvery leaves calls out where there are too many: with 3, every third
	// is one that an executor dies at. 0 means 1.
	InterruptEvery int
	// Say has a program of the deployed part print a line, for the logs of an
	// executor that has some. Nil leaves it at what is printed anyway.
	Say func(t *testing.T, line string)

	// CancelWithin is how soon Run and Logs return after they were cancelled, and
	// half of how soon a program starts, and ends with its host; 0 means 20 s, after
	// which Berth kills a program that does not stop.
	CancelWithin time.Duration
	// HealthyWithin is how soon after a deploy Observe says healthy; 0 means 2 min.
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
	if (s.Interrupted != nil || s.InterruptedEnv != nil) && s.Owned == nil {
		t.Fatal("sdktest: Interrupted needs Owned, which tells what is left")
	}
	if s.InterruptedEnv != nil && s.Command == nil {
		t.Fatal("sdktest: InterruptedEnv is for a program; set Interrupted beside New")
	}
	seen := newSeen(s.Secrets)
	b := &bench{Suite: s, seen: seen, client: connect(t, s, seen)}
	for _, part := range []struct {
		name string
		test func(*bench, *testing.T)
	}{
		{"it describes itself, the same every time", (*bench).describe},
		{"it refuses what it does not know", (*bench).unknownVerb},
		{"it refuses settings that are wrong", (*bench).invalid},
		{"it refuses settings of its own that are wrong", (*bench).invalidSettings},
		{"it says what it lacks", (*bench).check},
		{"it names a secret that is missing", (*bench).missingSecret},
		{"a plan of what is not there changes nothing", (*bench).plan},
		{"deploy is done twice without harm", (*bench).deploy},
		{"it is healthy after a deploy", (*bench).healthy},
		{"it finds what it owns", (*bench).inventory},
		{"it leaves alone what another installation owns", (*bench).othersKeepOff},
		{"it passes logs on", (*bench).logs},
		{"a plan of what is there changes nothing", (*bench).plan},
		{"another value of a secret voids no plan", (*bench).rotate},
		{"archive and restore are done twice without harm", (*bench).archive},
		{"rollback, restart, sleep and wake are done twice without harm", (*bench).others},
		{"a step can be stopped", (*bench).cancel},
		{"cleanup is done twice without harm", (*bench).cleanup},
		{"it is absent after a cleanup", (*bench).absent},
		{"a cleanup after a deploy that was cut off leaves nothing", (*bench).cleanupAfterCut},
		{"a deploy after one that was cut off makes everything once", (*bench).deployAfterCut},
		{"its program serves its host alone", (*bench).servesHostAlone},
		{"its program ends with its host", (*bench).endsWithHost},
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
		if slow.Settings == nil {
			slow.Settings = s.Step.Settings
		}
		if slow.Verb == "" {
			slow.Verb = sdk.Deploy
		}
		s.Slow = &slow
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&s.CancelWithin, 20 * time.Second}, {&s.HealthyWithin, 2 * time.Minute}, {&s.CallTimeout, 5 * time.Minute}} {
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
		{&s.Installation, "sdktest"},
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
	about       *executorv1.DescribeResponse
	settings    *jsonschema.Schema // of the executor's own; nil without
	deployed    bool
}

// can tells whether the executor describes the verb.
func (b *bench) can(v sdk.Verb) bool { return slices.Contains(b.description.Verbs, v) }

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
