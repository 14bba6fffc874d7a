package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// ProtocolVersion is the go-plugin protocol version: the major version of the
// protobuf package that the executor serves.
const ProtocolVersion = 1

// PluginName is the one plugin in go-plugin's set.
const PluginName = "executor"

// What the host hands over in the environment, beside go-plugin's own.
const (
	// EnvParent is the process id of the host. The executor ends when that
	// process is gone.
	EnvParent = "BERTH_PARENT_PID"
	// EnvLifeline is "stdin" when standard input is a pipe that the host holds
	// open as long as it lives. The executor ends when it is closed.
	EnvLifeline = "BERTH_LIFELINE"
)

// drainTime is how long an executor that is told to end waits for its calls,
// which are cancelled by then. The host kills after a little more.
const drainTime = 3 * time.Second

// maxReceive is the largest message that an executor takes. It bounds a step,
// whose biggest parts are settings and outputs, not files.
const maxReceive = 16 << 20

// Handshake is what keeps somebody who starts an executor by hand from waiting
// for it: the program sees that no host started it, says so and exits. It is no
// security measure; the mutual TLS of each start is.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   "BERTH_EXECUTOR",
		MagicCookieValue: "5b0fd1b3a6ef4d1c9c7f0e4a2d86f7b1",
	}
}

// Serve serves x to the host that started this process, until the host says
// that it is over, is gone, or SIGTERM arrives. It is all that an executor's
// main does:
//
//	func main() { sdk.Serve(executor.New()) }
//
// Calls arrive side by side, but for one part at most one Run at a time. A
// panic in x fails that call alone.
func Serve(x Executor) {
	if h := Handshake(); os.Getenv(h.MagicCookieKey) != h.MagicCookieValue {
		d := x.Describe()
		fmt.Fprintf(os.Stderr, "This is %s %s, an executor of Berth. Berth starts it when an app's part says `use: %s`; there is nothing to start by hand.\n", d.Name, d.Version, d.Name)
		os.Exit(2)
	}
	out := os.Stderr // before go-plugin takes it
	logTo(out)
	s := newServer(x, Logger())
	var conns connections
	stop := func(why string) {
		Logger().Debug("executor ends", "why", why)
		s.drain(drainTime)
		killGroup()
		os.Exit(0)
	}
	watchHost(stop)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &served{server: s}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			conns.gone = func() { stop("the host has let go of the connection") }
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(maxReceive), grpc.ChainStreamInterceptor(conns.intercept))...)
		},
		// The levels above "off" would be lines about go-plugin itself; what
		// goes wrong there ends the process, which the host sees.
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: out, JSONFormat: true}),
	})
	s.drain(drainTime)
}

// Register puts x on a gRPC server of one's own, for tests that need no process
// and no host. The returned function cancels the calls that run and waits up to
// three seconds for them.
func Register(g grpc.ServiceRegistrar, x Executor) (end func()) {
	s := newServer(x, Logger())
	executorv1.RegisterExecutorServiceServer(g, s)
	return func() { s.drain(drainTime) }
}

// killGroup ends what the executor has started, and with it the executor, when
// the host gave it a process group of its own.
func killGroup() {
	if os.Getenv(EnvLifeline) != "" && syscall.Getpgrp() == os.Getpid() {
		_ = syscall.Kill(0, syscall.SIGKILL)
	}
}

// served puts the executor's service on go-plugin's gRPC server.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	server *server
}

func (p *served) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	executorv1.RegisterExecutorServiceServer(g, p.server)
	return nil
}

func (p *served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this program is an executor, not a host")
}

// watchHost calls stop when SIGTERM arrives or the host is gone. A host that
// is killed closes the lifeline at once; the process ids are looked at as well,
// because a wrapper between host and executor may hold a copy of the pipe.
func watchHost(stop func(why string)) {
	var once sync.Once
	end := func(why string) { once.Do(func() { stop(why) }) }
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		<-term
		end("it was told to")
	}()
	if os.Getenv(EnvLifeline) == "stdin" {
		go func() {
			one := make([]byte, 1)
			for {
				if _, err := os.Stdin.Read(one); err != nil {
					break
				}
			}
			end("the host is gone")
		}()
	}
	if host, err := strconv.Atoi(os.Getenv(EnvParent)); err == nil && host > 0 {
		go func() {
			waitParent(host, os.Getppid())
			end("the host's process is gone")
		}()
	}
}

// parentInterval is how often waitParent looks. It is the slow way of noticing.
const parentInterval = time.Second

// waitParent returns when the process host is gone or this one has another
// parent than at the start.
func waitParent(host, parent int) {
	for {
		if os.Getppid() != parent || errors.Is(syscall.Kill(host, 0), syscall.ESRCH) {
			return
		}
		time.Sleep(parentInterval)
	}
}
