package e2e

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// slow delays readiness, so that things can be killed in mid-deploy.
const slow = `podAnnotations: {devcluster/ready-after: 4s}`

// awaitMidDeploy waits until pods exist that are not ready yet.
func (w *world) awaitMidDeploy() {
	w.t.Helper()
	w.await("pods that are not ready yet", func() bool {
		pods, err := w.client.CoreV1().Pods(w.namespace()).List(w.t.Context(), metav1.ListOptions{})
		return err == nil && len(pods.Items) > 0
	})
}

func TestADeploySurvivesTheDeathOfItsPlugin(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp(slow))
	w.comment(ana, "/deploy")
	w.awaitMidDeploy()
	victims := b.plugins()
	if len(victims) != 1 {
		t.Fatalf("the plugin processes are %v, want one", victims)
	}
	must(t, syscall.Kill(victims[0], syscall.SIGKILL))
	w.awaitSays("is running")
	if now := b.plugins(); len(now) != 1 || now[0] == victims[0] {
		t.Errorf("the plugin processes are %v, want a new one", now)
	}
	if requests := b.requests(); len(requests) != 1 || requests[0]["state"] != "succeeded" {
		t.Errorf("the requests are %v, want one that succeeded", requests)
	}
}

func TestADeploySurvivesTheDeathOfBerth(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp(slow))
	w.comment(ana, "/deploy")
	w.awaitMidDeploy()
	run := b.environment()["run_id"]
	plugins := b.plugins()
	b.kill()
	w.await("the plugins to be gone", func() bool {
		for _, pid := range plugins {
			if syscall.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	})
	b.start()
	b.awaitReady()
	w.awaitSays("is running")
	requests := b.requests()
	if len(requests) != 1 || requests[0]["state"] != "succeeded" {
		t.Fatalf("the requests are %v, want one that succeeded", requests)
	}
	if run != nil && requests[0]["run_id"] != run {
		t.Errorf("run %v went on as %v", run, requests[0]["run_id"])
	}
}

func TestBerthStopsWithoutLeavingPlugins(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp())
	w.await("the plugin", func() bool { return len(b.plugins()) == 1 })
	plugins := b.plugins()
	began := time.Now()
	b.stop()
	t.Logf("stopped in %v", time.Since(began))
	for _, pid := range plugins {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("plugin process %d is still there", pid)
		}
	}
}

func TestWithoutRedisNothingIsAcceptedAndItComesBackByItself(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp())
	w.redis.Stop(t)
	w.await("/readyz to be red", func() bool { return b.status("/readyz") == http.StatusServiceUnavailable })
	if code := b.status("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz is %d while Redis is away, want 200", code)
	}
	w.comment(ana, "/deploy")
	must(t, w.github.Flush(t.Context()))
	deliveries := w.github.Deliveries()
	failed := deliveries[len(deliveries)-1]
	if failed.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("without Redis the delivery got %d, want 503", failed.StatusCode)
	}
	w.redis.Restart(t)
	b.awaitReady()
	must(t, w.github.Redeliver(failed.ID))
	w.awaitSays("is running")
}
