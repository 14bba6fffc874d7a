package githubtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxBody is far beyond what any of the operations takes, in bytes.
const maxBody = 1 << 20

// call is one request on its way through a handler, which runs with s.mu held.
type call struct {
	r      *http.Request
	params map[string]string
	raw    []byte
	body   obj
	who    *caller
	repo   *repo
}

// text is a string of the body; empty if it isn't there or is null.
func (c *call) text(key string) string {
	text, _ := c.body[key].(string)
	return text
}

// flag is a boolean of the body.
func (c *call) flag(key string, otherwise bool) bool {
	if v, ok := c.body[key].(bool); ok {
		return v
	}
	return otherwise
}

// id is an integer of the path; 0, which nothing has, if it is none.
func (c *call) id(name string) int64 {
	n, _ := strconv.ParseInt(c.params[name], 10, 64)
	return n
}

// reply is an answer before it is written.
type reply struct {
	status      int
	body        any    // marshalled, unless
	text        []byte // this is set, which goes out as it is
	contentType string // empty is application/json
	header      http.Header
}

func answer(status int, body any) *reply { return &reply{status: status, body: body} }

// problem is an error as GitHub words it.
func problem(status int, message string, more ...obj) *reply {
	body := obj{
		"message": message, "documentation_url": "https://docs.github.com/rest",
		"status": strconv.Itoa(status),
	}
	for _, m := range more {
		body = with(body, m)
	}
	return answer(status, body)
}

func notFound() *reply { return problem(http.StatusNotFound, "Not Found") }

// invalid is 422 with one error in detail.
func invalid(resource, field, code, message string) *reply {
	detail := obj{"resource": resource, "field": field, "code": code}
	if message != "" {
		detail["message"] = message
	}
	return problem(http.StatusUnprocessableEntity, "Validation Failed", obj{"errors": []any{detail}})
}

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if s.opts.Enterprise {
		path = strings.TrimPrefix(path, "/api/v3")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, `{"message":"Request body too large"}`, http.StatusRequestEntityTooLarge)
		return
	}
	rt, params := findRoute(r.Method, path)
	c := &call{r: r, raw: raw, params: params, who: &caller{key: "anonymous"}}

	s.mu.Lock()
	out := s.answer(rt, c)
	body, contentType := s.encode(rt, c, out)
	for key, values := range out.header {
		w.Header()[key] = values
	}
	s.rateHeaders(w.Header(), c)
	s.record(rt, c, out.status)
	s.mu.Unlock()

	if len(body) > 0 || out.status == http.StatusOK {
		w.Header().Set("Content-Type", contentType)
	}
	w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
	w.Header().Set("X-GitHub-Api-Version-Selected", "2022-11-28")
	w.Header().Set("X-GitHub-Request-Id", guid())
	w.WriteHeader(out.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // The client is gone; there is nobody to tell.
	}
}

// answer runs the whole course of a request: who it is, whether it may, whether
// it is well-formed, and then the operation itself.
func (s *Server) answer(rt *route, c *call) *reply {
	if rt == nil {
		s.violate(rt, c, "request", "there is no such operation")
		return notFound()
	}
	if c.r.UserAgent() == "" {
		s.violate(rt, c, "request", "there is no User-Agent")
		return problem(http.StatusForbidden, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). Check https://developer.github.com for other possible causes.")
	}
	who, refusal := s.authenticate(c.r)
	if refusal != nil {
		return refusal
	}
	c.who = who
	if refusal := s.spend(rt, c); refusal != nil {
		return refusal
	}
	if refusal := s.authorize(rt, c); refusal != nil {
		return refusal
	}
	if len(c.raw) > 0 {
		if err := json.Unmarshal(c.raw, &c.body); err != nil {
			s.violate(rt, c, "request", "the body is not a JSON object")
			return problem(http.StatusBadRequest, "Problems parsing JSON")
		}
	}
	op, err := operation(rt.method, rt.template)
	if err != nil {
		return problem(http.StatusInternalServerError, err.Error())
	}
	odd, fatal := checkRequest(op, c)
	for _, text := range odd {
		s.violate(rt, c, "request", text)
	}
	if fatal != nil {
		s.violate(rt, c, "request", fatal.Error())
		return problem(http.StatusUnprocessableEntity, "Invalid request.\n\n"+fatal.Error())
	}
	return rt.handle(s, c)
}

// encode makes the bytes of an answer, checks them against the description,
// and turns an answer that the client already has into a 304.
func (s *Server) encode(rt *route, c *call, out *reply) ([]byte, string) {
	contentType := out.contentType
	if contentType == "" {
		contentType = "application/json; charset=utf-8"
	}
	body := out.text
	if out.body != nil {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(out.body); err != nil {
			s.violate(rt, c, "response", "it cannot be marshalled: "+err.Error())
		}
		body = bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	}
	if rt != nil {
		if op, err := operation(rt.method, rt.template); err == nil {
			if err := checkResponse(op, out.status, contentType, body); err != nil {
				s.violate(rt, c, "response", err.Error())
			}
		}
	}
	if c.r.Method == http.MethodGet && out.status == http.StatusOK {
		sum := sha256.Sum256(body)
		etag := `W/"` + hex.EncodeToString(sum[:]) + `"`
		if out.header == nil {
			out.header = http.Header{}
		}
		out.header["Etag"] = []string{etag}
		if c.r.Header.Get("If-None-Match") == etag {
			out.status, body = http.StatusNotModified, nil
			s.refund(c)
		}
	}
	return body, contentType
}

func (s *Server) violate(rt *route, c *call, side, text string) {
	v := Violation{Method: c.r.Method, Path: c.r.URL.RequestURI(), Side: side, Problem: text}
	if rt != nil {
		v.Operation = rt.name()
	}
	s.violations = append(s.violations, v)
	s.opts.Log.Warn("violation", "side", side, "method", v.Method, "path", v.Path, "problem", text)
}

func (s *Server) record(rt *route, c *call, status int) {
	q := Request{
		Time: s.opts.Now(), Method: c.r.Method, Path: c.r.URL.RequestURI(),
		Actor: c.who.name(), Status: status,
	}
	if rt != nil {
		q.Operation = rt.name()
	}
	s.requests = append(s.requests, q)
	s.opts.Log.Debug("request", "method", q.Method, "path", q.Path, "status", status, "actor", q.Actor)
	s.touch()
}

// paging is what page and per_page ask for.
// Source: docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
func paging(r *http.Request) (page, size int) {
	page, size = 1, 30
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && n > 0 {
		page = n
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("per_page")); err == nil && n > 0 {
		size = min(n, 100)
	}
	return page, size
}

// list answers one page of items with its Link header; wrap may put the page
// into an object.
func list[T any](s *Server, c *call, items []T, view func(T) any, wrap func([]any) any) *reply {
	page, size := paging(c.r)
	from := min((page-1)*size, len(items))
	to := min(from+size, len(items))
	views := []any{}
	for _, item := range items[from:to] {
		views = append(views, view(item))
	}
	out := answer(http.StatusOK, views)
	if wrap != nil {
		out.body = wrap(views)
	}
	last := max(1, (len(items)+size-1)/size)
	var links []string
	add := func(rel string, n int) {
		q := c.r.URL.Query()
		q.Set("page", strconv.Itoa(n))
		links = append(links, fmt.Sprintf(`<%s>; rel="%s"`, s.selfURL(c, q), rel))
	}
	if page > 1 {
		add("prev", min(page-1, last))
	}
	if page < last {
		add("next", page+1)
		add("last", last)
	}
	if page > 1 {
		add("first", 1)
	}
	if len(links) > 0 {
		out.header = http.Header{"Link": {strings.Join(links, ", ")}}
	}
	return out
}

func (s *Server) selfURL(c *call, q url.Values) string {
	path := c.r.URL.EscapedPath()
	if s.opts.Enterprise {
		path = strings.TrimPrefix(path, "/api/v3")
	}
	return s.api() + path + "?" + q.Encode()
}

// since reads the time of a filter; the zero time when it is absent.
func since(r *http.Request) time.Time {
	t, _ := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
	return t
}

// Warm loads the API description, which the first request does otherwise. It
// returns an error if the embedded description lacks an operation.
func Warm() error {
	var errs []error
	for _, rt := range routes() {
		_, err := operation(rt.method, rt.template)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
