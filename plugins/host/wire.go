package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/berth-dev/berth/actions"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// verbsToWire holds the verbs that can reach an executor; extend is the bot's
// own affair.
var verbsToWire = map[actions.Verb]executorv1.Verb{
	actions.VerbDeploy:   executorv1.Verb_VERB_DEPLOY,
	actions.VerbArchive:  executorv1.Verb_VERB_ARCHIVE,
	actions.VerbRestore:  executorv1.Verb_VERB_RESTORE,
	actions.VerbCleanup:  executorv1.Verb_VERB_CLEANUP,
	actions.VerbRollback: executorv1.Verb_VERB_ROLLBACK,
	actions.VerbRestart:  executorv1.Verb_VERB_RESTART,
	actions.VerbSleep:    executorv1.Verb_VERB_SLEEP,
	actions.VerbWake:     executorv1.Verb_VERB_WAKE,
}

var verbsFromWire = func() map[executorv1.Verb]actions.Verb {
	m := make(map[executorv1.Verb]actions.Verb, len(verbsToWire))
	for verb, wire := range verbsToWire {
		m[wire] = verb
	}
	return m
}()

var healthFromWire = map[executorv1.Health]actions.Health{
	executorv1.Health_HEALTH_HEALTHY:     actions.Healthy,
	executorv1.Health_HEALTH_DEGRADED:    actions.Degraded,
	executorv1.Health_HEALTH_UNHEALTHY:   actions.Unhealthy,
	executorv1.Health_HEALTH_ABSENT:      actions.Absent,
	executorv1.Health_HEALTH_UNSPECIFIED: actions.Unknown,
}

// changeFromWire lacks what a later protocol may add, which planning takes for
// an update.
var changeFromWire = map[executorv1.Change]string{
	executorv1.Change_CHANGE_CREATE: actions.ResourceCreate,
	executorv1.Change_CHANGE_UPDATE: actions.ResourceUpdate,
	executorv1.Change_CHANGE_DELETE: actions.ResourceDelete,
}

// codeOfFault says what an executor's fault is to the bot.
var codeOfFault = map[executorv1.Fault]actions.Code{
	executorv1.Fault_FAULT_INVALID:     actions.CodeInvalid,
	executorv1.Fault_FAULT_DOWNSTREAM:  actions.CodeDownstream,
	executorv1.Fault_FAULT_INTERNAL:    actions.CodeInternal,
	executorv1.Fault_FAULT_UNSPECIFIED: actions.CodeInternal,
}

// stepToWire is step as an executor gets it, and its settings in JSON's own
// types. The error is CodeInvalid: some value cannot be carried.
func stepToWire(op string, s actions.Step) (*executorv1.Step, map[string]any, error) {
	verb, ok := verbsToWire[s.Verb]
	if !ok {
		return nil, nil, actions.Errorf(op, actions.CodeInvalid, "No executor can %s.", s.Verb)
	}
	var c carrier
	with, err := c.object(s.With)
	if err != nil {
		return nil, nil, actions.Wrap(op, actions.CodeInvalid, err, fmt.Sprintf("Part %q: %s.", s.Part, err))
	}
	for i, m := range [...]map[string]string{s.Vars, s.Set} {
		for k, v := range m {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				name := [...]string{"vars", "set"}[i]
				return nil, nil, actions.Errorf(op, actions.CodeInvalid, "The value of %s.%s is not valid UTF-8 text.", name, strings.ToValidUTF8(k, "�"))
			}
		}
	}
	w := &executorv1.Step{
		Id: s.ID, App: s.Env.App, Environment: s.Env.Env, Part: s.Part, Verb: verb,
		With: with, Vars: s.Vars, Set: s.Set, Commit: s.Commit.SHA,
		Cluster:   clusterToWire(s.Cluster),
		Namespace: s.Namespace,
	}
	w.Installation, w.Earlier, w.AsWas = s.Installation, s.Earlier, s.AsWas
	if len(s.Secrets) > 0 {
		w.Secrets = make(map[string]*executorv1.SecretRef, len(s.Secrets))
		for name, ref := range s.Secrets {
			w.Secrets[name] = secretToWire(ref)
		}
	}
	if len(s.Outputs) > 0 {
		w.Outputs = make(map[string]*executorv1.Outputs, len(s.Outputs))
		for part, out := range s.Outputs {
			w.Outputs[part] = &executorv1.Outputs{Values: out}
		}
	}
	plain := s.With
	if c.odd || plain == nil {
		plain = with.AsMap()
	}
	return w, plain, nil
}

func clusterToWire(c actions.Cluster) *executorv1.Cluster {
	w := &executorv1.Cluster{Kubeconfig: c.Kubeconfig, Context: c.Context, Name: c.Name}
	if c.EKS.Name != "" {
		w.Eks = &executorv1.EKS{Name: c.EKS.Name, Region: c.EKS.Region, Role: c.EKS.Role}
	}
	return w
}

func secretToWire(ref actions.SecretRef) *executorv1.SecretRef {
	w := &executorv1.SecretRef{Name: ref.Name}
	switch {
	case ref.Env != "":
		w.From = &executorv1.SecretRef_Env{Env: ref.Env}
	case ref.File != "":
		w.From = &executorv1.SecretRef_File{File: ref.File}
	case ref.Kubernetes != nil:
		w.From = &executorv1.SecretRef_Kubernetes{Kubernetes: &executorv1.SecretKey{
			Namespace: ref.Kubernetes.Namespace, Name: ref.Kubernetes.Name, Key: ref.Kubernetes.Key,
		}}
	}
	return w
}

// unfit is a value that cannot be carried.
type unfit struct {
	path []string // innermost first
	what string
}

func (u *unfit) Error() string {
	path := slices.Clone(u.path)
	slices.Reverse(path)
	return strings.ToValidUTF8(strings.Join(append([]string{"with"}, path...), "."), "�") + " " + u.what
}

// under is err with the key that led to it.
func under(key string, err error) error {
	if u, ok := err.(*unfit); ok { //nolint:errorlint // It is never wrapped: the functions below return it as it is.
		u.path = append(u.path, key)
	}
	return err
}

// carrier makes wire values of Go's.
type carrier struct {
	odd bool // some value is of a type that JSON readers do not make
}

func (c *carrier) object(m map[string]any) (*structpb.Struct, error) {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(m))}
	for k, v := range m {
		if !utf8.ValidString(k) {
			return nil, under(k, &unfit{what: "has a name that is not valid UTF-8 text"})
		}
		w, err := c.value(v)
		if err != nil {
			return nil, under(k, err)
		}
		s.Fields[k] = w
	}
	return s, nil
}

func (c *carrier) list(items []any) (*structpb.ListValue, error) {
	list := &structpb.ListValue{Values: make([]*structpb.Value, len(items))}
	for i, item := range items {
		w, err := c.value(item)
		if err != nil {
			return nil, under(strconv.Itoa(i), err)
		}
		list.Values[i] = w
	}
	return list, nil
}

// value carries v, which config readers may have made of their own types.
func (c *carrier) value(v any) (*structpb.Value, error) {
	switch v := v.(type) {
	case nil:
		return structpb.NewNullValue(), nil
	case bool:
		return structpb.NewBoolValue(v), nil
	case string:
		if !utf8.ValidString(v) {
			return nil, &unfit{what: "is not valid UTF-8 text"}
		}
		return structpb.NewStringValue(v), nil
	case float64:
		return number(v)
	case int:
		return whole(int64(v))
	case int64:
		return whole(v)
	case uint64:
		if v > maxExact {
			return nil, tooLarge()
		}
		return structpb.NewNumberValue(float64(v)), nil
	case map[string]any:
		s, err := c.object(v)
		if err != nil {
			return nil, err
		}
		return structpb.NewStructValue(s), nil
	case []any:
		list, err := c.list(v)
		if err != nil {
			return nil, err
		}
		return structpb.NewListValue(list), nil
	}
	c.odd = true
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return whole(i)
		}
		f, err := n.Float64()
		if err != nil {
			return nil, &unfit{what: "is not a number that can be carried"}
		}
		return number(f)
	}
	if t, ok := v.(time.Time); ok { // YAML knows dates; JSON and executors do not
		return structpb.NewStringValue(t.Format(time.RFC3339Nano)), nil
	}
	return c.other(reflect.ValueOf(v))
}

// maxExact is the largest whole number that a double, which is what the wire
// carries, holds together with all smaller ones.
const maxExact = 1 << 53

func tooLarge() error {
	return &unfit{what: "is too large to be carried exactly; write it as text, in quotes"}
}

func whole(n int64) (*structpb.Value, error) {
	if n > maxExact || n < -maxExact {
		return nil, tooLarge()
	}
	return structpb.NewNumberValue(float64(n)), nil
}

func number(n float64) (*structpb.Value, error) {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return nil, &unfit{what: "is not a number that JSON knows"}
	}
	return structpb.NewNumberValue(n), nil
}

// other carries numbers, maps, lists and texts of rarer types.
func (c *carrier) other(r reflect.Value) (*structpb.Value, error) {
	switch r.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return whole(r.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return c.value(r.Uint())
	case reflect.Float32, reflect.Float64:
		return number(r.Float())
	case reflect.Bool:
		return structpb.NewBoolValue(r.Bool()), nil
	case reflect.String:
		return c.value(r.String())
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for i := range list {
			list[i] = r.Index(i).Interface()
		}
		return c.value(list)
	case reflect.Map:
		m := make(map[string]any, r.Len())
		for it := r.MapRange(); it.Next(); {
			k := it.Key()
			for k.Kind() == reflect.Interface {
				k = k.Elem()
			}
			if k.Kind() != reflect.String {
				return nil, &unfit{what: fmt.Sprintf("has a name that is not text; put %v in quotes", k)}
			}
			m[k.String()] = it.Value().Interface()
		}
		return c.value(m)
	case reflect.Pointer:
		if r.IsNil() {
			return structpb.NewNullValue(), nil
		}
		return c.value(r.Elem().Interface())
	}
	return nil, &unfit{what: fmt.Sprintf("is of a kind (%s) that cannot be handed to an executor", r.Kind())}
}

// failure is err, which a call over the wire ended with, as the bot knows
// failures. ctx is the caller's.
func failure(ctx context.Context, op string, inst *instance, err error) error {
	if ctx.Err() != nil {
		return cancelled(ctx, op)
	}
	st, _ := status.FromError(err)
	for _, d := range st.Details() {
		if f, ok := d.(*executorv1.Failure); ok {
			return failureFromWire(op, inst.name, f, inst.output.clean)
		}
	}
	switch code := st.Code(); {
	case errors.Is(err, io.EOF):
		return actions.Wrap(op, actions.CodeInternal, err, fmt.Sprintf(
			"The executor %s ended the step without saying that it is done. That is a fault of the executor; its log may say more.", inst.name))
	case code == codes.Unavailable, code == codes.Canceled, inst.ended():
		return &actions.Error{
			Op: op, Code: actions.CodeUnavailable, Err: err, Retry: true,
			Msg: fmt.Sprintf("The executor %s stopped in the middle of the step; Berth starts it again.", inst.name),
		}
	case code == codes.Unimplemented:
		return actions.Wrap(op, actions.CodeInvalid, err, fmt.Sprintf("The executor %s cannot do this.", inst.name))
	case code == codes.ResourceExhausted:
		return actions.Wrap(op, actions.CodeInternal, err, fmt.Sprintf("The step is too large for the executor %s, or its answer for Berth.", inst.name))
	}
	return actions.Wrap(op, actions.CodeInternal, err, fmt.Sprintf("The executor %s failed without saying why; Berth's log has what is known.", inst.name))
}

// failureFromWire is what the executor says of its failure. mask takes out what
// must not be seen.
func failureFromWire(op, name string, f *executorv1.Failure, mask func(string) string) error {
	code, ok := codeOfFault[f.GetFault()]
	if !ok {
		code = actions.CodeInternal
	}
	e := &actions.Error{Op: op, Code: code, Msg: mask(f.GetMessage()), Retry: f.GetRetry()}
	if e.Msg == "" {
		e.Msg = fmt.Sprintf("The executor %s failed without saying why; Berth's log has what is known.", name)
	}
	var cause error
	if f.GetCause() != "" {
		cause = errors.New(mask(f.GetCause()))
	}
	if after := f.GetRetryAfter().AsDuration(); f.GetRetryAfter() != nil && after > 0 {
		cause = &RetryAfterError{After: min(after, maxRetryAfter), Err: cause}
	}
	e.Err = cause
	return e
}

// maxRetryAfter bounds what an executor can make the bot wait.
const maxRetryAfter = 24 * time.Hour

// RetryAfterError is in the chain of a retryable error whose executor said how
// long to wait before the step is run again.
type RetryAfterError struct {
	After time.Duration
	Err   error // may be nil
}

func (e *RetryAfterError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("retry after %s", e.After)
	}
	return fmt.Sprintf("%v (retry after %s)", e.Err, e.After)
}

// Unwrap is the cause.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// RetryAfter is After, for those who do not import this package.
func (e *RetryAfterError) RetryAfter() time.Duration { return e.After }

// cancelled is the error of a call whose caller gave up.
func cancelled(ctx context.Context, op string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return actions.Wrap(op, actions.CodeCancelled, context.Cause(ctx), "The step took longer than it may, and was stopped.")
	}
	return actions.Wrap(op, actions.CodeCancelled, context.Cause(ctx), "The step was stopped.")
}
