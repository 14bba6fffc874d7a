package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/berth-dev/berth/actions"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// maxReceive is the largest message that is taken from an executor. It bounds
// what a plan can hold; the SDK cuts diffs at an eighth of it.
const maxReceive = 64 << 20

// instance is a program that runs and has described itself.
type instance struct {
	name    string
	proc    *process
	output  *output
	client  *plugin.Client
	sockets string // a folder of its own
	conn    *grpc.ClientConn
	calls   executorv1.ExecutorServiceClient
	log     *slog.Logger

	description actions.Description
	schema      *schema
	settings    *structpb.Struct // nil without
	settingsSum string           // tells them from others; "" without
	plans       bool
	observes    bool
	since       time.Time
}

// launch starts the program, shakes hands and asks what it is. On an error
// nothing is left running.
func (k *keeper) launch(ctx context.Context) (*instance, error) {
	o := k.host.o
	path, err := k.host.locate(k.name, k.spec)
	if err != nil {
		return nil, err
	}
	// Only a pinned sum has to be known before the start; a program that is not
	// pinned is read while it starts.
	type summed struct {
		hex  string
		info os.FileInfo
		err  error
	}
	sums := make(chan summed, 1)
	want := strings.ToLower(strings.TrimSpace(k.spec.SHA256))
	sum := func() {
		hex, info, err := k.host.sums.of(path, want != "")
		sums <- summed{hex, info, err}
	}
	var found summed
	if want != "" {
		sum()
		found = <-sums
		switch {
		case found.err != nil:
			return nil, &permanent{fmt.Sprintf("The program of executor %s cannot be read", k.name), found.err}
		case found.hex != want:
			return nil, &permanent{fmt.Sprintf("The program of executor %s is not the one that the config pins: expected SHA-256 %s, found %s in %s. Install the right file, or correct `sha256` if the change is meant", k.name, want, found.hex, path), nil}
		}
	} else {
		go sum()
	}

	inst, err := k.connect(ctx, path)
	if want == "" {
		found = <-sums
	}
	if err != nil {
		return nil, err
	}
	// The file that was summed is the one that was started, or it is not trusted.
	if now, statErr := os.Stat(path); found.err != nil || statErr != nil || !sameFile(found.info, now) {
		inst.kill()
		return nil, fmt.Errorf("the program %s changed while it was started: %w", path, errors.Join(found.err, statErr))
	}
	if err := inst.describe(ctx, o.StartTimeout, k.spec.Settings); err != nil {
		inst.kill()
		return nil, err
	}
	inst.description.Binary = found.hex
	return inst, nil
}

// connect starts the program and waits for its side of the handshake.
func (k *keeper) connect(ctx context.Context, path string) (*instance, error) {
	o := k.host.o
	env, secrets := environment(k.spec.Env, os.LookupEnv)
	log := o.Log.With("executor", k.name)
	out := newOutput(log, secrets)
	dir, err := k.host.guard.folder()
	if err != nil {
		return nil, err
	}
	inst := &instance{name: k.name, log: log, output: out, sockets: dir}
	var started atomic.Pointer[process]
	inst.client = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: wire{}}},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			p := newProcess(path, k.spec.Args, slices.Concat(env, spec.Env), o.Dir, out, k.host.guard)
			started.Store(p)
			return p, nil
		},
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		AutoMTLS:         true,
		SkipHostEnv:      true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     o.StartTimeout,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &printed{o: out},
		SyncStderr:       &printed{o: out},
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive), grpc.ForceCodecV2(newFrugal())),
			grpc.WithDisableServiceConfig(),
			grpc.WithIdleTimeout(0), // the connection is the executor's sign that the bot wants it
		},
	})
	stop := context.AfterFunc(ctx, func() {
		// go-plugin cannot be told to give up; the end of the program tells it.
		if p := started.Load(); p != nil {
			p.signal(syscall.SIGKILL)
		}
	})
	defer stop()
	conn, err := dispense(inst.client)
	inst.proc = started.Load()
	if err != nil {
		inst.kill()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, k.explain(err, out.lastWords())
	}
	inst.conn, inst.calls, inst.since = conn, executorv1.NewExecutorServiceClient(conn), time.Now()
	return inst, nil
}

// explain turns go-plugin's and the system's errors into a sentence.
func (k *keeper) explain(err error, lastWords string) error {
	said := ""
	if lastWords != "" {
		said = fmt.Sprintf(" It said: %q.", clip(lastWords, 300))
	}
	switch text := err.Error(); {
	case errors.Is(err, syscall.ENOEXEC):
		return &permanent{fmt.Sprintf("The program of executor %s is not a program for this machine", k.name), err}
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist):
		return &permanent{fmt.Sprintf("The program of executor %s cannot be run", k.name), err}
	case strings.Contains(text, "incompatible API version"):
		return &permanent{fmt.Sprintf("The program of executor %s speaks another version of the executor protocol than Berth (%d); install a matching release of one of them", k.name, sdk.ProtocolVersion), err}
	case strings.Contains(text, "Unrecognized remote plugin message"), strings.Contains(text, "exited before we could connect"):
		return fmt.Errorf("the program ended or spoke before it served, so it crashed or is no executor.%s (%w)", said, errShort(text))
	}
	return fmt.Errorf("%w.%s", err, said)
}

// errShort is the first line of text, without go-plugin's advice below it.
func errShort(text string) error {
	line, _, _ := strings.Cut(text, "\n")
	return errors.New(clip(line, 300))
}

// wire is the host's side of the one plugin in go-plugin's set.
type wire struct{ plugin.NetRPCUnsupportedPlugin }

func (wire) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("this program is the host, not an executor")
}

func (wire) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

func dispense(c *plugin.Client) (*grpc.ClientConn, error) {
	protocol, err := c.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return nil, err
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return nil, fmt.Errorf("go-plugin dispensed %T", raw)
	}
	return conn, nil
}

// describe asks the executor what it is, compiles its schema, and holds its
// settings against that of settings.
func (i *instance) describe(ctx context.Context, limit time.Duration, settings map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	d, err := i.calls.Describe(ctx, &executorv1.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("the executor does not describe itself: %w", err)
	}
	i.description = actions.Description{Name: d.GetName(), Version: d.GetVersion()}
	for _, v := range d.GetVerbs() {
		// A verb of a later protocol is one that this bot never sends.
		if verb, ok := verbsFromWire[v]; ok {
			i.description.Verbs = append(i.description.Verbs, verb)
		}
	}
	if d.GetSchema() != nil {
		i.description.Schema = d.GetSchema().AsMap()
	}
	i.plans, i.observes = d.GetPlans(), d.GetObserves()
	i.description.Inventories, i.description.Logs, i.description.Checks = d.GetInventories(), d.GetLogs(), d.GetChecks()
	noSchema := func(what string, err error) error {
		return &permanent{fmt.Sprintf("The executor %s describes %s by a JSON Schema that is not one; its author has to correct it", i.name, what), err}
	}
	if i.schema, err = compileSchema(i.description.Schema); err != nil {
		return noSchema("a part's settings", err)
	}
	if err := i.configure(d.GetSettingsSchema(), settings); err != nil {
		if _, ok := errors.AsType[*permanent](err); ok {
			return err
		}
		return noSchema("its own settings", err)
	}
	return nil
}

// ended tells whether the program is gone.
func (i *instance) ended() bool {
	select {
	case <-i.proc.exited:
		return true
	default:
		return false
	}
}

// healthy asks go-plugin's health service once.
func (i *instance) healthy(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := grpc_health_v1.NewHealthClient(i.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	if err != nil {
		return err
	}
	if r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("its health is %s", r.GetStatus())
	}
	return nil
}

// kill ends the program and all that it started, and waits for that.
func (i *instance) kill() {
	if i.proc != nil {
		i.proc.signal(syscall.SIGKILL)
	}
	i.release()
}

// stop asks the program to end and kills it after grace.
func (i *instance) stop(grace time.Duration) {
	i.proc.signal(syscall.SIGTERM)
	select {
	case <-i.proc.exited:
	case <-time.After(grace):
		i.log.Warn("an executor did not end when told to, and is killed", "pid", i.proc.pid())
		i.proc.signal(syscall.SIGKILL)
	}
	i.release()
}

// release waits for the program's end and lets go of connection and socket.
func (i *instance) release() {
	if i.proc != nil {
		<-i.proc.exited
	}
	if i.conn != nil {
		_ = i.conn.Close()
	}
	i.client.Kill() // by now it only tidies up
	_ = os.RemoveAll(i.sockets)
}
