package dns

import (
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-dev/berth/plugins/clustertest"
	"github.com/berth-dev/berth/plugins/dns/dnstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

// stepFile names a file with a step, in the environment of a process that is to
// do it and nothing else.
const stepFile = "BERTH_TEST_STEP"

func TestMain(m *testing.M) {
	if file := os.Getenv(stepFile); file != "" {
		os.Exit(doStep(file))
	}
	os.Exit(clustertest.Main(m))
}

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// tlsWorld is a zone at BIND, an authority that looks names up there, a real
// Kubernetes API server with namespaces of the test's own, and a clock.
type tlsWorld struct {
	*world
	ca     *authority
	client kubernetes.Interface
	clock  *clock
	home   string
	id     string // tells the test's namespaces from others'
}

func newTLSWorld(t *testing.T, o authorityOptions) *tlsWorld {
	t.Helper()
	server := dnstest.BIND(t, dnstest.Options{})
	return tlsWorldAt(t, server, startAuthority(t, server.Address, o))
}

func tlsWorldAt(t *testing.T, server *dnstest.Server, ca *authority) *tlsWorld {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", clustertest.Kubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w := &tlsWorld{world: worldAt(t, server), ca: ca, client: client, clock: &clock{now: time.Now()}, id: fmt.Sprintf("%08x", rand.Uint32())}
	w.x = New(Options{Now: w.clock.Now})
	w.home = w.namespace("home")
	w.settings["acme"] = map[string]any{"directory": ca.url, "ca_file": ca.caFile, "namespace": w.home, "email": "ops@example.org", "profile": profile90Days}
	return w
}

// acme sets a key of the settings under `acme`.
func (w *tlsWorld) acme(key string, value any) {
	w.settings["acme"].(map[string]any)[key] = value
}

// namespace makes one.
func (w *tlsWorld) namespace(name string) string {
	w.t.Helper()
	name += "-" + w.id
	_, err := w.client.CoreV1().Namespaces().Create(w.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return name
}

// tls is a step of an environment of shop, with the certificate's settings.
func (w *tlsWorld) tls(verb sdk.Verb, env string, certificate map[string]any) sdk.Step {
	step := w.step(verb, map[string]any{"zone": w.server.Zone(), "name": env + ".shop", "cname": "ingress.example.org", "certificate": certificate})
	step.Env, step.Namespace = env, "shop-"+env+"-"+w.id
	step.Cluster = sdk.Cluster{Kubeconfig: clustertest.Kubeconfig(w.t)}
	return step
}

// wildcard is the least that a certificate's settings can be.
func wildcard() map[string]any { return map[string]any{"secret": "tls-web"} }

// secret is a Secret, nil when there is none.
func (w *tlsWorld) secret(namespace, name string) *corev1.Secret {
	w.t.Helper()
	list := w.secrets(namespace)
	at := slices.IndexFunc(list, func(s corev1.Secret) bool { return s.Name == name })
	if at < 0 {
		return nil
	}
	return &list[at]
}

func (w *tlsWorld) secrets(namespace string) []corev1.Secret {
	w.t.Helper()
	list, err := w.client.CoreV1().Secrets(namespace).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return list.Items
}

// state is all that is in the zone and in namespaces: what a plan must not change.
func (w *tlsWorld) state(namespaces ...string) string {
	w.t.Helper()
	out := strings.Join(w.zone(), "\n")
	for _, namespace := range append(namespaces, w.home) {
		for _, s := range w.secrets(namespace) {
			out += fmt.Sprintln("\nSecret", namespace, s.Name, s.ResourceVersion)
		}
		leases, err := w.client.CoordinationV1().Leases(namespace).List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, l := range leases.Items {
			out += fmt.Sprintln("Lease", namespace, l.Name)
		}
	}
	return out
}

// leaf checks the certificate in a Secret as a browser would, with the
// authority's root alone and at the clock's time, and returns it.
func (w *tlsWorld) leaf(s *corev1.Secret, host string) *issued {
	w.t.Helper()
	if s == nil || s.Type != corev1.SecretTypeTLS {
		w.t.Fatalf("there is no TLS Secret: %+v", s)
	}
	c, err := parseIssued(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		w.t.Fatal(err)
	}
	between := x509.NewCertPool()
	between.AppendCertsFromPEM(c.chain)
	at := w.clock.Now()
	if at.Before(c.leaf.NotBefore) {
		at = c.leaf.NotBefore
	}
	if _, err := c.leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: w.ca.roots, Intermediates: between, CurrentTime: at}); err != nil {
		w.t.Fatalf("the chain is not that of the authority: %v", err)
	}
	if n := strings.Count(string(c.chain), "BEGIN CERTIFICATE"); n != 3 {
		w.t.Errorf("the chain has %d certificates, and the authority's has 3", n)
	}
	return c
}

// noChallenges checks that none is in the zone.
func (w *tlsWorld) noChallenges() {
	w.t.Helper()
	for _, line := range w.zone() {
		if strings.Contains(line, "_acme-challenge") {
			w.t.Errorf("there is still %s", line)
		}
	}
}

// observe is what is seen of a part.
func (w *tlsWorld) observe(step sdk.Step) sdk.Observation {
	w.t.Helper()
	o, err := w.x.Observe(w.t.Context(), step)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// plan plans a step, and checks that this changes nothing.
func (w *tlsWorld) plan(step sdk.Step) sdk.Plan {
	w.t.Helper()
	before, orders := w.state(step.Namespace), w.ca.count(pathNewOrder)
	p, err := w.x.Plan(w.t.Context(), step)
	if err != nil {
		w.t.Fatal(err)
	}
	if after := w.state(step.Namespace); after != before || w.ca.count(pathNewOrder) != orders {
		w.t.Errorf("a plan changed\n%s\nto\n%s", before, after)
	}
	return p
}

// fails does a step that has to fail, and is how.
func (w *tlsWorld) fails(step sdk.Step) (*sdk.Error, *events) {
	w.t.Helper()
	out := &events{}
	err := w.x.Run(w.t.Context(), step, out)
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok {
		w.t.Fatalf("%s: %v; want a failure for people\n%s", step.Verb, err, out.text())
	}
	return e, out
}

// changes are the resources of a plan, in words.
func changes(p sdk.Plan) []string {
	var out []string
	for _, r := range p.Resources {
		if r.Kind == kindCertificate || r.Kind == kindSecret {
			out = append(out, fmt.Sprint(r.Change, " ", r.Kind, " ", r.Name))
		}
	}
	return out
}

// account is the account's Secret.
func (w *tlsWorld) account() *corev1.Secret {
	w.t.Helper()
	for _, s := range w.secrets(w.home) {
		if s.Labels[labelKeeps] == keepsAccount {
			return &s
		}
	}
	w.t.Fatal("there is no account")
	return nil
}

// plain makes a Secret of nobody's.
func (w *tlsWorld) plain(namespace, name string, data map[string]string) {
	w.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data}
	if _, err := w.client.CoreV1().Secrets(namespace).Create(w.t.Context(), s, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}
