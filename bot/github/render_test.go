package github

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

var update = flag.Bool("update", false, "write the golden files anew")

// then is when everything in the golden files happened.
var then = time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)

const (
	oldSHA = "1111111aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	newSHA = "2222222bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func testSurface(t *testing.T) *Surface {
	t.Helper()
	app := &actions.App{Name: "shop", Repo: "acme/shop", Parts: []actions.Part{{Name: "db", Use: "aws"}, {Name: "web", Use: "helm", Needs: []string{"db"}}}}
	s, err := New(Options{Token: "t", PublicURL: "https://berth.example.org", Catalog: catalog{app}, DataDir: t.TempDir(), Now: func() time.Time { return then }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testScene is an environment that runs; change makes it what a test needs.
func testScene(change func(*scene)) *scene {
	name := actions.Name{App: "shop", Env: "pr-42"}
	old := actions.Commit{SHA: oldSHA, Message: "Sell more", Author: "Ana"}
	request := &approvals.Request{
		ID: "01jd0000000000000000000001", State: approvals.StateSucceeded, Command: "deploy shop/pr-42", RunID: "01jd0000000000000000000002",
		Requester: approvals.Requester{Actor: "ana", Identity: "github:ana"},
		Place:     approvals.Place{Surface: "github", ID: "acme/shop#42", Message: "7"},
		Order:     actions.Order{Env: name, Verb: actions.VerbDeploy, Commit: old, PullRequest: 42, By: "ana"},
		Plan: &actions.Plan{Summary: "deploy shop/pr-42: 2 parts", Order: actions.Order{Commit: old}, Parts: []actions.PartPlan{
			{Part: "db", Use: "aws", Summary: "create an instance"},
			{Part: "web", Use: "helm", Summary: "install chart preview 0.1.0", Diff: "+ kind: Deployment\n+ replicas: 2"},
		}},
	}
	sc := &scene{
		name: name, repo: "acme/shop", number: 42, latest: request,
		app: &actions.App{Name: "shop", Repo: "acme/shop", Parts: []actions.Part{{Name: "db", Use: "aws"}, {Name: "web", Use: "helm"}}},
		env: &actions.Environment{
			Name: name, State: actions.StateRunning, Repo: "acme/shop", PullRequest: 42, Commit: old,
			Links: []actions.Link{{Name: "web", URL: "https://pr-42.shop.example.org"}, {Name: "admin", URL: "https://pr-42.shop.example.org/admin"}},
			Parts: map[string]actions.PartStatus{
				"db":  {Use: "aws", State: "done", Health: actions.Healthy},
				"web": {Use: "helm", State: "done", Health: actions.Degraded, Text: "1 of 2 pods ready"},
			},
			LastAction: &actions.LastAction{Verb: actions.VerbDeploy, RequestID: request.ID, RunID: request.RunID, Commit: old, State: actions.RunSucceeded, By: "ana", At: then},
			UpdatedAt:  then, ExpiresAt: then.Add(72 * time.Hour), Revision: 3,
		},
		run: &actions.Run{ID: request.RunID, Order: request.Order, State: actions.RunSucceeded, Steps: []actions.StepRecord{
			{Part: "db", Use: "aws", State: actions.StepDone}, {Part: "web", Use: "helm", State: actions.StepDone},
		}},
		log: bot.Tail{Lines: []string{"db: done", "web: waiting for 2 pods", "web: done"}, Total: 3},
	}
	change(sc)
	return sc
}

// updating makes sc one whose update to a newer commit is in state.
func updating(sc *scene, state approvals.State) {
	sc.latest.State = state
	sc.latest.Order.Commit = actions.Commit{SHA: newSHA, Message: "Sell even more"}
}

func TestRender(t *testing.T) {
	scenes := map[string]func(*scene){
		"running": func(*scene) {},
		"planning": func(sc *scene) {
			updating(sc, approvals.StatePlanning)
			sc.latest.Order.Commit, sc.latest.Plan = actions.Commit{}, nil
		},
		"pending": func(sc *scene) { updating(sc, approvals.StatePending) },
		"queued":  func(sc *scene) { updating(sc, approvals.StateReleased) },
		"first deploy": func(sc *scene) {
			updating(sc, approvals.StateRunning)
			sc.env.State, sc.env.Commit, sc.env.Parts, sc.env.Links, sc.env.LastAction = actions.StateCreatePending, actions.Commit{}, nil, nil, nil
			sc.run.State = actions.RunRunning
			sc.run.Steps[1].State = actions.StepRunning
			sc.log.Progress = map[string]string{"web": "1 of 2 pods ready"}
		},
		"updating": func(sc *scene) {
			updating(sc, approvals.StateRunning)
			sc.env.State, sc.run.State, sc.run.Steps[0].State, sc.run.Steps[1].State = actions.StateUpdatePending, actions.RunRunning, actions.StepRunning, actions.StepWaiting
		},
		"first deploy failed": func(sc *scene) {
			updating(sc, approvals.StateFailed)
			sc.latest.Reason = "Part web: pod web-1 cannot pull image `shop:v9`.\nEvents:\n  Failed: not found"
			sc.env.State, sc.env.Commit, sc.env.Links = actions.StateFailure, actions.Commit{}, nil
			sc.env.LastAction.State, sc.env.LastAction.Error, sc.env.LastAction.Commit = actions.RunFailed, sc.latest.Reason, sc.latest.Order.Commit
			sc.env.Parts["web"] = actions.PartStatus{Use: "helm", State: "failed", Health: actions.Unhealthy, Text: "ImagePullBackOff"}
			sc.run.State, sc.run.Steps[1].State = actions.RunFailed, actions.StepFailed
		},
		"update failed": func(sc *scene) {
			updating(sc, approvals.StateFailed)
			sc.env.LastAction.State, sc.env.LastAction.Error, sc.env.LastAction.Commit = actions.RunFailed, "Part web: it never became ready.", sc.latest.Order.Commit
		},
		"update refused": func(sc *scene) {
			updating(sc, approvals.StateRefused)
			sc.latest.ID, sc.latest.Reason, sc.latest.Plan = "01jd0000000000000000000009", "There is no branch, tag or commit \"v9\" in acme/shop; check how it is spelled, and that it is pushed.", nil
			sc.latest.Order.Commit = actions.Commit{}
		},
		"locked":   func(sc *scene) { sc.env.Lock = &actions.Lock{By: "rob", Reason: "a demo for @acme/sales", At: then} },
		"sleeping": func(sc *scene) { sc.env.Sleeping = true },
		"put to sleep": func(sc *scene) {
			sc.env.Sleeping, sc.env.SleptBy, sc.app.OnExpiry = true, "schedule/nights", actions.VerbArchive
		},
		"kept with components": func(sc *scene) {
			sc.env.Keep, sc.env.Deployed = true, 7
			sc.env.Components = map[string]actions.Built{
				"api":  {Repo: "acme/api", PullRequest: 12, Commit: actions.Commit{SHA: newSHA, Message: "Faster, says @eve"}},
				"auth": {Repo: "acme/auth", Ref: "main", Commit: actions.Commit{SHA: oldSHA}},
			}
		},
		"drifted": func(sc *scene) {
			web := sc.env.Parts["web"]
			web.Drift = []string{"Deployment web: replicas is 3, deployed was 1", "ConfigMap <b>web</b> @eve is gone"}
			sc.env.Parts["web"] = web
		},
		"cancelled": func(sc *scene) {
			updating(sc, approvals.StateCancelled)
			sc.env.LastAction.State, sc.env.LastAction.Commit = actions.RunCancelled, sc.latest.Order.Commit
			sc.env.LastAction.Error = "It was cancelled. " + strings.Repeat("There is much to say. ", 30)
			sc.env.LastAction.Left = "db is as its deploy left it; web is back at revision 3 (1111111)"
		},
		"cleaned with receipts": func(sc *scene) {
			cleaning(sc, approvals.StateSucceeded, actions.StateCleaned)
			sc.run.State, sc.run.Order.Verb = actions.RunSucceeded, actions.VerbCleanup
			for i := range 60 {
				sc.run.Steps[1].Receipts = append(sc.run.Steps[1].Receipts, actions.Resource{Kind: "Secret", Namespace: "shop-pr-42", Name: fmt.Sprintf("s-%d", i), Destructive: i == 0})
			}
			sc.run.Steps[1].ReceiptsLeft = 5
		},
		"archived": func(sc *scene) { sc.env.State = actions.StateArchived },
		"cleaning": func(sc *scene) { cleaning(sc, approvals.StateRunning, actions.StateCleanupPending) },
		"cleaned":  func(sc *scene) { cleaning(sc, approvals.StateSucceeded, actions.StateCleaned) },
		"hostile":  hostile,
		"long log": func(sc *scene) { sc.log = longLog(500, 300) },
		"long plan": func(sc *scene) {
			updating(sc, approvals.StatePending)
			sc.latest.Plan.Parts[1].Diff = strings.Repeat("+ a line of the difference\n", 9000)
		},
	}
	s := testSurface(t)
	for name, change := range scenes {
		t.Run(name, func(t *testing.T) {
			got := s.render(testScene(change))
			if n := utf8.RuneCountInString(got); n > maxBody {
				t.Errorf("%d characters are more than GitHub takes", n)
			}
			if !strings.HasPrefix(got, "<!-- berth:env=shop/pr-42 -->\n") {
				t.Error("it does not begin with its marker")
			}
			golden(t, strings.ReplaceAll(name, " ", "_"), got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "comments", name+".md")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it is not %s; look at both and run `go test -run %s -update`:\n%s", path, t.Name(), got)
	}
}

func cleaning(sc *scene, request approvals.State, env actions.State) {
	sc.latest.State, sc.latest.Command, sc.latest.Order.Verb, sc.latest.Plan = request, "cleanup shop/pr-42", actions.VerbCleanup, nil
	sc.latest.Place.Message, sc.latest.Order.Reason = "", "the pull request was closed"
	sc.env.State = env
	sc.run.Order.Verb = actions.VerbCleanup
	if request == approvals.StateRunning {
		sc.run.State, sc.run.Steps[0].State, sc.run.Steps[1].State = actions.RunRunning, actions.StepWaiting, actions.StepRunning
	}
}

// hostile fills everything that others write with what they should not reach.
func hostile(sc *scene) {
	evil := "@ana </details> <script> | `x` [a](http://evil) #1 ![i](http://evil/i.png)"
	updating(sc, approvals.StateFailed)
	sc.env.Commit.Message = evil
	sc.latest.Requester.Actor, sc.latest.Command = evil, evil
	sc.latest.Plan.Summary, sc.latest.Plan.Parts[0].Summary, sc.latest.Plan.Parts[1].Diff = evil, evil, "```\n</details>@ana\n````"
	sc.env.LastAction.State, sc.env.LastAction.Error = actions.RunFailed, evil
	sc.env.Parts["web"] = actions.PartStatus{Use: evil, State: evil, Health: actions.Health(evil), Text: evil + "\nand more"}
	sc.env.Links = []actions.Link{{Name: evil, URL: "javascript:alert(1)"}, {Name: evil, URL: "https://x.example/\n### @ana"}}
	sc.env.Lock = &actions.Lock{By: evil, Reason: evil, At: then}
	sc.log = bot.Tail{Lines: []string{"```", "@ana </details>", "````` \x1b[31mred\x1b[0m"}, Total: 3}
}

func longLog(lines, width int) bot.Tail {
	var l bot.Tail
	for i := range lines {
		l.Add(actions.Event{ID: fmt.Sprint(i), Kind: actions.EventLog, Part: "web", Text: fmt.Sprintf("%d %s", i, strings.Repeat("é", width))}, tailLines, tailWidth)
	}
	return l
}

func TestNobodyIsCalledByWhatOthersWrote(t *testing.T) {
	s, c := testSurface(t), testCard(hostileCard)
	c.r.Outcome.Rules[0].Reminders, c.r.Outcome.Rules[0].Escalated = 1, true
	bodies := []string{s.render(testScene(hostile)), s.renderCard(c)}
	c.r.Outcome.Rules[0].BrokenBy, c.r.Glass.Digest = "x", "y"
	for _, n := range append(s.notices(c, "https://github.com/acme/shop/pull/42#issuecomment-1"), s.notices(testCard(hostileCard), "")...) {
		bodies = append(bodies, n.text)
	}
	for _, body := range bodies {
		callsNobody(t, body)
	}
}

// callsNobody finds what stands in a body and would be markup or a mention.
func callsNobody(t *testing.T, body string) {
	t.Helper()
	outside := ""
	fence := ""
	for line := range strings.Lines(body) {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence == "" && strings.HasPrefix(trimmed, "```"):
			fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, "`"))]
		case fence != "" && trimmed == fence:
			fence = ""
		case fence == "":
			outside += line
		}
	}
	outside = strings.ReplaceAll(outside, "\\`", "")
	outside = regexp.MustCompile("`` .*? ``|`[^`\n]*`").ReplaceAllString(outside, "")
	for _, evil := range []string{"@ana", "<script>", "](http://evil)", "(javascript:"} {
		for at := 0; ; at++ {
			i := strings.Index(outside[at:], evil)
			if i < 0 {
				break
			}
			if at += i; outside[at-1] != '\\' {
				t.Errorf("%q stands in the open: …%s", evil, outside[max(0, at-60):min(len(outside), at+30)])
			}
		}
	}
}

func TestQuietCallsNobodyAndLeavesCodeAlone(t *testing.T) {
	got := quiet("@ana and (@bob) but a@b.c\n```\n@cleo\n```\n@dan")
	if want := "@\u200bana and (@\u200bbob) but a@b.c\n```\n@cleo\n```\n@\u200bdan"; got != want {
		t.Errorf("quiet = %q", got)
	}
}

func TestProseKeepsCodeAndEscapesTheRest(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"plain":                          {"There is none.", "There is none."},
		"code":                           {"Use `berth doctor` now.", "Use `berth doctor` now."},
		"markup outside of code":         {"A *b* `*c*` <d>", "A \\*b\\* `*c*` \\<d>"},
		"a backtick without its partner": {"A ` b", "A \\` b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := prose(tt.in, 100); got != tt.want {
				t.Errorf("prose(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}
