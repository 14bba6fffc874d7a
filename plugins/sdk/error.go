package sdk

import (
	"errors"
	"fmt"
	"time"
)

// Error is Fault, Msg and cause in one line, for logs.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Fault, e.Msg, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Fault, e.Msg)
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithRetry is a copy of e that says that the same step may succeed when it is
// run again.
func (e *Error) WithRetry() *Error {
	c := *e
	c.Retry = true
	return &c
}

// WithRetryAfter is WithRetry, but not before d has passed. Source: the answer
// of whoever is downstream, such as a Retry-After header.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := e.WithRetry()
	c.After = max(d, 0)
	return c
}

// Invalid says that the user's input is wrong. The message is shown to people:
// one sentence on what is wrong and what to do. An error among args becomes the
// cause that is logged (with %w as with any other verb).
func Invalid(format string, args ...any) *Error {
	return failure(FaultInvalid, format, args...)
}

// Downstream says that the cluster or cloud refused or failed.
func Downstream(format string, args ...any) *Error {
	return failure(FaultDownstream, format, args...)
}

// Internal says that the executor itself is at fault.
func Internal(format string, args ...any) *Error {
	return failure(FaultInternal, format, args...)
}

// failure keeps what %w wrapped as the cause, so that errors.Is still sees it.
func failure(fault Fault, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	e := &Error{Fault: fault, Msg: wrapped.Error()}
	if errors.Unwrap(wrapped) != nil {
		e.Err = errors.Unwrap(wrapped)
		return e
	}
	for _, a := range args {
		if err, ok := a.(error); ok {
			e.Err = err
			break
		}
	}
	return e
}
