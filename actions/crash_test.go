package actions_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

// workerVariable makes this program's process the worker, and tells it its work.
const workerVariable = "ACTIONS_TEST_WORKER"

// crashed is what a worker process is handed by the test that will kill it.
type crashed struct {
	Addr string
	DB   int
	Req  actions.RunRequest
}

// TestWorkerProcess is no test but the worker that TestKillNine kills. It says
// when its step is under way, and then never ends.
func TestWorkerProcess(t *testing.T) {
	text := os.Getenv(workerVariable)
	if text == "" {
		t.Skip("this is the other process of TestKillNine")
	}
	var c crashed
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	h := harnessOn(t, redis.NewClient(&redis.Options{Addr: c.Addr, DB: c.DB}))
	h.world.before["web"] = func(_ context.Context, _ actions.Step, sink func(actions.Event)) error {
		sink(actions.Event{Kind: actions.EventLog, Text: "half of it is done"})
		fmt.Println("under way")
		select {} // until it is killed
	}
	l, err := h.store.Acquire(h.ctx, shop42, "doomed", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.run.Run(h.ctx, l, c.Req)
	t.Fatalf("the run came to an end: %v", err)
}

func TestKillNine(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	h := harnessOn(t, rdb)
	req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	text, err := json.Marshal(crashed{Addr: o.Addr, DB: o.DB, Req: req})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestWorkerProcess$", "-test.v")
	cmd.Env = append(os.Environ(), workerVariable+"="+string(text))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	underWay := false
	for !underWay && said.Scan() {
		underWay = said.Text() == "under way"
	}
	if !underWay {
		t.Fatalf("the worker said %q", said.Text())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	stored, err := h.store.Run(h.ctx, req.ID)
	if err != nil || stored.State != actions.RunRunning || stored.Steps[0].State != actions.StepDone || stored.Steps[1].State != actions.StepRunning {
		t.Fatalf("after the kill: %+v, %v", stored, err)
	}
	l := acquireWhenFree(t, h)
	run, err := h.run.Run(h.ctx, l, req)
	if err != nil || run.State != actions.RunSucceeded || run.Attempt != 2 {
		t.Fatalf("run %+v, %v", run, err)
	}
	if got := h.world.log(); got != "+web -web +url -url" {
		t.Errorf("the second worker ran %s; db was done already", got)
	}
	if host := h.world.steps[0].With["host"]; host != "db.example.org" {
		t.Errorf("web was given %v; db told it before the kill", host)
	}
	if env := h.env(); env.State != actions.StateRunning || env.Commit.SHA != shaA || env.Fence != l.Token {
		t.Errorf("environment %+v", env)
	}
	if err := h.store.VerifyAudit(h.ctx, shop42); err != nil {
		t.Error(err)
	}
	if all := strings.Join(h.texts(req.ID), "\n"); !strings.Contains(all, "Another worker goes on with it (attempt 2).") {
		t.Errorf("events\n%s", all)
	}
}

// acquireWhenFree waits until the dead worker's lease has run out.
func acquireWhenFree(t *testing.T, h *harness) *actions.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Minute)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		l, err := h.store.Acquire(ctx, shop42, "heir", time.Minute)
		if err == nil {
			return l
		}
		wantCode(t, err, actions.CodeConflict)
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the dead worker's lease does not run out")
		}
	}
}

// A run outlives a Redis that is killed and started again in the middle of it.
func TestRedisIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := harnessOn(t, server.Client(t))
	h.world.before["web"] = func(_ context.Context, _ actions.Step, sink func(actions.Event)) error {
		server.Kill()
		sink(actions.Event{Kind: actions.EventLog, Text: "said while Redis was gone"})
		go server.Restart(t)
		return nil
	}
	run := h.perform(actions.Order{Verb: actions.VerbDeploy})
	if run.State != actions.RunSucceeded || run.Attempt != 1 || h.world.log() != "+db -db +web -web +url -url" {
		t.Errorf("run %+v; %s", run, h.world.log())
	}
	if all := strings.Join(h.texts(run.ID), "\n"); !strings.Contains(all, "said while Redis was gone") {
		t.Errorf("events\n%s", all)
	}
	if err := h.store.VerifyAudit(h.ctx, shop42); err != nil {
		t.Error(err)
	}
}

// When Redis stays away, the worker gives up, and the run is not lost.
func TestRedisStaysAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	h := harnessOn(t, server.Client(t))
	h.run = actions.NewRunner(actions.RunnerOptions{Store: h.store, Catalog: catalog{h.app}, Executors: h.world, Sources: h.repos, Now: h.now, SavePatience: time.Millisecond})
	var killed atomic.Bool
	h.world.before["web"] = func(context.Context, actions.Step, func(actions.Event)) error {
		if killed.CompareAndSwap(false, true) {
			server.Kill()
		}
		return nil
	}
	req, _ := h.plan(actions.Order{Verb: actions.VerbDeploy})
	l, err := h.store.Acquire(h.ctx, shop42, "one", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.run.Run(h.ctx, l, req)
	wantCode(t, err, actions.CodeUnavailable)
	if errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	server.Restart(t)
	h.run = h.runner()
	run, err := h.run.Run(h.ctx, acquireWhenFree(t, h), req)
	if err != nil || run.State != actions.RunSucceeded || run.Attempt != 2 || run.Steps[1].Tries != 2 {
		t.Errorf("run %+v, %v", run, err)
	}
}
