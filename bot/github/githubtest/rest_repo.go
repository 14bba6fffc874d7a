package githubtest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

func (s *Server) getMeta(*call) *reply {
	return answer(http.StatusOK, obj{
		"verifiable_password_authentication": false,
		"hooks":                              []any{"127.0.0.0/8"}, "web": []any{"127.0.0.0/8"},
		"api": []any{"127.0.0.0/8"}, "git": []any{"127.0.0.0/8"},
	})
}

func (s *Server) getUser(c *call) *reply {
	return answer(http.StatusOK, s.publicUserView(c.who.user))
}

func (s *Server) getApp(*call) *reply {
	view, _ := s.appView(true).(obj) // Only the App itself comes here.
	return answer(http.StatusOK, with(view, obj{"installations_count": len(s.installations)}))
}

func (s *Server) listInstallations(c *call) *reply {
	after := since(c.r)
	var recent []*installation
	for _, i := range s.installations {
		if !i.created.Before(after) {
			recent = append(recent, i)
		}
	}
	return list(s, c, recent, func(i *installation) any { return s.installationView(i) }, nil)
}

func (s *Server) findInstallation(id int64) *installation {
	for _, i := range s.installations {
		if i.id == id {
			return i
		}
	}
	return nil
}

func (s *Server) getInstallation(c *call) *reply {
	if i := s.findInstallation(c.id("installation_id")); i != nil {
		return answer(http.StatusOK, s.installationView(i))
	}
	return notFound()
}

func (s *Server) getRepoInstallation(c *call) *reply {
	if i := s.installationFor(c.repo); i != nil {
		return answer(http.StatusOK, s.installationView(i))
	}
	return notFound()
}

func (s *Server) getOrgInstallation(c *call) *reply {
	for _, i := range s.installations {
		if i.account.kind == "Organization" && strings.EqualFold(i.account.login, c.params["org"]) {
			return answer(http.StatusOK, s.installationView(i))
		}
	}
	return notFound()
}

// installationTokenLife is how long an installation's token works.
// Source: docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app
const installationTokenLife = time.Hour

func (s *Server) createInstallationToken(c *call) *reply {
	i := s.findInstallation(c.id("installation_id"))
	if i == nil {
		return notFound()
	}
	permissions := s.opts.App.Permissions
	if wanted, ok := c.body["permissions"].(map[string]any); ok {
		permissions = map[string]string{}
		for name, level := range wanted {
			level, _ := level.(string)
			has := s.opts.App.Permissions[name]
			if has == "" || (level != "read" && has == "read") {
				return problem(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
			}
			permissions[name] = level
		}
	}
	repos, refusal := s.chosenRepos(i, c)
	if refusal != nil {
		return refusal
	}
	value := "ghs_" + randomText(36)
	expires := s.now().Add(installationTokenLife)
	who := &caller{
		key:  fmt.Sprintf("installation/%d", i.id),
		user: s.account(s.opts.App.Slug + "[bot]"), installation: i,
		permissions: permissions, repos: i.repos, expires: expires,
	}
	selection := "all"
	if i.repos != nil || repos != nil {
		selection = "selected"
	}
	out := obj{
		"token": value, "expires_at": stamp(expires), "permissions": permissions, "repository_selection": selection,
	}
	if repos != nil {
		views := []any{}
		who.repos = nil
		for _, r := range repos {
			who.repos = append(who.repos, r.fullName())
			views = append(views, s.memberRepoView(r))
		}
		out["repositories"] = views
	}
	s.tokens[value] = who
	return answer(http.StatusCreated, out)
}

// chosenRepos are the repositories that a token was asked for; nil is all.
func (s *Server) chosenRepos(i *installation, c *call) ([]*repo, *reply) {
	names, _ := c.body["repositories"].([]any)
	ids, _ := c.body["repository_ids"].([]any)
	if len(names)+len(ids) == 0 {
		return nil, nil
	}
	var chosen []*repo
	for _, r := range s.repos {
		for _, name := range names {
			if name == r.name && i.covers(r) {
				chosen = append(chosen, r)
			}
		}
		for _, id := range ids {
			if id == float64(r.id) && i.covers(r) {
				chosen = append(chosen, r)
			}
		}
	}
	if len(chosen) != len(names)+len(ids) {
		return nil, problem(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.")
	}
	return chosen, nil
}

func (s *Server) revokeInstallationToken(c *call) *reply {
	for value, who := range s.tokens {
		if who == c.who {
			delete(s.tokens, value)
		}
	}
	return answer(http.StatusNoContent, nil)
}

// memberRepoView is a repository in lists of what somebody can reach.
func (s *Server) memberRepoView(r *repo) obj {
	return with(s.repoView(r), obj{"permissions": rolePermissions("read")})
}

func (s *Server) listInstallationRepos(c *call) *reply {
	var reachable []*repo
	for _, name := range sortedKeys(s.repos) {
		if r := s.repos[name]; c.who.reaches(r) {
			reachable = append(reachable, r)
		}
	}
	selection := "all"
	if c.who.repos != nil {
		selection = "selected"
	}
	return list(s, c, reachable, func(r *repo) any { return s.memberRepoView(r) }, func(page []any) any {
		return obj{"total_count": len(reachable), "repository_selection": selection, "repositories": page}
	})
}

func (s *Server) getRepo(c *call) *reply {
	role := "read"
	if c.who.user != nil && c.who.installation == nil {
		role = c.repo.role(c.who.user.login)
	}
	return answer(http.StatusOK, s.fullRepoView(c.repo, role))
}

// legacyPermission is the coarser word that the permission operation gives
// next to the role.
var legacyPermission = map[string]string{
	"none": "none", "read": "read", "triage": "read", "write": "write", "maintain": "write", "admin": "admin",
}

func (s *Server) getPermission(c *call) *reply {
	if c.who.installation == nil {
		if c.who.user == nil {
			return problem(http.StatusUnauthorized, "Requires authentication")
		}
		if roleRank[c.repo.role(c.who.user.login)] < roleRank["write"] {
			return problem(http.StatusForbidden, "Must have push access to view collaborator permission.")
		}
	}
	login := c.params["username"]
	a, ok := s.accounts[strings.ToLower(login)]
	if !ok || a.kind == "Organization" {
		return problem(http.StatusNotFound, login+" is not a user")
	}
	role := c.repo.role(a.login)
	return answer(http.StatusOK, obj{
		"permission": legacyPermission[role], "role_name": role,
		"user": with(s.userObj(a), obj{"permissions": rolePermissions(role), "role_name": role}),
	})
}

// onTeam runs f with the team of the path, if the caller may look at teams.
func (s *Server) onTeam(c *call, f func(*team) *reply) *reply {
	who := c.who
	if who.anonymous() {
		return problem(http.StatusUnauthorized, "Requires authentication")
	}
	if who.permissions != nil && !who.allows("members", "read") {
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	}
	if who.permissions == nil && !who.hasScope("read:org", "write:org", "admin:org", "repo") {
		return notFound()
	}
	tm := s.teams[strings.ToLower(c.params["org"]+"/"+c.params["team_slug"])]
	if tm == nil {
		return notFound()
	}
	return f(tm)
}

func (s *Server) getTeam(c *call) *reply {
	return s.onTeam(c, func(tm *team) *reply { return answer(http.StatusOK, s.teamView(tm)) })
}

func (s *Server) getMembership(c *call) *reply {
	return s.onTeam(c, func(tm *team) *reply {
		login := c.params["username"]
		role, ok := tm.members[strings.ToLower(login)]
		if !ok {
			return notFound()
		}
		state := "active"
		if role == invited {
			role, state = "member", "pending"
		}
		return answer(http.StatusOK, obj{
			"url": fmt.Sprintf("%s/organizations/%s/team/%d/memberships/%s", s.api(), tm.org, tm.id, login), "role": role, "state": state,
		})
	})
}
