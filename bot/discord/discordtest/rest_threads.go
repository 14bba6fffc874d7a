package discordtest

import "net/http"

// startThread hangs a thread on a message. Its id is the message's.
// Source: https://docs.discord.com/developers/resources/channel#start-thread-from-message
func (s *Server) startThread(c *call) (any, *refusal) {
	m, no := s.messageOf(c)
	if no != nil {
		return nil, no
	}
	if no := s.mayThread(c, m.channel); no != nil {
		return nil, no
	}
	if m.thread != nil {
		return nil, threadExists
	}
	name, _ := c.body["name"].(string)
	m.thread = s.newThread(m.channel, m.id, name)
	m.flags |= flagHasThread
	s.dispatch(m.channel.guild, "THREAD_CREATE", withNew(wireChannel(m.thread)), 0)
	s.touch()
	c.status = http.StatusCreated
	return wireChannel(m.thread), nil
}

// createThread starts a thread on nothing.
func (s *Server) createThread(c *call) (any, *refusal) {
	ch, no := s.channelOf(c)
	if no != nil {
		return nil, no
	}
	if no := s.mayThread(c, ch); no != nil {
		return nil, no
	}
	name, _ := c.body["name"].(string)
	t := s.newThread(ch, s.newID(), name)
	s.dispatch(ch.guild, "THREAD_CREATE", withNew(wireChannel(t)), 0)
	s.touch()
	return wireChannel(t), nil
}

func withNew(thread obj) obj {
	thread["newly_created"] = true
	return thread
}

func (s *Server) mayThread(c *call, ch *channel) *refusal {
	if ch.kind != channelText {
		return wrongChannelType
	}
	if ch.may()&CreatePublicThreads == 0 {
		return missingPermissions
	}
	var bs breaches
	limitThread(c.body, &bs)
	return s.judge(c.route.name, bs)
}

func (s *Server) newThread(parent *channel, id, name string) *channel {
	t := &channel{id: id, name: name, kind: channelThread, guild: parent.guild, parent: parent, owner: s.app.id, made: s.opts.Now()}
	s.channels[id] = t
	return t
}
