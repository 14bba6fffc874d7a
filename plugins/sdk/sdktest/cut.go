package sdktest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/berth-dev/berth/plugins/sdk"
)

// ErrCut is what a call of the world outside fails with once its Cut is made.
var ErrCut = errors.New("sdktest: the executor was cut off from the world")

// Cut is the end of an executor in the middle of its work: of its calls of the
// world outside the n-th is made and its answer lost, and none is made after it.
// An executor that is killed between two calls leaves the world as one does that
// was killed right after the first of them, so all n together are every point at
// which a kill can make a difference.
//
//	Interrupted: func(t *testing.T, n int) sdk.Executor {
//		cut := sdktest.NewCut(n)
//		return cut.Executor(shop.New(shop.Options{Transport: cut.Transport(http.DefaultTransport)}))
//	},
type Cut struct {
	made chan struct{} // closed when the cut is made

	mu   sync.Mutex
	left int                    // calls that are still made
	open map[io.Closer]struct{} // what is closed then
}

// NewCut cuts at the n-th call, 1 being the first.
func NewCut(n int) *Cut {
	return &Cut{left: max(n, 1), made: make(chan struct{}), open: map[io.Closer]struct{}{}}
}

// Made is closed once the cut is made.
func (c *Cut) Made() <-chan struct{} { return c.made }

// Call makes a call, for executors that reach the world by other ways than
// Transport and Dial. It returns ErrCut when the call was the n-th, whatever
// came of it, and without making it when the cut was made before.
func (c *Cut) Call(call func() error) error {
	if c.cut() {
		return ErrCut
	}
	err := call()
	if !c.answered() {
		return ErrCut
	}
	return err
}

// cut tells whether it is made.
func (c *Cut) cut() bool {
	select {
	case <-c.made:
		return true
	default:
		return false
	}
}

// answered counts a call that was made, and tells whether its answer arrives.
func (c *Cut) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		close(c.made)
		for x := range c.open {
			_ = x.Close()
		}
	}
	return c.left > 0
}

// hold has x closed when the cut is made, at once if it is. The returned function
// takes that back.
func (c *Cut) hold(x io.Closer) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left <= 0 {
		_ = x.Close()
		return func() {}
	}
	c.open[x] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, x)
	}
}

// Transport is next until the cut: each round trip is a call. A body that is
// still being read by then, such as that of a watch, breaks off.
func (c *Cut) Transport(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		var res *http.Response
		err := c.Call(func() (err error) {
			res, err = next.RoundTrip(req)
			return err
		})
		switch {
		case err == nil:
			res.Body = &heldBody{ReadCloser: res.Body, release: c.hold(res.Body)}
			return res, nil
		case res != nil:
			_ = res.Body.Close()
		}
		return nil, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type heldBody struct {
	io.ReadCloser
	release func()
}

func (b *heldBody) Close() error {
	b.release()
	return b.ReadCloser.Close()
}

// Dial is next until the cut, for executors that speak something else than HTTP:
// each piece that is read from a connection is a call's answer.
func (c *Cut) Dial(next func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if c.cut() {
			return nil, ErrCut
		}
		conn, err := next(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &cutConn{Conn: conn, cut: c, release: c.hold(conn)}, nil
	}
}

type cutConn struct {
	net.Conn
	cut     *Cut
	release func()
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.cut.answered() {
		return 0, ErrCut
	}
	return n, err
}

func (c *cutConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// Executor is x, whose Run is cancelled when the cut is made: what was killed
// does not wait and try again. It has x's Run and Describe alone.
func (c *Cut) Executor(x sdk.Executor) sdk.Executor { return &cutExecutor{Executor: x, cut: c} }

type cutExecutor struct {
	sdk.Executor
	cut *Cut
}

func (x *cutExecutor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-x.cut.made:
			cancel()
		case <-ended:
		}
	}()
	return x.Executor.Run(ctx, step, out)
}
