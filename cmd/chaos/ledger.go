package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ledger is the cloud that the executors work in. It knows a step again by its
// id, as clouds know a client's token, and writes down who was at work where and
// when: a connection that ends before its work is done is the end of that work,
// so that also what a killed process did has an end.
type ledger struct {
	seed   uint64
	server *http.Server
	url    string

	mu       sync.Mutex
	versions map[string]int // by app
	effects  map[string]*effect
	arrivals []*arrival
	tries    map[string]int // by step
}

// effect is what one step did. It is there once, since its step is the key.
type effect struct {
	workRequest
	at time.Time
}

// arrival is one time that a process was at work on a step.
type arrival struct {
	workRequest
	begin, end time.Time // end is zero while it lasts
	hangs      bool      // it takes longer than a lease holds
	outcome    string    // "done", "known", "busy", "refused", "broken off"
}

// workRequest is one step to be done.
type workRequest struct {
	Step    string `json:"step"` // RUN/PART/VERB
	App     string `json:"app"`
	Env     string `json:"env"`
	Part    string `json:"part"`
	Verb    string `json:"verb"`
	Version string `json:"version"`
	PID     int    `json:"pid"` // of the executor
}

// run is the id of the run that the step belongs to.
func (w workRequest) run() string {
	run, _, _ := strings.Cut(w.Step, "/")
	return run
}

// environment is the whole name: "shop/e7".
func (w workRequest) environment() string { return w.App + "/" + w.Env }

type workReply struct {
	Receipt string `json:"receipt"`
}

type versionReply struct {
	Version string `json:"version"`
}

// newLedger starts a ledger on loopback.
func newLedger(ctx context.Context, seed uint64) (*ledger, error) {
	l := &ledger{seed: seed, versions: map[string]int{}, effects: map[string]*effect{}, tries: map[string]int{}}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l.url = "http://" + listener.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", l.version)
	mux.HandleFunc("POST /work", l.work)
	l.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = l.server.Serve(listener) }() // until close
	return l, nil
}

func (l *ledger) close() { _ = l.server.Close() }

func (l *ledger) version(w http.ResponseWriter, r *http.Request) {
	app := r.URL.Query().Get("app")
	l.mu.Lock()
	n := l.versions[app]
	l.mu.Unlock()
	_ = json.NewEncoder(w).Encode(versionReply{fmt.Sprint(n)}) // who went away does not want it
}

// move makes another version the newest, as a push of a moving tag does.
func (l *ledger) move(app string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.versions[app]++
}

// fate is what a step has before it. It is the same on every try.
type fate struct {
	takes   time.Duration
	refused bool
	busy    int // so many tries are turned away first
	mute    int // so many tries are done without an answer
	hangs   int // so many tries take longer than a lease holds, so that the run of a replica that is cut off is taken over while it is at work
}

func (l *ledger) fate(step string) fate {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s", l.seed, step)
	n := h.Sum64()
	f := fate{takes: time.Duration(10+n/100%150) * time.Millisecond}
	switch what := n % 100; {
	case what < 2:
		f.refused = true
	case what < 6:
		f.busy = 1
	case what < 10:
		f.mute = 1
	case what < 13:
		f.hangs = 1
	case what < 19:
		f.takes = time.Duration(800+n/100%1700) * time.Millisecond // long enough to be killed in
	}
	return f
}

// work does one step. Its effect is there half-way through, so that a process
// can die before as well as after it.
func (l *ledger) work(w http.ResponseWriter, r *http.Request) {
	var in workRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f := l.fate(in.Step)
	a, try := l.begin(in, f)
	switch {
	case f.refused:
		l.end(a, "refused")
		http.Error(w, "there is no such region", http.StatusUnprocessableEntity)
		return
	case try <= f.busy:
		l.end(a, "busy")
		http.Error(w, "too many requests", http.StatusServiceUnavailable)
		return
	}
	// As in a cloud, what was begun goes on: a later try has less to wait for.
	f.takes /= time.Duration(try)
	if a.hangs {
		f.takes = 2 * (leaseTime + 4*time.Second) // the first half is before the effect
	}
	outcome := "broken off"
	defer func() { l.end(a, outcome) }()
	if !pass(r.Context(), f.takes/2) {
		return
	}
	first := l.apply(in)
	if !pass(r.Context(), f.takes/2) {
		return
	}
	outcome = "known"
	if first {
		outcome = "done"
	}
	if try <= f.mute {
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	}
	_ = json.NewEncoder(w).Encode(workReply{Receipt: in.Step}) // who went away runs it again
}

// pass lets time pass, and tells whether whoever asked is still there.
func pass(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *ledger) begin(in workRequest, f fate) (a *arrival, try int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries[in.Step]++
	try = l.tries[in.Step]
	a = &arrival{workRequest: in, begin: time.Now(), hangs: try <= f.hangs && try > f.busy}
	l.arrivals = append(l.arrivals, a)
	return a, try
}

// hanging are the processes that began not long ago what takes them longer than
// a lease holds.
func (l *ledger) hanging() (ids []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.arrivals {
		if a.hangs && a.end.IsZero() && time.Since(a.begin) < 2*time.Second {
			ids = append(ids, a.PID)
		}
	}
	return ids
}

func (l *ledger) end(a *arrival, outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.end, a.outcome = time.Now(), outcome
}

// apply makes the step's effect, unless it is there. It tells whether it made it.
func (l *ledger) apply(in workRequest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.effects[in.Step] != nil {
		return false
	}
	l.effects[in.Step] = &effect{workRequest: in, at: time.Now()}
	return true
}

// entries is what the ledger says in the end.
func (l *ledger) entries() (effects []effect, arrivals []arrival) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.effects {
		effects = append(effects, *e)
	}
	for _, a := range l.arrivals {
		arrivals = append(arrivals, *a)
	}
	return effects, arrivals
}
