package githubtest

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// obj is a JSON object. The stand-in builds its answers as maps since GitHub's
// objects have many constant fields and differ a little from place to place.
type obj = map[string]any

// with returns a copy of o that has more on top.
func with(o obj, more obj) obj {
	out := make(obj, len(o)+len(more))
	for k, v := range o {
		out[k] = v
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// stampOrNull is for times that may not have come yet.
func stampOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// nodeID is an id of the GraphQL API, in its older form.
func nodeID(kind string, id int64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "0%d:%s%d", len(kind), kind, id))
}

// web is where a browser finds things, without a trailing slash.
func (s *Server) web() string { return s.url }

// api is the base of the REST API's URLs, without a trailing slash.
func (s *Server) api() string {
	if s.opts.Enterprise {
		return s.url + "/api/v3"
	}
	return s.url
}

func (s *Server) repoAPI(r *repo) string { return s.api() + "/repos/" + r.fullName() }
func (s *Server) repoWeb(r *repo) string { return s.web() + "/" + r.fullName() }

// userView is GitHub's simple-user.
func (s *Server) userView(a *account) any {
	if a == nil {
		return nil
	}
	return s.userObj(a)
}

func (s *Server) userObj(a *account) obj {
	base := s.api() + "/users/" + a.login
	html := s.web() + "/" + a.login
	if a.kind == "Bot" {
		html = s.web() + "/apps/" + strings.TrimSuffix(a.login, "[bot]")
	}
	return obj{
		"login": a.login, "id": a.id, "node_id": nodeID("User", a.id),
		"avatar_url":  fmt.Sprintf("%s/avatars/%s", s.web(), a.login),
		"gravatar_id": "", "url": base, "html_url": html,
		"followers_url":       base + "/followers",
		"following_url":       base + "/following{/other_user}",
		"gists_url":           base + "/gists{/gist_id}",
		"starred_url":         base + "/starred{/owner}{/repo}",
		"subscriptions_url":   base + "/subscriptions",
		"organizations_url":   base + "/orgs",
		"repos_url":           base + "/repos",
		"events_url":          base + "/events{/privacy}",
		"received_events_url": base + "/received_events",
		"type":                a.kind, "site_admin": false, "user_view_type": "public",
	}
}

// publicUserView is what GET /user answers.
func (s *Server) publicUserView(a *account) obj {
	return with(s.userObj(a), obj{
		"name": orNull(a.name), "company": nil, "blog": "", "location": nil,
		"email": orNull(a.email), "hireable": nil, "bio": nil, "twitter_username": nil,
		"public_repos": 0, "public_gists": 0, "followers": 0, "following": 0,
		"created_at": stamp(a.created), "updated_at": stamp(a.created),
	})
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// orgView is the organization of a webhook's payload.
func (s *Server) orgView(a *account) obj {
	base := s.api() + "/orgs/" + a.login
	return obj{
		"login": a.login, "id": a.id, "node_id": nodeID("Organization", a.id), "url": base,
		"repos_url": base + "/repos", "events_url": base + "/events", "hooks_url": base + "/hooks",
		"issues_url": base + "/issues", "members_url": base + "/members{/member}",
		"public_members_url": base + "/public_members{/member}",
		"avatar_url":         fmt.Sprintf("%s/avatars/%s", s.web(), a.login), "description": "",
	}
}

// repoLinks are the URL templates of a repository, relative to its own URL.
var repoLinks = map[string]string{
	"forks_url": "/forks", "keys_url": "/keys{/key_id}",
	"collaborators_url": "/collaborators{/collaborator}", "teams_url": "/teams",
	"hooks_url": "/hooks", "issue_events_url": "/issues/events{/number}",
	"events_url": "/events", "assignees_url": "/assignees{/user}",
	"branches_url": "/branches{/branch}", "tags_url": "/tags", "blobs_url": "/git/blobs{/sha}",
	"git_tags_url": "/git/tags{/sha}", "git_refs_url": "/git/refs{/sha}",
	"trees_url": "/git/trees{/sha}", "statuses_url": "/statuses/{sha}",
	"languages_url": "/languages", "stargazers_url": "/stargazers",
	"contributors_url": "/contributors", "subscribers_url": "/subscribers",
	"subscription_url": "/subscription", "commits_url": "/commits{/sha}",
	"git_commits_url": "/git/commits{/sha}", "comments_url": "/comments{/number}",
	"issue_comment_url": "/issues/comments{/number}", "contents_url": "/contents/{+path}",
	"compare_url": "/compare/{base}...{head}", "merges_url": "/merges",
	"archive_url": "/{archive_format}{/ref}", "downloads_url": "/downloads",
	"issues_url": "/issues{/number}", "pulls_url": "/pulls{/number}",
	"milestones_url":    "/milestones{/number}",
	"notifications_url": "/notifications{?since,all,participating}",
	"labels_url":        "/labels{/name}", "releases_url": "/releases{/id}",
	"deployments_url": "/deployments",
}

// repoView is a repository as lists, pull requests and webhooks show it.
func (s *Server) repoView(r *repo) obj {
	base, html := s.repoAPI(r), s.repoWeb(r)
	bare := strings.TrimPrefix(strings.TrimPrefix(html, "https://"), "http://")
	open, forks := 0, 0
	for _, t := range r.threads {
		if t.state == "open" {
			open++
		}
	}
	for _, other := range s.repos {
		if other.parent == r {
			forks++
		}
	}
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	view := obj{
		"id": r.id, "node_id": nodeID("Repository", r.id), "name": r.name, "full_name": r.fullName(),
		"private": r.private, "owner": s.userObj(r.owner), "html_url": html,
		"description": orNull(r.description), "fork": r.parent != nil, "url": base,
		"created_at": stamp(r.created), "updated_at": stamp(r.pushed), "pushed_at": stamp(r.pushed),
		"git_url": "git://" + bare + ".git", "ssh_url": "git@" + strings.Replace(bare, "/", ":", 1) + ".git",
		"clone_url": html + ".git", "svn_url": html, "homepage": nil, "size": 1,
		"stargazers_count": 0, "watchers_count": 0, "language": nil,
		"has_issues": true, "has_projects": true, "has_downloads": true, "has_wiki": true,
		"has_pages": false, "has_discussions": false, "forks_count": forks, "mirror_url": nil,
		"archived": false, "disabled": false, "open_issues_count": open, "license": nil,
		"allow_forking": true, "is_template": false, "web_commit_signoff_required": false,
		"topics": []any{}, "visibility": visibility, "forks": forks, "open_issues": open,
		"watchers": 0, "default_branch": r.defaultBranch, "custom_properties": obj{},
	}
	for key, suffix := range repoLinks {
		view[key] = base + suffix
	}
	return view
}

// mergeSettings are shown to those who may push, and in pull requests.
func mergeSettings() obj {
	return obj{
		"allow_squash_merge": true, "allow_merge_commit": true, "allow_rebase_merge": true,
		"allow_auto_merge": false, "delete_branch_on_merge": false, "allow_update_branch": false,
		"use_squash_pr_title_as_default": false,
		"squash_merge_commit_message":    "COMMIT_MESSAGES", "squash_merge_commit_title": "COMMIT_OR_PR_TITLE",
		"merge_commit_message": "PR_TITLE", "merge_commit_title": "MERGE_MESSAGE",
	}
}

// fullRepoView is what GET /repos/{owner}/{repo} answers.
func (s *Server) fullRepoView(r *repo, role string) obj {
	more := mergeSettings()
	more["permissions"] = rolePermissions(role)
	more["network_count"], more["subscribers_count"], more["temp_clone_token"] = 0, 0, nil
	if r.owner.kind == "Organization" {
		more["organization"] = s.userObj(r.owner)
	}
	if r.parent != nil {
		more["parent"], more["source"] = s.repoView(r.parent), s.repoView(r.parent)
	}
	return with(s.repoView(r), more)
}

func rolePermissions(role string) obj {
	rank := roleRank[role]
	return obj{
		"admin": rank >= 5, "maintain": rank >= 4, "push": rank >= 3,
		"triage": rank >= 2, "pull": rank >= 1,
	}
}

// association says what a has to do with r, as comments show it.
func (s *Server) association(a *account, r *repo) string {
	_, invited := r.roles[strings.ToLower(a.login)]
	switch {
	case a == r.owner:
		return "OWNER"
	case invited && r.owner.kind == "Organization" && roleRank[r.role(a.login)] >= roleRank["write"]:
		return "MEMBER"
	case invited && roleRank[r.role(a.login)] >= roleRank["triage"]:
		return "COLLABORATOR"
	}
	for sha := range r.ancestors(r.branches[r.defaultBranch]) {
		if r.objects[sha].author == a {
			return "CONTRIBUTOR"
		}
	}
	return "NONE"
}

// reactionKinds is every reaction that there is, in GitHub's order.
var reactionKinds = []string{"+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"}

func rollup(url string, reactions []*reaction) obj {
	sum := obj{"url": url + "/reactions", "total_count": len(reactions)}
	for _, kind := range reactionKinds {
		n := 0
		for _, r := range reactions {
			if r.content == kind {
				n++
			}
		}
		sum[kind] = n
	}
	return sum
}

func (s *Server) reactionView(r *reaction) obj {
	return obj{
		"id": r.id, "node_id": nodeID("Reaction", r.id), "user": s.userView(r.user),
		"content": r.content, "created_at": stamp(r.created),
	}
}

// appView is the GitHub App; null when something was not done by it.
func (s *Server) appView(viaApp bool) any {
	app := s.opts.App
	if !viaApp || app == nil {
		return nil
	}
	return obj{
		"id": app.ID, "slug": app.Slug, "node_id": nodeID("Integration", app.ID),
		"client_id": app.ClientID, "owner": s.userObj(s.account(app.Owner)), "name": app.Name,
		"description": "", "external_url": s.web(), "html_url": s.web() + "/apps/" + app.Slug,
		"created_at": stamp(s.started), "updated_at": stamp(s.started),
		"permissions": app.Permissions, "events": app.Events,
	}
}

func (s *Server) installationView(i *installation) obj {
	app := s.opts.App
	selection := "all"
	if i.repos != nil {
		selection = "selected"
	}
	base := fmt.Sprintf("%s/app/installations/%d", s.api(), i.id)
	html := fmt.Sprintf("%s/settings/installations/%d", s.web(), i.id)
	if i.account.kind == "Organization" {
		html = fmt.Sprintf("%s/organizations/%s/settings/installations/%d", s.web(), i.account.login, i.id)
	}
	return obj{
		"id": i.id, "account": s.userObj(i.account), "repository_selection": selection,
		"access_tokens_url": base + "/access_tokens", "repositories_url": s.api() + "/installation/repositories",
		"html_url": html, "app_id": app.ID, "app_slug": app.Slug, "client_id": app.ClientID,
		"target_id": i.account.id, "target_type": i.account.kind,
		"permissions": app.Permissions, "events": app.Events,
		"created_at": stamp(i.created), "updated_at": stamp(i.created), "single_file_name": nil,
		"has_multiple_single_files": false, "single_file_paths": []any{},
		"suspended_by": nil, "suspended_at": nil,
	}
}
