package api

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// nullable lets properties of s be null besides what they are.
func nullable(s *huma.Schema, names ...string) *huma.Schema {
	for _, name := range names {
		if p := s.Properties[name]; p != nil {
			s.Properties[name] = &huma.Schema{AnyOf: []*huma.Schema{p, {Type: "null"}}}
		}
	}
	return s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// toEnvironment shows an environment. app may be nil, when the config knows it
// no more; seen is what its parts look like now, nil when nobody looked.
func toEnvironment(app *actions.App, e *actions.Environment, seen map[string]actions.Observation) Environment {
	out := Environment{
		App: e.Name.App, Name: e.Name.Env, State: string(e.State), Commit: e.Commit.SHA, Message: e.Commit.Message, URL: e.URL, ExpiresAt: timeOrNull(e.ExpiresAt),
		Summary: strings.ReplaceAll(bot.Unescape(bot.Sentence(e)), "`", ""), Repo: e.Repo, PullRequest: e.PullRequest, Namespace: e.Namespace, Cluster: e.Cluster,
		Links: e.Links, Set: bot.Masked(e.Set), Sleeping: e.Sleeping, Lock: e.Lock, RunID: e.RunID, CreatedAt: e.CreatedAt.UTC(), UpdatedAt: e.UpdatedAt.UTC(),
		Parts: []Part{}, Deployed: e.Deployed, Components: toComponents(e.Components), Overrides: toOverrides(e.Overrides),
		UsedAt: timeOrNull(e.UsedAt), Keep: e.Keep, SleptBy: e.SleptBy,
	}
	if e.TTL > 0 {
		out.TTL = bot.FormatTTL(e.TTL)
	}
	if out.ExpiresAt != nil {
		out.OnExpiry = string(actions.VerbCleanup)
		if app != nil && app.OnExpiry != "" {
			out.OnExpiry = string(app.OnExpiry)
		}
	}
	if out.Links == nil {
		out.Links = []actions.Link{}
	}
	if l := e.LastAction; l != nil {
		out.LastAction = &LastAction{
			Verb: string(l.Verb), State: string(l.State), Commit: l.Commit.SHA, Error: l.Error, Left: l.Left, By: l.By, At: l.At.UTC(),
			RequestID: l.RequestID, RunID: l.RunID,
		}
	}
	for _, name := range bot.PartNames(app, e) {
		out.Parts = append(out.Parts, toPart(app, e, name, seen))
	}
	return out
}

func toPart(app *actions.App, e *actions.Environment, name string, seen map[string]actions.Observation) Part {
	status := e.Parts[name]
	p := Part{
		Name: name, Use: status.Use, State: status.State, Health: string(status.Health), Text: status.Text, Outputs: status.Outputs, At: timeOrNull(status.At),
	}
	if app != nil && p.Use == "" {
		configured, _ := app.Part(name)
		p.Use = configured.Use
	}
	if o, ok := seen[name]; ok {
		p.Health, p.Text, p.Facts, p.Renew = string(o.Health), o.Text, o.Facts, o.Renew
	}
	var when time.Time
	if p.Drift, when = bot.Drift(e, name, seen); len(p.Drift) > 0 {
		p.DriftAt = timeOrNull(when)
	}
	if p.Health == "" {
		p.Health = string(actions.Unknown)
	}
	return p
}

func toRequest(r *approvals.Request) Request {
	out := Request{
		ID: r.ID, State: string(r.State), Verb: string(r.Order.Verb), App: r.Order.Env.App, Environment: r.Order.Env.String(), Command: r.Command,
		Requester: r.Requester.Actor, Identity: r.Requester.Identity, Digest: r.Digest, Approvals: []Decision{}, RunID: r.RunID, CreatedAt: r.CreatedAt.UTC(),
		EndedAt: timeOrNull(r.EndedAt), Reason: r.Reason, Left: r.Left, Code: string(r.Code), Ref: r.Order.Ref, Commit: r.Order.Commit.SHA, Set: bot.Masked(r.Order.Set),
		DryRun: r.DryRun, Surface: r.Place.Surface, Place: r.Place.ID, Stopping: r.Stop != nil && !r.State.Ended(), UpdatedAt: r.UpdatedAt.UTC(), Plan: toPlan(r.Plan),
		With: r.Order.With, Cluster: r.Order.Cluster, To: r.Order.To, Keep: r.Order.Keep,
		Policy: toPolicy(r.Outcome), Glass: toGlass(r.Glass), Changed: r.Changed, RetryOf: r.RetryOf, RetriedAs: r.RetriedAs,
	}
	for _, d := range r.Decisions {
		out.Approvals = append(out.Approvals, Decision{
			Decision: string(d.Verdict), By: d.By.Actor, Identity: d.By.Identity, Reason: d.Reason, At: d.At.UTC(), Digest: d.Digest,
			Surface: d.Place.Surface, Glass: d.BreakGlass,
		})
	}
	return out
}

func toPlan(p *actions.Plan) *Plan {
	if p == nil {
		return nil
	}
	out := &Plan{
		Digest: p.Digest, Summary: p.Summary, Commit: p.Order.Commit.SHA, Namespace: p.Namespace, Destructive: p.Destructive,
		Components: toComponents(p.Order.Components),
		Parts:      p.Parts, MadeAt: p.MadeAt.UTC(),
	}
	if out.Parts == nil {
		out.Parts = []actions.PartPlan{}
	}
	return out
}

func toRun(r *actions.Run) Run {
	out := Run{
		ID: r.ID, RequestID: r.RequestID, App: r.Order.Env.App, Environment: r.Order.Env.String(), Verb: string(r.Order.Verb), State: string(r.State),
		Commit: r.Order.Commit.SHA, Digest: r.Digest, By: r.Order.By, Steps: r.Steps, Error: r.Error, Left: r.Left, Code: string(r.Code), Attempt: r.Attempt,
		Revision: r.Revision, Back: r.Back, StartedAt: r.StartedAt.UTC(), Deadline: timeOrNull(r.Deadline), EndedAt: timeOrNull(r.EndedAt),
	}
	if out.Steps == nil {
		out.Steps = []actions.StepRecord{}
	}
	return out
}

func toAction(r *actions.Run) Action {
	return Action{
		Verb: string(r.Order.Verb), State: string(r.State), Commit: r.Order.Commit.SHA, Error: r.Error, Left: r.Left, By: r.Order.By,
		Revision: r.Revision, Back: r.Back, RequestID: r.RequestID, RunID: r.ID, StartedAt: r.StartedAt.UTC(), EndedAt: timeOrNull(r.EndedAt),
	}
}

// toComponents are components sorted by name.
func toComponents(built map[string]actions.Built) []Component {
	var out []Component
	for _, name := range slices.Sorted(maps.Keys(built)) {
		b := built[name]
		out = append(out, Component{Name: name, Repo: b.Repo, PullRequest: b.PullRequest, Ref: b.Ref, Commit: b.Commit.SHA, Message: b.Commit.Message})
	}
	return out
}

func toOverrides(set map[string]actions.Override) []Override {
	var out []Override
	for _, name := range slices.Sorted(maps.Keys(set)) {
		out = append(out, Override{Name: name, Secret: set[name].Secret, By: set[name].By, At: set[name].At.UTC()})
	}
	return out
}

func toPast(env *actions.Environment, e actions.HistoryEntry) Past {
	return Past{
		RunID: e.RunID, RequestID: e.RequestID, Verb: string(e.Verb), State: string(e.State), Revision: e.Revision, Back: e.Back,
		Current: e.Revision > 0 && e.Revision == env.Deployed && bot.Serves(env), Commit: e.Commit.SHA, Message: e.Commit.Message,
		Ref: e.Ref, By: e.By, Error: e.Error, StartedAt: e.StartedAt.UTC(), EndedAt: timeOrNull(e.EndedAt), Kept: e.Kept,
	}
}

func toVariable(v bot.Variable) Variable {
	out := Variable{Name: v.Name, Secret: v.Secret, By: v.By, At: timeOrNull(v.At), Next: v.Next}
	if v.Secret == "" && v.Told {
		out.Value = &v.Value
	}
	return out
}

func toApp(a *actions.App) App {
	out := App{Name: a.Name, Repo: a.Repo, Parts: []string{}}
	if a.TTL > 0 {
		out.TTL = bot.FormatTTL(a.TTL)
	}
	for _, p := range a.Parts {
		out.Parts = append(out.Parts, p.Name)
	}
	for _, c := range a.Clusters {
		out.Clusters = append(out.Clusters, c.Name)
	}
	if len(out.Clusters) == 0 && a.Cluster.Name != "" {
		out.Clusters = []string{a.Cluster.Name}
	}
	out.Components, out.Secrets = slices.Sorted(maps.Keys(a.Components)), slices.Sorted(maps.Keys(a.Offered))
	return out
}
