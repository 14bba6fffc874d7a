package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"
)

// maxDescription is the longest description of a deployment or of one of its
// statuses, in characters.
const maxDescription = 140

func (s *Server) listDeployments(c *call) *reply {
	q := c.r.URL.Query()
	fits := func(key, value string) bool {
		wanted := q.Get(key)
		// GitHub's default is the word "none" for no filter.
		return wanted == "" || wanted == "none" || wanted == value
	}
	var found []*deployment
	for _, d := range c.repo.deployments {
		if fits("sha", d.sha) && fits("ref", d.ref) && fits("task", d.task) && fits("environment", d.environment) {
			found = append(found, d)
		}
	}
	slices.Reverse(found)
	return list(s, c, found, func(d *deployment) any { return s.deploymentView(d) }, nil)
}

func (s *Server) createDeployment(c *call) *reply {
	ref := c.text("ref")
	at := c.repo.resolve(ref)
	if at == nil {
		return problem(http.StatusUnprocessableEntity, "No ref found for: "+ref)
	}
	if utf8.RuneCountInString(c.text("description")) > maxDescription {
		return invalid("Deployment", "description", "custom", "description is too long (maximum is 140 characters)")
	}
	if c.flag("auto_merge", true) {
		if out := s.autoMerge(c, ref, at); out != nil {
			return out
		}
	}
	if out := s.requireContexts(c, ref, at.sha); out != nil {
		return out
	}
	d := &deployment{
		id: s.nextID(), repo: c.repo, sha: at.sha, ref: ref, task: "deploy", payload: obj{},
		environment: "production", transient: c.flag("transient_environment", false),
		creator: c.who.user, viaApp: c.who.viaApp(), created: s.now(), updated: s.now(),
	}
	if task := c.text("task"); task != "" {
		d.task = task
	}
	if environment := c.text("environment"); environment != "" {
		d.environment = environment
	}
	d.original = d.environment
	d.production = c.flag("production_environment", d.environment == "production")
	if payload := c.body["payload"]; payload != nil && payload != "" {
		d.payload = payload
	}
	if text, ok := c.body["description"].(string); ok {
		d.description = &text
	}
	c.repo.deployments = append(c.repo.deployments, d)
	s.touch()
	s.announce(c.repo, "deployment", "created", c.who.user, obj{
		"deployment": s.deploymentView(d), "workflow": nil, "workflow_run": nil,
	})
	return answer(http.StatusCreated, s.deploymentView(d))
}

// autoMerge brings the default branch into a branch that is behind it, which
// GitHub does by default before it makes a deployment.
func (s *Server) autoMerge(c *call, ref string, at *commit) *reply {
	r := c.repo
	main, known := r.branches[r.defaultBranch]
	if _, branch := r.branches[ref]; !known || !branch || ref == r.defaultBranch || r.ancestors(at.sha)[main] {
		return nil
	}
	files, clean := r.merge(at.sha, main)
	if !clean {
		return problem(http.StatusConflict, fmt.Sprintf("Conflict merging %s into %s.", r.defaultBranch, ref))
	}
	merged := s.newCommit(r, files, fmt.Sprintf("Merge branch '%s' into %s", r.defaultBranch, ref), c.who.user, at.sha, main)
	s.moveBranch(r, ref, merged.sha, c.who.user)
	return answer(http.StatusAccepted, obj{"message": fmt.Sprintf("Auto-merged %s into %s on deployment.", r.defaultBranch, ref)})
}

// requireContexts refuses when a commit status that must be green is not. With
// no list given, that is every status that was ever reported for the commit.
func (s *Server) requireContexts(c *call, ref, sha string) *reply {
	states := map[string]string{}
	var wanted []string
	for _, st := range c.repo.newestStatuses(sha) {
		states[st.context] = st.state
		wanted = append(wanted, st.context)
	}
	if list, ok := c.body["required_contexts"].([]any); ok {
		wanted = nil
		for _, name := range list {
			wanted = append(wanted, fmt.Sprint(name))
		}
	}
	var missing []any
	for _, name := range wanted {
		state := states[name]
		if state == "" {
			state = "pending"
		}
		if state != "success" {
			missing = append(missing, obj{"context": name, "state": state})
		}
	}
	if missing == nil {
		return nil
	}
	return problem(http.StatusConflict, fmt.Sprintf("Conflict: Commit status checks failed for %s.", ref), obj{
		"errors": []any{obj{"contexts": missing, "resource": "Deployment", "field": "required_contexts", "code": "invalid"}},
	})
}

// onDeployment runs f with the deployment of the path.
func (s *Server) onDeployment(c *call, f func(*deployment) *reply) *reply {
	for _, d := range c.repo.deployments {
		if d.id == c.id("deployment_id") {
			return f(d)
		}
	}
	return notFound()
}

func (s *Server) getDeployment(c *call) *reply {
	return s.onDeployment(c, func(d *deployment) *reply { return answer(http.StatusOK, s.deploymentView(d)) })
}

// deleteDeployment takes only an inactive one, or the only one that there is.
func (s *Server) deleteDeployment(c *call) *reply {
	return s.onDeployment(c, func(d *deployment) *reply {
		if d.state() != "inactive" && len(c.repo.deployments) > 1 {
			return problem(http.StatusUnprocessableEntity, "We cannot delete an active deployment unless it is the only deployment in a given environment.")
		}
		c.repo.deployments = slices.DeleteFunc(c.repo.deployments, func(x *deployment) bool { return x == d })
		s.touch()
		return answer(http.StatusNoContent, nil)
	})
}

func (s *Server) listDeploymentStatuses(c *call) *reply {
	return s.onDeployment(c, func(d *deployment) *reply {
		newest := slices.Clone(d.statuses)
		slices.Reverse(newest)
		return list(s, c, newest, func(st *deploymentStatus) any { return s.deploymentStatusView(d, st) }, nil)
	})
}

func (s *Server) createDeploymentStatus(c *call) *reply {
	return s.onDeployment(c, func(d *deployment) *reply {
		if utf8.RuneCountInString(c.text("description")) > maxDescription {
			return invalid("DeploymentStatus", "description", "custom", "description is too long (maximum is 140 characters)")
		}
		log := c.text("log_url")
		if log == "" {
			log = c.text("target_url")
		}
		if name := c.text("environment"); name != "" {
			d.environment = name
		}
		st := s.addDeploymentStatus(d, &deploymentStatus{
			state: c.text("state"), description: c.text("description"), environment: d.environment,
			environmentURL: c.text("environment_url"), logURL: log, creator: c.who.user, viaApp: c.who.viaApp(),
		})
		if st.state == "success" && c.flag("auto_inactive", true) {
			s.deactivateOthers(d, c)
		}
		return answer(http.StatusCreated, s.deploymentStatusView(d, st))
	})
}

// deactivateOthers ends the earlier deployments of the environment that had
// succeeded, unless they are transient or of production.
// Source: docs.github.com/rest/deployments/statuses#inactive-deployments
func (s *Server) deactivateOthers(d *deployment, c *call) {
	for _, other := range d.repo.deployments {
		if other == d {
			return
		}
		if other.environment == d.environment && other.state() == "success" && !other.transient && !other.production {
			s.addDeploymentStatus(other, &deploymentStatus{
				state: "inactive", environment: other.environment, creator: c.who.user, viaApp: c.who.viaApp(),
			})
		}
	}
}

func (s *Server) addDeploymentStatus(d *deployment, st *deploymentStatus) *deploymentStatus {
	st.id, st.created = s.nextID(), s.now()
	d.statuses = append(d.statuses, st)
	d.updated = st.created
	s.touch()
	s.announce(d.repo, "deployment_status", "created", st.creator, obj{
		"deployment_status": s.deploymentStatusView(d, st), "deployment": s.deploymentView(d),
		"check_run": nil, "workflow": nil, "workflow_run": nil,
	})
	return st
}

// statusesPerContext is how many statuses a SHA may get for each context.
// Source: docs.github.com/rest/commits/statuses#create-a-commit-status
const statusesPerContext = 1000

func (s *Server) createStatus(c *call) *reply {
	sha := c.params["sha"]
	if len(sha) != 40 || c.repo.objects[sha] == nil {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
	}
	st := &status{id: s.nextID(), sha: sha, state: c.text("state"), context: "default", creator: c.who.user, created: s.now()}
	if name := c.text("context"); name != "" {
		st.context = name
	}
	for key, field := range map[string]**string{"description": &st.description, "target_url": &st.targetURL} {
		if text, ok := c.body[key].(string); ok {
			*field = &text
		}
	}
	if st.description != nil && utf8.RuneCountInString(*st.description) > maxDescription {
		return invalid("Status", "description", "custom", "description is too long (maximum is 140 characters)")
	}
	same := 0
	for _, old := range c.repo.statuses {
		if old.sha == sha && old.context == st.context {
			same++
		}
	}
	if same >= statusesPerContext {
		return invalid("Status", "context", "custom", "This SHA and context has reached the maximum number of statuses.")
	}
	c.repo.statuses = append(c.repo.statuses, st)
	s.touch()
	return answer(http.StatusCreated, with(s.statusView(c.repo, st), obj{"creator": s.userView(c.who.user)}))
}

func (s *Server) getCombinedStatus(c *call) *reply {
	at := c.repo.resolve(c.params["ref"])
	if at == nil {
		return problem(http.StatusNotFound, "No commit found for the ref "+c.params["ref"])
	}
	newest := c.repo.newestStatuses(at.sha)
	return list(s, c, newest, func(st *status) any { return s.statusView(c.repo, st) }, func(page []any) any {
		return obj{
			"state": combined(newest), "statuses": page, "sha": at.sha, "total_count": len(newest),
			"repository": s.repoView(c.repo), "commit_url": s.repoAPI(c.repo) + "/commits/" + at.sha,
			"url": s.repoAPI(c.repo) + "/commits/" + at.sha + "/status",
		}
	})
}

func (s *Server) createCheck(c *call) *reply {
	at := c.repo.objects[c.text("head_sha")]
	if at == nil {
		return problem(http.StatusUnprocessableEntity, "No commit found for SHA: "+c.text("head_sha"))
	}
	x := &checkRun{id: s.nextID(), repo: c.repo, sha: at.sha, status: "queued", detailsURL: s.web(), started: stamp(s.now())}
	x.apply(c, s.now())
	c.repo.checks = append(c.repo.checks, x)
	s.touch()
	return answer(http.StatusCreated, s.checkView(x))
}

// apply takes over what the body sets. A conclusion completes the run.
func (x *checkRun) apply(c *call, now time.Time) {
	for key, field := range map[string]*string{
		"name": &x.name, "external_id": &x.externalID, "details_url": &x.detailsURL, "status": &x.status,
	} {
		if text := c.text(key); text != "" {
			*field = text
		}
	}
	for key, field := range map[string]*any{"started_at": &x.started, "completed_at": &x.completed} {
		if text := c.text(key); text != "" {
			*field = text
		}
	}
	if text := c.text("conclusion"); text != "" {
		x.conclusion, x.status = text, "completed"
		if x.completed == nil {
			x.completed = stamp(now)
		}
	}
	if output, ok := c.body["output"].(map[string]any); ok {
		x.output = output
	}
	if actions, ok := c.body["actions"].([]any); ok {
		x.actions = actions
	}
}

func (s *Server) findCheck(c *call) *checkRun {
	for _, x := range c.repo.checks {
		if x.id == c.id("check_run_id") {
			return x
		}
	}
	return nil
}

func (s *Server) getCheck(c *call) *reply {
	if x := s.findCheck(c); x != nil {
		return answer(http.StatusOK, s.checkView(x))
	}
	return notFound()
}

func (s *Server) updateCheck(c *call) *reply {
	x := s.findCheck(c)
	if x == nil {
		return notFound()
	}
	x.apply(c, s.now())
	s.touch()
	return answer(http.StatusOK, s.checkView(x))
}
