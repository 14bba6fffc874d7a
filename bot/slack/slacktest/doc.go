// Package slacktest is a Slack that fits into a test: an HTTP server that speaks
// the part of Slack's Web API that a deployment bot needs, keeps state instead of
// scripted answers, and delivers slash commands, clicks, submissions and events
// as Slack does: signed over HTTP, or over Socket Mode.
//
// It is strict. Arguments, blocks and views are checked against the types of
// Slack's own SDK and against the documented limits; what does not fit is refused
// with Slack's error and listed by [Server.Odd]. So is what the stand-in itself
// sends, answers and payloads alike, where the SDK has it otherwise: it sends no
// field that the types do not promise, even where Slack does. What the app does not
// acknowledge in three seconds is told to the person, as Slack does, and listed
// by [Server.Failures]. [Run] fails the test when there is any of either.
//
//	sl := slacktest.Run(t, slacktest.Options{})
//	team := sl.AddWorkspace(slacktest.Workspace{ID: "T1", Name: "Acme"})
//	sl.AddUser(slacktest.User{ID: "U1", Name: "ana"})
//	sl.AddChannel(slacktest.Channel{ID: "C1", Name: "deploys"})
//	sl.AddGroup(slacktest.Group{ID: "S1", Handle: "db", Members: []string{"U1"}})
//	bot := start(sl.APIURL(), team.BotToken, slacktest.SigningSecret)
//	sl.Connect(bot.URL)
//	sl.Command("U1", "C1", "deploy shop/pr-7")
//	sl.Until(ctx, func() bool { return len(sl.Messages("C1")) == 1 })
//	sl.Click("U1", sl.Messages("C1")[0], "Approve")
//	sl.Submit(sl.View("U1").ID, map[string]string{"Why?": "it is time"})
//
// A browser that opens the server sees a chat client in which people type, click
// and fill in modals, live. All its addresses are relative: with Options.URL the
// server can be mounted below a path of another one. For pictures,
// /page/message/CHANNEL/TS?bare=1 and /page/view/ID?bare=1 draw one message or view
// alone, with times in UTC; the page's body has the attribute data-ready once it
// is drawn, and as=USER shows what that person alone sees. [Server.Preview] shows
// a message or a view so without anybody having got it; over HTTP, its JSON is
// sent to POST /page/preview, which answers {"path": …}.
//
// [Server.Fail], [Server.Slow], [Server.Gone], [Server.Deactivate],
// [Server.Uninstall], [Server.Kick], [Server.Archive], [Server.Disconnect] and
// [Server.Refresh] are what goes wrong with Slack. [Server.Install] makes the app
// of its manifest, with those scopes and events and no others.
//
// The file testdata/slack.json.gz is made from the types of npm @slack/web-api
// 8.2.0, @slack/types 3.2.0 and @slack/bolt 5.1.0, which are under the MIT licence:
// the arguments and answers of the methods that are here, Block Kit, views, the app
// manifest, events, interactions and commands as JSON Schema. internal/describe
// says what differs from a plain translation.
package slacktest

//go:generate node internal/describe/describe.mjs $SLACK_NODE_MODULES testdata/slack.json.gz
