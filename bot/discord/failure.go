package discord

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const opCall = "discord.call"

// Discord's own codes of failures that mean something to Berth.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
const (
	codeUnknownChannel     = 10003
	codeUnknownMessage     = 10008
	codeUnknownWebhook     = 10015 // an interaction's token that is used up
	codeUnknownInteraction = 10062
	codeOldEdits           = 30046  // a message of over an hour was edited too often
	codeMissingAccess      = 50001  // the channel is not shown to Berth
	codeDirectOnly         = 50003  // not in a direct message
	codeNoDirects          = 50007  // the account takes no direct messages of ours
	codeMissingPermissions = 50013  // Berth may not do that there
	codeWrongChannel       = 50024  // not in a channel of that kind
	codeInvalidToken       = 50027  // an interaction's token that is none any more
	codeInvalidForm        = 50035  // what was sent is not as it has to be
	codeArchived           = 50083  // the thread is archived
	codeNoHistory          = 160002 // Berth may not read what was said there, and so not reply
	codeHasThread          = 160004 // the message has a thread already
	codeThreadLocked       = 160005
	codeManyThreads        = 160006 // the guild has as many threads as it may have
)

// apiError is a refusal of Discord.
type apiError struct {
	Status  int    `json:"-"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	// Errors say which parts of a form are wrong.
	Errors json.RawMessage `json:"errors"`
	// RetryAfter and Global are those of a rate limit, in seconds.
	RetryAfter float64 `json:"retry_after"`
	Global     bool    `json:"global"`

	route string
}

func (e *apiError) Error() string {
	text := fmt.Sprintf("%s: %d (%d): %.300s", e.route, e.Status, e.Code, e.Message)
	if len(e.Errors) > 0 {
		text += fmt.Sprintf(" %.1000s", e.Errors)
	}
	return text
}

// maxLimited is the longest that Discord is left alone on its own word.
const maxLimited = time.Hour

// oldEdits is how long a message is left alone that was edited too often.
const oldEdits = 10 * time.Minute

// refused makes an answer that is a refusal an error: *bot.Limited, or an
// *actions.Error with the *apiError behind it.
func (c *client) refused(route route, resp *http.Response, content []byte) error {
	e := &apiError{Status: resp.StatusCode, route: route.String()}
	if json.Unmarshal(content, e) != nil {
		e.Message = "no JSON"
	}
	if e.Status == http.StatusTooManyRequests {
		after := c.pace.limited(route, resp, e)
		c.log.Warn("Discord wants a pause", "route", e.route, "after", after.String(), "global", e.Global)
		return &bot.Limited{After: after}
	}
	if e.Code == codeOldEdits {
		return &bot.Limited{After: oldEdits}
	}
	return failure(e)
}

// seconds is a number of them as Discord writes it, within reason.
func seconds(s float64) time.Duration {
	if math.IsNaN(s) || s < 0 {
		return 0
	}
	return time.Duration(min(s, maxLimited.Seconds()) * float64(time.Second))
}

// failure says what a refusal means.
func failure(e *apiError) error {
	switch e.Code {
	case codeUnknownChannel:
		return actions.Wrap(opCall, actions.CodeNotFound, e, "That channel is gone.")
	case codeUnknownMessage:
		return actions.Wrap(opCall, actions.CodeNotFound, e, "That message is gone.")
	case codeUnknownWebhook, codeUnknownInteraction, codeInvalidToken:
		return actions.Wrap(opCall, actions.CodeNotFound, e, "The time for an answer there is over.")
	case codeMissingAccess:
		return actions.Wrap(opCall, actions.CodeForbidden, e, "Berth does not see that channel. Whoever manages it can give Berth the permission View Channel there.")
	case codeMissingPermissions:
		return actions.Wrap(opCall, actions.CodeForbidden, e, "Berth may not write in that channel. Whoever manages it can give Berth the permissions Send Messages, Embed Links and Attach Files there, and Create Public Threads and Send Messages in Threads for progress.")
	case codeNoDirects:
		return actions.Wrap(opCall, actions.CodeForbidden, e, "That account takes no direct messages from Berth; its privacy settings for the server say so.")
	}
	switch {
	case e.Status >= 500, e.Status == http.StatusRequestTimeout:
		return actions.Wrap(opCall, actions.CodeUnavailable, e, "Discord does not answer as it should.")
	case e.Status == http.StatusUnauthorized:
		// A person can mend it while Berth runs, so that what waits is not given up.
		return actions.Wrap(opCall, actions.CodeUnavailable, e, "Discord does not take Berth's token; whoever runs Berth can renew discord.bot_token.")
	case e.Status == http.StatusForbidden:
		return actions.Wrap(opCall, actions.CodeForbidden, e, "Discord does not let Berth do that.")
	case e.Status == http.StatusNotFound:
		return actions.Wrap(opCall, actions.CodeNotFound, e, "It is gone from Discord.")
	default:
		return actions.Wrap(opCall, actions.CodeInvalid, e, "Discord did not take what Berth sent.")
	}
}
