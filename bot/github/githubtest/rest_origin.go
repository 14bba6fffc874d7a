package githubtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// commitOf runs f with the commit of the path, which only a whole SHA names.
func (s *Server) commitOf(c *call, f func(*commit) *reply) *reply {
	sha := c.params["commit_sha"]
	if found := c.repo.objects[sha]; found != nil {
		return f(found)
	}
	return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
}

func (s *Server) listBranchesAtHead(c *call) *reply {
	return s.commitOf(c, func(at *commit) *reply {
		views := []any{}
		for _, name := range slices.Sorted(maps.Keys(c.repo.branches)) {
			if c.repo.branches[name] == at.sha {
				views = append(views, obj{
					"name": name, "protected": false, "commit": obj{"sha": at.sha, "url": s.repoAPI(c.repo) + "/commits/" + at.sha},
				})
			}
		}
		return answer(http.StatusOK, views)
	})
}

// listPullsWithCommit answers the merged pull request that brought a commit of
// the default branch, and else the open and the merged ones that have it.
// Source: docs.github.com/rest/commits/commits#list-pull-requests-associated-with-a-commit
func (s *Server) listPullsWithCommit(c *call) *reply {
	return s.commitOf(c, func(at *commit) *reply {
		landed := c.repo.ancestors(c.repo.branches[c.repo.defaultBranch])[at.sha]
		var found []*thread
		for _, t := range c.repo.pullsByNumber() {
			has := slices.ContainsFunc(t.repo.between(s.baseSHA(t), t.pull.headSHA), func(one *commit) bool { return one.sha == at.sha })
			if has && (t.pull.merged() || (t.state == "open" && !landed)) {
				found = append(found, t)
			}
		}
		return list(s, c, found, func(t *thread) any { return s.pullShort(t) }, nil)
	})
}

// compare answers how two commits stand to each other.
func (s *Server) compare(c *call) *reply {
	from, to, ok := strings.Cut(c.params["basehead"], "...")
	base, head := c.repo.resolve(from), c.repo.resolve(to)
	if !ok || base == nil || head == nil {
		return notFound()
	}
	common := c.repo.mergeBase(base.sha, head.sha)
	if common == nil {
		return problem(http.StatusNotFound, fmt.Sprintf("No common ancestor between %s and %s.", from, to))
	}
	ahead, behind := c.repo.between(base.sha, head.sha), c.repo.between(head.sha, base.sha)
	status := "diverged"
	switch {
	case len(ahead)+len(behind) == 0:
		status = "identical"
	case len(behind) == 0:
		status = "ahead"
	case len(ahead) == 0:
		status = "behind"
	}
	commits, files := []any{}, []any{}
	for _, one := range ahead {
		commits = append(commits, s.commitView(c.repo, one))
	}
	for _, ch := range changes(common.files, head.files) {
		files = append(files, s.changeView(c.repo, head.sha, ch))
	}
	self, html := s.repoAPI(c.repo)+"/compare/"+escapePath(c.params["basehead"]), s.repoWeb(c.repo)+"/compare/"+escapePath(c.params["basehead"])
	return answer(http.StatusOK, obj{
		"url": self, "html_url": html, "permalink_url": html, "diff_url": html + ".diff", "patch_url": html + ".patch",
		"base_commit": s.commitView(c.repo, base), "merge_base_commit": s.commitView(c.repo, common), "status": status,
		"ahead_by": len(ahead), "behind_by": len(behind), "total_commits": len(ahead), "commits": commits, "files": files,
	})
}
