package discordtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kinds of interactions.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object-interaction-type
const (
	interactionPing      = 1
	interactionCommand   = 2
	interactionComponent = 3
	interactionTyping    = 4
	interactionModal     = 5
)

// tokenFor is how long an interaction's token is good.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-interaction-response
const tokenFor = 15 * time.Minute

// silence is what people read when nothing came in time.
const silence = "The application did not respond"

// given is an option as it was typed.
type given struct {
	Name    string  `json:"name"`
	Type    int     `json:"type"`
	Value   any     `json:"value,omitempty"`
	Options []given `json:"options,omitempty"`
	Focused bool    `json:"focused,omitempty"`
}

type interaction struct {
	id, token string
	kind      int
	user      *user
	channel   *channel
	command   *command
	options   []given
	target    *message     // that was clicked on, or that a command is about
	component Component    // that was clicked
	values    []string     // of a menu
	opener    *interaction // that opened the modal
	fields    map[string]string
	at        time.Time // by the injected clock
	began     time.Time // by the real one
	done      chan struct{}
	reached   bool // it was delivered to somebody who was there

	acked    bool
	callback int
	failed   string
	took     time.Duration
	choices  []Choice
	modal    *Modal
	raw      []Component // of the modal
	original *message
	expired  bool
}

// Modal is a window with fields.
type Modal struct {
	Interaction string // the id of the interaction that it answers; for Submit
	CustomID    string
	Title       string
	Fields      []ModalField
	Open        bool // it was neither submitted nor closed
}

// ModalField is a text input.
type ModalField struct {
	CustomID, Label, Hint, Value, Placeholder string
	Long, Required                            bool
	Min, Max                                  int
}

// Interaction is a snapshot of one: a command, a click, a submitted modal or a
// request for suggestions.
type Interaction struct {
	ID, User, Channel string
	Kind              int // 2 command, 3 click, 4 suggestions, 5 modal
	// Callback is the type of the answer: 4 message, 5 deferred, 6 deferred update,
	// 7 update, 8 suggestions, 9 modal; 0 while there is none.
	Callback int
	Failed   string        // what the user reads when there was no good answer in time
	Took     time.Duration // until the answer, in real time
	Original string        // the message that answers it, or that was clicked on
	Choices  []Choice
	Modal    *Modal
	token    string
}

// Token is the interaction's token, for tests of what holds for tokens.
func (i Interaction) Token() string { return i.token }

func (in *interaction) snapshot() Interaction {
	out := Interaction{
		ID: in.id, User: in.user.id, Channel: in.channel.id, Kind: in.kind, Callback: in.callback, Failed: in.failed, Took: in.took,
		Choices: slices.Clone(in.choices), token: in.token,
	}
	if in.original != nil {
		out.Original = in.original.id
	}
	if in.modal != nil {
		m := *in.modal
		out.Modal = &m
	}
	return out
}

// Interaction finds one by its id.
func (s *Server) Interaction(id string) (Interaction, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.interactions[id]
	if in == nil {
		return Interaction{}, false
	}
	return in.snapshot(), true
}

// Interactions lists all so far, oldest first.
func (s *Server) Interactions() []Interaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Interaction
	for _, in := range s.order {
		out = append(out, in.snapshot())
	}
	return out
}

// Command does what somebody types into a channel: "/berth deploy shop/pr-7". The
// words are matched with the registered commands as the client does; see
// [Server.Suggest] for what it offers meanwhile. It returns when the application
// answered or failed to, and an error for what the client would not send.
func (s *Server) Command(userID, channelID, text string) (Interaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.newInteraction(interactionCommand, userID, channelID)
	if err != nil {
		return Interaction{}, err
	}
	if in.command, in.options, err = s.parseTyped(in.channel, text); err != nil {
		return Interaction{}, err
	}
	return s.begin(in), nil
}

// MessageCommand chooses a command from a message's menu.
func (s *Server) MessageCommand(userID, messageID, name string) (Interaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[messageID]
	if m == nil {
		return Interaction{}, errors.New("discordtest: the message is gone")
	}
	in, err := s.newInteraction(interactionCommand, userID, m.channel.id)
	if err != nil {
		return Interaction{}, err
	}
	for _, cmd := range s.usable(in.channel) {
		if cmd.Type == commandMessage && cmd.Name == name {
			in.command, in.target = cmd, m
			return s.begin(in), nil
		}
	}
	return Interaction{}, fmt.Errorf("discordtest: no message command is called %q", name)
}

// Click clicks on the button with a label, or with a custom_id, of a message.
func (s *Server) Click(userID, messageID, label string) (Interaction, error) {
	return s.use(userID, messageID, func(c Component) bool {
		return c.Type == ComponentButton && (c.Label == label || c.CustomID == label)
	}, nil)
}

// Choose chooses values in the menu with a custom_id.
func (s *Server) Choose(userID, messageID, customID string, values ...string) (Interaction, error) {
	return s.use(userID, messageID, func(c Component) bool { return c.Type == ComponentSelect && c.CustomID == customID }, values)
}

func (s *Server) use(userID, messageID string, which func(Component) bool, values []string) (Interaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.messages[messageID]
	u := s.users[userID]
	if m == nil || u == nil || m.to != nil && m.to != u {
		return Interaction{}, errors.New("discordtest: there is no such message for this user")
	}
	i := slices.IndexFunc(controls(m.body.Components), which)
	if i < 0 {
		return Interaction{}, errors.New("discordtest: the message has no such button")
	}
	c := controls(m.body.Components)[i]
	if c.Disabled || c.Style == ButtonLink && c.Type == ComponentButton {
		return Interaction{}, errors.New("discordtest: the button cannot be clicked, or is a link")
	}
	in, err := s.newInteraction(interactionComponent, userID, m.channel.id)
	if err != nil {
		return Interaction{}, err
	}
	in.target, in.component, in.values = m, c, values
	if m.clicks == nil {
		m.clicks = map[*user]*interaction{}
	}
	m.clicks[u] = in
	return s.begin(in), nil
}

// Submit sends a modal that an interaction opened, with the values of its fields
// by their custom_id or label. Fields that are not named keep what they show.
func (s *Server) Submit(userID, interactionID string, values map[string]string) (Interaction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	opener := s.interactions[interactionID]
	if opener == nil || opener.modal == nil || !opener.modal.Open || opener.user.id != userID {
		return Interaction{}, errors.New("discordtest: there is no such modal open for this user")
	}
	fields := map[string]string{}
	for _, f := range opener.modal.Fields {
		value := f.Value
		for _, key := range []string{f.Label, f.CustomID} {
			if v, ok := values[key]; ok {
				value = v
			}
		}
		n := length(value)
		if f.Required && strings.TrimSpace(value) == "" || n > f.Max || n > 0 && n < f.Min {
			return Interaction{}, fmt.Errorf("discordtest: %s: it needs %d to %d characters", f.Label, max(f.Min, 1), f.Max)
		}
		fields[f.CustomID] = value
	}
	in, err := s.newInteraction(interactionModal, userID, opener.channel.id)
	if err != nil {
		return Interaction{}, err
	}
	opener.modal.Open = false
	in.opener, in.fields, in.target = opener, fields, nil
	if opener.kind == interactionComponent {
		in.target = opener.target
	}
	return s.begin(in), nil
}

// CloseModal closes a modal without sending it.
func (s *Server) CloseModal(interactionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.interactions[interactionID]; in != nil && in.modal != nil {
		in.modal.Open = false
		s.touch()
	}
}

// Dismiss takes an ephemeral message away from its reader, as they can.
func (s *Server) Dismiss(messageID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.messages[messageID]; m != nil && m.to != nil {
		m.dismissed = true
		s.touch()
	}
}

// Suggest asks for suggestions while somebody types: the option that the text
// ends in is the one that they are for. Without one, or where the option has no
// autocomplete, it returns nil.
func (s *Server) Suggest(userID, channelID, text string) ([]Choice, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.newInteraction(interactionTyping, userID, channelID)
	if err != nil {
		return nil, err
	}
	typing, ok := s.completing(in.channel, text)
	if !ok {
		return nil, nil
	}
	in.command, in.options = typing.command, typing.given
	done := s.begin(in)
	if done.Failed != "" {
		return nil, errors.New("discordtest: " + done.Failed)
	}
	return done.Choices, nil
}

func (s *Server) newInteraction(kind int, userID, channelID string) (*interaction, error) {
	u, ch := s.users[userID], s.channels[channelID]
	if u == nil || u.bot || ch == nil || !s.visible(ch, u) {
		return nil, fmt.Errorf("discordtest: the channel %q is not there for the user %q", channelID, userID)
	}
	id := s.newID()
	return &interaction{
		id: id, kind: kind, user: u, channel: ch, at: s.opts.Now(), began: time.Now(), done: make(chan struct{}),
		token: "aW50ZXJhY3Rpb246" + id + rand.Text() + rand.Text() + rand.Text(),
	}, nil
}

// begin delivers an interaction and waits until it is answered. The caller holds
// s.mu, which is let go meanwhile.
func (s *Server) begin(in *interaction) Interaction {
	s.interactions[in.id], s.byToken[in.token] = in, in
	s.order = append(s.order, in)
	s.touch()
	payload := s.payload(in)
	if s.endpoint != "" {
		url := s.endpoint
		s.delivered++
		probe := s.delivered%probeEvery == 0
		s.working.Add(1)
		go func() {
			defer s.working.Done()
			if probe {
				s.probe(url)
			}
			s.deliver(in, url, payload)
		}()
	} else {
		in.reached = s.dispatchInteraction(in.channel.guild, payload)
	}
	s.mu.Unlock()
	timer := time.NewTimer(s.opts.AnswerWithin)
	defer timer.Stop()
	select {
	case <-in.done:
	case <-timer.C:
	case <-s.closing:
	}
	s.mu.Lock()
	if !in.acked && in.failed == "" {
		if in.reached {
			s.strange("interaction %s (%s): no answer within %s", in.id, in.what(), s.opts.AnswerWithin)
		}
		s.fail(in)
	}
	return in.snapshot()
}

// fail has the user read that nothing came. The caller holds s.mu.
func (s *Server) fail(in *interaction) {
	if in.acked || in.failed != "" {
		return
	}
	in.failed = silence
	if in.kind == interactionTyping {
		in.failed = "Loading options failed"
	}
	in.took = time.Since(in.began)
	close(in.done)
	s.touch()
}

// what names the interaction in a list of breaches.
func (in *interaction) what() string {
	switch in.kind {
	case interactionCommand:
		return "/" + in.command.path(in.options)
	case interactionComponent:
		return "a click on " + in.component.CustomID
	case interactionTyping:
		return "suggestions for /" + in.command.path(in.options)
	}
	return "a modal"
}

// path is the command's name with those of its subcommands.
func (cmd *command) path(options []given) string {
	name := cmd.Name
	for len(options) > 0 && (options[0].Type == optionSubcommand || options[0].Type == optionGroup) {
		name += " " + options[0].Name
		options = options[0].Options
	}
	return name
}

// owners say by whose installation the command is there.
func (in *interaction) owners() obj {
	if in.channel.guild == nil {
		return obj{"0": "0"}
	}
	return obj{"0": in.channel.guild.id}
}
