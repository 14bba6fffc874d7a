package kubernetes

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

func TestDeployUpdateAndCleanup(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": web})
	cs := client(t)
	first := run(t, x, step)
	if got := first.Outputs["service"]; got != "web."+step.Namespace+".svc" {
		t.Errorf("the output service is %q", got)
	}
	cm, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if o := kube.LabelsOwner(cm.Labels); !o.Is(kube.StepOwner(step)) || cm.Labels["team"] != "shop" || cm.Labels[labelPartOf] == "" {
		t.Errorf("the marks are %v", cm.Labels)
	}

	began := time.Now()
	again := run(t, x, step)
	t.Logf("unchanged: %v", time.Since(began))
	if text := again.Text(); !strings.Contains(text, "nothing has changed") {
		t.Errorf("a deploy of what is there says\n%s", text)
	}
	if again.Outputs["service"] != first.Outputs["service"] || len(again.Outputs) != len(first.Outputs) {
		t.Errorf("other outputs the second time: %v", again.Outputs)
	}

	step.With = map[string]any{"manifests": strings.Split(web, "---")[0] + strings.ReplaceAll("---"+strings.Split(web, "---")[2], "blue", "red")}
	changed := run(t, x, step)
	if _, err := cs.CoreV1().Services(step.Namespace).Get(t.Context(), "web", metav1.GetOptions{}); err == nil {
		t.Error("the Service that the manifests do not have any more is still there")
	}
	if len(changed.Receipts) != 1 || changed.Receipts[0].Kind != "Service" {
		t.Errorf("the receipts are %v", changed.Receipts)
	}

	gone := run(t, x, step, sdk.Cleanup)
	_, err = cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{})
	absent(t, "the namespace", err)
	kinds := map[string]int{}
	for _, r := range gone.Receipts {
		kinds[r.Kind]++
	}
	for _, k := range []string{"Deployment", "ConfigMap", kindPart, "Namespace"} {
		if kinds[k] != 1 {
			t.Errorf("%d receipts for a %s: %v", kinds[k], k, gone.Receipts)
		}
	}
	if out := run(t, x, step, sdk.Cleanup); len(out.Receipts) != 0 {
		t.Errorf("a cleanup of nothing has receipts: %v", out.Receipts)
	}
}

func TestDriftIsPutRight(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": web, "force": true})
	cs := client(t)
	run(t, x, step)
	for what, change := range map[string]func(){
		"an object that is gone": func() {
			if err := cs.CoreV1().ConfigMaps(step.Namespace).Delete(t.Context(), "settings", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		"a value that somebody changed": func() {
			cm, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			cm.Data["color"] = "green"
			if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
				t.Fatal(err)
			}
		},
		"a mark that somebody took off": func() {
			cm, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			delete(cm.Labels, labelPartOf)
			if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		change()
		if text := run(t, x, step).Text(); !strings.Contains(text, "is put right") {
			t.Errorf("%s goes unnoticed:\n%s", what, text)
		}
		cm, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{})
		if err != nil || cm.Data["color"] != "blue" || cm.Labels[labelPartOf] == "" {
			t.Errorf("%s is not put right: %v, %v", what, cm, err)
		}
	}
	if text := run(t, x, step).Text(); !strings.Contains(text, "nothing has changed") {
		t.Errorf("after that, a deploy of what is there says\n%s", text)
	}
}

func TestConflictsNameTheOtherManagerAndTheField(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": web})
	cs := client(t)
	run(t, x, step)
	cm, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cm.Data["color"] = "green"
	if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Update(t.Context(), cm, metav1.UpdateOptions{FieldManager: "the-neighbour"}); err != nil {
		t.Fatal(err)
	}
	words := []string{"ConfigMap settings", ".data.color", `"the-neighbour"`, "force"}
	fails(t, x, step, sdk.FaultInvalid, words...)
	_, err = x.Plan(t.Context(), step)
	failedWith(t, err, sdk.FaultInvalid, words...)
	step.With["force"] = true
	run(t, x, step)
}

func TestWhatIsNotOursIsRefused(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := stepOf(t, map[string]any{"manifests": web})
	makeNamespace(t, step.Namespace, nil)
	cs := client(t)
	another := map[string]string{kube.LabelApp: "shop", kube.LabelEnvironment: "pr-7", kube.LabelPart: "web", kube.LabelInstallation: "test"}
	for what, labels := range map[string]map[string]string{"did not make it": nil, "shop/pr-7": another} {
		cm := configMap("settings", labels)
		if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		fails(t, x, step, sdk.FaultInvalid, "ConfigMap settings", what)
		_, err := x.Plan(t.Context(), step)
		failedWith(t, err, sdk.FaultInvalid, "ConfigMap settings", what)
		run(t, x, step, sdk.Cleanup)
		got, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{})
		if err != nil || got.Data["mine"] != "yes" {
			t.Fatalf("what is another's has been touched: %v, %v", got, err)
		}
		if err := cs.CoreV1().ConfigMaps(step.Namespace).Delete(t.Context(), "settings", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	adopted := configMap("settings", kube.StepOwner(step).Labels())
	if _, err := cs.CoreV1().ConfigMaps(step.Namespace).Create(t.Context(), adopted, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	run(t, x, step)
	run(t, x, step, sdk.Cleanup)
	_, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "settings", metav1.GetOptions{})
	absent(t, "what was handed over", err)
	if _, err := cs.CoreV1().Namespaces().Get(t.Context(), step.Namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("a namespace that Berth did not make is gone: %v", err)
	}
}
