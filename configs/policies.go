package configs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// mostPolicies, mostGroups and mostApprovers keep what every evaluation looks
	// at small. No config that people keep comes near.
	mostPolicies  = 200
	mostGroups    = 20
	mostApprovers = 20
	// maxWhen is the longest condition, in bytes.
	maxWhen = 8 << 10
	// maxWait is the longest that a request may wait for people.
	maxWait = 30 * 24 * time.Hour
	// minRemind keeps reminders from being noise.
	minRemind = time.Minute
	// maxWindow is the longest window that comes again.
	maxWindow = 366 * 24 * time.Hour
)

// groupPatterns are the groups of people that a rule can name, by prefix.
var groupPatterns = map[string]*regexp.Regexp{
	"role":        regexp.MustCompile(`^[^\s:]{1,64}$`),
	"actor":       regexp.MustCompile(`^\S{1,64}$`),
	"github-team": regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[a-z0-9][a-z0-9_-]{0,99}$`),
	"codeowners":  regexp.MustCompile(`^$`),
	// The id of a user group, after that of its workspace where it is another than
	// the one of slack.bot_token.
	"slack-group": regexp.MustCompile(`^([TE][A-Z0-9]{1,30}\.)?S[A-Z0-9]{1,30}$`),
	// The ids of a guild and of a role in it.
	"discord-role": regexp.MustCompile(`^[0-9]{1,20}/[0-9]{1,20}$`),
}

// groupExamples show how each is written.
var groupExamples = map[string]string{"role": "role:sre", "actor": "actor:ana", "github-team": "github-team:acme/ops", "codeowners": "codeowners",
	"slack-group": "slack-group:S0123", "discord-role": "discord-role:GUILD/ROLE, both by their ids"}

// policies checks all that needs no CEL; package approvals/policy checks what
// does, and the windows.
func (d *document) policies(c *Config) {
	if len(c.Policies) > mostPolicies {
		d.fault("policies", "there are %d rules, which is more than %d", len(c.Policies), mostPolicies)
	}
	first := map[string]int{}
	for i, p := range c.Policies {
		path := fmt.Sprintf("policies[%d]", i)
		switch other, taken := first[p.Name]; {
		case p.Name == "":
			d.fault(path+".name", "a rule needs a name, by which refusals and cards call it")
		case taken:
			d.fault(path+".name", "policies[%d] is called %s too", other, p.Name)
		default:
			first[p.Name] = i
			d.name(path+".name", p.Name)
		}
		if len(p.When) > maxWhen {
			d.fault(path+".when", "the condition is longer than %d KiB", maxWhen>>10)
		}
		d.effect(path, p)
		for j, w := range p.During {
			d.window(fmt.Sprintf("%s.during[%d]", path, j), w)
		}
		if q := p.Quota; q != nil {
			d.quota(path+".quota", *q)
		}
		if p.Approve != nil {
			d.approve(c, path+".approve", *p.Approve)
		}
		d.groups(c, path+".break_glass", p.BreakGlass)
	}
}

// effect checks that a rule does one thing.
func (d *document) effect(path string, p Policy) {
	var has []string
	for _, key := range []string{"refuse", "release", "quota", "approve"} {
		if _, written := d.lines[path+"."+key]; written {
			has = append(has, key)
		}
	}
	switch {
	case len(has) > 1:
		d.fault(path, "%s exclude each other; keep one, and make a rule of its own of each other", strings.Join(has, " and "))
	case len(has) == 0:
		d.fault(path, "a rule needs one of refuse, release, quota and approve")
	case has[0] == "refuse" && strings.TrimSpace(p.Refuse) == "":
		d.fault(path+".refuse", "say why it cannot be; whoever asked will read it")
	case has[0] == "release" && !p.Release:
		d.fault(path+".release", "this should be true; to hold requests back use approve or refuse")
	case has[0] == "quota" && p.Quota == nil:
		d.fault(path+".quota", "write {per: app, most: 10}")
	case has[0] == "approve" && p.Approve == nil:
		d.fault(path+".approve", "say who must agree: {from: [role:sre]}")
	}
	if p.Release && len(p.BreakGlass) > 0 {
		d.fault(path+".break_glass", "a rule that releases holds nothing back, so that there is no glass to break")
	}
}

func (d *document) quota(path string, q Quota) {
	if q.Per != "app" && q.Per != "actor" {
		d.fault(path+".per", "%q is not one of app, actor", q.Per)
	}
	if _, written := d.lines[path+".most"]; !written {
		d.fault(path+".most", "say how many environments there may be")
	}
	if q.Most < 0 {
		d.fault(path+".most", "this should be a whole number, 0 or more")
	}
}

func (d *document) window(path string, w Window) {
	repeats, once := w.Cron != "" || w.For != 0, !w.From.IsZero() || !w.Until.IsZero()
	switch {
	case repeats && once:
		d.fault(path, "cron and from exclude each other; make two windows of them")
	case !repeats && !once:
		d.fault(path, "a window is {cron: \"0 16 * * FRI\", for: 64h, time_zone: Europe/Berlin} or {from: 2026-12-24T00:00:00Z, until: 2027-01-02T00:00:00Z}")
	case repeats && w.Cron == "":
		d.fault(path+".cron", "say when the window begins, such as \"0 16 * * FRI\"")
	case repeats && (w.For <= 0 || time.Duration(w.For) > maxWindow):
		d.fault(path+".for", "say how long the window lasts: more than nothing, and %d days at most", int(maxWindow.Hours()/24))
	case once && w.TimeZone != "":
		d.fault(path+".time_zone", "from and until say their offset from UTC themselves; leave it out")
	case once && !w.From.IsZero() && !w.Until.IsZero() && !w.Until.After(w.From.Time):
		d.fault(path+".until", "the window ends before it begins")
	}
}

func (d *document) approve(c *Config, path string, a Approve) {
	switch {
	case len(a.All) > 0 && (len(a.From) > 0 || a.Count != 0):
		d.fault(path+".all", "all takes the place of count and from; keep one of both")
	case len(a.All) > mostGroups:
		d.fault(path+".all", "there are %d groups, which is more than %d", len(a.All), mostGroups)
	case len(a.All) > 0:
		for i, group := range a.All {
			at := fmt.Sprintf("%s.all[%d]", path, i)
			d.count(at+".count", group.Count)
			d.from(c, at, group.From)
			d.reachable(at, a, group.Count, group.From)
		}
	default:
		d.count(path+".count", a.Count)
		d.from(c, path, a.From)
		d.reachable(path, a, a.Count, a.From)
	}
	d.wait(path+".within", time.Duration(a.Within), time.Nanosecond)
	d.wait(path+".remind", time.Duration(a.Remind), minRemind)
	if e := a.Escalate; e != nil {
		if _, written := d.lines[path+".escalate.after"]; !written {
			d.fault(path+".escalate.after", "say after how long")
		}
		d.wait(path+".escalate.after", time.Duration(e.After), time.Nanosecond)
		within := time.Duration(a.Within)
		if within == 0 {
			within = DefaultWithin
		}
		if time.Duration(e.After) >= within {
			d.fault(path+".escalate.after", "the request has expired by then; let this be less than within, which is %s", within)
		}
		if len(e.To) == 0 {
			d.fault(path+".escalate.to", "say who may agree from then on, such as [role:lead]")
		}
		d.groups(c, path+".escalate.to", e.To)
	}
	if a.Deny != "" && a.Deny != "veto" && a.Deny != "majority" {
		d.fault(path+".deny", "%q is not one of veto, majority", a.Deny)
	}
}

// wait checks a length of time that may be absent.
func (d *document) wait(path string, wait, least time.Duration) {
	if _, written := d.lines[path]; written && (wait < least || wait > maxWait) {
		shortest := "more than nothing"
		if least >= minRemind {
			shortest = least.String() + " or more"
		}
		d.fault(path, "this should be %s, and %d days at most", shortest, int(maxWait.Hours()/24))
	}
}

func (d *document) count(path string, count int) {
	if _, written := d.lines[path]; written && (count < 1 || count > mostApprovers) {
		d.fault(path, "this is between 1 and %d", mostApprovers)
	}
}

// reachable finds a group that can never agree, since it names fewer people than
// it needs. How many others a role or a team has, the config does not say.
func (d *document) reachable(path string, a Approve, count int, from []string) {
	people := map[string]bool{}
	for _, who := range from {
		if !strings.HasPrefix(who, "actor:") {
			return
		}
		people[who] = true
	}
	if a.Escalate == nil && len(people) > 0 && count > len(people) {
		d.fault(path+".count", "%d must agree, and only %d can; nobody would ever get it", count, len(people))
	}
}

func (d *document) from(c *Config, path string, from []string) {
	if len(from) == 0 {
		d.fault(path+".from", "say who may agree, such as [role:sre]")
	}
	d.groups(c, path+".from", from)
}

// groups checks how groups of people are written, and that what they name is
// there as far as the config tells.
func (d *document) groups(c *Config, path string, groups []string) {
	if len(groups) > mostGroups {
		d.fault(path, "there are %d groups, which is more than %d", len(groups), mostGroups)
	}
	for i, group := range groups {
		if why := groupFault(c, group); why != "" {
			d.fault(fmt.Sprintf("%s[%d]", path, i), "%s", why)
		}
	}
}

// groupFault says what is wrong with a group, "" when nothing is.
func groupFault(c *Config, group string) string {
	prefix, rest, _ := strings.Cut(group, ":")
	pattern, known := groupPatterns[prefix]
	if !known {
		return fmt.Sprintf("%q is no group of people%s", group, nearPrefix(c, prefix))
	}
	if !pattern.MatchString(rest) || (prefix == "codeowners" && group != prefix) {
		return fmt.Sprintf("%q is not how this group is written; write %s", group, groupExamples[prefix])
	}
	roles, actors := named(c)
	switch prefix {
	case "role":
		if near := nearName(rest, roles); near != "" {
			return fmt.Sprintf("nobody has the role %q; did you mean %q?", rest, near)
		}
	case "actor":
		if !slices.Contains(actors, rest) {
			if near := nearName(rest, actors); near != "" {
				return fmt.Sprintf("there is no actor %q; did you mean %q?", rest, near)
			}
			return fmt.Sprintf("there is no actor %q; name them in the section actors, or tokens", rest)
		}
	default:
		section, there := "github", c.GitHub != nil
		switch prefix {
		case "slack-group":
			section, there = "slack", c.Slack != nil
		case "discord-role":
			section, there = "discord", c.Discord != nil
		}
		if !there {
			return prefix + " needs the section " + section + ", from which Berth learns who is meant"
		}
	}
	return ""
}

// nearPrefix suggests how a mistyped group was meant.
func nearPrefix(c *Config, prefix string) string {
	prefixes := slices.Sorted(maps.Keys(groupPatterns))
	plain := strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(prefix))
	for _, p := range prefixes {
		known := strings.ReplaceAll(p, "-", "")
		if known == plain || oneEdit(known, plain) || known+"s" == plain || known == plain+"s" {
			return fmt.Sprintf("; did you mean %s, as in %s?", p, groupExamples[p])
		}
	}
	switch plain {
	case "team", "githubteams", "ghteam", "github":
		return "; did you mean github-team, as in github-team:acme/ops?"
	case "user", "person", "people", "name":
		return "; did you mean actor, as in actor:ana?"
	}
	if roles, actors := named(c); slices.Contains(roles, prefix) {
		return fmt.Sprintf("; did you mean role:%s?", prefix)
	} else if slices.Contains(actors, prefix) {
		return fmt.Sprintf("; did you mean actor:%s?", prefix)
	}
	return "; groups are written role:NAME, actor:NAME, github-team:ORG/TEAM, codeowners, slack-group:ID or discord-role:GUILD/ROLE"
}

// nearName is the known name that a mistyped one most likely means, "" when it
// is known or near none.
func nearName(name string, known []string) string {
	if slices.Contains(known, name) {
		return ""
	}
	for _, k := range known {
		if strings.EqualFold(k, name) || oneEdit(k, name) {
			return k
		}
	}
	return ""
}

// named are all roles that somebody has and all actors, sorted.
func named(c *Config) (roles, actors []string) {
	r, a := map[string]bool{}, map[string]bool{}
	for _, actor := range c.Actors {
		a[actor.Name] = true
		for _, role := range actor.Roles {
			r[role] = true
		}
	}
	for _, token := range c.Tokens {
		a[token.Actor] = true
		for _, role := range token.Roles {
			r[role] = true
		}
	}
	return slices.Sorted(maps.Keys(r)), slices.Sorted(maps.Keys(a))
}
