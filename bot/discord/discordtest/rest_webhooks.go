package discordtest

// callback answers an interaction over REST, as those do that came by the
// gateway.
func (s *Server) callback(c *call) (any, *refusal) {
	in := s.interactions[c.params["interaction"]]
	if in == nil || in.token != c.params["token"] {
		return nil, unknownInteraction
	}
	if no := s.respond(in, c); no != nil {
		return nil, no
	}
	if c.query.Get("with_response") != "true" {
		return nil, nil
	}
	c.status = 200
	about := obj{"id": in.id, "type": in.kind, "response_message_loading": in.callback == answerDeferred, "response_message_ephemeral": false}
	resource := obj{"type": in.callback}
	if in.original != nil {
		about["response_message_id"], about["response_message_ephemeral"] = in.original.id, in.original.to != nil
		resource["message"] = s.wireMessage(in.original)
	}
	return obj{"interaction": about, "resource": resource}, nil
}

// answering finds the interaction of a webhook's token.
func (s *Server) answering(c *call) (*interaction, *refusal) {
	if c.params["application"] != s.app.id {
		return nil, unknownWebhook
	}
	in := s.byToken[c.params["token"]]
	if in == nil || in.expired || s.opts.Now().Sub(in.at) > tokenFor {
		return nil, invalidToken
	}
	if !in.acked {
		return nil, unknownWebhook
	}
	return in, nil
}

// followUp makes one more message. The first after a deferred answer fills that
// in, with its ephemerality.
func (s *Server) followUp(c *call) (any, *refusal) {
	in, no := s.answering(c)
	if no != nil {
		return nil, no
	}
	var bs breaches
	limitMessage(c.body, onResponse, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	for _, name := range []string{"username", "avatar_url", "thread_name"} {
		if c.body[name] != nil {
			s.strange("%s: %s is not for interactions", c.route.name, name)
		}
	}
	flags := s.flagsOf(c, flagSuppressEmbeds|flagEphemeral|flagSilent)
	if m := in.original; m != nil && m.flags&flagLoading != 0 && s.messages[m.id] == m {
		if (flags&flagEphemeral != 0) != (m.to != nil) {
			s.strange("%s: the ephemerality of a deferred answer was fixed when it was deferred", c.route.name)
		}
		return s.complete(m, c)
	}
	m := s.response(in, flags)
	if no := s.fill(m, c, c.body); no != nil {
		return nil, no
	}
	s.post(m)
	s.call(m, c.body, false)
	s.dispatchMessage(m)
	return s.wireMessage(m), nil
}

// complete fills a deferred answer in.
func (s *Server) complete(m *message, c *call) (any, *refusal) {
	if no := s.fill(m, c, c.body); no != nil {
		return nil, no
	}
	m.flags &^= flagLoading
	s.call(m, c.body, false)
	s.dispatchMessage(m)
	s.touch()
	return s.wireMessage(m), nil
}

// responseOf finds the route's message, which may be "@original".
func (s *Server) responseOf(c *call) (*message, *refusal) {
	in, no := s.answering(c)
	if no != nil {
		return nil, no
	}
	m := s.messages[c.params["message"]]
	if c.params["message"] == "@original" {
		m = in.original
	}
	if m == nil || s.messages[m.id] != m || m != in.original && (m.interaction == nil || m.interaction != in) {
		return nil, unknownMessage
	}
	return m, nil
}

func (s *Server) getResponse(c *call) (any, *refusal) {
	m, no := s.responseOf(c)
	if no != nil {
		return nil, no
	}
	return s.wireMessage(m), nil
}

func (s *Server) editResponse(c *call) (any, *refusal) {
	m, no := s.responseOf(c)
	if no != nil {
		return nil, no
	}
	var bs breaches
	limitMessage(c.body, onEdit, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	s.flagsOf(c, flagSuppressEmbeds)
	if m.flags&flagLoading != 0 {
		return s.complete(m, c)
	}
	if no := s.edit(m, c, c.body); no != nil {
		return nil, no
	}
	s.mention(m, c.body)
	s.dispatchEdited(m)
	return s.wireMessage(m), nil
}

func (s *Server) deleteResponse(c *call) (any, *refusal) {
	m, no := s.responseOf(c)
	if no != nil {
		return nil, no
	}
	s.remove(m)
	return nil, nil
}
