package dns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// doStep does the step in file, in a process that a test can kill.
func doStep(file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		fmt.Println(err)
		return 2
	}
	var step sdk.Step
	if err := json.Unmarshal(data, &step); err != nil {
		fmt.Println(err)
		return 2
	}
	out := &events{}
	if err := New(Options{}).Run(context.Background(), step, out); err != nil {
		fmt.Println(out.text(), err)
		return 1
	}
	return 0
}

// process does step in a process of its own.
func process(t *testing.T, step sdk.Step) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(step)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "step.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), stepFile+"="+file)
	return cmd
}

// killAt does step in a process that is killed as soon as the authority has done
// what the process's n-th request asked for, and before it hears of that. It
// tells whether the step came to its end before.
func (w *tlsWorld) killAt(step sdk.Step, n int) (finished bool) {
	w.t.Helper()
	return w.killWhen(step, func(asked int, _ *http.Request) bool { return asked == n })
}

// killWhen is killAt for the first request that when picks, given how many there
// were with it.
func (w *tlsWorld) killWhen(step sdk.Step, when func(asked int, r *http.Request) bool) (finished bool) {
	w.t.Helper()
	cmd := process(w.t.(*testing.T), step)
	var once sync.Mutex
	asked, killed, dead := 0, false, make(chan struct{})
	w.ca.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		once.Lock()
		defer once.Unlock()
		if asked++; !killed {
			if !when(asked, r) {
				return false
			}
			killed = true
			w.ca.serve(httptest.NewRecorder(), r)
			_ = cmd.Process.Kill()
		}
		<-dead
		panic(http.ErrAbortHandler)
	})
	defer w.ca.intercept(nil)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	once.Lock() // no request is looked at before its process is known
	err := cmd.Start()
	once.Unlock()
	if err == nil {
		err = cmd.Wait()
	}
	close(dead)
	if err == nil {
		return true
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Exited() {
		w.t.Fatalf("the step failed by itself: %v\n%s", err, &said)
	}
	return false
}

// TestAStepThatIsKilledIsGoneOnWith kills a deploy after every second thing that
// it asks of the authority, in turn; since that refuses some nonces by chance, no
// two runs are killed at the same ones. A cleanup leaves nothing of the
// environment, and another deploy goes on with the order.
func TestAStepThatIsKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	for n := 1; n < 60; n += 2 {
		env := fmt.Sprintf("pr-%d", n)
		namespace := w.namespace("shop-" + env)
		before := strings.Join(w.zone(), "\n")
		w.acme("namespace", w.namespace(fmt.Sprintf("home-%d", n)))
		w.home = fmt.Sprintf("home-%d-%s", n, w.id)
		certificate := wildcard()
		if n%4 == 3 {
			certificate["wildcard"] = "none"
		}
		orders := w.ca.count(pathNewOrder)
		finished := w.killAt(w.tls(sdk.Deploy, env, certificate), n)

		w.run(w.tls(sdk.Cleanup, env, certificate))
		if after := strings.Join(w.zone(), "\n"); after != before {
			t.Errorf("killed at %d, a cleanup leaves in the zone\n%s", n, after)
		}
		for _, s := range append(w.secrets(namespace), w.secrets(w.home)...) {
			if s.Labels["berth.dev/environment"] != "" {
				t.Errorf("killed at %d, a cleanup leaves the Secret %s of the environment", n, s.Name)
			}
		}
		leases, err := w.client.CoordinationV1().Leases(w.home).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(leases.Items) != 0 {
			t.Errorf("killed at %d, a cleanup leaves %d locks, %v", n, len(leases.Items), err)
		}

		deploy := w.tls(sdk.Deploy, env, certificate)
		w.run(deploy)
		w.leaf(w.secret(namespace, "tls-web"), env+".shop.preview.example.org")
		w.noChallenges()
		w.keptAtHome(keepsAccount, keepsCertificate)
		if made := w.ca.count(pathNewOrder) - orders; made > 2 {
			t.Errorf("killed at %d, %d orders were made", n, made)
		}
		w.run(w.tls(sdk.Cleanup, env, certificate))
		if finished {
			return
		}
	}
	t.Error("a deploy does not come to its end")
}

// TestAnotherEnvironmentGoesOnWithAKilledStepsOrder has the lock of a dead
// process end, and another environment take the order over.
func TestAnotherEnvironmentGoesOnWithAKilledStepsOrder(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	w.namespace("shop-pr-2")
	// Killed as late as it can be: the certificate is made, and nobody has it. The
	// authority refuses some requests for their nonces, and they are made again.
	finalized := func(_ int, r *http.Request) bool { return strings.Contains(r.URL.Path, pathFinalize) }
	for w.ca.count(pathFinalize) == 0 {
		if w.killWhen(w.tls(sdk.Deploy, "pr-1", wildcard()), finalized) {
			t.Fatal("the step came to its end")
		}
	}
	leases, err := w.client.CoordinationV1().Leases(w.home).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) != 1 {
		t.Fatalf("there are %d locks, %v", len(leases.Items), err)
	}
	long := metav1.NewMicroTime(time.Now().Add(-time.Hour)) // as if it had been killed then
	leases.Items[0].Spec.RenewTime = &long
	if _, err := w.client.CoordinationV1().Leases(w.home).Update(t.Context(), &leases.Items[0], metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	orders := w.ca.count(pathNewOrder)
	out := w.run(w.tls(sdk.Deploy, "pr-2", wildcard()))
	w.leaf(w.secret("shop-pr-2-"+w.id, "tls-web"), "pr-2.shop.preview.example.org")
	if w.ca.count(pathNewOrder) != orders || !strings.Contains(out.text(), "going on with the order") {
		t.Errorf("it made another order:\n%s", out.text())
	}
	w.noChallenges()
	w.keptAtHome(keepsAccount, keepsCertificate)
}
