package github

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// sweepEvery is how often all environments are compared with what is shown.
	sweepEvery = time.Minute
	// recentRequests is how many requests of an environment are looked at.
	recentRequests = 15
)

// scene is all that is shown of an environment, read at one moment.
type scene struct {
	name   actions.Name
	app    *actions.App // nil when it is configured no more
	repo   string
	number int
	env    *actions.Environment // nil when there is no record yet
	recent []*approvals.Request // the newest first, without plans
	latest *approvals.Request   // that was to change something, with its plan; nil when there is none
	run    *actions.Run         // the latest request's, else the environment's last
	log    bot.Tail             // of run
	card   string               // where the latest request's card is read, while it waits for decisions
}

// look reads the scene of an environment. One that is no pull request's has
// requests alone, and number 0.
func (s *Surface) look(ctx context.Context, name actions.Name) (*scene, error) {
	sc := &scene{name: name}
	var err error
	if sc.env, err = s.environment(ctx, name); err != nil {
		return nil, err
	}
	if sc.app, err = s.catalog.App(name.App); err != nil {
		sc.app = nil // it may have been taken out of the config
	}
	if sc.app != nil {
		sc.repo = sc.app.Repo
	}
	sc.number = name.PullRequest()
	if sc.env != nil {
		if sc.env.Repo != "" {
			sc.repo = sc.env.Repo
		}
		if sc.env.PullRequest > 0 {
			sc.number = sc.env.PullRequest
		}
	}
	if !validRepo(sc.repo) {
		sc.number = 0
	}
	if sc.recent, _, err = s.requests.List(ctx, approvals.Filter{Env: name, Limit: recentRequests}); err != nil {
		return nil, err
	}
	if sc.number == 0 {
		return sc, nil
	}
	return sc, s.lookCloser(ctx, sc)
}

func (s *Surface) lookCloser(ctx context.Context, sc *scene) error {
	for _, r := range sc.recent {
		if r.DryRun || r.State == approvals.StateSuperseded {
			continue
		}
		whole, err := s.requests.Get(ctx, r.ID)
		if err != nil {
			return err
		}
		sc.latest = whole
		break
	}
	runID := ""
	switch {
	case sc.latest != nil && sc.latest.RunID != "":
		runID = sc.latest.RunID
	case sc.env != nil && sc.env.LastAction != nil:
		runID = sc.env.LastAction.RunID
	}
	if runID == "" {
		return nil
	}
	run, err := s.store.Run(ctx, runID)
	if actions.CodeOf(err) == actions.CodeNotFound {
		return nil // it is not begun, or not kept any more
	}
	if err != nil {
		return err
	}
	sc.run = run
	sc.log, err = s.tails.Read(ctx, s.store, run.ID)
	return err
}

// underway tells whether the latest request has yet to end.
func (sc *scene) underway() bool { return sc.latest != nil && !sc.latest.State.Ended() }

// gone tells whether nothing of the environment is there or coming.
func (sc *scene) gone() bool {
	return (sc.env == nil || sc.env.State == actions.StateCleaned) && !sc.underway()
}

// showEnvironment makes GitHub show an environment as it is: the ends of
// requests where they were made, what people are asked, its comment, its
// deployments. Each is done whatever becomes of the others.
func (s *Surface) showEnvironment(ctx context.Context, name actions.Name) (again time.Duration, err error) {
	ends := s.tellEnds(ctx, name)
	sc, err := s.look(ctx, name)
	if err != nil {
		return 0, errors.Join(err, ends)
	}
	asked, cards := s.showCards(ctx, sc)
	elsewhere, parts := s.showComponents(ctx, sc)
	asked, cards = sooner(asked, elsewhere), errors.Join(cards, parts)
	if sc.number == 0 {
		return asked, errors.Join(cards, ends)
	}
	again, sticky := s.showComment(ctx, sc)
	if again = sooner(again, asked); cards != nil {
		ends = errors.Join(ends, cards)
	}
	deployments := s.showDeployments(ctx, sc)
	if err := s.settle(ctx, sc, "comment", sticky); err != nil {
		return 0, errors.Join(err, ends)
	}
	if err := s.settle(ctx, sc, "deployments", deployments); err != nil {
		return 0, errors.Join(err, ends)
	}
	if ends != nil || again > 0 {
		return again, ends
	}
	return 0, s.remember(ctx, sc)
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// settle lets a refusal of GitHub's be: it is logged, and the next change of
// the environment tries again.
func (s *Surface) settle(ctx context.Context, sc *scene, what string, err error) error {
	if err == nil || (!final(err) && !errors.Is(err, errNotInstalled)) {
		return err
	}
	s.log.ErrorContext(ctx, "GitHub does not let Berth show an environment", "env", sc.name.String(), "repo", sc.repo, "number", sc.number, "what", what, "error", err)
	return nil
}

// remember keeps what is shown, for the sweep to compare with.
func (s *Surface) remember(ctx context.Context, sc *scene) error {
	if sc.gone() {
		return s.rdb.HDel(ctx, keyShown, sc.name.String()).Err()
	}
	var revision int64
	if sc.env != nil {
		revision = sc.env.Revision
	}
	return s.rdb.HSet(ctx, keyShown, sc.name.String(), revision).Err()
}

// tellEnds tells of requests that have ended where they were made.
func (s *Surface) tellEnds(ctx context.Context, name actions.Name) error {
	open, err := s.rdb.SMembers(ctx, keyOpen(name)).Result()
	if err != nil {
		return err
	}
	left := len(open)
	for _, id := range open {
		r, err := s.requests.Get(ctx, id)
		if err != nil && actions.CodeOf(err) != actions.CodeNotFound {
			return err
		}
		if err == nil && !r.State.Ended() {
			continue
		}
		if err == nil {
			if err := s.tellEnd(ctx, r); err != nil {
				return err
			}
		}
		if err := s.rdb.SRem(ctx, keyOpen(name), id).Err(); err != nil {
			return err
		}
		left--
	}
	if left > 0 {
		return nil
	}
	return s.rdb.SRem(ctx, keyAwaiting, name.String()).Err()
}

// tellEnd reacts on the command's comment and, where somebody must act or asked
// to see something, writes a comment: edits notify nobody.
func (s *Surface) tellEnd(ctx context.Context, r *approvals.Request) error {
	repo, number, ok := parsePlace(r.Place.ID)
	if r.Place.Surface != "github" || !ok {
		return nil
	}
	p := post{Repo: repo, Number: number, At: s.now().UTC()}
	p.Comment, _ = strconv.ParseInt(r.Place.Message, 10, 64) // 0 when nobody typed it
	switch r.State {
	case approvals.StateSucceeded:
		p.Reaction = reactionDone
		shown := len(r.Order.With) > 0 && r.Place.Message == "" // a push to a component: its comment shows the environment
		if !r.DryRun && r.Order.Env.PullRequest() != number && !shown {
			p.Text = address(r) + bot.Code("/"+r.Command, 300) + " succeeded." // nothing else here shows it
		}
		if r.DryRun {
			p.Text = address(r) + "what " + bot.Code("/"+r.Command, 300) + " would do:\n\n"
			if r.Plan != nil {
				p.Text += cutPlan(r.Plan)
			}
		}
	case approvals.StateSuperseded, approvals.StateCancelled:
		p.Reaction = reactionVoid
	default:
		p.Reaction = reactionRefused
		p.Text = s.failureText(r, repo, number)
	}
	return s.queuePost(ctx, "r"+r.ID, p)
}

// address calls the person who made a request, where it was a person.
func address(r *approvals.Request) string {
	if login, ok := strings.CutPrefix(r.Requester.Identity, "github:"); ok && mentionable(login) {
		return "@" + login + ": "
	}
	return ""
}

// failureText says why a request did not end well, and what can be done.
func (s *Surface) failureText(r *approvals.Request, repo string, number int) string {
	verb := "failed"
	switch r.State {
	case approvals.StateRefused:
		verb = "was refused"
	case approvals.StateDenied:
		verb = "was denied"
	case approvals.StateExpired:
		verb = "waited too long for approval"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s %s.\n", address(r), bot.Code("/"+r.Command, 300), verb)
	if r.Reason != "" {
		b.WriteString("\n" + reasonText(r.Reason) + "\n")
	}
	if r.State == approvals.StateFailed {
		fmt.Fprintf(&b, "\n%s shows the log, %s asks for the same again.", s.typed(repo, number, r.Order.Env, bot.VerbLogs), bot.Code("/"+bot.VerbRetry+" "+r.ID, 60))
	}
	return b.String()
}

// reasonText is a reason for people: its first line as a sentence, and what
// follows, such as a pod's last words, as it is.
func reasonText(reason string) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(reason), "\n")
	text := prose(first, 1000)
	if rest = strings.Trim(rest, "\n"); rest != "" {
		text += "\n\n" + bot.Block(middleCut(rest, 6000), "")
	}
	return text
}

// prose is a sentence of ours that may hold what others wrote: what stands
// between backticks stays code, the rest is escaped.
func prose(s string, most int) string {
	s = clip(s, most)
	parts := strings.Split(s, "`")
	if len(parts)%2 == 0 {
		return bot.Escape(s, most)
	}
	var b strings.Builder
	for i, part := range parts {
		switch {
		case i%2 == 1:
			b.WriteString(bot.Code(part, most))
		case part != "":
			// Escape trims, and is careful with how a line begins.
			lead, trail := part[:len(part)-len(strings.TrimLeft(part, " "))], part[len(strings.TrimRight(part, " ")):]
			b.WriteString(lead + bot.Escape(part, most))
			if strings.TrimSpace(part) != "" {
				b.WriteString(trail)
			}
		}
	}
	return b.String()
}

// sweep finds, every minute and in one replica, what nobody told of.
func (s *Surface) sweep(ctx context.Context) {
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "environments could not be compared with what is shown", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Surface) sweepOnce(ctx context.Context) error {
	mine, err := s.rdb.SetNX(ctx, keyLease("sweep"), s.replica, sweepEvery-time.Second).Result()
	if err != nil || !mine {
		return err
	}
	shown, err := s.rdb.HGetAll(ctx, keyShown).Result()
	if err != nil {
		return err
	}
	late, err := s.rdb.SUnion(ctx, keyAwaiting, keyAsking).Result()
	if err != nil {
		return err
	}
	unasked, err := s.unasked(ctx)
	if err != nil {
		return err
	}
	late = append(late, unasked...)
	for cursor := ""; ; {
		page, next, err := s.store.Environments(ctx, actions.EnvFilter{Cursor: cursor, Limit: 500})
		if err != nil {
			return err
		}
		for _, env := range page {
			name := env.Name.String()
			revision, known := shown[name]
			delete(shown, name)
			if !known || revision != strconv.FormatInt(env.Revision, 10) {
				late = append(late, name)
			}
		}
		if next == "" {
			break
		}
		cursor = next
	}
	for name := range shown { // it has left the list, so it is gone
		late = append(late, name)
	}
	return s.markLate(ctx, late)
}

// unasked are the environments of requests that wait for decisions and have no
// card: those that came while nobody followed. It looks at the newest.
func (s *Surface) unasked(ctx context.Context) (late []string, err error) {
	cursor := ""
	for range maxPages / 2 {
		page, next, err := s.requests.List(ctx, approvals.Filter{State: approvals.StatePending, Cursor: cursor, Limit: 200})
		if err != nil {
			return nil, err
		}
		known := make([]*redis.IntCmd, len(page))
		if _, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, r := range page {
				known[i] = pipe.Exists(ctx, keyCard(r.ID))
			}
			return nil
		}); err != nil {
			return nil, err
		}
		for i, r := range page {
			here := r.Order.Env.PullRequest() > 0 || r.Order.PullRequest > 0 || r.Place.Surface == "github"
			if here && known[i].Val() == 0 {
				late = append(late, r.Order.Env.String())
			}
		}
		if cursor = next; next == "" {
			break
		}
	}
	return late, nil
}

func (s *Surface) markLate(ctx context.Context, late []string) error {
	if len(late) == 0 {
		return nil
	}
	slices.Sort(late)
	_, err := s.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range slices.Compact(late) {
			s.due.Mark(ctx, pipe, name, s.now())
		}
		return nil
	})
	s.due.Nudge()
	return err
}
