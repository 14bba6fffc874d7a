package githubtest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// announce queues an event for delivery. The caller holds s.mu.
func (s *Server) announce(r *repo, event, action string, sender *account, body obj) {
	h, i := s.hookFor(r, event)
	if h == nil {
		return
	}
	payload := with(obj{"repository": s.repoView(r), "sender": s.userObj(sender)}, body)
	if action != "" {
		payload["action"] = action
	}
	if r.owner.kind == "Organization" {
		payload["organization"] = s.orgView(r.owner)
	}
	if i != nil {
		payload["installation"] = obj{"id": i.id, "node_id": nodeID("Integration", i.id)}
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		s.opts.Log.Error("an event cannot be marshalled", "event", event, "error", err)
		return
	}
	s.enqueue(&delivery{
		Delivery: Delivery{GUID: guid(), Event: event, Action: action, Repo: r.fullName(), Payload: raw},
		hook:     h, repo: r, to: *s.webhook,
	})
}

// Ping sends the event that GitHub sends when a webhook is made.
func (s *Server) Ping(repo string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRepo(repo)
	if err != nil {
		return err
	}
	h, _ := s.hookFor(r, "ping")
	if h == nil {
		return fmt.Errorf("githubtest: %s has no webhook", repo)
	}
	s.announce(r, "ping", "", r.owner, obj{
		"zen": "Anything added dilutes everything else.", "hook_id": h.id, "hook": s.hookView(h),
	})
	return nil
}

// announceComment sends issue_comment.
func (s *Server) announceComment(x *comment, action string, sender *account, more obj) {
	s.announce(x.thread.repo, "issue_comment", action, sender, with(obj{
		"issue": s.issueView(x.thread), "comment": s.commentView(x),
	}, more))
}

// announcePull sends pull_request.
func (s *Server) announcePull(t *thread, action string, sender *account, more obj) {
	s.announce(t.repo, "pull_request", action, sender, with(obj{
		"number": t.number, "pull_request": s.pullView(t),
	}, more))
}

// nowhere is the SHA that stands for no commit.
var nowhere = strings.Repeat("0", 40)

// announcePush sends push, whose repository differs a little from that of the
// other events.
func (s *Server) announcePush(r *repo, branch, before, after string, sender *account) {
	if h, _ := s.hookFor(r, "push"); h == nil {
		return
	}
	created := before == ""
	from := before
	if created {
		before, from = nowhere, r.branches[r.defaultBranch]
		if from == after {
			from = ""
		}
	}
	commits := []any{}
	for _, c := range r.between(from, after) {
		commits = append(commits, s.pushedView(r, c))
	}
	repository := s.repoView(r)
	owner := with(s.userObj(r.owner), obj{"name": r.owner.login, "email": r.owner.mail()})
	repository = with(repository, obj{
		"owner": owner, "created_at": r.created.Unix(), "pushed_at": r.pushed.Unix(),
		"stargazers": 0, "master_branch": r.defaultBranch,
	})
	if r.owner.kind == "Organization" {
		repository["organization"] = r.owner.login
	}
	s.announce(r, "push", "", sender, obj{
		"ref": "refs/heads/" + branch, "before": before, "after": after, "created": created,
		"deleted": false, "forced": !created && !r.ancestors(after)[before], "base_ref": nil,
		"compare": fmt.Sprintf("%s/compare/%.12s...%.12s", s.repoWeb(r), before, after),
		"commits": commits, "head_commit": s.pushedView(r, r.objects[after]),
		"repository": repository, "pusher": obj{"name": sender.login, "email": sender.mail()},
	})
}

func (s *Server) pushedView(r *repo, c *commit) obj {
	var from map[string]file
	if len(c.parents) > 0 && r.objects[c.parents[0]] != nil {
		from = r.objects[c.parents[0]].files
	}
	names := map[string][]string{"added": {}, "removed": {}, "modified": {}}
	for _, ch := range changes(from, c.files) {
		if ch.before != "" { // a push tells of a renamed file by both its names
			names["removed"] = append(names["removed"], ch.before)
			ch.status = "added"
		}
		names[ch.status] = append(names[ch.status], ch.name)
	}
	name := c.author.name
	if name == "" {
		name = c.author.login
	}
	who := obj{"name": name, "email": c.author.mail(), "username": c.author.login}
	return obj{
		"id": c.sha, "tree_id": c.tree, "distinct": true, "message": c.message, "timestamp": stamp(c.when),
		"url": s.repoWeb(r) + "/commit/" + c.sha, "author": who, "committer": who,
		"added": names["added"], "removed": names["removed"], "modified": names["modified"],
	}
}
