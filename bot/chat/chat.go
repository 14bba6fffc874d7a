// Package chat is what all chat platforms have in common: commands and clicks
// come in and are stored before anybody is told so; any replica does them, once;
// and cards in channels are kept saying how their requests and environments are.
//
// A platform's own package (bot/slack, bot/discord) speaks its protocols and
// renders messages. This one decides what is said where, and when: it compares
// what a message shows with the records as they are, so that whatever was missed
// while nobody looked is made up for.
package chat

import (
	"context"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// Platform writes to a chat platform. Its methods try once and wait for nothing:
// whoever calls them has asked the budget, and tries again. They return
// *bot.Limited when the platform wants a pause; CodeNotFound when the message,
// channel or account is gone; CodeForbidden when Berth may not write there, with
// what people can do in the message; CodeInvalid when the platform will never
// take it; and CodeUnavailable for all that may pass.
type Platform interface {
	// Name is bot.PlatformSlack or another.
	Name() string
	Limits() bot.ChatLimits
	// Post makes a message. With key it can be found again by Find, if the answer to
	// Post was lost.
	Post(ctx context.Context, at bot.ChatPlace, key string, m bot.ChatMessage) (bot.ChatSent, error)
	// Find looks for the message that Post made with key after since. Its ID is ""
	// when there is none, or nobody can tell.
	Find(ctx context.Context, at bot.ChatPlace, key string, since time.Time) (bot.ChatSent, error)
	// Edit replaces a message whole.
	Edit(ctx context.Context, sent bot.ChatSent, m bot.ChatMessage) error
	// Answer tells the one who did e, and nobody else. Where e.Answer can be used no
	// more it is a direct message. nth counts the answers to e from 0.
	Answer(ctx context.Context, e bot.ChatEvent, nth int, m bot.ChatMessage) error
	// Page shows somebody's own page. errors.ErrUnsupported says that the platform
	// has none.
	Page(ctx context.Context, workspace, user string, p bot.ChatPage) error
	// Unfurl shows what links that e posted lead to, by address.
	// errors.ErrUnsupported says that the platform does not have that.
	Unfurl(ctx context.Context, e bot.ChatEvent, found map[string]bot.ChatMessage) error
}

// Commands does what people type. *bot.Service is one.
type Commands interface {
	Execute(ctx context.Context, in bot.Input) (bot.Reply, error)
	Parse(line string) (bot.Command, error)
	Identify(ctx context.Context, a bot.Actor) (bot.Actor, error)
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
	Get(ctx context.Context, id string) (*approvals.Request, error)
	List(ctx context.Context, f approvals.Filter) ([]*approvals.Request, string, error)
	Standing(ctx context.Context, env actions.Name) ([]*approvals.Request, error)
	Active(ctx context.Context, app string) ([]*approvals.Request, error)
}

// Groups knows who belongs to the groups of one prefix: see policy.Groups.
type Groups interface {
	Member(ctx context.Context, group string, r *approvals.Request, p approvals.Person) (bool, error)
}

// Refs lists branches and tags, for people who are typing one. *github.Surface
// does.
type Refs interface {
	Refs(ctx context.Context, repo, prefix string) ([]string, error)
}

// Rules are what the config says of a channel.
type Rules struct {
	// Apps are those that the channel is for: a command there that names no app
	// means the one that there is, and reaches no others. Empty means all.
	Apps []string
	// Verbs are what may be asked for there; empty means all.
	Verbs []string
	// Guests are the roles of accounts that have none.
	Guests []string
}

// Options are what a Surface needs.
type Options struct {
	Platforms []Platform
	Redis     redis.UniversalClient
	Service   Commands
	Store     Records
	Requests  Requests
	Catalog   actions.Catalog
	People    approvals.People // whose account an identity is
	Refs      Refs             // nil means that no refs are suggested
	// Groups are those of policies, by the prefix of how they are written, as the
	// policies ask them: for telling people what waits for them.
	Groups map[string]Groups
	// Rules are those of a place, as the config says now.
	Rules func(at bot.ChatPlace) Rules
	// PublicURL is where Berth itself is reached, for links; may be empty.
	PublicURL string
	// RepoURL is where repositories are read, for links: "https://github.com"; may
	// be empty.
	RepoURL string
	// Replica names this process; no two run under one name at once.
	Replica string
	Now     func() time.Time // nil means time.Now
	Log     *slog.Logger     // nil means none
}
