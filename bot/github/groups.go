package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// keepGroup is how long an answer about a group is used again: for the several
// looks that one decision takes. Somebody who was taken out of a team between
// their click and the run counts for no longer than this, since the policy is
// asked once more right before a request runs.
const keepGroup = 3 * time.Second

// Team tells who is in a team of GitHub's: the groups "github-team:acme/ops" of
// policies.
type Team struct {
	s    *Surface
	kept bot.Kept[bool]
}

// CodeOwners tells who owns code that a pull request changes: the group
// "codeowners" of policies. Somebody who owns one of the files is one.
type CodeOwners struct {
	s    *Surface
	kept bot.Kept[ownership]
}

// Member tells whether one of the person's accounts is in the team, which group
// names as "acme/ops". It returns CodeInvalid for a group that is no team, and
// another error when GitHub does not say.
func (t *Team) Member(ctx context.Context, group string, _ *approvals.Request, p approvals.Person) (bool, error) {
	const op = "github.team"
	org, slug, ok := strings.Cut(group, "/")
	if !ok || !ownerTeam.MatchString("@"+group) {
		return false, actions.Errorf(op, actions.CodeInvalid, "%q is no team; write it as organisation/team.", clip(group, 80))
	}
	for _, login := range logins(p) {
		key := strings.ToLower(group + " " + login)
		in, err := t.kept.Get(t.s.now(), key, func() (bool, error) { return t.s.client.inTeam(ctx, org, slug, login) })
		if err != nil {
			return false, groupFailure(op, err, fmt.Sprintf("Whether %s is in the team %s could not be seen", p.Name, group), "Members: read of the organisation "+org)
		}
		if in {
			return true, nil
		}
	}
	return false, nil
}

// ownership is whose code a pull request changes.
type ownership struct {
	owners []string // as the CODEOWNERS file names them, each once
	none   string   // why there are none, for people
	head   string   // the commit that the pull request's files are of
}

// Member tells whether one of the person's accounts, or a team that it is in,
// owns a file that the request's pull request changes. Without a pull request,
// or a CODEOWNERS file on the repository's default branch, nobody does; the card
// says so. It returns an error when GitHub does not say.
func (c *CodeOwners) Member(ctx context.Context, _ string, r *approvals.Request, p approvals.Person) (bool, error) {
	found, err := c.of(ctx, r)
	if err != nil {
		return false, err
	}
	mine := logins(p)
	var teams []string
	for _, owner := range found.owners {
		name, ok := strings.CutPrefix(owner, "@")
		if !ok {
			continue // an e-mail address: GitHub does not tell whose it is
		}
		if strings.Contains(name, "/") {
			teams = append(teams, name)
			continue
		}
		if slices.ContainsFunc(mine, func(login string) bool { return strings.EqualFold(login, name) }) {
			return true, nil
		}
	}
	var unseen error
	for _, team := range teams {
		in, err := c.s.Team.Member(ctx, team, r, p)
		if in {
			return true, nil
		}
		if err != nil {
			unseen = err
		}
	}
	return false, unseen
}

// of finds the owners of what the pull request of a request changes.
func (c *CodeOwners) of(ctx context.Context, r *approvals.Request) (ownership, error) {
	app, err := c.s.catalog.App(r.Order.Env.App)
	if err != nil {
		return ownership{}, err
	}
	number := r.Order.PullRequest
	if number == 0 {
		number = r.Order.Env.PullRequest()
	}
	if number == 0 || !validRepo(app.Repo) {
		return ownership{none: bot.Code(r.Order.Env.String(), 100) + " belongs to no pull request."}, nil
	}
	found, err := c.kept.Get(c.s.now(), strings.ToLower(placeID(app.Repo, number)), func() (ownership, error) { return c.look(ctx, app.Repo, number) })
	if err != nil {
		err = groupFailure("github.codeowners", err, fmt.Sprintf("The code owners of pull request %d could not be seen", number), "Contents: read and Pull requests: read on "+app.Repo)
	}
	// A commit that was asked for by name need have nothing to do with the pull
	// request, whose files tell nothing of who owns what would run then.
	if o := r.Order; err == nil && o.Ref != "" && o.Verb.TakesCommit() && o.Commit.SHA != found.head {
		return ownership{none: fmt.Sprintf("what would run (%s) is not what pull request %d holds.", bot.Code("--ref "+clip(o.Ref, 60), 80), number)}, nil
	}
	return found, err
}

// look finds the owners of what a pull request changes.
func (c *CodeOwners) look(ctx context.Context, repo string, number int) (ownership, error) {
	p, err := c.s.client.pull(ctx, repo, number)
	if err != nil {
		return ownership{}, err
	}
	// Of no other branch: whoever may push one can point their pull request at it
	// while they ask, and would so choose who agrees.
	about, err := c.s.client.repository(ctx, repo)
	if err != nil {
		return ownership{}, err
	}
	branch := about.GetDefaultBranch()
	if branch == "" {
		return ownership{}, errors.New("a repository without a default branch")
	}
	text, found, err := c.s.ownersFile(ctx, repo, branch)
	if err != nil {
		return ownership{}, err
	}
	if !found {
		return ownership{head: p.sha, none: "the default branch " + bot.Code(branch, 100) + " has no CODEOWNERS file."}, nil
	}
	paths, all, err := c.s.client.pullFiles(ctx, repo, number)
	if err != nil {
		return ownership{}, err
	}
	if !all {
		c.s.log.WarnContext(ctx, "a pull request has more files than GitHub tells; owners of the others do not count", "repo", repo, "number", number, "files", len(paths))
	}
	rules, seen := parseOwners(text), map[string]bool{}
	o := ownership{head: p.sha}
	for _, path := range paths {
		for _, owner := range ownersOf(rules, path) {
			if key := strings.ToLower(owner); !seen[key] {
				seen[key] = true
				o.owners = append(o.owners, owner)
			}
		}
	}
	if len(o.owners) == 0 {
		o.none = "the CODEOWNERS file of the default branch " + bot.Code(branch, 100) + " names nobody for the files that this pull request changes."
	}
	return o, nil
}

// ownersFile is the CODEOWNERS file of a branch.
func (s *Surface) ownersFile(ctx context.Context, repo, branch string) (text string, found bool, err error) {
	for _, path := range ownersPaths {
		if text, found, err = s.client.fileText(ctx, repo, branch, path); found || err != nil {
			return text, found, err
		}
	}
	return "", false, nil
}

// logins are a person's accounts on GitHub.
func logins(p approvals.Person) []string {
	var found []string
	for _, identity := range p.Identities {
		if login, ok := strings.CutPrefix(identity, identityPrefix); ok && loginPattern.MatchString(login) {
			found = append(found, login)
		}
	}
	return found
}

// groupFailure is the Error of a look that failed. It is never a "no".
func groupFailure(op string, err error, what, grant string) error {
	if _, ok := errors.AsType[*actions.Error](err); ok {
		return err
	}
	if limited, ok := errors.AsType[*limitedError](err); ok {
		return &actions.Error{Op: op, Code: actions.CodeUnavailable, Err: err, Retry: true,
			Msg: fmt.Sprintf("%s: GitHub's rate limit is used up for %d more seconds; it is tried again.", what, int(limited.after.Seconds())+1)}
	}
	switch status := statusOf(err); {
	case errors.Is(err, context.Canceled):
		return actions.Wrap(op, actions.CodeCancelled, err, what+": it was stopped.")
	case status == http.StatusForbidden, status == http.StatusNotFound, errors.Is(err, errNotInstalled):
		return actions.Wrap(op, actions.CodeDownstream, err, fmt.Sprintf("%s: GitHub does not let Berth look. Whoever runs Berth has to grant its token or GitHub App %s; `berth doctor` says more.", what, grant))
	case status == http.StatusUnauthorized:
		return actions.Wrap(op, actions.CodeDownstream, err, what+": GitHub refuses Berth's credentials. Whoever runs Berth has to renew them; `berth doctor` says more.")
	case final(err):
		return actions.Wrap(op, actions.CodeDownstream, err, fmt.Sprintf("%s: GitHub answered %d.", what, status))
	default:
		return &actions.Error{Op: op, Code: actions.CodeUnavailable, Msg: what + ": GitHub did not answer; it is tried again.", Err: err, Retry: true}
	}
}
