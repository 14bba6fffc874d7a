package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/berth-dev/berth/bot/api"
)

// answerWithin is how long a client waits for one answer before it asks another
// replica. It is longer than a replica waits for Redis.
const answerWithin = 8 * time.Second

// refusal is an answer that asking again would not change.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.detail) }

// errNoAnswer is every failure after which a client asks again: what became of
// what it asked for is not known.
var errNoAnswer = errors.New("no answer")

// client is one person at the API. Each call goes to the replica that its
// caller says.
type client struct {
	token string
	http  *http.Client
}

func newClient(token string) *client {
	return &client{token: token, http: &http.Client{Timeout: answerWithin}}
}

// submit asks for an action.
func (c *client) submit(ctx context.Context, replica, command, key string) (*api.Request, error) {
	var out api.Request
	err := c.call(ctx, http.MethodPost, replica+"/api/v1/requests", key, map[string]string{"command": command}, &out)
	return &out, err
}

// decide approves or denies.
func (c *client) decide(ctx context.Context, replica, id, decision string) (*api.Request, error) {
	var out api.Request
	err := c.call(ctx, http.MethodPost, replica+"/api/v1/requests/"+url.PathEscape(id)+"/decisions", "", map[string]string{"decision": decision}, &out)
	return &out, err
}

// cancel withdraws or stops a request.
func (c *client) cancel(ctx context.Context, replica, id string) error {
	return c.call(ctx, http.MethodPost, replica+"/api/v1/requests/"+url.PathEscape(id)+"/cancel", "", struct{}{}, nil)
}

// request is one request with its plan.
func (c *client) request(ctx context.Context, replica, id string) (*api.Request, error) {
	var out api.Request
	return &out, c.call(ctx, http.MethodGet, replica+"/api/v1/requests/"+url.PathEscape(id), "", nil, &out)
}

// requests are all requests in a state, "" for any.
func (c *client) requests(ctx context.Context, replica, state string) ([]api.Request, error) {
	var all []api.Request
	for cursor := ""; ; {
		var page api.Page[api.Request]
		query := url.Values{"limit": {"200"}}
		if state != "" {
			query.Set("state", state)
		}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		if err := c.call(ctx, http.MethodGet, replica+"/api/v1/requests?"+query.Encode(), "", nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

// environments are all environments, those that are gone too.
func (c *client) environments(ctx context.Context, replica string) ([]api.Environment, error) {
	var page api.Page[api.Environment]
	err := c.call(ctx, http.MethodGet, replica+"/api/v1/environments?all=true&limit=200", "", nil, &page)
	return page.Items, err
}

// call makes one call. Its error is a *refusal, errNoAnswer, or ctx's.
func (c *client) call(ctx context.Context, method, address, key string, in, out any) error {
	var content io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return c.failed(ctx, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return c.failed(ctx, err)
	}
	if res.StatusCode >= 300 {
		var problem api.Problem
		_ = json.Unmarshal(text, &problem) // what is no problem document is told as it is
		if problem.Detail == "" {
			problem.Detail = string(text)
		}
		if res.StatusCode >= 500 {
			return fmt.Errorf("%w: %s: %s", errNoAnswer, res.Status, problem.Detail)
		}
		return &refusal{status: res.StatusCode, detail: problem.Detail}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return c.failed(ctx, err)
	}
	return nil
}

func (c *client) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}
