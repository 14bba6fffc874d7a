package discord

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// App is an app as messages may speak of it.
type App struct {
	Name string
	Repo string // "acme/shop"; may be empty
}

// maxFound is how many environments of a message are offered: a row of buttons.
const maxFound = 5

var (
	// pullPattern finds links to pull requests: of GitHub, or of a server that has
	// the same addresses.
	pullPattern = regexp.MustCompile(`https?://[A-Za-z0-9.-]+(?::[0-9]+)?/([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)/pull/([1-9][0-9]{0,8})\b`)
	// namePattern finds what may be an environment.
	namePattern = regexp.MustCompile(`[a-z][a-z0-9-]{0,38}[a-z0-9]/[a-z][a-z0-9-]{0,38}[a-z0-9]`)
)

// deployFrom deploys what a message speaks of. It asks which, when that is not
// clear.
func (s *Surface) deployFrom(ctx context.Context, i interaction, d commandData) (response, error) {
	m, ok := d.Resolved.Messages[d.TargetID]
	if !ok {
		return response{}, errors.New("the command is about a message that does not come with it")
	}
	if d.Name != deployCommand {
		return note("Berth does not have this command any more, and nothing was done."), nil
	}
	texts := []string{m.Content}
	for _, e := range m.Embeds {
		texts = append(texts, e.Title, e.URL, e.Description)
	}
	targets := s.targetsIn(strings.Join(texts, "\n"))
	switch len(targets) {
	case 0:
		return note("There is neither a link to a pull request of an app of Berth's in that message, nor an environment such as `shop/pr-42`, so nothing was done."), nil
	case 1:
		e := i.event("deploy "+targets[0], s.now())
		e.Clicked = true
		return s.take(ctx, e), nil
	}
	var buttons []button
	for _, target := range targets[:min(len(targets), maxFound)] {
		if id, ok := customID(bot.ChatButton{Line: "deploy " + target}); ok {
			buttons = append(buttons, button{Type: componentButton, Style: stylePrimary, Label: clipRunes(target, maxButtonLabel), CustomID: id})
		}
	}
	text := "Which one is to be deployed?"
	if len(targets) > maxFound {
		text = fmt.Sprintf("Which one is to be deployed? The message speaks of %d; these are the first.", len(targets))
	}
	return note(text, row{Type: componentRow, Components: buttons}), nil
}

// targetsIn are the environments that a text speaks of, each once, in the order
// in which they stand there. Names count only when the app is one of ours.
func (s *Surface) targetsIn(text string) []string {
	if s.apps == nil {
		return nil
	}
	type found struct {
		at     int
		target string
	}
	var all []found
	apps := s.apps()
	for _, m := range pullPattern.FindAllStringSubmatchIndex(text, -1) {
		repo, number := text[m[2]:m[3]], text[m[4]:m[5]]
		for _, app := range apps {
			if strings.EqualFold(app.Repo, repo) {
				all = append(all, found{at: m[0], target: app.Name + "/pr-" + number})
			}
		}
	}
	for _, m := range namePattern.FindAllStringIndex(text, -1) {
		name, err := actions.ParseName(text[m[0]:m[1]])
		if err != nil || !apart(text, m[0], m[1]) || !slices.ContainsFunc(apps, func(a App) bool { return a.Name == name.App }) {
			continue
		}
		all = append(all, found{at: m[0], target: name.String()})
	}
	slices.SortStableFunc(all, func(a, b found) int { return a.at - b.at })
	var targets []string
	for _, f := range all {
		if !slices.Contains(targets, f.target) {
			targets = append(targets, f.target)
		}
	}
	return targets
}

// apart tells whether a piece of text stands for itself: it is not of a longer
// path or name.
func apart(text string, from, to int) bool {
	const joins = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/"
	if from > 0 && strings.IndexByte(joins+".", text[from-1]) >= 0 {
		return false
	}
	return to >= len(text) || strings.IndexByte(joins, text[to]) < 0
}
