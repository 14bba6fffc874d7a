package host

import (
	"context"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// Cancelling a gRPC call ends it for the caller at once, while the executor may
// work on unseen. So a run that is to stop is asked to, by a call of its own,
// and its stream is read on: that tells what the executor still says, and when
// it has stopped. One that does not stop in time is killed together with
// everything else that its program does; the host starts the program again, and
// the other calls are run again as after any crash.

const (
	// askLimit is how long a program may take to answer that it has heard.
	askLimit = 2 * time.Second
	// askAgain is the pause before a program is asked again that does not know
	// the run: the call may have overtaken it on the way.
	askAgain = 50 * time.Millisecond
)

// outlast is a context for a call that goes on after ctx has ended. It ends with
// the host, or with the returned function.
func (k *keeper) outlast(ctx context.Context) (context.Context, context.CancelFunc) {
	calling, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(k.stopGate, cancel)
	return calling, func() {
		unhook()
		cancel()
	}
}

// stopWith sees to it that the run of the step with that id ends soon after ctx
// has. calling is the context of its call, which hangUp ends. What comes back is
// to be called when the run has ended.
func (x *executor) stopWith(ctx, calling context.Context, inst *instance, id string, hangUp func()) (over func()) {
	running, ended := context.WithCancel(calling)
	stopped := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(stopped)
		x.stop(running, inst, id, hangUp)
	})
	return func() {
		ended()
		if !unhook() {
			<-stopped
		}
	}
}

// stop asks for the end of the run until running, which ends with it, is over.
func (x *executor) stop(running context.Context, inst *instance, id string, hangUp func()) {
	grace := x.k.host.o.CancelGrace
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	for {
		heard, able := inst.askToStop(running, id)
		if !able {
			hangUp() // all that is left; when the work ends cannot be known
			return
		}
		var again <-chan time.Time
		if !heard {
			again = time.After(askAgain)
		}
		select {
		case <-running.Done():
			return
		case <-again:
		case <-deadline.C:
			inst.log.Warn("an executor did not stop a step that was cancelled, and is killed", "step", id, "grace_ms", grace.Milliseconds(), "pid", inst.proc.pid())
			inst.proc.signal(syscall.SIGKILL)
			<-inst.proc.exited
			return
		}
	}
}

// askToStop asks the program to stop the runs of a step. It tells whether the
// program knew of one, and whether it can be asked at all: an executor that is
// not on the SDK may not know such a call.
func (i *instance) askToStop(ctx context.Context, id string) (heard, able bool) {
	if id == "" {
		return false, false // it names nothing
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	r, err := i.calls.Cancel(ctx, &executorv1.CancelRequest{StepId: id})
	if status.Code(err) == codes.Unimplemented {
		return false, false
	}
	return err == nil && r.GetFound(), true
}
