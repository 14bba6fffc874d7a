package discordtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// refusal is an answer that says no.
type refusal struct {
	status     int
	code       int
	message    string
	errors     map[string]any
	retryAfter time.Duration // of 429
	global     bool
	scope      string // of 429: user, global or shared
	banned     bool   // by what stands before the API
}

// Refusals, with Discord's codes.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
var (
	unauthorized       = &refusal{status: 401, message: "401: Unauthorized"}
	notFound           = &refusal{status: 404, message: "404: Not Found"}
	methodNotAllowed   = &refusal{status: 405, message: "405: Method Not Allowed"}
	unknownChannel     = &refusal{status: 404, code: 10003, message: "Unknown Channel"}
	unknownGuild       = &refusal{status: 404, code: 10004, message: "Unknown Guild"}
	unknownMember      = &refusal{status: 404, code: 10007, message: "Unknown Member"}
	unknownMessage     = &refusal{status: 404, code: 10008, message: "Unknown Message"}
	unknownUser        = &refusal{status: 404, code: 10013, message: "Unknown User"}
	unknownEmoji       = &refusal{status: 400, code: 10014, message: "Unknown Emoji"}
	unknownWebhook     = &refusal{status: 404, code: 10015, message: "Unknown Webhook"}
	unknownInteraction = &refusal{status: 404, code: 10062, message: "Unknown interaction"}
	unknownCommand     = &refusal{status: 404, code: 10063, message: "Unknown application command"}
	unknownApplication = &refusal{status: 404, code: 10002, message: "Unknown Application"}
	tooManyCommands    = &refusal{status: 400, code: 30032, message: "Maximum number of application commands reached (100)"}
	entityTooLarge     = &refusal{status: 413, code: 40005, message: "Request entity too large"}
	acknowledged       = &refusal{status: 400, code: 40060, message: "Interaction has already been acknowledged."}
	missingAccess      = &refusal{status: 403, code: 50001, message: "Missing Access"}
	wrongAuthor        = &refusal{status: 403, code: 50005, message: "Cannot edit a message authored by another user"}
	emptyMessage       = &refusal{status: 400, code: 50006, message: "Cannot send an empty message"}
	noDirectMessages   = &refusal{status: 403, code: 50007, message: "Cannot send messages to this user"}
	missingPermissions = &refusal{status: 403, code: 50013, message: "Missing Permissions"}
	wrongChannelType   = &refusal{status: 400, code: 50024, message: "Cannot execute action on this channel type"}
	invalidToken       = &refusal{status: 401, code: 50027, message: "Invalid Webhook Token"}
	invalidJSON        = &refusal{status: 400, code: 50109, message: "The request body contains invalid JSON."}
	replyUnread        = &refusal{status: 400, code: 160002, message: "Cannot reply without permission to read message history"}
	threadExists       = &refusal{status: 400, code: 160004, message: "A thread has already been created for this message"}
	unknownReference   = &refusal{status: 400, code: 50035, message: "Invalid Form Body", errors: map[string]any{
		"message_reference": map[string]any{"_errors": []any{map[string]any{"code": "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "message": "Unknown message"}}}}}
)

// invalidForm is what a malformed body is answered with.
func invalidForm(bs breaches) *refusal {
	return &refusal{status: http.StatusBadRequest, code: 50035, message: "Invalid Form Body", errors: bs.tree()}
}

// write answers with the refusal.
func (f *refusal) write(w http.ResponseWriter) {
	if f.banned {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		w.Header().Set("Retry-After", fmt.Sprint(seconds(f.retryAfter)))
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, "error code: 1015")
		return
	}
	body := map[string]any{"message": f.message, "code": f.code}
	if f.errors != nil {
		body["errors"] = f.errors
	}
	if f.status == http.StatusTooManyRequests {
		delete(body, "code")
		body["retry_after"] = f.retryAfter.Seconds()
		body["global"] = f.global
		w.Header().Set("Retry-After", fmt.Sprint(seconds(f.retryAfter)))
		w.Header().Set("X-Ratelimit-Scope", f.scope)
		if f.global {
			w.Header().Set("X-Ratelimit-Global", "true")
		}
	}
	answer(w, f.status, body)
}

// seconds rounds up, as the header does.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func answer(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // The client is gone; there is nobody to tell.
}
