// Package discord is Berth on Discord: commands, buttons and mentions come in,
// over Discord's signed HTTP requests or over its gateway, and messages go out.
//
// What comes in becomes a bot.ChatEvent, which is stored before Discord is told
// that it arrived; package bot/chat does the rest, the same for all platforms.
package discord

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/bot"
)

// DefaultAPIURL is Discord's REST API.
// Source: https://docs.discord.com/developers/reference#api-reference-base-url
const DefaultAPIURL = "https://discord.com/api/v10/"

// Intake takes events in. What it took is stored. *chat.Surface is one.
type Intake interface {
	Take(ctx context.Context, e bot.ChatEvent) error
}

// Suggester completes what somebody is typing. *chat.Surface is one.
type Suggester interface {
	// Suggest returns at most 25 completions of typed for what: "verb", "app",
	// "environment", "request", "ref" or "target". target is the environment that was
	// named already, for what depends on it.
	Suggest(ctx context.Context, at bot.ChatPlace, identity, what, target, typed string) []string
}

// Options are what a Surface needs.
type Options struct {
	ApplicationID string
	// PublicKey is the application's, in hex: requests over HTTP are signed with its
	// other half. Without one every such request is refused.
	PublicKey string
	BotToken  string // without "Bot "
	APIURL    string // DefaultAPIURL when empty
	// PublicURL is where Berth itself is reached, for links; may be empty.
	PublicURL string
	// Gateway has Berth connect to Discord's gateway: mentions arrive by it, and
	// interactions too unless the application has an interactions endpoint.
	Gateway bool
	// Guilds are those that are listened to; empty means all that Berth was added to.
	// Direct messages are always taken.
	Guilds []string
	// Groups are those that policies name, of which Checks looks at Discord's:
	// "discord-role:1/2".
	Groups []string
	// Verbs are what can be typed, in the order of help.
	Verbs []Verb
	// Apps are those that there are now, for messages that speak of one; nil means
	// that none is known.
	Apps func() []App
	// Plain tells whether what the config says of a channel is known without knowing
	// whether that is a thread of another: it names the channel, or says the same of
	// all. nil means that it always is.
	Plain func(channel string) bool
	// Lead runs while as long as this replica holds the lease of that name, and
	// again whenever it gets it back, until ctx ends: of all replicas one holds it. Run
	// needs it with Gateway; a Surface that is only looked at goes without.
	Lead func(ctx context.Context, name string, while func(ctx context.Context)) error
	// Redis keeps until when the gateway was heard, so that what was said until it is
	// heard again can be looked for. Without it that is not.
	Redis redis.UniversalClient

	HTTP *http.Client     // nil means one of its own
	Now  func() time.Time // nil means time.Now
	Log  *slog.Logger     // nil means none
}

// Surface is Discord, as a place where Berth listens and speaks. It is safe for
// concurrent use.
type Surface struct {
	client    *client
	verifier  *verifier
	bodies    bot.Bodies
	intake    Intake
	suggester Suggester
	roles     *Roles
	app       string
	public    string
	guilds    []string
	groups    []string
	verbs     []Verb
	apps      func() []App
	plain     func(channel string) bool
	lead      func(context.Context, string, func(context.Context)) error
	listening bool // over the gateway
	work      work
	gateway   gatewayState
	begins    begins
	heard     lastHeard
	channels  channels
	checked   checkCache
	patience  time.Duration // how long storing an event is tried
	sleep     func(ctx context.Context, d time.Duration)
	now       func() time.Time
	log       *slog.Logger
}

// New makes a Surface. It speaks to nobody yet. It returns an error for
// credentials and addresses that cannot be right.
func New(o Options) (*Surface, error) {
	s := &Surface{
		app: o.ApplicationID, public: strings.TrimSuffix(o.PublicURL, "/"), guilds: o.Guilds, groups: o.Groups, verbs: o.Verbs,
		apps: o.Apps, plain: o.Plain, patience: lateFor, sleep: sleep, lead: o.Lead, listening: o.Gateway, now: o.Now, log: o.Log,
		bodies: bot.Bodies{Max: MaxBody, Within: readTimeout},
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.plain == nil {
		s.plain = func(string) bool { return true }
	}
	if !isID(o.ApplicationID) {
		return nil, fmt.Errorf("discord: application_id %.40q is none: it is a number of 17 to 20 digits", o.ApplicationID)
	}
	for _, guild := range o.Guilds {
		if !isID(guild) {
			return nil, fmt.Errorf("discord: guild %.40q is none: it is a number of 17 to 20 digits", guild)
		}
	}
	if o.BotToken == "" {
		return nil, errors.New("discord: there is no bot_token")
	}
	var err error
	if s.verifier, err = newVerifier(o.PublicKey, s.now); err != nil {
		return nil, err
	}
	if s.client, err = newClient(o); err != nil {
		return nil, err
	}
	s.heard = lastHeard{rdb: o.Redis, app: s.app, now: s.now}
	s.roles = &Roles{s: s, kept: bot.Kept[[]string]{For: keepRoles}}
	return s, nil
}

// Attach gives the Surface whom it hands events to, and who completes what is
// typed (nil means nobody). It must be called before Handler's first request and
// before Run.
func (s *Surface) Attach(intake Intake, suggest Suggester) { s.intake, s.suggester = intake, suggest }

// Roles tells who has roles: the groups "discord-role:GUILD/ROLE" of policies.
func (s *Surface) Roles() *Roles { return s.roles }

// Handler answers POST /discord/interactions.
func (s *Surface) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/discord/interactions", s.serveInteraction)
	return mux
}

// Run listens to the gateway, where that is wanted, and tries on what could not
// be stored at once, until ctx ends. It outlives Redis' and Discord's absence. Its
// errors are those of a Surface that lacks what Run needs.
func (s *Surface) Run(ctx context.Context) error {
	if s.intake == nil {
		return errors.New("discord: Run without Attach")
	}
	if s.listening && s.lead == nil {
		return errors.New("discord: the gateway needs Lead")
	}
	if s.listening {
		s.listen(ctx)
	}
	<-ctx.Done()
	s.work.stop()
	return nil
}

// isID tells whether s is an id as Discord writes them: an unsigned 64-bit number.
// Those of tests and emulators are shorter.
// Source: https://docs.discord.com/developers/reference#snowflakes
func isID(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}

// allowed tells whether Berth listens to a guild; "" is a direct message.
func (s *Surface) allowed(guild string) bool {
	return guild == "" || len(s.guilds) == 0 || slices.Contains(s.guilds, guild)
}

// readKey reads a public key as Discord shows it.
func readKey(text string) ([]byte, error) {
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != keySize {
		return nil, errors.New("discord: public_key is none: it has 64 letters and digits (0-9, a-f), and stands on the application's page General Information")
	}
	return key, nil
}
