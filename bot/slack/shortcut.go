package slack

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// The shortcuts of the manifest: on a message, and everywhere.
const (
	ShortcutMessage = "berth_message"
	ShortcutRun     = "berth_run"
)

// The fields of windows; a block and what is in it are called the same.
const (
	fieldVerb   = "verb"
	fieldTarget = "environment"
	fieldRef    = "ref"
	fieldReason = "reason"
	fieldPlace  = "place"
)

const (
	// maxFound is how many targets are read out of a message.
	maxFound = 5
	// maxOptions is how many options a menu gets. Slack takes 100.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element/#external_select
	maxOptions = 50
	// The longest label and value of an option, in characters.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/option-object/
	maxOptionText, maxOptionValue = 75, 150
	// maxPlaceholder is how long what stands in an empty field may be, in characters.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element/
	maxPlaceholder = 150
	// maxRef is how long a ref may be; the grammar has the same limit.
	maxRef = 244
	// maxSearched is how much of a message is searched for targets, in bytes.
	maxSearched = 40_000
)

var (
	// pullLink is a link to a pull request, on github.com or another server.
	pullLink = regexp.MustCompile(`https?://[^\s/<>|]+/[\w.-]+/[\w.-]+/pull/([1-9][0-9]{0,8})\b`)
	anyLink  = regexp.MustCompile(`https?://[^\s<>|]+`)
	// fullName is an environment with its app; names as in package actions.
	fullName = regexp.MustCompile(`(?:^|[^\w./-])([a-z][a-z0-9-]{0,38}[a-z0-9]/[a-z][a-z0-9-]{0,38}[a-z0-9])(?:$|[^\w/-])`)
	pullName = regexp.MustCompile(`(?i)(?:^|[^\w/&-])(?:pr[- ]?#?|pull request #?|#)([1-9][0-9]{0,8})\b`)
	target   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9](?:/[a-z][a-z0-9-]{0,38}[a-z0-9])?$`)
)

// reading are the verbs of the form that ask for no change.
var reading = []string{bot.VerbStatus, bot.VerbLogs, bot.VerbDiff, bot.VerbHistory}

// shortcut opens the form for a command. What it says is read from the payload
// alone, since Slack takes the trigger for three seconds only.
func (s *Surface) shortcut(ctx context.Context, at time.Time, in *interaction) reply {
	anywhere := in.CallbackID == ShortcutRun
	if !anywhere && in.CallbackID != ShortcutMessage {
		return ok
	}
	a := arrival{team: first(append([]string{in.User.TeamID}, in.teams()...)...), ChatEvent: bot.ChatEvent{
		ID: idOf("shortcut", in.User.ID, in.TriggerID), User: in.User.ID, Name: in.name(), At: at, Message: in.Message.TS,
		Answer: s.address(in.ResponseURL), Place: bot.ChatPlace{Platform: bot.PlatformSlack, Channel: in.Channel.ID, Thread: in.Message.ThreadTS},
	}}
	s.settle(&a, in)
	if !s.serves(ctx, &a, in.teams()...) {
		return s.aside(ctx, func(ctx context.Context) { s.tell(ctx, a, foreignText) })
	}
	n := notes(&a)
	n.Found = found(messageText(&in.Message))
	return s.aside(ctx, func(ctx context.Context) {
		if _, err := s.open(ctx, &a, in.TriggerID, false, runWindow(n, anywhere)); err != nil {
			s.unopened(ctx, a, err)
		}
	})
}

// messageText is all that a message says.
func messageText(m *said) string {
	parts := []string{m.Text}
	for _, a := range m.Attachments {
		parts = append(parts, a.FromURL, a.TitleLink, a.Title, a.Text, a.Fallback)
	}
	text := strings.Join(parts, "\n")
	if len(text) > maxSearched {
		text = text[:maxSearched]
	}
	return text
}

// found are the targets that a text names: whole names first, those of pull
// requests before others.
func found(text string) []string {
	var pulls, names, rest []string
	for _, m := range pullLink.FindAllStringSubmatch(text, maxFound) {
		rest = append(rest, "pr-"+m[1])
	}
	text = plainText(anyLink.ReplaceAllString(text, " "))
	// A name's end is where the next one may begin, so that they are looked for one
	// by one.
	for from := 0; len(pulls)+len(names) < maxFound; {
		at := fullName.FindStringSubmatchIndex(text[from:])
		if at == nil {
			break
		}
		name := text[from+at[2] : from+at[3]]
		if strings.Contains(name, "/pr-") {
			pulls = append(pulls, name)
		} else {
			names = append(names, name)
		}
		from += at[3]
	}
	for _, m := range pullName.FindAllStringSubmatch(text, maxFound) {
		rest = append(rest, "pr-"+m[1])
	}
	var all []string
	for _, name := range slices.Concat(pulls, names, rest) {
		if !slices.Contains(all, name) && len(all) < maxFound {
			all = append(all, name)
		}
	}
	return all
}

// runWindow is the form for a command.
func runWindow(n note, anywhere bool) func() (slackapi.ModalViewRequest, error) {
	return func() (slackapi.ModalViewRequest, error) {
		kept, err := n.text()
		if err != nil {
			return slackapi.ModalViewRequest{}, err
		}
		verbs := slackapi.NewOptionsSelectBlockElement(slackapi.OptTypeStatic, nil, fieldVerb)
		for _, verb := range offered() {
			verbs.Options = append(verbs.Options, optionOf(verb))
		}
		verbs.InitialOption = verbs.Options[0]
		targets := slackapi.NewOptionsSelectBlockElement(slackapi.OptTypeExternal, plainObject("app/name", maxPlaceholder), fieldTarget)
		targets.MinQueryLength = new(int)
		if len(n.Found) > 0 {
			targets.InitialOption = optionOf(n.Found[0])
		}
		ref := slackapi.NewPlainTextInputBlockElement(plainObject("branch, tag or commit", maxPlaceholder), fieldRef)
		ref.MaxLength = maxRef
		reason := slackapi.NewPlainTextInputBlockElement(nil, fieldReason)
		reason.MaxLength = maxReason
		blocks := []slackapi.Block{
			slackapi.NewInputBlock(fieldVerb, plainObject("What to do", maxModalLabel), nil, verbs),
			slackapi.NewInputBlock(fieldTarget, plainObject("Environment", maxModalLabel), nil, targets),
			leave(slackapi.NewInputBlock(fieldRef, plainObject("Ref, if not the one that it has", maxModalLabel), nil, ref)),
			leave(slackapi.NewInputBlock(fieldReason, plainObject("Reason", maxModalLabel), nil, reason)),
		}
		if anywhere {
			place := slackapi.NewOptionsSelectBlockElement(slackapi.OptTypeConversations, nil, fieldPlace)
			place.DefaultToCurrentConversation, place.ResponseURLEnabled = true, true
			place.Filter = &slackapi.SelectBlockElementFilter{Include: []string{"public", "private"}, ExcludeBotUsers: true}
			blocks = append(blocks, leave(slackapi.NewInputBlock(fieldPlace, plainObject("Where to show it, if not to you alone", maxModalLabel), nil, place)))
		}
		return slackapi.ModalViewRequest{
			Type: slackapi.VTModal, CallbackID: callbackRun, PrivateMetadata: kept,
			Title: titled("Berth", ""), Submit: titled("Go", ""), Close: titled("Back", ""), Blocks: slackapi.Blocks{BlockSet: blocks},
		}, nil
	}
}

// offered are the verbs of the form, the most usual first.
func offered() []string {
	var verbs []string
	for _, v := range actions.Verbs() {
		verbs = append(verbs, string(v))
	}
	return append(verbs, reading...)
}

func leave(b *slackapi.InputBlock) *slackapi.InputBlock {
	b.Optional = true
	return b
}

func optionOf(value string) *slackapi.OptionBlockObject {
	return slackapi.NewOptionBlockObject(value, plainObject(value, maxOptionText), nil)
}

// fieldErrors say what is wrong in which field of a window.
type fieldErrors map[string]string

func (f fieldErrors) reply() reply {
	return reply{status: http.StatusOK, body: slackapi.NewErrorsViewSubmissionResponse(f)}
}

// fieldOf is what a field of a window holds.
func fieldOf(v *view, name string) input { return v.State.Values[name][name] }

// runLine is the command that a form asks for.
func runLine(v *view) (string, fieldErrors) {
	wrong := fieldErrors{}
	choice := func(field string) string {
		if selected := fieldOf(v, field).Selected; selected != nil {
			return selected.Value
		}
		return ""
	}
	verb, at := choice(fieldVerb), choice(fieldTarget)
	if !slices.Contains(offered(), verb) {
		wrong[fieldVerb] = "Choose what to do."
	}
	if !target.MatchString(at) {
		wrong[fieldTarget] = "Choose an environment; it is written as app/name."
	}
	words := []string{verb, at}
	if ref := oneLine(fieldOf(v, fieldRef).Value); ref != "" {
		switch {
		case !actions.Verb(verb).TakesCommit():
			wrong[fieldRef] = "No ref can be given for this; leave it empty."
		case len(ref) > maxRef:
			wrong[fieldRef] = "This is too long for a ref."
		}
		words = append(words, "--ref", bot.Quote(ref))
	}
	if why := oneLine(fieldOf(v, fieldReason).Value); why != "" {
		switch {
		case slices.Contains(reading, verb):
			wrong[fieldReason] = "Looking needs no reason; leave it empty."
		case utf8.RuneCountInString(why) > maxReason:
			wrong[fieldReason] = "A reason may have 500 characters at most."
		}
		words = append(words, "--reason", bot.Quote(why))
	}
	return strings.Join(words, " "), wrong
}

// menu is what a menu could offer. Slack wants the list even if it is empty, which
// slack-go's type leaves out.
// Source: https://docs.slack.dev/reference/interaction-payloads/block_suggestion-payload
type menu struct {
	Options []*slackapi.OptionBlockObject `json:"options"`
}

// options answers a menu that asks what it could offer.
func (s *Surface) options(ctx context.Context, in *interaction) reply {
	out := menu{Options: []*slackapi.OptionBlockObject{}}
	if in.ActionID != fieldTarget || s.suggest == nil || in.View == nil {
		return reply{status: http.StatusOK, body: out}
	}
	n, err := readNote(in.View.PrivateMetadata)
	if err != nil {
		return malformed
	}
	typed := strings.ToLower(oneLine(in.Value))
	hints := []string{typed}
	if typed == "" {
		hints = append(slices.Clone(n.Found), "")
	}
	for _, name := range s.suggestions(ctx, in, n, hints) {
		if len(out.Options) < maxOptions && utf8.RuneCountInString(name) <= maxOptionValue {
			out.Options = append(out.Options, optionOf(name))
		}
	}
	return reply{status: http.StatusOK, body: out}
}

// suggestions are what the hints may mean, and what they say themselves where
// that is a name: an environment that is not there yet can be deployed. Those
// that are not there in time are left out.
func (s *Surface) suggestions(ctx context.Context, in *interaction, n note, hints []string) []string {
	var names []string
	result := make(chan []string, 1)
	go func() {
		var all []string
		defer func() { result <- all }()
		team, known, err := s.workspaces.among(ctx, append([]string{n.Team}, in.teams()...)...)
		if err != nil || !known {
			return
		}
		identity, err := s.workspaces.identity(ctx, team, first(in.User.TeamID, team), in.User.ID)
		if err != nil {
			return
		}
		at := bot.ChatPlace{Platform: bot.PlatformSlack, Workspace: team, Channel: n.Channel, Thread: n.Thread}
		if at.Channel == "" {
			at.User = in.User.ID
		}
		for _, hint := range hints {
			all = append(all, s.suggest.Suggest(ctx, at, identity, "environment", "", hint)...)
		}
	}()
	select {
	case names = <-result:
	case <-ctx.Done():
	}
	for _, hint := range hints {
		if target.MatchString(hint) {
			names = append(names, hint)
		}
	}
	var once []string
	for _, name := range names {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}
