package discord

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot"
)

// suggester answers with what it was asked.
type suggester func(ctx context.Context, at bot.ChatPlace, identity, what, target, typed string) []string

func (s suggester) Suggest(ctx context.Context, at bot.ChatPlace, identity, what, target, typed string) []string {
	return s(ctx, at, identity, what, target, typed)
}

func typing(options string) string {
	return done(typeAutocomplete, `{"name":"berth","type":1,"options":[{"name":"deploy","type":1,"options":[`+options+`]}]}`)
}

func TestCompletions(t *testing.T) {
	t.Parallel()
	echo := suggester(func(_ context.Context, at bot.ChatPlace, identity, what, target, typed string) []string {
		return []string{fmt.Sprintf("%s|%s|%s|%s|%s", at.ID(), identity, what, target, typed)}
	})
	many := suggester(func(context.Context, bot.ChatPlace, string, string, string, string) []string {
		words := []string{"", strings.Repeat("x", 101), strings.Repeat("é", 100)}
		for i := range 40 {
			words = append(words, fmt.Sprint(i))
		}
		return words
	})
	slow := suggester(func(ctx context.Context, _ bot.ChatPlace, _, _, _, _ string) []string {
		<-ctx.Done()
		return []string{"late"}
	})
	place := testGuild + "/" + testPlace
	for name, c := range map[string]struct {
		from  Suggester
		body  string
		first string
		n     int
	}{
		"a target":                         {echo, typing(`{"name":"target","type":3,"value":"sh","focused":true}`), place + "|discord:" + testUser + "|target||sh", 1},
		"a ref of a target":                {echo, typing(`{"name":"target","type":3,"value":"shop/pr-1"},{"name":"ref","type":3,"value":"ma","focused":true}`), place + "|discord:" + testUser + "|ref|shop/pr-1|ma", 1},
		"too many, too long and empty":     {many, typing(`{"name":"ref","type":3,"value":"","focused":true}`), strings.Repeat("é", 100), 25},
		"one that has none":                {echo, typing(`{"name":"set","type":3,"value":"","focused":true}`), "", 0},
		"a number that is being typed":     {echo, typing(`{"name":"to","type":4,"value":"1x","focused":true}`), "", 0},
		"beside a number that is none yet": {echo, typing(`{"name":"target","type":3,"value":"sh","focused":true},{"name":"to","type":4,"value":"1x"}`), place + "|discord:" + testUser + "|target||sh", 1},
		"nothing that is typed":            {echo, typing(``), "", 0},
		"nobody to ask":                    {nil, typing(`{"name":"ref","type":3,"value":"","focused":true}`), "", 0},
		"a verb that is not known":         {echo, done(typeAutocomplete, `{"name":"berth","type":1,"options":[{"name":"x","type":1,"options":[{"name":"y","type":3,"value":"","focused":true}]}]}`), "", 0},
		"verbs are known here":             {nil, done(typeAutocomplete, `{"name":"berth","type":1,"options":[{"name":"help","type":1,"options":[{"name":"verb","type":3,"value":"e","focused":true}]}]}`), "deploy", 4},
		"an answer that comes in no time":  {slow, typing(`{"name":"ref","type":3,"value":"","focused":true}`), "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := surfaceOf(t, nil, &taken{}, nil)
			s.suggester = c.from
			code, r, text := send(t, s, c.body)
			if code != 200 || r.Type != answerAutocomplete || r.Data == nil || r.Data.Choices == nil || len(*r.Data.Choices) != c.n {
				t.Fatalf("%d %s", code, text)
			}
			if c.n > 0 && (*r.Data.Choices)[0].Value != c.first {
				t.Errorf("%s", text)
			}
		})
	}
}
