package githubtest

import (
	"bytes"
	"embed"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

//go:embed web
var webFiles embed.FS

// contentPolicy keeps a page from loading or running anything that did not
// come with it; images may be anybody's, as in a comment.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src * data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

var pagePath = regexp.MustCompile(`^/([^/]+)/([^/]+)/(?:pull|issues)/(\d+)(?:/(live|act))?$`)

var pages = sync.OnceValues(func() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{
		"markdown": renderHTML, "emoji": reactionEmoji, "tally": tally, "short": short, "word": stateWord,
		"title": func(s string) string { return s[:1] + strings.ToLower(s[1:]) }, "plural": plural, "tone": tone, "stamp": stamp, "clock": func(t time.Time) string { return t.Format("2 Jan 15:04") },
		"owner": func(full string) string { owner, _, _ := strings.Cut(full, "/"); return owner },
	}).ParseFS(webFiles, "web/*.html")
})

// servePage answers browsers; it reports whether the path was one of its own.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case strings.HasPrefix(r.URL.Path, "/-/"):
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, webFiles, "web/"+strings.TrimPrefix(r.URL.Path, "/-/"))
		return true
	case r.URL.Path == "/" && strings.Contains(r.Header.Get("Accept"), "text/html"):
		s.renderPage(w, "index.html", s.allThreads())
		return true
	}
	match := pagePath.FindStringSubmatch(r.URL.Path)
	if match == nil {
		return false
	}
	repo := match[1] + "/" + match[2]
	number, err := strconv.Atoi(match[3])
	if err != nil || s.Thread(repo, number).Number == 0 {
		http.Error(w, "There is no such pull request.", http.StatusNotFound)
		return true
	}
	switch match[4] {
	case "live":
		s.serveLive(w, r)
	case "act":
		s.serveAct(w, r, repo, number)
	default:
		s.renderPage(w, "thread.html", s.pageOf(repo, number))
	}
	return true
}

func (s *Server) renderPage(w http.ResponseWriter, name string, data any) {
	t, err := pages()
	var buf bytes.Buffer
	if err == nil {
		err = t.ExecuteTemplate(&buf, name, data)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = buf.WriteTo(w) // The client is gone; there is nobody to tell.
}

// page is what the template shows.
type page struct {
	Thread
	Items        []item
	Environments []Deployment // the newest of each
	People       []Actor      // who may comment
	Participants []Actor
	Commits      int
	CanMerge     bool
}

// item is one entry of the conversation; one of the pointers is set.
type item struct {
	Key        string
	order      int64
	Comment    *Comment
	Event      *Event
	Deployment *Deployment
}

// timeline puts everything that happened in the order in which it did.
func timeline(t Thread) []item {
	var items []item
	for i := range t.Comments {
		c := &t.Comments[i]
		items = append(items, item{Key: fmt.Sprintf("issuecomment-%d", c.ID), order: c.ID, Comment: c})
	}
	for i := range t.Events {
		e := &t.Events[i]
		items = append(items, item{Key: fmt.Sprintf("event-%d", e.order), order: e.order, Event: e})
	}
	for i := range t.Deployments {
		d := &t.Deployments[i]
		items = append(items, item{Key: fmt.Sprintf("deployment-%d", d.ID), order: d.ID, Deployment: d})
	}
	slices.SortStableFunc(items, func(a, b item) int { return int(a.order - b.order) })
	return items
}

// environments are the newest deployment of each environment.
func environments(t Thread) []Deployment {
	var newest []Deployment
	for _, d := range slices.Backward(t.Deployments) {
		if !slices.ContainsFunc(newest, func(o Deployment) bool { return o.Environment == d.Environment }) {
			newest = append(newest, d)
		}
	}
	slices.Reverse(newest)
	return newest
}

func (s *Server) pageOf(repo string, number int) page {
	t := s.Thread(repo, number)
	p := page{Thread: t, Items: timeline(t), Environments: environments(t), CanMerge: t.State == "open" && !t.Conflict}
	add := func(a Actor) {
		if !slices.Contains(p.Participants, a) {
			p.Participants = append(p.Participants, a)
		}
	}
	add(t.Author)
	for _, c := range t.Comments {
		add(c.Author)
	}
	for _, e := range t.Events {
		if e.Kind == "committed" {
			p.Commits++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.repos[strings.ToLower(repo)]
	for _, login := range sortedKeys(s.accounts) {
		a := s.accounts[login]
		if a.kind == "User" && r.role(login) != "none" {
			p.People = append(p.People, actor(a))
		}
	}
	return p
}

// allThreads is every pull request and issue, for the list at the root.
func (s *Server) allThreads() []Thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Thread
	for _, name := range sortedKeys(s.repos) {
		r := s.repos[name]
		for _, n := range sortedKeys(r.threads) {
			all = append(all, s.snapshot(r.threads[n]))
		}
	}
	return all
}

// serveLive tells a page about each change, so that it fetches itself anew.
func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if _, err := fmt.Fprint(w, "data: changed\n\n"); err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		}
	}
}

// serveAct is the form below the conversation: a comment, or the pull request
// closed, opened again or merged, as the chosen user.
func (s *Server) serveAct(w http.ResponseWriter, r *http.Request, repo string, number int) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "This is for the form alone.", http.StatusMethodNotAllowed)
		return
	}
	// Another site's page must not comment in somebody's name.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	login, body := r.FormValue("as"), strings.ReplaceAll(r.FormValue("body"), "\r\n", "\n")
	known := slices.ContainsFunc(s.pageOf(repo, number).People, func(a Actor) bool { return a.Login == login })
	if !known {
		http.Error(w, "There is no such user.", http.StatusUnprocessableEntity)
		return
	}
	var err error
	if strings.TrimSpace(body) != "" || r.FormValue("do") == "comment" {
		_, err = s.Comment(repo, number, login, body)
	}
	if err == nil {
		switch r.FormValue("do") {
		case "close":
			err = s.ClosePullRequest(repo, number, login)
		case "reopen":
			err = s.ReopenPullRequest(repo, number, login)
		case "merge":
			_, err = s.MergePullRequest(repo, number, login)
		}
	}
	if err != nil {
		http.Error(w, strings.TrimPrefix(err.Error(), "githubtest: "), http.StatusUnprocessableEntity)
		return
	}
	http.Redirect(w, r, strings.TrimSuffix(r.URL.Path, "/act"), http.StatusSeeOther)
}

// serveAvatar draws a picture for a login: its first letter on a colour.
func (s *Server) serveAvatar(w http.ResponseWriter, r *http.Request) {
	login, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/avatars/"))
	if err != nil || login == "" {
		http.NotFound(w, r)
		return
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(login)) // It never fails.
	hue := h.Sum32() % 360
	first, _ := utf8.DecodeRuneInString(strings.ToUpper(login))
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1">`+
		`<stop offset="0" stop-color="hsl(%d 62%% 56%%)"/><stop offset="1" stop-color="hsl(%d 62%% 42%%)"/></linearGradient></defs>`+
		`<rect width="40" height="40" fill="url(#g)"/><text x="20" y="27" font-family="system-ui,sans-serif" font-size="19" `+
		`font-weight="600" fill="#fff" text-anchor="middle">%s</text></svg>`, hue, (hue+40)%360, template.HTMLEscapeString(string(first)))
}

// tally is one kind of reaction with who chose it.
type reactionTally struct {
	Content string
	Users   []string
}

func tally(all []Reaction) []reactionTally {
	var out []reactionTally
	for _, kind := range reactionKinds {
		t := reactionTally{Content: kind}
		for _, r := range all {
			if r.Content == kind {
				t.Users = append(t.Users, r.User)
			}
		}
		if t.Users != nil {
			out = append(out, t)
		}
	}
	return out
}

func reactionEmoji(content string) string {
	return map[string]string{
		"+1": "👍", "-1": "👎", "laugh": "😄", "hooray": "🎉", "confused": "😕", "heart": "❤️", "rocket": "🚀", "eyes": "👀",
	}[content]
}

func short(sha string) string { return sha[:min(7, len(sha))] }

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// stateWord is how a deployment's or check's state is said to people.
func stateWord(state string) string {
	switch state {
	case "":
		return "Created"
	case "success":
		return "Active"
	case "in_progress":
		return "In progress"
	}
	return strings.ToUpper(state[:1]) + strings.ReplaceAll(state[1:], "_", " ")
}

// tone is the colour of a state.
func tone(state string) string {
	switch state {
	case "success", "open":
		return "good"
	case "failure", "error", "timed_out", "action_required", "closed":
		return "bad"
	case "in_progress", "pending", "queued", "waiting", "requested":
		return "busy"
	case "merged":
		return "merged"
	}
	return "calm"
}
