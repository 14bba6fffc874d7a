package kube

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// How much of what a cluster says goes into one message.
const (
	mostPods   = 3
	mostEvents = 5
	mostLines  = 10
	mostLine   = 300 // characters of one line of a log
	askLimit   = 8 * time.Second
)

// explain is the error of a wait that failed: which objects are not ready, what
// their pods say, the last events and the last lines of log. It uses clients
// that still work when the step's time is over.
func (v *vigil) explain(ctx context.Context, prefix string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit)
	defer cancel()
	var b strings.Builder
	b.WriteString(prefix)
	var troubles []trouble
	var names []string // whose events are of interest
	var namespace, advice string
	for _, t := range v.targets {
		if t.done {
			continue
		}
		namespace = t.ns
		names = append(names, t.want.GetName())
		verb := "is not ready"
		if v.goal == completion {
			verb = "did not succeed"
		}
		fmt.Fprintf(&b, "%s %s: %s. ", t.title, verb, t.status.Text)
		for _, p := range v.podsOf(t) {
			names = append(names, p.Name)
			if problem, ok := troubleOf(p); ok {
				troubles = append(troubles, problem)
			}
		}
	}
	// What is stuck for good comes first.
	slices.SortStableFunc(troubles, func(a, b trouble) int {
		switch {
		case a.stuck == b.stuck:
			return 0
		case a.stuck:
			return -1
		}
		return 1
	})
	for i, t := range troubles {
		if i == mostPods {
			fmt.Fprintf(&b, "The same or more holds for %s. ", Count(len(troubles)-i, "other pod"))
			break
		}
		fmt.Fprintf(&b, "Pod %s: %s. ", t.pod, t.words)
		if advice == "" {
			advice = t.advice
		}
	}
	if advice == "" {
		advice = "Correct what the events and the log name, then try again."
	}
	b.WriteString(advice)
	if lines := v.Cluster.lastEvents(ctx, namespace, names); len(lines) > 0 {
		b.WriteString("\nLast events:\n  " + strings.Join(lines, "\n  "))
	}
	for _, t := range troubles {
		if t.container == "" {
			continue
		}
		if lines := v.Cluster.lastLines(ctx, namespace, t); len(lines) > 0 {
			fmt.Fprintf(&b, "\nLast log lines of %s:\n  %s", t.pod, strings.Join(lines, "\n  "))
			break
		}
	}
	return &sdk.Error{Fault: sdk.FaultDownstream, Msg: v.Mask.Text(b.String())}
}

// lastEvents are the newest warnings about any of names.
func (c *Cluster) lastEvents(ctx context.Context, namespace string, names []string) []string {
	list, err := c.clientset.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning"})
	if err != nil {
		return nil
	}
	events := slices.DeleteFunc(list.Items, func(e corev1.Event) bool {
		about := e.InvolvedObject.Name
		return !slices.ContainsFunc(names, func(n string) bool { return about == n || strings.HasPrefix(about, n+"-") })
	})
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return EventTime(a).Compare(EventTime(b)) })
	var lines []string
	for _, e := range events {
		line := fmt.Sprintf("%s %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, Clip(strings.Join(strings.Fields(e.Reason+": "+e.Message), " "), mostLine))
		lines = append(slices.DeleteFunc(lines, func(l string) bool { return l == line }), line)
	}
	return lines[max(0, len(lines)-mostEvents):]
}

// EventTime is when an event was last seen.
func EventTime(e corev1.Event) time.Time {
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp.Time
	}
	if !e.EventTime.IsZero() {
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

// lastLines are the last lines of the log of a troubled container.
func (c *Cluster) lastLines(ctx context.Context, namespace string, t trouble) []string {
	tail, bytes := int64(mostLines), int64(mostLines*4*mostLine)
	for _, previous := range []bool{t.previous, !t.previous} {
		stream, err := c.clientset.CoreV1().Pods(namespace).GetLogs(t.pod, &corev1.PodLogOptions{
			Container: t.container, Previous: previous, TailLines: &tail, LimitBytes: &bytes,
		}).Stream(ctx)
		if err != nil {
			continue
		}
		var lines []string
		scan := bufio.NewScanner(stream)
		for scan.Scan() {
			lines = append(lines, Clip(strings.ToValidUTF8(scan.Text(), "�"), mostLine))
		}
		_ = stream.Close()
		if len(lines) > 0 {
			return lines[max(0, len(lines)-mostLines):]
		}
	}
	return nil
}
