package githubtest

import (
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// PullRequest is a pull request to be opened.
type PullRequest struct {
	Repo     string // where it is opened, "owner/name"
	HeadRepo string // Empty is Repo; else the full name of a fork.
	// Head is the branch. One that does not exist is made, with one commit
	// that has Files, or else those of the base.
	Head   string
	Base   string // Empty is the default branch.
	Title  string // Empty is made from Head.
	Body   string
	Author string
	Draft  bool
	Files  fs.FS
}

// OpenPullRequest opens a pull request and returns its number.
func (s *Server) OpenPullRequest(p PullRequest) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(p.Repo)
	if err != nil {
		return 0, err
	}
	from := r
	if p.HeadRepo != "" {
		if from, err = s.findRepo(p.HeadRepo); err != nil {
			return 0, err
		}
	}
	if p.Base == "" {
		p.Base = r.defaultBranch
	}
	if p.Head == "" || p.Author == "" || r.branches[p.Base] == "" {
		return 0, fmt.Errorf("githubtest: a pull request on %s needs a head, an author and a base that has commits", p.Repo)
	}
	if p.Title == "" {
		p.Title = strings.ToUpper(p.Head[:1]) + strings.ReplaceAll(p.Head[1:], "-", " ")
	}
	if _, exists := from.branches[p.Head]; !exists || p.Files != nil {
		if _, err := s.commitTo(from, Commit{Branch: p.Head, Author: p.Author, Message: p.Title, Files: p.Files}); err != nil {
			return 0, err
		}
	}
	t := s.newThread(r, p.Title, p.Body, p.Author)
	t.pull = &pull{
		id: s.nextID(), headRepo: from, head: p.Head, base: p.Base, headSHA: from.branches[p.Head], draft: p.Draft,
	}
	for _, c := range r.between(r.branches[p.Base], t.pull.headSHA) {
		t.events = append(t.events, event{id: s.nextID(), at: s.now(), actor: c.author, kind: "committed", sha: c.sha})
	}
	s.announcePull(t, "opened", t.author, nil)
	return t.number, nil
}

// OpenIssue opens a plain issue and returns its number.
func (s *Server) OpenIssue(repo, author, title, body string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return 0, err
	}
	t := s.newThread(r, title, body, author)
	s.announce(r, "issues", "opened", t.author, obj{"issue": s.issueView(t)})
	return t.number, nil
}

func (s *Server) newThread(r *repo, title, body, author string) *thread {
	r.lastNumber++
	t := &thread{
		id: s.nextID(), repo: r, number: r.lastNumber, title: title, body: body,
		author: s.account(author), state: "open", created: s.now(), updated: s.now(),
	}
	r.threads[t.number] = t
	s.touch()
	return t
}

// PushToPullRequest pushes a commit to the pull request's head branch, whatever
// c.Branch says, and returns its SHA.
func (s *Server) PushToPullRequest(repo string, number int, c Commit) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findPull(repo, number)
	if err != nil {
		return "", err
	}
	c.Branch = t.pull.head
	if c.Author == "" {
		c.Author = t.author.login
	}
	return s.commitTo(t.pull.headRepo, c)
}

// moveBranch points a branch at a commit and tells the hooks: a push, and a
// synchronize for each open pull request of the branch.
func (s *Server) moveBranch(r *repo, branch, sha string, actor *account) {
	before := r.branches[branch]
	r.branches[branch], r.pushed = sha, s.now()
	s.touch()
	s.announcePush(r, branch, before, sha, actor)
	for _, other := range s.repos {
		for _, t := range other.pullsByNumber() {
			p := t.pull
			if t.state != "open" || p.headRepo != r || p.head != branch || p.headSHA == sha {
				continue
			}
			for _, c := range other.between(p.headSHA, sha) {
				t.events = append(t.events, event{id: s.nextID(), at: s.now(), actor: c.author, kind: "committed", sha: c.sha})
			}
			old := p.headSHA
			p.headSHA, t.updated = sha, s.now()
			s.announcePull(t, "synchronize", actor, obj{"before": old, "after": sha})
		}
	}
}

// ClosePullRequest closes a pull request without merging it.
func (s *Server) ClosePullRequest(repo string, number int, login string) error {
	return s.setState(repo, number, login, "closed", "closed")
}

// ReopenPullRequest opens a closed pull request again.
func (s *Server) ReopenPullRequest(repo string, number int, login string) error {
	return s.setState(repo, number, login, "open", "reopened")
}

// RetargetPullRequest points an open pull request at another branch of its
// repository, as whoever opened it may.
func (s *Server) RetargetPullRequest(repo string, number int, login, base string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findPull(repo, number)
	if err != nil {
		return err
	}
	sha := t.repo.branches[base]
	if t.state != "open" || sha == "" {
		return fmt.Errorf("githubtest: %s#%d cannot be pointed at %q", repo, number, base)
	}
	old := t.pull.base
	t.pull.base, t.updated = base, s.now()
	s.touch()
	s.announcePull(t, "edited", s.account(login), obj{"changes": obj{"base": obj{
		"ref": obj{"from": old}, "sha": obj{"from": t.repo.branches[old]},
	}}})
	return nil
}

func (s *Server) setState(repo string, number int, login, state, action string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findPull(repo, number)
	if err != nil {
		return err
	}
	if t.state == state || t.pull.merged() {
		return fmt.Errorf("githubtest: %s#%d cannot be %s, it is %s", repo, number, action, t.shownState())
	}
	s.setThreadState(t, login, state, action)
	return nil
}

func (s *Server) setThreadState(t *thread, login, state, action string) {
	actor := s.account(login)
	t.state, t.updated, t.closed = state, s.now(), s.now()
	if state == "open" {
		t.closed = time.Time{}
	}
	if !t.pull.merged() { // A merge has an event of its own.
		t.events = append(t.events, event{id: s.nextID(), at: s.now(), actor: actor, kind: action})
	}
	s.touch()
	s.announcePull(t, action, actor, nil)
}

// MergePullRequest merges a pull request with a merge commit, whose SHA it
// returns. It returns an error if it is not open or has a conflict.
func (s *Server) MergePullRequest(repo string, number int, login string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findPull(repo, number)
	if err != nil {
		return "", err
	}
	p, base := t.pull, t.repo.branches[t.pull.base]
	if t.state != "open" {
		return "", fmt.Errorf("githubtest: %s#%d is %s already", repo, number, t.shownState())
	}
	files, clean := t.repo.merge(base, p.headSHA)
	if !clean {
		return "", fmt.Errorf("githubtest: %s#%d has a merge conflict", repo, number)
	}
	actor := s.account(login)
	message := fmt.Sprintf("Merge pull request #%d from %s/%s\n\n%s", number, p.headRepo.owner.login, p.head, t.title)
	made := s.newCommit(t.repo, files, message, actor, base, p.headSHA)
	p.mergeSHA, p.mergedAt, p.mergedBy = made.sha, s.now(), actor
	t.events = append(t.events, event{id: s.nextID(), at: s.now(), actor: actor, kind: "merged", sha: made.sha})
	s.setThreadState(t, login, "closed", "closed")
	s.moveBranch(t.repo, p.base, made.sha, actor)
	return made.sha, nil
}
