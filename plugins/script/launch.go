package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// pipes are where a script's output goes, and what its keeper holds.
type pipes struct {
	stdout, stderr func(io.Reader) // read to the end
	lock           *os.File        // may be nil
}

// errLimit is the cause of a script's end when it took longer than it may.
var errLimit = errors.New("it took longer than it may")

// pipeRest is how long what a script has printed, at most a pipe's 64 KiB, may
// take to be read when the script and all that it started are gone.
const pipeRest = 5 * time.Second

// launch runs a script under a keeper until it and all that it started are gone.
// When ctx ends or the order's limit is over, the script is told to end, and
// killed after its grace; the error is then ctx's or errLimit, beside the ending.
func (x *Executor) launch(ctx context.Context, o order, p pipes) (ending, error) {
	if ctx.Err() != nil {
		return ending{}, ctx.Err()
	}
	x.adopt()
	k, err := startKeeper(p)
	if err != nil {
		return ending{}, sdk.Internal("A script could not be started: the executor cannot start its keeper. Try again, or look at the limits of Berth's machine (%w).", err).WithRetry()
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.stdout(k.stdout) })
	readers.Go(func() { p.stderr(k.stderr) })
	go k.order(o)
	endings := make(chan ending, 1)
	go func() {
		defer close(endings)
		var e ending
		if json.NewDecoder(k.ending).Decode(&e) == nil {
			endings <- e
		}
	}()

	var limit <-chan time.Time
	if o.Limit > 0 {
		timer := time.NewTimer(o.Limit)
		defer timer.Stop()
		limit = timer.C
	}
	var why error
	select {
	case e, ok := <-endings:
		return k.over(&readers, o, e, ok, nil)
	case <-ctx.Done():
		why = ctx.Err()
	case <-limit:
		why = errLimit
	}
	k.stop()
	select {
	case e, ok := <-endings:
		return k.over(&readers, o, e, ok, why)
	case <-time.After(o.Grace + stuckLimit + 5*time.Second):
		_ = k.cmd.Process.Kill() // it has lost its mind; the sweep does its work
		return k.over(&readers, o, ending{}, false, why)
	}
}

// running is a keeper as its executor sees it.
type running struct {
	cmd            *exec.Cmd
	orders, ending *os.File
	stdout, stderr *os.File

	mu   sync.Mutex
	sent bool // the order is on its way; askStop comes behind it
	want bool // askStop is wanted
}

func startKeeper(p pipes) (*running, error) {
	var ours, theirs [4]*os.File // orders, ending, stdout, stderr
	closeAll := func(files []*os.File) {
		for _, f := range files {
			if f != nil {
				_ = f.Close()
			}
		}
	}
	for i := range ours {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours[:])
			closeAll(theirs[:])
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		ours[i], theirs[i] = r, w
		if i == 0 {
			ours[i], theirs[i] = w, r
		}
	}
	cmd := &exec.Cmd{
		Path: selfPath, Args: []string{keeperName}, Env: []string{}, Dir: "/",
		Stdout: theirs[2], Stderr: theirs[3], ExtraFiles: []*os.File{theirs[0], theirs[1]},
		// A session of its own: what ends the executor's group leaves the keeper to
		// its work.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if p.lock != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, p.lock)
	}
	err := cmd.Start()
	closeAll(theirs[:])
	if err != nil {
		closeAll(ours[:])
		return nil, err
	}
	return &running{cmd: cmd, orders: ours[0], ending: ours[1], stdout: ours[2], stderr: ours[3]}, nil
}

func (k *running) order(o order) {
	_ = json.NewEncoder(k.orders).Encode(o) // a keeper that is gone shows by its missing ending
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sent = true; k.want {
		_, _ = k.orders.Write([]byte{askStop})
	}
}

func (k *running) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.want = true; k.sent {
		_, _ = k.orders.Write([]byte{askStop})
	}
}

// over waits for the keeper and the output. A keeper without an ending was
// killed: what it looked after is ended here.
func (k *running) over(readers *sync.WaitGroup, o order, e ending, ok bool, why error) (ending, error) {
	_ = k.orders.Close()
	waitErr := k.cmd.Wait()
	if !ok {
		sweep(runMark(o))
	}
	// What is stuck may hold the pipes for ever, and so may a program that was
	// handed them and is no child of the script's.
	rest := pipeRest
	if e.Stuck > 0 || !ok {
		rest = time.Second
	}
	deadline := time.Now().Add(rest)
	_, _ = k.stdout.SetReadDeadline(deadline), k.stderr.SetReadDeadline(deadline)
	readers.Wait()
	_, _, _ = k.stdout.Close(), k.stderr.Close(), k.ending.Close()
	switch {
	case why != nil:
		return e, why
	case !ok:
		gone := sdk.Internal("A script was cut off: the process that looked after it was killed. What the script had begun may be half done; the step can be run again.").WithRetry()
		gone.Err = waitErr
		return e, gone
	}
	return e, nil
}
