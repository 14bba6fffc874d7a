package e2e

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/utils/ptr"
)

func readLog(ctx context.Context, ns, pod string, opts *corev1.PodLogOptions) (string, error) {
	if opts == nil {
		opts = &corev1.PodLogOptions{}
	}
	stream, err := shared.client.CoreV1().Pods(ns).GetLogs(pod, opts).Stream(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	out, err := io.ReadAll(stream)
	return string(out), err
}

func TestLogsLookLikeThePods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	createPod(t, ns, "one", template("nginx:1.27", nil))
	createPod(t, ns, "two", template("nginx:1.27", nil))
	waitPod(t, ns, "one", "is ready", isReady)
	waitPod(t, ns, "two", "is ready", isReady)

	var one string
	eventually(t, "the log tells of the start", func(ctx context.Context) (err error) {
		one, err = readLog(ctx, ns, "one", nil)
		if err == nil && !strings.Contains(one, "ready after") {
			err = context.DeadlineExceeded
		}
		return err
	})
	for _, want := range []string{"starting nginx:1.27 in pod " + ns + "/one on node-", "listening on :8080"} {
		if !strings.Contains(one, want) {
			t.Errorf("%q is not in the log: %s", want, one)
		}
	}
	two, err := readLog(t.Context(), ns, "two", nil)
	if err != nil {
		t.Fatal(err)
	}
	if one == two {
		t.Error("two pods have the same log")
	}

	stamped, err := readLog(t.Context(), ns, "one", &corev1.PodLogOptions{TailLines: ptr.To[int64](2), Timestamps: true})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(stamped), "\n")
	if len(lines) != 2 {
		t.Errorf("the last two lines are %q", lines)
	}
	for _, l := range lines {
		stamp, _, _ := strings.Cut(l, " ")
		if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil {
			t.Errorf("%q does not start with a time: %v", l, err)
		}
	}
	if got, err := readLog(t.Context(), ns, "one", &corev1.PodLogOptions{Previous: true}); err == nil || !strings.Contains(err.Error(), "previous terminated container") {
		t.Errorf("the log before the first start is %q, %v", got, err)
	}
}

func TestAFollowedLogEndsWithItsContainer(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	createPod(t, ns, "crash", template("nginx", map[string]string{"devcluster/fail": "CrashLoopBackOff"}))
	waitPod(t, ns, "crash", "has started again", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].RestartCount > 0
	})
	stream, err := shared.client.CoreV1().Pods(ns).GetLogs("crash", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var last string
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		last = lines.Text()
	}
	if !strings.Contains(last, "giving up, exit code 1") {
		t.Errorf("the last line is %q", last)
	}
	if before, err := readLog(t.Context(), ns, "crash", &corev1.PodLogOptions{Previous: true}); err != nil || !strings.Contains(before, "giving up") {
		t.Errorf("the log of the run before is %q, %v", before, err)
	}
}

func TestExecIsRefusedAndRunsNothing(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	createPod(t, ns, "web", template("nginx", nil))
	waitPod(t, ns, "web", "is ready", isReady)
	trace := filepath.Join(t.TempDir(), "trace")

	for _, sub := range []string{"exec", "attach", "portforward"} {
		req := shared.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name("web").SubResource(sub)
		switch sub {
		case "exec":
			req.VersionedParams(&corev1.PodExecOptions{Container: "web", Command: []string{"touch", trace}, Stdout: true}, scheme.ParameterCodec)
		case "attach":
			req.VersionedParams(&corev1.PodAttachOptions{Container: "web", Stdout: true}, scheme.ParameterCodec)
		}
		executor, err := remotecommand.NewSPDYExecutor(shared.config, "POST", req.URL())
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out})
		if err == nil || sub != "portforward" && !strings.Contains(err.Error(), "is not available") {
			t.Errorf("%s gave %v and %q", sub, err, out.String())
		}
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("the command was run on this machine")
	}
}
