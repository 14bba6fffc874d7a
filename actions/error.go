package actions

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is. Each surface maps it once: HTTP
// status, exit code, tone of a chat message.
type Code string

// The codes. A failure that carries none is CodeInternal.
const (
	CodeInvalid         Code = "invalid"         // the input is wrong; asking again unchanged cannot help
	CodeUnauthenticated Code = "unauthenticated" // nobody knows who asks
	CodeForbidden       Code = "forbidden"       // the asker may not; Msg names the rule and who can
	CodeNotFound        Code = "not_found"       // no such app, environment, request, run, commit
	CodeConflict        Code = "conflict"        // another writer won, or the state does not allow it
	CodeStale           Code = "stale"           // what was agreed on is not what would run now; it must be planned again
	CodeFenced          Code = "fenced"          // the writer's lease is lost; it must stop and write nothing
	CodeUnavailable     Code = "unavailable"     // Redis, a plugin or a platform did not answer; retry
	CodeDownstream      Code = "downstream"      // a cluster, registry or cloud refused or failed
	CodeCancelled       Code = "cancelled"       // somebody stopped it
	CodeInternal        Code = "internal"        // a bug of ours
)

// Error is a failure whose Msg is safe to show to whoever asked. Err is for the
// log only; it may hold host names, never secrets.
type Error struct {
	Op    string // what was being done: "helm.deploy"
	Code  Code
	Msg   string // one sentence, or two, that says what happened and what to do next
	Err   error  // may be nil
	Retry bool   // whether the same step, run again, may succeed
}

// Errorf makes an Error with a formatted message and no cause.
func Errorf(op string, code Code, format string, args ...any) *Error {
	return &Error{Op: op, Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Wrap makes an Error with a message for people and its cause for the log.
func Wrap(op string, code Code, err error, msg string) *Error {
	return &Error{Op: op, Code: code, Msg: msg, Err: err}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %s: %v", e.Op, e.Code, e.Msg, e.Err)
	}
	return fmt.Sprintf("%s: %s: %s", e.Op, e.Code, e.Msg)
}

func (e *Error) Unwrap() error { return e.Err }

// CodeOf is the code of the outermost Error in err's chain, CodeInternal for
// any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Message is what a person may read of err: the outermost Error's Msg, or a
// sentence that gives nothing away.
func Message(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Msg != "" {
		return e.Msg
	}
	return "Something went wrong inside Berth; its log says what."
}

// Retryable tells whether the same step, run again, may succeed.
func Retryable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Retry
}
