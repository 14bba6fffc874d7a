package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

// runner is an executor that can do no more than the least.
type runner func(context.Context, sdk.Step, sdk.Events) error

func (runner) Describe() sdk.Description {
	return sdk.Description{Name: "runner", Version: "1.0.0", Verbs: []sdk.Verb{sdk.Deploy}}
}

func (r runner) Run(ctx context.Context, s sdk.Step, out sdk.Events) error { return r(ctx, s, out) }

func serve(t *testing.T, x sdk.Executor) (executorv1.ExecutorServiceClient, func()) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	end := sdk.Register(server, x)
	go func() { _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
	})
	return executorv1.NewExecutorServiceClient(conn), end
}

func run(ctx context.Context, x executorv1.ExecutorServiceClient, part string) ([]*executorv1.RunResponse, error) {
	stream, err := x.Run(ctx, &executorv1.RunRequest{Step: &executorv1.Step{
		App: "shop", Environment: "pr-1", Part: part, Verb: executorv1.Verb_VERB_DEPLOY,
		With: &structpb.Struct{Fields: map[string]*structpb.Value{
			"port": structpb.NewNumberValue(1_000_000), "share": structpb.NewNumberValue(0.5),
			"list": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNullValue(), structpb.NewBoolValue(true)}}),
		}},
	}})
	if err != nil {
		return nil, err
	}
	var all []*executorv1.RunResponse
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
}

func TestErrorsOverTheWire(t *testing.T) {
	cause := errors.New("dial tcp: refused")
	for name, tt := range map[string]struct {
		err   error
		fault executorv1.Fault
		retry bool
		after time.Duration
		msg   string
		cause string
	}{
		"the user's":      {sdk.Invalid("There is no chart %q.", "web"), executorv1.Fault_FAULT_INVALID, false, 0, `There is no chart "web".`, ""},
		"the cluster's":   {sdk.Downstream("No answer: %w", cause).WithRetry(), executorv1.Fault_FAULT_DOWNSTREAM, true, 0, "No answer: dial tcp: refused", "dial tcp: refused"},
		"to come back to": {sdk.Downstream("Too many.").WithRetryAfter(time.Minute), executorv1.Fault_FAULT_DOWNSTREAM, true, time.Minute, "Too many.", ""},
		"wrapped":         {errors.Join(io.EOF, sdk.Invalid("It is wrong.")), executorv1.Fault_FAULT_INVALID, false, 0, "It is wrong.", ""},
		"unforeseen":      {cause, executorv1.Fault_FAULT_INTERNAL, false, 0, "did not foresee", "dial tcp: refused"},
		"another gRPC's":  {status.Error(codes.Unavailable, "etcd"), executorv1.Fault_FAULT_INTERNAL, false, 0, "did not foresee", "etcd"},
		"of no fault":     {&sdk.Error{Fault: "whim", Msg: "It is so."}, executorv1.Fault_FAULT_INTERNAL, false, 0, "It is so.", ""},
		"not text":        {sdk.Invalid("bad \xff byte"), executorv1.Fault_FAULT_INVALID, false, 0, "bad � byte", ""},
		"endless":         {sdk.Invalid("%s", strings.Repeat("é", 1<<20)), executorv1.Fault_FAULT_INVALID, false, 0, "bytes left out", ""},
	} {
		t.Run(name, func(t *testing.T) {
			x, _ := serve(t, runner(func(context.Context, sdk.Step, sdk.Events) error { return tt.err }))
			_, err := run(t.Context(), x, "web")
			st := status.Convert(err)
			if len(st.Details()) != 1 {
				t.Fatalf("error %v", err)
			}
			f := st.Details()[0].(*executorv1.Failure)
			if f.GetFault() != tt.fault || f.GetRetry() != tt.retry || f.GetRetryAfter().AsDuration() != tt.after ||
				!strings.Contains(f.GetMessage(), tt.msg) || !strings.Contains(f.GetCause(), tt.cause) || len(f.GetMessage()) > 8<<10 {
				t.Errorf("failure %v", f)
			}
		})
	}
}

func TestErrorKeepsItsCause(t *testing.T) {
	err := error(sdk.Downstream("No answer: %w", io.ErrUnexpectedEOF).WithRetry())
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if first := sdk.Invalid("x"); first.WithRetry() == first || first.Retry {
		t.Error("WithRetry changes the error that it is called on")
	}
}

func TestCapabilitiesThatAreAbsent(t *testing.T) {
	x, _ := serve(t, runner(func(context.Context, sdk.Step, sdk.Events) error { return nil }))
	d, err := x.Describe(t.Context(), &executorv1.DescribeRequest{})
	if err != nil || d.GetPlans() || d.GetObserves() {
		t.Errorf("description %v, error %v", d, err)
	}
	if _, err := x.Plan(t.Context(), &executorv1.PlanRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("Plan: %v", err)
	}
	if _, err := x.Observe(t.Context(), &executorv1.ObserveRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("Observe: %v", err)
	}
}

func TestPanicFailsItsCallOnly(t *testing.T) {
	x, _ := serve(t, runner(func(_ context.Context, s sdk.Step, _ sdk.Events) error {
		if s.Part == "bad" {
			panic("on purpose")
		}
		return nil
	}))
	if _, err := run(t.Context(), x, "bad"); status.Code(err) != codes.Internal {
		t.Errorf("error %v", err)
	}
	if _, err := run(t.Context(), x, "good"); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestNumbersAndEventsArriveAsTheyAreMeant(t *testing.T) {
	x, _ := serve(t, runner(func(_ context.Context, s sdk.Step, out sdk.Events) error {
		if s.With["port"] != int64(1_000_000) || s.With["share"] != 0.5 || s.With["list"].([]any)[1] != true || s.With["list"].([]any)[0] != nil {
			return sdk.Internal("settings %#v", s.With)
		}
		out.Log("a \xff line")
		out.Progress("half-way", 1, 2)
		out.Progress("nonsense", -1, 1<<40)
		out.Output("k", "v")
		return nil
	}))
	all, err := run(t.Context(), x, "web")
	if err != nil || len(all) != 5 {
		t.Fatalf("events %v, error %v", all, err)
	}
	if all[0].GetLog().GetLine() != "a � line" || all[1].GetProgress().GetTotal() != 2 || all[2].GetProgress().GetDone() != 0 ||
		all[3].GetOutput().GetValue() != "v" || all[4].GetDone() == nil {
		t.Errorf("events %v", all)
	}
}

func TestRunsOfOnePartComeOneAfterTheOther(t *testing.T) {
	var inside atomic.Int32
	begun, wind := make(chan string, 2), make(chan struct{})
	x, _ := serve(t, runner(func(ctx context.Context, s sdk.Step, out sdk.Events) error {
		if inside.Add(1) > 1 && s.Part == "web" {
			t.Error("two runs of one part side by side")
		}
		defer inside.Add(-1)
		if s.Part == "web" && len(begun) == 0 {
			begun <- s.Part
			out.Log("begun")
			<-ctx.Done()
			<-wind // it takes its time to stop
		}
		return nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := run(ctx, x, "web"); first <- err }()
	<-begun
	begun <- "taken"
	if _, err := run(t.Context(), x, "other"); err != nil {
		t.Fatalf("a run of another part: %v", err)
	}
	cancel()
	if err := <-first; status.Code(err) != codes.Canceled {
		t.Fatalf("the cancelled run: %v", err)
	}
	second := make(chan error, 1)
	go func() { _, err := run(t.Context(), x, "web"); second <- err }()
	select {
	case err := <-second:
		t.Fatalf("the next run did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(wind)
	if err := <-second; err != nil {
		t.Errorf("the next run: %v", err)
	}
}

func TestEndCancelsRuns(t *testing.T) {
	x, end := serve(t, runner(func(ctx context.Context, _ sdk.Step, out sdk.Events) error {
		out.Log("begun")
		<-ctx.Done()
		return nil // it claims success, which it is not
	}))
	stream, err := x.Run(t.Context(), &executorv1.RunRequest{Step: &executorv1.Step{Part: "web", Verb: executorv1.Verb_VERB_DEPLOY}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	end()
	if r, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("a run that was cut off: %v, %v", r, err)
	}
	if _, err := run(t.Context(), x, "web"); status.Code(err) != codes.Unavailable {
		t.Errorf("a run after the end: %v", err)
	}
}

// planner plans as a function says.
type planner struct {
	sdk.Executor
	plan func(s sdk.Step) sdk.Plan
}

func (p planner) Plan(_ context.Context, s sdk.Step) (sdk.Plan, error) { return p.plan(s), nil }

func TestPlansTellWhatTheyTouchAndGetWhatWasAgreedOn(t *testing.T) {
	many := make([]sdk.Resource, 5000)
	for i := range many {
		many[i] = sdk.Resource{Kind: "ConfigMap", Name: fmt.Sprint("c", i), Change: sdk.ChangeCreate}
	}
	many[4000].Change = sdk.ChangeDelete
	many[4999] = sdk.Resource{Kind: "PersistentVolumeClaim", Name: "data\xff", Namespace: "n", Change: sdk.ChangeDelete, Destructive: true}
	x, _ := serve(t, planner{runner(nil), func(s sdk.Step) sdk.Plan {
		return sdk.Plan{Inputs: s.Agreed, Cost: "requests 1 CPU", Resources: many}
	}})
	p, err := x.Plan(t.Context(), &executorv1.PlanRequest{
		Step: &executorv1.Step{Part: "web", Verb: executorv1.Verb_VERB_DEPLOY}, Brief: true, Agreed: map[string]string{"image a:1": "sha256:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.GetCost() != "requests 1 CPU" || p.GetInputs()["image a:1"] != "sha256:1" {
		t.Errorf("cost %q, inputs %v", p.GetCost(), p.GetInputs())
	}
	r := p.GetResources()
	if len(r) != 1000 || p.GetResourcesLeft() != 4000 {
		t.Fatalf("%d resources, and %d more", len(r), p.GetResourcesLeft())
	}
	if r[0].GetName() != "data�" || r[0].GetNamespace() != "n" || !r[0].GetDestructive() || r[0].GetChange() != executorv1.Change_CHANGE_DELETE {
		t.Errorf("what takes data away is not first: %v", r[0])
	}
	if r[1].GetName() != "c4000" || r[2].GetName() != "c0" {
		t.Errorf("then come %v and %v", r[1], r[2])
	}
}

func TestCancelKeepsTheStreamOpen(t *testing.T) {
	begun := make(chan struct{})
	x, _ := serve(t, runner(func(ctx context.Context, _ sdk.Step, out sdk.Events) error {
		close(begun)
		<-ctx.Done()
		out.Log("stopping")
		return ctx.Err()
	}))
	if r, err := x.Cancel(t.Context(), &executorv1.CancelRequest{StepId: "s1"}); err != nil || r.GetFound() {
		t.Errorf("a step that does not run: %v %v", r, err)
	}
	stream, err := x.Run(t.Context(), &executorv1.RunRequest{Step: &executorv1.Step{Id: "s1", App: "shop", Environment: "pr-1", Part: "web", Verb: executorv1.Verb_VERB_DEPLOY}})
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	if r, err := x.Cancel(t.Context(), &executorv1.CancelRequest{StepId: "s1"}); err != nil || !r.GetFound() {
		t.Fatalf("the step that runs: %v %v", r, err)
	}
	if r, err := stream.Recv(); err != nil || r.GetLog().GetLine() != "stopping" {
		t.Errorf("got %v %v", r, err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("the stream ended with %v", err)
	}
}
