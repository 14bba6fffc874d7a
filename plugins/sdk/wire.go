package sdk

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// Sizes that keep one message of an executor from filling the host's memory.
// They are far above what a person reads; what is longer is cut with a notice.
const (
	maxLine    = 16 << 10 // bytes of a log line, a progress text, an output
	maxMessage = 8 << 10  // bytes of an error's message and of its cause
	maxDiff    = 8 << 20  // bytes of a plan's diff
	maxWord    = 256      // bytes of a resource's kind, name and namespace
	// maxResources is how many resources a plan tells; Berth takes no more.
	maxResources = 1000
	maxFacts     = 16       // facts of an observation
	maxFindings  = 64       // findings of a check
	maxPaste     = 64 << 10 // bytes of a finding's text to use
)

var changes = map[Change]executorv1.Change{
	ChangeCreate: executorv1.Change_CHANGE_CREATE,
	ChangeUpdate: executorv1.Change_CHANGE_UPDATE,
	ChangeDelete: executorv1.Change_CHANGE_DELETE,
}

var verbs = map[executorv1.Verb]Verb{
	executorv1.Verb_VERB_DEPLOY:   Deploy,
	executorv1.Verb_VERB_ARCHIVE:  Archive,
	executorv1.Verb_VERB_RESTORE:  Restore,
	executorv1.Verb_VERB_CLEANUP:  Cleanup,
	executorv1.Verb_VERB_ROLLBACK: Rollback,
	executorv1.Verb_VERB_RESTART:  Restart,
	executorv1.Verb_VERB_SLEEP:    Sleep,
	executorv1.Verb_VERB_WAKE:     Wake,
}

var healths = map[Health]executorv1.Health{
	Healthy:   executorv1.Health_HEALTH_HEALTHY,
	Degraded:  executorv1.Health_HEALTH_DEGRADED,
	Unhealthy: executorv1.Health_HEALTH_UNHEALTHY,
	Absent:    executorv1.Health_HEALTH_ABSENT,
	Unknown:   executorv1.Health_HEALTH_UNSPECIFIED,
}

var faults = map[Fault]struct {
	wire executorv1.Fault
	code codes.Code // what tools that do not know Failure see
}{
	FaultInvalid:    {executorv1.Fault_FAULT_INVALID, codes.InvalidArgument},
	FaultDownstream: {executorv1.Fault_FAULT_DOWNSTREAM, codes.FailedPrecondition},
	FaultInternal:   {executorv1.Fault_FAULT_INTERNAL, codes.Internal},
}

// stepFrom makes a Step of what came over the wire. Maps that a plugin author
// may index are never nil-sensitive, so absent ones stay nil, but With is made.
func stepFrom(s *executorv1.Step, brief bool) Step {
	step := Step{
		ID: s.GetId(), App: s.GetApp(), Env: s.GetEnvironment(), Part: s.GetPart(),
		Verb: verbs[s.GetVerb()],
		With: object(s.GetWith()),
		Vars: s.GetVars(), Set: s.GetSet(), Commit: s.GetCommit(),
		Cluster:   clusterFrom(s.GetCluster()),
		Namespace: s.GetNamespace(),
		Brief:     brief,

		Installation: s.GetInstallation(), Earlier: s.GetEarlier(), AsWas: s.GetAsWas(),
		Settings: object(s.GetSettings()),
	}
	if len(s.GetSecrets()) > 0 {
		step.Secrets = make(map[string]SecretRef, len(s.GetSecrets()))
		for name, ref := range s.GetSecrets() {
			k := ref.GetKubernetes()
			step.Secrets[name] = SecretRef{Name: ref.GetName(), Env: ref.GetEnv(), File: ref.GetFile(),
				SecretNamespace: k.GetNamespace(), SecretName: k.GetName(), SecretKey: k.GetKey()}
		}
	}
	if len(s.GetOutputs()) > 0 {
		step.Outputs = make(map[string]map[string]string, len(s.GetOutputs()))
		for part, out := range s.GetOutputs() {
			step.Outputs[part] = out.GetValues()
		}
	}
	return step
}

func clusterFrom(c *executorv1.Cluster) Cluster {
	out := Cluster{Kubeconfig: c.GetKubeconfig(), Context: c.GetContext(), Name: c.GetName()}
	if e := c.GetEks(); e != nil {
		out.EKS = &EKS{Name: e.GetName(), Region: e.GetRegion(), Role: e.GetRole()}
	}
	return out
}

func object(s *structpb.Struct) map[string]any {
	m := make(map[string]any, len(s.GetFields()))
	for k, v := range s.GetFields() {
		m[k] = value(v)
	}
	return m
}

// maxExact is the largest whole number up to which a double holds every one.
const maxExact = 1 << 53

// value is plain Go of v. A whole number comes as int64: as float64, a port of
// 1000000 would be printed as 1e+06 by every template that it reaches.
func value(v *structpb.Value) any {
	switch k := v.GetKind().(type) {
	case *structpb.Value_NumberValue:
		if n := k.NumberValue; n == math.Trunc(n) && math.Abs(n) <= maxExact {
			return int64(n)
		}
		return k.NumberValue
	case *structpb.Value_StringValue:
		return k.StringValue
	case *structpb.Value_BoolValue:
		return k.BoolValue
	case *structpb.Value_StructValue:
		return object(k.StructValue)
	case *structpb.Value_ListValue:
		list := make([]any, 0, len(k.ListValue.GetValues()))
		for _, item := range k.ListValue.GetValues() {
			list = append(list, value(item))
		}
		return list
	default:
		return nil
	}
}

func describe(x Executor, d Description) (*executorv1.DescribeResponse, error) {
	r := &executorv1.DescribeResponse{Name: clean(d.Name, maxLine), Version: clean(d.Version, maxLine)}
	_, r.Plans = x.(Planner)
	_, r.Observes = x.(Observer)
	_, r.Inventories = x.(Inventory)
	_, r.Logs = x.(LogSource)
	_, r.Checks = x.(Checker)
	for _, v := range d.Verbs {
		wire, ok := wireVerb(v)
		if !ok {
			return nil, Internal("The executor describes the verb %q, which the protocol does not know.", v)
		}
		r.Verbs = append(r.Verbs, wire)
	}
	for _, s := range []struct {
		from map[string]any
		to   **structpb.Struct
	}{{d.Schema, &r.Schema}, {d.SettingsSchema, &r.SettingsSchema}} {
		if s.from == nil {
			continue
		}
		schema, err := structpb.NewStruct(s.from)
		if err != nil {
			return nil, Internal("The executor's schema cannot be sent: %w", err)
		}
		*s.to = schema
	}
	return r, nil
}

func wireVerb(v Verb) (executorv1.Verb, bool) {
	for wire, name := range verbs {
		if name == v {
			return wire, true
		}
	}
	return 0, false
}

func planTo(p Plan) *executorv1.PlanResponse {
	inputs := make(map[string]string, len(p.Inputs))
	for k, v := range p.Inputs {
		inputs[clean(k, maxLine)] = clean(v, maxLine)
	}
	r := &executorv1.PlanResponse{
		Summary: clean(p.Summary, maxLine), Diff: clean(p.Diff, maxDiff),
		Destructive: p.Destructive, Inputs: inputs, Cost: clean(p.Cost, maxLine),
	}
	told := mostTelling(p.Resources)
	r.ResourcesLeft = int64(len(p.Resources) - len(told))
	for _, res := range told {
		r.Resources = append(r.Resources, resourceTo(res))
	}
	return r
}

func resourceTo(r Resource) *executorv1.ResourceChange {
	return &executorv1.ResourceChange{
		Kind: clean(r.Kind, maxWord), Name: clean(r.Name, maxWord), Namespace: clean(r.Namespace, maxWord),
		Change: changes[r.Change], Destructive: r.Destructive,
	}
}

// mostTelling are the resources that Berth is told: all while they are few, else
// those that take data away, then those that go, then others.
func mostTelling(all []Resource) []Resource {
	if len(all) <= maxResources {
		return all
	}
	rank := func(r Resource) int {
		switch {
		case r.Destructive:
			return 0
		case r.Change == ChangeDelete:
			return 1
		}
		return 2
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Resource) int { return rank(a) - rank(b) })
	return sorted[:maxResources]
}

func observationTo(o Observation) *executorv1.ObserveResponse {
	r := &executorv1.ObserveResponse{Health: healths[o.Health], Text: clean(o.Text, maxMessage)}
	for _, l := range o.Links {
		r.Links = append(r.Links, &executorv1.Link{Name: clean(l.Name, maxLine), Url: clean(l.URL, maxLine)})
	}
	for _, d := range o.Drift {
		r.Drift = append(r.Drift, clean(d, maxLine))
	}
	for _, f := range o.Facts[:min(len(o.Facts), maxFacts)] {
		r.Facts = append(r.Facts, &executorv1.Fact{Name: clean(f.Name, maxWord), Text: clean(f.Text, maxMessage)})
	}
	r.Renew = clean(o.Renew, maxMessage)
	return r
}

func queryFrom(r *executorv1.LogsRequest) LogQuery {
	q := LogQuery{Pod: r.GetPod(), Container: r.GetContainer(), Tail: int(max(r.GetTail(), 0)), Follow: r.GetFollow(), Contains: r.GetContains()}
	if r.GetSince() != nil {
		q.Since = r.GetSince().AsTime()
	}
	return q
}

func lineTo(l LogLine) *executorv1.LogLine {
	w := &executorv1.LogLine{Source: clean(l.Source, maxWord), Text: clean(l.Text, maxLine)}
	if !l.Time.IsZero() {
		w.Time = timestamppb.New(l.Time)
	}
	return w
}

func findingsTo(all []Finding) *executorv1.CheckResponse {
	r := &executorv1.CheckResponse{}
	for _, f := range all[:min(len(all), maxFindings)] {
		r.Findings = append(r.Findings, &executorv1.Finding{
			Name: clean(f.Name, maxWord), Ok: f.OK, Detail: clean(f.Detail, maxMessage), Fix: clean(f.Fix, maxMessage), Paste: clean(f.Paste, maxPaste),
		})
	}
	return r
}

// ownedTo carries names as they are: one that is cut or mended names something
// else.
func ownedTo(all []Owned) (*executorv1.InventoryResponse, error) {
	r := &executorv1.InventoryResponse{Owned: make([]*executorv1.Owned, 0, len(all))}
	for _, o := range all {
		for _, name := range []string{o.App, o.Env, o.Part, o.Kind, o.Name, o.Namespace} {
			if len(name) > maxWord || !utf8.ValidString(name) {
				return nil, Internal("The executor found a %s with a name that cannot be carried.", clean(o.Kind, maxWord))
			}
		}
		w := &executorv1.Owned{App: o.App, Environment: o.Env, Part: o.Part, Kind: o.Kind, Name: o.Name, Namespace: o.Namespace, Elsewhere: o.Elsewhere}
		if !o.CreatedAt.IsZero() {
			w.CreatedAt = timestamppb.New(o.CreatedAt)
		}
		r.Owned = append(r.Owned, w)
	}
	return r, nil
}

// statusOf makes err a gRPC status with a Failure in its details.
func statusOf(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Fault: FaultInternal, Msg: "The executor failed in a way that it did not foresee; its log says how.", Err: err}
	}
	fault, ok := faults[e.Fault]
	if !ok {
		fault = faults[FaultInternal]
	}
	f := &executorv1.Failure{Fault: fault.wire, Message: clean(e.Msg, maxMessage), Retry: e.Retry}
	if e.After > 0 {
		f.RetryAfter = durationpb.New(min(e.After, 24*time.Hour))
	}
	if e.Err != nil {
		f.Cause = clean(e.Err.Error(), maxMessage)
	}
	st, detailErr := status.New(fault.code, f.GetMessage()).WithDetails(f)
	if detailErr != nil {
		return status.Error(fault.code, f.GetMessage())
	}
	return st.Err()
}

// clean is s fit for the wire: UTF-8, as protobuf demands, and at most limit
// bytes, with a notice of what is missing.
func clean(s string, limit int) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "�")
	}
	if len(s) <= limit {
		return s
	}
	notice := fmt.Sprintf("… (%d bytes left out)", len(s)-limit)
	cut := limit - len(notice)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + notice
}
