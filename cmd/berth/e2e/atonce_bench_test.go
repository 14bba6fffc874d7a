package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/clustertest"
)

// sideBySide is how many deploys Berth runs in one cluster at once: three quarters
// of its worker's default of 32 (approvals.WorkerOptions, Concurrency and Room).
const sideBySide = 24

// BenchmarkAtOnce deploys 100 environments (BENCH=short: 6) that are asked for at
// once: first with `xargs -P` and Helm's own command line, then with Berth, which
// runs as many side by side. Each has a cluster to itself. It reports the wall
// time and the peak memory (the proportional set of all processes, sampled) of
// both. It needs the path of Helm in HELM.
func BenchmarkAtOnce(b *testing.B) {
	helm := os.Getenv("HELM")
	if helm == "" {
		b.Skip("HELM does not name the helm program; make bench builds it")
	}
	n := 100
	if os.Getenv("BENCH") == "short" {
		n = 6
	}
	var cli, berth, cliMB, berthMB float64
	for b.Loop() {
		took, mb := helmAtOnce(b, helm, n)
		cli, cliMB = cli+took.Seconds(), max(cliMB, mb)
		took, mb = berthAtOnce(b, n)
		berth, berthMB = berth+took.Seconds(), max(berthMB, mb)
	}
	b.ReportMetric(0, "ns/op") // starting clusters is not what is measured
	b.ReportMetric(berth/float64(b.N), "s/berth")
	b.ReportMetric(cli/float64(b.N), "s/helm")
	b.ReportMetric(berth/cli, "berth/helm")
	b.ReportMetric(berthMB, "MB-berth")
	b.ReportMetric(cliMB, "MB-helm")
}

// helmAtOnce is what a shell script would do.
func helmAtOnce(b *testing.B, helm string, n int) (took time.Duration, peakMB float64) {
	cluster, err := clustertest.Start()
	must(b, err)
	defer cluster.Stop()
	chart, err := filepath.Abs("../../../charts/preview")
	must(b, err)
	var names strings.Builder
	for i := range n {
		fmt.Fprintf(&names, "h%d\n", i)
	}
	cmd := exec.Command("xargs", "-P", strconv.Itoa(sideBySide), "-I{}", helm, "upgrade", "--install", "--wait", "web", chart,
		"--namespace", "shop-{}", "--create-namespace", "--kubeconfig", cluster.Kubeconfig, "--set", "image.repository=registry.example.org/acme/shop",
		"--set-string", "image.tag=1", "--set", "ingress.enabled=true", "--set", "ingress.host={}.shop.example.org", "--set-string", "env.LOG_LEVEL=debug")
	cmd.Stdin = strings.NewReader(names.String())
	out := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	began := time.Now()
	must(b, cmd.Start())
	peak := watchMemory(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		b.Fatalf("helm: %v\n%s", err, out)
	}
	return time.Since(began), peak()
}

// berthAtOnce asks a running Berth for all of them by its API.
func berthAtOnce(b *testing.B, n int) (took time.Duration, peakMB float64) {
	w := newWorld(b)
	replica := w.startBerth(w.simpleApp())
	stamp := time.Now().UnixNano() % 1_000_000
	peak := watchMemory(replica.cmd.Process.Pid)
	began := time.Now()
	var asking sync.WaitGroup
	for i := range n {
		asking.Go(func() {
			body, err := json.Marshal(map[string]string{"command": fmt.Sprintf("deploy %s/b%d-%d", w.app, stamp, i)})
			if err != nil {
				b.Error(err)
				return
			}
			var request struct{ ID string }
			replica.call(http.MethodPost, "/api/v1/requests", body, &request)
		})
	}
	asking.Wait()
	until := time.Now().Add(10 * time.Minute)
	for running := 0; running < n; running = replica.inState("Running") {
		if time.Now().After(until) || replica.inState("Failure") > 0 {
			b.Fatalf("only %d of %d are running\n%s", running, n, replica.log)
		}
		time.Sleep(100 * time.Millisecond) // this is how a script would wait for them
	}
	took = time.Since(began)
	peakMB = peak()
	replica.stop()
	return took, peakMB
}

// inState counts the app's environments in a state.
func (b *berth) inState(state string) int {
	count, next := 0, ""
	for {
		var page struct {
			Items []struct{ Name string }
			Next  string
		}
		b.call(http.MethodGet, "/api/v1/environments?limit=100&app="+b.w.app+"&state="+state+next, nil, &page)
		count += len(page.Items)
		if page.Next == "" {
			return count
		}
		next = "&cursor=" + page.Next
	}
}

// watchMemory samples the memory of a process and all below it. The returned
// function ends that and gives the highest sum in megabytes (2^20 bytes). Pages
// that processes share are counted once: see smaps_rollup in proc(5).
func watchMemory(root int) (peak func() float64) {
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			sum := 0
			for _, pid := range family(root) {
				sum += proportionalKB(pid)
			}
			most = max(most, sum)
			select {
			case <-tick.C:
			case <-stop:
				done <- most
				return
			}
		}
	}()
	return func() float64 {
		close(stop)
		return float64(<-done) / 1024
	}
}

// family is a process and all below it.
func family(root int) []int {
	all := []int{root}
	for i := 0; i < len(all); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, file := range tasks {
			data, _ := os.ReadFile(file) // one that has ended has no children
			for _, field := range strings.Fields(string(data)) {
				if pid, err := strconv.Atoi(field); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

func proportionalKB(pid int) int {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)) // one that has ended takes nothing
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Pss:" {
			kb, _ := strconv.Atoi(fields[1])
			return kb
		}
	}
	return 0
}
