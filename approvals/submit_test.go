package approvals_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
)

func TestSubmitRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	tests := map[string]func(r *approvals.Request){
		"no environment":             func(r *approvals.Request) { r.Order.Env = actions.Name{} },
		"a name that leaves its key": func(r *approvals.Request) { r.Order.Env.Env = "x}:y" },
		"no verb":                    func(r *approvals.Request) { r.Order.Verb = "" },
		"an unknown verb":            func(r *approvals.Request) { r.Order.Verb = "destroy" },
		"nobody who asks":            func(r *approvals.Request) { r.Requester = approvals.Requester{} },
		"an id that is no ULID":      func(r *approvals.Request) { r.ID = "42" },
		"an id in capitals":          func(r *approvals.Request) { r.ID = "01M7XPV4H8Q4H52FMQNZ7AA3EM" },
		"a command without end":      func(r *approvals.Request) { r.Command = strings.Repeat("x", 5000) },
		"a reason without end":       func(r *approvals.Request) { r.Order.Reason = strings.Repeat("x", 5000) },
		"values without end": func(r *approvals.Request) {
			r.Order.Set = map[string]string{"image.tag": strings.Repeat("x", 1<<20)}
		},
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			r := approvals.Request{Order: actions.Order{Env: shop42, Verb: actions.VerbDeploy}, Requester: ana}
			edit(&r)
			_, created, err := b.Submit(t.Context(), r)
			wantCode(t, err, actions.CodeInvalid)
			if created {
				t.Error("it was made")
			}
		})
	}
	if keys, err := b.rdb.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("requests that cannot be left %v, %v", keys, err)
	}
}

func TestSubmitSetsWhatIsItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	r := b.submit(shop42, actions.VerbDeploy, func(r *approvals.Request) {
		r.State, r.Digest, r.RunID, r.Revision = approvals.StateReleased, "forged", "forged", 9
		r.Decisions = []approvals.Decision{{Verdict: approvals.Approve, By: ana}}
		r.Order.Reason = "quote \" and \\u0000 \x00 and \xff end"
	})
	got, err := b.Get(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != approvals.StatePlanning || got.Digest != "" || got.RunID != "" || got.Revision != 1 || got.Decisions != nil || got.CreatedAt.IsZero() {
		t.Errorf("stored %+v", got)
	}
	if _, err := b.Move(t.Context(), got, approvals.StateReleased, nil); err != nil {
		t.Errorf("a record with odd characters cannot be moved: %v", err)
	}
}

func TestGetOfAnUnknownRequestIsNotFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	for _, id := range []string{"", "x", "01m7xpv4h8q4h52fmqnz7aa3em", strings.Repeat("y", 1<<16)} {
		_, err := b.Get(t.Context(), id)
		wantCode(t, err, actions.CodeNotFound)
		if len(actions.Message(err)) > 200 {
			t.Errorf("the message repeats %d bytes", len(actions.Message(err)))
		}
	}
}

func TestTheSameKeyFiftyTimesAtOnceOnTwoReplicasIsOneRequest(t *testing.T) {
	t.Parallel()
	o := redistest.Options(t)
	one, two := newBench(t, newClient(t, o), approvals.Options{}), newBench(t, newClient(t, o), approvals.Options{})
	var mu sync.Mutex
	ids, created := map[string]int{}, 0
	var all sync.WaitGroup
	start := make(chan struct{})
	for n := range 50 {
		b := one
		if n%2 == 1 {
			b = two
		}
		all.Go(func() {
			<-start
			r, made, err := b.Submit(t.Context(), approvals.Request{
				Order: actions.Order{Env: shop42, Verb: actions.VerbDeploy}, Requester: ana, Key: "github:comment:1:1",
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			ids[r.ID]++
			if made {
				created++
			}
		})
	}
	close(start)
	all.Wait()
	if len(ids) != 1 || created != 1 {
		t.Fatalf("%d ids, %d created", len(ids), created)
	}
	for id := range ids {
		wantEqual(t, "audit", one.kinds(shop42, id), []string{"request.submitted"})
	}
	records, err := one.store.Audit(t.Context(), shop42, 0, 0)
	if err != nil || len(records) != 1 {
		t.Errorf("%d audit records, %v", len(records), err)
	}
	list, _, err := one.List(t.Context(), approvals.Filter{})
	if err != nil || len(list) != 1 {
		t.Errorf("the list has %d requests, %v", len(list), err)
	}
	// One hint for it, and no index entries of those that came late.
	for key, want := range map[string]int64{approvals.ActiveIndexKey: 1, "berth:requests": 1} {
		if n, err := one.rdb.ZCard(t.Context(), key).Result(); err != nil || n != want {
			t.Errorf("%s has %d members, %v", key, n, err)
		}
	}
	if err := one.Enqueued(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := one.rdb.ZCard(t.Context(), approvals.ReadyKey).Result(); err != nil || n != 1 {
		t.Errorf("the queue has %d entries, %v", n, err)
	}
}

func TestSubmitAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	r := b.submit(shop42, actions.VerbDeploy, func(r *approvals.Request) { r.Key = "k" })
	tests := map[string]struct {
		edit func(*approvals.Request)
		same bool
	}{
		"with the same key is the same request":                 {func(r *approvals.Request) { r.Key = "k" }, true},
		"with the same id is the same request":                  {func(r *approvals.Request) { r.ID = b.first(shop42) }, true},
		"with another key is another request":                   {func(r *approvals.Request) { r.Key = "k2" }, false},
		"without a key is another request":                      {func(*approvals.Request) {}, false},
		"with the same key in another environment is another's": {func(r *approvals.Request) { r.Key, r.Order.Env = "k", shop43 }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			again := approvals.Request{Order: actions.Order{Env: shop42, Verb: actions.VerbRestart}, Requester: ben}
			test.edit(&again)
			got, created, err := b.Submit(t.Context(), again)
			if err != nil {
				t.Fatal(err)
			}
			if created == test.same || (got.ID == r.ID) != test.same {
				t.Errorf("created %t, id %s, the first's was %s", created, got.ID, r.ID)
			}
			if test.same && got.Order.Verb != actions.VerbDeploy {
				t.Errorf("it became a %s", got.Order.Verb)
			}
		})
	}
}

// first is the id of the oldest active request of env.
func (b *bench) first(env actions.Name) string { return b.active(env)[0] }

func TestSupersedes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		newer, older           actions.Verb
		state                  approvals.State
		newerDry, olderDry, is bool
	}{
		"a deploy takes the place of a deploy being planned": {newer: "deploy", older: "deploy", state: "planning", is: true},
		"a deploy takes the place of a pending deploy":       {newer: "deploy", older: "deploy", state: "pending", is: true},
		"a deploy takes the place of a released deploy":      {newer: "deploy", older: "deploy", state: "released", is: true},
		"a deploy leaves one alone that runs":                {newer: "deploy", older: "deploy", state: "running"},
		"a deploy leaves one alone that ended":               {newer: "deploy", older: "deploy", state: "failed"},
		"a deploy waits for a cleanup":                       {newer: "deploy", older: "cleanup", state: "released"},
		"a cleanup takes the place of a deploy":              {newer: "cleanup", older: "deploy", state: "pending", is: true},
		"a cleanup takes the place of a restart":             {newer: "cleanup", older: "restart", state: "released", is: true},
		"a cleanup takes the place of a cleanup":             {newer: "cleanup", older: "cleanup", state: "planning", is: true},
		"a restart is done after a deploy":                   {newer: "restart", older: "deploy", state: "released"},
		"a deploy is done after an archive":                  {newer: "deploy", older: "archive", state: "released"},
		"a dry run takes nobody's place":                     {newer: "deploy", older: "deploy", state: "planning", newerDry: true},
		"a dry run keeps its place":                          {newer: "cleanup", older: "deploy", state: "planning", olderDry: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			newer := &approvals.Request{State: approvals.StatePlanning, Order: actions.Order{Verb: test.newer}, DryRun: test.newerDry}
			older := &approvals.Request{State: test.state, Order: actions.Order{Verb: test.older}, DryRun: test.olderDry}
			if got := approvals.Supersedes(newer, older); got != test.is {
				t.Errorf("%t", got)
			}
		})
	}
}

func TestANewerDeployShowsInTheOlderOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, redistest.Client(t), approvals.Options{})
	older := b.submit(shop42, actions.VerbDeploy)
	elsewhere := b.submit(shop43, actions.VerbDeploy)
	newer := b.submit(shop42, actions.VerbDeploy, func(r *approvals.Request) { r.Requester = ben })
	got, err := b.Get(t.Context(), older.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("ben asked for a newer deploy of shop/pr-42, request %s.", newer.ID)
	if got.State != approvals.StateSuperseded || got.Reason != want || got.EndedAt.IsZero() {
		t.Errorf("the older is %s: %q", got.State, got.Reason)
	}
	wantEqual(t, "audit", b.kinds(shop42, older.ID), []string{"request.submitted", "request.superseded"})
	wantEqual(t, "active", b.active(shop42), []string{newer.ID})
	if other, err := b.Get(t.Context(), elsewhere.ID); err != nil || other.State != approvals.StatePlanning {
		t.Errorf("one of another environment is %+v, %v", other, err)
	}
}

func TestListPagesThroughWhatTheFilterLetsThrough(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := newBench(t, redistest.Client(t), approvals.Options{Now: func() time.Time { return now }})
	api := actions.Name{App: "api", Env: "pr-1"}
	var all, of42, ofAPI, active []string
	for n := range 130 {
		now = now.Add(time.Duration(n%3) * time.Millisecond)
		env := []actions.Name{shop42, shop43, api}[n%3]
		r := b.submit(env, actions.VerbRestart)
		all = append(all, r.ID)
		switch env {
		case shop42:
			of42 = append(of42, r.ID)
		case api:
			ofAPI = append(ofAPI, r.ID)
		}
		if n%2 == 0 {
			if _, err := b.Cancel(t.Context(), r.ID, ana, ""); err != nil {
				t.Fatal(err)
			}
		} else {
			active = append(active, r.ID)
		}
	}
	cancelled42 := slices.DeleteFunc(slices.Clone(of42), func(id string) bool { return slices.Contains(active, id) })
	tests := map[string]struct {
		filter approvals.Filter
		want   []string
	}{
		"everything":                        {approvals.Filter{}, all},
		"one environment":                   {approvals.Filter{Env: shop42}, of42},
		"one app":                           {approvals.Filter{App: "api"}, ofAPI},
		"one active state":                  {approvals.Filter{State: approvals.StatePlanning}, active},
		"one environment in an ended state": {approvals.Filter{Env: shop42, State: approvals.StateCancelled}, cancelled42},
		"a state that nothing is in":        {approvals.Filter{State: approvals.StateFailed}, nil},
		"an app that is not there":          {approvals.Filter{App: "nope"}, nil},
		"an environment of another app":     {approvals.Filter{Env: shop42, App: "api"}, nil},
	}
	for name, test := range tests {
		slices.Reverse(test.want)
		for _, limit := range []int{0, 1, 7, 200} {
			t.Run(fmt.Sprintf("%s, %d at a time", name, limit), func(t *testing.T) {
				var got []string
				test.filter.Limit, test.filter.Cursor = limit, ""
				for page := 0; ; page++ {
					items, next, err := b.List(t.Context(), test.filter)
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range items {
						got = append(got, r.ID)
					}
					if next == "" {
						break
					}
					if page > 200 {
						t.Fatal("the pages do not end")
					}
					test.filter.Cursor = next
				}
				wantEqual(t, "ids", got, test.want)
			})
		}
		slices.Reverse(test.want)
	}
	_, _, err := b.List(t.Context(), approvals.Filter{Cursor: "x [ -"})
	wantCode(t, err, actions.CodeInvalid)
}

func TestEndedRequestsAreForgottenInTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	b := newBench(t, redistest.Client(t), approvals.Options{Now: func() time.Time { return now }})
	r := b.submit(shop42, actions.VerbDeploy)
	if _, err := b.Cancel(t.Context(), r.ID, ana, "changed my mind"); err != nil {
		t.Fatal(err)
	}
	left, err := b.rdb.PTTL(t.Context(), b.store.Key(shop42, "request:"+r.ID)).Result()
	if err != nil || left < 89*24*time.Hour || left > 90*24*time.Hour {
		t.Errorf("an ended request is kept for %s, %v", left, err)
	}
	now = now.Add(91 * 24 * time.Hour)
	for range 1000 { // one in some submissions sees to it
		b.submit(shop42, actions.VerbDeploy)
		ids, err := b.rdb.ZRange(t.Context(), b.store.Key(shop42, "requests"), 0, 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) == 1 && ids[0] != r.ID {
			return
		}
	}
	t.Error("the environment lists what is no longer kept")
}
