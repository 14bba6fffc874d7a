package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// namespace makes a namespace of the test's own.
func namespace(t *testing.T) string {
	t.Helper()
	ns, err := shared.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace has its service account", func(ctx context.Context) error {
		_, err := shared.client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return ns.Name
}

// template is a pod with one container `web`.
func template(image string, annotations map[string]string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}, Annotations: annotations},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "web", Image: image, Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
		}}},
	}
}

func createPod(t *testing.T, ns, name string, tmpl corev1.PodTemplateSpec) {
	t.Helper()
	tmpl.Name = name
	_, err := shared.client.CoreV1().Pods(ns).Create(t.Context(), &corev1.Pod{ObjectMeta: tmpl.ObjectMeta, Spec: tmpl.Spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// waitPod waits until ok says yes to the pod.
func waitPod(t *testing.T, ns, name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, "the pod "+what, func(ctx context.Context) (err error) {
		if pod, err = shared.client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !ok(pod) {
			return fmt.Errorf("its status is %v", pod.Status)
		}
		return nil
	})
	return pod
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func hasPhase(phase corev1.PodPhase) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return p.Status.Phase == phase }
}

func TestADeploymentBecomesAvailable(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	tmpl := template("nginx:1.27", nil)
	tmpl.Spec.InitContainers = []corev1.Container{{Name: "migrate", Image: "busybox"}, {Name: "proxy", Image: "envoy", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}}
	deploy := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: ptr.To[int32](3), Selector: &metav1.LabelSelector{MatchLabels: tmpl.Labels}, Template: tmpl,
	}}
	if _, err := shared.client.AppsV1().Deployments(ns).Create(t.Context(), deploy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three replicas are available", func(ctx context.Context) error {
		d, err := shared.client.AppsV1().Deployments(ns).Get(ctx, "web", metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas != 3 {
			err = fmt.Errorf("%d are", d.Status.AvailableReplicas)
		}
		return err
	})
	pods, err := shared.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ips := map[string]bool{}
	for _, p := range pods.Items {
		ips[p.Status.PodIP] = true
	}
	if len(ips) != 3 || ips[""] {
		t.Errorf("the pods' addresses are %v", ips)
	}
}

func TestPodsThatRunOnce(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	once := func(annotations map[string]string) corev1.PodTemplateSpec {
		tmpl := template("busybox", annotations)
		tmpl.Spec.RestartPolicy = corev1.RestartPolicyNever
		return tmpl
	}
	fails := map[string]string{"devcluster/fail": "Error"}

	t.Run("a bare pod that runs once succeeds", func(t *testing.T) {
		t.Parallel()
		createPod(t, ns, "hook", once(nil))
		waitPod(t, ns, "hook", "succeeds", hasPhase(corev1.PodSucceeded))
	})
	t.Run("one annotated to fail fails", func(t *testing.T) {
		t.Parallel()
		createPod(t, ns, "bad-hook", once(fails))
		pod := waitPod(t, ns, "bad-hook", "fails", hasPhase(corev1.PodFailed))
		if end := pod.Status.ContainerStatuses[0].State.Terminated; end == nil || end.ExitCode != 1 {
			t.Errorf("its container's state is %v", pod.Status.ContainerStatuses[0].State)
		}
	})
	for name, tt := range map[string]struct {
		tmpl corev1.PodTemplateSpec
		want batchv1.JobConditionType
	}{
		"a job completes":                                     {once(nil), batchv1.JobComplete},
		"a job annotated to fail fails":                       {once(fails), batchv1.JobFailed},
		"a job annotated to fail that restarts fails as well": {withRestart(once(fails)), batchv1.JobFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, err := shared.client.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"},
				Spec:       batchv1.JobSpec{BackoffLimit: ptr.To[int32](0), Template: tt.tmpl},
			}, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, name, func(ctx context.Context) error {
				job, err = shared.client.BatchV1().Jobs(ns).Get(ctx, job.Name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				for _, c := range job.Status.Conditions {
					if c.Type == tt.want && c.Status == corev1.ConditionTrue {
						return nil
					}
				}
				return fmt.Errorf("its status is %v", job.Status)
			})
		})
	}
}

func withRestart(tmpl corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	tmpl.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	return tmpl
}

func TestPodsThatFail(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	waits := func(reason string) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
				p.Status.ContainerStatuses[0].State.Waiting.Reason == reason && p.Status.ContainerStatuses[0].State.Waiting.Message != "" && !isReady(p)
		}
	}
	crashed := func(reason string, code int32) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			if !waits("CrashLoopBackOff")(p) {
				return false
			}
			c := p.Status.ContainerStatuses[0]
			last := c.LastTerminationState.Terminated
			return c.RestartCount > 0 && last != nil && last.Reason == reason && last.ExitCode == code
		}
	}
	for name, tt := range map[string]struct {
		image, fail string
		state       func(*corev1.Pod) bool
		event       string // reason, and how the message starts
		log         string // what it contains; empty: there is none
	}{
		"its registry cannot exist":            {"registry.invalid:5000/shop/web:1", "", waits("ImagePullBackOff"), `Failed: Failed to pull image "registry.invalid:5000/shop/web:1"`, ""},
		"its tag says that it does not exist":  {"nginx:does-not-exist", "", waits("ImagePullBackOff"), `BackOff: Back-off pulling image "nginx:does-not-exist"`, ""},
		"annotated ImagePullBackOff":           {"nginx", "ImagePullBackOff", waits("ImagePullBackOff"), `Failed: Error: ImagePullBackOff`, ""},
		"annotated ErrImagePull":               {"nginx", "ErrImagePull", waits("ErrImagePull"), `Failed: Error: ErrImagePull`, ""},
		"annotated CreateContainerConfigError": {"nginx", "CreateContainerConfigError", waits("CreateContainerConfigError"), `Failed: Error: configmap "web-config" not found`, ""},
		"annotated CrashLoopBackOff":           {"nginx", "CrashLoopBackOff", crashed("Error", 1), `BackOff: Back-off restarting failed container=web`, "ERROR web: cannot reach the database"},
		"annotated OOMKilled":                  {"nginx", "OOMKilled", crashed("OOMKilled", 137), `BackOff: Back-off restarting failed container=web`, "ERROR web: cannot allocate memory"},
		"annotated NotReady": {"nginx", "NotReady", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodRunning && !isReady(p) && p.Status.ContainerStatuses[0].State.Running != nil
		}, `Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503`, "starting nginx"},
		"annotated Pending": {"nginx", "Pending", func(p *corev1.Pod) bool {
			return p.Status.Phase == corev1.PodPending && len(p.Status.Conditions) > 0 && p.Status.Conditions[0].Reason == "Unschedulable"
		}, `FailedScheduling: 0/2 nodes are available`, ""},
		"annotated with any other word": {"nginx", "InvalidImageName", waits("InvalidImageName"), `Failed: Error: `, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := "p-" + strings.ToLower(strings.NewReplacer(" ", "-").Replace(name))
			annotations := map[string]string{}
			if tt.fail != "" {
				annotations["devcluster/fail"] = tt.fail
			}
			createPod(t, ns, pod, template(tt.image, annotations))
			waitPod(t, ns, pod, "fails as it should", tt.state)
			waitEvent(t, ns, pod, tt.event)
			got, err := readLog(t.Context(), ns, pod, nil)
			switch {
			case tt.log == "" && err == nil && got != "":
				t.Errorf("a pod without a running container has a log: %s", got)
			case tt.log != "" && (err != nil || !strings.Contains(got, tt.log)):
				t.Errorf("%q is not in its log (%v): %s", tt.log, err, got)
			}
		})
	}
}

func waitEvent(t *testing.T, ns, pod, want string) {
	t.Helper()
	eventually(t, "event "+want, func(ctx context.Context) error {
		events, err := shared.client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + pod})
		if err != nil {
			return err
		}
		var all []string
		for _, e := range events.Items {
			text := e.Reason + ": " + e.Message
			if strings.HasPrefix(text, want) {
				return nil
			}
			all = append(all, text)
		}
		return fmt.Errorf("there are only %q", all)
	})
}

func TestReadinessCanBeDelayed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	createPod(t, ns, "slow", template("nginx", map[string]string{"devcluster/ready-after": "2s"}))
	waitPod(t, ns, "slow", "runs before it is ready", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning && !isReady(p) })
	waitPod(t, ns, "slow", "becomes ready", isReady)
}

func TestAClaimIsBoundAndItsVolumeReclaimed(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	claims := shared.client.CoreV1().PersistentVolumeClaims(ns)
	_, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tmpl := template("postgres:17", nil)
	tmpl.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	createPod(t, ns, "db", tmpl)
	waitPod(t, ns, "db", "is ready", isReady)
	claim, err := claims.Get(t.Context(), "data", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if claim.Status.Phase != corev1.ClaimBound {
		t.Fatalf("the claim is %s", claim.Status.Phase)
	}

	if err := shared.client.CoreV1().Pods(ns).Delete(t.Context(), "db", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := claims.Delete(t.Context(), "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the volume goes with its claim", func(ctx context.Context) error {
		_, err := shared.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("getting it: %v", err)
	})
}

func TestAnIngressGetsTheAddressThatWasAskedFor(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	ingresses := shared.client.NetworkingV1().Ingresses(ns)
	_, err := ingresses.Create(t.Context(), &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: networkingv1.IngressSpec{DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "its address is 127.0.0.1", func(ctx context.Context) error {
		i, err := ingresses.Get(ctx, "web", metav1.GetOptions{})
		if err == nil && (len(i.Status.LoadBalancer.Ingress) != 1 || i.Status.LoadBalancer.Ingress[0].IP != "127.0.0.1") {
			err = fmt.Errorf("it has %v", i.Status.LoadBalancer.Ingress)
		}
		return err
	})
}
