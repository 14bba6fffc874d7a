package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// client speaks to the executor and notes all that it says.
type client struct {
	executorv1.ExecutorServiceClient
	seen     *seen
	returned chan struct{} // gets one value for each Run and Logs that returned; nil for a program
}

// connect starts or serves the suite's executor.
func connect(t *testing.T, s Suite, seen *seen) *client {
	t.Helper()
	if s.Command != nil {
		return launch(t, s, seen, nil)
	}
	return serve(t, s.New(), seen)
}

// serve serves x in this process.
func serve(t *testing.T, x sdk.Executor, seen *seen) *client {
	t.Helper()
	// Not t.TempDir(): the path of a socket may not be longer than 104 bytes.
	dir, err := os.MkdirTemp("", "sdktest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "x")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	returned := make(chan struct{}, 1024)
	server := grpc.NewServer(grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		defer func() {
			select {
			case returned <- struct{}{}:
			default: // nobody looks
			}
		}()
		return handle(srv, stream)
	}))
	end := sdk.Register(server, x)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		end()
	})
	return &client{ExecutorServiceClient: executorv1.NewExecutorServiceClient(conn), seen: seen, returned: returned}
}

// launch starts the program with go-plugin, as Berth does.
func launch(t *testing.T, s Suite, seen *seen, more []string) *client {
	t.Helper()
	cmd := exec.Command(s.Command[0], s.Command[1:]...) // go-plugin ends it.
	cmd.Env = s.environment(more)
	log := seen.stream("the program's log")
	p := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{sdk.ProtocolVersion: {sdk.PluginName: dispenser{}}},
		Cmd:              cmd, AutoMTLS: true, SkipHostEnv: true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		Stderr:           log, SyncStdout: log, SyncStderr: log,
	})
	t.Cleanup(p.Kill)
	protocol, err := p.Client()
	if err != nil {
		t.Fatalf("the executor %s does not start: %v", s.Command[0], err)
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		t.Fatal(err)
	}
	x, ok := raw.(executorv1.ExecutorServiceClient)
	if !ok {
		t.Fatalf("go-plugin dispensed %T", raw)
	}
	return &client{ExecutorServiceClient: x, seen: seen}
}

// environment is what a program is started with, without go-plugin's own part.
func (s *Suite) environment(more []string) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return slices.Concat(env, s.Env, more)
}

type dispenser struct{ plugin.NetRPCUnsupportedPlugin }

func (dispenser) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the suite serves nothing")
}

func (dispenser) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return executorv1.NewExecutorServiceClient(c), nil
}

// run does a step and gives its outputs. Events are passed to on.
func (c *client) run(ctx context.Context, s *executorv1.Step, on func()) (map[string]string, error) {
	stream, err := c.Run(ctx, &executorv1.RunRequest{Step: s})
	if err != nil {
		return nil, c.note("the error of Run", err)
	}
	outputs, done := map[string]string{}, false
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) && done {
			return outputs, nil
		}
		if err != nil {
			return nil, c.note("the error of Run", err)
		}
		if done {
			return nil, errors.New("an event came after done")
		}
		switch e := r.GetEvent().(type) {
		case *executorv1.RunResponse_Log:
			c.seen.text("a log line of Run", e.Log.GetLine())
		case *executorv1.RunResponse_Progress:
			c.seen.text("a progress of Run", e.Progress.GetText())
			if e.Progress.GetTotal() > 0 && e.Progress.GetDone() > e.Progress.GetTotal() {
				return nil, fmt.Errorf("a progress of %d of %d", e.Progress.GetDone(), e.Progress.GetTotal())
			}
		case *executorv1.RunResponse_Output:
			c.seen.text("the output "+e.Output.GetKey(), e.Output.GetKey(), e.Output.GetValue())
			outputs[e.Output.GetKey()] = e.Output.GetValue()
		case *executorv1.RunResponse_Receipt:
			c.seen.text("a receipt of Run", e.Receipt.GetKind(), e.Receipt.GetName(), e.Receipt.GetNamespace())
			if e.Receipt.GetKind() == "" || e.Receipt.GetName() == "" {
				return nil, fmt.Errorf("a receipt without a kind or a name: %v", e.Receipt)
			}
		case *executorv1.RunResponse_Done:
			done = true
		}
		if on != nil {
			on()
		}
	}
}

// note looks for secrets in an error.
func (c *client) note(place string, err error) error {
	if err != nil {
		c.seen.text(place, err.Error())
		if f := failureOf(err); f != nil {
			c.seen.text(place, f.GetMessage(), f.GetCause())
		}
	}
	return err
}

// failureOf is what the executor says of err, nil when it says nothing.
func failureOf(err error) *executorv1.Failure {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, d := range st.Details() {
		if f, ok := d.(*executorv1.Failure); ok {
			return f
		}
	}
	return nil
}

var wireVerbs = map[sdk.Verb]executorv1.Verb{
	sdk.Deploy: executorv1.Verb_VERB_DEPLOY, sdk.Archive: executorv1.Verb_VERB_ARCHIVE,
	sdk.Restore: executorv1.Verb_VERB_RESTORE, sdk.Cleanup: executorv1.Verb_VERB_CLEANUP,
	sdk.Rollback: executorv1.Verb_VERB_ROLLBACK, sdk.Restart: executorv1.Verb_VERB_RESTART,
	sdk.Sleep: executorv1.Verb_VERB_SLEEP, sdk.Wake: executorv1.Verb_VERB_WAKE,
}

// wire is s as Berth sends it.
func wire(t *testing.T, s sdk.Step) *executorv1.Step {
	t.Helper()
	w := &executorv1.Step{
		Id: s.ID, App: s.App, Environment: s.Env, Part: s.Part, Verb: wireVerbs[s.Verb], With: object(t, s.With),
		Vars: s.Vars, Set: s.Set, Commit: s.Commit, Namespace: s.Namespace,
		Cluster:      wireCluster(s.Cluster),
		Settings:     object(t, s.Settings),
		Outputs:      map[string]*executorv1.Outputs{},
		Installation: s.Installation, Earlier: s.Earlier, AsWas: s.AsWas,
		Secrets: map[string]*executorv1.SecretRef{},
	}
	for name, ref := range s.Secrets {
		w.Secrets[name] = wireSecret(ref)
	}
	for part, out := range s.Outputs {
		w.Outputs[part] = &executorv1.Outputs{Values: out}
	}
	return w
}

func object(t *testing.T, m map[string]any) *structpb.Struct {
	t.Helper()
	w, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatalf("sdktest: the settings are not JSON: %v", err)
	}
	return w
}

func wireCluster(c sdk.Cluster) *executorv1.Cluster {
	w := &executorv1.Cluster{Kubeconfig: c.Kubeconfig, Context: c.Context, Name: c.Name}
	if c.EKS != nil {
		w.Eks = &executorv1.EKS{Name: c.EKS.Name, Region: c.EKS.Region, Role: c.EKS.Role}
	}
	return w
}

func wireSecret(ref sdk.SecretRef) *executorv1.SecretRef {
	w := &executorv1.SecretRef{Name: ref.Name}
	switch {
	case ref.Env != "":
		w.From = &executorv1.SecretRef_Env{Env: ref.Env}
	case ref.File != "":
		w.From = &executorv1.SecretRef_File{File: ref.File}
	case ref.SecretName != "":
		w.From = &executorv1.SecretRef_Kubernetes{Kubernetes: &executorv1.SecretKey{Namespace: ref.SecretNamespace, Name: ref.SecretName, Key: ref.SecretKey}}
	}
	return w
}

// within waits for ok, which looks at another program's state, until limit.
func within(limit time.Duration, ok func() bool) bool {
	deadline := time.Now().Add(limit)
	for {
		if ok() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
}
