package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// followInterval is how often a followed log looks whether its container still
// runs.
const followInterval = 300 * time.Millisecond

// kubelet serves what the API server asks kubelets for. All nodes share it.
type kubelet struct {
	pods   corelisters.PodLister
	client string // the common name of who may call
	log    *slog.Logger
}

func (k *kubelet) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.logs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	for path, what := range map[string]string{
		"/exec/":        "exec",
		"/run/":         "exec",
		"/cri/":         "exec",
		"/attach/":      "attach",
		"/portForward/": "port-forward",
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, what+" is not available: pods of the dev cluster are simulated, there is no process behind them", http.StatusNotImplemented)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, "the dev cluster's simulated kubelet does not serve "+r.URL.Path, http.StatusNotFound)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// TLS has verified that the certificate is of this cluster's authority;
		// an ordinary user's is too.
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != k.client {
			refuse(w, "only the API server may ask a kubelet", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// logs answers GET /containerLogs/{namespace}/{pod}/{container} as a kubelet
// does, including the text of its errors.
func (k *kubelet) logs(w http.ResponseWriter, r *http.Request) {
	opts, err := parseLogOptions(r.URL.Query(), time.Now())
	if err != nil {
		refuse(w, err.Error(), http.StatusBadRequest)
		return
	}
	find := func() (run, error) {
		return k.find(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"), opts.previous)
	}
	current, err := find()
	if err != nil {
		refuse(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	out := &logWriter{w: w, flush: http.NewResponseController(w).Flush, timestamps: opts.timestamps, left: opts.limitBytes}

	lines := current.lines(opts.since, time.Now())
	if opts.tail >= 0 && len(lines) > opts.tail {
		lines = lines[len(lines)-opts.tail:]
	}
	last := opts.since
	if len(lines) > 0 {
		last = lines[len(lines)-1].at
	} else if opts.tail >= 0 {
		last = time.Now()
	}
	if !out.write(lines) || !opts.follow {
		return
	}
	follow(r.Context(), current, last, find, out)
}

// follow writes the lines of a run after the time last, as they come, until it
// ends or the caller leaves.
func follow(ctx context.Context, current run, last time.Time, find func() (run, error), out *logWriter) {
	tick := time.NewTicker(followInterval)
	defer tick.Stop()
	for {
		lines := current.lines(last, time.Now())
		if len(lines) > 0 {
			last = lines[len(lines)-1].at
		}
		if !out.write(lines) || current.ended() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next, err := find()
		if err != nil || next.restart != current.restart {
			return // the pod is gone, or what was followed is
		}
		current = next
	}
}

// find looks up what a container ran last, or, if previous, before that.
func (k *kubelet) find(namespace, name, container string, previous bool) (run, error) {
	pod, err := k.pods.Pods(namespace).Get(name)
	if err != nil {
		return run{}, fmt.Errorf("pod %q does not exist", name)
	}
	return findRun(pod, container, previous)
}

// refuse answers with a sentence, which ends up in front of whoever asked.
func refuse(w http.ResponseWriter, sentence string, code int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, sentence) // the caller may be gone
}

type logOptions struct {
	follow, previous, timestamps bool
	tail                         int   // lines; negative: all
	limitBytes                   int64 // negative: no limit
	since                        time.Time
}

// parseLogOptions reads the query of a PodLogOptions, which the API server has
// checked already.
func parseLogOptions(q url.Values, now time.Time) (logOptions, error) {
	opts := logOptions{tail: -1, limitBytes: -1}
	for name, to := range map[string]*bool{"follow": &opts.follow, "previous": &opts.previous, "timestamps": &opts.timestamps} {
		if s := q.Get(name); s != "" {
			b, err := strconv.ParseBool(s)
			if err != nil {
				return opts, fmt.Errorf("%s=%q is not a boolean", name, s)
			}
			*to = b
		}
	}
	number := func(name string, to func(int64)) error {
		s := q.Get(name)
		if s == "" {
			return nil
		}
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%s=%q is not a number from 0", name, s)
		}
		to(n)
		return nil
	}
	if err := number("tailLines", func(n int64) { opts.tail = int(n) }); err != nil {
		return opts, err
	}
	if err := number("limitBytes", func(n int64) { opts.limitBytes = n }); err != nil {
		return opts, err
	}
	if err := number("sinceSeconds", func(n int64) { opts.since = now.Add(-time.Duration(n) * time.Second) }); err != nil {
		return opts, err
	}
	if s := q.Get("sinceTime"); s != "" {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return opts, fmt.Errorf("sinceTime=%q is not a time (RFC 3339)", s)
		}
		opts.since = t
	}
	return opts, nil
}

// logWriter writes lines as a kubelet does: with the time before them where
// asked for, and no more than limit bytes.
type logWriter struct {
	w          io.Writer
	flush      func() error
	timestamps bool
	left       int64 // bytes; negative: no limit
}

// write reports whether more may be written.
func (l *logWriter) write(lines []line) bool {
	for _, ln := range lines {
		text := ln.text + "\n"
		if l.timestamps {
			text = ln.at.UTC().Format("2006-01-02T15:04:05.000000000Z") + " " + text
		}
		if l.left >= 0 {
			text = text[:min(int64(len(text)), l.left)]
			l.left -= int64(len(text))
		}
		if _, err := io.WriteString(l.w, text); err != nil {
			return false
		}
		if l.left == 0 {
			break
		}
	}
	return l.flush() == nil && l.left != 0
}

// containerOf returns the container's spec and status.
func containerOf(pod *corev1.Pod, name string) (spec *corev1.Container, status *corev1.ContainerStatus) {
	for _, group := range []struct {
		specs    []corev1.Container
		statuses []corev1.ContainerStatus
	}{
		{pod.Spec.Containers, pod.Status.ContainerStatuses},
		{pod.Spec.InitContainers, pod.Status.InitContainerStatuses},
	} {
		for i := range group.specs {
			if group.specs[i].Name != name {
				continue
			}
			for j := range group.statuses {
				if group.statuses[j].Name == name {
					return &group.specs[i], &group.statuses[j]
				}
			}
			return &group.specs[i], nil
		}
	}
	return nil, nil
}
