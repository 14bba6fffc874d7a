package discord

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// readTimeout is how long a request may take to arrive once its headers are
	// there. Discord waits 3 s for the whole exchange.
	readTimeout = 2 * time.Second
	// takeWithin is how long an event may take to be stored before its sender is
	// told that it is not yet: Discord waits 3 s for an answer.
	takeWithin = 1500 * time.Millisecond
)

// The types of answers to interactions, and the flag of what is shown to its
// receiver alone.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object
const (
	answerPong         = 1
	answerMessage      = 4
	answerDeferred     = 5
	answerUpdate       = 7
	answerAutocomplete = 8
	answerModal        = 9

	flagEphemeral = 1 << 6
)

// response is the answer to an interaction.
type response struct {
	Type int           `json:"type"`
	Data *responseData `json:"data,omitempty"`
}

// responseData is what a response holds, by its type: a message, a modal or
// choices.
type responseData struct {
	Flags      int            `json:"flags,omitempty"`
	Content    string         `json:"content,omitempty"`
	Mentions   *mentions      `json:"allowed_mentions,omitempty"`
	CustomID   string         `json:"custom_id,omitempty"`
	Title      string         `json:"title,omitempty"`
	Components []any          `json:"components,omitzero"` // an empty list takes away those that stand there
	Choices    *[]choiceValue `json:"choices,omitempty"`
}

// mentions names whom a message may call.
type mentions struct {
	Parse []string `json:"parse"`
}

// choiceValue is what can be chosen for an option.
type choiceValue struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// note is a message for whoever did it alone, which calls nobody. text is
// Discord's Markdown.
func note(text string, components ...any) response {
	return response{Type: answerMessage, Data: &responseData{Flags: flagEphemeral, Content: text, Mentions: &mentions{Parse: []string{}}, Components: components}}
}

// serveInteraction is the handler of POST /discord/interactions.
func (s *Surface) serveInteraction(w http.ResponseWriter, r *http.Request) {
	s.bodies.Take(w, r, func(body []byte) { s.serveBody(w, r, body) })
}

// serveBody answers a request that has arrived whole. Nothing of it is parsed
// before it is known to be Discord's.
func (s *Surface) serveBody(w http.ResponseWriter, r *http.Request, body []byte) {
	if !s.verifier.genuine(r.Header, body) {
		http.Error(w, "the signature is not this request's", http.StatusUnauthorized)
		return
	}
	i, err := decodeInteraction(body)
	if err == nil && i.ApplicationID != "" && i.ApplicationID != s.app {
		err = errors.New("the interaction is another application's")
	}
	if err != nil {
		s.log.WarnContext(r.Context(), "a signed interaction could not be read", "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := s.handle(r.Context(), i)
	if err != nil {
		s.log.WarnContext(r.Context(), "a signed interaction could not be read", "interaction", i.ID, "error", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	text, err := json.Marshal(answer)
	if err != nil {
		s.log.ErrorContext(r.Context(), "an answer could not be written", "interaction", i.ID, "error", err)
		http.Error(w, "the answer could not be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text) // Discord may be gone
}

// handle does what an interaction asks for and finds its answer, within
// Discord's 3 seconds. It returns an error for one that Discord does not send.
func (s *Surface) handle(ctx context.Context, i interaction) (response, error) {
	if i.Type == typePing {
		return response{Type: answerPong}, nil
	}
	if !s.allowed(i.GuildID) {
		if i.Type == typeAutocomplete {
			return choices(nil), nil
		}
		return note("Berth does not listen to this server, so nothing was done. Whoever keeps Berth's config can add it to `discord.guilds`."), nil
	}
	if i.GuildID != "" && i.Channel == nil {
		// What may be done in a thread is what may be done in its channel.
		if err := s.locate(ctx, &i); err != nil {
			s.log.WarnContext(ctx, "an interaction is left alone, since Discord does not tell of its channel", "interaction", i.ID, "error", err)
			if i.Type == typeAutocomplete {
				return choices(nil), nil
			}
			return note("Discord does not say which channel this is, so **nothing was done**. Please do it again in a moment."), nil
		}
	}
	switch i.Type {
	case typeCommand:
		return s.command(ctx, i)
	case typeAutocomplete:
		return s.autocomplete(ctx, i)
	case typeComponent:
		return s.click(ctx, i)
	default:
		return s.submit(ctx, i)
	}
}

// locateWithin is how long Discord may take to tell of a channel.
const locateWithin = time.Second

// locate finds the channel of an interaction that does not say it, as those of
// Discord do. Where there is nothing to ask, it is the channel that it names:
// nobody who clicks or types decides what an interaction says.
func (s *Surface) locate(ctx context.Context, i *interaction) error {
	ctx, cancel := context.WithTimeout(ctx, locateWithin)
	defer cancel()
	place, err := s.placeOf(ctx, i.GuildID, i.ChannelID)
	switch {
	case err != nil && unseen(err):
		place = bot.ChatPlace{}
	case err != nil:
		return err
	}
	i.Channel = &channelObject{ID: i.ChannelID}
	if place.Thread != "" {
		i.Channel.Type, i.Channel.ParentID = threadType, place.Channel
	}
	return nil
}

// command takes /berth and the commands of messages.
func (s *Surface) command(ctx context.Context, i interaction) (response, error) {
	d, c, err := decodeCommand(i.Data)
	if err != nil {
		return response{}, err
	}
	if d.Type == commandMessage {
		return s.deployFrom(ctx, i, d)
	}
	if !d.slash() {
		return note("This command is none of Berth's, and nothing was done. Berth's is `/" + slashCommand + "`."), nil
	}
	if len(c.path) == 0 {
		return s.take(ctx, i.event(bot.VerbHelp, s.now())), nil
	}
	v, known := s.verbAt(c.path)
	if !known {
		// An older Berth registered it: the grammar says what there is now.
		v = Verb{Name: bot.Quote(oneLine(c.path[len(c.path)-1]))}
		return s.take(ctx, i.event(v.line(nil), s.now())), nil
	}
	if name, odd := v.unknown(c.given); odd {
		// Another Berth registered it. Without it this might do what nobody asked for:
		// it could have been what kept the command from changing anything.
		return note("This Berth does not know the option " + bot.Code(oneLine(name), 60) + " of " + bot.Code("/"+slashCommand+" "+strings.Join(v.path(), " "), 60) +
			", so **nothing was done**. Whoever runs Berth can make the commands here what they should be, with `berth discord register`."), nil
	}
	return s.take(ctx, i.event(v.line(c.given), s.now())), nil
}

// click takes the buttons of messages. What is to be asked first is asked at
// once, without anything being stored.
func (s *Surface) click(ctx context.Context, i interaction) (response, error) {
	d, err := decodeComponent(i.Data)
	if err != nil {
		return response{}, err
	}
	p, ours := decodePress(d.CustomID)
	if !ours {
		return note("This button is of a Berth that was here before, and nothing was done. Look at the message that shows how things are now, or type the command."), nil
	}
	if event, nth, ok := decodeShow(p.line); ok {
		return s.showAnswer(ctx, i, event, nth), nil
	}
	label := i.label(d.CustomID)
	switch {
	case p.confirm:
		return s.question(p, label), nil
	case p.reason:
		return form(p, label), nil
	}
	e := i.event(p.line, s.now())
	e.Digest, e.Clicked = p.digest, true
	answer := s.take(ctx, e)
	if p.asked {
		answer = instead(answer, p)
	}
	return answer, nil
}

// submit takes modals that ask for a reason.
func (s *Surface) submit(ctx context.Context, i interaction) (response, error) {
	d, err := decodeModal(i.Data)
	if err != nil {
		return response{}, err
	}
	p, ours := decodePress(d.CustomID)
	if !ours {
		return note("This form is of a Berth that was here before, and nothing was done. Click or type again."), nil
	}
	reason := oneLine(d.text(reasonField))
	if reason == "" {
		return note("There was no reason in it, so nothing was done. Click again and say why."), nil
	}
	e := i.event(p.line+" --reason "+bot.Quote(reason), s.now())
	e.Digest, e.Clicked = p.digest, true
	return s.take(ctx, e), nil
}

// label is what stands on the button that was clicked, as the message shows it.
func (i interaction) label(id string) string {
	if i.Message != nil {
		if c := find(i.Message.Components, id, 0); c != nil {
			return oneLine(c.Label)
		}
	}
	return ""
}

// take stores an event and says that it is being done; or, when Redis does not
// take it in time, just that.
func (s *Surface) take(ctx context.Context, e bot.ChatEvent) response {
	// Discord hanging up does not take back what somebody asked for.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeWithin)
	defer cancel()
	err := s.intake.Take(within, e)
	if err == nil {
		return response{Type: answerDeferred, Data: &responseData{Flags: flagEphemeral}}
	}
	if actions.CodeOf(err) == actions.CodeInvalid {
		s.log.ErrorContext(ctx, "an event was not taken", "event", e.ID, "error", err)
		return note("Berth does not take this, and **nothing was done**.")
	}
	if !s.keepTrying(ctx, e, err) {
		return note("Berth's store does not answer, and too much waits for it already: **nothing was done**. Please do it again in some minutes.")
	}
	return note("Berth's store does not answer at the moment. Berth goes on trying for a minute, and says here, or in a direct message, what became of it.")
}

// The limits of modals and buttons, in characters.
// Source: https://docs.discord.com/developers/components/reference
const (
	maxTitle       = 45
	maxFieldLabel  = 45
	maxButtonLabel = 80
	// maxReason is the longest that a reason of a command may be (command.MaxReason).
	maxReason = 500
)

// The types and styles of components.
// Source: https://docs.discord.com/developers/components/reference
const (
	componentRow    = 1
	componentButton = 2
	componentInput  = 4
	componentLabel  = 18

	stylePrimary   = 1
	styleSecondary = 2
	styleDanger    = 4
	inputParagraph = 2
)

// reasonField is the field of a modal that a reason is written in.
const reasonField = "reason"

type row struct {
	Type       int      `json:"type"`
	Components []button `json:"components"`
}

type button struct {
	Type     int    `json:"type"`
	Style    int    `json:"style"`
	Label    string `json:"label"`
	CustomID string `json:"custom_id"`
}

type labelled struct {
	Type        int    `json:"type"`
	Label       string `json:"label"`
	Description string `json:"description,omitempty"`
	Component   input  `json:"component"`
}

type input struct {
	Type      int    `json:"type"`
	CustomID  string `json:"custom_id"`
	Style     int    `json:"style"`
	MinLength int    `json:"min_length"`
	MaxLength int    `json:"max_length"`
	Required  bool   `json:"required"`
}

// question asks whether a click was meant, with the same button. A custom_id has no
// room for bot.ChatButton.Confirm, so that the grammar says what would be done.
func (s *Surface) question(p pressed, label string) response {
	p.confirm, p.asked = false, true
	id, ok := p.encode()
	if !ok { // it became no longer
		return note("This button cannot be read, and nothing was done.")
	}
	if label = "Yes, " + lowerFirst(label); label == "Yes, " {
		label = "Yes"
	}
	text := "Are you sure? This does " + bot.Code("/berth "+p.line, 120) + "."
	verb, _, _ := strings.Cut(p.line, " ")
	if i := slices.IndexFunc(s.verbs, func(v Verb) bool { return v.Name == verb }); i >= 0 {
		text += " It " + lowerFirst(sentence(s.verbs[i].Summary)) + "."
	}
	return note(text,
		row{Type: componentRow, Components: []button{{Type: componentButton, Style: styleDanger, Label: clipRunes(label, maxButtonLabel), CustomID: id}}})
}

// lowerFirst is a text that goes on a sentence.
func lowerFirst(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToLower(first)) + text[size:]
}

// instead puts the answer to a question's button in the question's place, so that
// nobody says yes twice. What was deferred is filled in there.
func instead(answer response, p pressed) response {
	text := "⏳ " + bot.Code("/berth "+p.line, 120)
	if answer.Type != answerDeferred {
		text = answer.Data.Content
	}
	return response{Type: answerUpdate, Data: &responseData{Content: text, Mentions: &mentions{Parse: []string{}}, Components: []any{}}}
}

// form asks for the reason of a click in a modal.
func form(p pressed, label string) response {
	p.confirm = false
	id, ok := p.encode()
	if !ok {
		return note("This button cannot be read, and nothing was done.")
	}
	if label == "" {
		label, _, _ = strings.Cut(p.line, " ")
	}
	return response{Type: answerModal, Data: &responseData{CustomID: id, Title: clipRunes(label, maxTitle), Components: []any{
		labelled{Type: componentLabel, Label: clipRunes("Why?", maxFieldLabel), Description: "It is kept for the record, and whoever sees the request reads it.",
			Component: input{Type: componentInput, CustomID: reasonField, Style: inputParagraph, MinLength: 1, MaxLength: maxReason, Required: true}},
	}}}
}
