package node

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestEventsOfAContainer(t *testing.T) {
	status := func(state corev1.ContainerState, restarts int32) *corev1.ContainerStatus {
		return &corev1.ContainerStatus{Image: "web:1", State: state, RestartCount: restarts}
	}
	none := &corev1.ContainerStatus{}
	pulling := status(waitingFor("ImagePullBackOff"), 0)
	pulling.State.Waiting.Message = `Back-off pulling image "web:1": ErrImagePull: not found`
	crashed := status(waitingFor("CrashLoopBackOff"), 2)
	crashed.State.Waiting.Message = "back-off restarting failed container=web"

	for name, tt := range map[string]struct {
		was, now *corev1.ContainerStatus
		again    bool
		want     []string
	}{
		"a start":                          {none, status(started(), 0), false, []string{"Pulled", "Created", "Started"}},
		"a start after a crash":            {crashed, status(started(), 3), false, []string{"Pulled", "Created", "Started"}},
		"a change that is not of its run":  {status(started(), 0), status(started(), 0), false, nil},
		"it still runs":                    {status(started(), 0), status(started(), 0), true, nil},
		"an image that cannot be pulled":   {none, pulling, false, []string{"Pulling", "Failed", "Failed", "BackOff", "Failed"}},
		"it still cannot":                  {pulling, pulling, true, []string{"BackOff", "Failed"}},
		"another change while it cannot":   {pulling, pulling, false, nil},
		"a crash":                          {status(started(), 2), crashed, false, []string{"BackOff"}},
		"waiting for init containers":      {none, status(waitingFor("PodInitializing"), 0), false, nil},
		"a start and an end between looks": {none, status(corev1.ContainerState{Terminated: ended(0)}, 0), false, []string{"Pulled", "Created", "Started"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range containerEvents(tt.was, tt.now, tt.again) {
				got = append(got, e.reason)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}

	events := containerEvents(none, pulling, false)
	if want := `Failed to pull image "web:1": not found`; events[1].message != want {
		t.Errorf("the cause is told as %q, want %q", events[1].message, want)
	}
}
