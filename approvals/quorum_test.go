package approvals_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	policies "github.com/berth-dev/berth/approvals/policy"
)

// modelRule is a rule and, in Go, what its condition says.
type modelRule struct {
	policies.Rule
	about func(v actions.Verb) bool
}

func anyVerb(actions.Verb) bool { return true }

func oneOf(verbs ...actions.Verb) func(actions.Verb) bool {
	return func(v actions.Verb) bool { return slices.Contains(verbs, v) }
}

// ruleSets are the configs that come and go, the first when a try begins.
var ruleSets = map[string][]modelRule{
	"base": {
		{policies.Rule{
			Name: "deploy-two", When: `request.verb in ["deploy", "restart"]`, BreakGlass: []string{"role:lead"},
			Approve: &policies.Approve{
				Needs: []policies.Need{{Count: 2, From: []string{"role:sre", "actor:eli"}}}, NotRequester: true, Within: 2 * time.Hour,
				Remind: 30 * time.Minute, Escalate: &policies.Escalate{After: time.Hour, To: []string{"role:lead"}},
			},
		}, oneOf("deploy", "restart")},
		{policies.Rule{
			Name: "archive-both", When: `request.verb == "archive"`,
			Approve: &policies.Approve{Needs: []policies.Need{{Count: 1, From: []string{"role:sre"}}, {Count: 1, From: []string{"role:db"}}}, Within: 2 * time.Hour},
		}, oneOf("archive")},
	},
	"weak": {
		{policies.Rule{
			Name: "one", When: `request.verb != "cleanup"`, BreakGlass: []string{"role:lead"},
			Approve: &policies.Approve{Needs: []policies.Need{{Count: 1, From: []string{"role:sre", "role:db"}}}, NotRequester: true, Within: 3 * time.Hour},
		}, oneOf("deploy", "restart", "archive")},
	},
	"strict": {
		{policies.Rule{
			Name:    "three",
			Approve: &policies.Approve{Needs: []policies.Need{{Count: 2, From: []string{"role:sre"}}, {Count: 1, From: []string{"role:db"}}}, NotRequester: true, Within: 4 * time.Hour},
		}, anyVerb},
		{policies.Rule{Name: "freeze", When: `request.verb == "cleanup"`, Refuse: "Nothing is cleaned up today.", BreakGlass: []string{"role:lead"}}, oneOf("cleanup")},
	},
	"vote": {
		{policies.Rule{
			Name:    "vote",
			Approve: &policies.Approve{Needs: []policies.Need{{Count: 2, From: []string{"role:sre", "role:db"}}}, Majority: true, Within: 2 * time.Hour},
		}, anyVerb},
	},
}

// account is somebody at one of their accounts.
type account struct{ actor, identity string }

// accounts are all accounts: ana asks and may agree to others' requests, ben
// has two accounts, gus belongs to nothing.
var accounts = []account{
	{"ana", "github:ana"}, {"ben", "github:ben"}, {"ben", "slack:ben"}, {"cid", "github:cid"},
	{"dot", "github:dot"}, {"eli", "token:eli"}, {"fay", "github:fay"}, {"gus", "github:gus"},
}

// directory knows the roles of people now.
type directory struct {
	mu    sync.RWMutex // held for reading as long as a policy is asked, so that it sees one moment
	roles map[string][]string
}

func newDirectory() *directory {
	return &directory{roles: map[string][]string{"ana": {"sre"}, "ben": {"sre"}, "cid": {"sre"}, "dot": {"sre", "db"}, "eli": {"db"}, "fay": {"lead"}}}
}

// Person is called while mu is held.
func (d *directory) Person(_ context.Context, identity string) (approvals.Person, error) {
	i := slices.IndexFunc(accounts, func(a account) bool { return a.identity == identity })
	if i < 0 {
		return approvals.Person{}, fmt.Errorf("nobody has %s", identity)
	}
	name := accounts[i].actor
	return approvals.Person{ID: "actor:" + name, Name: name, Roles: d.roles[name]}, nil
}

// in tells whether somebody is in one of groups.
func (d *directory) in(name string, groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool {
		role, isRole := strings.CutPrefix(g, "role:")
		return g == "actor:"+name || isRole && slices.Contains(d.roles[name], role)
	})
}

// releases is the model: whether rules let r run at the time now. It goes by
// r alone and by who people are.
func (d *directory) releases(rules []modelRule, r *approvals.Request, now time.Time) bool {
	for _, rule := range rules {
		broken := r.Glass != nil && d.in(nameOf(r.Glass.By.Identity), rule.BreakGlass)
		if !rule.about(r.Order.Verb) || broken {
			continue
		}
		if rule.Refuse != "" || !d.met(rule.Approve, r, now) {
			return false
		}
	}
	return true
}

func nameOf(identity string) string {
	_, name, _ := strings.Cut(identity, ":")
	return name
}

// met tells whether enough people agree and nobody who may say no does.
func (d *directory) met(a *policies.Approve, r *approvals.Request, now time.Time) bool {
	last := map[string]approvals.Decision{}
	for _, dec := range r.Decisions {
		name := nameOf(dec.By.Identity)
		was, said := last[name]
		counts := dec.Digest == r.Digest && !dec.At.After(r.Plan.MadeAt.Add(a.Within)) && (!a.NotRequester || name != nameOf(r.Requester.Identity))
		if counts && (!said || !was.At.After(dec.At)) {
			last[name] = dec
		}
	}
	var yes [][]int // by person: the needs that they count for
	no := 0
	for name, dec := range last {
		instead := a.Escalate != nil && !now.Before(r.Plan.MadeAt.Add(a.Escalate.After)) && d.in(name, a.Escalate.To)
		var can []int
		for i, need := range a.Needs {
			if instead || d.in(name, need.From) {
				can = append(can, i)
			}
		}
		switch {
		case len(can) > 0 && dec.Verdict == approvals.Approve:
			yes = append(yes, can)
		case len(can) > 0:
			no++
		}
	}
	if no > 0 && (!a.Majority || len(yes) <= no) {
		return false
	}
	left := make([]int, len(a.Needs))
	for i, need := range a.Needs {
		left[i] = max(need.Count, 1)
	}
	return filled(yes, left)
}

// filled tries all ways of giving people to needs.
func filled(yes [][]int, left []int) bool {
	if !slices.ContainsFunc(left, func(n int) bool { return n > 0 }) {
		return true
	}
	if len(yes) == 0 {
		return false
	}
	for _, i := range yes[0] {
		if left[i] > 0 {
			rest := slices.Clone(left)
			rest[i]--
			if filled(yes[1:], rest) {
				return true
			}
		}
	}
	return filled(yes[1:], left)
}

// weighing is one time that a replica asked its policy.
type weighing struct {
	replica  string
	revision int64 // of the record that it asked about
	digest   string
	releases bool // by the policy and by the model
}

// quorum is one try of the property.
type quorum struct {
	*world
	t       *rapid.T
	tb      testing.TB
	options *redis.Options
	people  *directory
	apis    []*bench // processes that take decisions and are never cut off
	engines map[string]*policies.Engine
	rules   string // the newest config; not every replica has it yet

	replicas, former []*replica
	workers          map[string]*approvals.Requests // by the replica's name
	ids              []string
	names            int

	notes     sync.Mutex
	ahead     time.Duration // of the injected clock
	weighings map[string][]weighing
	ran       map[string]map[string]string // request: run: the digest that it ran with
	broken    []string
}

// now is the injected clock: hours pass at once in it.
func (q *quorum) now() time.Time {
	q.notes.Lock()
	defer q.notes.Unlock()
	return time.Now().Add(q.ahead)
}

// watched is a replica's policy: a real one, whose every answer is compared with
// the model and written down.
type watched struct {
	q       *quorum
	replica string
	rules   string
	engine  *policies.Engine
}

func (w *watched) Evaluate(ctx context.Context, r *approvals.Request) (approvals.Outcome, error) {
	q := w.q
	q.people.mu.RLock()
	defer q.people.mu.RUnlock()
	before := q.people.releases(ruleSets[w.rules], r, q.now())
	outcome, err := w.engine.Evaluate(ctx, r)
	after := q.people.releases(ruleSets[w.rules], r, q.now())
	if err != nil {
		return outcome, err
	}
	released := outcome.Effect == approvals.EffectRelease
	q.notes.Lock()
	defer q.notes.Unlock()
	if released && !before && !after || !released && before && after {
		q.broken = append(q.broken, fmt.Sprintf("the rules %s say %+v of %+v, whose plan is of %v; the model says %t", w.rules, outcome, r, r.Plan.MadeAt, after))
	}
	q.weighings[r.ID] = append(q.weighings[r.ID], weighing{w.replica, r.Revision, r.Digest, released && (before || after)})
	return outcome, nil
}

// policy is the policy with these rules for one replica.
func (q *quorum) policy(replica, rules string) *watched {
	return &watched{q: q, replica: replica, rules: rules, engine: q.engines[rules]}
}

// build makes the engines of all configs.
func (q *quorum) build(b *bench) {
	q.engines = map[string]*policies.Engine{}
	for name, set := range ruleSets {
		rules := make([]policies.Rule, len(set))
		for i, r := range set {
			rules[i] = r.Rule
		}
		engine, err := policies.New(policies.Options{Rules: rules, People: q.people, Apps: oneShop{}, Environments: b.store, Requests: b, Now: q.now})
		if err != nil {
			q.t.Fatal(err)
		}
		q.engines[name] = engine
	}
}

// oneShop is a catalog with the app shop.
type oneShop struct{}

func (oneShop) App(string) (*actions.App, error) { return &actions.App{Name: "shop"}, nil }
func (oneShop) Apps() []*actions.App             { return []*actions.App{{Name: "shop"}} }

// watchedFloor writes down what runs.
type watchedFloor struct {
	*mortal
	q *quorum
}

func (f watchedFloor) Plan(ctx context.Context, order actions.Order, brief bool) (*actions.Plan, error) {
	plan, err := f.mortal.Plan(ctx, order, brief)
	if plan != nil {
		plan.MadeAt = f.q.now()
	}
	return plan, err
}

func (f watchedFloor) Run(ctx context.Context, lease *actions.Lease, req actions.RunRequest) (*actions.Run, error) {
	f.q.notes.Lock()
	if f.q.ran[req.RequestID] == nil {
		f.q.ran[req.RequestID] = map[string]string{}
	}
	f.q.ran[req.RequestID][req.ID] = req.Digest
	f.q.notes.Unlock()
	return f.mortal.Run(ctx, lease, req)
}

// start starts a worker whose config may be an older one.
func (q *quorum) start(name string) *replica {
	r := &replica{name: name, done: make(chan struct{}), wire: &wire{}, does: &mortal{world: q.world, dead: make(chan struct{})}}
	r.rdb = r.wire.client(q.options)
	store := actions.NewStore(r.rdb, actions.StoreOptions{Now: q.now})
	requests := approvals.NewRequests(r.rdb, store, approvals.Options{Policy: q.policy(name, q.rules), Now: q.now})
	w := approvals.NewWorker(approvals.WorkerOptions{
		Requests: requests, Store: store, Replica: name, Floor: watchedFloor{r.does, q}, Lease: machineLease, Grace: -1, Concurrency: 4,
	})
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, q.workers[name] = cancel, requests
	go func() {
		defer close(r.done)
		_ = w.Run(ctx)
	}()
	return r
}

func (q *quorum) submit() {
	by := rapid.SampledFrom(accounts[:4]).Draw(q.t, "requester")
	r := approvals.Request{
		Order: actions.Order{
			Env:    rapid.SampledFrom([]actions.Name{shop42, shop43}).Draw(q.t, "env"),
			Verb:   rapid.SampledFrom([]actions.Verb{"deploy", "restart", "restart", "archive", "cleanup"}).Draw(q.t, "verb"),
			Reason: fmt.Sprint("wish ", len(q.ids)), // tells the floor one from another
		},
		Requester: approvals.Requester{Actor: by.actor, Identity: by.identity},
	}
	got, created, err := q.api().Submit(context.Background(), r)
	if err != nil || !created {
		q.t.Fatalf("submit: created %t, %v", created, err)
	}
	q.ids = append(q.ids, got.ID)
}

func (q *quorum) api() *bench { return q.apis[rapid.IntRange(0, len(q.apis)-1).Draw(q.t, "api")] }

// some is the request that most is about: one of the newest.
func (q *quorum) some() string {
	return rapid.SampledFrom(q.ids[max(0, len(q.ids)-4):]).Draw(q.t, "request")
}

// waiting is a request that waits for people, or any when none does.
func (q *quorum) waiting() string {
	found, _, err := q.apis[0].List(context.Background(), approvals.Filter{State: approvals.StatePending})
	q.allow(err)
	if len(found) == 0 || rapid.IntRange(0, 9).Draw(q.t, "any") == 0 {
		return q.some()
	}
	return found[rapid.IntRange(0, 99).Draw(q.t, "waiting")%len(found)].ID
}

// decide has some people say this and that about one request at the same moment.
func (q *quorum) decide() {
	var said []approvals.Decision
	for range rapid.IntRange(1, 4).Draw(q.t, "people") {
		d := q.someone()
		switch what := rapid.IntRange(0, 9).Draw(q.t, "what"); {
		case what < 1:
			d.Verdict = approvals.Deny
		case what < 2:
			if rapid.Bool().Draw(q.t, "leads") {
				d.By = approvals.Requester{Actor: "fay", Identity: "github:fay"}
			}
			d.BreakGlass, d.Reason = true, "The shop is down."
		}
		said = append(said, d)
	}
	q.say(q.waiting(), said)
}

// agree has several people agree to one request at the same moment.
func (q *quorum) agree() {
	var said []approvals.Decision
	for range rapid.IntRange(2, 5).Draw(q.t, "people") {
		said = append(said, q.someone())
	}
	q.say(q.waiting(), said)
}

func (q *quorum) someone() approvals.Decision {
	who := rapid.SampledFrom(accounts).Draw(q.t, "who")
	return approvals.Decision{By: approvals.Requester{Actor: who.actor, Identity: who.identity}, Verdict: approvals.Approve}
}

// say has all of it arrive at once, by way of any process.
func (q *quorum) say(id string, said []approvals.Decision) {
	var all sync.WaitGroup
	for _, d := range said {
		api := q.api()
		all.Go(func() {
			_, err := api.Decide(context.Background(), id, d)
			q.allow(err, actions.CodeConflict, actions.CodeForbidden)
		})
	}
	all.Wait()
}

// allow notes errors that are none of these.
func (q *quorum) allow(err error, codes ...actions.Code) {
	if err != nil && !slices.Contains(codes, actions.CodeOf(err)) {
		q.notes.Lock()
		defer q.notes.Unlock()
		q.broken = append(q.broken, err.Error())
	}
}

func (q *quorum) cancel() {
	_, err := q.api().Cancel(context.Background(), q.some(), ben, "")
	q.allow(err, actions.CodeConflict)
}

// hire gives somebody a role or takes one away.
func (q *quorum) hire() {
	name, role := rapid.SampledFrom([]string{"ben", "cid", "dot", "eli"}).Draw(q.t, "name"), rapid.SampledFrom([]string{"sre", "db"}).Draw(q.t, "role")
	q.people.mu.Lock()
	defer q.people.mu.Unlock()
	roles := slices.Clone(q.people.roles[name])
	if i := slices.Index(roles, role); i >= 0 {
		roles = slices.Delete(roles, i, i+1)
	} else {
		roles = append(roles, role)
	}
	q.people.roles[name] = roles
}

// reload has a new config reach some of the processes; the others still go by
// an older one.
func (q *quorum) reload() {
	names := []string{"base", "weak", "strict", "strict", "vote"}
	q.adopt(rapid.SampledFrom(names).Draw(q.t, "rules"), func() bool { return rapid.Bool().Draw(q.t, "reaches") })
}

func (q *quorum) adopt(rules string, reaches func() bool) {
	q.rules = rules
	for i, api := range q.apis {
		if reaches() {
			api.SetPolicy(q.policy(fmt.Sprint("api ", i), rules))
			_, err := api.Reconsider(context.Background())
			q.allow(err)
		}
	}
	for _, r := range q.replicas {
		if reaches() {
			q.workers[r.name].SetPolicy(q.policy(r.name, rules))
		}
	}
}

func (q *quorum) letTimePass() {
	by := rapid.SampledFrom([]time.Duration{20 * time.Minute, 50 * time.Minute, 65 * time.Minute, 3 * time.Hour}).Draw(q.t, "time")
	q.people.mu.Lock() // not while a policy is asked
	defer q.people.mu.Unlock()
	q.notes.Lock()
	defer q.notes.Unlock()
	q.ahead += by
}

func (q *quorum) kill() {
	i := rapid.IntRange(0, len(q.replicas)-1).Draw(q.t, "replica")
	old := q.replicas[i]
	old.kill()
	q.former = append(q.former, old)
	name := old.name
	if rapid.Bool().Draw(q.t, "another name") {
		q.names++
		name = fmt.Sprint("replica-", q.names)
	}
	q.replicas[i] = q.start(name)
}

func (q *quorum) pass() {
	_, _ = q.apis[0].store.Changes(context.Background(), "$", time.Duration(rapid.IntRange(1, 80).Draw(q.t, "ms"))*time.Millisecond)
}

// see waits until no request is being planned, so that there is something to
// decide on.
func (q *quorum) see() {
	for _, id := range q.ids[max(0, len(q.ids)-4):] {
		q.apis[0].until(id, "planned", func(r *approvals.Request) bool { return r.State != approvals.StatePlanning })
	}
}

func TestNothingRunsBelowItsQuorumWhateverHappens(t *testing.T) {
	setChecks(t, 8)
	o := redistest.Options(t)
	rdb := newClient(t, o)
	rapid.Check(t, func(rt *rapid.T) {
		if err := rdb.FlushDB(context.Background()).Err(); err != nil {
			rt.Fatal(err)
		}
		q := &quorum{
			t: rt, tb: t, options: o, people: newDirectory(), rules: "base", workers: map[string]*approvals.Requests{},
			weighings: map[string][]weighing{}, ran: map[string]map[string]string{},
			world: &world{
				busy: map[actions.Name]*mortal{}, ends: map[string]int{}, tries: map[string]int{}, planned: map[string]int{}, seed: rapid.Uint64().Draw(rt, "fate"),
			},
		}
		for range 2 {
			q.apis = append(q.apis, newBench(t, rdb, approvals.Options{Now: q.now}))
		}
		q.build(q.apis[0])
		for i, api := range q.apis {
			api.SetPolicy(q.policy(fmt.Sprint("api ", i), "base"))
		}
		q.replicas = []*replica{q.start("one"), q.start("two")}
		defer q.close()
		doings := []func(){
			q.submit, q.submit, q.submit, q.see, q.see, q.see, q.decide, q.decide, q.decide, q.agree, q.agree, q.agree, q.agree,
			q.cancel, q.hire, q.reload, q.letTimePass, q.kill, q.pass, q.pass,
		}
		q.submit()
		for range rapid.IntRange(20, 60).Draw(rt, "doings") {
			doings[rapid.IntRange(0, len(doings)-1).Draw(rt, "doing")]()
		}
		q.settle()
		q.check()
	})
}

func (q *quorum) close() {
	for _, r := range append(q.replicas, q.former...) {
		r.stop()
		<-r.done
		_ = r.rdb.Close()
	}
}

// settle gives every process the same config, and lets time pass until all
// requests have ended.
func (q *quorum) settle() {
	q.adopt(q.rules, func() bool { return true })
	for _, id := range q.ids {
		q.apis[0].until(id, "ended", func(r *approvals.Request) bool {
			if r.State == approvals.StatePending && r.Plan != nil && q.now().Before(r.Plan.MadeAt.Add(4*time.Hour)) {
				q.people.mu.Lock()
				q.notes.Lock()
				q.ahead += 5 * time.Hour
				q.notes.Unlock()
				q.people.mu.Unlock()
			}
			return r.State.Ended()
		})
	}
}

// check looks at what must hold after any history.
func (q *quorum) check() {
	ctx := context.Background()
	q.notes.Lock()
	broken := append(slices.Clone(q.broken), q.faults...)
	q.notes.Unlock()
	if len(broken) > 0 {
		q.t.Fatal(strings.Join(broken, "\n"))
	}
	list, _, err := q.apis[0].List(ctx, approvals.Filter{Limit: 200})
	if err != nil || len(list) != len(q.ids) {
		q.t.Fatalf("%d requests are listed, %d were made, %v", len(list), len(q.ids), err)
	}
	trails := map[string][]actions.Record{}
	for _, env := range []actions.Name{shop42, shop43} {
		if err := q.apis[0].store.VerifyAudit(ctx, env); err != nil {
			q.t.Fatal(err)
		}
		records, err := q.apis[0].store.Audit(ctx, env, 0, 0)
		if err != nil {
			q.t.Fatal(err)
		}
		for _, rec := range records {
			trails[rec.RequestID] = append(trails[rec.RequestID], rec)
		}
	}
	for _, r := range list {
		q.checkOne(r, trails[r.ID])
	}
}

// checkOne follows one request through its audit: each release, and each begin
// of a run, is by a policy that was asked about that very record.
func (q *quorum) checkOne(r *approvals.Request, trail []actions.Record) {
	q.notes.Lock()
	defer q.notes.Unlock()
	// What does not count changes nothing, and is recorded beside the changes.
	trail = slices.DeleteFunc(trail, func(rec actions.Record) bool { return rec.Kind == "request.decision_refused" })
	if len(trail) == 0 || trail[0].Kind != "request.submitted" || int64(len(trail)) != r.Revision {
		q.t.Fatalf("request %+v has the audit %+v", r, trail)
	}
	state, ends, runs := approvals.StatePlanning, 0, 0
	for i, rec := range trail[1:] {
		from, to := approvals.State(rec.Detail["from"]), approvals.State(rec.Detail["to"])
		if from != state || !from.CanMove(to) {
			q.t.Fatalf("request %s was %s and is audited as going from %s to %s", r.ID, state, from, to)
		}
		begins := to == approvals.StateRunning && from != to
		if to == approvals.StateReleased || begins && !atOnce(trail[i], rec) {
			q.checkWeighed(r, rec, int64(i+1), rec.Detail["worker"])
		}
		if begins && atOnce(trail[i], rec) {
			q.checkWeighed(r, trail[i], int64(i), rec.Detail["worker"])
		}
		if begins {
			runs++
			if digest, ran := q.ran[r.ID][rec.RunID]; ran && digest != rec.Digest {
				q.t.Fatalf("run %s of request %s ran %q, and %q was agreed on", rec.RunID, r.ID, digest, rec.Digest)
			}
		}
		if state = to; state.Ended() {
			ends++
		}
	}
	if state != r.State || ends != 1 {
		q.t.Fatalf("request %s is %s, and ended %d times as %s by its audit", r.ID, r.State, ends, state)
	}
	if len(q.ran[r.ID]) > runs || runs > r.Replans+1 {
		q.t.Fatalf("request %s, replanned %d times, began to run %d times by its audit, and as %v", r.ID, r.Replans, runs, q.ran[r.ID])
	}
	for _, d := range r.Decisions {
		if d.Digest != r.Digest {
			q.t.Fatalf("request %s has digest %q and a decision on %q", r.ID, r.Digest, d.Digest)
		}
	}
}

// atOnce tells whether a worker released a request and began to run it in one
// step, so that it asked its policy once.
func atOnce(release, run actions.Record) bool {
	return release.Detail["to"] == string(approvals.StateReleased) && release.Actor == run.Actor && run.Time.Sub(release.Time) < time.Millisecond
}

// checkWeighed looks for the weighing that let rec happen: of the record with
// this revision, with this digest, and by worker, "" for any process.
func (q *quorum) checkWeighed(r *approvals.Request, rec actions.Record, revision int64, worker string) {
	if !slices.ContainsFunc(q.weighings[r.ID], func(w weighing) bool {
		return w.releases && w.revision == revision && w.digest == rec.Digest && (worker == "" || w.replica == worker)
	}) {
		q.t.Fatalf("request %s, %s by %s: %s of revision %d with digest %q, though no policy let %s: %+v",
			r.ID, r.Order.Verb, r.Requester.Actor, rec.Kind, revision, rec.Digest, worker, q.weighings[r.ID])
	}
}
