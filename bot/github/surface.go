// Package github is the surface where most people meet Berth: commands come in
// as comments on pull requests, and what became of them is shown there.
//
// Three things run side by side, each in every replica. The intake takes
// webhook deliveries in and answers once they are in Redis. The consumer reads
// them, finds out who asks and whether they may, and hands commands to the use
// cases. The reporter looks at environments that changed and makes their pull
// requests show how they are now: whatever was missed while nobody looked is
// made up for, since it compares states and follows no events.
//
// The package also reads applications' repositories (actions.Sources), since it
// is the one that holds credentials for GitHub.
package github

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/github/internal/archive"
)

// DefaultAPIURL is the REST API of github.com.
const DefaultAPIURL = "https://api.github.com"

// Commands does what people type. *bot.Service is one.
type Commands interface {
	Execute(ctx context.Context, in bot.Input) (bot.Reply, error)
}

// Records are the environments and runs that are shown. *actions.Store has them.
type Records interface {
	Environment(ctx context.Context, name actions.Name) (*actions.Environment, error)
	Environments(ctx context.Context, f actions.EnvFilter) ([]*actions.Environment, string, error)
	Run(ctx context.Context, id string) (*actions.Run, error)
	Events(ctx context.Context, runID, after string, limit int, block time.Duration) ([]actions.Event, error)
	FollowChanges(ctx context.Context, take func([]actions.Change) error)
}

// Requests are what was asked for. *approvals.Requests has them.
type Requests interface {
	Submit(ctx context.Context, r approvals.Request) (*approvals.Request, bool, error)
	Get(ctx context.Context, id string) (*approvals.Request, error)
	List(ctx context.Context, f approvals.Filter) ([]*approvals.Request, string, error)
	Standing(ctx context.Context, env actions.Name) ([]*approvals.Request, error)
	Cancel(ctx context.Context, id string, by approvals.Requester, reason string) (*approvals.Request, error)
}

// People knows whose account is whose. *people.People does.
type People interface {
	approvals.People
	// Pin remembers that the account "github:ana" is the one that GitHub counts
	// as id. It returns CodeForbidden, and what to do, when the name was another
	// account's before: logins can be given up and taken by somebody else.
	Pin(ctx context.Context, identity, id string) error
}

// AppCredentials are those of a GitHub App.
type AppCredentials struct {
	ID             int64
	Key            []byte // the private key, PEM
	InstallationID int64  // 0 means that of each repository
}

// Options are what a Surface needs.
type Options struct {
	// WebhookSecret signs deliveries. Without one, every delivery is refused.
	WebhookSecret []byte
	// Token or App signs in to the API: one of them must be there.
	Token string
	App   *AppCredentials
	// APIURL is the REST API, DefaultAPIURL when empty; that of an Enterprise
	// server ends in "/api/v3".
	APIURL string
	// PublicURL is where Berth itself is reached, for links; may be empty.
	PublicURL string
	// MinPermission is the least that a person must have on a repository for
	// commands: "read", "triage", "write" (the default), "maintain" or "admin".
	MinPermission string

	Redis    redis.UniversalClient
	Service  Commands // may be given later, with Attach
	Store    Records
	Requests Requests
	Catalog  actions.Catalog
	// Lines are the commands in a comment's text: command.Lines.
	Lines func(markdown string) []string
	// People tells whose account a login is; nil means that each login is a
	// person of its own, whom the config gives nothing.
	People People

	// Groups are those that policies name, of which Checks looks at GitHub's:
	// "github-team:acme/ops", "codeowners".
	Groups []string

	DataDir string       // where sources are kept
	HTTP    *http.Client // nil means the default transport; its timeouts are not used
	// Replica names this process, and the one that takes its place after a
	// restart, which then goes on at once with what it held; no two run under one
	// name at once. "" makes one up.
	Replica string
	Now     func() time.Time
	Log     *slog.Logger // nil means none
}

// Surface is GitHub, as a place where Berth listens and speaks. It is safe for
// concurrent use.
type Surface struct {
	Team       *Team       // the groups "github-team:…" of policies
	CodeOwners *CodeOwners // the group "codeowners" of policies

	rdb      redis.UniversalClient
	client   *client
	sources  *sources
	intake   *intake
	mailbox  *mailbox
	service  Commands
	store    Records
	requests Requests
	catalog  actions.Catalog
	lines    func(string) []string
	people   People // may be nil
	minimum  string
	groups   []string
	public   string
	replica  string
	handling set // entries of the intake
	said     set // what was logged once for all
	tails    bot.Tails
	due      *actions.Agenda // what is to be shown: environments by name, and posts
	checks   checkCache
	branches bot.Kept[[]string] // by repository, for people who type one
	now      func() time.Time
	log      *slog.Logger
}

// New makes a Surface. It speaks to nobody yet. It returns an error for
// credentials and addresses that cannot be right.
func New(o Options) (*Surface, error) {
	s := &Surface{
		rdb: o.Redis, service: o.Service, store: o.Store, requests: o.Requests, catalog: o.Catalog, lines: o.Lines,
		people: o.People, groups: o.Groups, minimum: o.MinPermission, public: strings.TrimSuffix(o.PublicURL, "/"), replica: o.Replica,
		tails: bot.Tails{Lines: tailLines, Width: tailWidth}, branches: bot.Kept[[]string]{For: keepGroup},
		now: o.Now, log: o.Log,
	}
	if s.minimum == "" {
		s.minimum = "write"
	}
	if level, ok := rank[s.minimum]; !ok || level == 0 {
		return nil, fmt.Errorf("github: min_permission %q is none of read, triage, write, maintain and admin", s.minimum)
	}
	if s.replica == "" {
		s.replica = strings.ToLower(rand.Text()[:10])
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.client, err = newClient(o, s); err != nil {
		return nil, err
	}
	s.due = newDue(o.Redis, s)
	s.Team, s.CodeOwners = &Team{s: s, kept: bot.Kept[bool]{For: keepGroup}}, &CodeOwners{s: s, kept: bot.Kept[ownership]{For: keepGroup}}
	s.sources = newSources(s.client, archive.NewCache(filepath.Join(o.DataDir, "sources"), archive.Options{Now: s.now, Log: s.log}))
	s.mailbox = &mailbox{rdb: o.Redis}
	s.intake = newIntake(o.WebhookSecret, s.mailbox, s.log)
	return s, nil
}

// Web is where people read the repositories: "https://github.com".
func (s *Surface) Web() string { return s.client.web() }

// Attach gives the Surface its Commands, which may need the Surface themselves
// (as sources). It must be called before Run when Options had none.
func (s *Surface) Attach(service Commands) { s.service = service }

// Webhook takes deliveries in: the handler of POST /webhooks/github.
func (s *Surface) Webhook() http.Handler { return s.intake }

// Resolve finds the commit that ref means in repo; see actions.Sources.
func (s *Surface) Resolve(ctx context.Context, repo, ref string) (actions.Commit, error) {
	return s.sources.Resolve(ctx, repo, ref)
}

// Fetch gives a read-only folder with repo at sha; see actions.Sources.
func (s *Surface) Fetch(ctx context.Context, repo, sha string) (string, func(), error) {
	return s.sources.Fetch(ctx, repo, sha)
}

// Run handles deliveries and keeps pull requests up to date until ctx ends. It
// outlives Redis' and GitHub's absence, and returns nil.
func (s *Surface) Run(ctx context.Context) error {
	if s.service == nil {
		return errors.New("github: Run without Commands")
	}
	var group sync.WaitGroup
	for _, loop := range []func(context.Context){s.mailbox.watch, s.consume, s.reclaim, s.follow, s.sweep} {
		group.Go(func() { loop(ctx) })
	}
	group.Go(func() { s.due.Run(ctx, reporters, s.show) })
	group.Wait()
	return nil
}

// appsOf are the apps of a repository.
func (s *Surface) appsOf(repo string) []*actions.App {
	return slices.DeleteFunc(slices.Clone(s.catalog.Apps()), func(a *actions.App) bool { return !strings.EqualFold(a.Repo, repo) })
}

// linger is how long what is begun may go on once the replica is told to stop.
const linger = 5 * time.Second

// lingering is a context for work that is begun: it ends linger after ctx does.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(linger, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	return work, func() { stop(); cancel() }
}

// pause waits before something that failed is tried again, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
