package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

const (
	// maxDescription is the longest description of a deployment, in characters.
	// Source: https://docs.github.com/rest/deployments/statuses#create-a-deployment-status
	maxDescription = 140
	// oldNews is when a run that ended unseen is not made a deployment any more.
	oldNews = time.Hour
	// keptDeployments is how many deployments of an environment are known.
	keptDeployments = 60
)

// The states of a deployment.
const (
	deployQueued   = "queued"
	deployRunning  = "in_progress"
	deploySuccess  = "success"
	deployFailure  = "failure"
	deployError    = "error"
	deployInactive = "inactive"
	deployBegun    = "begun" // ours alone: it may have been made without its id being kept
)

// deployed is what Redis knows of a request's deployment.
type deployed struct {
	id    int64
	state string
}

func (d deployed) String() string { return strconv.FormatInt(d.id, 10) + ":" + d.state }

func parseDeployed(s string) deployed {
	id, state, _ := strings.Cut(s, ":")
	n, _ := strconv.ParseInt(id, 10, 64) // 0 is looked for again
	return deployed{n, state}
}

// showDeployments makes a GitHub Deployment of each run that puts something up,
// and keeps their states true.
func (s *Surface) showDeployments(ctx context.Context, sc *scene) error {
	raw, err := s.rdb.HGetAll(ctx, keyDeployed(sc.name)).Result()
	if err != nil {
		return err
	}
	known := make(map[string]deployed, len(raw))
	for id, value := range raw {
		known[id] = parseDeployed(value)
	}
	newest := "" // the request whose result stands
	for _, r := range slices.Backward(sc.recent) {
		want := s.deploymentState(sc, r, known)
		if want == "" {
			continue
		}
		if err := s.showDeployment(ctx, sc, r, known, want); err != nil {
			return err
		}
		if want == deploySuccess {
			newest = r.ID
		}
	}
	if err := s.retire(ctx, sc, known, newest); err != nil {
		return err
	}
	return s.forgetDeployments(ctx, sc, known)
}

// deploymentState is the state that a request's deployment should be in; "" when
// it should have none.
func (s *Surface) deploymentState(sc *scene, r *approvals.Request, known map[string]deployed) string {
	if r.DryRun || !r.Order.Verb.TakesCommit() || !fullSHA.MatchString(r.Order.Commit.SHA) {
		return ""
	}
	have, ok := known[r.ID]
	if ok && have.state == deployInactive {
		return "" // it has been retired
	}
	if r.State.Ended() && !ok && (r.RunID == "" || sc.gone() || s.now().Sub(r.EndedAt) > oldNews) {
		return ""
	}
	switch r.State {
	case approvals.StateReleased:
		return deployQueued
	case approvals.StateRunning:
		return deployRunning
	case approvals.StateSucceeded:
		return deploySuccess
	case approvals.StateFailed, approvals.StateRefused:
		return deployFailure
	case approvals.StateCancelled:
		return deployError
	case approvals.StateSuperseded:
		return deployInactive
	default: // it is planned anew, or waits again: what was said of it stands
		return ""
	}
}

func (s *Surface) showDeployment(ctx context.Context, sc *scene, r *approvals.Request, known map[string]deployed, want string) error {
	have := known[r.ID]
	if have.state == want {
		return nil
	}
	if have.id == 0 {
		id, err := s.makeDeployment(ctx, sc, r, have)
		if err != nil {
			return err
		}
		have = deployed{id: id, state: "pending"}
		if err := s.keepDeployment(ctx, sc, r.ID, have, known); err != nil {
			return err
		}
	}
	status := deploymentStatus{State: want, Description: describe(r, want), LogURL: s.logURL(r.RunID)}
	if want == deploySuccess && sc.env != nil {
		status.EnvironmentURL = webURL(sc.env.URL)
	}
	err := s.client.setDeploymentStatus(ctx, sc.repo, have.id, status)
	if err != nil && statusOf(err) != http.StatusNotFound {
		return err
	}
	have.state = want // a deployment that somebody deleted is not made anew
	return s.keepDeployment(ctx, sc, r.ID, have, known)
}

// makeDeployment makes a deployment. That it is about to is written down first,
// so that after a crash it is looked for.
func (s *Surface) makeDeployment(ctx context.Context, sc *scene, r *approvals.Request, have deployed) (int64, error) {
	if have.state == deployBegun {
		id, err := s.client.ownDeployment(ctx, sc.repo, sc.name.String(), r.Order.Commit.SHA, r.ID)
		if err != nil || id != 0 {
			return id, err
		}
	} else if err := s.rdb.HSet(ctx, keyDeployed(sc.name), r.ID, deployed{state: deployBegun}.String()).Err(); err != nil {
		return 0, err
	}
	description := shorten(fmt.Sprintf("%s by %s", r.Command, r.Requester.Actor))
	return s.client.createDeployment(ctx, sc.repo, sc.name.String(), r.Order.Commit.SHA, r.ID, description)
}

func (s *Surface) keepDeployment(ctx context.Context, sc *scene, requestID string, d deployed, known map[string]deployed) error {
	known[requestID] = d
	return s.rdb.HSet(context.WithoutCancel(ctx), keyDeployed(sc.name), requestID, d.String()).Err()
}

// retire makes deployments inactive whose result stands no more: all of them
// once the environment is gone or archived, else those before the newest.
func (s *Surface) retire(ctx context.Context, sc *scene, known map[string]deployed, newest string) error {
	down := sc.env == nil || sc.env.State == actions.StateCleaned || sc.env.State == actions.StateArchived
	why := "A newer deployment took its place"
	if down {
		why = "The environment is gone"
	}
	for id, d := range known {
		over := down && !sc.underway()
		if !over && (newest == "" || id >= newest || d.state != deploySuccess) {
			continue // ids are in the order of time
		}
		if d.id == 0 || d.state == deployInactive {
			continue
		}
		err := s.client.setDeploymentStatus(ctx, sc.repo, d.id, deploymentStatus{State: deployInactive, Description: why})
		if err != nil && statusOf(err) != http.StatusNotFound {
			return err
		}
		d.state = deployInactive
		if err := s.keepDeployment(ctx, sc, id, d, known); err != nil {
			return err
		}
	}
	return nil
}

// forgetDeployments forgets the oldest that are inactive.
func (s *Surface) forgetDeployments(ctx context.Context, sc *scene, known map[string]deployed) error {
	if len(known) <= keptDeployments {
		return nil
	}
	var old []string
	for id, d := range known {
		if d.state == deployInactive && !slices.ContainsFunc(sc.recent, func(r *approvals.Request) bool { return r.ID == id }) {
			old = append(old, id)
		}
	}
	if len(old) == 0 {
		return nil
	}
	return s.rdb.HDel(ctx, keyDeployed(sc.name), old...).Err()
}

// describe says in a few words how a deployment goes.
func describe(r *approvals.Request, state string) string {
	switch state {
	case deployQueued:
		return "Waits for its turn"
	case deployRunning:
		return shorten("Deploying " + bot.Short(r.Order.Commit.SHA) + " for " + r.Requester.Actor)
	case deploySuccess:
		return shorten("Deployed " + bot.Short(r.Order.Commit.SHA))
	case deployInactive:
		return "Another request took its place"
	default:
		first, _, _ := strings.Cut(strings.TrimSpace(r.Reason), "\n")
		if first == "" {
			first = "It did not succeed"
		}
		return shorten(bot.Plain(first))
	}
}

// shorten cuts a description to maxDescription characters, the last of which is
// then "…".
func shorten(s string) string {
	if r := []rune(s); len(r) > maxDescription {
		return string(r[:maxDescription-1]) + "…"
	}
	return s
}
