package githubtest

import (
	"fmt"
)

// issueView is an issue, or a pull request seen as one.
func (s *Server) issueView(t *thread) obj {
	url := fmt.Sprintf("%s/issues/%d", s.repoAPI(t.repo), t.number)
	view := obj{
		"url": url, "repository_url": s.repoAPI(t.repo), "labels_url": url + "/labels{/name}",
		"comments_url": url + "/comments", "events_url": url + "/events", "timeline_url": url + "/timeline",
		"html_url": s.threadWeb(t), "id": t.id, "node_id": nodeID("Issue", t.id), "number": t.number,
		"title": t.title, "user": s.userView(t.author), "labels": []any{}, "state": t.state,
		"state_reason": nil, "locked": false, "assignee": nil, "assignees": []any{}, "milestone": nil,
		"comments": len(t.comments), "created_at": stamp(t.created), "updated_at": stamp(t.updated),
		"closed_at": stampOrNull(t.closed), "author_association": s.association(t.author, t.repo),
		"active_lock_reason": nil, "body": orNull(t.body), "reactions": rollup(url, t.reactions),
		"performed_via_github_app": nil, "draft": false,
	}
	if t.pull != nil {
		html := s.threadWeb(t)
		view["draft"] = t.pull.draft
		view["pull_request"] = obj{
			"url": s.pullAPI(t), "html_url": html, "diff_url": html + ".diff",
			"patch_url": html + ".patch", "merged_at": stampOrNull(t.pull.mergedAt),
		}
	}
	return view
}

func (s *Server) threadWeb(t *thread) string {
	kind := "issues"
	if t.pull != nil {
		kind = "pull"
	}
	return fmt.Sprintf("%s/%s/%d", s.repoWeb(t.repo), kind, t.number)
}

func (s *Server) pullAPI(t *thread) string {
	return fmt.Sprintf("%s/pulls/%d", s.repoAPI(t.repo), t.number)
}

func (s *Server) commentView(c *comment) obj {
	url := fmt.Sprintf("%s/issues/comments/%d", s.repoAPI(c.thread.repo), c.id)
	return obj{
		"url": url, "html_url": fmt.Sprintf("%s#issuecomment-%d", s.threadWeb(c.thread), c.id),
		"issue_url": fmt.Sprintf("%s/issues/%d", s.repoAPI(c.thread.repo), c.thread.number),
		"id":        c.id, "node_id": nodeID("IssueComment", c.id), "user": s.userView(c.author),
		"created_at": stamp(c.created), "updated_at": stamp(c.updated),
		"author_association": s.association(c.author, c.thread.repo), "body": c.body,
		"reactions": rollup(url, c.reactions), "performed_via_github_app": s.appView(c.viaApp),
	}
}

// pullShort is a pull request as lists show it.
func (s *Server) pullShort(t *thread) obj {
	p, url, html := t.pull, s.pullAPI(t), s.threadWeb(t)
	issue := fmt.Sprintf("%s/issues/%d", s.repoAPI(t.repo), t.number)
	statuses := s.repoAPI(t.repo) + "/statuses/" + p.headSHA
	link := func(href string) obj { return obj{"href": href} }
	return obj{
		"url": url, "id": p.id, "node_id": nodeID("PullRequest", p.id), "html_url": html,
		"diff_url": html + ".diff", "patch_url": html + ".patch", "issue_url": issue,
		"number": t.number, "state": t.state, "locked": false, "title": t.title,
		"user": s.userView(t.author), "body": orNull(t.body),
		"created_at": stamp(t.created), "updated_at": stamp(t.updated),
		"closed_at": stampOrNull(t.closed), "merged_at": stampOrNull(p.mergedAt),
		"merge_commit_sha": orNull(p.mergeSHA), "assignee": nil, "assignees": []any{},
		"requested_reviewers": []any{}, "requested_teams": []any{}, "labels": []any{}, "milestone": nil,
		"commits_url": url + "/commits", "review_comments_url": url + "/comments",
		"review_comment_url": s.repoAPI(t.repo) + "/pulls/comments{/number}",
		"comments_url":       issue + "/comments", "statuses_url": statuses,
		"head": s.pullEnd(p.headRepo, p.head, p.headSHA),
		"base": s.pullEnd(t.repo, p.base, s.baseSHA(t)),
		"_links": obj{
			"self": link(url), "html": link(html), "issue": link(issue),
			"comments": link(issue + "/comments"), "review_comments": link(url + "/comments"),
			"review_comment": link(s.repoAPI(t.repo) + "/pulls/comments{/number}"),
			"commits":        link(url + "/commits"), "statuses": link(statuses),
		},
		"author_association": s.association(t.author, t.repo), "auto_merge": nil,
		"active_lock_reason": nil, "draft": p.draft,
	}
}

func (s *Server) pullEnd(r *repo, ref, sha string) obj {
	return obj{
		"label": r.owner.login + ":" + ref, "ref": ref, "sha": sha,
		"user": s.userView(r.owner), "repo": with(s.repoView(r), mergeSettings()),
	}
}

// baseSHA is the base branch's head; a merged pull request keeps what it was
// merged onto.
func (s *Server) baseSHA(t *thread) string {
	if c := t.repo.objects[t.pull.mergeSHA]; t.pull.merged() && c != nil {
		return c.parents[0]
	}
	return t.repo.branches[t.pull.base]
}

// pullView is a pull request on its own, with what GitHub computes for it.
func (s *Server) pullView(t *thread) obj {
	p := t.pull
	base := s.baseSHA(t)
	adds, dels, files := 0, 0, s.pullChanges(t)
	for _, c := range files {
		adds, dels = adds+c.additions, dels+c.removal
	}
	var mergeable any
	state := "unknown"
	if t.state == "open" {
		_, clean := t.repo.merge(base, p.headSHA)
		mergeable, state = clean, "clean"
		switch {
		case !clean:
			state = "dirty"
		case p.draft:
			state = "draft"
		}
	}
	return with(s.pullShort(t), obj{
		"merged": p.merged(), "mergeable": mergeable, "rebaseable": mergeable, "mergeable_state": state,
		"merged_by": s.userView(p.mergedBy), "comments": len(t.comments), "review_comments": 0,
		"maintainer_can_modify": false, "commits": len(t.repo.between(base, p.headSHA)),
		"additions": adds, "deletions": dels, "changed_files": len(files),
	})
}

// pullChanges is the pull request's diff: from the common base to its head.
func (s *Server) pullChanges(t *thread) []change {
	head := t.repo.objects[t.pull.headSHA]
	if head == nil {
		return nil
	}
	var from map[string]file
	if base := t.repo.mergeBase(s.baseSHA(t), head.sha); base != nil {
		from = base.files
	}
	return changes(from, head.files)
}

func (s *Server) changeView(r *repo, sha string, c change) obj {
	view := obj{
		"sha": c.sha, "filename": c.name, "status": c.status,
		"additions": c.additions, "deletions": c.removal, "changes": c.additions + c.removal,
		"blob_url":     fmt.Sprintf("%s/blob/%s/%s", s.repoWeb(r), sha, escapePath(c.name)),
		"raw_url":      fmt.Sprintf("%s/raw/%s/%s", s.repoWeb(r), sha, escapePath(c.name)),
		"contents_url": fmt.Sprintf("%s/contents/%s?ref=%s", s.repoAPI(r), escapePath(c.name), sha),
	}
	if c.patch != "" {
		view["patch"] = c.patch
	}
	if c.before != "" {
		view["previous_filename"] = c.before
	}
	return view
}

// commitView is a commit as lists show it.
func (s *Server) commitView(r *repo, c *commit) obj {
	url := s.repoAPI(r) + "/commits/" + c.sha
	name := c.author.name
	if name == "" {
		name = c.author.login
	}
	who := obj{"name": name, "email": c.author.mail(), "date": stamp(c.when)}
	parents := []any{}
	for _, sha := range c.parents {
		parents = append(parents, obj{
			"sha": sha, "url": s.repoAPI(r) + "/commits/" + sha, "html_url": s.repoWeb(r) + "/commit/" + sha,
		})
	}
	return obj{
		"sha": c.sha, "node_id": nodeID("Commit", int64(len(c.sha))),
		"commit": obj{
			"author": who, "committer": who, "message": c.message,
			"tree": obj{"sha": c.tree, "url": s.repoAPI(r) + "/git/trees/" + c.tree},
			"url":  s.repoAPI(r) + "/git/commits/" + c.sha, "comment_count": 0,
			"verification": obj{
				"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil,
			},
		},
		"url": url, "html_url": s.repoWeb(r) + "/commit/" + c.sha, "comments_url": url + "/comments",
		"author": s.userView(c.author), "committer": s.userView(c.author), "parents": parents,
	}
}

// fullCommitView adds what changed.
func (s *Server) fullCommitView(r *repo, c *commit) obj {
	var from map[string]file
	if len(c.parents) > 0 {
		if parent := r.objects[c.parents[0]]; parent != nil {
			from = parent.files
		}
	}
	adds, dels, files := 0, 0, []any{}
	for _, ch := range changes(from, c.files) {
		adds, dels = adds+ch.additions, dels+ch.removal
		files = append(files, s.changeView(r, c.sha, ch))
	}
	return with(s.commitView(r, c), obj{
		"stats": obj{"total": adds + dels, "additions": adds, "deletions": dels}, "files": files,
	})
}
