package main

import (
	"fmt"
	"strings"
	"time"
)

// app is one of the apps that are deployed.
type app struct {
	name  string
	parts string // YAML
	needs int    // parts
	moves bool   // its version moves now and then
	// groups are whose agreement the config asks for before anything of the app
	// runs; none means nobody's.
	groups []group
}

// group are the approvers of whom so many must agree.
type group struct {
	count int
	role  string
}

// theApps are few, so that much happens in each.
var theApps = []app{
	{name: "shop", parts: "[{name: db, use: cloud}, {name: web, use: cloud, needs: [db]}]", needs: 2, moves: true},
	{name: "blog", parts: "[{name: left, use: cloud}, {name: right, use: cloud}]", needs: 2},
	{name: "bank", parts: "[{name: core, use: cloud}]", needs: 1, moves: true, groups: []group{{2, "sre"}}},
	{name: "vault", parts: "[{name: door, use: cloud}]", needs: 1, groups: []group{{1, "sre"}, {1, "db"}}},
}

// appNamed is the app of this name; one that there is not needs nothing.
func appNamed(name string) app {
	for _, a := range theApps {
		if a.name == name {
			return a
		}
	}
	return app{}
}

// apps is the config's section of that name.
func apps() string {
	var b strings.Builder
	for _, a := range theApps {
		fmt.Fprintf(&b, "  %s: {parts: %s}\n", a.name, a.parts)
	}
	return b.String()
}

// rules are the config's sections about people and what they must agree to.
func rules(within time.Duration) string {
	var b strings.Builder
	b.WriteString("actors:\n  - {name: sam, roles: [sre], identities: [\"token:sam\", \"token:sam-phone\"]}\npolicies:\n")
	for _, a := range theApps {
		if len(a.groups) == 0 {
			continue
		}
		var all []string
		for _, g := range a.groups {
			all = append(all, fmt.Sprintf("{count: %d, from: [\"role:%s\"]}", g.count, g.role))
		}
		fmt.Fprintf(&b, "  - name: %s-needs-people\n    when: app.name == %q\n    approve: {all: [%s], not_requester: true, within: %s, deny: veto}\n",
			a.name, a.name, strings.Join(all, ", "), within)
	}
	return b.String()
}

// personOf is who an account belongs to, as the config says.
func personOf(actor string) string {
	if actor == "sam-phone" {
		return "sam"
	}
	return actor
}

// rolesOf are the roles of a person's decisions, as the config says.
var rolesOf = map[string]string{"sam": "sre", "sue": "sre", "sky": "sre", "dee": "db", "dan": "db"}

// enough tells whether those who agreed are enough for an app of these groups,
// each person counting for one group only.
func enough(groups []group, agreed map[string]bool) bool {
	for _, g := range groups {
		n := 0
		for person := range agreed {
			if rolesOf[person] == g.role {
				n++
			}
		}
		if n < g.count {
			return false
		}
	}
	return true
}
