package helm

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// shopChart has a database whose claims go with it, a claim of its own, a web
// part that is scaled, and a password that is another one each time it is
// rendered.
func shopChart(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
		"values.yaml": "env: {}\nreplicas: 1\nslow: \"\"\n",
		"templates/db.yaml": `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  selector: {matchLabels: {app: db}}
  template:
    metadata:
      labels: {app: db}
      annotations: {devcluster/ready-after: {{ .Values.slow | quote }}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: db, image: postgres, volumeMounts: [{name: data, mountPath: /data}]}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`,
		"templates/web.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: web, env: [{name: LOG_LEVEL, value: {{ .Values.env.LOG_LEVEL | quote }}}]}]
      volumes: [{name: up, persistentVolumeClaim: {claimName: uploads}}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: uploads}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {minReplicas: 1, maxReplicas: 4, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: seed}
data: {seed: {{ randAlphaNum 12 | quote }}}
---
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {password: {{ randAlphaNum 16 | quote }}}
`,
	})
	return dir
}

// scene is what is to be the same before an archive and after its restore.
type scene struct {
	Claims   map[string]types.UID
	Replicas map[string]int32
	Limits   string
	Password string
	Seed     string
	Level    string
	Values   string
}

func shopScene(t *testing.T, step sdk.Step) scene {
	t.Helper()
	cs, ns := client(t), step.Namespace
	s := scene{Claims: claimUIDs(t, ns), Replicas: map[string]int32{}}
	d, err := cs.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := cs.AppsV1().StatefulSets(ns).Get(t.Context(), "db", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Replicas["web"], s.Replicas["db"] = *d.Spec.Replicas, *db.Spec.Replicas
	s.Level = d.Spec.Template.Spec.Containers[0].Env[0].Value
	h, err := cs.AutoscalingV2().HorizontalPodAutoscalers(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Limits = fmt.Sprint(*h.Spec.MinReplicas, " to ", h.Spec.MaxReplicas)
	secret, err := cs.CoreV1().Secrets(ns).Get(t.Context(), "credentials", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seed, err := cs.CoreV1().ConfigMaps(ns).Get(t.Context(), "seed", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.Password, s.Seed = string(secret.Data["password"]), seed.Data["seed"]
	s.Values = fmt.Sprint(revisions(t, step)[0].Config)
	return s
}

func claimUIDs(t *testing.T, ns string) map[string]types.UID {
	t.Helper()
	list, err := client(t).CoreV1().PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]types.UID{}
	for _, c := range list.Items {
		if c.DeletionTimestamp == nil {
			out[c.Name] = c.UID
		}
	}
	return out
}

// revisions are those of the release, the newest first.
func revisions(t *testing.T, step sdk.Step) []*release.Release {
	t.Helper()
	list, err := storage.Init(driver.NewSecrets(client(t).CoreV1().Secrets(step.Namespace))).History("shop-pr-42-web")
	if err != nil {
		t.Fatal(err)
	}
	var out []*release.Release
	for n := len(list) + 30; n > 0; n-- {
		for _, rel := range list {
			if rel.Version == n {
				out = append(out, rel)
			}
		}
	}
	return out
}

// running are the objects in the namespace that an archive takes away.
func running(t *testing.T, ns string) []string {
	t.Helper()
	cs, all := client(t), metav1.ListOptions{}
	var out []string
	add := func(kind string, n int, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, kind))
		}
	}
	deployments, err := cs.AppsV1().Deployments(ns).List(t.Context(), all)
	add("Deployments", len(deployments.Items), err)
	sets, err := cs.AppsV1().StatefulSets(ns).List(t.Context(), all)
	add("StatefulSets", len(sets.Items), err)
	scalers, err := cs.AutoscalingV2().HorizontalPodAutoscalers(ns).List(t.Context(), all)
	add("autoscalers", len(scalers.Items), err)
	services, err := cs.CoreV1().Services(ns).List(t.Context(), all)
	add("Services", len(services.Items), err)
	pods, err := cs.CoreV1().Pods(ns).List(t.Context(), all)
	add("pods", len(pods.Items), err)
	return out
}

// shop is a step that deploys shopChart.
func shop(t *testing.T, change ...func(*sdk.Step)) sdk.Step {
	return preview(t, append([]func(*sdk.Step){with("chart", shopChart(t))}, change...)...)
}

// busy deploys the shop, and has people scale it.
func busy(t *testing.T, x *Executor, step sdk.Step) scene {
	t.Helper()
	run(t, x, step)
	apps, ns := client(t).AppsV1(), step.Namespace
	patch := func(kind string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	_, err := apps.Deployments(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"replicas":3}}`), metav1.PatchOptions{})
	patch("Deployment", err)
	_, err = apps.StatefulSets(ns).Patch(t.Context(), "db", types.MergePatchType, []byte(`{"spec":{"replicas":2}}`), metav1.PatchOptions{})
	patch("StatefulSet", err)
	_, err = client(t).AutoscalingV2().HorizontalPodAutoscalers(ns).Patch(t.Context(), "web", types.MergePatchType, []byte(`{"spec":{"minReplicas":2,"maxReplicas":9}}`), metav1.PatchOptions{})
	patch("HorizontalPodAutoscaler", err)
	eventually(t, "the second database has its claim", func() bool { return claimUIDs(t, ns)["data-db-1"] != "" })
	eventually(t, "all is ready", func() bool { return observe(t, x, step).Health == sdk.Healthy })
	return shopScene(t, step)
}

// asWas is the step that restores exactly what was archived. Its settings name a
// chart that is not there: they are not looked at.
func asWas(step sdk.Step) sdk.Step {
	step = verb(step, sdk.Restore)
	step.AsWas = true
	step.With = maps.Clone(step.With)
	step.With["chart"] = "/none/such"
	return step
}

func sameScene(t *testing.T, was, is scene) {
	t.Helper()
	if a, b := fmt.Sprintf("%+v", was), fmt.Sprintf("%+v", is); a != b {
		t.Errorf("it was\n%s\nand is\n%s", a, b)
	}
}

func TestRestoreBringsBackExactlyWhatWasArchived(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := shop(t)
	was := busy(t, x, step)
	if len(was.Claims) != 3 || was.Replicas["web"] != 3 || was.Replicas["db"] != 2 || was.Limits != "2 to 9" {
		t.Fatalf("it begins as %+v", was)
	}

	p := plan(t, x, verb(step, sdk.Archive))
	if p.Destructive || !strings.Contains(p.Summary, "3 volume claims kept (data-db-0 1Gi, data-db-1 1Gi, uploads 2Gi)") || !strings.Contains(p.Diff, "- StatefulSet/db\n") || strings.Contains(p.Diff, "- Secret/") {
		t.Errorf("the archive's plan is %+v", p)
	}
	out := run(t, x, verb(step, sdk.Archive))
	if !strings.Contains(out.Text(), "PersistentVolumeClaim data-db-1 1Gi stays, with its data") {
		t.Errorf("did not say what stays:\n%s", out.Text())
	}
	if left := running(t, step.Namespace); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if held := claimUIDs(t, step.Namespace); !maps.Equal(held, was.Claims) {
		t.Errorf("claims are %v, were %v", held, was.Claims)
	}
	run(t, x, verb(step, sdk.Archive)) // again
	if now := revisions(t, step)[0]; now.Version != 2 || now.Info.Status != release.StatusDeployed || now.Labels[labelArchived] != "1" || !strings.HasPrefix(now.Info.Description, "Archived by Berth") {
		t.Errorf("`helm list` shows revision %d, %s: %s", now.Version, now.Info.Status, now.Info.Description)
	}

	back := asWas(step)
	p = plan(t, x, back)
	if !strings.Contains(p.Summary, "as it was at revision 1 (chart shop 1.0.0); 3 of 3 volumes found: data-db-0 1Gi, data-db-1 1Gi, uploads 2Gi") || !strings.Contains(p.Diff, "+kind: StatefulSet") {
		t.Errorf("the restore's plan is %+v", p)
	}
	brief := back
	brief.Brief, brief.Agreed = true, p.Inputs
	if again := plan(t, x, brief); !maps.Equal(again.Inputs, p.Inputs) {
		t.Errorf("the brief plan has %v, want %v", again.Inputs, p.Inputs)
	}
	back.Agreed = p.Inputs
	run(t, x, back)
	sameScene(t, was, shopScene(t, step))
	run(t, x, back) // again
	if now := revisions(t, step)[0]; now.Version != 3 || now.Manifest != revisions(t, step)[2].Manifest || isArchive(now) {
		t.Errorf("after the restore the release is at revision %d, labels %v", now.Version, now.Labels)
	}
	if o := observe(t, x, step); o.Health != sdk.Healthy {
		t.Errorf("it is %+v", o)
	}
	if _, err := client(t).CoreV1().Secrets(step.Namespace).Get(t.Context(), "berth.archive.v1.shop-pr-42-web", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what the archive remembers is still there: %v", err)
	}

	// And once more, then all of it goes, archived as it is.
	archive := verb(step, sdk.Archive)
	archive.ID += "-2"
	run(t, x, archive)
	run(t, x, verb(step, sdk.Cleanup))
	eventually(t, "the namespace goes", func() bool {
		_, err := client(t).CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

func TestRestoreOfANewerCommitIsOverTheSameData(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := shop(t)
	was := busy(t, x, step)
	run(t, x, verb(step, sdk.Archive))
	newer := verb(step, sdk.Restore)
	newer.Set = map[string]string{"replicas": "2"}
	if p := plan(t, x, newer); !strings.Contains(p.Summary, "3 of 3 volumes found") {
		t.Errorf("the plan is %+v", p)
	}
	out := run(t, x, newer)
	if !strings.Contains(out.Text(), "3 of 3 volumes found") {
		t.Errorf("did not say what it found:\n%s", out.Text())
	}
	run(t, x, newer)
	is := shopScene(t, step)
	if !maps.Equal(is.Claims, was.Claims) || is.Replicas["web"] != 2 || is.Limits != "1 to 4" {
		t.Errorf("it is %+v", is)
	}
	if now := revisions(t, step)[0]; now.Version != 3 || isArchive(now) {
		t.Errorf("revision %d has labels %v", now.Version, now.Labels)
	}
}

func TestRestoreSaysThatDataIsGoneBeforeItDoesAnything(t *testing.T) {
	t.Parallel()
	dropClaim := func(t *testing.T, ns string) {
		t.Helper()
		err := client(t).CoreV1().PersistentVolumeClaims(ns).Delete(t.Context(), "data-db-0", metav1.DeleteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the claim goes", func() bool {
			_, err := client(t).CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "data-db-0", metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	}
	for name, tt := range map[string]struct {
		lose func(t *testing.T, ns string)
		says string
	}{
		"the claim": {dropClaim, "data-db-0 1Gi (the claim is gone)"},
		"the claim, and there is another of its name": {func(t *testing.T, ns string) {
			dropClaim(t, ns)
			claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-db-0"}, Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}}
			claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: quantity("1Gi")}
			if _, err := client(t).CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}, "data-db-0 1Gi (the claim of that name is another one"},
		"the volume": {func(t *testing.T, ns string) {
			claim, err := client(t).CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "data-db-0", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			volumes := client(t).CoreV1().PersistentVolumes()
			if err := volumes.Delete(t.Context(), claim.Spec.VolumeName, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			_, err = volumes.Patch(t.Context(), claim.Spec.VolumeName, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
			eventually(t, "the volume goes", func() bool {
				_, err := volumes.Get(t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
				return apierrors.IsNotFound(err)
			})
		}, "data-db-0 1Gi ("},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := New(Options{})
			step := shop(t)
			run(t, x, step)
			run(t, x, verb(step, sdk.Archive))
			tt.lose(t, step.Namespace)
			before := len(revisions(t, step))
			for _, s := range []sdk.Step{asWas(step), verb(step, sdk.Restore)} {
				_, err := x.Plan(t.Context(), s)
				fault(t, err, sdk.FaultInvalid, "1 of 2 volumes found", tt.says, "Nothing was done")
				_, err = fails(t, x, s)
				fault(t, err, sdk.FaultInvalid, "1 of 2 volumes found", tt.says, "Nothing was done")
			}
			if left := running(t, step.Namespace); len(left) > 0 || len(revisions(t, step)) != before {
				t.Errorf("it did something: %v", left)
			}
			if _, lost := claimUIDs(t, step.Namespace)["uploads"]; !lost {
				t.Error("the other claim is gone as well")
			}
		})
	}
}

func TestNothingIsRestoredWhenNothingTellsWhatWas(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := shop(t)
	run(t, x, step)
	run(t, x, verb(step, sdk.Archive))
	if err := client(t).CoreV1().Namespaces().Delete(t.Context(), step.Namespace, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace goes", func() bool {
		_, err := client(t).CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	_, err := x.Plan(t.Context(), asWas(step))
	fault(t, err, sdk.FaultInvalid, "Nothing tells any more what was archived", "--ref")
	_, err = fails(t, x, asWas(step))
	fault(t, err, sdk.FaultInvalid, "Nothing tells any more what was archived")
}

// killAt does a step in a process of its own, and kills that when it says words.
func killAt(t *testing.T, step sdk.Step, words string) {
	t.Helper()
	cmd, lines := helperProcess(t, step)
	for lines.Scan() {
		if strings.Contains(lines.Text(), words) {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			return
		}
	}
	t.Fatalf("it never said %q: %v", words, cmd.Wait())
}

func TestArchiveAndRestoreThatAreKilledGoOn(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		"archiving release", "is told to leave its volume claims", "taking away Deployment", "waits for", "stays, with its data",
	} {
		t.Run("archive, "+words, func(t *testing.T) {
			t.Parallel()
			x := New(Options{})
			step := shop(t)
			was := busy(t, x, step)
			killAt(t, verb(step, sdk.Archive), words)
			run(t, x, verb(step, sdk.Archive))
			if left := running(t, step.Namespace); len(left) > 0 {
				t.Errorf("left %v", left)
			}
			run(t, x, asWas(step))
			sameScene(t, was, shopScene(t, step))
		})
	}
	t.Run("archive, and it is restored without another", func(t *testing.T) {
		t.Parallel()
		x := New(Options{})
		step := shop(t)
		was := busy(t, x, step)
		killAt(t, verb(step, sdk.Archive), "waits for")
		run(t, x, asWas(step))
		sameScene(t, was, shopScene(t, step))
	})
	for _, words := range []string{"restoring release", "created ", "of 2 pods ready"} {
		t.Run("restore, "+words, func(t *testing.T) {
			t.Parallel()
			x := New(Options{})
			step := shop(t, with("values", map[string]any{"slow": "2s"}))
			was := busy(t, x, step)
			run(t, x, verb(step, sdk.Archive))
			killAt(t, asWas(step), words)
			run(t, x, asWas(step))
			sameScene(t, was, shopScene(t, step))
			if o := observe(t, x, step); o.Health != sdk.Healthy {
				t.Errorf("it is %+v", o)
			}
		})
	}
}

func TestWhatSleptComesBackAwake(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := shop(t)
	was := busy(t, x, step)
	run(t, x, verb(step, sdk.Sleep))
	run(t, x, verb(step, sdk.Archive))
	run(t, x, asWas(step))
	sameScene(t, was, shopScene(t, step))
}

func TestWhatWasNeverReadyIsArchivedToo(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := shop(t, with("values", map[string]any{"slow": "1h"}), with("timeout", "30s"))
	_, _ = fails(t, x, step)
	held := claimUIDs(t, step.Namespace)
	step.With["timeout"] = "5m"
	run(t, x, verb(step, sdk.Archive))
	if left := running(t, step.Namespace); len(left) > 0 || len(held) == 0 || !maps.Equal(held, claimUIDs(t, step.Namespace)) {
		t.Errorf("left %v, claims were %v and are %v", left, held, claimUIDs(t, step.Namespace))
	}
	back := verb(step, sdk.Restore)
	back.AsWas = true
	back.With = maps.Clone(step.With)
	back.With["values"] = map[string]any{}
	out := run(t, x, back)
	if !strings.Contains(out.Text(), "had never become ready") || !maps.Equal(held, claimUIDs(t, step.Namespace)) {
		t.Errorf("claims were %v and are %v\n%s", held, claimUIDs(t, step.Namespace), out.Text())
	}
}

func TestWhatOwnsClaimsStaysWithThem(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := shop(t)
	run(t, x, step)
	cs := client(t).CoreV1()
	owner, err := cs.ConfigMaps(step.Namespace).Get(t.Context(), "seed", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	patch := fmt.Appendf(nil, `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"seed","uid":%q}]}}`, owner.UID)
	if _, err := cs.PersistentVolumeClaims(step.Namespace).Patch(t.Context(), "uploads", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	held := claimUIDs(t, step.Namespace)
	out := run(t, x, verb(step, sdk.Archive))
	if !strings.Contains(out.Text(), "ConfigMap seed stays and keeps running: volume claims with data belong to it") {
		t.Errorf("did not say why it stays:\n%s", out.Text())
	}
	if now := claimUIDs(t, step.Namespace); !maps.Equal(held, now) {
		t.Errorf("claims were %v and are %v", held, now)
	}
}

func TestRollbackBringsTheEarlierRevisionBackExactly(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	first := shop(t)
	run(t, x, first)
	was := shopScene(t, first)
	second := first
	second.ID += "-second"
	second.Vars = map[string]string{"LOG_LEVEL": "info"}
	second.Set = map[string]string{"replicas": "2"}
	run(t, x, second)
	if is := shopScene(t, second); is.Seed == was.Seed || is.Level != "info" {
		t.Fatalf("the second is %+v", is)
	}

	back := verb(first, sdk.Rollback)
	back.Earlier = first.ID
	p := plan(t, x, back)
	if !strings.Contains(p.Summary, "roll release shop-pr-42-web back to its Helm revision 1") || !strings.Contains(p.Diff, "-  replicas: 2") || !strings.Contains(p.Diff, "+  seed: "+was.Seed) {
		t.Errorf("the plan is %+v", p)
	}
	back.Agreed = p.Inputs
	run(t, x, back)
	is := shopScene(t, back)
	is.Claims = was.Claims
	sameScene(t, was, is)
	again := run(t, x, back)
	if again.Outputs["revision"] != "3" {
		t.Errorf("the same step made revision %s", again.Outputs["revision"])
	}

	gone := back
	gone.ID, gone.Earlier, gone.Agreed = back.ID+"-2", "nobody/knows/it", nil
	if p := plan(t, x, gone); p.Inputs[inputRevision] != notInHistory || !strings.Contains(p.Summary, "Helm's history does not have the earlier revision") {
		t.Errorf("the plan is %+v", p)
	}
	out := run(t, x, gone)
	if !strings.Contains(out.Text(), "Helm's history does not have the earlier revision") || out.Outputs["revision"] != "4" {
		t.Errorf("revision %s\n%s", out.Outputs["revision"], out.Text())
	}
	stale := back
	stale.ID, stale.Agreed = back.ID+"-3", map[string]string{inputRevision: notInHistory}
	_, err := fails(t, x, stale)
	fault(t, err, sdk.FaultInvalid, "changed after the plan was agreed on")
}

func TestRollbackOfAnUpdateThatFailedLeavesNothingOfIt(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	first := preview(t)
	run(t, x, first)
	bad := first
	bad.ID += "-bad"
	bad.With = map[string]any{"chart": "../../charts/preview", "fail_fast": "500ms", "pin_images": false, "values": map[string]any{
		"podAnnotations": map[string]any{"devcluster/fail": "ImagePullBackOff"},
		"ingress":        map[string]any{"enabled": true, "host": "x.example.org"},
	}}
	fails(t, x, bad)
	back := verb(first, sdk.Rollback)
	back.Earlier = first.ID
	if p := plan(t, x, back); !strings.Contains(p.Diff, "-        devcluster/fail: ImagePullBackOff") || strings.Contains(p.Summary, "no changes") {
		t.Errorf("the plan does not say what it takes back: %s\n%s", p.Summary, p.Diff)
	}
	killAt(t, back, "rolling release")
	run(t, x, back)
	ingresses, err := client(t).NetworkingV1().Ingresses(first.Namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil || len(ingresses.Items) > 0 {
		t.Errorf("the failed revision's Ingress is still there: %v", err)
	}
	if o := observe(t, x, first); o.Health != sdk.Healthy || len(o.Drift) > 0 {
		t.Errorf("it is %+v", o)
	}
}
