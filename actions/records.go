package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"
)

const (
	envKey  = "env"
	runsKey = "runs" // ids of an environment's runs, by when they began
	// saveTries bounds how often a change is made anew because another one of
	// the same record came first.
	saveTries = 20
)

func runKey(id string) string    { return "run:" + id }
func eventsKey(id string) string { return "events:" + id }

// runIndexKey says which environment a run belongs to.
func runIndexKey(id string) string { return keyPrefix + "run:" + id }

// saveScript writes the record of an environment, of a run, or of both.
//
//	K[1]  the environment      K[2]  the counter of lease tokens
//	K[3]  the run              K[4]  the environment's runs
//	K[5]  the run's events     K[6]  the app as the run found it
//	K[7]  the environment's history
//	K[8]  the chunks of the run's log
//	A[1]  the revision that the environment has, 0 when there is none; "" leaves it alone
//	A[2]  the writer's lease token; 0 for a change that needs no lease
//	A[3]  the environment, JSON
//	A[4]  the run's id; "" leaves the run alone
//	A[5]  the run, JSON        A[6]  when it began, in milliseconds
//	A[7]  how long the log of a run that has ended is kept, in milliseconds
//	A[8]  the app, JSON; "" leaves it alone, "-" deletes it
//	A[9]  the line of a run that has ended for the history; "" for none
//	A[10] how many lines to keep
//	A[11]…  events, JSON
//	output  "ok"; "fenced" when a later lease was taken; "conflict" when the
//	        environment has another revision
var saveScript = NewScript(`
if A[2] ~= '0' then
	local token = redis.call('GET', K[2])
	if token and tonumber(token) > tonumber(A[2]) then return 'fenced' end
end
if A[1] ~= '' then
	local now = redis.call('GET', K[1])
	local revision = 0
	if now then revision = cjson.decode(now).revision end
	if revision ~= tonumber(A[1]) then return 'conflict' end
end
audit()
if A[1] ~= '' then redis.call('SET', K[1], A[3]) end
if A[4] ~= '' then
	redis.call('SET', K[3], A[5])
	redis.call('ZADD', K[4], A[6], A[4])
	if A[8] == '-' then redis.call('DEL', K[6]) elseif A[8] ~= '' then redis.call('SET', K[6], A[8]) end
	if A[9] ~= '' then
		redis.call('LPUSH', K[7], A[9])
		redis.call('LTRIM', K[7], 0, A[10] - 1)
	end
	for i = 11, #A do redis.call('XADD', K[5], '*', 'e', A[i]) end
	if A[9] ~= '' then
		redis.call('PEXPIRE', K[5], A[7])
		redis.call('PEXPIRE', K[8], A[7])
	end
end
return 'ok'`)

// saving is one change of records. Its zero parts are left alone.
type saving struct {
	env    *Environment // Revision is that of the record it was made from
	token  int64        // of the lease; 0 when none is needed
	run    *Run
	events []Event
	app    string
	rec    Record
}

// save writes a change and its audit record. On success env.Revision has gone
// up by one. It returns CodeFenced and CodeConflict (another change of the
// environment came first).
func (s *Store) save(ctx context.Context, name Name, c saving) error {
	const op = "store.save"
	args := []any{"", c.token, "", "", "", 0, s.kept(name.App).Logs.Milliseconds(), c.app, "", HistoryKept}
	var next *Environment
	var hints proposal
	if c.env != nil {
		e := *c.env
		e.Revision++
		e.UpdatedAt = s.clock()
		if c.token != 0 {
			e.Fence = c.token
		}
		text, err := json.Marshal(e)
		if err != nil {
			return Wrap(op, CodeInternal, err, "The environment's record could not be written.")
		}
		args[0], args[2], next = c.env.Revision, text, &e
		hints = s.propose(name, next)
	}
	id := ""
	if c.run != nil {
		id = c.run.ID
		text, err := json.Marshal(c.run)
		if err != nil {
			return Wrap(op, CodeInternal, err, "The run's record could not be written.")
		}
		args[3], args[4], args[5] = id, text, c.run.StartedAt.UnixMilli()
		if c.run.State != RunRunning {
			if args[8], err = pastOf(c.run); err != nil {
				return err
			}
		}
		for _, e := range c.events {
			text, err := encodeEvent(e)
			if err != nil {
				return err
			}
			args = append(args, text)
		}
	}
	keys := []string{
		s.Key(name, envKey), s.Key(name, tokenKey), s.Key(name, runKey(id)), s.Key(name, runsKey),
		s.Key(name, eventsKey(id)), s.Key(name, appKey(id)), s.Key(name, historyKey), s.Key(name, logKey(id)),
	}
	reply, err := s.ExecAll(ctx, name, Execution{Script: saveScript, Keys: keys, Args: args, Records: []Record{c.rec}, Ahead: hints.ahead(ctx)})
	if err != nil {
		return err
	}
	switch reply {
	case "ok":
		if next != nil {
			*c.env = *next
			s.settle(ctx, hints)
		}
		return nil
	case "fenced":
		return fenced(op, name)
	case "conflict":
		return &Error{Op: op, Code: CodeConflict, Msg: fmt.Sprintf("Something else changed %s at the same moment; try again.", name), Retry: true}
	default:
		return Wrap(op, CodeInternal, fmt.Errorf("reply %v", reply), "Redis gave an unexpected answer.")
	}
}

// change reads an environment, lets fn change it and saves it, anew when
// another change came first. fn may refuse with an error of its own.
func (s *Store) change(ctx context.Context, name Name, rec Record, fn func(*Environment, *Record) (bool, error)) (*Environment, error) {
	for try := 1; ; try++ {
		env, err := s.Environment(ctx, name)
		if err != nil {
			return nil, err
		}
		mine := rec
		mine.Detail = maps.Clone(rec.Detail)
		changed, err := fn(env, &mine)
		if err != nil || !changed {
			return env, err
		}
		err = s.save(ctx, name, saving{env: env, rec: mine})
		if CodeOf(err) != CodeConflict || try == saveTries {
			return env, err
		}
	}
}

// Environment reads one record. It returns CodeNotFound when there is none.
func (s *Store) Environment(ctx context.Context, name Name) (*Environment, error) {
	const op = "store.environment"
	text, err := s.rdb.Get(ctx, s.Key(name, envKey)).Result()
	if errors.Is(err, redis.Nil) {
		return nil, Errorf(op, CodeNotFound, "There is no environment %s.", name)
	}
	if err != nil {
		return nil, redisError(op, err)
	}
	return new(environmentReader).named(op, name.String(), text)
}

// SetLock locks an environment, or unlocks it when lock is nil. One that is as
// wanted already is left alone. It returns CodeNotFound, and CodeConflict when
// somebody else has locked it. Of rec, whoever acts and where is used.
func (s *Store) SetLock(ctx context.Context, name Name, lock *Lock, rec Record) (*Environment, error) {
	return s.change(ctx, name, rec, func(env *Environment, rec *Record) (bool, error) {
		switch {
		case lock == nil && env.Lock == nil:
			return false, nil
		case lock == nil:
			rec.Kind, rec.Detail = "environment.unlocked", map[string]string{"locked_by": env.Lock.By}
			env.Lock = nil
			return true, nil
		case env.Lock != nil && env.Lock.By == lock.By && env.Lock.Reason == lock.Reason:
			return false, nil
		case env.Lock != nil && env.Lock.By != lock.By:
			return false, Errorf("store.set_lock", CodeConflict, "%s is locked by %s already%s.", name, clip(env.Lock.By), because(env.Lock.Reason))
		}
		l := *lock
		if l.At.IsZero() {
			l.At = s.clock()
		}
		l.Reason = short(l.Reason, maxDetail)
		env.Lock = &l
		rec.Kind, rec.Detail = "environment.locked", map[string]string{"reason": l.Reason}
		return true, nil
	})
}

// Run reads one run by its id. It returns CodeNotFound when there is none, or
// it is older than those that are kept.
func (s *Store) Run(ctx context.Context, id string) (*Run, error) {
	const op = "store.run"
	name, err := s.runEnv(ctx, id)
	if err != nil {
		return nil, err
	}
	run, err := s.run(ctx, name, id)
	if err == nil && run == nil {
		err = Errorf(op, CodeNotFound, "There is no run %q.", clip(id))
	}
	return run, err
}

// runEnv finds a run's environment.
func (s *Store) runEnv(ctx context.Context, id string) (Name, error) {
	const op = "store.run"
	text, err := s.rdb.Get(ctx, runIndexKey(id)).Result()
	if errors.Is(err, redis.Nil) {
		return Name{}, Errorf(op, CodeNotFound, "There is no run %q.", clip(id))
	}
	if err != nil {
		return Name{}, redisError(op, err)
	}
	return ParseName(text)
}

// run reads a run of a known environment; nil when there is none.
func (s *Store) run(ctx context.Context, name Name, id string) (*Run, error) {
	const op = "store.run"
	text, err := s.rdb.Get(ctx, s.Key(name, runKey(id))).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, redisError(op, err)
	}
	var run Run
	if err := json.Unmarshal(text, &run); err != nil {
		return nil, Wrap(op, CodeInternal, err, fmt.Sprintf("The record of run %s cannot be read.", clip(id)))
	}
	return &run, nil
}

// Runs lists an environment's runs, the newest first: up to limit of those that
// are kept (Keep.Runs); 0 means RunsKept.
func (s *Store) Runs(ctx context.Context, name Name, limit int) ([]*Run, error) {
	const op = "store.runs"
	if limit <= 0 {
		limit = RunsKept
	}
	limit = min(limit, maxRunsKept)
	ids, err := s.rdb.ZRevRange(ctx, s.Key(name, runsKey), 0, int64(limit)-1).Result()
	if err != nil || len(ids) == 0 {
		return nil, redisError(op, err)
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = s.Key(name, runKey(id))
	}
	texts, err := s.rdb.MGet(ctx, keys...).Result() // one hash tag, so one node
	if err != nil {
		return nil, redisError(op, err)
	}
	runs := make([]*Run, 0, len(texts))
	for i, text := range texts {
		t, ok := text.(string)
		if !ok {
			continue
		}
		var run Run
		if err := json.Unmarshal([]byte(t), &run); err != nil {
			return nil, Wrap(op, CodeInternal, err, fmt.Sprintf("The record of run %s cannot be read.", ids[i]))
		}
		runs = append(runs, &run)
	}
	return runs, nil
}

// trimRuns forgets all but the newest Keep.Runs runs of an environment. Each key
// goes by itself: a run that is forgotten by half is forgotten.
func (s *Store) trimRuns(ctx context.Context, name Name) error {
	const op = "store.trim_runs"
	key := s.Key(name, runsKey)
	old, err := s.rdb.ZRange(ctx, key, 0, int64(-s.kept(name.App).Runs-1)).Result()
	if err != nil || len(old) == 0 {
		return redisError(op, err)
	}
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range slices.Backward(old) {
			p.Del(ctx, runIndexKey(id))
			p.Del(ctx, s.Key(name, runKey(id)))
			p.Del(ctx, s.Key(name, eventsKey(id)))
			p.Del(ctx, s.Key(name, logKey(id)))
			p.Del(ctx, s.Key(name, appKey(id)))
			p.ZRem(ctx, key, id)
		}
		return nil
	})
	return redisError(op, err)
}
