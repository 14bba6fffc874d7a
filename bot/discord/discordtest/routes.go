package discordtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxRequest is how large a request may be.
// Source: https://docs.discord.com/developers/reference#uploading-files
const maxRequest = 25 << 20

// route is one call of the REST API.
type route struct {
	name   string // "GET /channels/{channel}"
	method string
	steps  []string
	do     func(*Server, *call) (any, *refusal)
	takes  string // the type of its body in the description; "" for none
	query  []string
	open   bool // needs no bot token
	status int  // of success
	limit  int
	window time.Duration
}

// call is one request of a route.
type call struct {
	*http.Request
	route  *route
	params map[string]string
	query  url.Values
	raw    []byte
	value  any            // the decoded body
	body   map[string]any // the same, where it is an object
	files  []upload
	status int // of success, when the route leaves it open
}

type upload struct {
	field, name, contentType string
	content                  []byte
}

func define(name, takes string, do func(*Server, *call) (any, *refusal), tune ...func(*route)) *route {
	method, path, _ := strings.Cut(name, " ")
	rt := &route{name: name, method: method, steps: strings.Split(path, "/"), do: do, takes: takes, status: http.StatusOK, limit: 50, window: time.Second}
	for _, f := range tune {
		f(rt)
	}
	return rt
}

func anybody(rt *route) { rt.open = true }
func created(rt *route) { rt.status = http.StatusCreated }
func silent(rt *route)  { rt.status = http.StatusNoContent }

func per(limit int, window time.Duration) func(*route) {
	return func(rt *route) { rt.limit, rt.window = limit, window }
}

func asks(names ...string) func(*route) { return func(rt *route) { rt.query = names } }

func (rt *route) match(steps []string) (map[string]string, bool) {
	if len(steps) != len(rt.steps) {
		return nil, false
	}
	params := map[string]string{}
	for i, step := range rt.steps {
		if name, ok := strings.CutPrefix(step, "{"); ok {
			params[strings.TrimSuffix(name, "}")] = steps[i]
		} else if step != steps[i] {
			return nil, false
		}
	}
	return params, true
}

// find looks up a request's route.
func find(method, path string) (*route, map[string]string, *refusal) {
	steps := strings.Split(path, "/")
	known := false
	for _, rt := range routes {
		params, ok := rt.match(steps)
		if !ok {
			continue
		}
		if rt.method == method {
			return rt, params, nil
		}
		known = true
	}
	if known {
		return nil, nil, methodNotAllowed
	}
	return nil, nil, notFound
}

// apiPath cuts /api/v10 or /api/v9 off.
func apiPath(path string) (string, bool) {
	for _, version := range []string{"/api/v10", "/api/v9"} {
		if rest, ok := strings.CutPrefix(path, version); ok && strings.HasPrefix(rest, "/") {
			return rest, true
		}
	}
	return "", false
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	path, ok := apiPath(r.URL.Path)
	if !ok {
		s.refuse(w, r, nil, &refusal{status: 400, code: 50041, message: "Invalid API version provided."})
		return
	}
	rt, params, no := find(r.Method, path)
	if no != nil {
		s.refuse(w, r, nil, no)
		return
	}
	c := &call{Request: r, route: rt, params: params, query: r.URL.Query()}
	s.mu.Lock()
	fault := s.due(rt)
	s.mu.Unlock()
	if fault != nil && fault.slow > 0 {
		select {
		case <-time.After(fault.slow):
		case <-r.Context().Done():
			return
		}
	}
	no = c.read(w)
	s.mu.Lock()
	var out any
	if fault != nil && fault.fail != nil {
		no = s.refusalOf(fault.fail, rt, params)
		if no.status == 401 || no.status == 403 || no.status == 429 {
			s.countInvalid(no)
		}
		s.record(c, no)
		s.mu.Unlock()
		no.write(w)
		return
	}
	if no == nil {
		no = s.admit(w, c)
	}
	if no == nil {
		out, no = rt.do(s, c)
	}
	if no != nil {
		s.countInvalid(no)
	} else if out != nil {
		s.proof(rt.name, out)
	}
	if no == emptyMessage {
		s.strange("%s: %s", rt.name, no.message)
	}
	s.record(c, no)
	s.mu.Unlock()
	if fault != nil && fault.lose {
		panic(http.ErrAbortHandler) // net/http's own way to cut a connection.
	}
	if no != nil {
		no.write(w)
		return
	}
	if c.status == 0 {
		c.status = rt.status
	}
	if c.status == http.StatusNoContent {
		out = nil
	}
	answer(w, c.status, out)
}

// admit checks what is the same for all routes. The caller holds s.mu.
func (s *Server) admit(w http.ResponseWriter, c *call) *refusal {
	rt := c.route
	if no := s.pace(w, rt, c.params); no != nil {
		return no
	}
	// Source: https://docs.discord.com/developers/reference#user-agent
	if !strings.HasPrefix(c.Header.Get("User-Agent"), "DiscordBot (") {
		s.strange("%s: the User-Agent is %q, not \"DiscordBot (url, version)\"", rt.name, c.UserAgent())
	}
	if !rt.open && c.Header.Get("Authorization") != "Bot "+s.opts.Token {
		return unauthorized
	}
	for name := range c.query {
		if !slices.Contains(rt.query, name) {
			s.strange("%s: there is no query parameter %q", rt.name, name)
		}
	}
	if rt.takes == "" {
		if len(c.raw) > 0 && string(c.raw) != "{}" && string(c.raw) != "null" {
			s.strange("%s: it takes no body", rt.name)
		}
		return nil
	}
	if rt.takes == "callback" {
		return nil // Its type is in it.
	}
	return s.checkBody(c, rt.takes)
}

// checkBody compares the body with its type. The caller holds s.mu.
func (s *Server) checkBody(c *call, kind string) *refusal {
	if c.value == nil {
		return &refusal{status: 400, code: 50035, message: "Invalid Form Body", errors: map[string]any{
			"_errors": []any{map[string]any{"code": "MODEL_TYPE_CONVERT", "message": "Only dictionaries may be used in a DictType"}}}}
	}
	bs, err := checkType(kind, c.value)
	if err != nil {
		return &refusal{status: 500, message: err.Error()}
	}
	return s.judge(c.route.name, bs)
}

// judge puts breaches on Odd and refuses those that Discord refuses. The caller
// holds s.mu.
func (s *Server) judge(where string, bs breaches) *refusal {
	for _, b := range bs {
		s.strange("%s: %s", where, b)
	}
	if bs.fatal() {
		return invalidForm(bs)
	}
	return nil
}

// read takes the body in.
func (c *call) read(w http.ResponseWriter) *refusal {
	raw, err := io.ReadAll(http.MaxBytesReader(w, c.Body, maxRequest))
	if err != nil {
		return entityTooLarge
	}
	c.raw = raw
	if len(raw) == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	text := raw
	switch {
	case err == nil && kind == "multipart/form-data":
		if text, c.files, err = readParts(raw, params["boundary"]); err != nil {
			return &refusal{status: 400, code: 50035, message: "Invalid Form Body"}
		}
	case err != nil || kind != "application/json":
		if c.route.takes == "" {
			return nil
		}
		return &refusal{status: 400, code: 50035, message: "Invalid Form Body", errors: map[string]any{
			"_errors": []any{map[string]any{"code": "CONTENT_TYPE_INVALID", "message": `Expected "Content-Type" header to be one of {'application/json'}.`}}}}
	}
	if len(text) == 0 {
		return nil
	}
	if json.Unmarshal(text, &c.value) != nil {
		return invalidJSON
	}
	c.body, _ = c.value.(map[string]any)
	return nil
}

// readParts reads a multipart body: payload_json and files[n].
func readParts(raw []byte, boundary string) (payload []byte, files []upload, err error) {
	reader := multipart.NewReader(bytes.NewReader(raw), boundary)
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return payload, files, nil
		}
		if err != nil {
			return nil, nil, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, nil, err
		}
		if part.FormName() == "payload_json" {
			payload = content
			continue
		}
		files = append(files, upload{field: part.FormName(), name: part.FileName(), contentType: part.Header.Get("Content-Type"), content: content})
	}
}

// refuse answers what has no route.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, rt *route, no *refusal) {
	s.mu.Lock()
	s.strange("%s %s: %s", r.Method, r.URL.Path, no.message)
	s.record(&call{Request: r, route: rt}, no)
	s.mu.Unlock()
	no.write(w)
}

// keptRequests is how many requests are remembered at least.
const keptRequests = 50_000

// record keeps a request. The caller holds s.mu.
func (s *Server) record(c *call, no *refusal) {
	q := Request{Time: s.opts.Now().UTC(), Method: c.Method, Path: c.URL.RequestURI()}
	if token := c.params["token"]; token != "" {
		q.Path = strings.ReplaceAll(q.Path, token, "…")
	}
	if c.route != nil {
		q.Route, q.Status = c.route.name, c.route.status
	}
	if c.status != 0 {
		q.Status = c.status
	}
	if no != nil {
		q.Status, q.Code = no.status, no.code
	}
	if s.requests = append(s.requests, q); len(s.requests) > 2*keptRequests {
		s.requests = slices.Clone(s.requests[keptRequests:])
	}
	s.opts.Log.Debug("discord request", "method", q.Method, "path", q.Path, "status", q.Status, "code", q.Code)
	s.touch()
}

// number reads a query parameter between two bounds.
func (c *call) number(name string, otherwise, low, high int) (int, *refusal) {
	if !c.query.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n < low || n > high {
		var bs breaches
		bs.add([]string{name}, "NUMBER_TYPE_MAX", "int value should be between %d and %d.", low, high)
		return 0, invalidForm(bs)
	}
	return n, nil
}
