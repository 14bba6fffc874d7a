package bot

import (
	"context"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// cancel withdraws a request, or stops what runs.
func (s *Service) cancel(ctx context.Context, in Input, c Command) (Reply, error) {
	id, again := c.ID, false
	if id == "" {
		var err error
		if id, again, err = s.newest(ctx, in, c); err != nil {
			return Reply{}, err
		}
	} else {
		r, err := s.find(ctx, in, id)
		if err != nil {
			return Reply{}, err
		}
		id = r.ID
	}
	r, err := s.requests.Cancel(ctx, id, in.Actor.requester(), c.Reason)
	if actions.CodeOf(err) == actions.CodeConflict && !actions.Retryable(err) {
		ended, getErr := s.requests.Get(ctx, id)
		if getErr == nil && ended.State.Ended() && (again || ended.Stop != nil && ended.Stop.By.Identity == in.Actor.Identity) {
			return Reply{Tone: ToneInfo, Request: ended, Text: command(ended) + " (request `" + ended.ID + "`) has ended already: it is " + requestState(ended) + "."}, nil
		}
	}
	if err != nil {
		return Reply{}, err
	}
	if r.State == approvals.StateRunning {
		return Reply{Tone: ToneInfo, Request: r, Text: s.stopping(ctx, in, r)}, nil
	}
	if r.Stop != nil {
		return Reply{Tone: ToneInfo, Request: r, Text: command(r) + " (request `" + r.ID + "`) is stopped already."}, nil
	}
	return Reply{Tone: ToneInfo, Request: r, Text: "Cancelled " + command(r) + " (request `" + r.ID + "`) before it ran; nothing was changed."}, nil
}

// stopping says what becomes of a running request that was cancelled.
func (s *Service) stopping(ctx context.Context, in Input, r *approvals.Request) string {
	if run, err := s.store.Run(ctx, r.RunID); err == nil && run.State == actions.RunRunning && run.Error != "" {
		return command(r) + " (request `" + r.ID + "`) has stopped already, and what it did is being taken back, which runs to its end. " +
			s.shown(in, VerbStatus, r.Order.Env) + " says what is where after that."
	}
	text := "Stopping " + command(r) + " (request `" + r.ID + "`) at its next safe point; an executor that does not listen is ended by force."
	if back := takenBack(s.App(r.Order.Env.App), r.Order.Verb); back != "" {
		text += " Of the parts that it had begun, " + back + "."
	} else {
		text += " Parts that it had begun stay as they are until the next deploy or cleanup."
	}
	return text + " " + s.shown(in, VerbStatus, r.Order.Env) + " says what is where once it has stopped."
}

// takenBack says what becomes of the parts of an action that fails or is stopped
// (Part.OnFailure), "" when all stay as they are.
func takenBack(app *actions.App, verb actions.Verb) string {
	if app == nil || !verb.TakesCommit() && verb != actions.VerbRollback {
		return ""
	}
	parts := map[actions.OnFailure][]string{}
	for _, p := range app.Parts {
		parts[p.OnFailure] = append(parts[p.OnFailure], p.Name)
	}
	var texts []string
	if back := parts[actions.FailureRollback]; len(back) > 0 {
		texts = append(texts, codes(back, "and")+" "+isOrAre(back)+" brought back to what ran before")
	}
	if gone := parts[actions.FailureCleanup]; len(gone) > 0 {
		texts = append(texts, codes(gone, "and")+" "+isOrAre(gone)+" cleaned up")
	}
	if stays := slices.Concat(parts[actions.FailureKeep], parts[""]); len(texts) > 0 && len(stays) == 1 {
		texts = append(texts, codes(stays, "and")+" stays as it is")
	} else if len(texts) > 0 && len(stays) > 1 {
		texts = append(texts, codes(stays, "and")+" stay as they are")
	}
	return Join(texts, "and")
}

func isOrAre(things []string) string {
	if len(things) == 1 {
		return "is"
	}
	return "are"
}

// newest is the id of the newest request under way for the environment that a
// command means, and whether an earlier arrival of the same command chose it.
// That one it stays, or none if there was none: else a command that arrives
// again would cancel one request after the other. Where the environments of
// several apps can be meant, it is refused unless all is under way for one.
func (s *Service) newest(ctx context.Context, in Input, c Command) (id string, again bool, err error) {
	envs, err := s.places(in, c)
	if err != nil {
		return "", false, err
	}
	home := envs[0]
	if in.Key != "" {
		if id, again, err = s.requests.Chosen(ctx, home, in.Key); err != nil {
			return "", false, err
		}
	}
	if !again {
		var active []*approvals.Request
		for _, env := range envs {
			there, err := s.active(ctx, env)
			if err != nil {
				return "", false, err
			}
			active = append(active, there...)
		}
		if len(active) > 0 {
			if first, last := active[0], active[len(active)-1]; first.Order.Env != last.Order.Env {
				return "", false, several(in, c.Verb, "are under way", active, envs)
			}
			id = active[0].ID
		}
		if in.Key != "" {
			if id, err = s.requests.Choose(ctx, home, in.Key, id); err != nil {
				return "", false, err
			}
		}
	}
	if id == "" {
		return "", false, refusal(actions.CodeNotFound, "Nothing is under way for %s, so there is nothing to cancel. %s says how it is.",
			shownPlaces(envs, "or"), s.shown(in, VerbStatus, home))
	}
	return id, again, nil
}

// lock locks and unlocks an environment. Doing it twice is success, and one
// that arrives again changes nothing that others did since.
func (s *Service) lock(ctx context.Context, in Input, c Command) (Reply, error) {
	_, name, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	env, err := s.existing(ctx, in, name)
	if err != nil {
		return Reply{}, err
	}
	if in.Key != "" {
		_, again, err := s.requests.Chosen(ctx, name, in.Key)
		if err != nil {
			return Reply{}, err
		}
		if again {
			now := "is not locked now"
			if env.Lock != nil {
				now = "is locked by " + Escape(env.Lock.By, 80) + " now"
			}
			return Reply{Tone: ToneInfo, Environment: env, Text: "That was done already; " + Code(name.String(), 100) + " " + now + "."}, nil
		}
	}
	set := s.setLock
	if c.Verb == VerbUnlock {
		set = s.unlock
	}
	reply, err := set(ctx, in, c, env)
	if err == nil && in.Key != "" {
		// It is remembered once it is done: an arrival in between finds the lock as
		// it should be, unless somebody changed it within that moment.
		_, err = s.requests.Choose(ctx, name, in.Key, c.Verb)
	}
	return reply, err
}

// unlock opens an environment to everybody.
func (s *Service) unlock(ctx context.Context, in Input, c Command, env *actions.Environment) (Reply, error) {
	shown := Code(env.Name.String(), 100)
	if env.Lock == nil {
		return Reply{Tone: ToneInfo, Environment: env, Text: shown + " was not locked; actions at it are open to everybody who may."}, nil
	}
	by := Escape(env.Lock.By, 80)
	env, err := s.store.SetLock(ctx, env.Name, nil, s.record(in, "environment.unlocked", c))
	if err != nil {
		return Reply{}, err
	}
	return Reply{Tone: ToneInfo, Environment: env, Text: shown + " is open again; " + by + " had locked it."}, nil
}

// setLock closes an environment.
func (s *Service) setLock(ctx context.Context, in Input, c Command, env *actions.Environment) (Reply, error) {
	requester := in.Actor.requester()
	if env.Lock != nil {
		if env.Lock.By == requester.Actor && env.Lock.Reason == c.Reason {
			return s.locked(in, env), nil
		}
		return Reply{}, refusal(actions.CodeConflict, "%s is %s already. Ask them, or open it with %s first.",
			Code(env.Name.String(), 100), lockText(env.Lock), s.shown(in, VerbUnlock, env.Name))
	}
	lock := &actions.Lock{By: requester.Actor, Reason: c.Reason, At: s.now().UTC()}
	env, err := s.store.SetLock(ctx, env.Name, lock, s.record(in, "environment.locked", c))
	if err != nil {
		return Reply{}, err
	}
	return s.locked(in, env), nil
}

func (s *Service) locked(in Input, env *actions.Environment) Reply {
	return Reply{Tone: ToneInfo, Environment: env, Text: Code(env.Name.String(), 100) + " is locked: nobody's actions run at it until " +
		s.shown(in, VerbUnlock, env.Name) + ". What already runs goes on."}
}

// extend asks that an environment lives longer, or for ever. It is a request
// like any action, so that asking once extends once, however often the wish
// arrives.
func (s *Service) extend(ctx context.Context, in Input, c Command) (Reply, error) {
	app, name, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	if c = lasting(app, c); c.Keep {
		return s.act(ctx, in, c)
	}
	if c.TTL == 0 {
		return Reply{}, refusal(actions.CodeInvalid, "By how much? App `%s` has no lifetime of its own; write %s.", app.Name, in.code(c.Verb, name.String(), "--ttl 24h"))
	}
	env, err := s.store.Environment(ctx, name)
	if err != nil && !isNotFound(err) {
		return Reply{}, err
	}
	if err == nil && env.State == actions.StateRunning && env.ExpiresAt.IsZero() && !env.Keep {
		return Reply{}, refusal(actions.CodeConflict, "%s never expires, so there is nothing to extend; %s keeps schedules away from it as well.",
			Code(name.String(), 100), in.code(c.Verb, name.String(), "--keep"))
	}
	return s.act(ctx, in, c)
}

// lasting gives an extension that says no time the app's lifetime.
func lasting(app *actions.App, c Command) Command {
	if c.Verb == string(actions.VerbExtend) && c.TTL == 0 && !c.Keep {
		c.TTL = app.TTL
	}
	return c
}

// existing is the environment of that name, refused with what to do when there
// is none.
func (s *Service) existing(ctx context.Context, in Input, name actions.Name) (*actions.Environment, error) {
	env, err := s.store.Environment(ctx, name)
	if isNotFound(err) {
		return nil, s.noEnvironment(ctx, in, name)
	}
	if err != nil {
		return nil, err
	}
	if env.State == actions.StateCleaned {
		return nil, refusal(actions.CodeNotFound, "%s is gone since %s. %s makes it anew.", Code(name.String(), 100), Moment(env.UpdatedAt),
			s.shown(in, string(actions.VerbDeploy), name))
	}
	return env, nil
}

// noEnvironment says that there is none of that name, and which is like it.
func (s *Service) noEnvironment(ctx context.Context, in Input, name actions.Name) error {
	text := "There is no environment " + Code(name.String(), 100) + "."
	if envs, _, err := s.store.Environments(ctx, actions.EnvFilter{App: name.App, Limit: 100}); err == nil {
		names := make([]string, len(envs))
		for i, e := range envs {
			names[i] = e.Name.Env
		}
		if near := Nearest(name.Env, names); near != "" {
			text += " Did you mean " + Code(name.App+"/"+near, 100) + "?"
		}
	}
	return refusal(actions.CodeNotFound, "%s %s makes one, %s shows those that there are.", text,
		s.shown(in, string(actions.VerbDeploy), name), in.code(VerbList))
}

// find is the request of an id, or the one whose run has that id. From a pull
// request only those of its repository's apps can be reached.
func (s *Service) find(ctx context.Context, in Input, id string) (*approvals.Request, error) {
	r, err := s.requests.Get(ctx, id)
	if isNotFound(err) {
		run, runErr := s.store.Run(ctx, id)
		if runErr != nil {
			if !isNotFound(runErr) {
				return nil, runErr
			}
			return nil, refusal(actions.CodeNotFound, "There is no request or run %s; %s shows an environment's newest.", Code(id, 40), in.code(VerbStatus, "app/name"))
		}
		r, err = s.requests.Get(ctx, run.RequestID)
	}
	if err != nil {
		return nil, err
	}
	if err := in.reach(r.Order.Env.App); err != nil {
		return nil, err
	}
	if in.Repo != "" {
		app, err := s.catalog.App(r.Order.Env.App)
		if err != nil || !strings.EqualFold(app.Repo, in.Repo) {
			return nil, refusal(actions.CodeForbidden, "That request is not of an app of %s, and commands here reach only that repository's.", Escape(in.Repo, 140))
		}
	}
	return r, nil
}

// record is the start of the audit record of a change that is no request.
func (s *Service) record(in Input, kind string, c Command) actions.Record {
	r := in.Actor.requester()
	detail := map[string]string{}
	if c.Reason != "" {
		detail["reason"] = c.Reason
	}
	return actions.Record{
		Kind: kind, Actor: r.Actor, Identity: r.Identity, Surface: in.Place.Surface, Address: in.Place.Address, Detail: detail,
	}
}
