package actions

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// HistoryKept is how many ended runs of an environment History knows, the
	// newest ones.
	HistoryKept = 500
	// historyKey holds them, a list of pastRun, the newest first.
	historyKey = "history"
	// maxPastError and maxPastMessage are the longest texts of one, in bytes.
	maxPastError, maxPastMessage = 300, 72
)

// HistoryEntry is one ended run in a line. It is kept for longer than the run.
type HistoryEntry struct {
	RunID     string    `json:"run_id"`
	RequestID string    `json:"request_id,omitempty"`
	Verb      Verb      `json:"verb"`
	Revision  int       `json:"revision,omitempty"` // what its success made of the environment
	Back      int       `json:"back,omitempty"`     // rollback: the revision that it went back to
	Commit    Commit    `json:"commit,omitzero"`    // its SHA and message alone
	Ref       string    `json:"ref,omitempty"`
	By        string    `json:"by,omitempty"`
	State     RunState  `json:"state"`
	Error     string    `json:"error,omitempty"` // cut to 300 bytes
	StartedAt time.Time `json:"started_at"`      // to the millisecond
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Kept      bool      `json:"kept"` // the run can still be read, with its steps
}

// pastRun is a HistoryEntry as it is stored. Its names are short, since there are
// many of them.
type pastRun struct {
	ID       string   `json:"i"`
	Request  string   `json:"q,omitempty"`
	Verb     Verb     `json:"v"`
	Revision int      `json:"n,omitempty"`
	Back     int      `json:"b,omitempty"`
	SHA      string   `json:"c,omitempty"`
	Message  string   `json:"m,omitempty"`
	Ref      string   `json:"r,omitempty"`
	By       string   `json:"y,omitempty"`
	State    RunState `json:"s"`
	Error    string   `json:"e,omitempty"`
	Started  int64    `json:"t"`           // milliseconds since 1970
	Took     int64    `json:"d,omitempty"` // milliseconds
}

// pastOf is what stays of a run that has ended.
func pastOf(r *Run) ([]byte, error) {
	p := pastRun{
		ID: r.ID, Request: r.RequestID, Verb: r.Order.Verb, Revision: r.Revision, Back: r.Back,
		SHA: r.Order.Commit.SHA, Message: short(r.Order.Commit.Message, maxPastMessage), Ref: short(r.Order.Ref, maxDetail), By: short(r.Order.By, maxDetail),
		State: r.State, Error: short(r.Error, maxPastError), Started: r.StartedAt.UnixMilli(), Took: r.EndedAt.Sub(r.StartedAt).Milliseconds(),
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, Wrap("store.history", CodeInternal, err, "The run could not be put into the history.")
	}
	return text, nil
}

// entry is what pastOf was made of.
func (p pastRun) entry() HistoryEntry {
	started := time.UnixMilli(p.Started).UTC()
	return HistoryEntry{
		RunID: p.ID, RequestID: p.Request, Verb: p.Verb, Revision: p.Revision, Back: p.Back, Commit: Commit{SHA: p.SHA, Message: p.Message}, Ref: p.Ref,
		By: p.By, State: p.State, Error: p.Error, StartedAt: started, EndedAt: started.Add(time.Duration(p.Took) * time.Millisecond),
	}
}

// History lists the runs of an environment that have ended, the one that ended
// last first. limit is at most HistoryKept, which is also what 0 means. It is
// empty for an environment that is not known.
func (s *Store) History(ctx context.Context, name Name, limit int) ([]HistoryEntry, error) {
	const op = "store.history"
	if limit <= 0 || limit > HistoryKept {
		limit = HistoryKept
	}
	var lines, runs *redis.StringSliceCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		lines = p.LRange(ctx, s.Key(name, historyKey), 0, int64(limit)-1)
		runs = p.ZRange(ctx, s.Key(name, runsKey), 0, -1)
		return nil
	})
	if err != nil {
		return nil, redisError(op, err)
	}
	kept := make(map[string]bool, len(runs.Val()))
	for _, id := range runs.Val() {
		kept[id] = true
	}
	entries := make([]HistoryEntry, 0, len(lines.Val()))
	for _, line := range lines.Val() {
		var p pastRun
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			s.log.ErrorContext(ctx, "a line of a history cannot be read", "env", name.String(), "error", err)
			continue // the others still tell what they tell
		}
		e := p.entry()
		e.Kept = kept[p.ID]
		entries = append(entries, e)
	}
	return entries, nil
}
