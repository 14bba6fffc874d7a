package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/berth-dev/berth/actions"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

// Logs passes on what the programs of a part print. Lines are cleaned as those
// of a run are. It returns CodeInvalid for an executor that has no logs.
func (x *executor) Logs(ctx context.Context, step actions.Step, q actions.LogQuery, out func(actions.LogLine) error) error {
	op := x.k.name + ".logs"
	inst, inner, done, err := x.k.begin(ctx, op)
	if err != nil {
		return err
	}
	defer done()
	if !inst.description.Logs {
		return actions.Errorf(op, actions.CodeInvalid, "The executor %s has no logs.", x.k.name)
	}
	for _, asked := range []struct{ name, text string }{{"pod", q.Pod}, {"container", q.Container}, {"text to look for", q.Contains}} {
		if !utf8.ValidString(asked.text) {
			return actions.Errorf(op, actions.CodeInvalid, "The %s is not valid UTF-8 text.", asked.name)
		}
	}
	wire, err := inst.step(op, step)
	if err != nil {
		return err
	}
	req := &executorv1.LogsRequest{
		Step: wire, Pod: q.Pod, Container: q.Container, Tail: int32(min(max(q.Tail, 0), math.MaxInt32)), Follow: q.Follow, Contains: q.Contains,
	}
	if !q.Since.IsZero() {
		req.Since = timestamppb.New(q.Since)
	}
	inner, stop := context.WithCancel(inner) // whoever asked may have had enough
	defer stop()
	stream, err := inst.calls.Logs(inner, req)
	if err != nil {
		return x.fail(ctx, op, inst, err)
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return x.fail(ctx, op, inst, err)
		}
		for _, w := range r.GetLines() {
			line := actions.LogLine{Part: step.Part, Source: clip(inst.output.clean(w.GetSource()), maxName), Text: clip(inst.output.clean(w.GetText()), maxText)}
			if w.GetTime() != nil {
				line.Time = w.GetTime().AsTime()
			}
			if err := out(line); err != nil {
				return err
			}
		}
	}
}

// Check has the executor look at what it needs. It returns CodeInvalid for an
// executor that has nothing to check.
func (x *executor) Check(ctx context.Context, cluster actions.Cluster, namespace, installation string) (found []actions.Finding, err error) {
	op := x.k.name + ".check"
	err = x.look(ctx, op, func(inst *instance, inner context.Context) error {
		if !inst.description.Checks {
			return actions.Errorf(op, actions.CodeInvalid, "The executor %s has nothing to check.", x.k.name)
		}
		r, err := inst.calls.Check(inner, &executorv1.CheckRequest{Cluster: clusterToWire(cluster), Settings: inst.settings, Installation: installation, Namespace: namespace})
		if err != nil {
			return x.fail(ctx, op, inst, err)
		}
		found = found[:0]
		for n, f := range r.GetFindings() {
			if n == maxFindings {
				found = append(found, actions.Finding{Name: x.k.name, Detail: fmt.Sprintf("%d more things were looked at", len(r.GetFindings())-n), OK: true})
				break
			}
			found = append(found, actions.Finding{
				Name: clip(inst.output.clean(f.GetName()), maxName), OK: f.GetOk(), Detail: clip(inst.output.clean(f.GetDetail()), maxText),
				Fix: clip(inst.output.clean(f.GetFix()), maxText), Paste: clip(inst.output.mask.Replace(f.GetPaste()), maxPaste),
			})
		}
		return nil
	})
	return found, err
}
