package stages

import (
	"context"
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

// podLifecycle is what KWOK makes of the pods' stages.
func podLifecycle(t *testing.T) lifecycle.Lifecycle {
	t.Helper()
	var all []*internalversion.Stage
	for _, s := range podStages() {
		internal, err := internalversion.ConvertToInternalStage(&s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, internal)
	}
	lc, err := lifecycle.NewLifecycle(all)
	if err != nil {
		t.Fatal(err)
	}
	return lc
}

type podOption func(*corev1.Pod)

func pod(opts ...podOption) *corev1.Pod {
	p := &corev1.Pod{
		Spec:   corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{Name: "web", Image: "nginx"}}},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	for _, o := range opts {
		o(p)
	}
	return p
}

func annotated(key, value string) podOption {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{key: value} }
}

func image(name string) podOption {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Image = name }
}

func policy(r corev1.RestartPolicy) podOption {
	return func(p *corev1.Pod) { p.Spec.RestartPolicy = r }
}

func ownedBy(kind string) podOption {
	return func(p *corev1.Pod) { p.OwnerReferences = []metav1.OwnerReference{{Kind: kind}} }
}

func running(ready corev1.ConditionStatus) podOption {
	return func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{
			Phase:             corev1.PodRunning,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
			ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}},
		}
	}
}

func waiting(phase corev1.PodPhase, reason string) podOption {
	return func(p *corev1.Pod) {
		p.Status.Phase = phase
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
	}
}

func deleted(p *corev1.Pod) {
	now := metav1.Now()
	p.DeletionTimestamp = &now
}

func TestAtMostOneStageFits(t *testing.T) {
	lc := podLifecycle(t)
	for name, tt := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"a new pod becomes ready":                      {pod(), "pod-ready"},
		"with an empty annotation too":                 {pod(annotated(FailAnnotation, "")), "pod-ready"},
		"a delayed one runs first":                     {pod(annotated(ReadyAfterAnnotation, "3s")), "pod-start"},
		"and is ready later":                           {pod(annotated(ReadyAfterAnnotation, "3s"), running("False")), "pod-ready-later"},
		"then it stays":                                {pod(annotated(ReadyAfterAnnotation, "3s"), running("True")), ""},
		"a ready pod stays":                            {pod(running("True")), ""},
		"a pod of a job ends":                          {pod(running("True"), policy("OnFailure"), ownedBy("Job")), "pod-complete"},
		"but not before it is ready":                   {pod(running("False"), policy("Never"), ownedBy("Job"), annotated(ReadyAfterAnnotation, "3s")), "pod-ready-later"},
		"a bare pod that runs once ends":               {pod(running("True"), policy("Never")), "pod-complete"},
		"a bare pod that always restarts does not":     {pod(running("True")), ""},
		"a pod of another owner does not":              {pod(running("True"), policy("Never"), ownedBy("Workflow")), ""},
		"an impossible registry":                       {pod(image("registry.invalid/web")), "pod-waiting"},
		"an image that waits goes on waiting":          {pod(image("registry.invalid/web"), waiting("Pending", ImagePullBackOff)), ""},
		"any word":                                     {pod(annotated(FailAnnotation, "Tuesday")), "pod-waiting"},
		"an unready pod runs":                          {pod(annotated(FailAnnotation, NotReady)), "pod-not-ready"},
		"and stays unready":                            {pod(annotated(FailAnnotation, NotReady), running("False")), ""},
		"what crashes starts first":                    {pod(annotated(FailAnnotation, OOMKilled)), "pod-crash-start"},
		"then crashes":                                 {pod(annotated(FailAnnotation, OOMKilled), running("False")), "pod-crash"},
		"then starts again":                            {pod(annotated(FailAnnotation, OOMKilled), waiting("Running", CrashLoopBackOff)), "pod-crash-restart"},
		"unless it must not":                           {pod(annotated(FailAnnotation, Error), running("False"), policy("Never")), "pod-failed"},
		"the annotation goes before the image":         {pod(annotated(FailAnnotation, NotReady), image("registry.invalid/web")), "pod-not-ready"},
		"the scheduler alone sees to a pending pod":    {pod(annotated(FailAnnotation, Pending)), ""},
		"a deleted pod is KWOK's own stage's business": {pod(deleted), ""},
	} {
		t.Run(name, func(t *testing.T) {
			fits, err := lc.ListAllPossible(context.Background(), &lifecycle.Event{Labels: tt.pod.Labels, Annotations: tt.pod.Annotations, Data: tt.pod})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, s := range fits {
				got += s.Name()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestImpossibleImages(t *testing.T) {
	re := regexp.MustCompile(impossibleImage)
	for image, want := range map[string]bool{
		"registry.invalid/web":                      true,
		"registry.invalid:5000/team/web:1":          true,
		"ghcr.io/acme/web:missing":                  true,
		"web:does-not-exist":                        true,
		"web:missing@sha256:0123":                   true,
		"nginx":                                     false,
		"nginx:1.27":                                false,
		"ghcr.io/invalid/web:1":                     false,
		"ghcr.io/acme/missing":                      false,
		"ghcr.io/acme/web:missing-no-more":          false,
		"ghcr.io/registry.invalid/web":              false,
		"registryinvalid/web":                       false,
		"registry.invalid.example.org/acme/web:2.0": false,
	} {
		if got := re.MatchString(image); got != want {
			t.Errorf("%s: got %v", image, got)
		}
	}
}

func TestTheConfigurationLetsKWOKRunNothing(t *testing.T) {
	config, err := KWOKConfig()
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^kind: (\w+)`).FindAllStringSubmatch(string(config), -1)
	if len(kinds) < 10 {
		t.Fatalf("the configuration has only %d documents", len(kinds))
	}
	for _, k := range kinds {
		if k[1] != "Stage" {
			t.Errorf("it has a %s", k[1])
		}
	}
}
