// Package script is the executor that runs a team's own programs: any
// executable, by the contract "run", and the control scripts of Octopod as they
// are, by the contracts "v1" and "v2". Programs are started by argument lists,
// never by a shell, in a folder of their own and with an environment that is
// listed, and nothing that they start outlives them (see Keep).
package script

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Version is the executor's own version.
const Version = "0.1.0"

// Options is what New needs. The zero value works.
type Options struct {
	// Log receives what people need not see; nil discards it.
	Log *slog.Logger
	// Getenv looks up the executor's environment; nil sees nothing. PATH is asked
	// for, and the variables that references to secrets name.
	Getenv func(string) string
}

// Executor runs scripts. It is safe for concurrent use.
type Executor struct {
	log    *slog.Logger
	getenv func(string) string
	adopt  func() // makes this process the parent of what a keeper that was killed leaves behind, once
	// start runs one script under a keeper; tests cut it off.
	start func(context.Context, order, pipes) (ending, error)

	mu    sync.Mutex
	homes map[string]chan struct{} // by folder: full while its home is prepared
}

var (
	_ sdk.Executor = (*Executor)(nil)
	_ sdk.Planner  = (*Executor)(nil)
	_ sdk.Observer = (*Executor)(nil)
)

// New makes an executor. The program that it is part of has to call Keep first
// thing in its main.
func New(o Options) *Executor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	x := &Executor{log: o.Log, getenv: o.Getenv, adopt: sync.OnceFunc(adoptOrphans), homes: map[string]chan struct{}{}}
	x.start = x.launch
	return x
}

// verbs are all that a program of the contract "run" can be for. Octopod's
// scripts know the first four.
var verbs = []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore, sdk.Cleanup, sdk.Rollback, sdk.Restart, sdk.Sleep, sdk.Wake}

// Describe implements sdk.Executor.
func (x *Executor) Describe() sdk.Description {
	return sdk.Description{Name: "script", Version: Version, Verbs: slices.Clone(verbs), Schema: withSchema(), SettingsSchema: settingsSchema()}
}

// Run implements sdk.Executor.
func (x *Executor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	err := x.run(ctx, step, out)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	x.log.Info("step failed", "step", step.ID, "env", step.App+"/"+step.Env, "part", step.Part, "verb", string(step.Verb), "error", err.Error())
	return err
}

func (x *Executor) run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	if !slices.Contains(verbs, step.Verb) {
		return sdk.Invalid("The script executor cannot %q.", clip(string(step.Verb), 40))
	}
	j, err := x.open(ctx, step, out)
	if err != nil {
		return err
	}
	defer j.close()
	if err := j.lock(ctx); err != nil {
		return err
	}
	if err := j.load(); err != nil {
		return err
	}
	if err := j.agreed(); err != nil {
		return err
	}
	if j.set.Contract == contractRun {
		return j.runGeneric(ctx)
	}
	return j.runOctopod(ctx)
}

// clip is s for a message: one line, at most n bytes.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "�")), " ")
	if len(s) <= n {
		return s
	}
	cut := n
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

// plural is "1 line" or "3 lines".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
