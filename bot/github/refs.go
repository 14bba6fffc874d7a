package github

import (
	"context"
	"slices"
	"strings"
)

// Refs are branches of a repository that somebody who types one may mean: the
// default branch and those of the newest open pull requests that begin with
// prefix. It returns CodeUnavailable when GitHub does not say.
func (s *Surface) Refs(ctx context.Context, repo, prefix string) ([]string, error) {
	all, err := s.branches.Get(s.now(), strings.ToLower(repo), func() ([]string, error) { return s.client.someBranches(ctx, repo) })
	if err != nil {
		return nil, unseen("github.refs", err, "GitHub did not list the branches of "+repo+".")
	}
	return slices.DeleteFunc(slices.Clone(all), func(ref string) bool {
		return len(ref) < len(prefix) || !strings.EqualFold(ref[:len(prefix)], prefix)
	}), nil
}

// someBranches are the default branch and those of open pull requests from the
// repository itself, as far as one page of them goes.
func (c *client) someBranches(ctx context.Context, repo string) ([]string, error) {
	r, err := c.repository(ctx, repo)
	if err != nil {
		return nil, err
	}
	names := []string{r.GetDefaultBranch()}
	pulls, err := c.listPulls(ctx, repo, 1)
	for _, p := range pulls {
		name := p.GetHead().GetRef()
		if name != "" && strings.EqualFold(p.GetHead().GetRepo().GetFullName(), repo) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, err
}
