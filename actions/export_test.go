package actions

import "context"

// Rehash computes a record's hash anew, as a forger would.
func Rehash(r Record) (string, error) {
	_, text, err := r.hashed()
	return string(text), err
}

// Put stores an environment as its first run would.
func Put(ctx context.Context, s *Store, env *Environment) error {
	return s.save(ctx, env.Name, saving{env: env, rec: Record{Kind: "test"}})
}

// PutFenced stores an environment as the holder of a lease does.
func PutFenced(ctx context.Context, s *Store, env *Environment, l *Lease) error {
	return s.save(ctx, env.Name, saving{env: env, token: l.Token, rec: Record{Kind: "test"}})
}

// AnchorTurn is one interval of Anchoring.
func (s *Store) AnchorTurn(ctx context.Context) error { return s.anchorTurn(ctx) }

// PutRun stores a run, and its log's last event if it has ended, as a worker does.
func PutRun(ctx context.Context, s *Store, run *Run, events ...Event) error {
	if err := s.rdb.Set(ctx, runIndexKey(run.ID), run.Order.Env.String(), 0).Err(); err != nil {
		return err
	}
	if err := s.save(ctx, run.Order.Env, saving{run: run, events: events, rec: Record{Kind: "test"}}); err != nil {
		return err
	}
	if run.State != RunRunning {
		s.tidy(ctx, run.Order.Env, run.ID)
	}
	return nil
}

// AppendLog appends lines to a run's log, as its worker does, at most an event
// batch at once.
func AppendLog(ctx context.Context, s *Store, l *Lease, runID string, lines ...string) error {
	log := &eventLog{store: s, lease: l, runID: runID}
	for _, line := range lines {
		text, err := encodeEvent(Event{Time: s.clock(), Kind: EventLog, Part: "web", Text: line})
		if err != nil {
			return err
		}
		log.waiting = append(log.waiting, text)
	}
	for batch, _ := log.take(); len(batch) > 0; batch, _ = log.take() {
		if err := log.append(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// AppendDropped appends the notice that n lines were dropped.
func AppendDropped(ctx context.Context, s *Store, l *Lease, runID string, n int) error {
	log := &eventLog{store: s, lease: l, runID: runID, dropped: n}
	batch, _ := log.take()
	return log.append(ctx, batch)
}

// Fold compresses all of a run's log.
func Fold(ctx context.Context, s *Store, env Name, runID string) error {
	return s.fold(ctx, env, runID, 1)
}

// ReadQuickly reads a record the quick way; nil says that it leaves that to
// encoding/json.
func ReadQuickly(text string) *Environment { return new(environmentReader).quick(text) }

// ReadEnvironment reads a record.
func ReadEnvironment(text string) (*Environment, error) { return new(environmentReader).read(text) }

// ReadAll reads records with one reader; nil stands for what it leaves to
// encoding/json.
func ReadAll(texts []string) []*Environment {
	r, all := new(environmentReader), make([]*Environment, len(texts))
	for i, text := range texts {
		all[i] = r.quick(text)
	}
	return all
}
