package helm

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestRestart(t *testing.T) {
	t.Parallel()
	x, cs := New(Options{}), client(t)
	step := sleepy(t, x)
	uids := func() map[types.UID]string {
		list, err := cs.CoreV1().Pods(step.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[types.UID]string{}
		for _, p := range list.Items {
			if p.DeletionTimestamp == nil {
				out[p.UID] = p.Name
			}
		}
		return out
	}
	generations := func() (all []int64) {
		list, err := cs.AppsV1().Deployments(step.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list.Items {
			all = append(all, d.Generation)
		}
		return all
	}
	before := uids()
	restart := verb(step, sdk.Restart)
	plan, err := x.Plan(t.Context(), restart)
	if err != nil || len(plan.Resources) != 4 || !strings.Contains(plan.Summary, "restart release shop-pr-42-web: 4 workloads, ") {
		t.Errorf("plan %+v, %v", plan, err)
	}
	run(t, x, restart)
	for uid, name := range uids() {
		if before[uid] != "" {
			t.Errorf("pod %s was not replaced", name)
		}
	}
	once := generations()
	run(t, x, restart)
	if again := generations(); again[0] != once[0] || again[1] != once[1] {
		t.Errorf("the same step restarted twice: %v, %v", once, again)
	}
	if o := observe(t, x, step); len(o.Drift) > 0 {
		t.Errorf("a restart is no drift: %v", o.Drift)
	}
	next := restart
	next.ID += "-next"
	run(t, x, next)
	if again := generations(); again[0] == once[0] {
		t.Error("another step did not restart")
	}
}
