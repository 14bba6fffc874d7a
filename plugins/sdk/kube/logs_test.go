package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// apply makes objects.
func apply(t testing.TB, c *Cluster, namespace, manifest string) {
	t.Helper()
	objects, err := parseManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range objects {
		to, err := c.Resource(u, namespace)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

const talkers = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: example.org/a:1}, {name: side, image: example.org/b:1}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec: {schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: example.org/c:1}]}}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec: {containers: [{name: app, image: example.org/a:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: strange}
spec:
  selector: {matchLabels: {app: strange}}
  template: {metadata: {labels: {app: strange}}, spec: {containers: [{name: app, image: example.org/a:1}]}}
`

// partOf tells the objects of that kind and name from others.
func partOf(namespace string, kindNames ...string) func(string) bool {
	return func(id string) bool {
		_, rest, _ := strings.Cut(id, "/")
		return slices.ContainsFunc(kindNames, func(kn string) bool {
			kind, name, _ := strings.Cut(kn, "/")
			return rest == kind+"/"+namespace+"/"+name
		})
	}
}

// sourcesOf are whose lines there are, by how their pods begin.
func sourcesOf(lines []sdk.LogLine) []string {
	var out []string
	for _, l := range lines {
		pod, container, _ := strings.Cut(l.Source, "/")
		if i := strings.IndexByte(pod, '-'); i > 0 {
			pod = pod[:i]
		}
		out = append(out, pod+"/"+container)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func readLogs(t *testing.T, p PodLogs, q sdk.LogQuery) []sdk.LogLine {
	t.Helper()
	var lines []sdk.LogLine
	if err := p.Read(t.Context(), q, func(l sdk.LogLine) error { lines = append(lines, l); return nil }); err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestLogsOfAPart(t *testing.T) {
	t.Parallel()
	c := open(t, sdk.Cluster{})
	ns := namespace(t)
	apply(t, c, ns, talkers)
	cron, err := c.Clientset().BatchV1().CronJobs(ns).Get(t.Context(), "tick", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	job := parse(t, `{apiVersion: batch/v1, kind: Job, metadata: {name: tick-1}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: example.org/c:1}]}}}}`)
	job.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "CronJob", Name: "tick", UID: cron.UID}})
	to, err := c.Resource(job, ns)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := to.Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := PodLogs{Cluster: c, Namespaces: []string{ns}, Of: partOf(ns, "Deployment/web", "CronJob/tick", "Pod/alone")}
	var all []sdk.LogLine
	eventually(t, "all have said that they are ready", func() bool {
		all = readLogs(t, p, sdk.LogQuery{})
		n := 0
		for _, l := range all {
			if strings.Contains(l.Text, "ready after") || strings.Contains(l.Text, "finished") {
				n++
			}
		}
		return n == 6
	})
	if got, want := fmt.Sprint(sourcesOf(all)), "[alone/app tick/job web/app web/side]"; got != want {
		t.Errorf("the part's sources are %s, want %s", got, want)
	}
	if !slices.IsSortedFunc(all, func(a, b sdk.LogLine) int { return a.Time.Compare(b.Time) }) {
		t.Error("the lines are not in the order of their times")
	}
	middle := all[len(all)/2]
	pod, _, _ := strings.Cut(middle.Source, "/")
	for name, tt := range map[string]struct {
		q    sdk.LogQuery
		fits func(sdk.LogLine) bool
		n    int // 0 is any but none
	}{
		"of one pod":            {q: sdk.LogQuery{Pod: pod}, fits: func(l sdk.LogLine) bool { return strings.HasPrefix(l.Source, pod+"/") }},
		"of pods that begin so": {q: sdk.LogQuery{Pod: "web-"}, fits: func(l sdk.LogLine) bool { return strings.HasPrefix(l.Source, "web-") }},
		"of one container":      {q: sdk.LogQuery{Container: "side"}, fits: func(l sdk.LogLine) bool { return strings.HasSuffix(l.Source, "/side") }},
		"that hold a text":      {q: sdk.LogQuery{Contains: "read configuration"}, fits: func(l sdk.LogLine) bool { return strings.Contains(l.Text, "read configuration") }, n: 6},
		"since a time":          {q: sdk.LogQuery{Since: middle.Time}, fits: func(l sdk.LogLine) bool { return !l.Time.Before(middle.Time) }},
		"the last of each":      {q: sdk.LogQuery{Tail: 1}, fits: func(sdk.LogLine) bool { return true }, n: 6},
		"the last with a text":  {q: sdk.LogQuery{Tail: 1, Contains: "starting"}, fits: func(l sdk.LogLine) bool { return strings.Contains(l.Text, "starting") }, n: 6},
	} {
		lines := readLogs(t, p, tt.q)
		if len(lines) == 0 || tt.n > 0 && len(lines) != tt.n || slices.ContainsFunc(lines, func(l sdk.LogLine) bool { return !tt.fits(l) }) {
			t.Errorf("%s: %d lines: %v", name, len(lines), lines)
		}
	}
	if lines := readLogs(t, p, sdk.LogQuery{Pod: "nobody"}); lines != nil {
		t.Errorf("of nobody: %v", lines)
	}
	enough := errors.New("enough")
	n := 0
	if err := p.Read(t.Context(), sdk.LogQuery{}, func(sdk.LogLine) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("who has enough after one line is told %d, %v", n, err)
	}
}

func TestLogsAreFollowedThroughRestartsAndNewPods(t *testing.T) {
	t.Parallel()
	c := open(t, sdk.Cluster{})
	ns := namespace(t)
	apply(t, c, ns, `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: app, image: example.org/a:1}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: crash}
spec:
  selector: {matchLabels: {app: crash}}
  template: {metadata: {labels: {app: crash}, annotations: {devcluster/fail: CrashLoopBackOff}}, spec: {containers: [{name: app, image: example.org/a:1}]}}
`)
	p := PodLogs{Cluster: c, Namespaces: []string{ns}, Of: partOf(ns, "Deployment/web", "Deployment/crash")}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	seen := map[string]int{} // by line, with its time and source
	begun := map[string]bool{}
	scaled := false
	err := p.Read(ctx, sdk.LogQuery{Follow: true}, func(l sdk.LogLine) error {
		if key := l.Source + l.Time.String() + l.Text; true {
			if seen[key]++; seen[key] == 2 {
				t.Errorf("%v was told twice", l)
			}
		}
		if i := strings.Index(l.Text, ", restarts "); i >= 0 {
			begun[l.Source+l.Text[i:]] = true
		}
		webs, crashes := 0, 0
		for key := range begun {
			switch {
			case strings.HasPrefix(key, "web-"):
				webs++
			case !strings.HasSuffix(key, "restarts 1"):
				crashes++
			}
		}
		if webs == 1 && !scaled {
			scaled = true
			if _, err := c.Clientset().AppsV1().Deployments(ns).Patch(ctx, "web", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{}); err != nil {
				return err
			}
		}
		if webs == 2 && crashes >= 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v after %d lines; begun are %v", err, len(seen), begun)
	}
	// The simulated kubelet dates lines by the second in which a run began, and the
	// first restart comes after half of one.
	for _, n := range []int{0, 2, 3} {
		found := false
		for key := range begun {
			found = found || strings.HasPrefix(key, "crash-") && strings.HasSuffix(key, fmt.Sprintf("restarts %d", n))
		}
		if !found {
			t.Errorf("the run after %d restarts was not told: %v", n, begun)
		}
	}
}

// talking is the tests' cluster whose logs say what a test wants.
func talking(t *testing.T, say func(w http.ResponseWriter, r *http.Request, pod string)) *Cluster {
	t.Helper()
	return open(t, sdk.Cluster{Kubeconfig: clustertest.Proxied(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if way, ok := strings.CutSuffix(r.URL.Path, "/log"); ok {
				say(w, r, way[strings.LastIndexByte(way, '/')+1:])
				return
			}
			next.ServeHTTP(w, r)
		})
	})})
}

// alone makes a pod that runs.
func alone(t *testing.T, c *Cluster) string {
	t.Helper()
	ns := namespace(t)
	apply(t, c, ns, "apiVersion: v1\nkind: Pod\nmetadata: {name: alone}\nspec: {containers: [{name: app, image: example.org/a:1}]}\n")
	eventually(t, "the pod runs", func() bool {
		pod, err := c.Clientset().CoreV1().Pods(ns).Get(t.Context(), "alone", metav1.GetOptions{})
		return err == nil && len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].State.Running != nil
	})
	return ns
}

func TestAProgramThatPrintsWithoutEndTakesNoMemory(t *testing.T) {
	c := talking(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		long := strings.Repeat("x", 1<<20)
		for n := 0; r.Context().Err() == nil; n++ {
			stamp := time.Now().UTC().Format(time.RFC3339Nano)
			if n%1000 == 0 {
				fmt.Fprintf(w, "%s %s\n", stamp, long)
			}
			fmt.Fprintf(w, "%s line %d %s\n", stamp, n, long[:500])
		}
	})
	ns := alone(t, c)
	p := PodLogs{Cluster: c, Namespaces: []string{ns}, Of: partOf(ns, "Pod/alone")}
	for name, q := range map[string]sdk.LogQuery{"all": {}, "one line of which there is none": {Contains: "nowhere"}} {
		ctx, cancel := context.WithCancel(t.Context())
		var most uint64
		bytes := 0
		measure := func() {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		measure()
		before := most
		hidden := 0
		p.Hide = func(s string) string {
			if bytes += len(s); bytes > 96<<20 {
				cancel()
			}
			if hidden++; hidden%20000 == 0 {
				measure()
			}
			return s
		}
		err := p.Read(ctx, q, func(l sdk.LogLine) error {
			if len(l.Text) > maxLogLine+100 {
				t.Fatalf("a line has %d bytes", len(l.Text))
			}
			return nil
		})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if most > before+24<<20 {
			t.Errorf("%s: %d MiB became %d MiB while %d MiB were printed", name, before>>20, most>>20, bytes>>20)
		}
	}
}

func TestSecretsInLogsAreHiddenWhereverALineIsCut(t *testing.T) {
	t.Parallel()
	const secret = "S3cr3t-of-the-step"
	at := time.Now().UTC().Format(time.RFC3339Nano)
	c := talking(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		for _, before := range []int{0, maxLogLine - 25, maxLogLine - 5, maxLogLine - 1, maxLogLine + 10} {
			fmt.Fprintf(w, "%s %s%s tail\n", at, strings.Repeat("x", before), secret)
		}
		fmt.Fprintf(w, "%s \xff\xfe broken \x00 %s\r\n%s no newline", at, secret, at)
	})
	ns := alone(t, c)
	m := NewMasker(RandomKey(), nil)
	m.LearnExact([]string{secret})
	p := PodLogs{Cluster: c, Namespaces: []string{ns}, Of: partOf(ns, "Pod/alone"), Hide: m.Text}
	lines := readLogs(t, p, sdk.LogQuery{})
	if len(lines) != 7 || lines[6].Text != "no newline" || lines[0].Text != "*** tail" {
		t.Errorf("%d lines: %q … %q", len(lines), lines[0].Text, lines[len(lines)-1].Text)
	}
	for i, l := range lines {
		if strings.Contains(l.Text, secret[:4]) || strings.Contains(l.Text, "\r") {
			t.Errorf("line %d tells %q", i, l.Text[max(0, len(l.Text)-60):])
		}
	}
}

func TestAConnectionThatBreaksIsTakenUpWhereItWas(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	opened := 0
	begin := time.Now().UTC().Add(-time.Hour)
	c := talking(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.URL.Query().Get("previous") == "true" {
			http.Error(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":400,"reason":"BadRequest"}`, http.StatusBadRequest)
			return
		}
		mu.Lock()
		opened++
		upto := 10 * opened
		mu.Unlock()
		since, _ := time.Parse(time.RFC3339, r.URL.Query().Get("sinceTime"))
		for n := range upto {
			// Three lines each have the very same time.
			if at := begin.Add(time.Duration(n/3) * 100 * time.Millisecond); !at.Before(since) {
				fmt.Fprintf(w, "%s line %d\n", at.Format(time.RFC3339Nano), n)
			}
		}
		fmt.Fprintf(w, "%s li", begin.Add(time.Duration(upto/3)*100*time.Millisecond).Format(time.RFC3339Nano))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	ns := alone(t, c)
	p := PodLogs{Cluster: c, Namespaces: []string{ns}, Of: partOf(ns, "Pod/alone")}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var got []string
	err := p.Read(ctx, sdk.LogQuery{Follow: true}, func(l sdk.LogLine) error {
		if strings.HasPrefix(l.Text, "line ") {
			if got = append(got, l.Text); len(got) == 45 {
				cancel()
			}
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v after %d lines", err, len(got))
	}
	for n, text := range got {
		if text != fmt.Sprintf("line %d", n) {
			t.Fatalf("line %d is %q, of %q", n, text, got)
		}
	}
}

func TestLogsThatMayNotBeReadSaySo(t *testing.T) {
	t.Parallel()
	c := talking(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"pods \"alone\" is forbidden: User \"berth\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"x\""}`))
	})
	ns := alone(t, c)
	p := PodLogs{Cluster: c, Namespaces: []string{ns}, Of: partOf(ns, "Pod/alone")}
	for _, follow := range []bool{false, true} {
		err := p.Read(t.Context(), sdk.LogQuery{Follow: follow}, func(sdk.LogLine) error { return nil })
		if err == nil || !strings.Contains(Explain(err, sdk.Cluster{}).Msg, "does not let Berth get pods/log") {
			t.Errorf("follow %v: %v", follow, err)
		}
	}
}
