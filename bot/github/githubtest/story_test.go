package githubtest

import (
	"testing"
	"time"

	"github.com/google/go-github/v60/github"
)

const sticky = `<!-- berth:shop/pr-1 -->
### :white_check_mark: **shop/pr-1** is running

| part | state | took |
|:-----|:------|-----:|
| db   | ready | 41 s |
| web  | ready | 12 s |
| url  | ready |  2 s |

**Open it:** https://pr-1.shop.preview.example.org · commit ` + "`6887e48`" + ` · expires in 3 days

- [x] replicas are up
- [ ] load test

Next: ` + "`/status`" + `, ` + "`/extend --ttl 48h`" + ` or ` + "`/cleanup`" + `.

<details>
<summary>Log (14 lines)</summary>

` + "```text\nhelm: release shop-pr-1 installed\nweb: 2 of 2 pods ready\n```" + `

</details>
<script>alert(1)</script>
`

// story is a pull request on which much has happened.
func story(t *testing.T) *shop {
	t.Helper()
	start := time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)
	now := start
	s := newShop(t, Options{Now: func() time.Time { now = now.Add(9 * time.Second); return now }})
	s.must(s.AddUser(User{Login: "berth[bot]", Type: "Bot", Roles: map[string]string{"acme/shop": "write"}}))
	ctx, c := soon(t), s.client("ghp_bot")
	id, err := s.Comment("acme/shop", s.pull, "ana", "Let's see it with real data:\n\n/deploy")
	s.must(err)
	s.must(s.React("acme/shop", id, "berth[bot]", "eyes"))
	s.must(s.React("acme/shop", id, "berth[bot]", "rocket"))
	s.must(s.React("acme/shop", id, "rob", "rocket"))
	head := s.Thread("acme/shop", s.pull).HeadSHA
	bot, err := s.Comment("acme/shop", s.pull, "berth[bot]", "working on it")
	s.must(err)
	no, yes := false, true
	d, _, err := c.Repositories.CreateDeployment(ctx, "acme", "shop", &github.DeploymentRequest{
		Ref: &head, Environment: github.String("shop/pr-1"), AutoMerge: &no, RequiredContexts: &[]string{},
		TransientEnvironment: &yes, Description: github.String("deploy for ana"),
	})
	s.must(err)
	for _, state := range []string{"in_progress", "success"} {
		_, _, err = c.Repositories.CreateDeploymentStatus(ctx, "acme", "shop", d.GetID(), &github.DeploymentStatusRequest{
			State: github.String(state), EnvironmentURL: github.String("https://pr-1.shop.preview.example.org"), LogURL: github.String("https://berth.example.org/runs/r1"),
		})
		s.must(err)
	}
	s.must(s.EditComment("acme/shop", bot, "berth[bot]", "still working"))
	s.must(s.EditComment("acme/shop", bot, "berth[bot]", sticky))
	_, _, err = c.Repositories.CreateStatus(ctx, "acme", "shop", head, &github.RepoStatus{
		State: github.String("success"), Context: github.String("ci/unit"), Description: github.String("42 tests passed"),
	})
	s.must(err)
	_, err = s.PushToPullRequest("acme/shop", s.pull, Commit{Message: "Raise the memory limit", Write: map[string]string{"charts/values.yaml": "replicas: 2\nmemory: 256Mi\n"}})
	s.must(err)
	_, _, err = c.Repositories.CreateDeployment(ctx, "acme", "shop", &github.DeploymentRequest{
		Ref: github.String("topic"), Environment: github.String("shop/pr-1-canary"), AutoMerge: &no, RequiredContexts: &[]string{}, TransientEnvironment: &yes,
	})
	s.must(err)
	_, _, err = c.Repositories.CreateDeploymentStatus(ctx, "acme", "shop", s.Deployments("acme/shop")[1].ID, &github.DeploymentStatusRequest{State: github.String("in_progress")})
	s.must(err)
	_, err = s.Comment("acme/shop", s.pull, "rob", "Looks good :+1:, thanks @ana. ~~Nope~~\n\n> one replica is enough\n\nNot any more.")
	s.must(err)
	return s
}
