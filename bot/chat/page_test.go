package chat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

// opened is somebody opening their page.
func opened(id, user string) bot.ChatEvent {
	e := event(id, user, "")
	e.Kind, e.Place.Channel, e.Place.User, e.Answer = bot.ChatHome, "", user, ""
	return e
}

// pageHas waits until somebody's page shows so many environments and requests.
func (p *platform) pageHas(tb testing.TB, user string, mine, waiting int) (page bot.ChatPage) {
	tb.Helper()
	p.until(tb, "the page of "+user, func() bool {
		var ok bool
		page, ok = p.pages["T1/"+user]
		return ok && len(page.Mine) == mine && len(page.Waiting) == waiting
	})
	return page
}

// A page shows whoever opened it what is theirs and what waits for them, and goes
// on saying so when that changes.
func TestAPageShowsWhatIsMineAndWhatWaitsForMe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.world.Govern(team(), twoPeople())
	w.take(t, opened("h1", "U1"))
	w.take(t, opened("h2", "U2"))
	w.take(t, opened("h3", "U9"))
	w.take(t, opened("h4", "U3"))
	if page := w.slack.pageHas(t, "U1", 0, 0); !strings.Contains(page.Text, "/berth deploy") {
		t.Errorf("an empty page says %q", page.Text)
	}
	if page := w.slack.pageHas(t, "U9", 0, 0); !strings.Contains(page.Text, "/berth link") {
		t.Errorf("a stranger is told %q", page.Text)
	}
	if page := w.slack.pageHas(t, "U3", 0, 0); !strings.Contains(page.Text, "/berth list") || strings.Contains(page.Text, "/berth deploy") {
		t.Errorf("somebody who may only look is told %q", page.Text)
	}
	w.take(t, event("e1", "U1", "deploy shop/pr-7"))
	w.slack.answer(t, "e1")
	r := w.world.Await(w.asked(t), pending)
	page := w.slack.pageHas(t, "U2", 0, 1) // ana asked, so that it waits for ben alone
	if !slices.ContainsFunc(page.Waiting[0].Buttons, func(b bot.ChatButton) bool { return b.Line == "approve "+r.ID }) {
		t.Errorf("it cannot be approved there: %+v", page.Waiting[0].Buttons)
	}
	w.take(t, event("e2", "U2", "approve "+r.ID))
	w.slack.pageHas(t, "U2", 0, 0)
	w.slack.pageHas(t, "U1", 1, 0)
	w.slack.pageHas(t, "U9", 0, 0)
}

func TestAPlatformWithoutPagesIsLeftAlone(t *testing.T) {
	t.Parallel()
	slack := newPlatform(bot.PlatformSlack)
	slack.fail = func(method string) error {
		if method == "page" {
			return errors.ErrUnsupported
		}
		return nil
	}
	w := newReplica(t, redistest.Client(t), "a", slack).run(t)
	w.take(t, opened("h1", "U1"))
	w.done(t, w.rdb, "h1")
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		if n, err := w.rdb.Exists(context.Background(), keyPages).Result(); err == nil && n == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the page is kept level still")
		}
	}
}

// groupOf is a group with one member.
type groupOf string

func (g groupOf) Member(_ context.Context, _ string, _ *approvals.Request, p approvals.Person) (bool, error) {
	return p.ID == string(g), nil
}

func TestWhatWaitsForWhom(t *testing.T) {
	t.Parallel()
	w := newReplica(t, redistest.Client(t), "a", newPlatform(bot.PlatformSlack), func(o *Options) {
		o.Groups = map[string]Groups{"slack-group": groupOf("actor:ben")}
	})
	ana := approvals.Person{ID: "actor:ana", Roles: []string{"deployer"}, Identities: []string{"github:ana", "slack:U1"}}
	ben := approvals.Person{ID: "actor:ben", Roles: []string{"sre"}, Identities: []string{"slack:U2"}}
	vic := approvals.Person{ID: "actor:vic", Roles: []string{bot.RoleViewer}, Identities: []string{"slack:U3"}}
	needs := func(missing int, from ...string) *approvals.Outcome {
		return &approvals.Outcome{Rules: []approvals.RuleOutcome{{Rule: "r", Groups: []approvals.GroupOutcome{{Count: 1, From: from, Missing: missing}}}}}
	}
	tests := map[string]struct {
		outcome *approvals.Outcome
		by      string // who asked
		said    string // who decided already
		change  func(*approvals.RuleOutcome)
		want    []string
	}{
		"a role":                          {outcome: needs(1, "role:sre"), want: []string{"actor:ben"}},
		"somebody by name":                {outcome: needs(1, "actor:ana"), want: []string{"actor:ana"}},
		"a group of the platform":         {outcome: needs(1, "slack-group:S1"), want: []string{"actor:ben"}},
		"a group that nobody here knows":  {outcome: needs(1, "github-team:acme/ops")},
		"any of two":                      {outcome: needs(1, "actor:ana", "role:sre"), want: []string{"actor:ana", "actor:ben"}},
		"nobody more of a group":          {outcome: needs(0, "role:sre")},
		"who said something already":      {outcome: needs(1, "actor:ana", "role:sre"), said: "github:ana", want: []string{"actor:ben"}},
		"not who asked":                   {outcome: needs(1, "actor:ana", "role:sre"), by: "github:ana", change: func(r *approvals.RuleOutcome) { r.NotRequester = true }, want: []string{"actor:ben"}},
		"who asked, where that is enough": {outcome: needs(1, "actor:ana"), by: "github:ana", want: []string{"actor:ana"}},
		"a rule that was set aside":       {outcome: needs(1, "role:sre"), change: func(r *approvals.RuleOutcome) { r.BrokenBy = "cleo" }},
		"no rule: anybody who may act":    {outcome: &approvals.Outcome{}, want: []string{"actor:ana", "actor:ben"}},
		"before the policy was asked":     {want: []string{"actor:ana", "actor:ben"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.change != nil {
				tt.change(&tt.outcome.Rules[0])
			}
			r := &approvals.Request{ID: "1", Outcome: tt.outcome, Requester: approvals.Requester{Identity: tt.by}}
			if tt.said != "" {
				r.Decisions = []approvals.Decision{{By: approvals.Requester{Identity: tt.said}}}
			}
			var got []string
			for _, p := range []approvals.Person{ana, ben, vic} {
				if w.decidable(context.Background(), p, r) {
					got = append(got, p.ID)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("it waits for %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLinksAreShownToWhoMayLook(t *testing.T) {
	t.Parallel()
	rules := func(at bot.ChatPlace) Rules {
		switch at.Channel {
		case "COTHER":
			return Rules{Apps: []string{"blog"}}
		case "CDEPLOY":
			return Rules{Verbs: []string{"deploy"}}
		}
		return Rules{}
	}
	w := newWorld(t, func(o *Options) { o.Rules = rules })
	w.world.Work()
	r := w.world.Do("deploy shop/pr-7")
	const base = "https://berth.example.org"
	links := []string{
		base + "/environments/shop/pr-7", base + "/api/v1/environments/shop/pr-7", base + "/requests/" + r.ID, base + "/api/v1/requests/" + strings.ToUpper(r.ID),
		base + "/runs/" + r.RunID, base + "/api/v1/runs/" + r.RunID + "/events", "https://BERTH.example.org/environments/shop/pr-7?x=1#y",
	}
	none := []string{
		base + "/environments/shop/pr-8", base + "/requests/01jd0000000000000000000000", base + "/environments/shop", "https://evil.example/environments/shop/pr-7",
		base + "/healthz", "https://berth.example.org@evil.example/requests/" + r.ID, "javascript:alert(1)", base + "/api/v1/runs/" + r.RunID + "/x",
	}
	tests := map[string]struct {
		user, channel string
		links         []string
		want          int
	}{
		"every address":                    {user: "U1", channel: "C1", links: links, want: len(links)},
		"what is not there, or not ours":   {user: "U1", channel: "C1", links: none},
		"a stranger shows nothing":         {user: "U9", channel: "C1", links: links},
		"nothing of an app out of reach":   {user: "U1", channel: "COTHER", links: links},
		"nothing where nobody may look":    {user: "U1", channel: "CDEPLOY", links: links},
		"no more than a message can bear":  {user: "U3", channel: "C1", links: slices.Concat(none, links), want: mostLinks - len(none)},
		"somebody who may do no more than": {user: "U3", channel: "C1", links: links[:1], want: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w.slack.mu.Lock()
			w.slack.unfurled = nil
			w.slack.mu.Unlock()
			e := event(name, tt.user, "")
			e.Kind, e.Links, e.Place.Channel = bot.ChatLinks, tt.links, tt.channel
			w.take(t, e)
			w.done(t, w.rdb, name)
			w.slack.mu.Lock()
			defer w.slack.mu.Unlock()
			if len(w.slack.unfurled) != tt.want {
				t.Errorf("%d links are shown, want %d", len(w.slack.unfurled), tt.want)
			}
			for address, m := range w.slack.unfurled {
				if slices.ContainsFunc(m.Buttons, func(b bot.ChatButton) bool { return b.URL == "" }) {
					t.Errorf("%s can be acted on, and is not kept level", address)
				}
			}
		})
	}
}

// refsOf are the refs of a repository.
type refsOf map[string][]string

func (r refsOf) Refs(_ context.Context, repo, prefix string) ([]string, error) {
	if prefix == "boom" {
		return nil, &actions.Error{Code: actions.CodeUnavailable}
	}
	return slices.DeleteFunc(slices.Clone(r[repo]), func(ref string) bool { return !strings.HasPrefix(ref, prefix) }), nil
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	rdb := redistest.Client(t)
	blog := bottest.Shop()
	blog.Name, blog.Repo = "blog", "acme/blog"
	w := newReplica(t, rdb, "a", newPlatform(bot.PlatformSlack), func(o *Options) {
		o.Catalog = bottest.Catalog{blog, bottest.Shop()}
		o.Refs = refsOf{"acme/shop": {"main", "feature/a", "feature/b"}, "acme/blog": {"secret"}}
		o.Rules = func(at bot.ChatPlace) Rules {
			if at.Channel == "CSHOP" {
				return Rules{Apps: []string{"shop"}, Verbs: []string{"deploy", "status"}}
			}
			return Rules{}
		}
	})
	w.world.Work()
	w.world.Do("deploy shop/pr-7")
	w.world.Do("deploy shop/pr-17")
	w.world.Do("deploy shop/demo")
	tests := map[string]struct {
		channel, identity, what, target, typed string
		want                                   []string
	}{
		"verbs":                            {what: "verb", typed: "de", want: []string{"deploy", "deny"}},
		"verbs of the channel":             {channel: "CSHOP", what: "verb", want: []string{"deploy", "status", "help", "link"}},
		"apps":                             {what: "app", want: []string{"blog", "shop"}},
		"apps of the channel":              {channel: "CSHOP", what: "app", typed: "S", want: []string{"shop"}},
		"environments by how they begin":   {what: "environment", typed: "shop/pr-1", want: []string{"shop/pr-17"}},
		"and by what they hold":            {what: "environment", typed: "7", want: []string{"shop/pr-17", "shop/pr-7"}},
		"targets":                          {what: "target", typed: "shop", want: []string{"shop/demo", "shop/pr-17", "shop/pr-7", "shop"}},
		"refs":                             {what: "ref", target: "shop/pr-7", typed: "fea", want: []string{"feature/a", "feature/b"}},
		"refs of the channel's only app":   {channel: "CSHOP", what: "ref", target: "pr-7", typed: "m", want: []string{"main"}},
		"no refs of an app out of reach":   {channel: "CSHOP", what: "ref", target: "blog/pr-7"},
		"refs that cannot be seen":         {what: "ref", target: "shop/pr-7", typed: "boom"},
		"nothing for a stranger":           {identity: "slack:U9", what: "environment"},
		"what nobody knows":                {what: "moon"},
		"no request that cannot be helped": {what: "request"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.identity == "" {
				tt.identity = "slack:U3"
			}
			got := w.Suggest(context.Background(), bot.ChatPlace{Platform: "slack", Channel: tt.channel}, tt.identity, tt.what, tt.target, tt.typed)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("a", i+1)
	}
	if n := len(matching(many, "")); n != mostSuggested {
		t.Errorf("%d are suggested at once", n)
	}
}
