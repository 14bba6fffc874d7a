package e2e

import (
	"net/http"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

func TestDeployStatusAndCloseOfAPullRequest(t *testing.T) {
	w := newWorld(t)
	b := w.startBerth(w.simpleApp("replicaCount: 2"))

	comment := w.comment(ana, "Let me see this.\n\n/deploy\n")
	w.awaitSays("is running", "pr-1.shop.example.org")
	w.await("a rocket on the comment", func() bool { return slices.Contains(w.reactions(comment), "rocket") })
	if !slices.Contains(w.reactions(comment), "eyes") {
		t.Error("the comment was never looked at")
	}
	pods, err := w.client.CoreV1().Pods(w.namespace()).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if len(pods.Items) != 2 {
		t.Errorf("%d pods run, want 2", len(pods.Items))
	}
	head := w.thread().HeadSHA
	for _, pod := range pods.Items {
		if got, want := pod.Spec.Containers[0].Image, "registry.example.org/acme/shop:"+head; got != want {
			t.Errorf("a pod runs %s, want %s", got, want)
		}
	}
	env := b.environment()
	if env["state"] != "Running" || env["url"] != "http://pr-1.shop.example.org" {
		t.Errorf("the API says %v at %v", env["state"], env["url"])
	}
	deployment := w.deployment()
	if deployment.State() != "success" || !deployment.Transient || deployment.Environment != w.env() {
		t.Errorf("the deployment on GitHub is %+v", deployment)
	}

	before := len(w.botComments())
	w.comment(ana, "/status")
	w.await("an answer to /status", func() bool { return len(w.botComments()) > before })

	must(t, w.github.ClosePullRequest(repo, w.pull, ana))
	w.awaitSays("is cleaned up")
	_, err = w.client.CoreV1().Namespaces().Get(t.Context(), w.namespace(), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
	w.await("the deployment to be inactive", func() bool { return w.deployment().State() == "inactive" })
}

func (w *world) deployment() githubtest.Deployment {
	all := w.github.Deployments(repo)
	if len(all) == 0 {
		return githubtest.Deployment{}
	}
	return all[len(all)-1]
}

func TestAPushUpdatesWhatIsDeployedWhenTheAppSaysSo(t *testing.T) {
	w := newWorld(t)
	app := w.simpleApp()
	w.startBerth(app + "    auto_update: true\n")
	w.comment(ana, "/deploy")
	w.awaitSays("is running")
	sha, err := w.github.PushToPullRequest(repo, w.pull, githubtest.Commit{
		Message: "Round up", Author: ana, Write: map[string]string{"main.go": "package main\n"},
	})
	must(t, err)
	w.awaitSays("is running", sha[:7])
	pods, err := w.client.AppsV1().Deployments(w.namespace()).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if got := pods.Items[0].Spec.Template.Spec.Containers[0].Image; got != "registry.example.org/acme/shop:"+sha {
		t.Errorf("%s runs, want the pushed commit %s", got, sha)
	}
}

func TestOneDeliveryPostedFiftyTimesToTwoReplicasIsOneRequest(t *testing.T) {
	w := newWorld(t)
	first := w.startBerth(w.simpleApp())
	second := w.prepareBerth(w.simpleApp())
	second.start()
	second.awaitReady()
	// The delivery goes nowhere at first; then it is posted by hand.
	must(t, w.github.SetWebhook(githubtest.Webhook{URL: "http://127.0.0.1:9/", Secret: secret}))
	w.comment(ana, "/deploy")
	must(t, w.github.Flush(t.Context()))
	deliveries := w.github.Deliveries()
	delivery := deliveries[len(deliveries)-1]

	header := http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {delivery.Event}, "X-Github-Delivery": {delivery.GUID},
		"X-Hub-Signature-256": {"sha256=" + githubtest.Sign(secret, delivery.Payload)},
	}
	codes := make(chan int, 50)
	for i := range 50 {
		target := []*berth{first, second}[i%2].url
		go func() { codes <- post(t, target, header, delivery.Payload) }()
	}
	for range 50 {
		if code := <-codes; code != http.StatusAccepted {
			t.Errorf("a delivery got %d, want 202", code)
		}
	}
	w.awaitSays("is running")
	if requests := first.requests(); len(requests) != 1 {
		t.Errorf("%d requests were made, want 1: %v", len(requests), requests)
	}
	if n := len(w.botComments()); n != 1 {
		t.Errorf("the bot commented %d times, want once", n)
	}
}
