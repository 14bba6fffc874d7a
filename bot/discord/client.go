package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// callTimeout is how long a call of the API may take.
	callTimeout = 20 * time.Second
	// maxAnswer is the most that is read of an answer, in bytes. A hundred messages
	// with all their embeds stay below it.
	maxAnswer = 8 << 20
	// userAgent is what Discord wants bots to say of themselves.
	// Source: https://docs.discord.com/developers/reference#user-agent
	userAgent = "DiscordBot (https://github.com/berth-dev/berth, 1)"
)

// client calls Discord's REST API: once for each call, waiting for nothing. It
// does not call where Discord said that it would refuse for being asked too
// often.
//
// discordgo's own calls sleep inside for as long as Discord wishes, with the
// bucket locked and whatever the context says, so that of discordgo there are
// only the types of what is sent and read.
type client struct {
	base    string // ends in "/"
	token   string
	http    *http.Client
	pace    *pace
	directs directs
	now     func() time.Time
	log     *slog.Logger
}

// newClient makes a client. It returns an error for an address that is none.
func newClient(o Options) (*client, error) {
	base := o.APIURL
	if base == "" {
		base = DefaultAPIURL
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("discord: api_url %.200q is no address of an API", base)
	}
	c := &client{base: strings.TrimSuffix(base, "/") + "/", token: o.BotToken, now: o.Now, log: o.Log}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.http = &http.Client{Timeout: callTimeout}
	if o.HTTP != nil {
		own := *o.HTTP
		c.http = &own
	}
	// The API never redirects; whoever does is not to be given the token.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.pace = newPace(c.now)
	return c, nil
}

// call calls the API: in is sent as JSON unless it is nil, and the answer is read
// into out unless that is nil. path is relative to the API's address, and may
// have a query. See failure for the errors.
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	return c.send(ctx, method, path, in, nil, out)
}

// send is call with a file.
func (c *client) send(ctx context.Context, method, path string, in any, file *upload, out any) error {
	route := routeOf(method, path)
	if wait := c.pace.wait(route); wait > 0 {
		return &bot.Limited{After: wait}
	}
	body, kind, err := encode(in, file)
	if err != nil {
		return actions.Wrap(opCall, actions.CodeInternal, err, "What Berth wanted to tell Discord could not be written.")
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return actions.Wrap(opCall, actions.CodeInternal, errors.New("an address that is none"), "What Berth wanted to tell Discord could not be written.")
	}
	req.Header.Set("User-Agent", userAgent)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if !route.byToken { // an interaction's token stands for itself
		req.Header.Set("Authorization", "Bot "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err // whose address has an interaction's token in it
		}
		return actions.Wrap(opCall, actions.CodeUnavailable, fmt.Errorf("%s: %w", route, err), "Discord does not answer.")
	}
	defer resp.Body.Close()
	return c.read(route, resp, out)
}

// read reads an answer.
func (c *client) read(route route, resp *http.Response, out any) error {
	c.pace.learn(route, resp)
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(content) > maxAnswer {
		return actions.Wrap(opCall, actions.CodeUnavailable, fmt.Errorf("%s: an answer that ends early or never", route), "Discord did not answer in full.")
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.refused(route, resp, content)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(content, out); err != nil {
		return actions.Wrap(opCall, actions.CodeUnavailable, fmt.Errorf("%s: %w", route, err), "Discord answered something that is not its own.")
	}
	return nil
}

// upload is a file that goes with a call.
type upload struct {
	name    string
	content []byte
}

// encode writes a body and tells its type.
// Source: https://docs.discord.com/developers/reference#uploading-files
func encode(in any, file *upload) (body []byte, kind string, err error) {
	if in == nil {
		return nil, "", nil
	}
	payload, err := json.Marshal(in)
	if err != nil || file == nil {
		return payload, "application/json", err
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part := func(disposition, kind string, content []byte) {
		if err != nil {
			return
		}
		var to io.Writer
		if to, err = w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {kind}}); err == nil {
			_, err = to.Write(content)
		}
	}
	part(`form-data; name="payload_json"`, "application/json", payload)
	part(fmt.Sprintf(`form-data; name="files[0]"; filename="%s"`, file.name), "text/plain; charset=utf-8", file.content)
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), w.FormDataContentType(), err
}
