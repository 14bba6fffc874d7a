package people_test

import (
	"context"
	"fmt"
	"reflect"
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
	"github.com/berth-dev/berth/approvals/people"
)

// town is people with a clock that a test turns.
type town struct {
	*people.People
	t     testing.TB
	store *actions.Store
	mu    sync.Mutex
	now   time.Time
}

func (w *town) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *town) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

var ana = people.Actor{Name: "ana", Roles: []string{"sre"}, Identities: []string{"github:Ana", "slack:U1"}}
var ben = people.Actor{Name: "ben", Roles: []string{"dev"}, Identities: []string{"github:ben"}}

func newTown(t testing.TB, rdb redis.UniversalClient) *town {
	w := &town{t: t, store: actions.NewStore(rdb, actions.StoreOptions{}), now: time.Now()}
	w.People = people.New(people.Options{
		Redis: rdb, Store: w.store, Now: w.clock, Actors: []people.Actor{ana, ben},
		Tokens: []people.Token{{Actor: "ana", Roles: []string{"deployer"}}, {Actor: "ci", Roles: []string{"deployer"}}},
	})
	return w
}

func (w *town) person(identity string) approvals.Person {
	w.t.Helper()
	p, err := w.Person(context.Background(), identity)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func by(identity string) approvals.Requester {
	return approvals.Requester{Actor: identity, Identity: identity}
}

var here = approvals.Place{Surface: "cli", Address: "192.0.2.1"}

// link links two accounts as people do.
func (w *town) link(from, to string) error {
	code, err := w.Issue(context.Background(), by(from), to)
	if err != nil {
		return err
	}
	_, err = w.Redeem(context.Background(), by(to), here, code)
	return err
}

func (w *town) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestTheConfigSaysWhoSomebodyIs(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	for name, c := range map[string]struct {
		identity string
		want     approvals.Person
	}{
		"an account of the config": {"github:ana", approvals.Person{
			ID: "actor:ana", Name: "ana", Roles: []string{"sre", "deployer"}, Identities: []string{"github:ana", "slack:U1", "token:ana"}}},
		"a login in another case": {"GitHub:ANA", approvals.Person{
			ID: "actor:ana", Name: "ana", Roles: []string{"sre", "deployer"}, Identities: []string{"github:ana", "slack:U1", "token:ana"}}},
		"a token of an actor": {"token:ana", approvals.Person{
			ID: "actor:ana", Name: "ana", Roles: []string{"sre", "deployer"}, Identities: []string{"github:ana", "slack:U1", "token:ana"}}},
		"an actor by name": {"actor:ana", approvals.Person{
			ID: "actor:ana", Name: "ana", Roles: []string{"sre", "deployer"}, Identities: []string{"github:ana", "slack:U1", "token:ana"}}},
		"a name that nobody has": {"actor:eve", approvals.Person{ID: "actor:eve", Identities: []string{"actor:eve"}}},
		"a token alone":          {"token:ci", approvals.Person{ID: "actor:ci", Name: "ci", Roles: []string{"deployer"}, Identities: []string{"token:ci"}}},
		"an id in another case":  {"slack:u1", approvals.Person{ID: "slack:u1", Identities: []string{"slack:u1"}}},
		"a stranger":             {"github:eve", approvals.Person{ID: "github:eve", Identities: []string{"github:eve"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.person(c.identity); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	for _, wrong := range []string{"", "ana", ":ana", "github:"} {
		if _, err := w.Person(t.Context(), wrong); actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	w.Reload([]people.Actor{{Name: "ana", Identities: []string{"slack:U1"}}}, nil)
	if p := w.person("github:ana"); p.ID != "github:ana" || p.Roles != nil {
		t.Errorf("once the config names her no more: %+v", p)
	}
}

func TestLinkedAccountsAreOnePerson(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	w.must(w.link("discord:9", "mattermost:m"))
	if p := w.person("mattermost:m"); p.ID != "discord:9" || len(p.Identities) != 2 {
		t.Errorf("two strangers' accounts: %+v", p)
	}
	w.must(w.link("token:ana", "discord:9"))
	w.must(w.link("github:ana", "oidc:ana@example.org"))
	all := []string{"discord:9", "github:ana", "mattermost:m", "oidc:ana@example.org", "slack:U1", "token:ana"}
	for _, identity := range all {
		if p := w.person(identity); p.ID != "actor:ana" || !slices.Contains(p.Roles, "sre") || !slices.Equal(p.Identities, all) {
			t.Errorf("%s is %+v", identity, p)
		}
	}
	records, err := w.store.Audit(t.Context(), actions.BerthChain, 0, 0)
	w.must(err)
	if len(records) != 3 || records[1].Kind != "link.made" || records[1].Detail["account"] != "discord:9" || records[1].Detail["to"] != "token:ana" {
		t.Errorf("the audit has %+v", records)
	}
	w.must(w.store.VerifyAudit(t.Context(), actions.BerthChain))
}

func TestTwoActorsCannotBeOnePerson(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	w.must(w.link("github:ben", "discord:9"))
	for _, pair := range [][2]string{{"github:ana", "github:ben"}, {"slack:U1", "discord:9"}, {"discord:9", "token:ci"}} {
		if err := w.link(pair[0], pair[1]); actions.CodeOf(err) != actions.CodeConflict {
			t.Errorf("%v: %v", pair, err)
		}
	}
	// The config may say so after the code was given.
	code, err := w.Issue(t.Context(), by("github:ana"), "discord:77")
	w.must(err)
	w.Reload([]people.Actor{ana, {Name: "ben", Identities: []string{"discord:77"}}}, nil)
	if _, err := w.Redeem(t.Context(), by("discord:77"), here, code); actions.CodeOf(err) != actions.CodeConflict {
		t.Errorf("redeemed as another actor: %v", err)
	}
	// Or after the link was made: then what it says of an account itself stands.
	w.Reload([]people.Actor{{Name: "ana", Identities: []string{"github:ben"}}, {Name: "cid", Identities: []string{"discord:9"}}}, nil)
	if a, c := w.person("github:ben"), w.person("discord:9"); a.ID != "actor:ana" || c.ID != "actor:cid" || slices.Contains(a.Identities, "discord:9") {
		t.Errorf("they are %+v and %+v", a, c)
	}
}

func TestCodes(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	ctx := t.Context()
	code, err := w.Issue(ctx, by("token:ana"), "GitHub:Other")
	w.must(err)
	refused := func(what, identity, code string, want actions.Code) {
		t.Helper()
		if p, err := w.Redeem(ctx, by(identity), here, code); actions.CodeOf(err) != want {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	refused("by somebody else", "github:eve", code, actions.CodeNotFound)
	refused("by who asked for it", "token:ana", code, actions.CodeNotFound)
	refused("a code that is none", "github:other", "aaaa-aaaa-aaaa-aaaa", actions.CodeNotFound)
	refused("no code at all", "github:other", "\x00*", actions.CodeNotFound)
	p, err := w.Redeem(ctx, by("github:OTHER"), here, " "+strings.ToUpper(code))
	if err != nil || p.ID != "actor:ana" {
		t.Fatalf("redeeming: %+v, %v", p, err)
	}
	if p, err := w.Redeem(ctx, by("github:other"), here, code); err != nil || p.ID != "actor:ana" {
		t.Errorf("the same comment delivered twice: %+v, %v", p, err)
	}
	w.must(w.Remove(ctx, by("token:ana"), here, "github:other"))
	refused("a used code after the link was removed", "github:other", code, actions.CodeNotFound)

	last := error(nil)
	for range 20 {
		if _, last = w.Redeem(ctx, by("github:eve"), here, "bbbb-bbbb-bbbb-bbbb"); actions.CodeOf(last) == actions.CodeForbidden {
			break
		}
	}
	if actions.CodeOf(last) != actions.CodeForbidden {
		t.Errorf("nobody stopped the guessing: %v", last)
	}
	for _, wrong := range []string{"", "ana", "token:nobody", "token:ana"} {
		if _, err := w.Issue(ctx, by("token:ana"), wrong); actions.CodeOf(err) != actions.CodeInvalid {
			t.Errorf("a code for %q: %v", wrong, err)
		}
	}
}

func TestACodeEndsByItself(t *testing.T) {
	rdb := redistest.Client(t)
	w := newTown(t, rdb)
	_, err := w.Issue(t.Context(), by("token:ana"), "github:other")
	w.must(err)
	keys, err := rdb.Keys(t.Context(), "*people:code:*").Result()
	w.must(err)
	if len(keys) != 1 {
		t.Fatalf("the codes are %q", keys)
	}
	left, err := rdb.PTTL(t.Context(), keys[0]).Result()
	w.must(err)
	if left <= people.CodeLife-time.Minute || left > people.CodeLife {
		t.Errorf("it ends in %s", left)
	}
}

func TestManyUsesOfOneCodeAtOnceAreOneLink(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	code, err := w.Issue(t.Context(), by("token:ana"), "discord:9")
	w.must(err)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if _, err := w.Redeem(context.Background(), by("discord:9"), here, code); err != nil && actions.CodeOf(err) != actions.CodeForbidden {
				t.Error(err)
			}
		})
	}
	all.Wait()
	records, err := w.store.Audit(t.Context(), actions.BerthChain, 0, 0)
	if err != nil || len(records) != 1 {
		t.Errorf("the audit has %+v, %v", records, err)
	}
}

func TestAnAccountThatWasTakenAwayDoesNotCountBesideItsPerson(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	ctx := t.Context()
	w.must(w.link("token:ana", "discord:9"))
	for name, c := range map[string]struct {
		by, account string
		code        actions.Code
	}{
		"a stranger's":            {"github:eve", "discord:9", actions.CodeNotFound},
		"one that is not linked":  {"token:ana", "discord:8", actions.CodeNotFound},
		"one that the config has": {"token:ana", "slack:U1", actions.CodeForbidden},
		"one that the config has, to which others are linked": {"discord:9", "token:ana", actions.CodeForbidden},
	} {
		if err := w.Remove(ctx, by(c.by), here, c.account); actions.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.must(w.Remove(ctx, by("github:ana"), here, "discord:9")) // from any account of hers
	if p := w.person("discord:9"); p.ID != "actor:ana" || p.Roles != nil || !slices.Equal(p.Identities, []string{"discord:9"}) {
		t.Errorf("it is %+v", p)
	}
	if p := w.person("github:ana"); slices.Contains(p.Identities, "discord:9") {
		t.Errorf("she is %+v", p)
	}
	if err := w.link("github:ben", "discord:9"); actions.CodeOf(err) != actions.CodeConflict {
		t.Errorf("it goes to another at once: %v", err)
	}
	if err := w.link("discord:9", "discord:10"); actions.CodeOf(err) != actions.CodeConflict {
		t.Errorf("it goes to a new account at once: %v", err)
	}
	w.must(w.link("token:ana", "discord:9"))
	if p := w.person("discord:9"); !slices.Contains(p.Roles, "sre") {
		t.Errorf("back again it is %+v", p)
	}
	w.must(w.Remove(ctx, by("discord:9"), here, "discord:9"))
	w.later(31 * 24 * time.Hour)
	if p := w.person("discord:9"); p.ID != "discord:9" {
		t.Errorf("a month later it is %+v", p)
	}
	w.must(w.link("github:ben", "discord:9"))
	if p := w.person("discord:9"); p.ID != "actor:ben" {
		t.Errorf("then it is %+v", p)
	}
}

func TestAnAccountWithANewNameIsNobodyElse(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	ctx := t.Context()
	w.must(w.Pin(ctx, "github:eve", "7"))
	w.must(w.Pin(ctx, "github:ana", "8"))
	eve, ana := w.person("github:eve"), w.person("github:ana")
	for _, name := range []string{"github:eve-2", "github:Eve-3", "github:eve-2", "github:eve"} {
		w.must(w.Pin(ctx, name, "7"))
		w.must(w.Pin(ctx, name, "7"))
		if p := w.person(name); p.ID != eve.ID || len(p.Roles) > 0 {
			t.Errorf("%s is %+v", name, p)
		}
	}
	w.must(w.Pin(ctx, "github:anna", "8"))
	if p := w.person("github:anna"); p.ID != ana.ID || len(p.Roles) > 0 || slices.Contains(p.Identities, "slack:U1") {
		t.Errorf("by a new name ana is %+v", p) // one person, whom the config gives nothing by that name
	}
	if p := w.person("slack:U1"); p.ID != ana.ID || !slices.Equal(p.Roles, ana.Roles) {
		t.Errorf("by her other account she is %+v", p)
	}
	if err := w.Pin(ctx, "github:ana", "9"); actions.CodeOf(err) != actions.CodeForbidden {
		t.Errorf("somebody takes the name that she had: %v", err)
	}
	w.must(w.Pin(ctx, "github:eve-2", "10")) // a name that nobody has rights by
	records, err := w.store.Audit(ctx, actions.BerthChain, 0, 0)
	if err != nil || len(records) != 5 {
		t.Errorf("the audit has %d records, %v", len(records), err)
	}
}

func TestALoginThatChangedHandsGetsNoRights(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	ctx := t.Context()
	w.must(w.link("token:ci", "github:robot"))
	for number, login := range map[string]string{"1": "github:ana", "11": "github:robot", "12": "github:eve"} {
		w.must(w.Pin(ctx, login, number))
		w.must(w.Pin(ctx, strings.ToUpper(login[:8])+login[8:], number))
	}
	for login, code := range map[string]actions.Code{"github:ana": actions.CodeForbidden, "github:robot": actions.CodeForbidden, "github:eve": ""} {
		if err := w.Pin(ctx, login, "2"); actions.CodeOf(err) != code {
			t.Errorf("%s: %v", login, err)
		}
	}
	w.Reload(nil, nil) // as the message says
	w.must(w.Pin(ctx, "github:ana", "2"))
	w.Reload([]people.Actor{ana}, nil)
	w.must(w.Pin(ctx, "github:ana", "2"))
	if err := w.Pin(ctx, "github:ana", "1"); actions.CodeOf(err) != actions.CodeForbidden {
		t.Errorf("the old one comes back: %v", err)
	}
}

func TestWithoutRedisNobodyIsKnown(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	defer rdb.Close()
	w := newTown(t, rdb)
	if p, err := w.Person(t.Context(), "github:ana"); actions.CodeOf(err) != actions.CodeUnavailable || !actions.Retryable(err) {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestEverybodyIsOnePersonAtATime links and unlinks at random: accounts that
// are one person's agree on who that is, and nobody has roles of two actors.
func TestEverybodyIsOnePersonAtATime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newTown(t, redistest.Client(t))
		accounts := []string{"github:ana", "token:ana", "github:ben", "token:ci", "discord:1", "discord:2", "oidc:x@y.z", "mattermost:m"}
		pick := rapid.SampledFrom(accounts)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			var err error
			if from, to := pick.Draw(rt, "from"), pick.Draw(rt, "to"); rapid.IntRange(0, 3).Draw(rt, "kind") > 0 {
				err = w.link(from, to)
			} else {
				err = w.Remove(context.Background(), by(from), here, to)
			}
			switch actions.CodeOf(err) {
			case "", actions.CodeConflict, actions.CodeInvalid, actions.CodeNotFound, actions.CodeForbidden:
			default:
				rt.Fatal(err)
			}
		}
		for _, one := range accounts {
			p := w.person(one)
			if !slices.Contains(p.Identities, one) {
				rt.Fatalf("%s is not among its person's: %+v", one, p)
			}
			if slices.Contains(p.Roles, "sre") && slices.Contains(p.Roles, "dev") {
				rt.Fatalf("%s has two actors' roles: %+v", one, p)
			}
			for _, other := range p.Identities {
				if q := w.person(other); fmt.Sprint(q) != fmt.Sprint(p) {
					rt.Fatalf("%s is %+v, but %s is %+v", one, p, other, q)
				}
			}
		}
		if err := w.store.VerifyAudit(context.Background(), actions.BerthChain); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestLinksWorkOnACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes a while")
	}
	w := newTown(t, redistest.StartCluster(t))
	w.must(w.link("token:ana", "discord:9"))
	w.must(w.Pin(t.Context(), "github:ana", "1"))
	if p := w.person("discord:9"); p.ID != "actor:ana" {
		t.Errorf("it is %+v", p)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"github:Ana", "oidc:ana@x.org", ":", "a:b:c", " github:x "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := people.Canonical(s)
		if once != "" && people.Canonical(once) != once {
			t.Errorf("%q becomes %q and then %q", s, once, people.Canonical(once))
		}
	})
}

func TestHoldersAreThoseWhomTheConfigGivesARole(t *testing.T) {
	w := newTown(t, redistest.Client(t))
	w.must(w.link("github:ana", "discord:9"))
	for role, want := range map[string]string{"sre": "actor:ana", "deployer": "actor:ana actor:ci", "nobody": ""} {
		found, err := w.Holders(t.Context(), role)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, p := range found {
			ids = append(ids, p.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s is held by %q, want %q", role, got, want)
		}
		if role == "sre" && !slices.Contains(found[0].Identities, "discord:9") {
			t.Errorf("ana's linked account is missing: %v", found[0].Identities)
		}
	}
}
