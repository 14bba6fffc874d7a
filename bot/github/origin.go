package github

import (
	"context"
	"regexp"
	"strings"
)

var (
	// anyPull is a ref that GitHub itself makes of a pull request, anybody's.
	anyPull = regexp.MustCompile(`(?i)^(refs/)?pull/`)
	// described is how `git describe` names a commit, which git understands too.
	described = regexp.MustCompile(`-g([0-9a-f]{4,40})$`)
)

// anybodys tells whether ref may have led to the commit sha though nobody who
// can push to the repository put it there. Branches and tags are theirs; but
// GitHub finds the commits of forks by SHA and by pull request as well. The
// head of a pull request is not asked for here: that has its repository with it.
func anybodys(ref, sha string) bool {
	if ref == "" || pullHead.MatchString(ref) {
		return false
	}
	name := strings.ToLower(ref)
	if m := described.FindStringSubmatch(name); m != nil {
		name = m[1]
	}
	return anyPull.MatchString(ref) || strings.HasPrefix(sha, name)
}

// foreign tells whether the commit comes, or may come, from another repository.
func (s *sources) foreign(ctx context.Context, repo, sha string) (bool, error) {
	if _, ok := s.remembered(repo, sha); ok {
		return false, nil // only what is the repository's own is remembered
	}
	held, err := s.client.holds(ctx, repo, sha)
	return !held, err
}
