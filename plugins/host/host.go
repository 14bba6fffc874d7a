// Package host starts executors, which are programs of their own, keeps them
// alive, and makes each an actions.Executor.
//
// One process serves all calls of an executor. It runs in a process group of
// its own with an environment that holds next to nothing of the bot's, talks
// over a Unix socket with mutual TLS whose certificates live as long as the
// process, and does not outlive the bot, whichever way the bot ends.
package host

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
)

// Plugin is how one executor is started.
type Plugin struct {
	// Path of the program. One without a slash is looked for in
	// Options.BinDir, then on PATH; a relative one with a slash starts at
	// Options.Dir. "" is "berth-" and the executor's name.
	Path string
	Args []string
	// Env lists what the program gets of the bot's environment beside what
	// every program needs to run at all (see baseEnv): names, or NAME=value.
	Env []string
	// Settings are what the config says of the executor itself. An executor whose
	// schema of them they do not fit is not up. nil stands for none.
	Settings map[string]any
	// SHA256 of the program's file in hex. A file with another one is not
	// started. "" pins nothing.
	SHA256 string
}

// Options are what a Host needs. Zero durations and counts take the defaults
// that their comments name.
type Options struct {
	Plugins map[string]Plugin // by executor name
	Dir     string            // working directory of the programs; "" is the bot's own
	BinDir  string            // where programs without a slash are looked for first
	Log     *slog.Logger      // nil discards

	StartTimeout time.Duration // for a program to answer after its start; 20 s
	BackoffMin   time.Duration // before the first restart; 100 ms. It doubles with each failure
	BackoffMax   time.Duration // the longest between two tries; 30 s
	ResetAfter   time.Duration // a program that was up this long starts at BackoffMin again; 1 min
	RestartWait  time.Duration // how long a call waits for a restart; 15 s
	HealthEvery  time.Duration // between two health checks; 10 s
	HealthWait   time.Duration // a health check that takes longer has failed, and two failures in a row mean a hang; 5 s
	StopGrace    time.Duration // between SIGTERM and SIGKILL; 4 s, a little more than the SDK takes to wind up
	CancelGrace  time.Duration // how long a run that was cancelled may take to stop before its program is killed; 20 s
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.StartTimeout, 20 * time.Second},
		{&o.BackoffMin, 100 * time.Millisecond},
		{&o.BackoffMax, 30 * time.Second},
		{&o.ResetAfter, time.Minute},
		{&o.RestartWait, 15 * time.Second},
		{&o.HealthEvery, 10 * time.Second},
		{&o.HealthWait, 5 * time.Second},
		{&o.StopGrace, 4 * time.Second},
		{&o.CancelGrace, 20 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return o
}

// Status is how one executor is.
type Status struct {
	Name     string
	Up       bool
	Version  string // as the executor describes itself; "" until it was up once
	PID      int    // 0 when it is not up
	Restarts int    // starts after the first
	SHA256   string // of the program's file, hex; "" until it was started once
	Error    string // why it is not up, for people
}

// Host keeps the executors' processes. Its methods may be called side by side.
type Host struct {
	o     Options
	guard *guard
	sums  sums

	mu      sync.Mutex
	keepers map[string]*keeper
	closed  bool
}

// New makes a Host; it starts nothing yet.
func New(o Options) *Host {
	return &Host{o: o.withDefaults(), guard: newGuard(), keepers: map[string]*keeper{}}
}

// Start starts the named executors side by side and waits until each is up or
// has failed once. One that cannot start is logged and tried again; that is no
// error here. It returns ctx's error when that ends first.
func (h *Host) Start(ctx context.Context, uses []string) error {
	var wg sync.WaitGroup
	for _, use := range uses {
		k, err := h.keeper(use)
		if err != nil {
			h.o.Log.Error("an executor cannot be started", "executor", use, "error", err)
			continue
		}
		wg.Go(func() { k.settled(ctx) })
	}
	wg.Wait()
	return ctx.Err()
}

// Executor is the executor that a part names in `use`, started if it is not. It
// returns CodeInvalid for one that is neither configured nor installed as
// berth-<use>, and CodeUnavailable after Close. One that is down is waited for
// by its calls, not here.
func (h *Host) Executor(_ context.Context, use string) (actions.Executor, error) {
	k, err := h.keeper(use)
	if err != nil {
		return nil, err
	}
	return &executor{k: k}, nil
}

// keeper is the keeper of use, made and set to work at its first mention.
func (h *Host) keeper(use string) (*keeper, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k, ok := h.keepers[use]; ok {
		return k, nil
	}
	if h.closed {
		return nil, actions.Errorf("executor.start", actions.CodeUnavailable, "Berth is stopping; ask again when it is back.")
	}
	spec, configured := h.o.Plugins[use]
	if !configured {
		if !actions.ValidName(use) {
			return nil, actions.Errorf("executor.start", actions.CodeInvalid, "%q cannot be the name of an executor.", use)
		}
		if _, err := h.locate(use, spec); err != nil {
			return nil, actions.Wrap("executor.start", actions.CodeInvalid, err, fmt.Sprintf(
				"There is no executor %q: it is not under `plugins` in the config (there %s), and no program berth-%s is installed.",
				use, list(h.o.Plugins), use))
		}
	}
	k := newKeeper(h, use, spec)
	h.keepers[use] = k
	go k.keep()
	return k, nil
}

// list names the configured executors in a sentence.
func list(plugins map[string]Plugin) string {
	if len(plugins) == 0 {
		return "is none"
	}
	names := make([]string, 0, len(plugins))
	for name := range plugins {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 1 {
		return "is " + names[0]
	}
	return "are " + strings.Join(names, ", ")
}

// Checks tells how each executor that was asked for is, sorted by name. It
// waits for nothing.
func (h *Host) Checks(context.Context) []Status {
	h.mu.Lock()
	keepers := make([]*keeper, 0, len(h.keepers))
	for _, k := range h.keepers {
		keepers = append(keepers, k)
	}
	h.mu.Unlock()
	all := make([]Status, 0, len(keepers))
	for _, k := range keepers {
		all = append(all, k.status())
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Close refuses new calls, waits for those that run until ctx ends, cancels the
// rest, and ends every program: SIGTERM first, SIGKILL after Options.StopGrace,
// each to the whole process group. No program is left when it returns. The
// error is ctx's when calls had to be cancelled.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	keepers := h.keepers
	h.keepers = map[string]*keeper{}
	h.mu.Unlock()
	errs := make(chan error, len(keepers))
	for _, k := range keepers {
		go func() { errs <- k.close(ctx) }()
	}
	var first error
	for range keepers {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if err := h.guard.close(); err != nil && first == nil {
		first = err
	}
	return first
}
