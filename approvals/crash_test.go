package approvals_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

// childAddr, childReplica and childLease make the test's program a worker that
// prints each run that it begins and ends none: "ADDR DB", a name and a duration.
const (
	childAddr    = "BERTH_TEST_WORKER_REDIS"
	childReplica = "BERTH_TEST_WORKER_REPLICA"
	childLease   = "BERTH_TEST_WORKER_LEASE"
)

func child(addr string) int {
	var o redis.Options
	if _, err := fmt.Sscan(addr, &o.Addr, &o.DB); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	lease, err := time.ParseDuration(os.Getenv(childLease))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	rdb := redis.NewClient(&o)
	store := actions.NewStore(rdb, actions.StoreOptions{})
	w := approvals.NewWorker(approvals.WorkerOptions{
		Requests: approvals.NewRequests(rdb, store, approvals.Options{}), Store: store, Floor: endless{},
		Replica: os.Getenv(childReplica), Lease: lease,
	})
	if err := w.Run(context.Background()); err != nil {
		return 1
	}
	return 0
}

// endless is a floor whose runs do not end.
type endless struct{}

func (endless) Plan(_ context.Context, order actions.Order, _ bool) (*actions.Plan, error) {
	return &actions.Plan{Digest: "digest", Order: order}, nil
}

func (endless) Run(ctx context.Context, _ *actions.Lease, req actions.RunRequest) (*actions.Run, error) {
	fmt.Println("run", req.ID)
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// startChild starts the program as a worker and returns how to kill it, and the
// id of the first run that it begins.
func startChild(t *testing.T, o *redis.Options, replica string, lease time.Duration) (kill func(), firstRun func() string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", childAddr, o.Addr, o.DB), childReplica+"="+replica, childLease+"="+lease.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	return kill, func() string {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "run "); ok {
				return id
			}
		}
		t.Fatal("the child ended without a run")
		return ""
	}
}

func TestKillNineInMidRun(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		successor string
		lease     time.Duration
	}{
		"another replica carries on once the lease has run out": {successor: "two", lease: 3 * time.Second},
		// It does not wait for the lease: nobody here has that patience.
		"the restarted replica carries on at once": {successor: "one", lease: 10 * patience},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := redistest.Options(t)
			b := newBench(t, newClient(t, o), approvals.Options{})
			kill, firstRun := startChild(t, o, "one", test.lease)
			r := b.submit(shop42, actions.VerbDeploy)
			id := firstRun()
			kill()

			f := newFloor(t)
			b.work(approvals.WorkerOptions{Floor: f, Replica: test.successor, Lease: test.lease})
			r = b.untilState(r.ID, approvals.StateSucceeded)
			if r.RunID != id || f.runs(id) != 1 {
				t.Errorf("run %s went on as %s, %d times", id, r.RunID, f.runs(id))
			}
			wantEqual(t, "audit", b.kinds(shop42, r.ID), []string{"request.submitted", "request.released", "request.running", "request.succeeded"})
		})
	}
}

func TestAWorkerThatIsCutOffStopsBeforeAnotherBegins(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	b := newBench(t, newClient(t, o), approvals.Options{})
	f, h := newFloor(t), newHeld() // notices two runs at once
	f.onRun = h.run
	line := &wire{}
	rdb := line.client(o)
	t.Cleanup(func() { _ = rdb.Close() })
	newBench(t, rdb, approvals.Options{}).work(approvals.WorkerOptions{Floor: f, Replica: "one", Lease: 2 * time.Second})
	r := b.submit(shop42, actions.VerbDeploy)
	first := h.next(t)
	line.sever()
	b.work(approvals.WorkerOptions{Floor: f, Replica: "two", Lease: 2 * time.Second})
	if again := h.next(t); again.ID != first.ID {
		t.Errorf("run %s went on as %s", first.ID, again.ID)
	}
	h.finish(t, actions.RunSucceeded)
	b.untilState(r.ID, approvals.StateSucceeded)
}
