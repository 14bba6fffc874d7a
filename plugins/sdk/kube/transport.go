package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// dialLimit is how long connecting to a server may take.
	dialLimit = 8 * time.Second
	// answerLimit is how long an API server may take to begin its answer. An
	// admission webhook may take 30 s.
	// Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#timeouts
	answerLimit = 40 * time.Second
)

// boundTransport ends requests with the step that they belong to: some libraries
// make their requests without a context. It also gives up on a server that
// accepts a request and then stays silent.
type boundTransport struct {
	base  http.RoundTripper
	ctx   context.Context // of the step; a client configuration leaves no other way to hand it over
	limit time.Duration   // until the answer begins
}

// RoundTrip implements http.RoundTripper.
func (t *boundTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	unbind := context.AfterFunc(t.ctx, func() { cancel(t.ctx.Err()) }) //nolint:contextcheck // joining two contexts is what it is for
	timer := time.AfterFunc(t.limit, func() { cancel(errSlow) })
	done := sync.OnceFunc(func() {
		unbind()
		cancel(nil)
	})
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errSlow) || t.ctx.Err() != nil {
			err = cause
		}
		done()
		return nil, err
	}
	resp.Body = &boundBody{ReadCloser: resp.Body, done: done}
	return resp, nil
}

// WrappedRoundTripper lets client-go find the transport below.
func (t *boundTransport) WrappedRoundTripper() http.RoundTripper { return t.base }

type boundBody struct {
	io.ReadCloser
	done func()
}

func (b *boundBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
