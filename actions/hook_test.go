package actions_test

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

type redisHook = redis.Hook

// afterSave calls then once the audit record of that kind is written.
type afterSave struct {
	kind string
	then func()
}

func (h *afterSave) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *afterSave) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			h.look(cmd, cmd.Err())
		}
		return err
	}
}

func (h *afterSave) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		h.look(cmd, err)
		return err
	}
}

// look calls then if cmd has written the record. Commands of one moment share a
// round trip, so that it may have come alone or with others.
func (h *afterSave) look(cmd redis.Cmder, err error) {
	if !strings.HasPrefix(cmd.Name(), "eval") || err != nil {
		return
	}
	for _, arg := range cmd.Args() {
		if text, ok := arg.([]byte); ok && strings.Contains(string(text), fmt.Sprintf(`"kind":%q`, h.kind)) {
			h.then()
		}
	}
}

// beforeScript calls then once, before a script is run that has such an argument.
type beforeScript struct {
	has  string
	then func()
	once sync.Once
}

func (h *beforeScript) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *beforeScript) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			h.look(cmd)
		}
		return next(ctx, cmds)
	}
}

func (h *beforeScript) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.look(cmd)
		return next(ctx, cmd)
	}
}

func (h *beforeScript) look(cmd redis.Cmder) {
	if !strings.HasPrefix(cmd.Name(), "eval") {
		return
	}
	for _, arg := range cmd.Args() {
		text := fmt.Sprintf("%s", arg)
		if strings.Contains(text, h.has) {
			h.once.Do(h.then)
		}
	}
}
