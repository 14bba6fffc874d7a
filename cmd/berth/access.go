package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/approvals/policy"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/configs"
)

// accessPatience bounds how long somebody else is asked who is in which group, of
// all people together. What is not known by then is named as not seen.
const accessPatience = 15 * time.Second

// access tells who can do what by the config that is in force. Groups that only
// somebody else knows are asked about each person.
func (s *server) access(ctx context.Context) (*bot.Access, error) {
	asking, cancel := context.WithTimeout(ctx, accessPatience)
	defer cancel()
	cfg := s.config.now()
	out := &bot.Access{People: []bot.AccessPerson{}}
	rules := policyRules(cfg)
	for _, rule := range rules {
		if rule.Approve != nil {
			out.Rules = append(out.Rules, bot.AccessRule{Rule: rule.Name, When: rule.When, From: askedBy(rule), BreakGlass: rule.BreakGlass})
		}
	}
	for _, name := range namesOf(cfg) {
		person, err := s.people.Person(ctx, "actor:"+name)
		if err != nil {
			return nil, err
		}
		row := bot.AccessPerson{Name: name, Roles: person.Roles, Identities: person.Identities, May: bot.May(person.Roles)}
		row.Identities = slices.DeleteFunc(row.Identities, func(id string) bool { return strings.HasPrefix(id, "actor:") })
		in := s.membership(asking, person, &row)
		for _, rule := range rules {
			if slices.ContainsFunc(askedBy(rule), in) {
				row.Decides = append(row.Decides, rule.Name)
			}
			if slices.ContainsFunc(rule.BreakGlass, in) {
				row.BreaksGlass = append(row.BreaksGlass, rule.Name)
			}
		}
		out.People = append(out.People, row)
	}
	others(cfg, out)
	return out, nil
}

// membership tells whether a person is in a group, and asks about each once. What
// could not be seen is noted in row.
func (s *server) membership(ctx context.Context, person approvals.Person, row *bot.AccessPerson) func(group string) bool {
	known := map[string]bool{}
	groups := s.groups()
	return func(group string) bool {
		if in, ok := known[group]; ok {
			return in
		}
		kind, name, _ := strings.Cut(group, ":")
		in := false
		switch asked := groups[kind]; {
		case kind == "role":
			in = slices.Contains(person.Roles, name)
		case kind == "actor":
			in = person.Name == name
		case kind == "codeowners", asked == nil: // it depends on what a request changes
		default:
			var err error
			if in, err = asked.Member(ctx, name, nil, person); err != nil {
				s.log.DebugContext(ctx, "a group could not be seen", "group", group, "actor", person.Name, "error", err)
				row.Unseen = append(row.Unseen, group)
			}
		}
		known[group] = in
		return in
	}
}

// askedBy are the groups that a rule asks, those that it escalates to among them.
func askedBy(rule policy.Rule) (groups []string) {
	if rule.Approve == nil {
		return nil
	}
	for _, need := range rule.Approve.Needs {
		groups = append(groups, need.From...)
	}
	if rule.Approve.Escalate != nil {
		groups = append(groups, rule.Approve.Escalate.To...)
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}

// namesOf are all whom the config names, as actors or by their tokens.
func namesOf(cfg *configs.Config) []string {
	names := map[string]bool{}
	for _, a := range cfg.Actors {
		names[a.Name] = true
	}
	for _, t := range cfg.Tokens {
		names[t.Actor] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// others are those who may do something because of where they are.
func others(cfg *configs.Config, out *bot.Access) {
	if g := cfg.GitHub; g != nil {
		for _, name := range slices.Sorted(maps.Keys(cfg.Apps)) {
			if repo := cfg.Apps[name].Repo; repo != "" {
				out.Others = append(out.Others, bot.AccessOthers{Where: "github", Who: fmt.Sprintf("whoever has %s access to %s, on its pull requests (app %s)", g.Permission, repo, name), May: bot.MayAct})
			}
		}
	}
	chat := func(where string, guests []string, channels map[string]configs.Channel) {
		out.Others = append(out.Others, bot.AccessOthers{Where: where, Who: "everybody else", Roles: guests, May: bot.May(guests)})
		for _, id := range slices.Sorted(maps.Keys(channels)) {
			out.Channels = append(out.Channels, bot.AccessChannel{Where: where, Channel: id, Apps: channels[id].Apps, Verbs: channels[id].Verbs})
		}
	}
	if c := cfg.Slack; c != nil {
		chat(bot.PlatformSlack, c.Guests, c.Channels)
	}
	if c := cfg.Discord; c != nil {
		chat(bot.PlatformDiscord, c.Guests, c.Channels)
	}
}

// newAccess is `berth access`.
func newAccess() *cobra.Command {
	cmd := withOutput(&cobra.Command{
		Use: "access", Short: "Say who can do what: people, their accounts and roles, and what everybody else may",
		Long: "Say who can do what: the people of the config with the accounts that they linked, what their roles let them do, whose word\n" +
			"counts in which rule, what everybody else may, and what channels are for. `-o json` exports all of it.",
		Args: arguments(0, 0),
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		server, err := client(cmd)
		if err != nil {
			return err
		}
		found, err := server.Access(cmd.Context())
		if err != nil {
			return err
		}
		return show(cmd, found, func(w io.Writer) { accessTable(w, found) })
	}
	return cmd
}

func accessTable(w io.Writer, a *bot.Access) {
	list := func(words []string) string {
		if len(words) == 0 {
			return "–"
		}
		return strings.Join(words, ", ")
	}
	rows := [][]string{{"WHO", "ROLES", "MAY", "DECIDES", "BREAKS GLASS", "ACCOUNTS"}}
	for _, p := range a.People {
		decides := list(p.Decides)
		if len(p.Unseen) > 0 {
			decides += " (could not see " + strings.Join(p.Unseen, ", ") + ")"
		}
		rows = append(rows, []string{p.Name, list(p.Roles), p.May, decides, list(p.BreaksGlass), list(p.Identities)})
	}
	for _, o := range a.Others {
		rows = append(rows, []string{o.Who + " (" + o.Where + ")", list(o.Roles), o.May, "–", "–", "–"})
	}
	table(w, rows)
	if len(a.Rules) > 0 {
		rows = [][]string{{"RULE", "ASKS", "GLASS BROKEN BY", "WHEN"}}
		for _, r := range a.Rules {
			rows = append(rows, []string{r.Rule, list(r.From), list(r.BreakGlass), cmp.Or(r.When, "always")})
		}
		fmt.Fprintln(w)
		table(w, rows)
	}
	if len(a.Channels) > 0 {
		rows = [][]string{{"CHANNEL", "ON", "REACHES", "MAY BE ASKED"}}
		for _, c := range a.Channels {
			apps, verbs := "all apps", "everything"
			if len(c.Apps) > 0 {
				apps = list(c.Apps)
			}
			if len(c.Verbs) > 0 {
				verbs = list(c.Verbs)
			}
			rows = append(rows, []string{c.Channel, c.Where, apps, verbs})
		}
		fmt.Fprintln(w)
		table(w, rows)
	}
}
