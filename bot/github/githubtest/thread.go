package githubtest

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Thread is a pull request or an issue as it is at one moment.
type Thread struct {
	Repo    string
	Number  int
	URL     string // of its page
	Title   string
	Body    string
	Author  Actor
	State   string // "open", "draft", "closed" or "merged"
	Created time.Time

	Pull     bool   // The rest up to Checks is of pull requests alone.
	HeadRepo string // differs from Repo for a fork
	Head     string
	Base     string
	HeadSHA  string
	MergeSHA string // empty until it is merged
	Added    int    // lines
	Removed  int
	Changed  int // files
	// Conflict is whether it cannot be merged.
	Conflict    bool
	Events      []Event
	Deployments []Deployment // of the pull request's commits, oldest first
	Checks      []Check      // statuses and check runs of the head

	Comments  []Comment
	Reactions []Reaction
}

// Actor is who did something.
type Actor struct {
	Login string
	Bot   bool
}

// Comment is one comment of a thread.
type Comment struct {
	ID          int64
	Author      Actor
	Association string // "OWNER", "MEMBER", "COLLABORATOR", "CONTRIBUTOR" or "NONE"
	Body        string
	Edits       int // how many times the text was changed
	Created     time.Time
	Updated     time.Time
	Reactions   []Reaction
}

// Reaction is one user's reaction.
type Reaction struct {
	User    string
	Content string // such as "+1" or "eyes"
}

// Event is something that happened to a pull request besides comments.
type Event struct {
	Kind    string // "committed", "closed", "reopened" or "merged"
	Actor   Actor
	At      time.Time
	SHA     string // of the commit, or of the merge
	Message string // the commit's first line

	order int64 // among the ids of comments and deployments
}

// Check is a commit status, the newest of its context, or a check run.
type Check struct {
	Name        string
	State       string // "success", "failure", "error", "pending", or a run's conclusion
	Description string
	URL         string
}

// Deployment is a deployment with what has been said about it.
type Deployment struct {
	ID          int64
	SHA         string
	Ref         string
	Task        string
	Environment string
	Description string
	Payload     any // as decoded from JSON
	Transient   bool
	Production  bool
	Creator     Actor
	Created     time.Time
	Statuses    []DeploymentStatus // oldest first
}

// State is that of the newest status; empty without any.
func (d Deployment) State() string {
	if len(d.Statuses) == 0 {
		return ""
	}
	return d.Statuses[len(d.Statuses)-1].State
}

// URL is the newest address of the environment that a status gave.
func (d Deployment) URL() string {
	for _, st := range slices.Backward(d.Statuses) {
		if st.EnvironmentURL != "" {
			return st.EnvironmentURL
		}
	}
	return ""
}

// LogURL is the newest address of the log that a status gave.
func (d Deployment) LogURL() string {
	for _, st := range slices.Backward(d.Statuses) {
		if st.LogURL != "" {
			return st.LogURL
		}
	}
	return ""
}

// DeploymentStatus is one status of a deployment.
type DeploymentStatus struct {
	State          string
	Description    string
	EnvironmentURL string
	LogURL         string
	Creator        Actor
	Created        time.Time
}

// Thread is a snapshot of a pull request or an issue; the zero Thread if there
// is none.
func (s *Server) Thread(repo string, number int) Thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.findThread(repo, number)
	if err != nil {
		return Thread{}
	}
	return s.snapshot(t)
}

// Threads lists all pull requests and issues of a repository by number.
func (s *Server) Threads(repo string) []Thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return nil
	}
	var all []Thread
	for _, n := range sortedKeys(r.threads) {
		all = append(all, s.snapshot(r.threads[n]))
	}
	return all
}

// Deployments lists a repository's deployments, oldest first.
func (s *Server) Deployments(repo string) []Deployment {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return nil
	}
	var all []Deployment
	for _, d := range r.deployments {
		all = append(all, snapshotDeployment(d))
	}
	return all
}

func actor(a *account) Actor {
	if a == nil {
		return Actor{}
	}
	return Actor{Login: a.login, Bot: a.kind == "Bot"}
}

// shownState is the state that the page's badge shows.
func (t *thread) shownState() string {
	switch {
	case t.pull != nil && t.pull.merged():
		return "merged"
	case t.state == "open" && t.pull != nil && t.pull.draft:
		return "draft"
	}
	return t.state
}

func snapshotReactions(all []*reaction) []Reaction {
	var out []Reaction
	for _, r := range all {
		out = append(out, Reaction{User: r.user.login, Content: r.content})
	}
	return out
}

func (s *Server) snapshot(t *thread) Thread {
	out := Thread{
		Repo: t.repo.fullName(), Number: t.number, URL: s.threadWeb(t), Title: t.title, Body: t.body,
		Author: actor(t.author), State: t.shownState(), Created: t.created, Reactions: snapshotReactions(t.reactions),
	}
	for _, c := range t.comments {
		out.Comments = append(out.Comments, Comment{
			ID: c.id, Author: actor(c.author), Association: s.association(c.author, t.repo), Body: c.body,
			Edits: c.edits, Created: c.created, Updated: c.updated, Reactions: snapshotReactions(c.reactions),
		})
	}
	if t.pull != nil {
		s.snapshotPull(t, &out)
	}
	return out
}

func (s *Server) snapshotPull(t *thread, out *Thread) {
	p, r := t.pull, t.repo
	out.Pull, out.HeadRepo, out.Head, out.Base = true, p.headRepo.fullName(), p.head, p.base
	out.HeadSHA, out.MergeSHA = p.headSHA, p.mergeSHA
	files := s.pullChanges(t)
	for _, c := range files {
		out.Added, out.Removed = out.Added+c.additions, out.Removed+c.removal
	}
	out.Changed = len(files)
	if t.state == "open" {
		_, clean := r.merge(s.baseSHA(t), p.headSHA)
		out.Conflict = !clean
	}
	for _, e := range t.events {
		shown := Event{order: e.id, Kind: e.kind, Actor: actor(e.actor), At: e.at, SHA: e.sha}
		if c := r.objects[e.sha]; c != nil {
			shown.Message, _, _ = strings.Cut(c.message, "\n")
		}
		out.Events = append(out.Events, shown)
	}
	mine := map[string]bool{}
	for _, c := range r.between(s.baseSHA(t), p.headSHA) {
		mine[c.sha] = true
	}
	for _, d := range r.deployments {
		if mine[d.sha] || d.ref == p.head {
			out.Deployments = append(out.Deployments, snapshotDeployment(d))
		}
	}
	out.Checks = s.snapshotChecks(r, p.headSHA)
}

func (s *Server) snapshotChecks(r *repo, sha string) []Check {
	var all []Check
	for _, st := range r.newestStatuses(sha) {
		c := Check{Name: st.context, State: st.state}
		if st.description != nil {
			c.Description = *st.description
		}
		if st.targetURL != nil {
			c.URL = *st.targetURL
		}
		all = append(all, c)
	}
	for _, x := range r.checks {
		if x.sha != sha {
			continue
		}
		c := Check{Name: x.name, State: x.status, URL: x.detailsURL}
		if conclusion, ok := x.conclusion.(string); ok {
			c.State = conclusion
		}
		c.Description, _ = x.output["title"].(string)
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b Check) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func snapshotDeployment(d *deployment) Deployment {
	out := Deployment{
		ID: d.id, SHA: d.sha, Ref: d.ref, Task: d.task, Environment: d.environment, Payload: d.payload,
		Transient: d.transient, Production: d.production, Creator: actor(d.creator), Created: d.created,
	}
	if d.description != nil {
		out.Description = *d.description
	}
	for _, st := range d.statuses {
		out.Statuses = append(out.Statuses, DeploymentStatus{
			State: st.state, Description: st.description, EnvironmentURL: st.environmentURL, LogURL: st.logURL,
			Creator: actor(st.creator), Created: st.created,
		})
	}
	return out
}
