package sdk

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/stats"
)

// connectionGrace is how long an executor whose host has let go of its last
// connection waits for another one. A host that lives reconnects in far less.
const connectionGrace = 30 * time.Second

// connections is a stats.Handler that calls gone when there has been a
// connection and then none for connectionGrace.
type connections struct {
	gone func()

	mu    sync.Mutex
	open  int
	timer *time.Timer
}

func (c *connections) HandleConn(_ context.Context, s stats.ConnStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s.(type) {
	case *stats.ConnBegin:
		c.open++
		if c.timer != nil {
			c.timer.Stop()
			c.timer = nil
		}
	case *stats.ConnEnd:
		c.open--
		if c.open == 0 {
			c.timer = time.AfterFunc(connectionGrace, c.gone)
		}
	}
}

func (c *connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *connections) HandleRPC(context.Context, stats.RPCStats)                         {}
