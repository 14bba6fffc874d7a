package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

// ask sends a command and gives the API's answer.
func (b *berth) ask(path, command string) (int, map[string]any) {
	b.w.t.Helper()
	body, err := json.Marshal(map[string]string{"command": command})
	must(b.w.t, err)
	req, err := http.NewRequestWithContext(b.w.t.Context(), http.MethodPost, b.url+path, bytes.NewReader(body))
	must(b.w.t, err)
	req.Header.Set("Authorization", "Bearer "+apiToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(b.w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(b.w.t, err)
	out := map[string]any{}
	must(b.w.t, json.Unmarshal(text, &out))
	return resp.StatusCode, out
}

// do runs an action on the world's environment, which must succeed, and gives
// its run.
func (b *berth) do(command string) map[string]any {
	b.w.t.Helper()
	code, r := b.ask("/api/v1/requests", command)
	if code != http.StatusAccepted {
		b.w.t.Fatalf("%q got %d: %v", command, code, r["detail"])
	}
	b.w.await(command, func() bool {
		switch r = b.read("/api/v1/requests/" + r["id"].(string)); r["state"] {
		case "planning", "pending", "released", "running":
			return false
		}
		return true
	})
	if r["state"] != "succeeded" {
		b.w.t.Fatalf("%q is %v: %v", command, r["state"], r["reason"])
	}
	return b.read("/api/v1/runs/" + r["run_id"].(string))
}

// read is what the API says at a path.
func (b *berth) read(path string) map[string]any {
	b.w.t.Helper()
	code, body := b.get(path)
	if code != http.StatusOK {
		b.w.t.Fatalf("%s got %d: %s", path, code, body)
	}
	out := map[string]any{}
	must(b.w.t, json.Unmarshal([]byte(body), &out))
	return out
}

// wants is how many replicas the cluster is to run of the world's environment,
// and of which image tag.
func (w *world) wants() (replicas int32, tag string) {
	w.t.Helper()
	all, err := w.client.AppsV1().Deployments(w.namespace()).List(w.t.Context(), metav1.ListOptions{})
	must(w.t, err)
	for _, d := range all.Items {
		replicas += *d.Spec.Replicas
		_, tag, _ = strings.Cut(d.Spec.Template.Spec.Containers[0].Image, ":")
	}
	return replicas, tag
}

func (w *world) holds(replicas int32, tag string) {
	w.t.Helper()
	if n, got := w.wants(); n != replicas || got != tag && tag != "" {
		w.t.Errorf("the cluster is to run %d of %q, want %d of %q", n, got, replicas, tag)
	}
}

func TestTheLifeOfAnEnvironment(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp("replicaCount: 2"))
	env, first := w.env(), w.thread().HeadSHA
	b.do("deploy " + env)
	w.holds(2, first)
	second, err := w.github.PushToPullRequest(repo, w.pull, githubtest.Commit{Message: "Round up", Author: ana, Write: map[string]string{"main.go": "package main\n"}})
	must(t, err)
	b.do("deploy " + env)
	w.holds(2, second)

	b.do("sleep " + env)
	w.holds(0, "")
	if e := b.environment(); e["sleeping"] != true || e["slept_by"] != "tester" || e["state"] != "Running" {
		t.Errorf("asleep, it is %v", e)
	}
	b.do("wake " + env)
	w.holds(2, second)
	b.do("restart " + env)
	w.holds(2, second)

	back := b.do("rollback " + env + " --to 1")
	if back["revision"] != 3.0 || back["back"] != 1.0 {
		t.Errorf("the rollback made revision %v of %v", back["revision"], back["back"])
	}
	w.holds(2, first)
	past := b.read("/api/v1/environments/" + env + "/history")["items"].([]any)
	if newest := past[0].(map[string]any); len(past) != 6 || newest["verb"] != "rollback" || newest["current"] != true {
		t.Errorf("the history is %v", past)
	}

	before := b.environment()["expires_at"]
	b.do("extend " + env + " --ttl 24h")
	if after := b.environment()["expires_at"]; after == before {
		t.Errorf("extended, it expires at %v as before", after)
	}
	if code, answer := b.ask("/api/v1/commands", "lock "+env+` --reason "demo at 3"`); code != http.StatusOK {
		t.Fatalf("lock got %d: %v", code, answer)
	}
	if code, answer := b.ask("/api/v1/requests", "archive "+env); code != http.StatusConflict || !strings.Contains(answer["detail"].(string), "demo at 3") {
		t.Errorf("archiving what is locked got %d: %v", code, answer)
	}
	b.ask("/api/v1/commands", "unlock "+env)

	b.do("archive " + env)
	if e := b.environment(); e["state"] != "Archived" {
		t.Errorf("archived, it is %v", e["state"])
	}
	w.holds(0, "")
	b.do("restore " + env)
	w.holds(2, first)

	gone := b.do("cleanup " + env)
	var receipts []any
	for _, step := range gone["steps"].([]any) {
		if all, ok := step.(map[string]any)["receipts"].([]any); ok {
			receipts = append(receipts, all...)
		}
	}
	if len(receipts) == 0 {
		t.Error("the cleanup gave no receipt")
	}
	if _, err := w.client.CoreV1().Namespaces().Get(t.Context(), w.namespace(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
}
