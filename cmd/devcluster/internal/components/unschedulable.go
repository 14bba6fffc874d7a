package components

import (
	"context"

	"github.com/berth-dev/berth/cmd/devcluster/internal/stages"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fwk "k8s.io/kube-scheduler/framework"
)

// unschedulableName is the plugin's name in the scheduler's configuration.
const unschedulableName = stages.SchedulerPlugin

// unschedulable is a scheduler plugin that finds no node good enough for a pod
// annotated to stay Pending. The scheduler itself then writes the condition and
// the FailedScheduling event, exactly as it does for a pod that asks for more
// memory than any node has.
type unschedulable struct{}

var _ fwk.FilterPlugin = unschedulable{}

func newUnschedulable(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) {
	return unschedulable{}, nil
}

// Name implements fwk.Plugin.
func (unschedulable) Name() string { return unschedulableName }

// Filter implements fwk.FilterPlugin.
func (unschedulable) Filter(_ context.Context, _ fwk.CycleState, pod *corev1.Pod, _ fwk.NodeInfo) *fwk.Status {
	if stages.IsUnschedulable(pod.Annotations) {
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "Insufficient memory")
	}
	return nil
}
