package kubernetes

import (
	"bufio"
	"context"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// jobKind is the kind of what `jobs` makes.
var jobKind = kindOf{Group: "batch", Version: "v1", Kind: "Job", Resource: "jobs", Namespaced: true}

const (
	maxJobLines = 5000 // of one Job's output that go into the log
	maxJobLine  = 2000 // characters
)

// runJobs runs those jobs that have not been run as they are now, one after the
// other.
func (s *session) runJobs(ctx context.Context, w *wanted, r *record, when string) error {
	for _, j := range w.jobs {
		if j.When != when {
			continue
		}
		if r.Jobs[j.Name] == j.object.GetName() {
			s.out.Log("job " + j.Name + " has been run as it is, and is not run again")
			continue
		}
		if err := s.runJob(ctx, j); err != nil {
			return err
		}
		done := map[string]string{}
		for _, other := range w.jobs { // what the settings do not have any more is forgotten
			if name := r.Jobs[other.Name]; name != "" {
				done[other.Name] = name
			}
		}
		done[j.Name] = j.object.GetName()
		r.Jobs = done
		if err := s.save(ctx, r); err != nil {
			return err
		}
	}
	return s.dropJobs(ctx, w, r, when)
}

// runJob runs a job, or joins one that a step before this one began. One that has
// failed is run anew: whatever was in its way may have been put right.
func (s *session) runJob(ctx context.Context, j job) error {
	p := &placed{Unstructured: j.object, kind: jobKind}
	p.SetNamespace(s.step.Namespace)
	live, err := s.client(jobKind, s.step.Namespace).Get(ctx, j.object.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return err
	default:
		p.live = &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: live.GetName(), Namespace: live.GetNamespace(), UID: live.GetUID(), Labels: live.GetLabels(), DeletionTimestamp: live.GetDeletionTimestamp(),
		}}
		if err := s.refuse(p, false); err != nil {
			return err
		}
		if st := kube.Look(live); st.State == kube.Failed || live.GetDeletionTimestamp() != nil {
			s.out.Log("job " + j.Name + " has failed before, and is run again")
			if err := s.again(ctx, p); err != nil {
				return err
			}
		}
	}
	if p.live == nil {
		if _, err := s.send(ctx, p, false); err != nil {
			if text := conflictText(p.Unstructured, err); text != "" {
				return conflictError([]string{text})
			}
			return explainApply(p, err)
		}
		s.out.Log("running job " + j.Name)
	}
	return s.follow(ctx, j)
}

// again takes a Job away that is to be run anew.
func (s *session) again(ctx context.Context, p *placed) error {
	if err := s.remove(ctx, jobKind, p.live); err != nil {
		return err
	}
	p.live = nil
	return s.awaitGone(ctx, p.Unstructured)
}

// follow waits until a Job has ended well, and passes its output on.
func (s *session) follow(ctx context.Context, j job) error {
	following, stop := context.WithCancel(ctx)
	t := &tail{s: s, job: j, begun: map[types.UID]bool{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.run(following)
	}()
	wait := s.wait()
	wait.Look = nil
	if j.Retries > 0 {
		wait.FailFast = 0 // a pod that has failed is no reason to give up while there are tries left
	}
	err := wait.Done(ctx, []*unstructured.Unstructured{j.object}, min(untilDeadline(ctx), j.limit+answerTime))
	t.last(ctx) // a Job may be over before anybody has looked at its pods
	stop()
	<-done
	t.lines.Wait()
	return err
}

// answerTime is what a Job may take beyond its own limit until it is seen to have
// failed by it.
const answerTime = defaultFailFast

// tail passes on what the pods of a Job print.
type tail struct {
	s   *session
	job job

	mu    sync.Mutex
	begun map[types.UID]bool
	lines sync.WaitGroup
	n     int
}

func (t *tail) selector() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: "batch.kubernetes.io/job-name=" + t.job.object.GetName()}
}

// run looks for pods until ctx ends. What it cannot see is not worth failing for:
// whether the Job ended well is told elsewhere.
func (t *tail) run(ctx context.Context) {
	pods := t.s.cluster.Clientset().CoreV1().Pods(t.s.step.Namespace)
	for ctx.Err() == nil {
		w, err := pods.Watch(ctx, t.selector())
		if err != nil {
			return
		}
		t.watch(ctx, w)
	}
}

func (t *tail) watch(ctx context.Context, w watch.Interface) {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-w.ResultChan():
			p, isPod := e.Object.(*corev1.Pod)
			switch {
			case !ok, e.Type == watch.Error:
				return
			case isPod && p.Status.Phase != corev1.PodPending:
				t.begin(ctx, p)
			}
		}
	}
}

// last begins with pods that have not been seen, and gives all that is being read
// a moment to come to its end.
func (t *tail) last(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	list, err := t.s.cluster.Clientset().CoreV1().Pods(t.s.step.Namespace).List(ctx, t.selector())
	if err != nil {
		return
	}
	for i := range list.Items {
		if list.Items[i].Status.Phase != corev1.PodPending {
			t.begin(ctx, &list.Items[i])
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.lines.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// begin reads the output of a pod's containers, once.
func (t *tail) begin(ctx context.Context, p *corev1.Pod) {
	t.mu.Lock()
	known := t.begun[p.UID]
	t.begun[p.UID] = true
	t.mu.Unlock()
	if known {
		return
	}
	for _, c := range p.Spec.Containers {
		t.lines.Go(func() { t.read(ctx, p.Name, c.Name) })
	}
}

func (t *tail) read(ctx context.Context, pod, container string) {
	stream, err := t.s.cluster.Clientset().CoreV1().Pods(t.s.step.Namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Follow: true}).Stream(ctx)
	if err != nil {
		return
	}
	defer func() { _ = stream.Close() }()
	in := bufio.NewReaderSize(stream, 64<<10)
	for {
		line, prefix, err := in.ReadLine()
		if err != nil {
			return
		}
		text := kube.Clip(strings.ToValidUTF8(string(line), "\uFFFD"), maxJobLine)
		for prefix && err == nil { // the rest of a line that nobody would read
			_, prefix, err = in.ReadLine()
		}
		t.mu.Lock()
		t.n++
		n := t.n
		t.mu.Unlock()
		switch {
		case n <= maxJobLines:
			t.s.out.Log(t.job.Name + ": " + text)
		case n == maxJobLines+1:
			t.s.out.Log(t.job.Name + ": more is left out; see `kubectl logs job/" + t.job.object.GetName() + "`")
		}
	}
}

// dropJobs deletes Jobs of the part that another has taken the place of, or that
// the settings do not have any more. They have done their work, so that this is
// no loss.
func (s *session) dropJobs(ctx context.Context, w *wanted, r *record, when string) error {
	if when != after || len(w.jobs) == 0 && len(r.Jobs) == 0 {
		return nil
	}
	list, err := s.listKind(ctx, jobKind, s.step.Namespace, setID(r.name, s.step.Namespace), false)
	if err != nil {
		return err
	}
	current := map[string]bool{}
	for _, j := range w.jobs {
		current[j.object.GetName()] = true
	}
	for _, f := range list {
		if f.Labels[labelJob] == "" || current[f.Name] {
			continue
		}
		if err := s.remove(ctx, f.kind, &f.PartialObjectMetadata); err != nil {
			return err
		}
	}
	return nil
}

// planJobs are the resources of jobs that a deploy would run.
func planJobs(w *wanted, r *record) []sdk.Resource {
	var out []sdk.Resource
	for _, j := range w.jobs {
		if r == nil || r.Jobs[j.Name] != j.object.GetName() {
			out = append(out, sdk.Resource{Kind: "Job", Name: j.object.GetName(), Namespace: j.object.GetNamespace(), Change: sdk.ChangeCreate})
		}
	}
	return out
}
