package helm

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-dev/berth/plugins/sdk/sdktest"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// BenchmarkDeploy installs charts/preview into a namespace of its own, with
// this executor and with Helm's own library as its command line uses it
// (`helm upgrade --install --wait --create-namespace`).
func BenchmarkDeploy(b *testing.B) {
	config := kubeconfig(b)
	for _, readyAfter := range []string{"0s", "500ms"} {
		values := map[string]any{"podAnnotations": map[string]any{"devcluster/ready-after": readyAfter}}
		b.Run("berth/ready-after="+readyAfter, func(b *testing.B) {
			x := New(Options{})
			for b.Loop() {
				step := preview(b)
				step.With["values"] = values
				if err := x.Run(b.Context(), step, sdktest.NewRecorder()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("helm/ready-after="+readyAfter, func(b *testing.B) {
			for b.Loop() {
				if err := helmInstall(config, namespace(b), values); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func helmInstall(kubeconfig, namespace string, values map[string]any) error {
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &kubeconfig, &namespace
	cfg := &action.Configuration{}
	if err := cfg.Init(flags, namespace, "secret", func(string, ...any) {}); err != nil {
		return err
	}
	history := action.NewHistory(cfg)
	history.Max = 1
	if _, err := history.Run("shop"); err != driver.ErrReleaseNotFound { //nolint:errorlint // as cmd/helm does
		return fmt.Errorf("history: %w", err)
	}
	ch, err := loader.Load(previewChart)
	if err != nil {
		return err
	}
	a := action.NewInstall(cfg)
	a.ReleaseName, a.Namespace, a.CreateNamespace, a.Wait, a.Timeout = "shop", namespace, true, true, time.Minute
	_, err = a.Run(ch, values)
	return err
}

// BenchmarkPlan plans a deploy of what is deployed already.
func BenchmarkPlan(b *testing.B) {
	x := New(Options{})
	step := preview(b)
	run(b, x, step)
	for name, brief := range map[string]bool{"whole": false, "brief": true} {
		b.Run(name, func(b *testing.B) {
			s := step
			s.Brief = brief
			for b.Loop() {
				if _, err := x.Plan(b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRepeat runs a step that is already done.
func BenchmarkRepeat(b *testing.B) {
	x := New(Options{})
	step := preview(b)
	run(b, x, step)
	for b.Loop() {
		if err := x.Run(b.Context(), step, sdktest.NewRecorder()); err != nil {
			b.Fatal(err)
		}
	}
}
