package actions

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions/redistest"
)

func TestMembersOfOneFlushGoAsOneCommand(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	calls := []*piped{
		{cmds: []redis.Cmder{NewMember(ctx, "zadd", "index", "a"), NewMember(ctx, "zadd", "active", "a"), redis.NewStatusCmd(ctx, "set", "k", "v")}},
		{cmds: []redis.Cmder{NewMember(ctx, "zadd", "index", "b"), NewMember(ctx, "zrem", "active", "c")}},
	}
	var got []string
	for _, g := range gather(ctx, calls) {
		got = append(got, fmt.Sprint(g.cmd.Args()))
	}
	want := []string{"[zadd index 0 a 0 b]", "[zadd active 0 a]", "[zrem active c]"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestEveryMemberGetsThereAndAMistakeIsToldToAll(t *testing.T) {
	t.Parallel()
	ctx, rdb := t.Context(), redistest.Client(t)
	p := NewPipe(rdb)
	if err := rdb.Set(ctx, "text", "no set", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	for i := range 200 {
		callers.Go(func() {
			name := fmt.Sprint(i)
			if err := p.Do(ctx, NewMember(ctx, "sadd", "set", name), NewMember(ctx, "zadd", "sorted", name)); err != nil {
				t.Error(err)
			}
			if err := p.Do(ctx, NewMember(ctx, "sadd", "text", name)); err == nil {
				t.Error("what is no set took a member")
			}
		})
	}
	callers.Wait()
	if n := rdb.SCard(ctx, "set").Val(); n != 200 {
		t.Errorf("the set has %d members", n)
	}
	if n := rdb.ZCard(ctx, "sorted").Val(); n != 200 {
		t.Errorf("the sorted set has %d members", n)
	}
}
