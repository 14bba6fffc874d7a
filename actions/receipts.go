package actions

import (
	"context"
	"fmt"
	"slices"
)

// maxReceipts is how many receipts the record of a step holds; the others are
// counted, and are in the run's log.
const maxReceipts = 200

// receipts are the things that a step took away.
type receipts struct {
	first []Resource
	left  int
	known map[Resource]bool // by kind, namespace and name alone
}

// add notes a thing once: a step that is tried again may tell of it again, and
// with other words about its data.
func (r *receipts) add(thing Resource) {
	if r.known == nil {
		r.known = map[Resource]bool{}
	}
	key := Resource{Kind: thing.Kind, Namespace: thing.Namespace, Name: thing.Name}
	if r.known[key] {
		return
	}
	r.known[key] = true
	if len(r.first) >= maxReceipts {
		r.left++
		return
	}
	r.first = append(r.first, thing)
}

// hear takes an event of an executor. Steps and runs change their state
// elsewhere alone.
func (x *execution) hear(part, step string, e Event) {
	e.ID, e.Part, e.State = "", part, ""
	switch {
	case e.Kind == EventReceipt && e.Resource != nil:
		thing := *e.Resource
		for _, word := range []*string{&thing.Kind, &thing.Name, &thing.Namespace} {
			*word = short(oneLine(*word), maxResourceName)
		}
		if thing.Change = ResourceDelete; e.Text == "" {
			e.Text = fmt.Sprintf("%s %s is gone", thing.Kind, thing.Name)
		}
		e.Resource = &thing
		x.note(step, thing)
	case e.Kind == EventProgress:
		e.Resource = nil
	default:
		e.Kind, e.Resource = EventLog, nil
	}
	x.events.add(e)
}

func (x *execution) note(step string, thing Resource) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.receipts[step] == nil {
		x.receipts[step] = &receipts{}
	}
	x.receipts[step].add(thing)
}

// receiptsOf completes the record of a step with what it took away so far.
func (x *execution) receiptsOf(s *StepRecord) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.receipts[s.ID]; r != nil {
		s.Receipts, s.ReceiptsLeft = slices.Clone(r.first), r.left
	}
}

// receiptsSaid takes up what another worker's executors took away, from the
// steps' records and, for those that it left in the middle, from the run's log.
func (x *execution) receiptsSaid(ctx context.Context, run *Run) error {
	step, open := map[string]string{}, false
	for _, s := range run.Steps {
		if len(s.Receipts) > 0 && s.State != StepRunning {
			x.receipts[s.ID] = &receipts{first: slices.Clone(s.Receipts), left: s.ReceiptsLeft}
		}
		if s.State == StepRunning {
			step[s.Part], open = s.ID, true
		}
	}
	for after := ""; open; {
		events, err := x.r.store.Events(context.WithoutCancel(ctx), run.ID, after, 0, 0)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return nil
		}
		for _, e := range events {
			if after = e.ID; e.Kind == EventReceipt && e.Resource != nil && step[e.Part] != "" {
				x.note(step[e.Part], *e.Resource)
			}
		}
		if after == "" {
			return nil
		}
	}
	return nil
}
