package apiclient

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/berth-dev/berth/actions"
)

// Logs hands what an environment's programs print to take, line by line, of all
// parts or of the one named. With q.Follow it goes on until ctx ends, which is an
// error with CodeCancelled, or the server goes away. An error of take ends it.
func (c *Client) Logs(ctx context.Context, name actions.Name, part string, q actions.LogQuery, take func(actions.LogLine) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() {
		cancel(actions.Errorf("apiclient.logs", actions.CodeUnavailable, "The server has gone silent; ask again."))
	})
	defer quiet.Stop()
	v := query("part", part, "pod", q.Pod, "container", q.Container, "contains", q.Contains)
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339))
	}
	if q.Tail > 0 {
		v.Set("tail", strconv.Itoa(q.Tail))
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	l := call{method: http.MethodGet, path: "/api/v1/environments/" + url.PathEscape(name.App) + "/" + url.PathEscape(name.Env) + "/logs", query: v}
	err := c.lines(ctx, l, func() { quiet.Reset(silence) }, func(res *http.Response, text []byte) error {
		var line actions.LogLine
		if err := json.Unmarshal(text, &line); err != nil {
			return c.stranger(res, err)
		}
		return take(line)
	})
	if err != nil && ctx.Err() != nil && actions.CodeOf(context.Cause(ctx)) == actions.CodeUnavailable {
		return context.Cause(ctx)
	}
	return err
}
