package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

// BenchmarkStart measures from the start of the process to the first green
// /readyz, which needs Redis and, where apps use one, their plugins.
func BenchmarkStart(b *testing.B) {
	for name, withPlugins := range map[string]bool{"with plugins": true, "without plugins": false} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			apps := "  {}\n"
			if withPlugins {
				apps = w.simpleApp()
			}
			for b.Loop() {
				b.StopTimer()
				replica := w.prepareBerth(apps)
				b.StartTimer()
				replica.start()
				for replica.status("/readyz") != http.StatusOK {
					time.Sleep(time.Millisecond) // this is what is measured
				}
				b.StopTimer()
				replica.stop()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
		})
	}
}

// BenchmarkMemory reports the resident memory of the bot core: idle, and while
// webhooks come in.
func BenchmarkMemory(b *testing.B) {
	w := newWorld(b)
	replica := w.startBerth(w.simpleApp())
	time.Sleep(2 * time.Second) // the work of starting is over
	idle := residentMB(b, replica.cmd.Process.Pid)
	for b.Loop() {
		var posts sync.WaitGroup
		for worker := range 16 {
			posts.Go(func() { w.postComments(replica, worker, 500) })
		}
		posts.Wait()
	}
	b.ReportMetric(idle, "MB-idle")
	b.ReportMetric(residentMB(b, replica.cmd.Process.Pid), "MB-loaded")
}

// postComments posts n signed comments that hold no command.
func (w *world) postComments(replica *berth, worker, n int) {
	var body []byte
	for _, example := range githubtest.Examples() {
		if example.Event == "issue_comment" && example.Action == "created" {
			body = example.Payload
		}
	}
	signature := "sha256=" + githubtest.Sign(secret, body)
	for i := range n {
		header := http.Header{
			"Content-Type": {"application/json"}, "X-Github-Event": {"issue_comment"}, "X-Hub-Signature-256": {signature},
			"X-Github-Delivery": {fmt.Sprintf("%08d-0000-4000-8000-%012d", worker, i)},
		}
		if code := post(w.t, replica.url, header, body); code != http.StatusAccepted {
			w.t.Errorf("a webhook got %d", code)
			return
		}
	}
}

// residentMB is the resident memory of a process in megabytes (2^20 bytes).
func residentMB(t testing.TB, pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmRSS:" {
			kib, err := strconv.Atoi(fields[1])
			must(t, err)
			return float64(kib) / 1024
		}
	}
	t.Fatal("no VmRSS in /proc")
	return 0
}

// BenchmarkDeploy compares a /deploy, from the request to the release being
// deployed, with `helm upgrade --install --wait` of the same chart. Each deploy
// is the first of its environment. It needs the path of Helm in HELM.
func BenchmarkDeploy(b *testing.B) {
	helm := os.Getenv("HELM")
	if helm == "" {
		b.Skip("HELM does not name the helm program; make bench builds it")
	}
	w := newWorld(b)
	replica := w.startBerth(w.simpleApp())
	chart, err := filepath.Abs("../../../charts/preview")
	must(b, err)
	var berths, helms time.Duration
	for n := 0; b.Loop(); n++ {
		began := time.Now()
		replica.deployAndWait(fmt.Sprintf("%s/b%d-%d", w.app, n, began.Unix()%10000))
		berths += time.Since(began)
		began = time.Now()
		w.helmInstall(helm, chart, fmt.Sprintf("%s-h%d-%d", w.app, n, began.Unix()%10000))
		helms += time.Since(began)
	}
	b.ReportMetric(float64(berths.Milliseconds())/float64(b.N), "ms/berth")
	b.ReportMetric(float64(helms.Milliseconds())/float64(b.N), "ms/helm")
	b.ReportMetric(float64(berths)/float64(helms), "berth/helm")
}

func (w *world) helmInstall(helm, chart, namespace string) {
	cmd := exec.Command(helm, "upgrade", "--install", "--wait", "web", chart, "--namespace", namespace, "--create-namespace",
		"--kubeconfig", w.kubeconfig, "--set", "image.repository=registry.example.org/acme/shop", "--set-string", "image.tag=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("helm: %v\n%s", err, out)
	}
}

func (b *berth) deployAndWait(env string) { b.commandAndWait("deploy " + env) }

// commandAndWait asks by the API and reads the run's events until it has ended.
func (b *berth) commandAndWait(command string) {
	t := b.w.t
	body, err := json.Marshal(map[string]string{"command": command})
	must(t, err)
	var request struct {
		ID, State, Reason string
		RunID             string `json:"run_id"`
	}
	b.call(http.MethodPost, "/api/v1/requests", body, &request)
	for request.RunID == "" {
		b.call(http.MethodGet, "/api/v1/requests/"+request.ID, nil, &request)
	}
	b.readEvents(request.RunID)
	b.call(http.MethodGet, "/api/v1/requests/"+request.ID, nil, &request)
	for request.State == "running" {
		b.call(http.MethodGet, "/api/v1/requests/"+request.ID, nil, &request)
	}
	if request.State != "succeeded" {
		t.Fatalf("%s is %s: %s", command, request.State, request.Reason)
	}
}

// readEvents reads a run's event stream to its end.
func (b *berth) readEvents(run string) {
	req, err := http.NewRequestWithContext(b.w.t.Context(), http.MethodGet, b.url+"/api/v1/runs/"+run+"/events", nil)
	must(b.w.t, err)
	req.Header.Set("Authorization", "Bearer "+apiToken)
	resp, err := http.DefaultClient.Do(req)
	must(b.w.t, err)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
	}
	must(b.w.t, lines.Err())
}

// call is one call of the API.
func (b *berth) call(method, path string, body []byte, out any) {
	t := b.w.t
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, bytes.NewReader(body))
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+apiToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, text)
	}
	must(t, json.Unmarshal(text, out))
}
