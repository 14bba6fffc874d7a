package bottest

import (
	"github.com/berth-dev/berth/approvals/people"
	"github.com/berth-dev/berth/approvals/policy"
)

// The words of people and rules, for tests of packages that do not know them.
type (
	// Actor is a person of the config.
	Actor = people.Actor
	// Rule is a rule of the policies.
	Rule = policy.Rule
	// Approve is what a rule asks for.
	Approve = policy.Approve
	// Need is so many people of some groups.
	Need = policy.Need
	// Groups knows who belongs to the groups of one prefix.
	Groups = policy.Groups
)

// Govern starts a worker that goes by rules, among people whom the config
// names. It ends with the test.
func (w *World) Govern(actors []Actor, rules ...Rule) {
	w.tb.Helper()
	w.GovernGroups(nil, actors, rules...)
}

// GovernGroups is Govern where rules name groups that others know, by prefix.
func (w *World) GovernGroups(groups map[string]Groups, actors []Actor, rules ...Rule) {
	w.tb.Helper()
	w.People.Reload(actors, nil)
	engine, err := policy.New(policy.Options{Rules: rules, Groups: groups, People: w.People, Apps: w.Catalog, Environments: w.Store, Requests: w.Requests})
	if err != nil {
		w.tb.Fatal(err)
	}
	w.WorkBy(engine)
}
