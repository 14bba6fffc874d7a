package actions

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

// AgendaOptions are what an Agenda needs.
type AgendaOptions struct {
	Redis redis.UniversalClient
	// Prefix begins all keys of the agenda. It holds a hash tag, so that they are in
	// one slot of a Redis Cluster: "berth:{chat}:".
	Prefix string
	// Replica names this process, and the one that takes its place after a restart,
	// which then goes on at once with what it held; no two run under one name at once.
	Replica string
	// Lease is how long a member stays with a replica that is not heard of any more;
	// 0 means DefaultAgendaLease. Timeout is how long handling one may take; 0 means
	// DefaultAgendaTimeout.
	Lease, Timeout time.Duration
	Now            func() time.Time // nil means time.Now
	Log            *slog.Logger     // nil means none
}

// How long a member of an Agenda stays with a replica that is gone, and how long
// handling one may take, where AgendaOptions say nothing.
const (
	DefaultAgendaLease   = 15 * time.Second
	DefaultAgendaTimeout = 30 * time.Second
)

// Agenda is a list of things that are due, in Redis.
type Agenda struct {
	o      AgendaOptions
	keyDue string
	wake   chan struct{}
}

// NewAgenda makes an Agenda. It does nothing by itself before Run.
func NewAgenda(o AgendaOptions) *Agenda {
	return &Agenda{o: o, keyDue: o.Prefix + "due", wake: make(chan struct{}, 1)}
}

// Mark has member handled at the time given, or before.
func (a *Agenda) Mark(ctx context.Context, rdb redis.Cmdable, member string, at time.Time) {
	rdb.ZAddLT(ctx, a.keyDue, redis.Z{Score: float64(at.UnixMilli()), Member: member})
}

// Nudge has this replica look at once for what is due.
func (a *Agenda) Nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run handles what is due until ctx ends.
func (a *Agenda) Run(ctx context.Context, workers int, do func(ctx context.Context, member string) (again time.Duration, err error)) error {
	return fmt.Errorf("agenda: not yet")
}
