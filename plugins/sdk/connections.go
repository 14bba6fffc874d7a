package sdk

import (
	"sync"
	"time"

	"google.golang.org/grpc"
)

// connectionGrace is how long an executor whose host has let go of its last
// connection waits for another one. A host that lives reconnects in far less.
const connectionGrace = 30 * time.Second

// stdioMethod is the stream over which go-plugin's host reads what the program
// prints. It opens one for each connection and keeps it as long as that lives.
const stdioMethod = "/plugin.GRPCStdio/StreamStdio"

// connections calls gone when there has been a connection and then none for
// connectionGrace. It looks at one stream of each instead of at gRPC's
// statistics, which would cost every call.
type connections struct {
	gone func()

	mu    sync.Mutex
	open  int
	timer *time.Timer
}

func (c *connections) intercept(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if info.FullMethod != stdioMethod {
		return handle(srv, stream)
	}
	c.begin()
	defer c.end()
	return handle(srv, stream)
}

func (c *connections) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open--; c.open == 0 {
		c.timer = time.AfterFunc(connectionGrace, c.gone)
	}
}
