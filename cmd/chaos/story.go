package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot/api"
)

// story is what there is to judge by: what the API says of each request, what
// the audit says, and what the ledger says.
type story struct {
	requests map[string]api.Request      // as one is asked for, with its plan
	listed   []string                    // ids, as all are listed
	chains   []actions.Name              // environments that have an audit
	trails   map[string][]actions.Record // by request
	owners   map[string]string           // run: its request
	effects  []effect
	arrivals []arrival
	resting  []api.Environment
}

// readers is how many requests are read at once.
const readers = 8

// hear gathers the story.
func (w *world) hear(ctx context.Context) (*story, error) {
	s := &story{requests: map[string]api.Request{}, trails: map[string][]actions.Record{}, owners: map[string]string{}}
	s.effects, s.arrivals = w.ledger.entries()
	c, r := newClient(w.cast.requesters[0].token), w.random("judge", 0)
	all, err := c.requests(ctx, w.some(r), "")
	if err != nil {
		return nil, fmt.Errorf("list requests: %w", err)
	}
	ids := map[string]bool{}
	for _, q := range all {
		s.listed = append(s.listed, q.ID)
		ids[q.ID] = true
	}
	for _, wish := range w.wishes.accepted {
		ids[wish.id] = true
	}
	if err := w.read(ctx, c, s, ids); err != nil {
		return nil, err
	}
	if s.resting, err = c.environments(ctx, w.some(r)); err != nil {
		return nil, fmt.Errorf("list environments: %w", err)
	}
	return s, w.audit(ctx, s)
}

// read asks for each request by its id. One that is not there stays out.
func (w *world) read(ctx context.Context, c *client, s *story, ids map[string]bool) error {
	var (
		mu    sync.Mutex
		work  sync.WaitGroup
		queue = make(chan string)
		errs  = make(chan error, len(ids))
	)
	for i := range readers {
		r := w.random("reader", i)
		work.Go(func() {
			for id := range queue {
				q, err := c.request(ctx, w.some(r), id)
				if _, refused := err.(*refusal); refused { //nolint:errorlint // call returns it bare
					continue
				}
				if err != nil {
					errs <- fmt.Errorf("request %s: %w", id, err)
					continue
				}
				mu.Lock()
				s.requests[id] = *q
				mu.Unlock()
			}
		})
	}
	for id := range ids {
		queue <- id
	}
	close(queue)
	work.Wait()
	close(errs)
	return <-errs
}

// audit reads the audit chains out of Redis itself.
func (w *world) audit(ctx context.Context, s *story) error {
	store := actions.NewStore(w.store.client, actions.StoreOptions{})
	after := actions.Name{}
	for {
		names, err := store.Chains(ctx, "", after, 100)
		if err != nil {
			return fmt.Errorf("list the audit: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
		for _, env := range names {
			if err := s.readChain(ctx, store, env); err != nil {
				return fmt.Errorf("audit of %s: %w", env, err)
			}
		}
		after = names[len(names)-1]
	}
}

func (s *story) readChain(ctx context.Context, store *actions.Store, env actions.Name) error {
	s.chains = append(s.chains, env)
	for seq := int64(0); ; {
		records, err := store.Audit(ctx, env, seq, 0)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return nil
		}
		for _, rec := range records {
			seq = rec.Seq
			if rec.RequestID != "" {
				s.trails[rec.RequestID] = append(s.trails[rec.RequestID], rec)
			}
			if rec.RunID != "" && rec.RequestID != "" {
				s.owners[rec.RunID] = rec.RequestID
			}
		}
	}
}

// count is how many records of a kind there are.
func (s *story) count(kinds ...string) (n int) {
	for _, trail := range s.trails {
		for _, rec := range trail {
			if slices.Contains(kinds, rec.Kind) {
				n++
			}
		}
	}
	return n
}

// changesState tells whether a record is one of a request's state.
func changesState(rec actions.Record) (from, to approvals.State, yes bool) {
	from, to = approvals.State(rec.Detail["from"]), approvals.State(rec.Detail["to"])
	return from, to, to != "" && len(rec.Kind) > 8 && rec.Kind[:8] == "request."
}
