package githubtest

import (
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

func (s *Server) listPulls(c *call) *reply {
	q := c.r.URL.Query()
	var found []*thread
	for _, t := range c.repo.pullsByNumber() {
		state := q.Get("state")
		if state == "" {
			state = "open"
		}
		head := t.pull.headRepo.owner.login + ":" + t.pull.head
		if (state != "all" && state != t.state) ||
			(q.Get("base") != "" && q.Get("base") != t.pull.base) ||
			(strings.Contains(q.Get("head"), ":") && !strings.EqualFold(q.Get("head"), head)) {
			continue
		}
		found = append(found, t)
	}
	slices.SortStableFunc(found, func(a, b *thread) int {
		if q.Get("sort") == "updated" {
			return a.updated.Compare(b.updated)
		}
		return a.number - b.number
	})
	// Newest first, unless the order was asked for together with a sort.
	if dir := q.Get("direction"); dir == "desc" || (dir == "" && (q.Get("sort") == "" || q.Get("sort") == "created")) {
		slices.Reverse(found)
	}
	return list(s, c, found, func(t *thread) any { return s.pullShort(t) }, nil)
}

// pullsByNumber lists the pull requests, oldest first.
func (r *repo) pullsByNumber() []*thread {
	var all []*thread
	for n := 1; n <= r.lastNumber; n++ {
		if t := r.threads[n]; t != nil && t.pull != nil {
			all = append(all, t)
		}
	}
	return all
}

// onPull runs f with the pull request of the path.
func (s *Server) onPull(c *call, f func(*thread) *reply) *reply {
	t := c.repo.threads[int(c.id("pull_number"))]
	if t == nil || t.pull == nil {
		return notFound()
	}
	return f(t)
}

func (s *Server) getPull(c *call) *reply {
	return s.onPull(c, func(t *thread) *reply { return answer(http.StatusOK, s.pullView(t)) })
}

func (s *Server) listPullCommits(c *call) *reply {
	return s.onPull(c, func(t *thread) *reply {
		commits := t.repo.between(s.baseSHA(t), t.pull.headSHA)
		return list(s, c, commits, func(x *commit) any { return s.commitView(t.repo, x) }, nil)
	})
}

func (s *Server) listPullFiles(c *call) *reply {
	return s.onPull(c, func(t *thread) *reply {
		return list(s, c, s.pullChanges(t), func(x change) any { return s.changeView(t.repo, t.pull.headSHA, x) }, nil)
	})
}

// onThread runs f with the issue or pull request of the path.
func (s *Server) onThread(c *call, f func(*thread) *reply) *reply {
	t := c.repo.threads[int(c.id("issue_number"))]
	if t == nil {
		return notFound()
	}
	return f(t)
}

func (s *Server) getIssue(c *call) *reply {
	return s.onThread(c, func(t *thread) *reply { return answer(http.StatusOK, s.issueView(t)) })
}

func (s *Server) listComments(c *call) *reply {
	return s.onThread(c, func(t *thread) *reply {
		after := since(c.r)
		var recent []*comment
		for _, x := range t.comments {
			if !x.updated.Before(after) {
				recent = append(recent, x)
			}
		}
		return list(s, c, recent, func(x *comment) any { return s.commentView(x) }, nil)
	})
}

// maxComment is the longest body of a comment in characters.
const maxComment = 65536

func checkCommentBody(body string) *reply {
	if strings.TrimSpace(body) == "" {
		return invalid("IssueComment", "body", "missing_field", "Body cannot be blank")
	}
	if utf8.RuneCountInString(body) > maxComment {
		return invalid("IssueComment", "body", "unprocessable", "body is too long (maximum is 65536 characters)")
	}
	return nil
}

func (s *Server) createComment(c *call) *reply {
	return s.onThread(c, func(t *thread) *reply {
		if refusal := checkCommentBody(c.text("body")); refusal != nil {
			return refusal
		}
		x := s.addComment(t, c.who.user, c.who.viaApp(), c.text("body"))
		view := s.commentView(x)
		out := answer(http.StatusCreated, view)
		location, _ := view["url"].(string)
		out.header = http.Header{"Location": {location}}
		return out
	})
}

// onComment runs f with the comment of the path. With mine, the caller must
// have written it or be allowed to change other people's.
func (s *Server) onComment(c *call, mine bool, f func(*comment) *reply) *reply {
	x := s.findComment(c.repo, c.id("comment_id"))
	if x == nil {
		return notFound()
	}
	if mine && x.author != c.who.user && roleRank[c.repo.role(c.who.user.login)] < roleRank["write"] {
		return problem(http.StatusForbidden, "Must have admin rights to Repository.")
	}
	return f(x)
}

func (s *Server) getComment(c *call) *reply {
	return s.onComment(c, false, func(x *comment) *reply { return answer(http.StatusOK, s.commentView(x)) })
}

func (s *Server) updateComment(c *call) *reply {
	return s.onComment(c, true, func(x *comment) *reply {
		if refusal := checkCommentBody(c.text("body")); refusal != nil {
			return refusal
		}
		s.editComment(x, c.who.user, c.text("body"))
		return answer(http.StatusOK, s.commentView(x))
	})
}

func (s *Server) deleteComment(c *call) *reply {
	return s.onComment(c, true, func(x *comment) *reply {
		s.dropComment(x, c.who.user)
		return answer(http.StatusNoContent, nil)
	})
}

// onReactions runs f with the reactions of the comment or issue of the path.
func (s *Server) onReactions(c *call, f func(*[]*reaction) *reply) *reply {
	if c.params["comment_id"] != "" {
		return s.onComment(c, false, func(x *comment) *reply { return f(&x.reactions) })
	}
	return s.onThread(c, func(t *thread) *reply { return f(&t.reactions) })
}

func (s *Server) listReactions(c *call) *reply {
	return s.onReactions(c, func(all *[]*reaction) *reply {
		kind := c.r.URL.Query().Get("content")
		var found []*reaction
		for _, x := range *all {
			if kind == "" || kind == x.content {
				found = append(found, x)
			}
		}
		return list(s, c, found, func(x *reaction) any { return s.reactionView(x) }, nil)
	})
}

func (s *Server) createReaction(c *call) *reply {
	return s.onReactions(c, func(all *[]*reaction) *reply {
		x, made := s.react(all, c.who.user, c.text("content"))
		if !made {
			return answer(http.StatusOK, s.reactionView(x))
		}
		return answer(http.StatusCreated, s.reactionView(x))
	})
}

// react adds a reaction, unless the same one of the same user is there.
func (s *Server) react(all *[]*reaction, who *account, content string) (*reaction, bool) {
	for _, x := range *all {
		if x.user == who && x.content == content {
			return x, false
		}
	}
	x := &reaction{id: s.nextID(), user: who, content: content, created: s.now()}
	*all = append(*all, x)
	s.touch()
	return x, true
}

func (s *Server) deleteReaction(c *call) *reply {
	return s.onReactions(c, func(all *[]*reaction) *reply {
		for i, x := range *all {
			if x.id != c.id("reaction_id") {
				continue
			}
			if x.user != c.who.user {
				return problem(http.StatusForbidden, "You can only delete your own reactions.")
			}
			*all = slices.Delete(*all, i, i+1)
			s.touch()
			return answer(http.StatusNoContent, nil)
		}
		return notFound()
	})
}
