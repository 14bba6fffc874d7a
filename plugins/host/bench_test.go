package host_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/plugins/host"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// benchStep is a step of the usual size.
func benchStep() actions.Step {
	s := step("build", "count", 3, "size", "small", "anything", map[string]any{
		"image":    map[string]any{"repository": "ghcr.io/acme/shop", "tag": "0123456789abcdef"},
		"replicas": 2, "hosts": []any{"a.example.org", "b.example.org"},
		"resources": map[string]any{"cpu": "100m", "memory": "128Mi"},
	})
	s.Vars = map[string]string{"LOG_LEVEL": "debug", "REGION": "eu-central-1"}
	s.Set = map[string]string{"image.tag": "abc"}
	s.Commit.SHA = "0123456789abcdef0123456789abcdef01234567"
	s.Namespace = "shop-pr-42"
	return s
}

// BenchmarkCall is a Plan through the host: looking the process up, checking
// the settings against the schema, both conversions.
func BenchmarkCall(b *testing.B) {
	_, x := start(b, options(&buffer{}, host.Plugin{}))
	s := benchStep()
	if _, err := x.Plan(b.Context(), s); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := x.Plan(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareCall is the same message through go-plugin alone: its own
// process and mutual TLS, a server that answers what BenchmarkCall's answers.
func BenchmarkBareCall(b *testing.B) {
	call := bareCall(b)
	for b.Loop() {
		call()
	}
}

// BenchmarkRatio takes turns between the two and reports how the medians
// compare, which says more than two benchmarks on a machine that also does
// something else.
func BenchmarkRatio(b *testing.B) {
	_, x := start(b, options(&buffer{}, host.Plugin{}))
	s := benchStep()
	calls := [2]func(){
		func() {
			if _, err := x.Plan(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		},
		bareCall(b),
	}
	for range 100 {
		calls[0]()
		calls[1]()
	}
	var took [2][]time.Duration
	for b.Loop() {
		for i, call := range calls {
			begun := time.Now()
			call()
			took[i] = append(took[i], time.Since(begun))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2])
	}
	b.ReportMetric(median(took[0]), "ns/call")
	b.ReportMetric(median(took[1]), "ns/bare")
	b.ReportMetric(median(took[0])/median(took[1]), "ratio")
}

// bareCall starts the bare plugin and gives a call of it.
func bareCall(b *testing.B) func() {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self)
	cmd.Env = []string{asBare + "=1"}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  bareHandshake,
		VersionedPlugins: map[int]plugin.PluginSet{1: {"bare": barePlugin{}}},
		Cmd:              cmd, AutoMTLS: true, SkipHostEnv: true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	b.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		b.Fatal(err)
	}
	raw, err := protocol.Dispense("bare")
	if err != nil {
		b.Fatal(err)
	}
	x := raw.(executorv1.ExecutorServiceClient)
	s := benchStep()
	with, err := structpb.NewStruct(s.With)
	if err != nil {
		b.Fatal(err)
	}
	req := &executorv1.PlanRequest{Step: &executorv1.Step{
		Id: s.ID, App: "shop", Environment: "pr-42", Part: s.Part, Verb: executorv1.Verb_VERB_DEPLOY,
		With: with, Vars: s.Vars, Set: s.Set, Commit: s.Commit.SHA, Cluster: &executorv1.Cluster{}, Namespace: s.Namespace,
	}}
	return func() {
		if _, err := x.Plan(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

var bareHandshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "BARE", MagicCookieValue: "bare"}

type barePlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (barePlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	executorv1.RegisterExecutorServiceServer(s, bareServer{})
	return nil
}

func (barePlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return executorv1.NewExecutorServiceClient(c), nil
}

type bareServer struct {
	executorv1.UnimplementedExecutorServiceServer
}

func (bareServer) Plan(_ context.Context, r *executorv1.PlanRequest) (*executorv1.PlanResponse, error) {
	if r.GetStep() == nil {
		return nil, errors.New("no step")
	}
	return &executorv1.PlanResponse{Summary: "would build", Diff: "+a", Inputs: map[string]string{"count": "int64 3"}}, nil
}

func serveBare() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  bareHandshake,
		VersionedPlugins: map[int]plugin.PluginSet{1: {"bare": barePlugin{}}},
		GRPCServer:       plugin.DefaultGRPCServer,
		Logger:           hclog.NewNullLogger(),
	})
}
