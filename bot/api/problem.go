package api

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// ProblemType is the media type of errors.
// Source: https://www.rfc-editor.org/rfc/rfc9457
const ProblemType = "application/problem+json"

// Problem is what every error is answered with.
type Problem struct {
	Type   string   `json:"type" doc:"Always about:blank: the code says more." example:"about:blank"`
	Title  string   `json:"title" example:"Not Found"`
	Status int      `json:"status" example:"404"`
	Code   string   `json:"code" doc:"What kind of failure it is." example:"not_found"`
	Detail string   `json:"detail" doc:"What happened and what to do next, for people."`
	Errors []string `json:"errors,omitempty" doc:"What exactly is wrong with the request, fault by fault."`
}

// Error is the problem's sentence.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type that the problem is sent as.
func (p *Problem) ContentType(string) string { return ProblemType }

// statuses maps kinds of failures to HTTP statuses, once for the whole API.
var statuses = map[actions.Code]int{
	actions.CodeInvalid:         http.StatusUnprocessableEntity,
	actions.CodeUnauthenticated: http.StatusUnauthorized,
	actions.CodeForbidden:       http.StatusForbidden,
	actions.CodeNotFound:        http.StatusNotFound,
	actions.CodeConflict:        http.StatusConflict,
	actions.CodeStale:           http.StatusConflict,
	actions.CodeFenced:          http.StatusConflict,
	actions.CodeCancelled:       http.StatusServiceUnavailable, // a call ends early only with its client or with this server
	actions.CodeUnavailable:     http.StatusServiceUnavailable,
	actions.CodeDownstream:      http.StatusBadGateway,
	actions.CodeInternal:        http.StatusInternalServerError,
}

// problem makes a Problem of a kind of failure.
func problem(code actions.Code, detail string) *Problem {
	status, ok := statuses[code]
	if !ok {
		status, code = http.StatusInternalServerError, actions.CodeInternal
	}
	return withStatus(status, code, detail)
}

func withStatus(status int, code actions.Code, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: string(code), Detail: detail}
}

// problemOf is err as a Problem. What people may not read of it is logged by
// the caller.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if code := actions.CodeOf(err); code == actions.CodeCancelled || code == actions.CodeInternal && errors.Is(err, context.Canceled) {
		return problem(actions.CodeUnavailable, "Berth is being stopped, and it is not known whether this was done; send it again in a moment, with the same Idempotency-Key if it had one.")
	}
	return problem(actions.CodeOf(err), actions.Message(err))
}

// retryAfter is how long a client is asked to wait before it sends again what
// could not be done just now, in seconds.
const retryAfter = "1"

// GetHeaders are the headers that the problem is sent with.
func (p *Problem) GetHeaders() http.Header {
	if p.Status != http.StatusServiceUnavailable {
		return nil
	}
	return http.Header{"Retry-After": {retryAfter}}
}

// refused is a Reply that refuses as a Problem.
func refused(r bot.Reply) *Problem { return problem(r.Code, bot.Unescape(r.Text)) }

// hookErrors makes huma answer what it finds wrong itself with Problems too.
// huma keeps this in a variable of its package; it is set once.
var hookErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		p := withStatus(status, codeOf(status), sentence(msg))
		for _, err := range errs {
			if err != nil {
				p.Errors = append(p.Errors, fault(err))
			}
		}
		if status == http.StatusUnsupportedMediaType {
			p.Errors = []string{"send JSON, with the header Content-Type: application/json"}
		}
		if len(p.Errors) > 0 {
			p.Detail = sentence(msg + ": " + strings.Join(p.Errors, "; "))
		}
		return p
	}
})

// fault is one thing that huma found wrong, without the value that it found:
// that can be long, or be meant for nobody's log.
func fault(err error) string {
	var d huma.ErrorDetailer
	if !errors.As(err, &d) {
		return err.Error()
	}
	detail := d.ErrorDetail()
	if detail.Location == "" {
		return detail.Message
	}
	return detail.Location + ": " + detail.Message
}

// codeOf is the kind of failure that a status which huma chose stands for.
func codeOf(status int) actions.Code {
	switch {
	case status == http.StatusNotFound:
		return actions.CodeNotFound
	case status == http.StatusUnauthorized:
		return actions.CodeUnauthenticated
	case status == http.StatusForbidden:
		return actions.CodeForbidden
	case status >= 500:
		return actions.CodeInternal
	default:
		return actions.CodeInvalid
	}
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// write sends the problem where huma has no part in it.
func (p *Problem) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", ProblemType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}
