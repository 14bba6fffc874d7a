package main

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
)

// What becomes of a deployment.
const (
	importMake   = "make"   // it would be made
	importMade   = "made"   // it was
	importExists = "exists" // there is one of that name
	importSkip   = "skip"   // it is left out
	importFailed = "failed"
)

const (
	// maxOctopodLinks, maxOctopodPast and maxOctopodTook, in seconds, are what the
	// API takes.
	maxOctopodLinks = 50
	maxOctopodPast  = 500
	maxOctopodTook  = 31_536_000
	// octopodPending is after what time a pending status is no work any more that
	// Octopod still does: it gives a deployment 600 s to become well, and a script
	// 1,800 s.
	octopodPending = time.Hour
)

// octopodVerbs are Octopod's actions as Berth calls them, of both versions.
var octopodVerbs = map[string]string{
	"create": "deploy", "edit": "deploy", "update": "deploy", "delete": "archive", "archive": "archive", "restore": "restore", "cleanup": "cleanup",
}

// octopodImport is what `berth import octopod` shows.
type octopodImport struct {
	Version string        `json:"octopod"` // "1" or "2": of the database
	Items   []octopodItem `json:"items"`
	Keys    []string      `json:"allow_set"`         // that the app has to allow
	Unasked bool          `json:"unasked,omitempty"` // the server was not asked what there is
}

// octopodItem is one deployment.
type octopodItem struct {
	Deployment string            `json:"deployment"`
	Status     string            `json:"status"`
	Name       string            `json:"name,omitempty"`
	State      string            `json:"state,omitempty"`
	Action     string            `json:"action"`
	Reason     string            `json:"reason,omitempty"`
	Suggested  string            `json:"suggested,omitempty"`
	Set        map[string]string `json:"set,omitempty"`
	Links      []actions.Link    `json:"links,omitempty"`
	History    int               `json:"history"`
	CreatedAt  time.Time         `json:"created_at"`
	Notes      []string          `json:"notes,omitempty"`
	Deploy     string            `json:"deploy,omitempty"` // the command line that deploys it as it is

	body api.Import
}

// take says what becomes of each deployment.
func (o octopodOptions) take(db *octopodDatabase) (*octopodImport, error) {
	r := &octopodImport{Version: db.Version, Items: []octopodItem{}, Keys: []string{}}
	there := map[string]bool{}
	for _, d := range db.Deployments {
		there[d.Name] = true
	}
	for _, list := range [][]string{slices.Sorted(maps.Keys(o.rename)), o.only} {
		for _, name := range list {
			if !there[name] {
				return nil, usageError(fmt.Errorf("Octopod's database has no deployment %q", name)) //nolint:staticcheck // Octopod is a name.
			}
		}
	}
	taken := map[string]string{} // environment → deployment
	keys := map[string]bool{}
	for _, d := range db.Deployments {
		if len(o.only) > 0 && !slices.Contains(o.only, d.Name) {
			continue
		}
		item := o.item(db, d)
		if item.Action == importMake {
			if other := taken[item.Name]; other != "" {
				item.Action, item.Reason, item.Name = importSkip, fmt.Sprintf("%s would have the same name", other), ""
			} else {
				taken[item.Name] = d.Name
			}
		}
		if item.Action == importMake {
			for key := range item.Set {
				keys[key] = true
			}
		}
		r.Items = append(r.Items, item)
	}
	r.Keys = append(r.Keys, slices.Sorted(maps.Keys(keys))...)
	for i := range r.Items { // when all that are taken are known
		if item := &r.Items[i]; item.Action == importSkip && item.Name == "" {
			item.Suggested = suggestName(item.Deployment, taken)
			taken[item.Suggested] = item.Deployment
		}
	}
	return r, nil
}

// item is one deployment, by itself.
func (o octopodOptions) item(db *octopodDatabase, d octopodDeployment) octopodItem {
	item := octopodItem{Deployment: d.Name, Status: d.Status, History: min(len(d.Log), maxOctopodPast), CreatedAt: d.CreatedAt.UTC(), Action: importMake}
	state, note, skip := octopodState(d, db.Now)
	item.State = state
	if note != "" {
		item.Notes = append(item.Notes, note)
	}
	item.Name = d.Name
	if other, ok := o.rename[d.Name]; ok {
		item.Name = other
	}
	var notes []string
	item.Set, notes = o.setOf(db, d)
	item.Notes = append(item.Notes, notes...)
	if _, err := actions.ParseName(o.app + "/" + item.Name); err != nil {
		item.Action, item.Name, item.Reason = importSkip, "", "its name cannot be an environment's"
		return item
	}
	if item.Name != d.Name {
		item.Notes = append(item.Notes, fmt.Sprintf("its scripts are given --name %s from now on, unless the part's `name` says %s for it.", item.Name, d.Name))
	}
	if skip != "" {
		item.Action, item.Reason = importSkip, skip
		return item
	}
	if d.Fault != "" {
		item.Action, item.Reason = importSkip, d.Fault
		return item
	}
	for _, key := range slices.Sorted(maps.Keys(item.Set)) {
		if !octopodKey.MatchString(key) {
			item.Action, item.Reason = importSkip, fmt.Sprintf("Berth's allow_set cannot hold its override %q; leave it out with --leave-out, and write it under the part's overrides", clipped(key))
			return item
		}
	}
	if bad := len(d.Links) - len(openable(d.Links)); bad > 0 {
		item.Notes = append(item.Notes, fmt.Sprintf("%d of its links are left out, for they are no addresses such as https://….", bad))
	}
	item.body = o.bodyOf(d, item.Name, state, item.Set, item.Notes)
	item.Links, item.History = item.body.Links, len(item.body.History)
	item.Deploy, note = deployLine(o.app+"/"+item.Name, item.Set)
	if note != "" {
		item.Notes = append(item.Notes, note)
	}
	return item
}

// octopodState is a status of Octopod's as Berth's state, with what is to be said
// of it, or why the deployment is left out for now.
func octopodState(d octopodDeployment, now time.Time) (state, note, skip string) {
	switch d.Status {
	case "Running":
		return string(actions.StateRunning), "", ""
	case "Archived":
		return string(actions.StateArchived), "", ""
	case "Failure", "GenericFailure":
		return string(actions.StateFailure), "", ""
	case "PartialAvailability":
		return string(actions.StateFailure), "Octopod found it partly available.", ""
	case "TagMismatch":
		return string(actions.StateFailure), "Octopod found another tag running than it had deployed.", ""
	case "CleanupFailed":
		return string(actions.StateFailure), "Its cleanup failed in Octopod; clean it up again.", ""
	case "CreatePending", "UpdatePending", "ArchivePending", "DeletePending":
		if now.Sub(d.StatusAt) < octopodPending {
			return "", "", "Octopod still works on it; import it when that is done"
		}
		return string(actions.StateFailure), fmt.Sprintf("Octopod was cut off in %s, at %s.", d.Status, d.StatusAt.UTC().Format("2006-01-02 15:04 MST")), ""
	}
	return "", "", fmt.Sprintf("the status %q is not known", oneLine(d.Status))
}

// setOf are the overrides as --set would have set them.
func (o octopodOptions) setOf(db *octopodDatabase, d octopodDeployment) (map[string]string, []string) {
	set := map[string]string{}
	var notes []string
	add := func(prefix string, list []octopodOverride) {
		for _, c := range list {
			key := prefix + c.Key
			switch {
			case o.isLeftOut(key):
				notes = append(notes, fmt.Sprintf("the override %s is left out, as you asked.", key))
			case c.Deleted:
				notes = append(notes, fmt.Sprintf("it takes the default of %s away, which --set cannot; write `%s: null` under the part's overrides.", key, c.Key))
			default:
				set[key] = c.Value
			}
		}
	}
	add("", d.App)
	add(o.prefix, d.Deployment)
	key := o.tagKey
	if key == "" {
		key = map[string]string{"1": "tag", "2": "image.tag"}[db.Version]
	}
	if _, known := set[key]; d.Tag != "" && !known && !o.isLeftOut(key) {
		set[key] = d.Tag
	}
	return set, notes
}

// octopodKey is a key that an app's allow_set can hold.
var octopodKey = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// maxOctopodDeploy is how long a command can be, in bytes. Source: bot.Parse.
const maxOctopodDeploy = 4096

// deployLine is the command line by which the next deploy changes no override:
// --set counts for the deploy that it is given to, and for no later one. With
// what cannot be typed it is "", and the note says so.
func deployLine(target string, set map[string]string) (line, note string) {
	if len(set) == 0 {
		return "", ""
	}
	line = "berth deploy " + target
	for _, key := range slices.Sorted(maps.Keys(set)) {
		line += " --set " + quoted(key+"="+set[key])
		if len(line) > maxOctopodDeploy || bot.Plain(set[key]) != set[key] || strings.ContainsAny(set[key], "\r\n\t") {
			return "", fmt.Sprintf("the value of %s cannot be given to --set, for it is too long or has line breaks or invisible characters; write it under the part's overrides before the next deploy.", key)
		}
	}
	return line, ""
}

var unquoted = regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)

// quoted is s as one word for a shell.
func quoted(s string) string {
	if unquoted.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// clipped is the beginning of a text that somebody else wrote.
func clipped(s string) string {
	if runes := []rune(s); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	return s
}

// openable are the links that people can open without running what they say.
func openable(links []octopodLink) []octopodLink {
	return slices.DeleteFunc(slices.Clone(links), func(l octopodLink) bool {
		u, err := url.Parse(l.URL)
		return err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || len(l.URL) > 2000
	})
}

var notInEnvironment = regexp.MustCompile(`[^a-z0-9]+`)

// suggestName is a name like deployment that an environment can have and none has.
func suggestName(deployment string, taken map[string]string) string {
	const most = 36 // leaves room for a number
	name := strings.Trim(notInEnvironment.ReplaceAllString(strings.ToLower(deployment), "-"), "-")
	if name == "" || name[0] < 'a' {
		name = strings.TrimRight("env-"+name, "-")
	}
	if len(name) > most {
		name = strings.TrimRight(name[:most], "-")
	}
	if len(name) < 2 {
		name += "-1"
	}
	for n := 2; ; n++ {
		if taken[name] == "" {
			return name
		}
		if n > 2 {
			name = name[:strings.LastIndexByte(name, '-')]
		}
		name = fmt.Sprintf("%s-%d", name, n)
	}
}
