package dns

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// lockLife is how long a lock outlives whoever held it without a word.
	lockLife = 30 * time.Second
	// lockLook is how often who waits for a lock looks.
	lockLook = time.Second
	// lockAncient is when a lock is believed to be over at the first look: no
	// clocks are that far apart.
	lockAncient = 10 * time.Minute
)

// errLockLost is why the work under a lock ends when another has taken it.
var errLockLost = errors.New("the lock was taken by another process")

// lock is a Lease that one step at a time holds. It keeps two processes from
// doing the same at once; that nothing is overwritten where it fails to, such as
// when a process stood still for longer than life, is for the versions of what
// is written.
type lock struct {
	leases leaseClient
	name   string
	labels map[string]string
	// who is a part of an environment. Runs of one exclude each other, so a lock
	// that is its own is one that a killed process left.
	who    string
	life   time.Duration
	holder string // who, and which process's which step

	seen  *coordinationv1.Lease // by the last look
	since time.Time             // when it looked like that first
}

func newLock(leases leaseClient, name string, labels map[string]string, who string, life time.Duration) *lock {
	return &lock{leases: leases, name: name, labels: labels, who: who, life: life, holder: who + " " + rand.Text()[:8]}
}

// try takes the lock if it is free. Until release is called, ctx that it returns
// ends when the lock is lost.
func (l *lock) try(ctx context.Context) (held context.Context, release func(), ok bool, err error) {
	lease, err := l.take(ctx)
	if lease == nil || err != nil {
		return nil, nil, false, err
	}
	held, stop := context.WithCancelCause(ctx)
	var done sync.WaitGroup
	done.Go(func() { lease = l.hold(held, lease, stop) })
	return held, func() {
		stop(nil)
		done.Wait()
		l.free(ctx, lease)
	}, true, nil
}

// take makes or takes over the Lease; nil when another holds it.
func (l *lock) take(ctx context.Context) (*coordinationv1.Lease, error) {
	lease, err := l.leases.get(ctx, l.name)
	switch {
	case apierrors.IsNotFound(err):
		l.seen = nil
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name, Labels: l.labels}}
		l.sign(lease)
		lease, err = l.leases.create(ctx, lease)
	case err != nil:
		return nil, err
	case !l.over(lease):
		return nil, nil
	default:
		lease = lease.DeepCopy()
		l.sign(lease)
		lease, err = l.leases.update(ctx, lease)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return nil, nil // another was faster
	}
	return lease, err
}

// left tells whether there is a Lease that binds nobody any more.
func (l *lock) left(ctx context.Context) (bool, error) {
	lease, err := l.leases.get(ctx, l.name)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && l.over(lease), err
}

// over tells whether a Lease binds nobody any more. Clocks of other machines are
// not trusted: what counts is how long it has not changed while it was looked at.
func (l *lock) over(lease *coordinationv1.Lease) bool {
	now := time.Now()
	if l.seen == nil || l.seen.UID != lease.UID || l.seen.ResourceVersion != lease.ResourceVersion {
		l.seen, l.since = lease, now
	}
	holder := ""
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	if holder == "" || strings.HasPrefix(holder, l.who+" ") {
		return true
	}
	if renewed := lease.Spec.RenewTime; renewed == nil || now.Sub(renewed.Time) > lockAncient {
		return true
	}
	life := l.life
	if s := lease.Spec.LeaseDurationSeconds; s != nil {
		life = time.Duration(*s) * time.Second
	}
	return now.Sub(l.since) > life
}

func (l *lock) sign(lease *coordinationv1.Lease) {
	now, seconds := metav1.NewMicroTime(time.Now()), int32(max(l.life/time.Second, 1)) //nolint:gosec // a lock lives for seconds, not for decades
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &l.holder, &seconds
	lease.Spec.RenewTime = &now
	lease.Spec.AcquireTime = &now
}

// hold renews the Lease until ctx ends, and ends it with errLockLost when that
// fails for too long. It returns the Lease as it is then.
func (l *lock) hold(ctx context.Context, lease *coordinationv1.Lease, lost context.CancelCauseFunc) *coordinationv1.Lease {
	tick := time.NewTicker(l.life / 3)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return lease
		case <-tick.C:
		}
		next := lease.DeepCopy()
		now := metav1.NewMicroTime(time.Now())
		next.Spec.RenewTime = &now
		limit, cancel := context.WithTimeout(ctx, l.life/3)
		got, err := l.leases.update(limit, next)
		cancel()
		switch {
		case err == nil:
			lease, renewed = got, time.Now()
		case apierrors.IsConflict(err), apierrors.IsNotFound(err), time.Since(renewed) > l.life*2/3:
			lost(errLockLost)
			return lease
		}
	}
}

// free gives the lock back. Where that fails it ends by itself.
func (l *lock) free(ctx context.Context, lease *coordinationv1.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = l.leases.remove(ctx, lease)
}

// lostLock is err, or that the lock was lost if that is why it failed.
func lostLock(held context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(held), errLockLost) {
		return sdk.Downstream("The lock under which the certificate is ordered was lost: the cluster did not answer for too long. Try again.").WithRetry()
	}
	return err
}
