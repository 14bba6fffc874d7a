package dns

import (
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-dev/berth/plugins/sdk"
)

// TestACertificateOfItsLife takes one wildcard of an app from its order to its
// renewal, in two environments.
func TestACertificateOfItsLife(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{wait: 1})
	first, second := w.tls(sdk.Deploy, "pr-1", wildcard()), w.tls(sdk.Deploy, "pr-2", wildcard())
	w.namespace("shop-pr-1")
	w.namespace("shop-pr-2")

	p := w.plan(first)
	if got := changes(p); !slices.Equal(got, []string{"create Certificate *.shop.preview.example.org", "create Secret tls-web"}) || !strings.Contains(p.Summary, "order a certificate for *.shop.preview.example.org") {
		t.Errorf("the plan is %q, %s", got, p.Summary)
	}
	out := w.run(first)
	if out.outputs["tls_secret"] != "tls-web" {
		t.Errorf("the outputs are %v", out.outputs)
	}
	secret := w.secret(first.Namespace, "tls-web")
	old := w.leaf(secret, "pr-1.shop.preview.example.org")
	for key, want := range map[string]string{"berth.dev/app": "shop", "berth.dev/environment": "pr-1", "berth.dev/part": "url", "berth.dev/installation": "inst-1", "app.kubernetes.io/managed-by": "berth"} {
		if secret.Labels[key] != want {
			t.Errorf("the Secret's label %s is %q, want %q", key, secret.Labels[key], want)
		}
	}
	w.noChallenges()
	w.keptAtHome(keepsAccount, keepsCertificate)
	w.silent(out, old)
	if o := w.observe(first); o.Health != sdk.Healthy || o.Renew != "" || len(o.Drift) != 0 {
		t.Errorf("seen is %+v", o)
	}

	// What is there is left alone.
	before := w.state(first.Namespace)
	if p := w.plan(first); len(p.Resources) != 0 {
		t.Errorf("a plan of what is there is %+v", p)
	}
	w.run(first)
	if after := w.state(first.Namespace); after != before {
		t.Errorf("a second deploy changed\n%s\nto\n%s", before, after)
	}

	// The other environment gets a copy.
	if got := changes(w.plan(second)); !slices.Equal(got, []string{"create Secret tls-web"}) {
		t.Errorf("the plan of the second environment is %q", got)
	}
	w.run(second)
	if !w.leaf(w.secret(second.Namespace, "tls-web"), "pr-2.shop.preview.example.org").is(old) || w.ca.count(pathNewOrder) != 1 {
		t.Errorf("the second environment has another certificate, and %d were ordered", w.ca.count(pathNewOrder))
	}

	// Renewal: seen, planned, done, with another key; the others follow.
	w.clock.add(66 * 24 * time.Hour)
	ends := old.leaf.NotAfter.UTC().Format(time.DateOnly)
	if o := w.observe(first); o.Renew != "the certificate of *.shop.preview.example.org ends on "+ends {
		t.Errorf("to renew is %q", o.Renew)
	}
	w.acme("profile", profile200Days) // of today, so that it outlasts the clock
	if got := changes(w.plan(first)); !slices.Equal(got, []string{"update Certificate *.shop.preview.example.org", "update Secret tls-web"}) {
		t.Errorf("the plan of a renewal is %q", got)
	}
	out = w.run(first)
	renewed := w.leaf(w.secret(first.Namespace, "tls-web"), "pr-1.shop.preview.example.org")
	if renewed.leaf.SerialNumber.Cmp(old.leaf.SerialNumber) == 0 || string(renewed.key) == string(old.key) || !renewed.leaf.NotAfter.After(old.leaf.NotAfter) {
		t.Error("the certificate or its key is the old one")
	}
	w.silent(out, renewed)
	w.noChallenges()
	if o := w.observe(first); o.Renew != "" {
		t.Errorf("to renew is still %q", o.Renew)
	}
	if o := w.observe(second); !strings.Contains(o.Renew, "ends on "+ends) || !strings.Contains(o.Renew, "not the one that is kept") {
		t.Errorf("the second environment's is to be renewed as %q", o.Renew)
	}
	w.run(second)
	if !w.leaf(w.secret(second.Namespace, "tls-web"), "pr-2.shop.preview.example.org").is(renewed) || w.ca.count(pathNewOrder) != 2 {
		t.Errorf("the second environment did not get the new certificate, and %d were ordered", w.ca.count(pathNewOrder))
	}

	// The environment goes; the app's wildcard stays for the others.
	cleanup := w.tls(sdk.Cleanup, "pr-1", wildcard())
	if got := changes(w.plan(cleanup)); !slices.Equal(got, []string{"delete Secret tls-web"}) {
		t.Errorf("the plan of a cleanup is %q", got)
	}
	gone := w.run(cleanup)
	if w.secret(first.Namespace, "tls-web") != nil || !slices.Contains(gone.receipts, "Secret tls-web") {
		t.Errorf("the copy is still there, or without a receipt: %q", gone.receipts)
	}
	w.keptAtHome(keepsAccount, keepsCertificate)
	w.run(cleanup)
}

// keptAtHome checks what is in the home namespace, by what it keeps.
func (w *tlsWorld) keptAtHome(want ...string) {
	w.t.Helper()
	var got []string
	for _, s := range w.secrets(w.home) {
		got = append(got, s.Labels[labelKeeps])
		if s.Labels["app.kubernetes.io/managed-by"] != "berth" {
			w.t.Errorf("%s is not marked", s.Name)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("kept are %q, want %q", got, want)
	}
	leases, err := w.client.CoordinationV1().Leases(w.home).List(w.t.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) != 0 {
		w.t.Errorf("there are %d locks, %v", len(leases.Items), err)
	}
}

// silent checks that nothing told has a key in it, nor a part of one.
func (w *tlsWorld) silent(out *events, c *issued) {
	w.t.Helper()
	keys := [][]byte{c.key}
	for _, s := range w.secrets(w.home) {
		for name, data := range s.Data {
			if strings.HasSuffix(name, ".key") {
				keys = append(keys, data)
			}
		}
	}
	told := out.text() + fmt.Sprint(out.outputs, out.receipts)
	for _, key := range keys {
		block, _ := pem.Decode(key)
		if block == nil {
			w.t.Fatal("a key is not PEM")
		}
		for line := range strings.Lines(string(key)) {
			if line = strings.TrimSpace(line); len(line) > 20 && strings.Contains(told, line[:20]) && !strings.Contains(line, "PRIVATE KEY") {
				w.t.Errorf("a key is told: %s", told)
			}
		}
	}
}

func TestTwentyEnvironmentsAtOnceOrderOneCertificate(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	var all sync.WaitGroup
	errs := make([]error, 20)
	for n := range errs {
		step := w.tls(sdk.Deploy, fmt.Sprintf("pr-%d", n), wildcard())
		w.namespace("shop-" + step.Env)
		x := New(Options{Now: w.clock.Now}) // a process of its own, as far as it matters
		all.Go(func() { errs[n] = x.Run(t.Context(), step, &events{}) })
	}
	all.Wait()
	var one *issued
	for n, err := range errs {
		if err != nil {
			t.Fatalf("pr-%d: %v", n, err)
		}
		got := w.leaf(w.secret(fmt.Sprintf("shop-pr-%d-%s", n, w.id), "tls-web"), fmt.Sprintf("pr-%d.shop.preview.example.org", n))
		if one == nil {
			one = got
		}
		if !got.is(one) {
			t.Errorf("pr-%d has another certificate", n)
		}
	}
	if n := w.ca.count(pathNewOrder); n != 1 {
		t.Errorf("%d certificates were ordered", n)
	}
	w.noChallenges()
	w.keptAtHome(keepsAccount, keepsCertificate)
}

func TestAnEnvironmentsOwnCertificateGoesWithIt(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	with := map[string]any{"secret": "tls-web", "wildcard": "environment"}
	step := w.tls(sdk.Deploy, "pr-7", with)
	w.namespace("shop-pr-7")
	w.run(step)
	w.leaf(w.secret(step.Namespace, "tls-web"), "pr-7.shop.preview.example.org")
	w.leaf(w.secret(step.Namespace, "tls-web"), "api.pr-7.shop.preview.example.org")
	// An archive keeps it, for the restore that follows.
	w.run(w.tls(sdk.Archive, "pr-7", with))
	w.run(w.tls(sdk.Restore, "pr-7", with))
	if n := w.ca.count(pathNewOrder); n != 1 {
		t.Errorf("%d certificates were ordered", n)
	}
	owned, err := w.x.Inventory(t.Context(), sdk.Scope{Cluster: step.Cluster, Installation: step.Installation, Settings: w.settings})
	if err != nil {
		t.Fatal(err)
	}
	var secrets []string
	for _, o := range owned {
		if o.Elsewhere != (o.Kind == kindRecord || o.Kind == kindManifest) {
			t.Errorf("%s %s: elsewhere is %v", o.Kind, o.Name, o.Elsewhere)
		}
		if o.Kind == kindSecret && strings.HasSuffix(o.Namespace, w.id) {
			secrets = append(secrets, o.App+"/"+o.Env+" "+o.Part)
		}
	}
	if !slices.Equal(secrets, []string{"shop/pr-7 url", "shop/pr-7 url"}) {
		t.Errorf("owned are %q", secrets)
	}
	// Found without a record, it goes without settings.
	step.Verb, step.With = sdk.Cleanup, nil
	w.run(step)
	w.keptAtHome(keepsAccount)
	if left := w.secrets(step.Namespace); len(left) != 0 {
		t.Errorf("left are %d Secrets", len(left))
	}
}

func TestASecretOfSomebodyElseIsRefusedBeforeAnythingIsOrdered(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	for name, labels := range map[string]map[string]string{
		"nobody's":              nil,
		"another environment's": {"app.kubernetes.io/managed-by": "berth", "berth.dev/app": "shop", "berth.dev/environment": "pr-9", "berth.dev/part": "url", "berth.dev/installation": "inst-1"},
		"another Berth's":       {"app.kubernetes.io/managed-by": "berth", "berth.dev/app": "shop", "berth.dev/environment": "pr-1", "berth.dev/part": "url", "berth.dev/installation": "inst-2"},
	} {
		step := w.tls(sdk.Deploy, "pr-1", map[string]any{"secret": "tls-" + shortHash(name)})
		theirs := &corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": []byte("theirs"), "tls.key": []byte("theirs")}}
		theirs.Name, theirs.Labels = "tls-"+shortHash(name), labels
		if _, err := w.client.CoreV1().Secrets(step.Namespace).Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		e, _ := w.fails(step)
		if e.Fault != sdk.FaultInvalid || !strings.Contains(e.Msg, theirs.Name) {
			t.Errorf("%s: %v", name, e)
		}
		if _, err := w.x.Plan(t.Context(), step); err == nil {
			t.Errorf("%s: the plan is fine", name)
		}
		step.Verb = sdk.Cleanup
		w.run(step)
		if s := w.secret(step.Namespace, theirs.Name); s == nil || string(s.Data["tls.key"]) != "theirs" {
			t.Errorf("%s: it was changed", name)
		}
	}
	if w.ca.count(pathNewOrder) != 0 {
		t.Error("something was ordered")
	}
}

func TestCertManagerIsLeftToItsWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "")
	step := w.step(sdk.Deploy, w.cname())
	step.With["certificate"] = map[string]any{"secret": "tls-web", "cert_manager": map[string]any{"cluster_issuer": "letsencrypt"}}
	out := w.run(step)
	if out.outputs["tls_secret"] != "tls-web" || out.outputs["issuer_annotation"] != "cert-manager.io/cluster-issuer" || out.outputs["issuer"] != "letsencrypt" {
		t.Errorf("the outputs are %v", out.outputs)
	}
	step.With["certificate"] = wildcard()
	if msg := w.refused(step); !strings.Contains(msg, "`acme`") {
		t.Errorf("without `acme` it says %q", msg)
	}
}

func TestANameOfAnotherEnvironmentGetsNoCertificate(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	w.run(w.step(sdk.Deploy, map[string]any{"zone": w.server.Zone(), "name": "theirs", "cname": "ingress.example.org"}))
	step := w.tls(sdk.Deploy, "pr-2", map[string]any{"secret": "tls-web", "names": []any{"pr-2.shop", "theirs"}})
	w.namespace("shop-pr-2")
	if _, err := w.x.Plan(t.Context(), step); err == nil || !strings.Contains(err.Error(), "theirs.preview.example.org is that of environment shop/pr-1") {
		t.Errorf("the plan says %v", err)
	}
	if e, _ := w.fails(step); e.Fault != sdk.FaultInvalid || w.ca.count(pathNewOrder) != 0 {
		t.Errorf("%v, with %d orders", e, w.ca.count(pathNewOrder))
	}
}

func TestACleanupWithSettingsThatAreWrongByNowGoesByMarks(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *tlsWorld, step *sdk.Step){
		"the certificate has an unknown key": func(_ *tlsWorld, step *sdk.Step) {
			step.With["certificate"] = map[string]any{"secret": "tls-web", "wildcards": "app"}
		},
		"the certificate has no Secret any more": func(_ *tlsWorld, step *sdk.Step) {
			step.With["certificate"] = map[string]any{"namespace": step.Namespace}
		},
		"the part has no certificate any more": func(_ *tlsWorld, step *sdk.Step) { delete(step.With, "certificate") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTLSWorld(t, authorityOptions{})
			w.namespace("shop-pr-1")
			w.run(w.tls(sdk.Deploy, "pr-1", own()))
			cleanup := w.tls(sdk.Cleanup, "pr-1", own())
			spoil(w, &cleanup)
			if cleanup.With["certificate"] != nil {
				if got := changes(w.plan(cleanup)); len(got) != 2 {
					t.Errorf("the plan is %q", got)
				}
			}
			w.run(cleanup)
			if left := w.secrets(cleanup.Namespace); len(left) != 0 {
				t.Errorf("left are %d Secrets", len(left))
			}
			w.keptAtHome(keepsAccount)
		})
	}
}

func TestAPartThatLosesItsCertificateLosesTheSecret(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", wildcard())
	w.run(step)
	delete(step.With, "certificate")
	w.run(step)
	if left := w.secrets(step.Namespace); len(left) != 0 {
		t.Errorf("left are %d Secrets", len(left))
	}
	step.Cluster.Kubeconfig = "/none/such"
	w.run(step) // a part without certificate needs no cluster
}

func TestASecretThatSomebodyChangedIsSeenAndMended(t *testing.T) {
	t.Parallel()
	w := newTLSWorld(t, authorityOptions{})
	w.namespace("shop-pr-1")
	step := w.tls(sdk.Deploy, "pr-1", wildcard())
	w.run(step)
	secret := w.secret(step.Namespace, "tls-web")
	good := w.leaf(secret, "pr-1.shop.preview.example.org")
	secret.Data["tls.key"], secret.Data["ca.crt"] = []byte("broken"), []byte("somebody's root")
	if _, err := w.client.CoreV1().Secrets(step.Namespace).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if o := w.observe(step); o.Health != sdk.Unhealthy || len(o.Drift) != 1 || o.Renew == "" {
		t.Errorf("seen is %+v", o)
	}
	w.run(step)
	secret = w.secret(step.Namespace, "tls-web")
	if !w.leaf(secret, "pr-1.shop.preview.example.org").is(good) || string(secret.Data["ca.crt"]) != "somebody's root" {
		t.Error("it is not as it was")
	}
	if err := w.client.CoreV1().Secrets(step.Namespace).Delete(t.Context(), "tls-web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if o := w.observe(step); o.Health != sdk.Unhealthy || len(o.Drift) != 1 {
		t.Errorf("seen is %+v", o)
	}
	w.run(step)
	if o := w.observe(step); o.Health != sdk.Healthy || w.ca.count(pathNewOrder) != 1 {
		t.Errorf("seen is %+v, with %d orders", o, w.ca.count(pathNewOrder))
	}
}
