package actions

import (
	"context"
	"crypto/sha1" //nolint:gosec // see NewLua
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pipesAtOnce is how many pipelines of one process are under way at once: one
	// that Redis works on, and one on its way to or from it.
	pipesAtOnce = 2
	// pipeMost bounds how many calls share a pipeline, and so how long one waits
	// for the others.
	pipeMost = 128
	// laterWait is how long what nobody waits for waits for others to go with.
	laterWait = time.Millisecond
)

// Pipe lets commands that are sent at the same moment share a round trip to
// Redis, which under load is most of what a command costs. A command that comes
// alone is sent at once.
type Pipe struct {
	rdb     redis.UniversalClient
	ordered bool

	mu      sync.Mutex
	waiting []*piped
	urgent  int // how many of them somebody waits for
	flying  int
	armed   bool // flyLate will be called
}

// piped are the commands of one call.
type piped struct {
	cmds []redis.Cmder
	done chan struct{} // nil when nobody waits
	then func(err error)
}

// Member is a command that puts one member into a set or takes it out. Those for
// one key that wait at the same moment are sent as one command, ahead of all that
// they wait with: what a member costs Redis is little beside what a command does.
type Member struct {
	*redis.IntCmd
	verb, key, member string
}

// NewMember makes a Member: verb is "sadd", "srem", "zrem", or "zadd", whose score is 0.
func NewMember(ctx context.Context, verb, key, member string) *Member {
	cmd := redis.NewIntCmd(ctx, verb, key, member)
	if verb == "zadd" {
		cmd = redis.NewIntCmd(ctx, verb, key, 0, member)
	}
	return &Member{IntCmd: cmd, verb: verb, key: key, member: member}
}

// gathered are Members that go as one command.
type gathered struct {
	members []*Member
	cmd     *redis.IntCmd
}

// gather makes one command of the Members for each key and verb among calls.
func gather(ctx context.Context, calls []*piped) []*gathered {
	var all []*gathered
	for _, call := range calls {
		for _, cmd := range call.cmds {
			m, ok := cmd.(*Member)
			if !ok {
				continue
			}
			i := slices.IndexFunc(all, func(g *gathered) bool { return g.members[0].key == m.key && g.members[0].verb == m.verb })
			if i < 0 {
				i, all = len(all), append(all, &gathered{})
			}
			all[i].members = append(all[i].members, m)
		}
	}
	for _, g := range all {
		first := g.members[0]
		args := append(make([]any, 0, 2+2*len(g.members)), first.verb, first.key)
		for _, m := range g.members {
			if m.verb == "zadd" {
				args = append(args, 0)
			}
			args = append(args, m.member)
		}
		g.cmd = redis.NewIntCmd(ctx, args...)
	}
	return all
}

// NewPipe makes a Pipe over rdb.
func NewPipe(rdb redis.UniversalClient) *Pipe {
	_, cluster := rdb.(*redis.ClusterClient)
	return &Pipe{rdb: rdb, ordered: !cluster}
}

// Ordered tells whether the commands of one call are carried out in their order.
// The nodes of a Cluster each go on by themselves.
func (p *Pipe) Ordered() bool { return p.ordered }

// Do carries cmds out and returns the first error of one of them; that there is
// no such key is none. It returns when Redis has answered or the client has given
// up, as any command of the client does.
func (p *Pipe) Do(ctx context.Context, cmds ...redis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	call := &piped{cmds: cmds, done: make(chan struct{})}
	if p.join(call) {
		p.fly()
	}
	<-call.done
	return firstError(cmds)
}

// Later carries cmds out soon, without anybody waiting for it: with what others
// send, or else after a moment. then is called with what Do would return, when
// that is an error.
func (p *Pipe) Later(cmds []redis.Cmder, then func(err error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, &piped{cmds: cmds, then: then})
	p.arm()
}

// arm has flyLate called, if it is not to be called already.
func (p *Pipe) arm() {
	if !p.armed {
		p.armed = true
		time.AfterFunc(laterWait, p.flyLate)
	}
}

// flyLate sends what nobody else has taken along.
func (p *Pipe) flyLate() {
	p.mu.Lock()
	p.armed = false
	if len(p.waiting) == 0 {
		p.mu.Unlock()
		return
	}
	if p.flying >= pipesAtOnce {
		p.arm()
		p.mu.Unlock()
		return
	}
	p.flying++
	p.mu.Unlock()
	p.fly()
}

// join adds a call that somebody waits for to those that wait, and tells whether
// its caller is to fly.
func (p *Pipe) join(call *piped) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, call)
	p.urgent++
	if p.flying >= pipesAtOnce {
		return false
	}
	p.flying++
	return true
}

// fly sends what waits, once; when more has come by then that somebody waits for
// it leaves that to a goroutine of its own, so that nobody works for others for long.
func (p *Pipe) fly() {
	p.mu.Lock()
	n := min(len(p.waiting), pipeMost)
	calls := p.waiting[:n:n]
	if p.waiting = p.waiting[n:]; len(p.waiting) == 0 {
		p.waiting = nil
	}
	for _, call := range calls {
		if call.done != nil {
			p.urgent--
		}
	}
	p.mu.Unlock()
	p.send(calls)
	p.mu.Lock()
	more := p.urgent > 0
	if !more {
		p.flying--
		if len(p.waiting) > 0 {
			p.arm()
		}
	}
	p.mu.Unlock()
	if more {
		go p.fly()
	}
}

// send carries calls out in one pipeline and tells their callers.
func (p *Pipe) send(calls []*piped) {
	ctx := context.Background() // one caller that goes away takes nothing from the others
	if len(calls) == 1 && len(calls[0].cmds) == 1 {
		_ = p.rdb.Process(ctx, calls[0].cmds[0])
	} else if len(calls) > 0 {
		sets := gather(ctx, calls)
		_, _ = p.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for _, g := range sets {
				_ = pipe.Process(ctx, g.cmd)
			}
			for _, call := range calls {
				for _, cmd := range call.cmds {
					if _, ok := cmd.(*Member); !ok {
						_ = pipe.Process(ctx, cmd)
					}
				}
			}
			return nil
		})
		for _, g := range sets {
			for _, m := range g.members {
				m.SetErr(g.cmd.Err())
			}
		}
	}
	for _, call := range calls {
		if call.done != nil {
			close(call.done)
		} else if err := firstError(call.cmds); err != nil && call.then != nil {
			call.then(err)
		}
	}
}

func firstError(cmds []redis.Cmder) error {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// Lua is a script of Redis.
type Lua struct{ text, hash string }

// NewLua makes a Lua of a script's text.
func NewLua(text string) *Lua {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // it is how Redis names scripts, and vouches for nothing
	return &Lua{text: text, hash: hex.EncodeToString(sum[:])}
}

// Eval runs a script by its hash, after the commands ahead, and by its text when
// Redis does not know it. On a Cluster it waits for those ahead first. A reply of
// nil is no error.
func (p *Pipe) Eval(ctx context.Context, script *Lua, keys []string, args []any, ahead ...redis.Cmder) (any, error) {
	if len(ahead) > 0 && !p.ordered {
		if err := p.Do(ctx, ahead...); err != nil {
			return nil, err
		}
		ahead = nil
	}
	cmd := evalCmd(ctx, "evalsha", script.hash, keys, args)
	err := p.Do(ctx, append(ahead, cmd)...)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		cmd = evalCmd(ctx, "eval", script.text, keys, args)
		err = p.Do(ctx, cmd)
	}
	return cmd.Val(), err
}

func evalCmd(ctx context.Context, name, script string, keys []string, args []any) *redis.Cmd {
	words := make([]any, 0, 3+len(keys)+len(args))
	words = append(words, name, script, len(keys))
	for _, key := range keys {
		words = append(words, key)
	}
	cmd := redis.NewCmd(ctx, append(words, args...)...)
	if len(keys) > 0 {
		cmd.SetFirstKeyPos(3)
	}
	return cmd
}
