package githubtest

import "fmt"

func (s *Server) deploymentURL(d *deployment) string {
	return fmt.Sprintf("%s/deployments/%d", s.repoAPI(d.repo), d.id)
}

func (s *Server) deploymentView(d *deployment) obj {
	var description any
	if d.description != nil {
		description = *d.description
	}
	return obj{
		"url": s.deploymentURL(d), "id": d.id, "node_id": nodeID("Deployment", d.id), "task": d.task,
		"original_environment": d.original, "environment": d.environment, "description": description,
		"created_at": stamp(d.created), "updated_at": stamp(d.updated),
		"statuses_url": s.deploymentURL(d) + "/statuses", "repository_url": s.repoAPI(d.repo),
		"creator": s.userView(d.creator), "sha": d.sha, "ref": d.ref, "payload": d.payload,
		"transient_environment": d.transient, "production_environment": d.production,
		"performed_via_github_app": s.appView(d.viaApp),
	}
}

func (s *Server) deploymentStatusView(d *deployment, st *deploymentStatus) obj {
	return obj{
		"url": fmt.Sprintf("%s/statuses/%d", s.deploymentURL(d), st.id), "id": st.id,
		"node_id": nodeID("DeploymentStatus", st.id), "state": st.state,
		"creator": s.userView(st.creator), "description": st.description,
		"environment": st.environment, "target_url": st.logURL,
		"created_at": stamp(st.created), "updated_at": stamp(st.created),
		"deployment_url": s.deploymentURL(d), "repository_url": s.repoAPI(d.repo),
		"environment_url": st.environmentURL, "log_url": st.logURL,
		"performed_via_github_app": s.appView(st.viaApp),
	}
}

// statusView is a commit status without its creator, as the combined status
// shows it.
func (s *Server) statusView(r *repo, st *status) obj {
	view := obj{
		"url": s.repoAPI(r) + "/statuses/" + st.sha, "id": st.id, "node_id": nodeID("StatusContext", st.id),
		"state": st.state, "context": st.context, "description": nil, "target_url": nil,
		"avatar_url": fmt.Sprintf("%s/avatars/%s", s.web(), st.creator.login),
		"created_at": stamp(st.created), "updated_at": stamp(st.created),
	}
	if st.description != nil {
		view["description"] = *st.description
	}
	if st.targetURL != nil {
		view["target_url"] = *st.targetURL
	}
	return view
}

// newestStatuses is the last status of each context, in order of appearance.
func (r *repo) newestStatuses(sha string) []*status {
	var list []*status
	at := map[string]int{}
	for _, st := range r.statuses {
		if st.sha != sha {
			continue
		}
		if i, seen := at[st.context]; seen {
			list[i] = st
			continue
		}
		at[st.context] = len(list)
		list = append(list, st)
	}
	return list
}

// combined is failure if anything failed, pending if anything is or nothing
// was said, else success.
func combined(statuses []*status) string {
	state := "success"
	if len(statuses) == 0 {
		state = "pending"
	}
	for _, st := range statuses {
		switch st.state {
		case "failure", "error":
			return "failure"
		case "pending":
			state = "pending"
		}
	}
	return state
}

func (s *Server) checkView(c *checkRun) obj {
	url := fmt.Sprintf("%s/check-runs/%d", s.repoAPI(c.repo), c.id)
	output := with(obj{
		"title": nil, "summary": nil, "text": nil, "annotations_count": 0, "annotations_url": url + "/annotations",
	}, nil)
	for _, key := range []string{"title", "summary", "text"} {
		if v, ok := c.output[key]; ok {
			output[key] = v
		}
	}
	if list, ok := c.output["annotations"].([]any); ok {
		output["annotations_count"] = len(list)
	}
	pulls := []any{}
	for _, t := range c.repo.threads {
		if t.pull != nil && t.pull.headSHA == c.sha && t.state == "open" && t.pull.headRepo == c.repo {
			pulls = append(pulls, obj{
				"id": t.pull.id, "number": t.number, "url": s.pullAPI(t),
				"head": s.shortEnd(t.pull.headRepo, t.pull.head, c.sha),
				"base": s.shortEnd(t.repo, t.pull.base, s.baseSHA(t)),
			})
		}
	}
	return obj{
		"id": c.id, "node_id": nodeID("CheckRun", c.id), "head_sha": c.sha, "external_id": c.externalID,
		"url": url, "html_url": fmt.Sprintf("%s/runs/%d", s.repoWeb(c.repo), c.id),
		"details_url": c.detailsURL, "status": c.status, "conclusion": c.conclusion,
		"started_at": c.started, "completed_at": c.completed, "output": output, "name": c.name,
		"check_suite": obj{"id": c.id + 1}, "app": s.appView(true), "pull_requests": pulls,
	}
}

func (s *Server) shortEnd(r *repo, ref, sha string) obj {
	return obj{"ref": ref, "sha": sha, "repo": obj{"id": r.id, "url": s.repoAPI(r), "name": r.name}}
}
