package githubtest

import (
	"errors"
	"fmt"
	"slices"
)

// Comment adds a comment by the user and returns its id. Whoever cannot see the
// repository cannot comment.
func (s *Server) Comment(repo string, number int, login, body string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findThread(repo, number)
	if err != nil {
		return 0, err
	}
	if t.repo.role(login) == "none" {
		return 0, fmt.Errorf("githubtest: %s cannot see %s", login, repo)
	}
	if checkCommentBody(body) != nil {
		return 0, errors.New("githubtest: a comment has between 1 and 65536 characters")
	}
	return s.addComment(t, s.account(login), false, body).id, nil
}

// EditComment changes a comment's text as the user does it on the page.
func (s *Server) EditComment(repo string, id int64, login, body string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return err
	}
	x := s.findComment(r, id)
	if x == nil {
		return fmt.Errorf("githubtest: %s has no comment %d", repo, id)
	}
	s.editComment(x, s.account(login), body)
	return nil
}

// DeleteComment removes a comment.
func (s *Server) DeleteComment(repo string, id int64, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return err
	}
	x := s.findComment(r, id)
	if x == nil {
		return fmt.Errorf("githubtest: %s has no comment %d", repo, id)
	}
	s.dropComment(x, s.account(login))
	return nil
}

// React adds a user's reaction to a comment: one of +1, -1, laugh, hooray,
// confused, heart, rocket and eyes. GitHub sends no webhook for it.
func (s *Server) React(repo string, id int64, login, content string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return err
	}
	x := s.findComment(r, id)
	if x == nil || !slices.Contains(reactionKinds, content) {
		return fmt.Errorf("githubtest: cannot react with %q to comment %d of %s", content, id, repo)
	}
	s.react(&x.reactions, s.account(login), content)
	return nil
}

func (s *Server) addComment(t *thread, who *account, viaApp bool, body string) *comment {
	x := &comment{id: s.nextID(), thread: t, author: who, viaApp: viaApp, body: body, created: s.now(), updated: s.now()}
	t.comments = append(t.comments, x)
	t.updated = x.created
	s.touch()
	s.announceComment(x, "created", who, nil)
	return x
}

func (s *Server) editComment(x *comment, who *account, body string) {
	old := x.body
	x.body, x.updated = body, s.now()
	x.edits++
	s.touch()
	s.announceComment(x, "edited", who, obj{"changes": obj{"body": obj{"from": old}}})
}

func (s *Server) dropComment(x *comment, who *account) {
	x.thread.comments = slices.DeleteFunc(x.thread.comments, func(y *comment) bool { return x == y })
	s.touch()
	s.announceComment(x, "deleted", who, nil)
}
