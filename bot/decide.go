package bot

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
)

// decide approves or denies a request. A decision that arrives again counts for
// the request and the plan that the first arrival was about, and for no others.
func (s *Service) decide(ctx context.Context, in Input, c Command) (Reply, error) {
	r, envs, err := s.decidable(ctx, in, c)
	if err != nil {
		return Reply{}, err
	}
	env, again := envs[0], false
	if in.Key != "" {
		var about string
		if about, again, err = s.requests.Chosen(ctx, env, in.Key); err != nil {
			return Reply{}, err
		}
		if again {
			earlier := readChoice(about)
			if r, err = s.requests.Get(ctx, earlier.id); err != nil {
				return Reply{}, err
			}
			if r.State != approvals.StatePending || r.Digest != earlier.digest {
				return said(r), nil
			}
			if changed, err := s.changedMind(ctx, in, r, earlier.at); changed || err != nil {
				return said(r), err
			}
		}
	}
	if r == nil {
		return Reply{}, s.nothingWaits(ctx, in, c, envs)
	}
	if err := s.shownBefore(ctx, in, r); err != nil {
		return Reply{}, err
	}
	if in.Key != "" && !again {
		if _, err := s.requests.Choose(ctx, env, in.Key, choice{r.ID, r.Digest, s.now()}.String()); err != nil {
			return Reply{}, err
		}
	}
	before := r
	r, err = s.requests.Decide(ctx, r.ID, approvals.Decision{
		Verdict: approvals.Verdict(c.Verb), By: in.Actor.requester(), Reason: c.Reason, Place: in.Place, BreakGlass: c.Glass, Digest: cmp.Or(in.Digest, r.Digest),
	})
	if again && actions.CodeOf(err) == actions.CodeConflict {
		// What was said the first time has moved it on since it was looked at.
		if r, err = s.requests.Get(ctx, before.ID); err == nil {
			return said(r), nil
		}
	}
	if actions.CodeOf(err) == actions.CodeConflict && !actions.Retryable(err) {
		if reply, counted, errSeen := s.counted(ctx, in, c, before.ID); counted || errSeen != nil {
			return reply, errSeen
		}
	}
	if err != nil {
		return Reply{}, s.undecided(in, before, err)
	}
	return s.decided(ctx, in, c, before, r)
}

// choice is what the first arrival of a decision was about, and when that was.
type choice struct {
	id, digest string
	at         time.Time
}

func (c choice) String() string {
	return c.id + " " + strconv.FormatInt(c.at.UnixMilli(), 10) + " " + c.digest
}

// readChoice reads what String wrote.
func readChoice(text string) (c choice) {
	var at string
	c.id, text, _ = strings.Cut(text, " ")
	at, c.digest, _ = strings.Cut(text, " ")
	ms, _ := strconv.ParseInt(at, 10, 64) // of a choice that was kept before it was written so, nothing is known to be later
	c.at = time.UnixMilli(ms)
	return c
}

// changedMind tells whether the person who decides has decided on r otherwise
// since at: what they said first and arrives once more must not undo that.
func (s *Service) changedMind(ctx context.Context, in Input, r *approvals.Request, at time.Time) (bool, error) {
	for _, d := range r.Decisions {
		if !d.At.After(at) {
			continue
		}
		if mine, err := s.same(ctx, in.Actor, d.By.Identity); mine || err != nil {
			return mine, err
		}
	}
	return false, nil
}

// shownBefore refuses a decision that was typed before the plan was made that it
// would count for. Only what is planned again can meet one.
func (s *Service) shownBefore(ctx context.Context, in Input, r *approvals.Request) error {
	if r.Replans == 0 || in.At.IsZero() {
		return nil
	}
	full, err := s.requests.Get(ctx, r.ID)
	if err != nil {
		return err
	}
	if full.Plan == nil || !in.At.Before(full.Plan.MadeAt) {
		return nil
	}
	return refusal(actions.CodeStale, "%s (request `%s`) was planned again at %s, after that was typed, so it does not count for what would run now. Look at the new plan; %s says what has changed.",
		command(r), r.ID, Moment(full.Plan.MadeAt), in.code(VerbExplain, r.ID))
}

// decidable is the request that a decision is about: the one of the id, or the
// one that waits at the environments that can be meant, nil when none does. Of
// several, none is guessed. With it come those environments, of which the first
// keeps what the decision's key has chosen.
func (s *Service) decidable(ctx context.Context, in Input, c Command) (*approvals.Request, []actions.Name, error) {
	if c.ID != "" {
		r, err := s.find(ctx, in, c.ID)
		if err != nil {
			return nil, nil, err
		}
		return r, []actions.Name{r.Order.Env}, nil
	}
	envs, err := s.places(in, c)
	if err != nil {
		return nil, nil, err
	}
	if in.Key != "" {
		if _, again, err := s.requests.Chosen(ctx, envs[0], in.Key); again || err != nil {
			return nil, envs, err // it is known already what it is about
		}
	}
	waiting, err := s.waiting(ctx, envs)
	switch {
	case err != nil:
		return nil, envs, err
	case len(waiting) > 1:
		return nil, envs, several(in, c.Verb, "wait", waiting, envs)
	case len(waiting) == 0:
		return nil, envs, nil
	}
	return waiting[0], envs, nil
}

// waiting are the requests for envs that wait for decisions, the newest of each
// first.
func (s *Service) waiting(ctx context.Context, envs []actions.Name) ([]*approvals.Request, error) {
	var waiting []*approvals.Request
	for _, env := range envs {
		active, err := s.active(ctx, env)
		if err != nil {
			return nil, err
		}
		for _, r := range active {
			if r.State == approvals.StatePending {
				waiting = append(waiting, r)
			}
		}
	}
	return waiting, nil
}

// latest is the newest request of envs, nil when nobody has asked for anything
// there.
func (s *Service) latest(ctx context.Context, envs []actions.Name) (*approvals.Request, error) {
	var latest *approvals.Request
	for _, env := range envs {
		newest, _, err := s.requests.List(ctx, approvals.Filter{Env: env, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(newest) > 0 && (latest == nil || newest[0].CreatedAt.After(latest.CreatedAt)) {
			latest = newest[0]
		}
	}
	return latest, nil
}

// nothingWaits says what there is at envs instead of a request to decide on.
func (s *Service) nothingWaits(ctx context.Context, in Input, c Command, envs []actions.Name) error {
	r, err := s.latest(ctx, envs)
	if err != nil {
		return err
	}
	text := "Nothing waits for approval at " + shownPlaces(envs, "or") + ", so nothing was done."
	if r == nil {
		return refusal(actions.CodeNotFound, "%s Nobody has asked for anything there.", text)
	}
	text += " The newest request, " + command(r) + " by " + Escape(r.Requester.Actor, 80) + " (`" + r.ID + "`), is " + requestState(r) + "."
	if r.State == approvals.StatePlanning {
		text += " " + in.code(c.Verb, r.ID) + " is for when it shows what it would change."
	}
	return refusal(actions.CodeConflict, "%s %s says why.", text, in.code(VerbExplain, r.ID))
}

// counted answers a decision that came too late because it had been made before
// by the same person: a second click, or the word of somebody whose first one
// released the request. It tells them apart from those who decide otherwise.
func (s *Service) counted(ctx context.Context, in Input, c Command, id string) (Reply, bool, error) {
	r, err := s.requests.Get(ctx, id)
	if err != nil {
		return Reply{}, false, err
	}
	if in.Digest != "" && in.Digest != r.Digest {
		return Reply{}, false, nil // it was about another plan
	}
	for _, d := range r.Decisions {
		if string(d.Verdict) != c.Verb || d.BreakGlass != c.Glass || d.Digest != r.Digest {
			continue
		}
		mine, err := s.same(ctx, in.Actor, d.By.Identity)
		if err != nil {
			return Reply{}, false, err
		}
		if mine {
			what := "approval"
			if d.Verdict == approvals.Deny {
				what = "denial"
			}
			return Reply{Tone: ToneInfo, Request: r, Text: in.Actor.who() + "'s " + what + " of " + command(r) + " (request `" + r.ID + "`) was counted already; it is " + requestState(r) + " now."}, true, nil
		}
	}
	return Reply{}, false, nil
}

// same tells whether identity is an account of the person who asks.
func (s *Service) same(ctx context.Context, asks Actor, identity string) (bool, error) {
	if identity == "" || identity == asks.Identity {
		return identity != "", nil
	}
	if s.people == nil || asks.ID == "" {
		return false, nil
	}
	person, err := s.people.Person(ctx, identity)
	return err == nil && person.ID == asks.ID, err
}

// undecided is why a decision was not taken, with what can be done. Which rule
// says so is in the message already.
func (s *Service) undecided(in Input, r *approvals.Request, err error) error {
	e := actions.Message(err)
	switch {
	case actions.CodeOf(err) == actions.CodeForbidden:
		return &sentence{&actions.Error{
			Op: opDecide, Code: actions.CodeForbidden, Err: err,
			Msg: Prose(e, 2000) + " " + in.code(VerbExplain, r.ID) + " says which rules it waits for.",
		}}
	case actions.CodeOf(err) == actions.CodeConflict && !actions.Retryable(err):
		says := " says how that came."
		if r.State == approvals.StatePlanning {
			says = " says how far it is."
		}
		return &sentence{&actions.Error{
			Op: opDecide, Code: actions.CodeConflict, Err: err,
			Msg: Prose(e, 2000) + " " + in.code(VerbExplain, r.ID) + says,
		}}
	}
	return err
}

// opDecide marks refusals of decisions, which Requests.Decide has recorded.
const opDecide = "bot.decide"

// decided says what a decision did, and what is still missing.
func (s *Service) decided(ctx context.Context, in Input, c Command, before, r *approvals.Request) (Reply, error) {
	text := in.Actor.who()
	switch {
	case c.Glass:
		text += " broke the glass for "
	case c.Verb == VerbDeny:
		text += " denied "
	default:
		text += " approved "
	}
	text += command(r) + " (request `" + r.ID + "`)."
	if other, err := s.beside(ctx, in, before); err != nil {
		return Reply{}, err
	} else if other != "" {
		text += " It takes the place of what " + Code(other, 140) + " said: both accounts are one person's, who counts once."
	}
	switch {
	case r.State == approvals.StatePending:
		text += " " + lacking(r) + " " + in.code(VerbExplain, r.ID) + " says more."
	case r.State.Ended():
		text += " That ends it: it is " + requestState(r) + "."
	default:
		text += " Nothing more is missing. " + s.shown(in, VerbStatus, r.Order.Env) + " says how it goes on."
	}
	return Reply{Tone: ToneInfo, Request: r, Text: text}, nil
}

// beside is another account of the same person that had decided on r before, ""
// when there is none.
func (s *Service) beside(ctx context.Context, in Input, r *approvals.Request) (string, error) {
	if s.people == nil || in.Actor.ID == "" {
		return "", nil
	}
	for _, d := range r.Decisions {
		if d.By.Identity == "" || d.By.Identity == in.Actor.Identity {
			continue
		}
		person, err := s.people.Person(ctx, d.By.Identity)
		if err != nil {
			return "", err
		}
		if person.ID == in.Actor.ID {
			return d.By.Identity, nil
		}
	}
	return "", nil
}

// said answers a decision that arrived before.
func said(r *approvals.Request) Reply {
	return Reply{Tone: ToneInfo, Request: r, Text: "That was said already; " + command(r) + " (request `" + r.ID + "`) is " + requestState(r) + " now."}
}

// again asks anew for what a failed request asked for.
func (s *Service) again(ctx context.Context, in Input, c Command) (Reply, error) {
	failed, err := s.find(ctx, in, c.ID)
	if err != nil {
		return Reply{}, err
	}
	app, err := s.app(failed.Order.Env.App)
	if err != nil {
		return Reply{}, err
	}
	if err := forks(in, app); err != nil {
		return Reply{}, err
	}
	if err := allowed(app, Command{Set: failed.Order.Set}); err != nil {
		return Reply{}, err // the config may allow less than it did
	}
	r, err := s.requests.Retry(ctx, failed.ID, in.Actor.requester(), in.Place)
	if err != nil {
		return Reply{}, err
	}
	if r.State.Ended() {
		return Reply{Tone: ToneInfo, Request: r, Text: "It was retried already: " + command(r) + " (request `" + r.ID + "`) is " + requestState(r) + " now."}, nil
	}
	return s.accepted(in, r), nil
}
