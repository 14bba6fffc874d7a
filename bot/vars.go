package bot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
)

// Variable is a variable of an environment, as its next deploy would get it.
type Variable struct {
	Name   string
	Value  string    // Hidden where it may not be told
	Told   bool      // whoever asks may know the value
	Secret string    // the secret that it stands for, by the name that the config gives it
	By     string    // who set it for this environment; "" means that it is the app's
	At     time.Time // when that was
	Next   bool      // it was set after what runs was deployed, and counts from the next deploy on
}

// MaySet tells whether somebody may set and unset variables of app's
// environments, and so read them.
func MaySet(actor Actor, app *actions.App) bool {
	if app == nil || len(app.SetRoles) == 0 {
		return slices.ContainsFunc(actor.Roles, func(role string) bool { return role != RoleViewer })
	}
	return slices.ContainsFunc(actor.Roles, func(role string) bool { return slices.Contains(app.SetRoles, role) })
}

// Variables are the variables of an environment, sorted by name. Values are told
// to those alone who may set them.
func (s *Service) Variables(ctx context.Context, actor Actor, env *actions.Environment) ([]Variable, error) {
	actor, err := s.identify(ctx, actor)
	if err != nil {
		return nil, err
	}
	since, _, err := s.inForce(ctx, env.Name)
	if err != nil {
		return nil, err
	}
	app := s.App(env.Name.App)
	return variables(app, env, since, MaySet(actor, app)), nil
}

// inForce says whose variables run: since is when the run began that took them up,
// zero when none is known, and revision, when it is not 0, is the earlier one whose
// variables a rollback brought back.
func (s *Service) inForce(ctx context.Context, env actions.Name) (since time.Time, revision int, err error) {
	past, err := s.store.History(ctx, env, actions.HistoryKept)
	if err != nil {
		return time.Time{}, 0, err
	}
	back := 0 // the revision whose content runs, where it is not the one that is looked at
	for _, e := range past {
		if e.State != actions.RunSucceeded || (back > 0 && e.Revision != back) {
			continue
		}
		switch {
		case e.Verb == actions.VerbDeploy || e.Verb == actions.VerbRestore && e.Ref != "":
			return e.StartedAt, revision, nil
		case e.Verb == actions.VerbRestore:
			back = 0 // exactly what was there before it
		case e.Verb == actions.VerbRollback:
			back, revision = e.Back, e.Back
		}
	}
	return time.Time{}, revision, nil
}

func variables(app *actions.App, env *actions.Environment, since time.Time, told bool) []Variable {
	value := func(v string) string {
		if told {
			return v
		}
		return Hidden
	}
	all := map[string]Variable{}
	if app != nil {
		for name, v := range app.Vars {
			all[name] = Variable{Name: name, Value: value(v), Told: told}
		}
		for name, ref := range app.Secrets {
			all[name] = Variable{Name: name, Secret: ref.Name}
		}
	}
	for name, o := range env.Overrides {
		v := Variable{Name: name, Secret: o.Secret, By: o.By, At: o.At, Told: told, Next: o.At.After(since)}
		if o.Secret == "" {
			v.Value = value(o.Value)
		}
		all[name] = v
	}
	out := make([]Variable, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out
}

// vars shows the variables of an environment. Where others read along, no value
// is shown.
func (s *Service) vars(ctx context.Context, in Input, c Command) (Reply, error) {
	app, name, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	env, err := s.existing(ctx, in, name)
	if err != nil {
		return Reply{}, err
	}
	since, revision, err := s.inForce(ctx, name)
	if err != nil {
		return Reply{}, err
	}
	all := variables(app, env, since, in.Private && MaySet(in.Actor, app))
	shown := Code(name.String(), 100)
	if len(all) == 0 {
		return Reply{Tone: ToneInfo, Environment: env, Text: shown + " has no variables. " + s.shown(in, VerbSet, name, "KEY=VALUE") + " sets one."}, nil
	}
	var b strings.Builder
	b.WriteString("Variables of " + shown + ":\n\n| variable | value | from |\n|---|---|---|")
	next := false
	for _, v := range all {
		text := Code(v.Value, 100)
		if v.Secret != "" {
			text = "secret " + Code(v.Secret, 63)
		}
		from := "the app's config"
		if v.By != "" {
			from = Escape(v.By, 80) + ", " + Moment(v.At)
		}
		if v.Next {
			from += "; counts from the next deploy on"
			next = true
		}
		fmt.Fprintf(&b, "\n| %s | %s | %s |", Code(v.Name, 128), orDash(text), from)
	}
	b.WriteString("\n\n")
	if revision > 0 {
		fmt.Fprintf(&b, "What runs was rolled back, and has the variables of revision %d; the next deploy takes those above. ", revision)
	}
	if next {
		b.WriteString(s.shown(in, string(actions.VerbDeploy), name) + " deploys it with them. ")
	}
	b.WriteString("`berth audit " + name.String() + "` in a terminal shows every change of them.")
	return Reply{Tone: ToneInfo, Environment: env, Text: b.String()}, nil
}

// setVars sets variables of an environment, or takes them back. One that arrives
// again changes nothing that others did since.
func (s *Service) setVars(ctx context.Context, in Input, c Command) (Reply, error) {
	app, name, err := s.target(in, c)
	if err != nil {
		return Reply{}, err
	}
	if err := maySet(in.Actor, app); err != nil {
		return Reply{}, err
	}
	env, err := s.existing(ctx, in, name)
	if err != nil {
		return Reply{}, err
	}
	again := false
	if in.Key != "" {
		if _, again, err = s.requests.Chosen(ctx, name, in.Key); err != nil {
			return Reply{}, err
		}
	}
	if !again {
		set, err := s.settable(in, app, env, c)
		if err != nil {
			return Reply{}, err
		}
		if env, err = s.store.SetVars(ctx, name, set, c.Unset, s.record(in, "environment.variables", c)); err != nil {
			return Reply{}, err
		}
		if in.Key != "" {
			if _, err := s.requests.Choose(ctx, name, in.Key, c.Verb); err != nil {
				return Reply{}, err
			}
		}
	}
	return Reply{Tone: ToneInfo, Environment: env, Text: s.wasSet(in, app, env, c)}, nil
}

// maySet refuses who may not set variables, and says which roles may.
func maySet(actor Actor, app *actions.App) error {
	if MaySet(actor, app) {
		return nil
	}
	return refusal(actions.CodeForbidden, "%s may not set variables of `%s`: it takes the role %s (`apps.%s.set_roles`). Somebody who has it can do it, or somebody who keeps Berth's config can give it under `actors`.",
		actor.who(), app.Name, codes(app.SetRoles, "or"), app.Name)
}

// settable is what a command sets, or why that cannot be.
func (s *Service) settable(in Input, app *actions.App, env *actions.Environment, c Command) (map[string]actions.Override, error) {
	if err := s.unlocked(in, env); err != nil {
		return nil, err
	}
	if _, offered := app.Offered[c.Secret]; c.Secret != "" && !offered {
		if len(app.Offered) == 0 {
			return nil, refusal(actions.CodeNotFound, "App `%s` offers no secrets. Somebody who keeps Berth's config can list some under `apps.%s.offer_secrets`.", app.Name, app.Name)
		}
		return nil, refusal(actions.CodeNotFound, "App `%s` offers no secret of that name; it offers %s.", app.Name, codes(offers(app), "and"))
	}
	for _, key := range c.Unset {
		if _, there := env.Overrides[key]; there {
			continue
		}
		if len(env.Overrides) == 0 {
			return nil, refusal(actions.CodeNotFound, "Nobody has set variables of %s, so there is none to take back; what the app's config gives stays.", Code(env.Name.String(), 100))
		}
		return nil, refusal(actions.CodeNotFound, "Nobody has set %s of %s, so nothing was done; what was set there is %s.",
			Code(key, 128), Code(env.Name.String(), 100), codes(slices.Sorted(maps.Keys(env.Overrides)), "and"))
	}
	set := make(map[string]actions.Override, len(c.Set))
	for key, value := range c.Set {
		set[key] = actions.Override{Value: value, Secret: c.Secret}
	}
	return set, nil
}

func offers(app *actions.App) []string { return slices.Sorted(maps.Keys(app.Offered)) }

// wasSet says what was done and when it counts. It repeats no value.
func (s *Service) wasSet(in Input, app *actions.App, env *actions.Environment, c Command) string {
	names := slices.Clone(c.Unset)
	for key := range c.Set {
		names = append(names, key)
	}
	slices.Sort(names)
	text := codes(names, "and") + " of " + Code(env.Name.String(), 100) + " " + isOrAre(names) + " "
	switch {
	case c.Verb == VerbUnset:
		text += "taken back: what the app's config gives counts again"
	case c.Secret != "":
		text += "set to the secret " + Code(c.Secret, 63)
	default:
		text += "set"
	}
	takes := ". It takes"
	if len(names) > 1 {
		takes = ". They take"
	}
	text += takes + " effect with the next deploy: " + s.shown(in, string(actions.VerbDeploy), env.Name) + "."
	if c.Verb == VerbUnset || c.Secret != "" || in.Private {
		return text
	}
	text += " Whoever reads this place can read the value that was typed here; for a secret there is " + in.code(VerbSet, "KEY", "--secret", "NAME")
	if len(app.Offered) > 0 {
		return text + ", and this app offers " + codes(offers(app), "and") + "."
	}
	return text + ", once somebody who keeps Berth's config offers some under `apps." + app.Name + ".offer_secrets`."
}
