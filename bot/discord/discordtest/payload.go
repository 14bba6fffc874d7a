package discordtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// payload is an interaction as Discord sends it.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-object
func (s *Server) payload(in *interaction) obj {
	out := obj{
		"id": in.id, "application_id": s.app.id, "type": in.kind, "token": in.token, "version": 1, "locale": "en-US", "entitlements": []any{},
		"channel_id": in.channel.id, "channel": wireChannel(in.channel), "authorizing_integration_owners": in.owners(),
		"attachment_size_limit": maxFile,
	}
	if g := in.channel.guild; g != nil {
		m := wireMember(g.members[in.user.id], true)
		m["permissions"] = fmt.Sprint(everything)
		out["member"] = m
		out["guild_id"], out["guild_locale"], out["context"] = g.id, "en-US", 0
		out["guild"] = obj{"id": g.id, "locale": "en-US", "features": []any{}}
		out["app_permissions"] = fmt.Sprint(in.channel.may())
	} else {
		out["user"], out["context"] = wireUser(in.user), 1
		out["app_permissions"] = fmt.Sprint(everything)
	}
	switch in.kind {
	case interactionCommand, interactionTyping:
		out["data"] = s.commandData(in)
	case interactionComponent:
		data := obj{"custom_id": in.component.CustomID, "component_type": in.component.Type}
		if in.component.Type != ComponentButton {
			data["values"] = in.values
		}
		out["data"] = data
	case interactionModal:
		out["data"] = in.modalData()
	}
	if in.target != nil && in.kind != interactionCommand {
		out["message"] = s.wireMessage(in.target)
	}
	return out
}

// commandData says what was typed, with what ids in it stand for.
func (s *Server) commandData(in *interaction) obj {
	data := obj{"id": in.command.ID, "name": in.command.Name, "type": in.command.Type}
	if in.command.GuildID != "" {
		data["guild_id"] = in.command.GuildID
	}
	if in.target != nil {
		data["target_id"] = in.target.id
		data["resolved"] = obj{"messages": obj{in.target.id: s.wireMessage(in.target)}}
		return data
	}
	if len(in.options) == 0 {
		return data
	}
	data["options"] = into[[]any](in.options)
	users, members := obj{}, obj{}
	var walk func([]given)
	walk = func(list []given) {
		for _, o := range list {
			walk(o.Options)
			id, _ := o.Value.(string)
			if u := s.users[id]; o.Type == optionUser && u != nil {
				users[id] = wireUser(u)
				if g := in.channel.guild; g != nil && g.members[id] != nil {
					m := wireMember(g.members[id], false)
					m["permissions"] = fmt.Sprint(everything)
					delete(m, "deaf")
					delete(m, "mute")
					members[id] = m
				}
			}
		}
	}
	walk(in.options)
	if len(users) > 0 {
		data["resolved"] = obj{"users": users, "members": members}
	}
	return data
}

// modalData is what was submitted, in the shape in which the modal was made.
func (in *interaction) modalData() obj {
	rows := []any{}
	for _, row := range in.opener.raw {
		input := func(c Component) obj {
			return obj{"type": c.Type, "id": c.ID, "custom_id": c.CustomID, "value": in.fields[c.CustomID]}
		}
		if row.Type == ComponentLabel {
			rows = append(rows, obj{"type": row.Type, "id": row.ID, "component": input(*row.Component)})
		} else {
			rows = append(rows, obj{"type": row.Type, "id": row.ID, "components": []any{input(row.Components[0])}})
		}
	}
	return obj{"custom_id": in.opener.modal.CustomID, "components": rows, "resolved": obj{}}
}

// callbacks are the types of answers and what the description calls them.
// Source: https://docs.discord.com/developers/interactions/receiving-and-responding#interaction-response-object-interaction-callback-type
var callbacks = map[int]string{
	1: "pong", 4: "channelMessage", 5: "deferred", 6: "deferredUpdate", 7: "updateMessage", 8: "autocomplete", 9: "modal",
}

// Types of answers.
const (
	answerMessage        = 4
	answerDeferred       = 5
	answerDeferredUpdate = 6
	answerUpdate         = 7
	answerChoices        = 8
	answerModal          = 9
)

// answers are the types that an interaction may be answered with.
func (in *interaction) answers() []int {
	switch in.kind {
	case interactionTyping:
		return []int{answerChoices}
	case interactionComponent:
		return []int{answerMessage, answerDeferred, answerDeferredUpdate, answerUpdate, answerModal}
	case interactionModal:
		if in.target != nil {
			return []int{answerMessage, answerDeferred, answerDeferredUpdate, answerUpdate}
		}
		return []int{answerMessage, answerDeferred}
	}
	return []int{answerMessage, answerDeferred, answerModal}
}

// respond takes the one answer to an interaction. The caller holds s.mu.
func (s *Server) respond(in *interaction, c *call) *refusal {
	if in.acked {
		s.strange("interaction %s (%s) was answered twice", in.id, in.what())
		return acknowledged
	}
	if in.failed != "" {
		return unknownInteraction
	}
	n, _ := c.body["type"].(float64)
	kind := int(n)
	if !slices.Contains(in.answers(), kind) {
		var bs breaches
		bs.add([]string{"type"}, "INTERACTION_RESPONSE_TYPE_INVALID", "an interaction of type %d cannot be answered by %v", in.kind, c.body["type"])
		return s.judge(c.route.name, bs)
	}
	data, _ := c.body["data"].(map[string]any)
	if kind == answerChoices || kind == answerModal {
		dropIdle(data)
	}
	bs, err := checkType(callbacks[kind], c.value)
	if err != nil {
		return &refusal{status: 500, message: err.Error()}
	}
	if no := s.judge(c.route.name, bs); no != nil {
		return no
	}
	if no := s.apply(in, kind, c, data); no != nil {
		return no
	}
	in.acked, in.callback, in.took = true, kind, time.Since(in.began)
	close(in.done)
	s.touch()
	return nil
}

// dropIdle removes what client libraries write into every answer and Discord
// passes over where it means nothing.
func dropIdle(data obj) {
	for name, idle := range map[string]any{"tts": false, "content": ""} {
		if data[name] == idle {
			delete(data, name)
		}
	}
}

func (s *Server) apply(in *interaction, kind int, c *call, data obj) *refusal {
	var bs breaches
	switch kind {
	case answerChoices:
		in.choices = into[[]Choice](data["choices"])
		focused, _ := focus(in.options)
		limitChoices(in.choices, focused.Type, []string{"data", "choices"}, &bs)
		return s.judge(c.route.name, bs)
	case answerModal:
		limitModal(data, &bs)
		if no := s.judge(c.route.name, bs); no != nil {
			return no
		}
		in.open(data)
		return nil
	case answerDeferredUpdate:
		in.original = in.target
		return nil
	}
	part := &call{Request: c.Request, route: c.route, params: c.params, body: data, files: c.files}
	limitMessage(data, onResponse, &bs)
	bs = bs.under("data")
	if no := s.judge(c.route.name, bs); no != nil {
		return no
	}
	if kind == answerUpdate {
		in.original = in.target
		if no := s.edit(in.target, part, data); no != nil {
			return no
		}
		s.dispatchEdited(in.target)
		return nil
	}
	m := s.response(in, s.flagsOf(part, flagSuppressEmbeds|flagEphemeral|flagSilent))
	if kind == answerDeferred {
		m.flags |= flagLoading
	} else if no := s.fill(m, part, data); no != nil {
		return no
	}
	in.original = m
	s.post(m)
	if kind == answerMessage {
		s.call(m, data, false)
		s.dispatchMessage(m)
	}
	return nil
}

// response makes a message that answers an interaction.
func (s *Server) response(in *interaction, flags int) *message {
	m := &message{channel: in.channel, author: s.app, interaction: in, flags: flags, id: s.newID()}
	if flags&flagEphemeral != 0 {
		m.to = in.user
	}
	return m
}

// open shows a modal.
func (in *interaction) open(data obj) {
	title, _ := data["title"].(string)
	id, _ := data["custom_id"].(string)
	in.raw = into[[]Component](data["components"])
	in.modal = &Modal{Interaction: in.id, CustomID: id, Title: title, Open: true}
	next := 0
	for i := range in.raw {
		next++
		in.raw[i].ID = next
		field := ModalField{Hint: in.raw[i].Description, Label: in.raw[i].Label}
		input := in.raw[i].Component
		if in.raw[i].Type == ComponentRow {
			input = &in.raw[i].Components[0]
			field.Label = input.Label
		}
		next++
		input.ID = next
		field.CustomID, field.Value, field.Placeholder, field.Long = input.CustomID, input.Value, input.Placeholder, input.Style == InputParagraph
		field.Required, field.Max = true, maxInputText
		if input.Required != nil {
			field.Required = *input.Required
		}
		if input.MinLength != nil {
			field.Min = *input.MinLength
		}
		if input.MaxLength != nil {
			field.Max = *input.MaxLength
		}
		in.modal.Fields = append(in.modal.Fields, field)
	}
}

// focus is the option that somebody is typing.
func focus(options []given) (given, bool) {
	for _, o := range options {
		if o.Focused {
			return o, true
		}
		if found, ok := focus(o.Options); ok {
			return found, true
		}
	}
	return given{}, false
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte("null") // Nothing that the stand-in makes is beyond JSON.
	}
	return raw
}
