package githubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// Repo is a repository to be made.
type Repo struct {
	Name          string // "owner/name"
	Description   string
	Private       bool
	DefaultBranch string // Empty is "main".
	// ForkOf is the full name of a repository whose branches and commits this
	// one starts with.
	ForkOf string
	// Owner is "Organization" or "User", if the owner is not known yet; empty
	// is an organization, and a user for a fork.
	Owner string
	// Files are a first commit on the default branch; nil leaves the
	// repository empty, or a fork as it is.
	Files fs.FS
}

// AddRepo makes a repository. It returns an error if there is one of this name
// or the files cannot be read.
func (s *Server) AddRepo(r Repo) error {
	owner, name, ok := strings.Cut(r.Name, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("githubtest: %q is not of the form owner/name", r.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(r.Name)
	if s.repos[key] != nil {
		return fmt.Errorf("githubtest: there is already a repository %s", r.Name)
	}
	made := &repo{
		id: s.nextID(), name: name, description: r.Description, private: r.Private,
		defaultBranch: r.DefaultBranch, created: s.now(), pushed: s.now(), roles: map[string]string{},
		branches: map[string]string{}, tags: map[string]string{}, objects: map[string]*commit{},
		threads: map[int]*thread{},
	}
	if made.defaultBranch == "" {
		made.defaultBranch = "main"
	}
	kind := r.Owner
	if r.ForkOf != "" {
		parent, err := s.findRepo(r.ForkOf)
		if err != nil {
			return err
		}
		made.parent, made.objects, made.defaultBranch = parent, parent.objects, parent.defaultBranch
		made.branches, made.tags = maps.Clone(parent.branches), maps.Clone(parent.tags)
		if kind == "" {
			kind = "User"
		}
	}
	if _, known := s.accounts[strings.ToLower(owner)]; !known && kind != "User" {
		s.account(owner).kind = "Organization"
	}
	made.owner = s.account(owner)
	s.repos[key] = made
	if s.webhook != nil && !s.webhook.AsApp {
		made.hooks = append(made.hooks, s.newHook(made))
	}
	if r.Files == nil {
		return nil
	}
	_, err := s.commitTo(made, Commit{Files: r.Files, Message: "Initial commit", Author: made.owner.login})
	return err
}

// User is an account to be made, or changed if there is one of this login.
type User struct {
	Login string // That of a bot ends in "[bot]" if it belongs to an App.
	Type  string // "User", "Bot" or "Organization"; empty is "User".
	Name  string
	Email string
	// Roles by the repositories' full names: "read", "triage", "write",
	// "maintain", "admin" or "none".
	Roles map[string]string
}

// AddUser makes an account. It returns an error for an unknown repository or
// role.
func (s *Server) AddUser(u User) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(u.Login)
	if u.Type != "" {
		a.kind = u.Type
	}
	a.name, a.email = u.Name, u.Email
	var errs []error
	for repo, role := range u.Roles {
		errs = append(errs, s.setRole(repo, u.Login, role))
	}
	return errors.Join(errs...)
}

// SetRole changes what a user may do in a repository; see [User.Roles].
func (s *Server) SetRole(repo, login, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setRole(repo, login, role)
}

func (s *Server) setRole(fullName, login, role string) error {
	r, err := s.findRepo(fullName)
	if err != nil {
		return err
	}
	if _, ok := roleRank[role]; !ok {
		return fmt.Errorf("githubtest: there is no role %q", role)
	}
	s.account(login)
	r.roles[strings.ToLower(login)] = role
	return nil
}

// AddTeam makes a team of an organization, or replaces its members.
func (s *Server) AddTeam(org, slug string, members ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &team{id: s.nextID(), org: org, slug: slug, members: map[string]string{}}
	for _, login := range members {
		s.account(login)
		t.members[strings.ToLower(login)] = "member"
	}
	s.teams[strings.ToLower(org+"/"+slug)] = t
}

// InstallApp installs the App of [Options.App] on an account's repositories;
// with none named, on all of them. It returns the installation's id.
func (s *Server) InstallApp(owner string, repos ...string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.App == nil {
		return 0, errors.New("githubtest: there is no App to install, see Options.App")
	}
	i := &installation{id: s.nextID(), account: s.account(owner), created: s.now()}
	for _, name := range repos {
		if !strings.Contains(name, "/") {
			name = owner + "/" + name
		}
		i.repos = append(i.repos, name)
	}
	s.installations = append(s.installations, i)
	return i.id, nil
}

// Commit is a commit to be made on a branch.
type Commit struct {
	Branch  string // Empty is the default branch. A new one starts at the default branch.
	Message string // Empty is "Update".
	Author  string // Empty is the repository's owner.
	// Files are all files of the commit; nil keeps those of its parent.
	Files fs.FS
	// Write lays files over that: path → content.
	Write map[string]string
	// Remove takes paths away.
	Remove []string
}

// AddCommit pushes a commit to a branch and returns its SHA. An open pull
// request of that branch is synchronized, as it is at GitHub.
func (s *Server) AddCommit(repo string, c Commit) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return "", err
	}
	return s.commitTo(r, c)
}

func (s *Server) commitTo(r *repo, c Commit) (string, error) {
	if c.Branch == "" {
		c.Branch = r.defaultBranch
	}
	if c.Message == "" {
		c.Message = "Update"
	}
	if c.Author == "" {
		c.Author = r.owner.login
	}
	parent, ok := r.branches[c.Branch]
	if !ok {
		parent = r.branches[r.defaultBranch]
	}
	files := map[string]file{}
	var parents []string
	if p := r.objects[parent]; p != nil {
		files, parents = maps.Clone(p.files), []string{p.sha}
	}
	if c.Files != nil {
		var err error
		if files, err = readTree(c.Files); err != nil {
			return "", err
		}
	}
	for name, content := range c.Write {
		files[name] = file{mode: "100644", data: []byte(content), sha: objectSHA("blob", []byte(content))}
	}
	for _, name := range c.Remove {
		delete(files, name)
	}
	author := s.account(c.Author)
	made := s.newCommit(r, files, c.Message, author, parents...)
	s.moveBranch(r, c.Branch, made.sha, author)
	return made.sha, nil
}

// Tag points a tag at what ref names.
func (s *Server) Tag(repo, tag, ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return err
	}
	at := r.resolve(ref)
	if at == nil {
		return fmt.Errorf("githubtest: %s has no %s", repo, ref)
	}
	r.tags[tag] = at.sha
	return nil
}

// DeleteBranch removes a branch; its pull requests keep their commits.
func (s *Server) DeleteBranch(repo, branch string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return err
	}
	delete(r.branches, branch)
	s.touch()
	return nil
}

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
