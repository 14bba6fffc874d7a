package githubtest

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// authKind is how a caller must be signed in for an operation.
type authKind int

const (
	byToken        authKind = iota // any token, or none for what is public
	byUser                         // a user's token
	byJWT                          // the App itself
	byInstallation                 // an installation's token
	byAnyone                       // nobody is asked
)

// route is one operation and what it takes to be allowed to call it.
type route struct {
	method   string
	template string
	handle   func(*Server, *call) *reply
	auth     authKind
	// level and permissions are of fine-grained and installation tokens: one
	// of the permissions at this level ("read" or "write") is enough.
	level       string
	permissions []string
	scopes      []string // of classic tokens, besides repo and public_repo
	role        string   // that a user needs in the repository
	appOnly     bool     // only for Apps

	pattern *regexp.Regexp
	names   []string
}

func (rt *route) name() string { return rt.method + " " + rt.template }

// need is the permission that a group of operations asks for.
type need struct {
	permissions []string
	scopes      []string
	role        string // for writing
	readRole    string // for reading
	appOnly     bool   // for writing
}

var (
	talk     = need{permissions: []string{"issues", "pull_requests"}, role: "read"}
	pulls    = need{permissions: []string{"pull_requests"}}
	contents = need{permissions: []string{"contents"}}
	deploys  = need{permissions: []string{"deployments"}, scopes: []string{"repo_deployment"}, role: "write"}
	stats    = need{permissions: []string{"statuses"}, scopes: []string{"repo:status"}, role: "write"}
	checks   = need{permissions: []string{"checks"}, role: "write", appOnly: true}
	metadata = need{permissions: []string{"metadata"}}
	hooksOf  = need{permissions: []string{"repository_hooks"}, scopes: []string{"admin:repo_hook", "read:repo_hook"}, role: "admin", readRole: "admin"}
)

// routes is the table of operations, the most specific paths first.
var routes = sync.OnceValue(func() []*route {
	var table []*route
	add := func(auth authKind, n need, method, template string, handle func(*Server, *call) *reply) {
		rt := &route{method: method, template: template, handle: handle, auth: auth, permissions: n.permissions, scopes: n.scopes}
		if n.permissions != nil {
			rt.level, rt.role = "read", n.readRole
			if method != http.MethodGet {
				rt.level, rt.role, rt.appOnly = "write", n.role, n.appOnly
			}
		}
		rt.compile()
		table = append(table, rt)
	}
	plain := func(auth authKind, method, template string, handle func(*Server, *call) *reply) {
		add(auth, need{}, method, template, handle)
	}
	inRepo := func(n need, method, template string, handle func(*Server, *call) *reply) {
		add(byToken, n, method, "/repos/{owner}/{repo}"+template, handle)
	}
	plain(byAnyone, "GET", "/rate_limit", (*Server).getRateLimit)
	plain(byAnyone, "GET", "/meta", (*Server).getMeta)
	plain(byUser, "GET", "/user", (*Server).getUser)
	plain(byJWT, "GET", "/app", (*Server).getApp)
	plain(byJWT, "GET", "/app/hook/config", (*Server).getAppHook)
	plain(byJWT, "GET", "/app/hook/deliveries", (*Server).listDeliveries)
	plain(byJWT, "GET", "/app/hook/deliveries/{delivery_id}", (*Server).getDelivery)
	plain(byJWT, "POST", "/app/hook/deliveries/{delivery_id}/attempts", (*Server).redeliver)
	plain(byJWT, "GET", "/app/installations", (*Server).listInstallations)
	plain(byJWT, "GET", "/app/installations/{installation_id}", (*Server).getInstallation)
	plain(byJWT, "POST", "/app/installations/{installation_id}/access_tokens", (*Server).createInstallationToken)
	plain(byInstallation, "GET", "/installation/repositories", (*Server).listInstallationRepos)
	plain(byInstallation, "DELETE", "/installation/token", (*Server).revokeInstallationToken)
	plain(byToken, "GET", "/orgs/{org}/teams/{team_slug}", (*Server).getTeam)
	plain(byToken, "GET", "/orgs/{org}/teams/{team_slug}/memberships/{username}", (*Server).getMembership)
	plain(byJWT, "GET", "/orgs/{org}/installation", (*Server).getOrgInstallation)
	plain(byJWT, "GET", "/repos/{owner}/{repo}/installation", (*Server).getRepoInstallation)

	inRepo(metadata, "GET", "", (*Server).getRepo)
	inRepo(metadata, "GET", "/collaborators/{username}/permission", (*Server).getPermission)
	inRepo(contents, "GET", "/branches/{branch}", (*Server).getBranch)
	inRepo(contents, "GET", "/commits/{ref}", (*Server).getCommit)
	inRepo(contents, "GET", "/commits/{commit_sha}/branches-where-head", (*Server).listBranchesAtHead)
	inRepo(contents, "GET", "/compare/{basehead}", (*Server).compare)
	inRepo(contents, "GET", "/contents/{path}", (*Server).getContents)
	inRepo(contents, "GET", "/git/ref/{ref}", (*Server).getRef)
	inRepo(contents, "GET", "/tarball/{ref}", (*Server).getTarball)
	inRepo(stats, "GET", "/commits/{ref}/status", (*Server).getCombinedStatus)
	inRepo(stats, "POST", "/statuses/{sha}", (*Server).createStatus)
	inRepo(checks, "POST", "/check-runs", (*Server).createCheck)
	inRepo(checks, "GET", "/check-runs/{check_run_id}", (*Server).getCheck)
	inRepo(checks, "PATCH", "/check-runs/{check_run_id}", (*Server).updateCheck)
	inRepo(deploys, "GET", "/deployments", (*Server).listDeployments)
	inRepo(deploys, "POST", "/deployments", (*Server).createDeployment)
	inRepo(deploys, "GET", "/deployments/{deployment_id}", (*Server).getDeployment)
	inRepo(deploys, "DELETE", "/deployments/{deployment_id}", (*Server).deleteDeployment)
	inRepo(deploys, "GET", "/deployments/{deployment_id}/statuses", (*Server).listDeploymentStatuses)
	inRepo(deploys, "POST", "/deployments/{deployment_id}/statuses", (*Server).createDeploymentStatus)
	inRepo(hooksOf, "GET", "/hooks", (*Server).listHooks)
	inRepo(hooksOf, "GET", "/hooks/{hook_id}/deliveries", (*Server).listDeliveries)
	inRepo(hooksOf, "GET", "/hooks/{hook_id}/deliveries/{delivery_id}", (*Server).getDelivery)
	inRepo(hooksOf, "POST", "/hooks/{hook_id}/deliveries/{delivery_id}/attempts", (*Server).redeliver)
	inRepo(pulls, "GET", "/pulls", (*Server).listPulls)
	inRepo(pulls, "GET", "/pulls/{pull_number}", (*Server).getPull)
	inRepo(pulls, "GET", "/pulls/{pull_number}/commits", (*Server).listPullCommits)
	inRepo(pulls, "GET", "/pulls/{pull_number}/files", (*Server).listPullFiles)
	inRepo(pulls, "GET", "/commits/{commit_sha}/pulls", (*Server).listPullsWithCommit)
	inRepo(talk, "GET", "/issues/{issue_number}", (*Server).getIssue)
	inRepo(talk, "GET", "/issues/{issue_number}/comments", (*Server).listComments)
	inRepo(talk, "POST", "/issues/{issue_number}/comments", (*Server).createComment)
	inRepo(talk, "GET", "/issues/{issue_number}/reactions", (*Server).listReactions)
	inRepo(talk, "POST", "/issues/{issue_number}/reactions", (*Server).createReaction)
	inRepo(talk, "DELETE", "/issues/{issue_number}/reactions/{reaction_id}", (*Server).deleteReaction)
	inRepo(talk, "GET", "/issues/comments/{comment_id}", (*Server).getComment)
	inRepo(talk, "PATCH", "/issues/comments/{comment_id}", (*Server).updateComment)
	inRepo(talk, "DELETE", "/issues/comments/{comment_id}", (*Server).deleteComment)
	inRepo(talk, "GET", "/issues/comments/{comment_id}/reactions", (*Server).listReactions)
	inRepo(talk, "POST", "/issues/comments/{comment_id}/reactions", (*Server).createReaction)
	inRepo(talk, "DELETE", "/issues/comments/{comment_id}/reactions/{reaction_id}", (*Server).deleteReaction)

	slices.SortStableFunc(table, func(a, b *route) int { return cmp.Compare(b.literal(), a.literal()) })
	return table
})

var parameter = regexp.MustCompile(`\{(\w+)\}`)

// severalSegments are the parameters that may hold slashes. The description
// marks them with x-multi-segment.
var severalSegments = map[string]bool{"ref": true, "path": true, "branch": true, "sha": true}

func (rt *route) compile() {
	expr := parameter.ReplaceAllStringFunc(rt.template, func(p string) string {
		name := strings.Trim(p, "{}")
		rt.names = append(rt.names, name)
		switch {
		case name == "path":
			return "(.*)"
		case severalSegments[name]:
			return "(.+)"
		}
		return "([^/]+)"
	})
	rt.pattern = regexp.MustCompile("^" + expr + "$")
}

// literal is how much of the template is fixed.
func (rt *route) literal() int { return len(parameter.ReplaceAllString(rt.template, "")) }

// findRoute looks for the operation of a path, still escaped, and unescapes
// its parameters.
func findRoute(method, path string) (*route, map[string]string) {
	if strings.HasSuffix(path, "/contents") {
		path += "/"
	}
	for _, rt := range routes() {
		if rt.method != method {
			continue
		}
		match := rt.pattern.FindStringSubmatch(path)
		if match == nil {
			continue
		}
		params := map[string]string{}
		for i, name := range rt.names {
			value, err := url.PathUnescape(match[i+1])
			if err != nil {
				return nil, nil
			}
			params[name] = value
		}
		return rt, params
	}
	return nil, nil
}
