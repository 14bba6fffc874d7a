package githubtest

import (
	"fmt"
	"strings"
	"time"
)

// account is a person, a bot or an organization.
type account struct {
	id      int64
	login   string
	kind    string // "User", "Bot" or "Organization"
	name    string
	email   string
	created time.Time
}

func (a *account) mail() string {
	if a.email != "" {
		return a.email
	}
	return fmt.Sprintf("%d+%s@users.noreply.github.com", a.id, a.login)
}

// repo is a repository. Forks share the commits of the repository that they
// were made from, as they do at GitHub.
type repo struct {
	id            int64
	owner         *account
	name          string
	description   string
	private       bool
	defaultBranch string
	parent        *repo
	created       time.Time
	pushed        time.Time

	roles    map[string]string // lower-case login → read, triage, write, maintain, admin
	branches map[string]string // name → SHA
	tags     map[string]string
	objects  map[string]*commit // SHA → commit, shared by a network of forks

	threads     map[int]*thread
	lastNumber  int
	deployments []*deployment
	statuses    []*status
	checks      []*checkRun
	hooks       []*hook
}

func (r *repo) fullName() string { return r.owner.login + "/" + r.name }

// role is the permission that login has; everyone may read a public repository.
func (r *repo) role(login string) string {
	if role, ok := r.roles[strings.ToLower(login)]; ok {
		return role
	}
	if strings.EqualFold(login, r.owner.login) {
		return "admin"
	}
	if !r.private {
		return "read"
	}
	return "none"
}

// roleRank orders the roles; a higher one includes what the lower ones allow.
var roleRank = map[string]int{"none": 0, "read": 1, "triage": 2, "write": 3, "maintain": 4, "admin": 5}

// thread is an issue; with a pull it is a pull request.
type thread struct {
	id        int64
	repo      *repo
	number    int
	title     string
	body      string
	author    *account
	state     string // "open" or "closed"
	created   time.Time
	updated   time.Time
	closed    time.Time
	comments  []*comment
	reactions []*reaction
	events    []event
	pull      *pull
}

// event is something besides a comment that the conversation shows.
type event struct {
	id    int64
	at    time.Time
	actor *account
	kind  string // "committed", "closed", "reopened" or "merged"
	sha   string
}

type pull struct {
	id       int64
	headRepo *repo
	head     string
	base     string
	headSHA  string
	draft    bool
	mergedAt time.Time
	mergedBy *account
	mergeSHA string
}

func (p *pull) merged() bool { return !p.mergedAt.IsZero() }

type comment struct {
	id        int64
	thread    *thread
	author    *account
	viaApp    bool
	body      string
	edits     int
	created   time.Time
	updated   time.Time
	reactions []*reaction
}

type reaction struct {
	id      int64
	user    *account
	content string
	created time.Time
}

type deployment struct {
	id          int64
	repo        *repo
	sha         string
	ref         string
	task        string
	payload     any
	environment string
	original    string
	description *string
	transient   bool
	production  bool
	creator     *account
	viaApp      bool
	created     time.Time
	updated     time.Time
	statuses    []*deploymentStatus
}

// state is that of the newest status.
func (d *deployment) state() string {
	if len(d.statuses) == 0 {
		return ""
	}
	return d.statuses[len(d.statuses)-1].state
}

type deploymentStatus struct {
	id             int64
	state          string
	description    string
	environment    string
	environmentURL string
	logURL         string
	creator        *account
	viaApp         bool
	created        time.Time
}

type status struct {
	id          int64
	sha         string
	state       string
	context     string
	description *string
	targetURL   *string
	creator     *account
	created     time.Time
}

type checkRun struct {
	id         int64
	repo       *repo
	sha        string
	name       string
	externalID string
	detailsURL string
	status     string
	conclusion any
	started    any
	completed  any
	output     obj
	actions    []any
}

type installation struct {
	id      int64
	account *account
	repos   []string // full names; nil is all of the account's
	created time.Time
}

func (i *installation) covers(r *repo) bool {
	if r.owner != i.account {
		return false
	}
	if i.repos == nil {
		return true
	}
	for _, name := range i.repos {
		if strings.EqualFold(name, r.fullName()) {
			return true
		}
	}
	return false
}

type team struct {
	id      int64
	org     string
	slug    string
	members map[string]string // lower-case login → "member", "maintainer" or invited
}

// invited is the role of somebody who has yet to accept.
const invited = "invited"

// nextID gives every object an id of its own; like GitHub's they grow.
func (s *Server) nextID() int64 {
	s.lastID += 7
	return s.lastID
}

// now is the server's clock at GitHub's precision, whole seconds in UTC.
func (s *Server) now() time.Time { return s.opts.Now().UTC().Truncate(time.Second) }

// touch wakes everyone who waits for a change. The caller holds s.mu.
func (s *Server) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) findRepo(fullName string) (*repo, error) {
	if r, ok := s.repos[strings.ToLower(fullName)]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("githubtest: there is no repository %s", fullName)
}

func (s *Server) findThread(fullName string, number int) (*thread, error) {
	r, err := s.findRepo(fullName)
	if err != nil {
		return nil, err
	}
	if t, ok := r.threads[number]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("githubtest: there is no issue or pull request %s#%d", fullName, number)
}

func (s *Server) findPull(fullName string, number int) (*thread, error) {
	t, err := s.findThread(fullName, number)
	if err != nil {
		return nil, err
	}
	if t.pull == nil {
		return nil, fmt.Errorf("githubtest: %s#%d is an issue, not a pull request", fullName, number)
	}
	return t, nil
}

func (s *Server) findComment(r *repo, id int64) *comment {
	for _, t := range r.threads {
		for _, c := range t.comments {
			if c.id == id {
				return c
			}
		}
	}
	return nil
}

// account returns who has the login, and makes a plain user of an unknown one.
func (s *Server) account(login string) *account {
	if a, ok := s.accounts[strings.ToLower(login)]; ok {
		return a
	}
	a := &account{id: s.nextID(), login: login, kind: "User", created: s.now()}
	if strings.HasSuffix(login, "[bot]") {
		a.kind = "Bot"
	}
	s.accounts[strings.ToLower(login)] = a
	return a
}

func (s *Server) installationFor(r *repo) *installation {
	for _, i := range s.installations {
		if i.covers(r) {
			return i
		}
	}
	return nil
}
