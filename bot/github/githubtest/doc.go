// Package githubtest is a GitHub that fits into a test: an HTTP server that
// speaks the part of GitHub's REST API v3 that a deployment bot needs, keeps
// state instead of scripted answers, and sends signed webhooks.
//
// It is strict. Every request and every answer of its own is checked against
// GitHub's own API description; whatever does not fit is answered as GitHub
// answers it and is listed by [Server.Violations]. [Run] fails the test when
// there are any.
//
//	gh := githubtest.Run(t, githubtest.Options{})
//	gh.AddRepo(githubtest.Repo{Name: "acme/shop", Files: os.DirFS("testdata/shop")})
//	gh.AddUser(githubtest.User{Login: "ana", Roles: map[string]string{"acme/shop": "write"}})
//	gh.AddToken(githubtest.Token{Value: "t0ken", User: "berth-bot", Scopes: []string{"repo"}})
//	gh.SetWebhook(githubtest.Webhook{URL: bot.URL + "/webhooks/github", Secret: "s3cret"})
//	n, _ := gh.OpenPullRequest(githubtest.PullRequest{Repo: "acme/shop", Head: "topic", Author: "ana"})
//	gh.Comment("acme/shop", n, "ana", "/deploy")
//	gh.WaitFor(ctx, func() bool { return len(gh.Deployments("acme/shop")) == 1 })
//
// A browser that opens /{owner}/{repo}/pull/{number} on the server sees the
// conversation, live; [RenderThread] draws the same for a terminal.
//
// The package holds two things that others wrote, both under the MIT licence:
// a pruned copy of the API description (npm @octokit/openapi 23.0.2) and the
// example payloads that [Examples] returns (npm @octokit/webhooks-examples
// 7.6.1).
package githubtest

//go:generate go run ./internal/prune $OCTOKIT_OPENAPI testdata/api.github.com.json.gz
//go:generate go run ./internal/pack $OCTOKIT_WEBHOOKS_EXAMPLES testdata/webhooks.json.gz
