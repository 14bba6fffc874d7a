package chat

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// EnvironmentCard is the message that shows how an environment is, and what can
// be done with it.
func EnvironmentCard(v View) bot.ChatMessage {
	icon, title := bot.EnvironmentHeadline(v.Environment)
	if icon == "🟢" && unwell(v.Environment) {
		icon, title = "🟠", "is running, but not all of it is well"
	}
	m := bot.ChatMessage{Tone: v.environmentTone(), Icon: icon}
	if r := v.UnderWay; r != nil {
		m.Icon, title = bot.ActiveHeadline(r)
		m.Tone = bot.ChatWorking
		if r.State == approvals.StatePending {
			m.Tone = bot.ChatWaiting
		}
	}
	m.Title = v.Name.String() + " " + title
	m.Text = v.environmentText()
	m.Fields = v.environmentFields()
	m.Parts = v.environmentParts()
	m.Buttons = v.allowed(v.environmentButtons())
	return m
}

// settledCard is the card of a request that succeeded: what has become of its
// environment, and how that came.
func settledCard(v View) bot.ChatMessage {
	r := v.Request
	m := EnvironmentCard(v)
	m.Text = paragraphs(m.Text, v.asked()+" "+doneText(r))
	var parts []bot.ChatSection
	if glass := bot.GlassText(r); glass != "" {
		parts = append(parts, bot.ChatSection{Text: glass})
	}
	m.Parts, m.Small = slices.Concat(parts, m.Parts, v.decisionParts()), small(r)
	return m
}

func doneText(r *approvals.Request) string {
	if r.EndedAt.IsZero() {
		return "It is done."
	}
	return "It was done at " + bot.Moment(r.EndedAt) + "."
}

func (v View) environmentTone() bot.ChatTone {
	env := v.Environment
	if env == nil {
		return bot.ChatBad
	}
	switch env.State {
	case actions.StateRunning:
		if last := env.LastAction; last != nil && last.State != actions.RunSucceeded || bot.Drifted(env) || unwell(env) {
			return bot.ChatWarning
		}
		if env.Sleeping {
			return bot.ChatPlain
		}
		return bot.ChatGood
	case actions.StateFailure:
		return bot.ChatBad
	case actions.StateArchived, actions.StateCleaned:
		return bot.ChatOver
	default:
		return bot.ChatWorking
	}
}

// environmentText says in a sentence or two what the title cannot.
func (v View) environmentText() string {
	env := v.Environment
	if env == nil {
		return ""
	}
	var text []string
	switch failed := env.LastAction != nil && env.LastAction.State != actions.RunSucceeded; {
	case failed && env.State != actions.StateCleaned, env.State == actions.StateFailure:
		text = append(text, "It "+bot.Sentence(env)+".")
	case env.Sleeping && env.SleptBy != "":
		text = append(text, "**"+bot.Escape(env.SleptBy, 80)+"** put it to sleep.")
	}
	if r := v.UnderWay; r != nil {
		under := typed(r.Command) + " by **" + bot.Escape(r.Requester.Actor, 80) + "** is on its way (request " + bot.Code(r.ID, 40) + ")"
		if waits := bot.WaitsFor(r); r.State == approvals.StatePending && waits != "" {
			under += " and waits for " + waits
		}
		text = append(text, under+".")
	}
	if lock := env.Lock; lock != nil {
		words := fmt.Sprintf("🔒 Locked by **%s** since %s", bot.Escape(lock.By, 80), bot.Moment(lock.At))
		if lock.Reason != "" {
			words += ": " + bot.Escape(lock.Reason, 200)
		}
		text = append(text, words+".")
	}
	return paragraphs(text...)
}

// environmentFields are the short facts of an environment.
func (v View) environmentFields() (fields []bot.ChatField) {
	env := v.Environment
	if env == nil || env.State == actions.StateCleaned {
		return nil
	}
	add := func(name, text string) {
		if text != "" {
			fields = append(fields, bot.ChatField{Name: name, Text: text})
		}
	}
	if env.State == actions.StateRunning && !env.Sleeping {
		for i, l := range env.Links[:min(len(env.Links), 5)] {
			name := "Address"
			if i > 0 {
				name = oneLine(l.Name, 60)
			}
			add(name, bot.Link(l))
		}
	}
	runs := v.commit(env.Commit)
	if runs != "" && env.Deployed > 0 {
		runs += fmt.Sprintf(" (revision %d)", env.Deployed)
	}
	add("Commit", runs)
	if env.State != actions.StateArchived && !env.Sleeping {
		add(fieldHealth, healthText(v.App, env))
	}
	if !env.CreatedAt.IsZero() {
		fields = append(fields, bot.ChatField{Name: "Created", At: env.CreatedAt.UTC(), Far: roughly(v.Now.Sub(env.CreatedAt)) + " ago"})
	}
	if expires := v.expiryField(); expires.Name != "" {
		fields = append(fields, expires)
	}
	add("Where", where(env.Cluster, env.Namespace))
	return fields
}

// expiryField says when the environment's time is over. Without a name it says
// nothing.
func (v View) expiryField() bot.ChatField {
	env := v.Environment
	becomes := "cleaned up"
	if v.App != nil && v.App.OnExpiry == actions.VerbArchive {
		becomes = "archived"
	}
	switch left := env.ExpiresAt.Sub(v.Now); {
	case env.State == actions.StateArchived && env.ExpiresAt.IsZero():
		return bot.ChatField{}
	case env.Keep:
		return bot.ChatField{Name: "Expires", Text: "never: somebody said that it stays"}
	case env.ExpiresAt.IsZero():
		return bot.ChatField{Name: "Expires", Text: "never"}
	case left <= 0:
		return bot.ChatField{Name: "Expired", At: env.ExpiresAt.UTC(), Text: "it is to be " + becomes}
	default:
		return bot.ChatField{Name: "Expires", At: env.ExpiresAt.UTC(), Far: "in " + roughly(left), Text: "then it will be " + becomes}
	}
}

// fieldHealth names the field of how the parts are.
const fieldHealth = "Health"

// unwell tells whether a part was not well when it was last seen. One that could
// not be seen may be.
func unwell(env *actions.Environment) bool {
	if env == nil || env.Sleeping {
		return false
	}
	for _, p := range env.Parts {
		if p.Health == actions.Degraded || p.Health == actions.Unhealthy || p.Health == actions.Absent {
			return true
		}
	}
	return false
}

// healthIcons are how a part is, in one sign.
var healthIcons = map[actions.Health]string{actions.Healthy: "🟢", actions.Degraded: "🟡", actions.Unhealthy: "🔴", actions.Absent: "⚫", actions.Unknown: "⚪", "": "⚪"}

// healthText counts the parts by how they were when they were last seen.
func healthText(app *actions.App, env *actions.Environment) string {
	var texts []string
	counts := map[actions.Health]int{}
	total := 0
	for _, name := range bot.PartNames(app, env) {
		if p, ok := env.Parts[name]; ok {
			counts[known(p.Health)]++
			total++
		}
	}
	if total > 0 && counts[actions.Healthy] == total {
		return "🟢 healthy"
	}
	for _, h := range []actions.Health{actions.Unhealthy, actions.Absent, actions.Degraded, actions.Unknown, actions.Healthy} {
		if counts[h] > 0 {
			texts = append(texts, fmt.Sprintf("%s %d %s", healthIcons[h], counts[h], healthWords(h)))
		}
	}
	return strings.Join(texts, ", ")
}

// known is a part's health, which is actions.Unknown where none is recorded.
func known(h actions.Health) actions.Health {
	if h == "" {
		return actions.Unknown
	}
	return h
}

func healthWords(h actions.Health) string {
	if h == actions.Unknown {
		return "not seen"
	}
	return bot.Escape(string(h), 40)
}

// environmentParts are the parts of an environment, and what is not as it was
// deployed.
func (v View) environmentParts() (sections []bot.ChatSection) {
	env := v.Environment
	if env == nil || env.State == actions.StateCleaned || env.State == actions.StateArchived {
		return nil
	}
	names := slices.DeleteFunc(bot.PartNames(v.App, env), func(name string) bool { _, ok := env.Parts[name]; return !ok })
	if all := slices.ContainsFunc(names, func(name string) bool {
		return env.Parts[name].Health != actions.Healthy || env.Parts[name].Text != ""
	}); all && !env.Sleeping {
		sections = append(sections, bot.ChatSection{Title: "Parts", Text: bot.Listed(names, func(name string) string {
			p := env.Parts[name]
			text := fmt.Sprintf("%s **%s** (%s): %s", healthIcons[p.Health], bot.Escape(name, 60), bot.Escape(p.Use, 60), healthWords(known(p.Health)))
			if p.Text != "" {
				first, _, _ := strings.Cut(strings.TrimSpace(p.Text), "\n")
				text += ": " + bot.Escape(first, 300)
			}
			return text
		})})
	}
	if v.UnderWay == nil && env.State == actions.StateRunning && !env.Sleeping && bot.Drifted(env) {
		sections = append(sections, bot.ChatSection{Title: "🟡 Not as deployed", Text: bot.DriftText(v.App, env, nil)})
	}
	return sections
}

// environmentButtons are what can be done with an environment as it is. Whoever
// clicks is asked for their rights then, as if they had typed it.
func (v View) environmentButtons() (all []bot.ChatButton) {
	env := v.Environment
	if env == nil || v.Old || env.State == actions.StateCleaned {
		return nil
	}
	name := v.Name.String()
	if u := webURL(env.URL); u != "" && env.State == actions.StateRunning && !env.Sleeping {
		all = append(all, bot.ChatButton{Label: "Open", URL: u, Style: bot.StylePrimary})
	}
	can := func(verb actions.Verb) bool {
		return v.App != nil && v.UnderWay == nil && !env.State.Pending() && actions.Allowed(v.Name, env, verb) == nil
	}
	add := func(verb actions.Verb, b bot.ChatButton) {
		if can(verb) {
			b.Line = string(verb) + " " + name + b.Line
			all = append(all, b)
		}
	}
	add(actions.VerbWake, bot.ChatButton{Label: "Wake", Style: bot.StylePrimary})
	add(actions.VerbRestore, bot.ChatButton{Label: "Restore", Style: bot.StylePrimary})
	if v.extendable() {
		add(actions.VerbExtend, bot.ChatButton{Label: "Extend by 24 h", Line: " --ttl 24h"})
	}
	add(actions.VerbSleep, bot.ChatButton{Label: "Sleep"})
	add(actions.VerbArchive, bot.ChatButton{Label: "Archive", Confirm: "Archive " + name + "? It stops running and can be restored."})
	if env.LastAction != nil || env.RunID != "" {
		all = append(all, bot.ChatButton{Label: "Logs", Line: bot.VerbLogs + " " + name, Show: true})
	}
	add(actions.VerbDeploy, bot.ChatButton{Label: "Redeploy", Line: v.followed()})
	add(actions.VerbCleanup, bot.ChatButton{Label: "Clean up", Style: bot.StyleDanger, Confirm: "Clean up " + name + "? Everything of it goes, its data too."})
	if env.Lock != nil && v.UnderWay == nil {
		all = append(all, bot.ChatButton{Label: "Unlock", Line: bot.VerbUnlock + " " + name, Confirm: "Open the lock that " + oneLine(env.Lock.By, 80) + " put on " + name + "?"})
	}
	return all
}

// followed is how a deploy says what the environment follows: nothing for a pull
// request's head, else the branch or tag that it was asked for as.
func (v View) followed() string {
	if v.Name.PullRequest() > 0 || v.Environment.PullRequest > 0 || v.Environment.Ref == "" || strings.ContainsFunc(v.Environment.Ref, func(r rune) bool { return r <= ' ' }) {
		return ""
	}
	return " --ref " + bot.Quote(v.Environment.Ref)
}

// extendable tells whether the environment has an end that can be put off.
func (v View) extendable() bool {
	env := v.Environment
	if env.ExpiresAt.IsZero() || env.Keep {
		return false
	}
	if v.App != nil && v.App.MaxAge > 0 && !env.CreatedAt.IsZero() && !env.ExpiresAt.Before(env.CreatedAt.Add(v.App.MaxAge)) {
		return false
	}
	return env.ExpiresAt.Before(v.Now.Add(actions.MaxTTL - time.Hour))
}

// agesAt is when the card of an environment says something else though nothing
// happened; zero when it never does.
func (v View) agesAt() time.Time {
	env := v.Environment
	if env == nil || env.State == actions.StateCleaned {
		return time.Time{}
	}
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if !env.CreatedAt.IsZero() {
		grain := time.Hour
		age := v.Now.Sub(env.CreatedAt)
		if age >= 48*time.Hour {
			grain = 24 * time.Hour
		}
		sooner(env.CreatedAt.Add(age.Truncate(grain) + grain))
	}
	if left := env.ExpiresAt.Sub(v.Now); !env.ExpiresAt.IsZero() && !env.Keep && left > 0 {
		grain := time.Hour
		if left > 48*time.Hour {
			grain = 24 * time.Hour
		}
		// The end of the unit that is shown, and a moment: what is left is below it then.
		sooner(v.Now.Add(left%grain + time.Second))
	}
	return next
}
