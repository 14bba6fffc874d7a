package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/command"
	"github.com/berth-dev/berth/configs"
)

// policyCases is a file of `berth policy test`.
type policyCases struct {
	Now    configs.Time        `yaml:"now"`    // of cases that do not say another
	People []configs.Actor     `yaml:"people"` // besides the config's actors, or in place of those of the same name
	Groups map[string][]string `yaml:"groups"` // who belongs to teams and to the owners of code
	Cases  []policyCase        `yaml:"cases"`
}

// policyCase is a request and what is to become of it.
type policyCase struct {
	Name    string       `yaml:"name"`
	As      string       `yaml:"as"`      // who asks: a name, or an account such as github:zoe
	Command string       `yaml:"command"` // as it is typed
	Now     configs.Time `yaml:"now"`

	Surface      string              `yaml:"surface"`   // cli when empty
	Automatic    bool                `yaml:"automatic"` // Berth made it by itself, for a pull request
	People       []configs.Actor     `yaml:"people"`
	Groups       map[string][]string `yaml:"groups"`
	Unseen       []string            `yaml:"unseen"` // groups that cannot be asked
	Environments []caseEnvironment   `yaml:"environments"`
	Plan         casePlan            `yaml:"plan"`
	Waited       configs.Duration    `yaml:"waited"` // since the plan was made
	Decisions    []caseDecision      `yaml:"decisions"`
	Want         caseWant            `yaml:"want"`
}

// caseEnvironment is an environment that there is. The command's own target is
// there when it is among them.
type caseEnvironment struct {
	Name        string           `yaml:"name"`  // app/name
	State       string           `yaml:"state"` // Running when empty
	Owner       string           `yaml:"owner"`
	PullRequest int              `yaml:"pull_request"`
	Commit      string           `yaml:"commit"`
	Sleeping    bool             `yaml:"sleeping"`
	Locked      bool             `yaml:"locked"`
	Age         configs.Duration `yaml:"age"`
	Idle        configs.Duration `yaml:"idle"`
	ExpiresIn   configs.Duration `yaml:"expires_in"` // never when empty
}

// casePlan is what the request would change.
type casePlan struct {
	Destructive bool           `yaml:"destructive"`
	Parts       []casePart     `yaml:"parts"` // the app's when empty
	Resources   []caseResource `yaml:"resources"`
	Added       int            `yaml:"added"`
	Removed     int            `yaml:"removed"`
	Commit      caseCommit     `yaml:"commit"`
}

type casePart struct {
	Name        string `yaml:"name"`
	Use         string `yaml:"use"`
	Destructive bool   `yaml:"destructive"`
	Summary     string `yaml:"summary"`
	Cost        string `yaml:"cost"`
}

type caseResource struct {
	Part        string `yaml:"part"`
	Kind        string `yaml:"kind"`
	Name        string `yaml:"name"`
	Namespace   string `yaml:"namespace"`
	Change      string `yaml:"change"`
	Destructive bool   `yaml:"destructive"`
}

type caseCommit struct {
	SHA     string `yaml:"sha"`
	Message string `yaml:"message"`
	Author  string `yaml:"author"`
	Fork    bool   `yaml:"fork"`
}

// caseDecision is what somebody said.
type caseDecision struct {
	By         string           `yaml:"by"`
	Verdict    string           `yaml:"verdict"` // approve when empty
	After      configs.Duration `yaml:"after"`   // so long after the plan was made
	Reason     string           `yaml:"reason"`
	BreakGlass bool             `yaml:"break_glass"`
}

// caseWant is what is expected; what it does not name may be anything.
type caseWant struct {
	Effect   string   `yaml:"effect"`
	Rules    []string `yaml:"rules"`     // all that match, in any order
	Missing  *int     `yaml:"missing"`   // so many approvals more
	Reason   string   `yaml:"reason"`    // within what people are told
	Ignored  []string `yaml:"ignored"`   // whose decisions do not count for some rule
	BrokenBy string   `yaml:"broken_by"` // who set a rule aside
	Error    string   `yaml:"error"`     // within why it cannot be told, in place of an effect
}

// readCases reads a file of cases. Its faults are all that is wrong with it.
func readCases(raw []byte, cfg *configs.Config, apps *catalog) (*policyCases, error) {
	file := &policyCases{}
	err := configs.Read(raw, file, func() configs.Faults { return file.check(cfg, apps) })
	if err != nil {
		return nil, err
	}
	return file, nil
}

// check finds what the types alone do not say.
func (f *policyCases) check(cfg *configs.Config, apps *catalog) configs.Faults {
	var faults configs.Faults
	fault := func(path, format string, args ...any) {
		faults = append(faults, configs.Fault{Path: path, Msg: fmt.Sprintf(format, args...)})
	}
	if len(f.Cases) == 0 {
		fault("cases", "there is no case; write {name: …, as: ana, command: deploy shop/pr-1, want: {effect: release}}")
	}
	first := map[string]int{}
	for i := range f.Cases {
		c, path := &f.Cases[i], fmt.Sprintf("cases[%d]", i)
		if other, taken := first[c.Name]; c.Name == "" {
			fault(path+".name", "a case needs a name: a sentence that says what is to be")
		} else if taken {
			fault(path+".name", "cases[%d] has this name too", other)
		}
		first[c.Name] = i
		if c.Now.IsZero() && f.Now.IsZero() {
			fault(path+".now", "say what time it is, here or for all cases at the top: now: 2026-11-18T10:00:00Z")
		}
		c.checkCommand(path, apps, fault)
		c.checkPeople(path, f.peopleOf(cfg, c), fault)
		c.checkFacts(path, fault)
		c.Want.check(path+".want", cfg, fault)
	}
	return faults
}

type faultFunc func(path, format string, args ...any)

func (c *policyCase) checkCommand(path string, apps *catalog, fault faultFunc) {
	if c.Command == "" {
		fault(path+".command", "say what is asked for, as it is typed: deploy shop/pr-1")
		return
	}
	cmd, err := command.Parse(c.Command)
	if err != nil {
		fault(path+".command", "%s", actions.Message(err))
		return
	}
	if _, err := actions.ParseVerb(cmd.Verb); err != nil {
		fault(path+".command", "policies are about actions (deploy, cleanup, …), and %s is none", cmd.Verb)
	} else if cmd.App == "" || cmd.Env == "" {
		fault(path+".command", "name the environment, as in %s shop/pr-1", cmd.Verb)
	} else if _, err := apps.App(cmd.App); err != nil {
		fault(path+".command", "%s", actions.Message(err))
	}
}

// checkPeople finds names that nobody has.
func (c *policyCase) checkPeople(path string, people []configs.Actor, fault faultFunc) {
	who := func(path, name string) {
		if name == "" {
			fault(path, "say who: a name, or an account such as github:zoe")
		} else if !strings.Contains(name, ":") && !slices.ContainsFunc(people, func(a configs.Actor) bool { return a.Name == name }) {
			var names []string
			for _, a := range people {
				names = append(names, a.Name)
			}
			text := "name them under people, or write an account such as github:" + name
			if near := bot.Nearest(name, names); near != "" {
				text = fmt.Sprintf("did you mean %s?", near)
			}
			fault(path, "there is nobody called %s; %s", name, text)
		}
	}
	who(path+".as", c.As)
	for j, d := range c.Decisions {
		at := fmt.Sprintf("%s.decisions[%d]", path, j)
		who(at+".by", d.By)
		if d.Verdict != "" && d.Verdict != string(approvals.Approve) && d.Verdict != string(approvals.Deny) {
			fault(at+".verdict", "%q is not one of approve, deny", d.Verdict)
		}
		if d.BreakGlass && d.Reason == "" {
			fault(at+".reason", "breaking the glass needs a reason")
		}
	}
	for j, env := range c.Environments {
		if env.Owner != "" {
			who(fmt.Sprintf("%s.environments[%d].owner", path, j), env.Owner)
		}
	}
}

func (c *policyCase) checkFacts(path string, fault faultFunc) {
	for j, env := range c.Environments {
		at := fmt.Sprintf("%s.environments[%d]", path, j)
		if _, err := actions.ParseName(env.Name); err != nil {
			fault(at+".name", "%s", actions.Message(err))
		}
		if states := environmentStates(); env.State != "" && !slices.Contains(states, env.State) {
			fault(at+".state", "%q is not one of %s", env.State, strings.Join(states, ", "))
		}
		if time.Duration(env.Idle) > time.Duration(env.Age) {
			fault(at+".idle", "it is idle for longer than it is there; say its age")
		}
	}
	for j, r := range c.Plan.Resources {
		if changes := []string{actions.ResourceCreate, actions.ResourceUpdate, actions.ResourceDelete}; !slices.Contains(changes, r.Change) {
			fault(fmt.Sprintf("%s.plan.resources[%d].change", path, j), "%q is not one of %s", r.Change, strings.Join(changes, ", "))
		}
	}
}

func environmentStates() []string {
	var all []string
	for _, s := range []actions.State{
		actions.StateCreatePending, actions.StateUpdatePending, actions.StateRunning, actions.StateFailure, actions.StateArchivePending,
		actions.StateArchived, actions.StateRestorePending, actions.StateCleanupPending, actions.StateCleaned,
	} {
		all = append(all, string(s))
	}
	return all
}

// check finds expectations that can never be met.
func (w caseWant) check(path string, cfg *configs.Config, fault faultFunc) {
	effects := []string{
		string(approvals.EffectRelease), string(approvals.EffectApprove), string(approvals.EffectExpire), string(approvals.EffectDeny), string(approvals.EffectRefuse),
	}
	switch {
	case w.Error != "" && w.Effect != "":
		fault(path+".error", "a request that fails has no effect; keep one of both")
	case w.Error == "" && !slices.Contains(effects, w.Effect):
		fault(path+".effect", "%q is not one of %s", w.Effect, strings.Join(effects, ", "))
	}
	known := map[string]bool{}
	for _, p := range cfg.Policies {
		known[p.Name] = true
	}
	for i, name := range w.Rules {
		if !known[name] {
			names := slices.Sorted(maps.Keys(known))
			text := "there are: " + strings.Join(names, ", ")
			if near := bot.Nearest(name, names); near != "" {
				text = fmt.Sprintf("did you mean %s?", near)
			}
			fault(fmt.Sprintf("%s.rules[%d]", path, i), "the config has no rule %s; %s", name, text)
		}
	}
}

// peopleOf are everybody whom a case can name: its own people before the file's
// before the config's.
func (f *policyCases) peopleOf(cfg *configs.Config, c *policyCase) []configs.Actor {
	var all []configs.Actor
	add := func(a configs.Actor) {
		if !slices.ContainsFunc(all, func(b configs.Actor) bool { return a.Name == b.Name }) {
			all = append(all, a)
		}
	}
	for _, list := range [][]configs.Actor{c.People, f.People, cfg.Actors} {
		for _, a := range list {
			add(a)
		}
	}
	for _, token := range cfg.Tokens {
		at := slices.IndexFunc(all, func(a configs.Actor) bool { return a.Name == token.Actor })
		if at < 0 {
			all = append(all, configs.Actor{Name: token.Actor, Roles: token.Roles})
		} else if at >= len(c.People)+len(f.People) {
			all[at].Roles = append(slices.Clone(all[at].Roles), token.Roles...)
		}
	}
	return all
}
