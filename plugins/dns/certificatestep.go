package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Kinds of what certificates make.
const (
	kindCertificate = "Certificate"
	kindSecret      = "Secret"
)

// certificates is the annex that gives a part's names their TLS certificate.
//
// A certificate is kept in the home namespace, which the settings name, and
// copied to where the environment wants it. So all environments of an app share
// one wildcard, an environment that comes back finds its own again, and no key
// is in an environment's namespace alone.
type certificates struct {
	x        *Executor
	windows  *windows
	lockLife time.Duration
}

var _ annex = (*certificates)(nil)

func newCertificates(x *Executor) *certificates {
	kube.Silence()
	return &certificates{x: x, windows: newWindows(x.now), lockLife: lockLife}
}

// wish is what the part asks for, nil for nothing.
func (c *certificates) wish(j *job) (*certificateWish, acmeSettings, error) {
	acme, err := readACME(j.step.Settings)
	if err != nil {
		return nil, acme, err
	}
	var own []string
	for _, name := range namesOf(j.part.sets) {
		if !strings.Contains(name, "_") {
			own = append(own, name)
		}
	}
	wish, err := readCertificate(j.step, j.zone.name, own)
	if wish == nil || err != nil {
		return nil, acme, err
	}
	if wish.issuer == nil && !acme.set {
		return nil, acme, sdk.Invalid("Certificates need `acme` in the settings of the dns executor: whoever answers for the platform names the authority there and agrees to its terms. {} takes Let's Encrypt.")
	}
	return wish, acme, nil
}

// check implements annex.
func (c *certificates) check(j *job) error {
	_, _, err := c.wish(j)
	return err
}

// wanted implements annex.
func (c *certificates) wanted(j *job) bool {
	wish, _, err := c.wish(j)
	return wish != nil && err == nil
}

// work is one step's work on the part's certificate.
type work struct {
	c      *certificates
	j      *job
	wish   certificateWish
	acme   acmeSettings
	client kubernetes.Interface
	store  *store
	out    sdk.Events
}

func (c *certificates) work(j *job, wish certificateWish, acme acmeSettings, out sdk.Events) (*work, error) {
	cluster, err := c.x.clusters.Open(j.step.Cluster)
	if err != nil {
		return nil, err
	}
	client := cluster.Clientset()
	return &work{c: c, j: j, wish: wish, acme: acme, client: client, store: newStore(client, j.step, wish, acme), out: out}, nil
}

// explained makes a failure of the cluster one for people. Others pass: who knows
// name servers and the authority explains theirs.
func (w *work) explained(ctx context.Context, err error) error {
	return explainCluster(ctx, err, w.j.step.Cluster)
}

// wishFor is wish, but for steps that are done although the part's settings are
// not, or no longer, right: they get none.
func (c *certificates) wishFor(j *job) (*certificateWish, acmeSettings, error) {
	wish, acme, err := c.wish(j)
	if verb := j.step.Verb; err != nil && (verb == sdk.Cleanup || verb == sdk.Archive || verb == sdk.Restore && j.step.AsWas) {
		return nil, acme, nil
	}
	return wish, acme, err
}

// run implements annex.
func (c *certificates) run(ctx context.Context, j *job, out sdk.Events) error {
	wish, acme, err := c.wishFor(j)
	asked := j.step.With["certificate"] != nil
	switch {
	case err != nil:
		return err
	case j.step.Verb == sdk.Archive:
		return nil // what is archived keeps its certificate: it is there when it comes back
	case wish != nil && wish.issuer != nil:
		if j.step.Verb != sdk.Cleanup {
			c.leave(wish, out)
		}
		return nil
	case wish == nil && j.step.Verb == sdk.Cleanup && (asked || acme.set):
		return c.clear(ctx, j, c.byMarks(j), acme, out, !asked)
	case wish == nil && acme.set && !asked:
		// What an earlier deploy left is not worth a failure: a cleanup takes it, too.
		if err := c.clear(ctx, j, c.byMarks(j), acme, out, true); err != nil && ctx.Err() == nil {
			c.x.log.Info("an earlier certificate may be left", "env", j.step.App+"/"+j.step.Env, "part", j.step.Part, "error", err)
		}
		return ctx.Err()
	case wish == nil:
		return nil
	case j.step.Verb == sdk.Cleanup:
		return c.clear(ctx, j, *wish, acme, out, false)
	}
	w, err := c.work(j, *wish, acme, out)
	if err != nil {
		return err
	}
	return w.explained(ctx, w.deploy(ctx))
}

// byMarks is a wish that only says where what bears the step's marks may be.
func (c *certificates) byMarks(j *job) certificateWish {
	wish := certificateWish{namespace: j.step.Namespace, reach: reachEnvironment}
	if with, ok := j.step.With["certificate"].(map[string]any); ok {
		if namespace, ok := with["namespace"].(string); ok && namespaceName.MatchString(namespace) {
			wish.namespace = namespace
		}
	}
	return wish
}

// leave says what an Ingress needs for cert-manager to do the work.
func (c *certificates) leave(wish *certificateWish, out sdk.Events) {
	out.Output("tls_secret", wish.secret)
	out.Output("issuer_annotation", wish.issuer.annotation)
	out.Output("issuer", wish.issuer.name)
}

// deploy has the certificate where it is wanted.
func (w *work) deploy(ctx context.Context) error {
	// Before anything is ordered: would the Secret be refused?
	if _, err := w.store.copied(ctx); err != nil {
		return err
	}
	have, err := w.obtain(ctx)
	if err != nil {
		return err
	}
	change, err := w.store.copy(ctx, have)
	if err != nil {
		return err
	}
	where := fmt.Sprintf("Secret %s in namespace %s", w.wish.secret, w.wish.namespace)
	ends := have.leaf.NotAfter.UTC().Format(time.DateOnly)
	if change == "" {
		w.out.Log(fmt.Sprintf("certificate: %s holds that of %s, which ends on %s, already", where, namesText(w.wish.names), ends))
	} else {
		w.out.Log(fmt.Sprintf("certificate: %s holds that of %s, which ends on %s", where, namesText(w.wish.names), ends))
	}
	w.out.Output("tls_secret", w.wish.secret)
	return nil
}

// fresh tells whether a kept certificate needs no renewal.
func (w *work) fresh(ctx context.Context, have *issued) bool {
	now := w.c.x.now()
	return w.usable(have) && now.Before(w.c.windows.renewAt(ctx, w.acme, have.leaf))
}

// usable tells whether a kept certificate can be used at all.
func (w *work) usable(have *issued) bool {
	return have != nil && have.covers(w.wish.names) && w.c.x.now().Before(have.leaf.NotAfter)
}

func (w *work) lock() *lock {
	who := strings.Join([]string{cmp.Or(w.j.step.Installation, "-"), w.j.step.App, w.j.step.Env, w.j.step.Part}, "/")
	return newLock(leaseClient{w.client.CoordinationV1().Leases(w.store.home)}, w.store.certificateName(), w.store.labels(keepsOrder), who, w.c.lockLife)
}

// obtain is the certificate, as it is kept or, where there is none or it is to be
// renewed, anew. Of many steps that want it at once one orders it, and the
// others wait for that.
func (w *work) obtain(ctx context.Context) (*issued, error) {
	l, told := w.lock(), false
	for {
		have, err := w.store.kept(ctx)
		if err != nil {
			return nil, err
		}
		if w.fresh(ctx, have) {
			return have, w.sweep(ctx, l)
		}
		held, release, ok, err := l.try(ctx)
		if err != nil {
			return nil, w.store.homeless(err)
		}
		if ok {
			have, err := w.locked(held)
			err = lostLock(held, err)
			release()
			return have, err
		}
		if !told {
			w.out.Progress("certificate: another step orders that of "+namesText(w.wish.names)+"; waiting for it", 0, 0)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lockLook):
		}
	}
}

// locked orders a certificate under its lock, unless another step just did.
func (w *work) locked(ctx context.Context) (*issued, error) {
	have, err := w.store.kept(ctx)
	if err != nil || w.fresh(ctx, have) {
		return have, err
	}
	i, err := w.issuing(ctx)
	if err != nil {
		return nil, err
	}
	defer i.transport.close()
	if err := w.unclaimed(ctx, i.challenges.zone); err != nil {
		return nil, err
	}
	next, err := i.issue(ctx, have)
	if err == nil || ctx.Err() != nil || !w.usable(have) {
		return next, err
	}
	// A deploy does not fail for a renewal that can be made another day.
	told, _ := errors.AsType[*sdk.Error](w.c.x.explain(w.j.step, w.explained(ctx, err)))
	w.c.x.log.Warn("a certificate is not renewed", "env", w.j.step.App+"/"+w.j.step.Env, "part", w.j.step.Part, "names", namesText(w.wish.names), "error", err)
	w.out.Log(fmt.Sprintf("certificate: that of %s could not be renewed, and goes on until %s: %s", namesText(w.wish.names), have.leaf.NotAfter.UTC().Format(time.DateOnly), told.Msg))
	return have, nil
}

// unclaimed says why there can be no certificate for the names, nil when there
// can: none is another environment's. A wildcard of the app is nobody's alone.
func (w *work) unclaimed(ctx context.Context, p provider) error {
	if w.wish.reach == reachApp {
		return nil
	}
	var keys []key
	for _, name := range w.wish.names {
		keys = append(keys, key{ownerName(name), typeTXT})
	}
	found, err := p.read(ctx, keys)
	if err != nil {
		return err
	}
	for _, name := range w.wish.names {
		o, marks := markOf(found[key{ownerName(name), typeTXT}])
		mine := w.j.me
		mine.part = o.part // any part of the environment
		if marks > 0 && !o.is(mine) {
			return sdk.Invalid("The name %s is that of environment %s, which alone can have a certificate for it: take it out of `names`.", name, o.of(w.j.me))
		}
	}
	return nil
}

// issuing puts together what an order needs.
func (w *work) issuing(ctx context.Context) (*issuing, error) {
	challenges, err := w.challenges(ctx, w.j.zone)
	if err != nil {
		return nil, err
	}
	client, transport, err := w.acme.client()
	if err != nil {
		return nil, err
	}
	return &issuing{
		acme: w.acme, names: w.wish.names, store: w.store, challenges: challenges, client: client, transport: transport,
		secret: func(ctx context.Context, ref sdk.SecretRef) (string, error) {
			return w.c.x.secrets(w.j.step).Value(ctx, w.j.step, ref)
		},
		now: w.c.x.now, out: w.out,
	}, nil
}

func (w *work) challenges(ctx context.Context, zone zoneSettings) (*challenges, error) {
	p, err := w.c.x.open(ctx, w.j.step, zone)
	if err != nil {
		return nil, err
	}
	return &challenges{zone: p, at: zone, net: w.c.x.net, owner: w.j.me.text(), now: w.c.x.now}, nil
}

// sweep ends what is left of an order whose certificate is there: challenges that
// could not be taken away then, or the lock of a step that was killed at its end.
func (w *work) sweep(ctx context.Context, l *lock) error {
	record, err := w.store.order(ctx)
	if err != nil {
		return err
	}
	left, err := l.left(ctx)
	if err != nil || record == nil && !left {
		return err
	}
	held, release, ok, err := l.try(ctx)
	if !ok || err != nil {
		return err
	}
	defer release()
	if record, err = w.store.order(held); record == nil || err != nil {
		return err
	}
	i, err := w.issuing(held)
	if err != nil {
		return err
	}
	defer i.transport.close()
	return i.drop(held, record, false)
}
