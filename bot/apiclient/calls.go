package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
)

type commandBody struct {
	Command string `json:"command"`
}

// Submit asks for an action by a command and returns the request. The same key
// with the same command is one request.
func (c *Client) Submit(ctx context.Context, command, key string) (*api.Request, error) {
	var out api.Request
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/requests", key: key, in: commandBody{command}, out: &out})
	return orNil(&out, err)
}

// Command runs any command and returns its answer.
func (c *Client) Command(ctx context.Context, command, key string) (*api.Answer, error) {
	var out api.Answer
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/commands", key: key, in: commandBody{command}, out: &out})
	return orNil(&out, err)
}

// Decision is what is said of a request.
type Decision struct {
	Decision   string `json:"decision"` // "approve" or "deny"
	Reason     string `json:"reason,omitempty"`
	BreakGlass bool   `json:"break_glass,omitempty"` // needs a Reason
}

// Decide approves or denies a request.
func (c *Client) Decide(ctx context.Context, id string, d Decision) (*api.Request, error) {
	var out api.Request
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/requests/" + url.PathEscape(id) + "/decisions", in: d, out: &out})
	return orNil(&out, err)
}

// Retry asks again for what a failed request asked for and returns the new one.
func (c *Client) Retry(ctx context.Context, id string) (*api.Request, error) {
	var out api.Request
	// The server knows that the request was retried.
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/requests/" + url.PathEscape(id) + "/retry", again: true, out: &out})
	return orNil(&out, err)
}

// Simulate tells what the policies would say of a command by as; "" means
// whoever the token stands for.
func (c *Client) Simulate(ctx context.Context, command, as string) (*api.Simulation, error) {
	in := map[string]string{"command": command}
	if as != "" {
		in["as"] = as
	}
	var out api.Simulation
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/policies/explain", in: in, again: true, slow: true, out: &out})
	return orNil(&out, err)
}

// Cancel withdraws a request or stops what runs.
func (c *Client) Cancel(ctx context.Context, id, reason string) (*api.Request, error) {
	in := map[string]string{}
	if reason != "" {
		in["reason"] = reason
	}
	var out api.Request
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/requests/" + url.PathEscape(id) + "/cancel", in: in, out: &out})
	return orNil(&out, err)
}

// Request returns one request with its plan.
func (c *Client) Request(ctx context.Context, id string) (*api.Request, error) {
	var out api.Request
	return orNil(&out, c.get(ctx, "/api/v1/requests/"+url.PathEscape(id), nil, &out))
}

// RequestFilter says which requests are wanted; what is zero filters nothing.
type RequestFilter struct {
	App, Environment, State, Cursor string
	Open                            bool // without those that failed and were retried
	Limit                           int
}

// Requests returns a page of requests, the newest first.
func (c *Client) Requests(ctx context.Context, f RequestFilter) (*api.Page[api.Request], error) {
	var out api.Page[api.Request]
	q := query("app", f.App, "environment", f.Environment, "state", f.State, "cursor", f.Cursor, "limit", count(f.Limit))
	if f.Open {
		q.Set("open", "true")
	}
	return orNil(&out, c.get(ctx, "/api/v1/requests", q, &out))
}

// Environment returns one environment.
func (c *Client) Environment(ctx context.Context, name actions.Name) (*api.Environment, error) {
	var out api.Environment
	return orNil(&out, c.get(ctx, pathOf(name), nil, &out))
}

func pathOf(name actions.Name) string {
	return "/api/v1/environments/" + url.PathEscape(name.App) + "/" + url.PathEscape(name.Env)
}

// History returns up to limit of what was done to an environment, the newest
// first.
func (c *Client) History(ctx context.Context, name actions.Name, limit int) ([]api.Past, error) {
	var out api.Page[api.Past]
	err := c.get(ctx, pathOf(name)+"/history", query("limit", count(limit)), &out)
	return out.Items, err
}

// Variables returns the variables of an environment.
func (c *Client) Variables(ctx context.Context, name actions.Name) ([]api.Variable, error) {
	var out api.Page[api.Variable]
	err := c.get(ctx, pathOf(name)+"/vars", nil, &out)
	return out.Items, err
}

// EnvironmentFilter says which environments are wanted; what is zero filters
// nothing, but that those which are gone come only with All.
type EnvironmentFilter struct {
	App, State, Repo, Cursor string
	PullRequest              int
	All                      bool
	Limit                    int
}

// Environments returns a page of environments.
func (c *Client) Environments(ctx context.Context, f EnvironmentFilter) (*api.Page[api.Environment], error) {
	q := query("app", f.App, "state", f.State, "repo", f.Repo, "pull_request", count(f.PullRequest), "cursor", f.Cursor, "limit", count(f.Limit))
	if f.All {
		q.Set("all", "true")
	}
	var out api.Page[api.Environment]
	return orNil(&out, c.get(ctx, "/api/v1/environments", q, &out))
}

// SetVariable sets a variable of an environment to a value, which may have more
// lines than a command can.
func (c *Client) SetVariable(ctx context.Context, name actions.Name, key, value string) (*api.Variable, error) {
	var out api.Variable
	in := map[string]string{"value": value}
	err := c.do(ctx, call{method: http.MethodPut, path: pathOf(name) + "/vars/" + url.PathEscape(key), in: in, again: true, out: &out})
	return orNil(&out, err)
}

// Import makes the record of an environment that another tool has made. It returns
// CodeConflict when there is one of that name.
func (c *Client) Import(ctx context.Context, i api.Import) (*api.Environment, error) {
	var out api.Environment
	return orNil(&out, c.do(ctx, call{method: http.MethodPost, path: "/api/v1/imports", in: i, out: &out}))
}

// Run returns one run.
func (c *Client) Run(ctx context.Context, id string) (*api.Run, error) {
	var out api.Run
	return orNil(&out, c.get(ctx, "/api/v1/runs/"+url.PathEscape(id), nil, &out))
}

// Apps returns the apps that are configured.
func (c *Client) Apps(ctx context.Context) ([]api.App, error) {
	var out api.Page[api.App]
	err := c.get(ctx, "/api/v1/apps", nil, &out)
	return out.Items, err
}

// Access tells who can do what.
func (c *Client) Access(ctx context.Context) (*bot.Access, error) {
	var out bot.Access
	return orNil(&out, c.get(ctx, "/api/v1/access", nil, &out))
}

// Whoami returns who the token stands for.
func (c *Client) Whoami(ctx context.Context) (*api.Actor, error) {
	var out api.Actor
	return orNil(&out, c.get(ctx, "/api/v1/actor", nil, &out))
}

// AuditFilter says which audit records are wanted.
type AuditFilter struct {
	App, Environment, Cursor string
	Limit                    int
}

// Audit returns a page of audit records.
func (c *Client) Audit(ctx context.Context, f AuditFilter) (*api.Page[actions.Record], error) {
	var out api.Page[actions.Record]
	q := query("app", f.App, "environment", f.Environment, "cursor", f.Cursor, "limit", count(f.Limit))
	return orNil(&out, c.get(ctx, "/api/v1/audit", q, &out))
}

// VerifyAudit has the audit checked. f's Cursor and Limit mean nothing to it.
func (c *Client) VerifyAudit(ctx context.Context, f AuditFilter) (*api.Verification, error) {
	var out api.Verification
	l := call{method: http.MethodGet, path: "/api/v1/audit/verify", query: query("app", f.App, "environment", f.Environment), slow: true, out: &out}
	return orNil(&out, c.do(ctx, l))
}

// AuditLines writes all audit records to w, one a line, as they come. An error
// means that not all came; when a record cannot be read, it names that one, and
// all others were written.
func (c *Client) AuditLines(ctx context.Context, f AuditFilter, w io.Writer) error {
	return c.auditLines(ctx, f, func(_ *http.Response, line []byte) error {
		_, err := w.Write(line)
		return err
	})
}

// AuditAll hands all audit records to take, as they come. An error means that
// not all came.
func (c *Client) AuditAll(ctx context.Context, f AuditFilter, take func(actions.Record) error) error {
	return c.auditLines(ctx, f, func(res *http.Response, line []byte) error {
		var record actions.Record
		if err := json.Unmarshal(line, &record); err != nil {
			return c.stranger(res, err)
		}
		return take(record)
	})
}

// auditLines hands the lines of an export to take, each with its end.
func (c *Client) auditLines(ctx context.Context, f AuditFilter, take func(*http.Response, []byte) error) error {
	return c.lines(ctx, call{method: http.MethodGet, path: "/api/v1/audit", query: query("app", f.App, "environment", f.Environment)}, func() {}, take)
}

// lines hands the lines of an answer to take, each with its end; alive is called
// when one comes, an empty one too.
func (c *Client) lines(ctx context.Context, l call, alive func(), take func(*http.Response, []byte) error) error {
	res, err := c.send(ctx, l, nil, http.Header{"Accept": {"application/x-ndjson"}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return c.problem(res)
	}
	lines := bufio.NewReader(res.Body)
	for {
		line, err := lines.ReadBytes('\n')
		alive()
		if p := problemIn(line); p != nil {
			return p
		}
		if len(bytes.TrimSpace(line)) > 0 && err == nil {
			if err := take(res, line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return c.unreachable(err)
		}
	}
}

// problemIn is the error that a line of a stream tells of, nil for one of what
// the stream is of.
func problemIn(line []byte) error {
	if !bytes.HasPrefix(line, []byte(`{"type":`)) { // how no record, and no line of a program, begins
		return nil
	}
	var p api.Problem
	if json.Unmarshal(line, &p) != nil || p.Status == 0 || p.Detail == "" {
		return nil
	}
	return &actions.Error{Op: "apiclient.lines", Code: actions.Code(p.Code), Msg: p.Detail, Err: &p, Retry: p.Status == http.StatusServiceUnavailable}
}

func (c *Client) get(ctx context.Context, path string, q url.Values, out any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: q, out: out})
}

// query makes a query of pairs, without those that are empty.
func query(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func orNil[T any](out *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return out, nil
}
