package kubernetes

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func TestJobsRunOnceForEachChange(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	job := map[string]any{"name": "migrate", "image": "ghcr.io/acme/shop:1", "args": []any{"migrate"}, "env": map[string]any{"N": 1}}
	seed := map[string]any{"name": "seed", "when": "after", "image": "ghcr.io/acme/shop:1"}
	step := stepOf(t, map[string]any{"manifests": web, "jobs": []any{job, seed}})
	plan, err := x.Plan(t.Context(), step)
	if err != nil || !strings.Contains(plan.Summary, "2 jobs to run") {
		t.Errorf("the plan says %q, error %v", plan.Summary, err)
	}
	out := run(t, x, step)
	if !slices.ContainsFunc(out.Logs, func(l string) bool { return strings.HasPrefix(l, "migrate: ") }) {
		t.Errorf("the output of the job is not in the log:\n%s", out.Text())
	}
	at := func(text string) int {
		return slices.IndexFunc(out.Logs, func(l string) bool { return strings.HasPrefix(l, text) })
	}
	if before, made, after := at("running job migrate"), at("created Deployment web"), at("running job seed"); before < 0 || before > made || made > after {
		t.Errorf("not in order:\n%s", out.Text())
	}
	if text := run(t, x, step).Text(); strings.Contains(text, "running job") {
		t.Errorf("what was done is done again:\n%s", text)
	}
	// A Job that somebody has deleted has been run all the same.
	cs := client(t)
	list, err := cs.BatchV1().Jobs(step.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: labelJob + "=migrate"})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d jobs, error %v", len(list.Items), err)
	}
	if err := cs.BatchV1().Jobs(step.Namespace).Delete(t.Context(), list.Items[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if text := run(t, x, step).Text(); strings.Contains(text, "running job") {
		t.Errorf("what was done is done again:\n%s", text)
	}
	job["image"] = "ghcr.io/acme/shop:2"
	if text := run(t, x, step).Text(); !strings.Contains(text, "running job migrate") || strings.Contains(text, "running job seed") {
		t.Errorf("after a change of one job:\n%s", text)
	}
	run(t, x, step, sdk.Cleanup)
}

func TestAJobThatIsAddedLaterIsTakenAwayToo(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": quiet})
	run(t, x, step)
	step.With["jobs"] = []any{map[string]any{"name": "seed", "when": "after", "image": "ghcr.io/acme/shop:1"}}
	if text := run(t, x, step).Text(); !strings.Contains(text, "running job seed") {
		t.Errorf("the job is not run:\n%s", text)
	}
	run(t, x, step, sdk.Cleanup)
	if left := owned(t, step.Namespace); len(left) > 0 {
		t.Errorf("a cleanup leaves %v", left)
	}
}

func TestAJobThatFailsSaysItsLastLines(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	job := map[string]any{"name": "migrate", "image": "ghcr.io/acme/shop:missing"}
	step := stepOf(t, map[string]any{"jobs": []any{job}, "fail_fast": "1s", "manifests": web})
	fails(t, x, step, sdk.FaultDownstream, "Job migrate-", "ghcr.io/acme/shop:missing")
	if _, err := client(t).AppsV1().Deployments(step.Namespace).Get(t.Context(), "web", metav1.GetOptions{}); err == nil {
		t.Error("the workloads are there though the job before them failed")
	}
	run(t, x, step, sdk.Cleanup)
	if left := owned(t, step.Namespace); len(left) > 0 {
		t.Errorf("a cleanup leaves %v", left)
	}
}
