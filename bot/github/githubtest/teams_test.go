package githubtest

import (
	"slices"
	"testing"

	"github.com/google/go-github/v60/github"
)

func TestTeamsSayWhoIsInThem(t *testing.T) {
	t.Parallel()
	s := newShop(t, Options{})
	s.AddTeam("acme", "sre", "ana")
	s.must(s.InviteToTeam("acme", "sre", "rob"))
	if err := s.InviteToTeam("acme", "none", "rob"); err == nil {
		t.Error("a team that is not there takes people")
	}
	gh := s.client("ghp_bot")
	found, _, err := gh.Teams.GetTeamBySlug(t.Context(), "acme", "SRE")
	s.must(err)
	if found.GetSlug() != "sre" || found.GetOrganization().GetLogin() != "acme" {
		t.Errorf("team = %v", found)
	}
	for login, want := range map[string]string{"ana": "active", "rob": "pending", "eve": ""} {
		m, _, _ := gh.Teams.GetTeamMembershipBySlug(t.Context(), "acme", "sre", login)
		if m.GetState() != want {
			t.Errorf("%s is %q in the team, want %q", login, m.GetState(), want)
		}
	}
}

func TestARenamedFileHasBothItsNames(t *testing.T) {
	t.Parallel()
	s := newShop(t, Options{})
	_, err := s.PushToPullRequest("acme/shop", s.pull, Commit{Write: map[string]string{"bin/run.sh": "#!/bin/sh\n"}, Remove: []string{"run.sh"}})
	s.must(err)
	files, _, err := s.client("ghp_bot").PullRequests.ListFiles(t.Context(), "acme", "shop", s.pull, nil)
	s.must(err)
	i := slices.IndexFunc(files, func(f *github.CommitFile) bool { return f.GetStatus() == "renamed" })
	if i < 0 || files[i].GetFilename() != "bin/run.sh" || files[i].GetPreviousFilename() != "run.sh" {
		t.Errorf("files = %v", files)
	}
}
