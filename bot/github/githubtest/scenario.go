package githubtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
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

// InviteToTeam makes login somebody who has yet to accept a place in a team.
func (s *Server) InviteToTeam(org, slug, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.teams[strings.ToLower(org+"/"+slug)]
	if t == nil {
		return fmt.Errorf("githubtest: there is no team %s/%s", org, slug)
	}
	s.account(login)
	t.members[strings.ToLower(login)] = invited
	return nil
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
