package script

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// A script runs under a keeper: this very program, started once more for it. The
// keeper adopts whatever the script leaves behind, in whichever session or group
// (PR_SET_CHILD_SUBREAPER), so that "no child is left" means that nothing of the
// script is; and it outlives the executor, even one that is killed with SIGKILL,
// for the moment that it takes to end the script. It holds the part's lock as
// long, so that the next try of the step begins after that.

// keeperName is the name under which this program is a keeper.
const keeperName = "berth-script-keeper"

// The files that a keeper is started with, beside its script's output.
const (
	fdOrders = 3 + iota // an order as a line of JSON, then askStop or the end
	fdEnding            // where the ending goes
	fdLock              // the part's lock; held, never read
)

// askStop asks a keeper to end its script gently.
const askStop = 't'

const (
	// leftGrace is how long what a script left behind may take to end when it is
	// told to.
	leftGrace = 2 * time.Second
	// stuckLimit is how long a process that was sent SIGKILL may take to go. One
	// that waits for a device or a dead file server does not go at all.
	stuckLimit = 20 * time.Second
)

// order is what an executor asks of a keeper.
type order struct {
	Path   string        `json:"path"`
	Args   []string      `json:"args"` // without the program's own name
	Env    []string      `json:"env"`
	Dir    string        `json:"dir"`
	Grace  time.Duration `json:"grace"`  // between SIGTERM and SIGKILL
	Limit  time.Duration `json:"-"`      // of the whole; the executor keeps it
	Remove string        `json:"remove"` // a folder that goes when the executor is gone
}

// ending is how a script ended.
type ending struct {
	Failed string        `json:"failed,omitempty"` // why it could not be started
	Errno  syscall.Errno `json:"errno,omitempty"`  // the same
	Code   int           `json:"code"`             // exit status; -1 after a signal
	Signal string        `json:"signal,omitempty"`
	Left   int           `json:"left,omitempty"`  // processes that it left behind, which were ended
	Stuck  int           `json:"stuck,omitempty"` // processes that could not be ended
}

// Keep makes this process a keeper if it was started as one, and does not return
// then. It has to be called first thing in main.
func Keep() {
	if len(os.Args) != 1 || os.Args[0] != keeperName {
		return
	}
	runtime.LockOSThread() // the kernel ends the script with the thread that started it
	for fd := range fdLock + 1 {
		syscall.CloseOnExec(fd)
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP) // only its order ends a keeper
	k := &keeper{orders: bufio.NewReader(os.NewFile(fdOrders, "orders")), stop: make(chan struct{}), cut: make(chan struct{}), over: make(chan struct{})}
	end := k.keep()
	_ = json.NewEncoder(os.NewFile(fdEnding, "ending")).Encode(end)
	syscall.Exit(0) // not os.Exit: in a build with the race detector that waits for a second
}

type keeper struct {
	orders *bufio.Reader
	order  order
	pid    int           // the script's, which is its process group's as well
	stop   chan struct{} // closed when the script is to end
	cut    chan struct{} // closed when the executor is gone
	ended  chan syscall.WaitStatus
	over   chan struct{} // closed when no process is left
}

func (k *keeper) keep() ending {
	adoptOrphans()
	line, err := k.orders.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &k.order)
	}
	if err != nil {
		return ending{Failed: "the order did not arrive: " + err.Error(), Code: -1}
	}
	noCores()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return failed(err)
	}
	k.ended = make(chan syscall.WaitStatus, 1)
	k.pid, err = syscall.ForkExec(k.order.Path, append([]string{k.order.Path}, k.order.Args...), &syscall.ProcAttr{ //nolint:gosec // To run what the config names is what it is for.
		Dir: k.order.Dir, Env: k.order.Env, Files: []uintptr{null.Fd(), 1, 2}, Sys: scriptAttributes(),
	})
	_, _, _ = null.Close(), os.Stdout.Close(), os.Stderr.Close() // the script's alone from now on
	if err != nil {
		return failed(err)
	}
	go k.listen()
	go k.reap()
	return k.watch()
}

func failed(err error) ending {
	e := ending{Failed: err.Error(), Code: -1}
	_ = errors.As(err, &e.Errno)
	return e
}

// listen hears what the executor says, and that it is gone.
func (k *keeper) listen() {
	for {
		b, err := k.orders.ReadByte()
		if err != nil {
			close(k.cut)
			return
		}
		if b == askStop {
			close(k.stop)
			_, _ = io.Copy(io.Discard, k.orders)
			close(k.cut)
			return
		}
	}
}

// reap waits for every child: the script, and what became one by losing its own
// parent.
func (k *keeper) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			close(k.over)
			return
		case pid == k.pid && (status.Exited() || status.Signaled()):
			k.ended <- status
		}
	}
}

// watch waits for the script's end, or brings it about, and for the end of all
// that it started.
func (k *keeper) watch() ending {
	var status syscall.WaitStatus
	gentle, known := k.order.Grace, false
	stop := k.stop
	var deadline <-chan time.Time
	left := 0
	for {
		select {
		case status = <-k.ended:
			known = true
			if deadline == nil {
				left = len(descendants())
				deadline = time.After(min(leftGrace, gentle))
				signalTree(0, syscall.SIGTERM)
			}
		case <-stop:
			stop, deadline = nil, time.After(gentle)
			signalTree(k.group(known), syscall.SIGTERM)
		case <-deadline:
			return k.finish(status, known, left)
		case <-k.cut:
			end := k.finish(status, known, left)
			removeAll(k.order.Remove)
			return end
		case <-k.over:
			return k.finish(status, known, left)
		}
	}
}

// group is the script's process group as long as its number is surely its own.
func (k *keeper) group(ended bool) int {
	if ended {
		return 0
	}
	return k.pid
}

// finish ends all that is left, now, and is how the script ended.
func (k *keeper) finish(status syscall.WaitStatus, known bool, left int) ending {
	limit := time.After(stuckLimit)
	pause := time.Millisecond
	for {
		select {
		case s := <-k.ended:
			status, known = s, true
			continue
		case <-k.over:
			if !known {
				select { // the last child's status was told before the end of all
				case status = <-k.ended:
				default:
				}
			}
			return told(status, left, 0)
		case <-limit:
			return told(status, left, max(1, len(descendants())))
		default:
		}
		// Stopped first: what stands still has no children meanwhile.
		signalTree(k.group(known), syscall.SIGSTOP)
		signalTree(k.group(known), syscall.SIGKILL)
		select {
		case <-k.over:
		case <-time.After(pause):
		}
		pause = min(2*pause, 100*time.Millisecond)
	}
}

func told(status syscall.WaitStatus, left, stuck int) ending {
	end := ending{Code: status.ExitStatus(), Left: left, Stuck: stuck}
	if status.Signaled() {
		end.Signal = status.Signal().String()
	}
	return end
}
