package slacktest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxBody is more than any method takes.
const maxBody = 1 << 20

// Call is one call of the Web API that the server answered.
type Call struct {
	Time   time.Time
	Method string // "chat.postMessage"
	Team   string // of the token
	Args   map[string]any
	Status int
	Error  string // empty when it went well
}

// Oddity is something that the app should not have done: Slack refuses it, or
// ignores what was meant.
type Oddity struct {
	At      time.Time
	What    string // a method, "response_url", "command", "interaction", "event", "socket"; "slacktest" is its own fault
	Problem string
}

// String is one line about it.
func (o Oddity) String() string { return o.What + ": " + o.Problem }

// Odd lists what the app did that it should not have done, so far.
func (s *Server) Odd() []Oddity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.odd)
}

// TakeOdd lists the same and forgets it, for a test that means to have it. What
// the stand-in itself did wrong stays.
func (s *Server) TakeOdd() []Oddity {
	s.mu.Lock()
	defer s.mu.Unlock()
	var taken, left []Oddity
	for _, o := range s.odd {
		if o.What == itself {
			left = append(left, o)
		} else {
			taken = append(taken, o)
		}
	}
	s.odd = left
	return taken
}

// Calls lists the calls of the Web API so far, oldest first.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// strange notes an oddity. s.mu is held.
func (s *Server) strange(what, format string, args ...any) {
	o := Oddity{s.opts.Now(), what, fmt.Sprintf(format, args...)}
	s.odd = append(s.odd, o)
	s.opts.Log.Warn("odd", "what", o.What, "problem", o.Problem)
	s.touch()
}

// call is one call under way.
type call struct {
	method string
	team   *workspace // whose bot token it was; nil for the app's
	args   obj
	r      *http.Request
	warn   []string
}

func (c *call) str(name string) string     { return str(c.args, name) }
func (c *call) has(name string) bool       { return c.args[name] != nil }
func (c *call) truth(name string) bool     { b, _ := c.args[name].(bool); return b }
func (c *call) number(name string) int     { n, _ := c.args[name].(float64); return int(n) }
func (c *call) list(name string) []any     { return list(c.args, name) }
func (c *call) object(name string) obj     { o, _ := c.args[name].(obj); return o }
func (c *call) refuse(reason string) *fail { return &fail{error: reason} }

// fail is a refusal of a method. The zero Status is 200, as Slack has it.
type fail struct {
	error   string
	status  int
	more    obj
	header  http.Header
	problem string   // for Odd; empty is not odd, as what a person can bring about
	say     []string // response_metadata.messages
}

// method is one of the Web API.
type method struct {
	scope    []string // any of these
	tier     tier
	formOnly bool // takes no JSON. https://docs.slack.dev/apis/web-api/#post_bodies
	app      bool // with the app's token, not a bot's
	do       func(*Server, *call) (obj, *fail)
}

var methods = map[string]method{
	"auth.test":                    {tier: special, do: (*Server).authTest},
	"apps.connections.open":        {tier: tier1, app: true, do: (*Server).connectionsOpen},
	"team.info":                    {scope: []string{"team:read"}, tier: tier3, formOnly: true, do: (*Server).teamInfo},
	"chat.postMessage":             {scope: []string{"chat:write"}, tier: special, do: (*Server).postMessage},
	"chat.postEphemeral":           {scope: []string{"chat:write"}, tier: tier4, do: (*Server).postEphemeral},
	"chat.update":                  {scope: []string{"chat:write"}, tier: tier3, do: (*Server).updateMessage},
	"chat.delete":                  {scope: []string{"chat:write"}, tier: tier3, do: (*Server).deleteMessage},
	"chat.unfurl":                  {scope: []string{"links:write"}, tier: tier3, do: (*Server).unfurl},
	"chat.getPermalink":            {tier: special, formOnly: true, do: (*Server).getPermalink},
	"conversations.open":           {scope: []string{"im:write"}, tier: tier3, do: (*Server).openConversation},
	"conversations.info":           {scope: []string{"channels:read", "groups:read", "im:read"}, tier: tier3, formOnly: true, do: (*Server).conversationInfo},
	"conversations.list":           {scope: []string{"channels:read", "groups:read", "im:read"}, tier: tier2, formOnly: true, do: (*Server).listConversations},
	"conversations.history":        {scope: []string{"channels:history", "groups:history", "im:history"}, tier: tier3, formOnly: true, do: (*Server).history},
	"conversations.replies":        {scope: []string{"channels:history", "groups:history", "im:history"}, tier: tier3, formOnly: true, do: (*Server).replies},
	"conversations.members":        {scope: []string{"channels:read", "groups:read", "im:read"}, tier: tier4, formOnly: true, do: (*Server).listMembers},
	"conversations.join":           {scope: []string{"channels:join"}, tier: tier3, do: (*Server).join},
	"users.info":                   {scope: []string{"users:read"}, tier: tier4, formOnly: true, do: (*Server).userInfo},
	"users.list":                   {scope: []string{"users:read"}, tier: tier2, formOnly: true, do: (*Server).listUsers},
	"usergroups.list":              {scope: []string{"usergroups:read"}, tier: tier2, formOnly: true, do: (*Server).listGroups},
	"usergroups.users.list":        {scope: []string{"usergroups:read"}, tier: tier2, formOnly: true, do: (*Server).listGroupUsers},
	"views.open":                   {tier: tier4, do: (*Server).openView},
	"views.push":                   {tier: tier4, do: (*Server).pushView},
	"views.update":                 {tier: tier4, do: (*Server).updateView},
	"views.publish":                {tier: tier4, do: (*Server).publishView},
	"files.getUploadURLExternal":   {scope: []string{"files:write"}, tier: tier4, formOnly: true, do: (*Server).uploadURL},
	"files.completeUploadExternal": {scope: []string{"files:write"}, tier: tier4, do: (*Server).completeUpload},
	"reactions.add":                {scope: []string{"reactions:write"}, tier: tier3, do: (*Server).addReaction},
}

// serveAPI answers one call: faults, then the token, limits, scopes, arguments,
// and then what the method does.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, name string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	fault := s.next(name)
	if fault != nil && !fault.Done && s.spoil(w, r, fault) {
		return
	}
	s.mu.Lock()
	c := &call{method: name, r: r, args: obj{}}
	answer, refused := s.handle(c, r, body)
	header, status := w.Header(), http.StatusOK
	if refused != nil {
		status = s.refusal(c, refused, &answer, header)
	} else {
		answer["ok"] = true
	}
	if c.warn != nil {
		answer["warning"] = strings.Join(c.warn, ",")
		answer["response_metadata"] = obj{"warnings": c.warn}
	}
	record := Call{Time: s.opts.Now(), Method: name, Args: c.args, Status: status, Error: str(answer, "error")}
	if c.team != nil {
		record.Team = c.team.ID
		header.Set("X-Oauth-Scopes", strings.Join(s.app.Scopes, ","))
		header.Set("X-Accepted-Oauth-Scopes", strings.Join(methods[name].scope, ","))
	}
	s.calls = append(s.calls, record)
	// It is written while nobody changes what it tells of.
	text, err := json.Marshal(answer)
	if err != nil {
		s.strange(name, "the answer cannot be written: %v", err)
	}
	if _, known := methods[name]; known {
		s.proof(name, json.RawMessage(text))
	}
	s.touch()
	s.mu.Unlock()
	s.opts.Log.Debug("call", "method", name, "status", status, "error", record.Error)
	if fault != nil && fault.Done && s.spoil(w, r, fault) {
		return
	}
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("X-Slack-Req-Id", secret())
	w.WriteHeader(status)
	_, _ = w.Write(text) // The client is gone; there is nobody to tell.
}

func (s *Server) refusal(c *call, f *fail, answer *obj, header http.Header) (status int) {
	*answer = obj{"ok": false, "error": f.error}
	for key, value := range f.more {
		(*answer)[key] = value
	}
	if f.say != nil {
		(*answer)["response_metadata"] = obj{"messages": f.say}
		if d, err := described(); err == nil && d.Sent[c.method] != nil && d.Sent[c.method].Properties["errors"] != nil {
			(*answer)["errors"] = f.say // Few methods say it twice.
		}
	}
	for key, values := range f.header {
		header[key] = values
	}
	if f.problem != "" {
		s.strange(c.method, "%s: %s", f.error, f.problem)
	}
	if f.status != 0 {
		return f.status
	}
	return http.StatusOK
}

// handle does a call. s.mu is held.
func (s *Server) handle(c *call, r *http.Request, body []byte) (obj, *fail) {
	m, known := methods[c.method]
	if !known {
		return nil, &fail{error: "unknown_method", more: obj{"req_method": c.method}, problem: "there is no such method"}
	}
	d, err := described()
	if err != nil {
		return nil, &fail{error: "fatal_error", status: http.StatusInternalServerError, problem: err.Error()}
	}
	form, fromJSON, refused := s.decode(c, m, r, body)
	if refused != nil {
		return nil, refused
	}
	if refused := s.authenticate(c, m, r, form); refused != nil {
		return nil, refused
	}
	if refused := s.spend(c, m); refused != nil {
		return nil, refused
	}
	if len(m.scope) > 0 && !slices.ContainsFunc(m.scope, func(scope string) bool { return slices.Contains(s.app.Scopes, scope) }) {
		return nil, &fail{
			error: "missing_scope", problem: "the app does not ask for " + strings.Join(m.scope, " or "),
			more: obj{"needed": strings.Join(m.scope, ","), "provided": strings.Join(s.app.Scopes, ",")},
		}
	}
	if refused := c.arguments(s, d, form, fromJSON); refused != nil {
		return nil, refused
	}
	return m.do(s, c)
}

// decode reads a body as a form, or as JSON where Slack takes that.
func (s *Server) decode(c *call, m method, r *http.Request, body []byte) (form url.Values, fromJSON bool, refused *fail) {
	form = r.URL.Query()
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost && r.Method != http.MethodGet:
		return nil, false, &fail{error: "invalid_post_type", status: http.StatusMethodNotAllowed, problem: r.Method}
	case r.Method == http.MethodGet || len(body) == 0:
	case err != nil:
		return nil, false, &fail{error: "missing_post_type", problem: "the Content-Type is missing or wrong"}
	case kind == "application/json":
		if m.formOnly {
			// Slack reads nothing of such a body, and then misses the arguments in it.
			s.strange(c.method, "it takes no JSON: send a form")
			return form, false, nil
		}
		if err := json.Unmarshal(body, &c.args); err != nil || c.args == nil {
			return nil, false, &fail{error: "invalid_json", problem: "the body is no JSON object"}
		}
		if !strings.Contains(r.Header.Get("Content-Type"), "charset") {
			c.warn = append(c.warn, "missing_charset")
		}
		return form, true, nil
	case kind == "application/x-www-form-urlencoded":
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, false, &fail{error: "invalid_form_data", problem: err.Error()}
		}
		for key := range values {
			form[key] = values[key]
		}
	case kind == "multipart/form-data":
		return nil, false, &fail{error: "invalid_form_data", problem: "the stand-in takes no multipart"}
	default:
		return nil, false, &fail{error: "invalid_post_type", problem: "the Content-Type is " + kind}
	}
	return form, false, nil
}

func (s *Server) authenticate(c *call, m method, r *http.Request, form url.Values) *fail {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		token = form.Get("token") // A JSON body's token is not read.
	}
	if r.URL.Query().Has("token") {
		return &fail{error: "not_authed", problem: "a token in the address would be in everybody's logs"}
	}
	if token == "" {
		return &fail{error: "not_authed", problem: "there is no token"}
	}
	if m.app {
		if token != s.app.Token {
			return &fail{error: "not_allowed_token_type", problem: "this takes the app's token"}
		}
		return nil
	}
	if token == s.app.Token {
		return &fail{error: "not_allowed_token_type", problem: "this takes a bot's token"}
	}
	if s.revoked[token] {
		return &fail{error: "token_revoked"}
	}
	if c.team = s.tokens[token]; c.team == nil {
		return &fail{error: "invalid_auth", problem: "nobody has this token"}
	}
	return nil
}
