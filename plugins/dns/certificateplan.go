package dns

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-dev/berth/plugins/sdk"
)

// plan implements annex. It orders nothing, and makes no account.
func (c *certificates) plan(ctx context.Context, j *job, p *sdk.Plan) error {
	wish, acme, err := c.wishFor(j)
	if err != nil {
		return err
	}
	if wish == nil && j.step.Verb == sdk.Cleanup && j.step.With["certificate"] != nil && !j.step.Brief {
		w, err := c.work(j, c.byMarks(j), acme, nil)
		if err != nil {
			return err
		}
		return w.explained(ctx, w.planCleanup(ctx, p))
	}
	if wish == nil {
		return nil
	}
	if wish.issuer != nil {
		p.Inputs["certificate"] = "cert-manager " + wish.issuer.annotation + "=" + wish.issuer.name + " " + wish.secret
		return nil
	}
	if j.step.Verb != sdk.Cleanup && j.step.Verb != sdk.Archive {
		p.Inputs["certificate"] = fmt.Sprintf("%s for %s in %s/%s", acme.directory, strings.Join(wish.names, " "), wish.namespace, wish.secret)
	}
	if j.step.Brief || j.step.Verb == sdk.Archive {
		return nil
	}
	w, err := c.work(j, *wish, acme, nil)
	if err != nil {
		return err
	}
	if j.step.Verb == sdk.Cleanup {
		return w.explained(ctx, w.planCleanup(ctx, p))
	}
	return w.explained(ctx, w.planDeploy(ctx, p))
}

func (w *work) planDeploy(ctx context.Context, p *sdk.Plan) error {
	have, err := w.store.kept(ctx)
	if err != nil {
		return err
	}
	secret, err := w.store.copied(ctx)
	if err != nil {
		return err
	}
	names := namesText(w.wish.names)
	order := sdk.Resource{Kind: kindCertificate, Name: names, Change: sdk.ChangeCreate}
	renewed := false
	switch {
	case !w.usable(have):
		if err := w.allowed(ctx); err != nil {
			return err
		}
		zone, err := w.c.x.open(ctx, w.j.step, w.j.zone)
		if err != nil {
			return err
		}
		if err := w.unclaimed(ctx, zone); err != nil {
			return err
		}
		p.Resources = append(p.Resources, order)
		note(p, fmt.Sprintf("order a certificate for %s at %s", names, w.acme.authority()))
		renewed = true
	case !w.fresh(ctx, have):
		order.Change = sdk.ChangeUpdate
		p.Resources = append(p.Resources, order)
		note(p, fmt.Sprintf("renew the certificate for %s, which ends on %s", names, have.leaf.NotAfter.UTC().Format(time.DateOnly)))
		renewed = true
	}
	if !renewed && holds(secret, have) {
		return nil
	}
	copied := sdk.Resource{Kind: kindSecret, Name: w.wish.secret, Namespace: w.wish.namespace, Change: sdk.ChangeCreate}
	if secret != nil {
		copied.Change = sdk.ChangeUpdate
	}
	p.Resources = append(p.Resources, copied)
	note(p, fmt.Sprintf("copy the certificate for %s into Secret %s/%s", names, w.wish.namespace, w.wish.secret))
	return nil
}

// allowed says why a certificate cannot be ordered now, nil when it can.
func (w *work) allowed(ctx context.Context) error {
	record, err := w.store.order(ctx)
	if err != nil || record != nil {
		return err // it has been ordered, and counted
	}
	secret, err := w.store.read(ctx, w.store.accountName(), keepsAccount)
	if secret == nil || err != nil {
		return err
	}
	l, err := readLedger(secret.Data[keyLedger])
	if err != nil {
		return err
	}
	charges := append(w.acme.limits.charges(w.wish.names), w.acme.limits.failureCharges(w.wish.names)...)
	return l.refusal(w.c.x.now(), w.wish.names, charges...)
}

func (w *work) planCleanup(ctx context.Context, p *sdk.Plan) error {
	namespaces := []string{w.wish.namespace}
	if w.acme.set && w.store.home != w.wish.namespace {
		namespaces = append(namespaces, w.store.home)
	}
	for _, namespace := range namespaces {
		secrets, err := w.marked(ctx, namespace)
		if err != nil {
			return err
		}
		for _, s := range secrets {
			if s.Labels[labelKeeps] == keepsCertificate {
				p.Resources = append(p.Resources, sdk.Resource{Kind: kindSecret, Name: s.Name, Namespace: s.Namespace, Change: sdk.ChangeDelete})
				note(p, fmt.Sprintf("remove Secret %s/%s", s.Namespace, s.Name))
			}
		}
	}
	return nil
}

// note adds to a plan's one line.
func note(p *sdk.Plan, text string) {
	if p.Summary == "" || p.Summary == "nothing to change" {
		p.Summary = text
		return
	}
	p.Summary = strings.TrimSuffix(p.Summary, ".") + "; " + text
}

// observe implements annex.
func (c *certificates) observe(ctx context.Context, j *job, o *sdk.Observation) error {
	wish, acme, err := c.wish(j)
	if wish == nil || wish.issuer != nil || err != nil {
		return err
	}
	w, err := c.work(j, *wish, acme, nil)
	if err != nil {
		return err
	}
	return w.explained(ctx, w.observe(ctx, o))
}

func (w *work) observe(ctx context.Context, o *sdk.Observation) error {
	secret, err := w.store.secrets(w.wish.namespace).get(ctx, w.wish.secret)
	gone := apierrors.IsNotFound(err)
	if err != nil && !gone {
		return err
	}
	kept, err := w.store.kept(ctx)
	if err != nil {
		return err
	}
	where := fmt.Sprintf("Secret %s/%s", w.wish.namespace, w.wish.secret)
	alone := len(w.j.part.sets) == 0 // the certificate is all that the part is
	if gone {
		if o.Health == sdk.Absent || alone {
			o.Health = sdk.Absent
			return nil
		}
		worse(o, sdk.Unhealthy, "the certificate's "+where+" is not there")
		o.Drift = append(o.Drift, "The certificate's "+where+" is gone.")
		return nil
	}
	if refused := w.store.refuse(secret); refused != nil {
		worse(o, sdk.Unhealthy, where+" is not the part's any more")
		o.Drift = append(o.Drift, "The "+where+" no longer says that it is this part's.")
		return nil
	}
	w.judge(ctx, o, secret, kept, where)
	return nil
}

// judge says how a copy is that is there.
func (w *work) judge(ctx context.Context, o *sdk.Observation, secret *corev1.Secret, kept *issued, where string) {
	names, now := namesText(w.wish.names), w.c.x.now()
	have, err := parseIssued(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		worse(o, sdk.Unhealthy, where+" holds no certificate that can be used")
		o.Drift = append(o.Drift, "The "+where+" holds no certificate that can be used.")
		o.Renew = "the certificate of " + names + " is damaged in " + where
		return
	}
	ends := have.leaf.NotAfter.UTC().Format(time.DateOnly)
	o.Facts = append(o.Facts, sdk.Fact{Name: "certificate", Text: names + " until " + ends})
	switch {
	case !now.Before(have.leaf.NotAfter):
		worse(o, sdk.Unhealthy, "the certificate of "+names+" ended on "+ends)
	case late(have.leaf, now):
		worse(o, sdk.Degraded, "the certificate of "+names+" ends on "+ends+" and has not been renewed")
	}
	switch {
	case !have.covers(w.wish.names):
		o.Drift = append(o.Drift, "The certificate in "+where+" is for "+namesText(have.leaf.DNSNames)+".")
		o.Renew = "the certificate in " + where + " is not for " + names
	case kept != nil && !holds(secret, kept) && w.usable(kept):
		o.Renew = fmt.Sprintf("the certificate of %s in %s, which ends on %s, is not the one that is kept for it, which ends on %s", names, where, ends, kept.leaf.NotAfter.UTC().Format(time.DateOnly))
	case !now.Before(w.c.windows.renewAt(ctx, w.acme, have.leaf)):
		o.Renew = "the certificate of " + names + " ends on " + ends
	}
}

// ranks are how bad each health is.
var ranks = map[sdk.Health]int{sdk.Healthy: 0, sdk.Unknown: 1, sdk.Degraded: 2, sdk.Unhealthy: 3, sdk.Absent: 4}

// worse makes o as bad as health, and says why.
func worse(o *sdk.Observation, health sdk.Health, why string) {
	if ranks[health] > ranks[o.Health] {
		o.Health = health
	}
	if o.Text != "" {
		o.Text += "; "
	}
	o.Text += why
}
