package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	gh "github.com/google/go-github/v60/github"
)

// maxFiles is how many files of a pull request GitHub tells.
// Source: https://docs.github.com/rest/pulls/pulls#list-pull-requests-files
const maxFiles = 3000

// inTeam tells whether login has accepted a place in a team of org. GitHub
// answers alike for somebody who has none and for a team that it hides.
func (c *client) inTeam(ctx context.Context, org, slug, login string) (bool, error) {
	active := false
	x := call{what: "look for somebody in the team " + slug + " of", org: org}
	err := c.do(ctx, x, func(ctx context.Context, at place) error {
		m, _, err := at.Teams.GetTeamMembershipBySlug(ctx, url.PathEscape(org), url.PathEscape(slug), url.PathEscape(login))
		active = m.GetState() == "active"
		return err
	})
	if statusOf(err) == http.StatusNotFound && !errors.Is(err, errNotInstalled) {
		return false, nil
	}
	return active && err == nil, err
}

// team asks for a team, to see whether it can be seen.
func (c *client) team(ctx context.Context, org, slug string) error {
	return c.do(ctx, call{what: "get the team " + slug + " of", org: org}, func(ctx context.Context, at place) error {
		_, _, err := at.Teams.GetTeamBySlug(ctx, url.PathEscape(org), url.PathEscape(slug))
		return err
	})
}

// pullFiles are the paths that a pull request changes, those of renamed files
// by both their names, and whether that is all of them.
func (c *client) pullFiles(ctx context.Context, repo string, number int) (paths []string, all bool, err error) {
	x := call{what: fmt.Sprintf("list the files of pull request %d of", number), repo: repo}
	for page, seen := 1, 0; seen < maxFiles; page++ {
		var found []*gh.CommitFile
		err := c.do(ctx, x, func(ctx context.Context, at place) (err error) {
			found, _, err = at.PullRequests.ListFiles(ctx, at.owner, at.name, number, &gh.ListOptions{Page: page, PerPage: perPage})
			return err
		})
		if err != nil {
			return nil, false, err
		}
		for _, f := range found {
			paths = append(paths, f.GetFilename())
			if before := f.GetPreviousFilename(); before != "" {
				paths = append(paths, before)
			}
		}
		if seen += len(found); len(found) < perPage {
			return paths, true, nil
		}
	}
	return paths, false, nil
}

// fileText is a file of a branch as text; found is false when there is none.
func (c *client) fileText(ctx context.Context, repo, branch, path string) (text string, found bool, err error) {
	err = c.do(ctx, call{what: "read " + path + " of", repo: repo}, func(ctx context.Context, at place) error {
		file, _, _, err := at.Repositories.GetContents(ctx, at.owner, at.name, path, &gh.RepositoryContentGetOptions{Ref: "refs/heads/" + branch})
		if err != nil || file == nil || file.GetType() != "file" {
			return err // a folder of that name holds no rules
		}
		found = true
		if file.GetSize() > maxOwnersFile {
			return nil // GitHub does not read it either
		}
		if file.GetEncoding() == "none" { // too long to come with its description
			text, err = c.rawText(ctx, at, path, branch)
			return err
		}
		text, err = file.GetContent()
		return err
	})
	if statusOf(err) == http.StatusNotFound && !errors.Is(err, errNotInstalled) {
		return "", false, nil
	}
	return text, found, err
}

// rawText is a file as it is: up to 100 MB come this way.
// Source: https://docs.github.com/rest/repos/contents#get-repository-content
func (c *client) rawText(ctx context.Context, at place, path, branch string) (string, error) {
	req, err := at.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/contents/%s?ref=%s", at.owner, at.name, path, url.QueryEscape("refs/heads/"+branch)), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/vnd.github.raw+json")
	var text limitedText
	_, err = at.Do(ctx, req, &text)
	return string(text), err
}

// limitedText takes as much as a CODEOWNERS file may have.
type limitedText []byte

func (t *limitedText) Write(p []byte) (int, error) {
	if len(*t)+len(p) > maxOwnersFile {
		return 0, fmt.Errorf("the file is longer than %d bytes", maxOwnersFile)
	}
	*t = append(*t, p...)
	return len(p), nil
}
