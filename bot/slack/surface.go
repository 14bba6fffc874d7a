// Package slack is Slack as a place where people command Berth and are told.
//
// What Slack sends comes in over HTTP, signed, or over Socket Mode, through a
// connection that Berth opens itself; the same code handles both. It becomes a
// bot.ChatEvent, which is stored before Slack is told that it arrived. What
// Berth says goes out through the methods of Surface that package chat's
// Platform has.
package slack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/bot"
)

// DefaultAPIURL is Slack's Web API.
// Source: https://docs.slack.dev/apis/web-api/
const DefaultAPIURL = "https://slack.com/api/"

// Intake stores what somebody did, once for each ID; any replica handles it
// then. An error means that it may not be stored. *chat.Surface is one.
type Intake interface {
	Take(ctx context.Context, e bot.ChatEvent) error
}

// Suggester offers what somebody who is typing may mean: at most 25 answers.
// what is "verb", "app", "environment", "request", "ref" or "target"; target is
// the environment that a ref is for. *chat.Surface is one.
type Suggester interface {
	Suggest(ctx context.Context, at bot.ChatPlace, identity, what, target, typed string) []string
}

// Options are what a Surface needs.
type Options struct {
	// SigningSecret signs what Slack sends over HTTP. Without one, all of it is
	// refused.
	SigningSecret string
	// BotToken ("xoxb-…") is that of the workspace where accounts are called
	// "slack:U123".
	BotToken string
	// AppToken ("xapp-…") opens connections for Socket Mode; "" means that Slack
	// calls Berth over HTTP.
	AppToken string
	// Workspaces are the bot tokens of further workspaces, by team ("T0002"). Their
	// accounts are called "slack:T0002.U123".
	Workspaces map[string]string
	APIURL     string // DefaultAPIURL when empty
	// PublicURL is where Berth itself is reached, for links; may be empty.
	PublicURL string
	Redis     redis.UniversalClient
	// Replica names this process; "" makes a name up.
	Replica string
	HTTP    *http.Client     // nil means one with the default transport
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means none
}

// Surface is Slack, as a place where Berth listens and speaks. It is safe for
// concurrent use.
type Surface struct {
	api        *client
	workspaces *workspaces
	verifier   *verifier
	groups     *Groups
	socket     *socket // nil without an app token
	later      *later
	opening    chan struct{} // a place for each window that is being opened

	intake  Intake
	suggest Suggester

	apiURL  *url.URL
	public  string
	rdb     redis.UniversalClient
	replica string
	http    *http.Client
	now     func() time.Time
	log     *slog.Logger
	said    sync.Map // what was logged once for all
	checks  checkCache
	failing atomic.Bool // the last event could not be stored at once

	// These are the constants of their names; a test of what is done in time, and not
	// of the time, has more of each.
	patience, takeWithin, lookFor time.Duration
}

// maxOpening is how many windows are being opened at once; what is more waits
// for a command typed.
const maxOpening = 200

// New makes a Surface. It speaks to nobody yet. It returns an error for
// addresses and tokens that cannot be right.
func New(o Options) (*Surface, error) {
	s := &Surface{
		verifier: newVerifier(o.SigningSecret), opening: make(chan struct{}, maxOpening),
		patience: patience, takeWithin: takeWithin, lookFor: lookFor,
		public: strings.TrimSuffix(o.PublicURL, "/"), rdb: o.Redis, replica: o.Replica, http: o.HTTP, now: o.Now, log: o.Log,
	}
	if s.replica == "" {
		s.replica = strings.ToLower(rand.Text()[:10])
	}
	if s.http == nil {
		s.http = &http.Client{}
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	address := o.APIURL
	if address == "" {
		address = DefaultAPIURL
	}
	if !strings.HasSuffix(address, "/") {
		address += "/"
	}
	var err error
	if s.apiURL, err = url.Parse(address); err != nil || s.apiURL.Host == "" || s.apiURL.Scheme != "https" && s.apiURL.Scheme != "http" {
		return nil, fmt.Errorf("slack: api_url %q is no http address", o.APIURL)
	}
	if o.BotToken == "" {
		return nil, errors.New("slack: a bot token is needed")
	}
	s.api = newClient(s)
	if s.workspaces, err = newWorkspaces(s, o.BotToken, o.Workspaces); err != nil {
		return nil, err
	}
	s.groups = &Groups{s: s, members: bot.Kept[[]string]{For: keepGroup}, active: bot.Kept[bool]{For: keepGroup}}
	s.later = newLater(s)
	if o.AppToken != "" {
		s.socket = newSocket(s, o.AppToken)
	}
	return s, nil
}

// Attach gives the Surface what it hands events to. It must be called before
// Run and before Handler serves.
func (s *Surface) Attach(intake Intake, suggest Suggester) { s.intake, s.suggest = intake, suggest }

// Groups are the groups "slack-group:…" of policies.
func (s *Surface) Groups() *Groups { return s.groups }

// Run listens by Socket Mode where there is an app token, and sees through what
// could not be stored at once, until ctx ends. It outlives Slack's and Redis'
// absence, and returns nil.
func (s *Surface) Run(ctx context.Context) error {
	if s.intake == nil {
		return errors.New("slack: Run without an Intake")
	}
	var group sync.WaitGroup
	group.Go(func() { s.later.run(ctx) })
	group.Go(func() { s.workspaces.learn(ctx) })
	if s.socket != nil {
		group.Go(func() { s.socket.run(ctx) })
	}
	group.Wait()
	return nil
}

// once tells whether what is said for the first time by this process, so that
// the log does not fill up with what holds for every event.
func (s *Surface) once(what string) bool {
	_, before := s.said.LoadOrStore(what, true)
	return !before
}

// pause waits unless ctx ends, and tells whether it has not.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
