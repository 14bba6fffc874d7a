package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// callWithin is how long one call may take where whoever makes it has less
	// patience not.
	callWithin = 10 * time.Second
	// maxBody is the most that is read of an answer, in bytes.
	maxBody = 8 << 20
	// longestPause is the longest that Slack is left alone on its own word: its
	// limits are those of a minute.
	longestPause = 10 * time.Minute
	// pauseUnsaid is how long it is left alone where it does not say.
	pauseUnsaid = 30 * time.Second
)

// client calls Slack's Web API: each method once, without a retry. What it
// sends and reads is slack-go's types. The calls themselves are its own: slack-go
// takes an answer of "{}" for a success, follows redirects with the token, and
// puts addresses into errors, which in the case of a response_url are secrets.
type client struct {
	base *url.URL // ends in "/"
	http *http.Client
}

func newClient(s *Surface) *client {
	h := *s.http
	h.Jar = nil
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if h.Timeout == 0 || h.Timeout > callWithin {
		h.Timeout = callWithin
	}
	return &client{base: s.apiURL, http: &h}
}

// call calls a method and reads its answer into out, which may be nil. It
// returns *bot.Limited when Slack wants a pause, and actions.Errors as
// chat.Platform does: CodeForbidden with what people can do, CodeNotFound,
// CodeInvalid, and CodeUnavailable for all that may pass. No error holds a token.
func (c *client) call(ctx context.Context, token, method string, values url.Values, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(method).String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, passing(method, err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+token)
	body, resp, err := c.send(req) //nolint:bodyclose // send has read and closed it
	if err != nil {
		return nil, passing(method, err)
	}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, &bot.Limited{After: retryAfter(resp.Header)}
	case c.missing(method, resp.StatusCode):
		return nil, refusal(method, slackapi.SlackResponse{Error: "unknown_method"}, resp.Header)
	case resp.StatusCode != http.StatusOK:
		return nil, passing(method, fmt.Errorf("HTTP status %d", resp.StatusCode))
	}
	var said struct {
		OK *bool `json:"ok"`
		slackapi.SlackResponse
	}
	if err := json.Unmarshal(body, &said); err != nil || said.OK == nil || !*said.OK && said.Error == "" {
		return nil, passing(method, errors.New("an answer that is not Slack's"))
	}
	if !*said.OK {
		return nil, refusal(method, said.SlackResponse, resp.Header)
	}
	if out != nil {
		if err := json.Unmarshal(body, out); err != nil {
			return nil, passing(method, errors.New("an answer that is not as Slack describes it"))
		}
	}
	return resp.Header, nil
}

// send sends a request and reads the answer, which is closed then.
func (c *client) send(req *http.Request) ([]byte, *http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the address
		}
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is wanted
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("an answer of more than %d bytes", maxBody)
	}
	return body, resp, err
}

// retryAfter is for how long Slack wants a pause.
// Source: https://docs.slack.dev/apis/web-api/rate-limits
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(strings.TrimSpace(h.Get("Retry-After")))
	if err != nil {
		return pauseUnsaid
	}
	return min(time.Duration(min(max(seconds, 1), int(longestPause.Seconds())))*time.Second, longestPause)
}

// responsePayload is a message for a response_url.
// Source: https://docs.slack.dev/interactivity/handling-user-interaction
type responsePayload struct {
	ResponseType    string           `json:"response_type"`
	ReplaceOriginal bool             `json:"replace_original"`
	ThreadTS        string           `json:"thread_ts,omitempty"`
	Text            string           `json:"text"`
	Blocks          []slackapi.Block `json:"blocks"`
}

// respond tells the one to whom a response_url belongs. It returns CodeNotFound
// when the address is used up, is not one, or cannot be reached.
func (c *client) respond(ctx context.Context, address, thread string, r rendered) error {
	const op = "response_url"
	if !c.answers(address) {
		return actions.Errorf("slack."+op, actions.CodeNotFound, "The address to answer at is not one of Slack's.")
	}
	text, err := marshal(responsePayload{ResponseType: slackapi.ResponseTypeEphemeral, ThreadTS: thread, Text: r.text, Blocks: r.blocks})
	if err != nil {
		return actions.Wrap("slack."+op, actions.CodeInvalid, err, "The answer cannot be written for Slack.")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader([]byte(text)))
	if err != nil {
		return actions.Errorf("slack."+op, actions.CodeNotFound, "The address to answer at is not one of Slack's.")
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	body, resp, err := c.send(req) //nolint:bodyclose // send has read and closed it
	if dialled, is := errors.AsType[*net.OpError](err); is && dialled.Op == "dial" {
		return actions.Wrap("slack."+op, actions.CodeNotFound, err, "Nothing takes answers at that address.") // nor has it taken this one
	}
	if err != nil {
		return passing(op, err)
	}
	var said slackapi.SlackResponse
	_ = json.Unmarshal(body, &said) // it may be just "ok"
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return &bot.Limited{After: retryAfter(resp.Header)}
	case resp.StatusCode >= http.StatusInternalServerError:
		return passing(op, fmt.Errorf("HTTP status %d", resp.StatusCode))
	case said.Error != "":
		return refusal(op, said, resp.Header)
	case resp.StatusCode != http.StatusOK:
		return actions.Errorf("slack."+op, actions.CodeNotFound, "Slack takes no answer at that address any more (HTTP status %d).", resp.StatusCode)
	}
	return nil
}

// answers tells whether an address may be one that Slack takes answers at: it
// comes from outside, and Berth's own network is not to be reached by it.
func (c *client) answers(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if !slackOwn(c.base.Hostname()) { // an emulator has an address of its own
		return u.Scheme == "https" || u.Scheme == "http"
	}
	return u.Scheme == "https" && u.Port() == "" && slackOwn(u.Hostname())
}
