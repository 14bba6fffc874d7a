package node

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/cmd/devcluster/internal/stages"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var t0 = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func examplePod(state corev1.ContainerState, last *corev1.ContainerStateTerminated, restarts int32) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: types.UID("uid-1"), Annotations: map[string]string{}},
		Spec: corev1.PodSpec{NodeName: "node-0", Containers: []corev1.Container{{
			Name: "web", Image: "acme/web:1", Command: []string{"serve", "--token=hunter2"},
			Env:   []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2"}},
			Ports: []corev1.ContainerPort{{ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
			Resources: corev1.ResourceRequirements{
				Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
			},
		}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "web", State: state, RestartCount: restarts,
			LastTerminationState: corev1.ContainerState{Terminated: last},
		}}},
	}
}

func started() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(t0)}}
}

func ended(code int32) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: code, StartedAt: metav1.NewTime(t0), FinishedAt: metav1.NewTime(t0)}
}

func waitingFor(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func texts(lines []line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.text)
	}
	return strings.Join(all, "\n")
}

func TestALogTellsOfItsContainer(t *testing.T) {
	for name, tt := range map[string]struct {
		pod      *corev1.Pod
		fail     string
		previous bool
		want     string
	}{
		"a running one serves":               {pod: examplePod(started(), nil, 0), want: "INFO  web: listening on :8080 (tcp)"},
		"one that has done its work says so": {pod: examplePod(corev1.ContainerState{Terminated: ended(0)}, nil, 0), want: "finished, exit code 0"},
		"a crashed one says why":             {pod: examplePod(waitingFor("CrashLoopBackOff"), ended(1), 3), fail: "CrashLoopBackOff", want: "FATAL web: giving up, exit code 1"},
		"one out of memory names its limit":  {pod: examplePod(waitingFor("CrashLoopBackOff"), ended(137), 3), fail: "OOMKilled", want: "97% of its memory limit of 128Mi"},
		"an unready one says why":            {pod: examplePod(started(), nil, 0), fail: "NotReady", want: "ERROR web: not ready: dial tcp"},
		"the run before a running one":       {pod: examplePod(started(), ended(1), 3), previous: true, want: "restarts 2"},
		"the run before a waiting one":       {pod: examplePod(waitingFor("CrashLoopBackOff"), ended(1), 3), previous: true, want: "restarts 3"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.pod.Annotations[stages.FailAnnotation] = tt.fail
			r, err := findRun(tt.pod, "web", tt.previous)
			if err != nil {
				t.Fatal(err)
			}
			got := texts(r.lines(time.Time{}, t0.Add(time.Minute)))
			for _, want := range []string{"starting acme/web:1 in pod shop/web-1 on node-0", tt.want} {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in:\n%s", want, got)
				}
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is in:\n%s", got)
			}
		})
	}
}

func TestALogThatIsNotThere(t *testing.T) {
	for name, tt := range map[string]struct {
		pod       *corev1.Pod
		container string
		previous  bool
		want      string
	}{
		"an image that cannot be pulled": {examplePod(waitingFor("ImagePullBackOff"), nil, 0), "web", false, `container "web" in pod "web-1" is waiting to start: trying and failing to pull image`},
		"a container of another name":    {examplePod(started(), nil, 0), "db", false, `container "db" not found in pod "web-1"`},
		"no run before this one":         {examplePod(started(), nil, 0), "web", true, `previous terminated container "web" in pod "web-1" not found`},
		"no state at all":                {examplePod(corev1.ContainerState{}, nil, 0), "web", false, `container "web" in pod "web-1" is waiting to start - no logs yet`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := findRun(tt.pod, tt.container, tt.previous); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A follower must see each line once, and the same ones as a reader afterwards.
func TestALogReadInPiecesIsTheWholeLog(t *testing.T) {
	for _, fail := range []string{"", stages.NotReady, stages.CrashLoopBackOff} {
		pod := examplePod(started(), nil, 0)
		pod.Annotations[stages.FailAnnotation] = fail
		r, err := findRun(pod, "web", false)
		if err != nil {
			t.Fatal(err)
		}
		end := t0.Add(3 * time.Minute)
		whole := texts(r.lines(time.Time{}, end))
		var pieces []line
		last := time.Time{}
		for now := t0; !now.After(end); now = now.Add(70 * time.Millisecond) {
			new := r.lines(last, now)
			if len(new) > 0 {
				last = new[len(new)-1].at
			}
			pieces = append(pieces, new...)
		}
		if got := texts(append(pieces, r.lines(last, end)...)); got != whole {
			t.Errorf("failing %q: the pieces are\n%s\nthe whole is\n%s", fail, got, whole)
		}
	}
}

func TestALongLogIsCutAtItsBeginning(t *testing.T) {
	r, err := findRun(examplePod(started(), nil, 0), "web", false)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.lines(time.Time{}, t0.AddDate(1, 0, 0))); n > maxLines+10 {
		t.Errorf("after a year it has %d lines", n)
	}
}

func TestLogWriterKeepsToItsLimit(t *testing.T) {
	var out bytes.Buffer
	w := &logWriter{w: &out, flush: func() error { return nil }, left: 12}
	if w.write([]line{{t0, "12345"}, {t0, "1234567890"}, {t0, "more"}}) {
		t.Error("it would write more")
	}
	if got := out.String(); got != "12345\n123456" {
		t.Errorf("got %q", got)
	}
}

func FuzzParseLogOptions(f *testing.F) {
	for _, q := range []string{"", "follow=true&tailLines=5", "sinceSeconds=10&timestamps=1", "sinceTime=2026-05-04T03:02:01Z&limitBytes=9", "tailLines=-1", "follow=maybe"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Skip()
		}
		opts, err := parseLogOptions(q, t0)
		if err == nil && (opts.tail < -1 || opts.limitBytes < -1) {
			t.Errorf("%q gave %+v", query, opts)
		}
	})
}
