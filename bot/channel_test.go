package bot_test

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/bottest"
)

func TestAChannelImpliesAndLimits(t *testing.T) {
	t.Parallel()
	blog := bottest.Shop()
	blog.Name = "blog"
	w := bottest.New(t, redistest.Client(t), bottest.Shop(), blog)
	say := func(line string, apps, verbs []string) bot.Reply {
		return w.SayIn(bot.Input{
			Line: line, Actor: bottest.Ana(), Apps: apps, Verbs: verbs, Private: true,
			Place: approvals.Place{Surface: bot.PlatformSlack, ID: "T1/C1", Message: "1"},
		})
	}
	made := say("deploy blog/pr-9", nil, nil).Request
	one, two := []string{"shop"}, []string{"blog", "shop"}
	tests := map[string]struct {
		line        string
		apps, verbs []string
		code        actions.Code
		env, says   string
	}{
		"an environment needs no app where there is one":     {line: "deploy pr-7", apps: one, env: "shop/pr-7"},
		"a name that is no pull request's, too":              {line: "deploy demo", apps: one, env: "shop/demo"},
		"its whole name is understood all the same":          {line: "deploy shop/pr-8", apps: one, env: "shop/pr-8"},
		"of two apps none is guessed":                        {line: "deploy pr-7", apps: two, code: actions.CodeInvalid, says: "`/berth deploy blog/pr-7` or `/berth deploy shop/pr-7`"},
		"an app alone is asked for its environment":          {line: "deploy", apps: one, code: actions.CodeInvalid, says: "Which environment of `shop`"},
		"another app is out of reach":                        {line: "deploy blog/pr-7", apps: one, code: actions.CodeForbidden, says: "`slack.channels`"},
		"another app's request is out of reach":              {line: "cancel " + made.ID, apps: one, code: actions.CodeForbidden, says: "This channel is for `shop`"},
		"another app's list is out of reach":                 {line: "list blog", apps: one, code: actions.CodeForbidden, says: "This channel is for `shop`"},
		"a verb that is not for the channel":                 {line: "cleanup shop/pr-7", verbs: []string{"deploy", "status"}, code: actions.CodeForbidden, says: "`deploy` and `status`"},
		"help is for every channel":                          {line: "help", verbs: []string{"deploy"}, says: "typed as `/berth VERB …`, and in threads, where Slack has no such commands, as `@berth VERB …`."},
		"help about a verb is that alone":                    {line: "help deploy", says: "`deploy [TARGET]` creates an environment"},
		"a verb that is":                                     {line: "deploy shop/pr-11", verbs: []string{"deploy"}, env: "shop/pr-11"},
		"a mistyped app of a channel for all is not guessed": {line: "deploy shpo/pr-7", code: actions.CodeNotFound, says: "Did you mean `shop`"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reply := say(tt.line, tt.apps, tt.verbs)
			if reply.Code != tt.code || !strings.Contains(reply.Text, tt.says) {
				t.Errorf("%q is answered %q: %s", tt.line, reply.Code, reply.Text)
			}
			if tt.env != "" && (reply.Request == nil || reply.Request.Order.Env.String() != tt.env) {
				t.Errorf("it is about %+v", reply.Request)
			}
		})
	}
	if text := say("list", one, nil).Text; strings.Contains(text, "blog") {
		t.Errorf("the list of a channel shows another app: %s", text)
	}
}

func TestAStrangerInChatIsAskedToLink(t *testing.T) {
	t.Parallel()
	w := bottest.New(t, redistest.Client(t))
	reply := w.SayIn(bot.Input{Line: "deploy shop/pr-1", Actor: bot.Actor{Identity: "slack:U9", Name: "eve"}, Place: approvals.Place{Surface: bot.PlatformSlack, ID: "T1/C1"}})
	if reply.Code != actions.CodeForbidden || !strings.Contains(reply.Text, "berth link slack:U9") {
		t.Errorf("answered %q: %s", reply.Code, reply.Text)
	}
}
