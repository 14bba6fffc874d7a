package dns

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/clustertest"
)

// leases are those of the namespace "default" of the shared cluster.
func leases(t *testing.T) leaseClient {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", clustertest.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return leaseClient{client.CoordinationV1().Leases("default")}
}

func (l *lock) mustTry(t *testing.T, want bool) (context.Context, func()) {
	t.Helper()
	held, release, ok, err := l.try(t.Context())
	if err != nil || ok != want {
		t.Fatalf("%s gets the lock: %t, %v; want %t", l.holder, ok, err, want)
	}
	return held, release
}

func TestOneHoldsALockAtATime(t *testing.T) {
	t.Parallel()
	all, name := leases(t), "lock-"+strings.ToLower(t.Name())
	a, b := newLock(all, name, nil, "i/shop/pr-1/url", time.Minute), newLock(all, name, nil, "i/shop/pr-10/url", time.Minute)
	_, release := a.mustTry(t, true)
	b.mustTry(t, false)
	release()
	if _, err := all.get(t.Context(), name); err == nil {
		t.Error("a lock that was given back is still there")
	}
	_, release = b.mustTry(t, true)
	a.mustTry(t, false)
	release()
}

func TestALockOfAKilledStepOfTheSamePartIsTakenOverAtOnce(t *testing.T) {
	t.Parallel()
	all, name := leases(t), "lock-"+strings.ToLower(t.Name())
	killed := newLock(all, name, nil, "i/shop/pr-1/url", time.Minute)
	killed.mustTry(t, true)
	_, release := newLock(all, name, nil, "i/shop/pr-1/url", time.Minute).mustTry(t, true)
	defer release()
}

func TestALockIsRenewedWhileItIsHeldAndEndsWithItsHolder(t *testing.T) {
	t.Parallel()
	all, name := leases(t), "lock-"+strings.ToLower(t.Name())
	const life = 12 * time.Second // of which a busy machine may lose some between two renewals
	a, b := newLock(all, name, nil, "i/shop/pr-1/url", life), newLock(all, name, nil, "i/shop/pr-2/url", life)
	held, release := a.mustTry(t, true)
	// It holds for longer than it lives by itself, as it is renewed.
	until := time.Now().Add(3 * life / 2)
	for first := true; first || time.Now().Before(until); first = false {
		b.mustTry(t, false)
		select {
		case <-held.Done():
			t.Fatalf("it was lost: %v", context.Cause(held))
		case <-time.After(life / 4):
		}
	}
	// Somebody takes it away: the work under it ends.
	lease, err := all.get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := all.of.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	<-held.Done()
	if err := lostLock(held, held.Err()); !errors.Is(context.Cause(held), errLockLost) || err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("the work ends with %v", err)
	}
	release()
	// Who died without a word holds it for a life, and no longer.
	lease.ResourceVersion, lease.UID = "", ""
	dead := metav1.NewMicroTime(time.Now().Add(24 * time.Hour)) // by a clock that is wrong
	lease.Spec.RenewTime = &dead
	if _, err := all.create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	b = newLock(all, name, nil, "i/shop/pr-2/url", life)
	b.mustTry(t, false)
	began := time.Now()
	for {
		_, release, ok, err := b.try(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			release()
			break
		}
		<-time.After(life / 10)
	}
	if waited := time.Since(began); waited < life-life/4 || waited > 5*life {
		t.Errorf("it was taken over after %v, want about %v", waited, life)
	}
}
