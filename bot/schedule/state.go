package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
)

// errFenced says that another replica got the lease.
var errFenced = errors.New("schedule: another replica leads")

// keys are where the state is, all under one hash tag.
type keys struct {
	token    string // counts leases: the fence
	alive    string // when a leader last did something, in milliseconds since 1970
	progress string // hash: by schedule, how far it has come
	notes    string // hash: by "schedule app/name", who was warned of what
	open     string // hash: by request, what was asked for and has not ended
}

func keysOf(store Store) keys {
	key := func(suffix string) string { return store.Key(leaseName, suffix) }
	return keys{token: key("lease:token"), alive: key("alive"), progress: key("progress"), notes: key("notes"), open: key("open")}
}

// progress is how far a schedule has come.
type progress struct {
	Of string `json:"of"` // the plan's identity
	// Marks are, by track, the ticks through which everything was begun, in unix
	// seconds; for lifetimes the ends that were looked at, in milliseconds.
	Marks map[string]int64 `json:"marks"`
	// Jobs are, by track, the ticks that are being worked on.
	Jobs map[string]job `json:"jobs,omitempty"`
	// Later is when the first of those that were warned late may be taken, in unix
	// seconds; 0 when there are none.
	Later int64 `json:"later,omitempty"`
}

// job is a tick that is being worked on, and how far that has come.
type job struct {
	Tick   int64  `json:"tick"`
	App    string `json:"app,omitempty"`    // the one that is being looked through; those before it are done
	Cursor string `json:"cursor,omitempty"` // within it
}

// note says that people were warned that an environment will be taken away.
type note struct {
	Due   int64    `json:"due"`             // the tick, or the expiry, that it is about
	Life  int64    `json:"life"`            // when the environment was made: another of its name is not warned by it
	Since int64    `json:"since"`           // when the note was made
	First int64    `json:"first,omitempty"` // when somebody was told first; 0 before
	Told  []string `json:"told,omitempty"`  // which warnings were
	Take  int64    `json:"take,omitempty"`  // when it may be taken, if that is later than Due: it was warned late
	Asked int      `json:"asked,omitempty"` // lifetimes: so many days have had their request
}

// open is a request that was made.
type open struct {
	Schedule string `json:"schedule"`
	Env      string `json:"env"`
	Tick     int64  `json:"tick"`
}

// state is what was read at the start of a turn.
type state struct {
	alive    time.Time // zero when no leader was ever there
	progress map[string]*progress
}

// load reads how far everything has come. A record that cannot be read is one
// that is not there: its schedule begins anew.
func (s *Scheduler) load(ctx context.Context) (*state, error) {
	var alive *redis.StringCmd
	var all *redis.MapStringStringCmd
	_, err := s.o.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		alive, all = p.Get(ctx, s.keys.alive), p.HGetAll(ctx, s.keys.progress)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("schedule: read the progress: %w", err)
	}
	st := &state{progress: map[string]*progress{}}
	if ms, err := alive.Int64(); err == nil {
		st.alive = time.UnixMilli(ms).UTC()
	}
	for name, text := range all.Val() {
		var p progress
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			s.log.ErrorContext(ctx, "how far a schedule has come cannot be read; it begins anew", "schedule", name, "error", err)
			continue
		}
		st.progress[name] = &p
	}
	return st, nil
}

// batch is what one atomic write changes.
type batch struct{ args []any }

func (b *batch) set(hash int, field string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("schedule: write %s: %w", field, err)
	}
	b.args = append(b.args, hash, field, text)
	return nil
}

func (b *batch) del(hash int, field string) { b.args = append(b.args, hash, field, "") }

// The hashes of a batch: places among the keys of writeScript.
const (
	inProgress = iota + 3
	inNotes
	inOpen
)

// writeScript changes the state, unless a later lease was given out.
//
//	KEYS[1]  the counter of leases
//	KEYS[2]  when a leader last did something
//	KEYS[3…] the hashes
//	ARGV[1]  the token of the writer's lease
//	ARGV[2]  the time in milliseconds
//	ARGV[3…] by three: the place of the hash among KEYS, a field, its value; "" takes it out
//	output   1, or 0 when another leads
var writeScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
for i = 3, #ARGV, 3 do
	local hash = KEYS[tonumber(ARGV[i])]
	if ARGV[i + 2] == '' then
		redis.call('HDEL', hash, ARGV[i + 1])
	else
		redis.call('HSET', hash, ARGV[i + 1], ARGV[i + 2])
	end
end
return 1
`)

// write commits b, and says that a leader is there. It returns errFenced when
// another replica leads.
func (s *Scheduler) write(ctx context.Context, token int64, b *batch) error {
	args := append([]any{strconv.FormatInt(token, 10), s.now().UnixMilli()}, b.args...)
	ours, err := writeScript.Run(ctx, s.o.Redis, []string{s.keys.token, s.keys.alive, s.keys.progress, s.keys.notes, s.keys.open}, args...).Bool()
	if err != nil {
		return fmt.Errorf("schedule: write the progress: %w", err)
	}
	if !ours {
		return errFenced
	}
	b.args = b.args[:0]
	return nil
}

// noteField is where the note of an environment is.
func noteField(p *plan, env actions.Name) string { return p.Name + " " + env.String() }

// readNotes reads the notes on envs; one that is not there, or is about another
// life of the name, is nil.
func (s *Scheduler) readNotes(ctx context.Context, p *plan, envs []*actions.Environment) (map[actions.Name]*note, error) {
	out := make(map[actions.Name]*note, len(envs))
	if len(envs) == 0 {
		return out, nil
	}
	fields := make([]string, len(envs))
	for i, env := range envs {
		fields[i] = noteField(p, env.Name)
	}
	texts, err := s.o.Redis.HMGet(ctx, s.keys.notes, fields...).Result()
	if err != nil {
		return nil, fmt.Errorf("schedule: read who was warned: %w", err)
	}
	for i, env := range envs {
		text, _ := texts[i].(string)
		var n note
		if text != "" && json.Unmarshal([]byte(text), &n) == nil && n.Life == env.CreatedAt.Unix() {
			out[env.Name] = &n
		}
	}
	return out, nil
}

// allNotes calls each with all notes of a plan, which may come twice.
func (s *Scheduler) allNotes(ctx context.Context, name string, each func(field, env string, n *note) error) error {
	iter := s.o.Redis.HScan(ctx, s.keys.notes, 0, name+" *", 500).Iterator()
	for iter.Next(ctx) {
		field := iter.Val()
		if !iter.Next(ctx) {
			break
		}
		var n note
		if err := json.Unmarshal([]byte(iter.Val()), &n); err != nil {
			n = note{} // it is about nothing, and goes
		}
		if err := each(field, strings.TrimPrefix(field, name+" "), &n); err != nil {
			return err
		}
	}
	if err := iter.Err(); err != nil {
		return fmt.Errorf("schedule: read who was warned: %w", err)
	}
	return nil
}

// forget takes the state of schedules out that are not there any more.
func (s *Scheduler) forget(ctx context.Context, token int64, st *state, plans []*plan) error {
	for name := range st.progress {
		if name == Expiry || slices.ContainsFunc(plans, func(p *plan) bool { return p.Name == name }) {
			continue
		}
		var b batch
		if err := s.forgetNotes(ctx, name, &b); err != nil {
			return err
		}
		b.del(inProgress, name)
		if err := s.write(ctx, token, &b); err != nil {
			return err
		}
		delete(st.progress, name)
		s.log.InfoContext(ctx, "a schedule was removed; how far it had come is forgotten", "schedule", name)
	}
	return nil
}

func (s *Scheduler) forgetNotes(ctx context.Context, name string, b *batch) error {
	return s.allNotes(ctx, name, func(field, _ string, _ *note) error {
		b.del(inNotes, field)
		return nil
	})
}
