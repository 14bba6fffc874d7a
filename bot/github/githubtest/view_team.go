package githubtest

import "fmt"

// teamView is a team as GET /orgs/{org}/teams/{team_slug} answers it.
func (s *Server) teamView(tm *team) obj {
	org := s.account(tm.org)
	self := fmt.Sprintf("%s/organizations/%d/team/%d", s.api(), org.id, tm.id)
	web := fmt.Sprintf("%s/orgs/%s", s.web(), tm.org)
	return obj{
		"id": tm.id, "node_id": nodeID("Team", tm.id), "url": self, "html_url": web + "/teams/" + tm.slug,
		"name": tm.slug, "slug": tm.slug, "description": "", "privacy": "closed", "notification_setting": "notifications_enabled",
		"permission": "pull", "members_url": self + "/members{/member}", "repositories_url": self + "/repos", "parent": nil,
		"members_count": len(tm.members), "repos_count": 0, "created_at": stamp(org.created), "updated_at": stamp(org.created), "type": "organization",
		"organization": with(s.orgView(org), obj{
			"html_url": web, "has_organization_projects": true, "has_repository_projects": true, "public_repos": 0, "public_gists": 0,
			"followers": 0, "following": 0, "type": "Organization", "created_at": stamp(org.created), "updated_at": stamp(org.created), "archived_at": nil,
		}),
	}
}
