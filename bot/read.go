package bot

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
)

// listMost is how many environments a list shows at once.
const listMost = 50

// list lists the environments there are; on a pull request those of its
// repository's apps.
func (s *Service) list(ctx context.Context, in Input, c Command) (Reply, error) {
	apps := []string{c.App}
	switch {
	case c.App != "":
		app, err := s.app(c.App)
		if err != nil {
			return Reply{}, err
		}
		if err := in.reach(app.Name); err != nil {
			return Reply{}, err
		}
		if in.Repo != "" && !strings.EqualFold(app.Repo, in.Repo) {
			_, _, err := s.target(in, c)
			return Reply{}, err
		}
	case len(in.Apps) > 0:
		apps = in.Apps
	case in.Repo != "":
		apps = nil
		for _, app := range s.appsOf(in.Repo) {
			apps = append(apps, app.Name)
		}
	}
	var found []*actions.Environment
	more := false
	for _, app := range apps {
		envs, cut, err := s.some(ctx, app, listMost-len(found))
		if err != nil {
			return Reply{}, err
		}
		found, more = append(found, envs...), more || cut
	}
	if len(found) == 0 {
		of := ""
		if c.App != "" {
			of = " of app " + Code(c.App, 60)
		}
		return info("There is no environment%s. %s makes one.", of, in.code("deploy", "app/name")), nil
	}
	var b strings.Builder
	b.WriteString("| environment | state | commit | expires | address |\n|---|---|---|---|---|")
	for _, env := range found {
		address := "–"
		if env.URL != "" {
			address = Link(actions.Link{URL: env.URL})
		}
		fmt.Fprintf(&b, "\n| %s | %s | %s | %s | %s |", Escape(env.Name.String(), 100), StateText(env), orDash(Code(Short(env.Commit.SHA), 40)),
			s.expiresIn(env), address)
	}
	if more {
		fmt.Fprintf(&b, "\n\nThese are the first %d; %s shows one app's.", listMost, in.code(VerbList, "app"))
	}
	return Reply{Tone: ToneInfo, Text: b.String(), Environments: found}, nil
}

// some are up to most environments of an app that are not gone, and whether
// there are more.
func (s *Service) some(ctx context.Context, app string, most int) (found []*actions.Environment, more bool, err error) {
	filter := actions.EnvFilter{App: app, Limit: 100}
	for {
		page, next, err := s.store.Environments(ctx, filter)
		if err != nil {
			return nil, false, err
		}
		for _, env := range page {
			if env.State == actions.StateCleaned {
				continue
			}
			if len(found) == most {
				return found, true, nil
			}
			found = append(found, env)
		}
		if next == "" {
			return found, false, nil
		}
		filter.Cursor = next
	}
}

// StateText is an environment's state with what else marks it, such as
// "Running, locked, last deploy failed".
func StateText(env *actions.Environment) string {
	text := string(env.State)
	if env.Sleeping {
		text += ", sleeping"
	}
	if env.Lock != nil {
		text += ", locked"
	}
	if last := env.LastAction; last != nil && last.State == actions.RunFailed && env.State != actions.StateFailure {
		text += ", last " + string(last.Verb) + " failed"
	}
	for _, part := range env.Parts {
		if len(part.Drift) > 0 {
			return text + ", drifted"
		}
	}
	return text
}

func (s *Service) expiresIn(env *actions.Environment) string {
	switch left := env.ExpiresAt.Sub(s.now()); {
	case env.Keep:
		return "kept"
	case env.ExpiresAt.IsZero():
		return "never"
	case left <= 0:
		return "due"
	default:
		return "in " + Span(left)
	}
}

// Limits of what one reply shows of something long. The whole is in the API.
const (
	logLines   = 60
	logEvents  = 20_000 // events read of a run at most; older ones are skipped over
	eventsPage = 500
	diffBytes  = 24_000
)

// logs shows the end of a run's log.
func (s *Service) logs(ctx context.Context, in Input, c Command) (Reply, error) {
	if c.Printed != nil {
		return s.printed(ctx, in, c)
	}
	run, reply, err := s.lastRun(ctx, in, c)
	if err != nil || run == nil {
		return reply, err
	}
	lines, total, err := s.tail(ctx, run.ID)
	if err != nil {
		return Reply{}, err
	}
	title := fmt.Sprintf("Run `%s`: %s %s by %s, %s.", run.ID, run.Order.Verb, Code(run.Order.Env.String(), 100), Escape(run.Order.By, 80), runState(run))
	if total == 0 {
		return info("%s\n\nNothing is in its log yet.", title), nil
	}
	if total > len(lines) {
		title += fmt.Sprintf(" The last %d of %d lines; `berth logs %s` in a terminal shows all.", len(lines), total, run.ID)
	}
	return info("%s\n\n%s", title, Block(strings.Join(lines, "\n"), "")), nil
}

// lastRun is the run that logs is about, or the reply that says why there is
// none.
func (s *Service) lastRun(ctx context.Context, in Input, c Command) (*actions.Run, Reply, error) {
	if c.ID != "" {
		r, err := s.find(ctx, in, c.ID)
		if err != nil {
			return nil, Reply{}, err
		}
		if r.RunID == "" {
			return nil, info("Request `%s` (%s) has not run: it is %s.", r.ID, command(r), requestState(r)), nil
		}
		run, err := s.store.Run(ctx, r.RunID)
		if isNotFound(err) && !r.State.Ended() { // its id is older than its record, by a moment
			return nil, info("Request `%s` (%s) is just beginning to run; nothing is in its log yet.", r.ID, command(r)), nil
		}
		return run, Reply{}, err
	}
	_, env, err := s.target(in, c)
	if err != nil {
		return nil, Reply{}, err
	}
	runs, err := s.store.Runs(ctx, env, 1)
	if err != nil && !isNotFound(err) {
		return nil, Reply{}, err
	}
	if len(runs) > 0 {
		return runs[0], Reply{}, nil
	}
	active, err := s.active(ctx, env)
	if err != nil {
		return nil, Reply{}, err
	}
	if len(active) > 0 {
		return nil, info("Nothing has run for %s yet.\n\n%s", Code(env.String(), 100), s.underWay(in, active)), nil
	}
	return nil, Reply{}, s.noEnvironment(ctx, in, env)
}

// tail is the end of a run's log, line by line, and how many lines it has.
func (s *Service) tail(ctx context.Context, runID string) (lines []string, total int, err error) {
	for after, read := "", 0; read < logEvents; {
		events, err := s.store.Events(ctx, runID, after, eventsPage, 0)
		if err != nil {
			return nil, 0, err
		}
		for _, e := range events {
			line := EventLine(e)
			if line == "" {
				continue
			}
			total++
			if lines = append(lines, line); len(lines) > 2*logLines {
				lines = append(lines[:0], lines[len(lines)-logLines:]...)
			}
		}
		if len(events) < eventsPage {
			break
		}
		after, read = events[len(events)-1].ID, read+len(events)
	}
	return lines[max(0, len(lines)-logLines):], total, nil
}

// EventLine is an event as a line of a log, without its time; "" for one that
// says nothing to people.
func EventLine(e actions.Event) string {
	text := flat(e.Text)
	switch e.Kind {
	case actions.EventLog, actions.EventProgress, actions.EventReceipt:
		if text == "" {
			return ""
		}
	case actions.EventStep, actions.EventRun:
		what := e.State
		if text != "" {
			what += ": " + text
		}
		if text = what; text == "" {
			return ""
		}
	default:
		return ""
	}
	if e.Part != "" {
		return e.Part + ": " + text
	}
	return text
}

// diff shows a request's plan, or has one made: a deploy that ends once it is
// planned. How what runs differs from what was deployed is said besides.
func (s *Service) diff(ctx context.Context, in Input, c Command) (Reply, error) {
	if c.ID == "" {
		c.Verb, c.DryRun = string(actions.VerbDeploy), true
		reply, err := s.act(ctx, in, c)
		if err != nil {
			return reply, err
		}
		return s.withDrift(ctx, reply), nil
	}
	if c.Ref != "" || c.Cluster != "" || len(c.Set)+len(c.With) > 0 {
		return Reply{}, refusal(actions.CodeInvalid, "Request %s is what it is; flags go with a target, such as %s.",
			Code(c.ID, 40), in.code(VerbDiff, "shop/pr-42", "--ref", "main"))
	}
	r, err := s.find(ctx, in, c.ID)
	if err != nil {
		return Reply{}, err
	}
	if r.Plan == nil {
		return Reply{Tone: ToneInfo, Request: r, Text: "There is no plan of request `" + r.ID + "`: it is " + requestState(r) + "."}, nil
	}
	return s.withDrift(ctx, Reply{Tone: ToneInfo, Request: r, Text: "What " + command(r) + " changes (request `" + r.ID + "`):\n\n" + PlanText(r.Plan)}), nil
}

// withDrift adds to a reply how what runs differs from what was deployed. A reply
// that could be found is given even when that could not.
func (s *Service) withDrift(ctx context.Context, reply Reply) Reply {
	env, err := s.store.Environment(ctx, reply.Request.Order.Env)
	if err != nil || env.State == actions.StateCleaned || env.State == actions.StateArchived {
		return reply
	}
	if drift := DriftText(s.App(env.Name.App), env, s.Observe(ctx, env)); drift != "" {
		reply.Text += "\n\n" + drift
	}
	return reply
}

// PlanText is a plan in Markdown, its diffs cut to what a message can hold.
func PlanText(plan *actions.Plan) string {
	var b strings.Builder
	if plan.Destructive {
		b.WriteString("**This takes data away.**\n\n")
	}
	if plan.Summary != "" {
		b.WriteString(Escape(plan.Summary, 600) + "\n")
	}
	if plan.Order.Commit.SHA != "" {
		fmt.Fprintf(&b, "\nCommit %s %s\n", Code(Short(plan.Order.Commit.SHA), 40), Escape(plan.Order.Commit.Message, 120))
	}
	room := diffBytes
	for _, part := range plan.Parts {
		fmt.Fprintf(&b, "\n**%s** (%s): %s\n", Escape(part.Part, 60), Escape(part.Use, 60), Escape(part.Summary, 600))
		if part.Cost != "" {
			b.WriteString("\nCost: " + Escape(part.Cost, 300) + "\n")
		}
		if part.Provisional {
			b.WriteString("\nIt uses what another part has yet to tell, so this can still change.\n")
		}
		if part.Diff == "" {
			continue
		}
		shown, left := headAndTail(part.Diff, room)
		room -= len(shown)
		b.WriteString("\n" + Block(shown, "diff") + "\n")
		if left > 0 {
			fmt.Fprintf(&b, "\n%s left out in the middle; `berth diff` in a terminal shows all.\n", number(left, "line"))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// headAndTail cuts the middle out of a long text, by whole lines, and says how
// many lines that were.
func headAndTail(text string, room int) (string, int) {
	if room = max(room, 1000); len(text) <= room {
		return text, 0
	}
	lines := strings.Split(text, "\n")
	head, tail, size := 0, len(lines), 0
	for head < tail {
		if size += len(lines[head]) + 1; size > room*2/3 {
			break
		}
		head++
	}
	for tail > head {
		if size += len(lines[tail-1]) + 1; size > room {
			break
		}
		tail--
	}
	kept := append(append([]string{}, lines[:head]...), "…")
	return strings.Join(append(kept, lines[tail:]...), "\n"), tail - head
}

func runState(run *actions.Run) string {
	if run.EndedAt.IsZero() {
		return string(run.State)
	}
	return fmt.Sprintf("%s after %s", run.State, run.EndedAt.Sub(run.StartedAt).Round(time.Second))
}
