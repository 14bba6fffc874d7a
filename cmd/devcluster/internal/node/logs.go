package node

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/berth-dev/berth/cmd/devcluster/internal/stages"

	corev1 "k8s.io/api/core/v1"
)

// maxLines is how many of the lines of a long-running container are kept, as log
// rotation does.
const maxLines = 5000

// run is one run of a container: what its log is made of. The log is a function
// of the run alone, so every reader at any time reads the same lines, and
// nothing needs to be kept.
type run struct {
	pod       *corev1.Pod
	spec      *corev1.Container
	restart   int32 // how often the container had been restarted before
	startedAt time.Time
	end       *corev1.ContainerStateTerminated // nil: it runs
	fail      string                           // stages.FailAnnotation's value
}

// ended reports whether no more lines will come.
func (r run) ended() bool { return r.end != nil }

// line is one line of a log.
type line struct {
	at   time.Time
	text string
}

// findRun finds what a container runs or ran last, or, if previous, what it ran
// before. Its errors are the kubelet's (validateContainerLogStatus in
// k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go).
func findRun(pod *corev1.Pod, container string, previous bool) (run, error) {
	spec, status := containerOf(pod, container)
	if spec == nil {
		return run{}, fmt.Errorf("container %q not found in pod %q", container, pod.Name)
	}
	if status == nil {
		return run{}, fmt.Errorf("container %q in pod %q is not available", container, pod.Name)
	}
	r := run{pod: pod, spec: spec, restart: status.RestartCount, fail: pod.Annotations[stages.FailAnnotation]}
	state, last := status.State, status.LastTerminationState.Terminated
	switch {
	case previous && last == nil:
		return run{}, fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
	case previous:
		if state.Waiting == nil {
			r.restart-- // the count is of what came after it
		}
		r.end = last
	case state.Running != nil:
		r.startedAt = state.Running.StartedAt.Time
		return r, nil
	case state.Terminated != nil:
		r.end = state.Terminated
	case last != nil:
		r.end = last
	case state.Waiting != nil:
		why := state.Waiting.Reason
		switch why {
		case stages.ErrImagePull:
			why = "image can't be pulled"
		case stages.ImagePullBackOff:
			why = "trying and failing to pull image"
		}
		return run{}, fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod.Name, why)
	default:
		return run{}, fmt.Errorf("container %q in pod %q is waiting to start - no logs yet", container, pod.Name)
	}
	r.startedAt = r.end.StartedAt.Time
	return r, nil
}

// lines returns what was logged after since and not after now, oldest first.
func (r run) lines(since, now time.Time) []line {
	var out []line
	at := r.startedAt
	add := func(level, format string, args ...any) {
		if at.After(since) && !at.After(now) {
			text := fmt.Sprintf("%s %-5s %s: %s", at.UTC().Format("2006-01-02T15:04:05.000Z"), level, r.spec.Name, fmt.Sprintf(format, args...))
			out = append(out, line{at, text})
		}
	}
	wait := func(d time.Duration) { at = at.Add(d) }

	wait(time.Millisecond * time.Duration(1+r.vary("first", 9)))
	add("INFO", "starting %s in pod %s/%s on %s, restarts %d", r.spec.Image, r.pod.Namespace, r.pod.Name, r.pod.Spec.NodeName, r.restart)
	if len(r.spec.Command)+len(r.spec.Args) > 0 {
		wait(2 * time.Millisecond)
		// The name of the program alone: arguments can hold what logs must not.
		add("INFO", "running %s with %d arguments", program(r.spec), max(0, len(r.spec.Command)+len(r.spec.Args)-1))
	}
	wait(time.Millisecond * time.Duration(5+r.vary("config", 20)))
	add("INFO", "read configuration: %d environment variables, %d volumes", len(r.spec.Env)+len(r.spec.EnvFrom), len(r.spec.VolumeMounts))

	if r.end != nil && r.end.ExitCode == 0 {
		wait(time.Millisecond * time.Duration(20+r.vary("work", 60)))
		add("INFO", "finished, exit code 0")
		return out
	}
	if r.crashes() {
		r.crashLines(add, wait)
		return out
	}
	for _, p := range r.spec.Ports {
		wait(time.Millisecond * time.Duration(3+r.vary(p.Name, 8)))
		add("INFO", "listening on :%d (%s)", p.ContainerPort, strings.ToLower(string(p.Protocol)))
	}
	if r.fail == stages.NotReady {
		r.repeat(&at, since, now, 5*time.Second, func(int64) {
			add("ERROR", "not ready: dial tcp %s: connect: connection refused", r.upstream())
		})
		return out
	}
	wait(time.Millisecond * time.Duration(10+r.vary("ready", 70)))
	if later, err := time.ParseDuration(r.pod.Annotations[stages.ReadyAfterAnnotation]); err == nil && later > 0 {
		add("INFO", "warming up")
		at = r.startedAt.Add(max(later, at.Sub(r.startedAt)+time.Millisecond))
	}
	add("INFO", "ready after %s", at.Sub(r.startedAt))
	r.repeat(&at, since, now, 10*time.Second, func(n int64) {
		add("INFO", "GET %s 200 %.1fms", r.probePath(), 0.4+float64(r.vary(fmt.Sprint(n), 60))/10)
	})
	return out
}

// crashes reports whether this run ends, or has ended, in a failure.
func (r run) crashes() bool {
	switch r.fail {
	case stages.CrashLoopBackOff, stages.Error, stages.OOMKilled:
		return true
	}
	return r.end != nil
}

// crashLines are the last words of a container that fails. While it still runs,
// the very last ones are not there yet.
func (r run) crashLines(add func(level, format string, args ...any), wait func(time.Duration)) {
	wait(20 * time.Millisecond)
	if r.fail == stages.OOMKilled {
		limit := "its memory limit"
		if q, ok := r.spec.Resources.Limits[corev1.ResourceMemory]; ok {
			limit = "its memory limit of " + q.String()
		}
		add("WARN", "memory in use is at 97%% of %s", limit)
		wait(15 * time.Millisecond)
		add("ERROR", "cannot allocate memory")
		return // the kernel's SIGKILL leaves no time for more
	}
	add("WARN", "dial tcp %s: connect: connection refused, trying again", r.upstream())
	wait(30 * time.Millisecond)
	add("ERROR", "cannot reach the database: dial tcp %s: connect: connection refused", r.upstream())
	if r.end != nil {
		wait(5 * time.Millisecond)
		add("FATAL", "giving up, exit code %d", r.end.ExitCode)
	}
}

// repeat moves at forward in steps of interval and calls f for each that is in
// (since, now], but for no more than the last maxLines of them: a container that
// has run for weeks costs no more than one of today.
func (r run) repeat(at *time.Time, since, now time.Time, interval time.Duration, f func(n int64)) {
	begin := *at
	if r.end != nil {
		now = r.end.FinishedAt.Time
	}
	last := int64(now.Sub(begin) / interval)
	first := max(1, last-maxLines)
	if since.After(begin) {
		first = max(first, int64(since.Sub(begin)/interval))
	}
	for n := first; n <= last; n++ {
		*at = begin.Add(time.Duration(n) * interval)
		f(n)
	}
}

// vary returns a number in [0, n) that differs between pods and is always the
// same for one.
func (r run) vary(what string, n uint32) uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%s/%d/%s", r.pod.UID, r.spec.Name, r.restart, what)
	return h.Sum32() % n
}

// upstream is the address of a service that this pod pretends to need.
func (r run) upstream() string {
	return fmt.Sprintf("10.96.%d.%d:5432", 1+r.vary("net", 200), 1+r.vary("host", 250))
}

// probePath is what a kubelet would ask the container for.
func (r run) probePath() string {
	for _, p := range []*corev1.Probe{r.spec.ReadinessProbe, r.spec.LivenessProbe} {
		if p != nil && p.HTTPGet != nil && p.HTTPGet.Path != "" {
			return p.HTTPGet.Path
		}
	}
	return "/healthz"
}

func program(c *corev1.Container) string {
	if len(c.Command) > 0 {
		return c.Command[0]
	}
	return "the image's program"
}
