package bot

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// Observer looks at an environment's parts as they are now, and at what its
// programs print. *actions.Runner is one.
type Observer interface {
	Observe(ctx context.Context, env actions.Name) (map[string]actions.Observation, error)
	Logs(ctx context.Context, env actions.Name, part string, q actions.LogQuery, out func(actions.LogLine) error) error
}

// Options are what a Service needs.
type Options struct {
	Catalog  actions.Catalog
	Store    *actions.Store
	Requests *approvals.Requests
	Observer Observer                               // nil means that parts are not looked at
	People   People                                 // whose account an identity is; nil means that accounts are nobody's but their own
	Planner  Planner                                // nil means that nothing is simulated
	Access   func(context.Context) (*Access, error) // who can do what; nil means that nobody is told
	Parse    func(line string) (Command, error)     // the grammar: command.Parse
	Now      func() time.Time                       // nil means time.Now
	Log      *slog.Logger                           // nil means none
}

// Service is what people and machines can ask of Berth. It is safe for
// concurrent use and keeps nothing between calls.
type Service struct {
	catalog  actions.Catalog
	store    *actions.Store
	requests *approvals.Requests
	observer Observer
	people   People
	planner  Planner
	access   func(context.Context) (*Access, error)
	parse    func(string) (Command, error)
	now      func() time.Time
	log      *slog.Logger
}

// New makes a Service.
func New(o Options) *Service {
	s := &Service{
		catalog: o.Catalog, store: o.Store, requests: o.Requests, observer: o.Observer, people: o.People, planner: o.Planner, access: o.Access,
		parse: o.Parse, now: o.Now, log: o.Log,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// reading are the verbs that change nothing; every role may use them.
var reading = []string{VerbStatus, VerbList, VerbLogs, VerbHistory, VerbVars, VerbExplain, VerbLink, VerbHelp}

// looks tells whether a command changes nothing: so does the diff of a request,
// whose plan is there; that of a target is made, which takes what acting takes.
func (c Command) looks() bool {
	return slices.Contains(reading, c.Verb) || c.Verb == VerbDiff && c.ID != ""
}

// Execute does what the line says and answers in words. Refusals are Replies.
// An error means that no answer could be found, because Redis did not answer or
// ctx ended; the same Input may then be tried again, and with its Key it is
// done once however often it is tried.
func (s *Service) Execute(ctx context.Context, in Input) (Reply, error) {
	c, err := s.parse(in.Line)
	if err != nil {
		return s.answer(ctx, in, Reply{}, err)
	}
	return s.Do(ctx, in, c)
}

// Do is Execute for a command that is understood already; in's Line means
// nothing to it.
func (s *Service) Do(ctx context.Context, in Input, c Command) (Reply, error) {
	c, err := s.bind(in, c)
	if err != nil {
		return s.answer(ctx, in, Reply{}, err)
	}
	// Linking an account gives it what its person has, so that it needs no role
	// before; the code shows whose it is.
	if c.Verb != VerbHelp {
		if in.Actor, err = s.identify(ctx, in.Actor); err != nil {
			return s.answer(ctx, in, Reply{}, err)
		}
	}
	if c.Verb != VerbHelp && c.Verb != VerbLink {
		err := s.authorize(in, c)
		if err == nil {
			err = permitted(in, c.Verb)
		}
		if err != nil {
			s.recordRefusal(ctx, in, c, err)
			return s.answer(ctx, in, Reply{}, err)
		}
	}
	reply, err := s.dispatch(ctx, in, c)
	if err != nil {
		err = s.leftBehind(ctx, in, c, err)
		s.recordRefusal(ctx, in, c, err)
	}
	return s.answer(ctx, in, reply, err)
}

func (s *Service) dispatch(ctx context.Context, in Input, c Command) (Reply, error) {
	switch c.Verb {
	case VerbHelp:
		return info("%s", in.help(c)), nil
	case VerbList:
		return s.list(ctx, in, c)
	case VerbStatus:
		return s.status(ctx, in, c)
	case VerbLogs:
		return s.logs(ctx, in, c)
	case VerbDiff:
		return s.diff(ctx, in, c)
	case VerbHistory:
		return s.history(ctx, in, c)
	case VerbVars:
		return s.vars(ctx, in, c)
	case VerbSet, VerbUnset:
		return s.setVars(ctx, in, c)
	case VerbExplain:
		return s.explain(ctx, in, c)
	case VerbApprove, VerbDeny:
		return s.decide(ctx, in, c)
	case VerbLink:
		return s.link(ctx, in, c)
	case VerbRetry:
		return s.again(ctx, in, c)
	case VerbCancel:
		return s.cancel(ctx, in, c)
	case VerbLock, VerbUnlock:
		return s.lock(ctx, in, c)
	case string(actions.VerbExtend):
		return s.extend(ctx, in, c)
	default:
		return s.act(ctx, in, c)
	}
}

// answer turns an error that is an answer into a Reply.
func (s *Service) answer(ctx context.Context, in Input, reply Reply, err error) (Reply, error) {
	if err == nil {
		return reply, nil
	}
	switch code := actions.CodeOf(err); {
	case ctx.Err() != nil, code == actions.CodeUnavailable, code == actions.CodeInternal, code == actions.CodeFenced:
		return Reply{}, err
	case code == actions.CodeConflict && actions.Retryable(err):
		return Reply{}, err
	default:
		s.log.DebugContext(ctx, "refused", "actor", in.Actor.Name, "code", string(code), "error", err)
		return Reply{Tone: ToneRefused, Code: code, Text: markup(err)}, nil
	}
}

// recordRefusal puts a command that somebody may not do into the audit of the
// environment that it is about. Its failure is logged only: the refusal stands
// either way.
func (s *Service) recordRefusal(ctx context.Context, in Input, c Command, err error) {
	code := actions.CodeOf(err)
	linking := c.Verb == VerbLink && c.Code != "" && code == actions.CodeNotFound // a code that is none
	if code != actions.CodeForbidden && (code != actions.CodeConflict || actions.Retryable(err)) && !linking {
		return
	}
	if c.looks() && c.Verb != VerbLink {
		return
	}
	if e, ok := errors.AsType[*actions.Error](err); ok && e.Op == opDecide && code == actions.CodeForbidden {
		return // it was recorded with the request that it is about
	}
	env, id, known := s.refusedOf(ctx, in, &c)
	if !known {
		return
	}
	rec := s.record(in, actions.KindRefused, c)
	rec.RequestID = id
	rec.Detail = map[string]string{"command": c.Masked(), "why": actions.Message(err)}
	if err := s.store.Refused(context.WithoutCancel(ctx), env, rec); err != nil {
		s.log.WarnContext(ctx, "a refusal was not recorded", "env", env.String(), "actor", in.Actor.Name, "error", err)
	}
}

// refusedOf is the chain that the refusal of c belongs to, and the request that c
// is about. What nobody else may know is taken out of c.
func (s *Service) refusedOf(ctx context.Context, in Input, c *Command) (env actions.Name, id string, known bool) {
	if c.Verb == VerbLink {
		if c.Code != "" {
			c.Code = Hidden
		}
		return actions.BerthChain, "", true
	}
	if c.ID != "" {
		r, err := s.requests.Get(ctx, c.ID)
		if err != nil {
			return env, "", false
		}
		return r.Order.Env, r.ID, true
	}
	if _, name, err := s.target(in, *c); err == nil {
		return name, "", true
	}
	switch c.Verb {
	case VerbApprove, VerbDeny, VerbCancel:
		if envs, err := s.places(in, *c); err == nil {
			return envs[0], "", true
		}
	}
	// Of another repository's app it is known as well.
	return actions.Name{App: c.App, Env: c.Env}, "", c.Env != "" && s.App(c.App) != nil
}

// sentence is an Error whose message is Markdown already, with what came from
// outside escaped.
type sentence struct{ err *actions.Error }

func (e *sentence) Error() string { return e.err.Error() }
func (e *sentence) Unwrap() error { return e.err }

// refusal makes an error that becomes a refusal. Its text is Markdown.
func refusal(code actions.Code, format string, args ...any) error {
	return &sentence{actions.Errorf("bot.execute", code, format, args...)}
}

// markup is an error's message as Markdown. Messages of the grammar are
// Markdown; those of other packages are plain and hold outside text.
func markup(err error) string {
	if e, ok := errors.AsType[*sentence](err); ok {
		return e.err.Msg
	}
	if e, ok := errors.AsType[*actions.Error](err); ok && e.Op == "command.parse" {
		return e.Msg
	}
	return Prose(actions.Message(err), 2000)
}

func info(format string, args ...any) Reply {
	return Reply{Tone: ToneInfo, Text: actions.Errorf("bot.execute", "", format, args...).Msg}
}

// authorize says who may do what, until policies say it in more detail: a
// viewer reads, and any other role acts.
func (s *Service) authorize(in Input, c Command) error {
	actor, repo := in.Actor, in.Repo
	who := actor.who()
	if len(actor.Roles) == 0 {
		help := "somebody who keeps Berth's config can give you one under `actors` or `tokens`"
		switch {
		case slices.Contains(chats, in.Place.Surface):
			help = "link this account to one that has: type `berth link " + actor.Identity + "` in a terminal where you are known, and here the code that it answers. Or somebody who keeps Berth's config can put " +
				Code(actor.Identity, 140) + " under `actors`"
		case repo != "":
			help = "somebody who administers " + Escape(repo, 140) + " can give you write access to it, or somebody who keeps Berth's config a role under `actors`"
		}
		return refusal(actions.CodeForbidden, "%s has no role here, so nothing was done; %s.", who, help)
	}
	if c.looks() {
		return nil
	}
	if slices.ContainsFunc(actor.Roles, func(role string) bool { return role != RoleViewer }) {
		return nil
	}
	return refusal(actions.CodeForbidden, "%s may only look (role `%s`), and `%s` is more than that; somebody who keeps Berth's config can add another role.", who, RoleViewer, c.Verb)
}

// chats are the surfaces where people chat.
var chats = []string{PlatformSlack, PlatformDiscord, "mattermost"}

// who names the actor in a sentence.
func (a Actor) who() string {
	switch {
	case a.Name != "":
		return Escape(a.Name, 80)
	case a.Identity != "":
		return Escape(a.Identity, 80)
	default:
		return "Somebody unknown"
	}
}

// requester is the actor as a request keeps it.
func (a Actor) requester() approvals.Requester {
	name := a.Name
	if name == "" {
		name = a.Identity
	}
	return approvals.Requester{Actor: name, Identity: a.Identity, Roles: a.Roles}
}

// ofVars are the verbs that are one command in Discord, which has room for 25:
// `/berth vars show`, `set` and `unset`.
var ofVars = []string{VerbVars, VerbSet, VerbUnset}

// typed is a command as it is typed at the place that in came from.
func (in Input) typed(words ...string) string {
	command := strings.Join(words, " ")
	switch {
	case in.Place.Surface == "github":
		return "/" + command
	case in.Place.Surface == PlatformDiscord && len(words) > 0 && slices.Contains(ofVars, words[0]):
		if words[0] == VerbVars {
			return "/berth vars show" + strings.TrimPrefix(command, VerbVars)
		}
		return "/berth vars " + command
	case slices.Contains(chats, in.Place.Surface):
		return "/berth " + command
	case in.Place.Surface == "cli":
		return "berth " + command
	default:
		return command
	}
}

// help is the help that a command asks for. Where people chat it begins with how
// commands are typed there, which the grammar does not know.
func (in Input) help(c Command) string {
	if c.Topic != "" || !slices.Contains(chats, in.Place.Surface) {
		return c.Help
	}
	here := "Here a command is typed as " + in.code("VERB …")
	if in.Place.Surface == PlatformDiscord {
		here += "; `vars`, `set` and `unset` are " + in.code(VerbVars) + ", " + in.code(VerbSet) + " and " + in.code(VerbUnset)
	}
	if in.Place.Surface == PlatformSlack {
		here += ", and in threads, where Slack has no such commands, as `@berth VERB …`"
	}
	return here + ".\n\n" + c.Help
}

// code is typed as inline code.
func (in Input) code(words ...string) string { return "`" + in.typed(words...) + "`" }
