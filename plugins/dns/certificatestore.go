package dns

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// labelKeeps says what a Secret in the home namespace keeps.
	labelKeeps = "berth.dev/keeps"
	// annotationNames lists the names of a certificate, for people.
	annotationNames = "berth.dev/certificate-names"
	// annotationEnds is when a certificate ends, for people.
	annotationEnds = "berth.dev/certificate-ends"

	keepsAccount     = "acme-account"
	keepsCertificate = "certificate"
	keepsOrder       = "acme-order"

	// keyOrder is where an order's record is in its Secret.
	keyOrder = "order"
)

// storeTries is how often a Secret is read again because somebody else changed
// it in between. Twenty steps that count in one ledger at once need some.
const storeTries = 40

// store keeps accounts, certificates and orders as Secrets in the home
// namespace, and copies of certificates in those of environments.
type store struct {
	secrets func(namespace string) secretClient
	home    string // the namespace
	step    sdk.Step
	wish    certificateWish
	acme    acmeSettings
}

func newStore(client kubernetes.Interface, step sdk.Step, wish certificateWish, acme acmeSettings) *store {
	return &store{
		secrets: func(namespace string) secretClient { return secretClient{client.CoreV1().Secrets(namespace)} },
		home:    acme.namespace, step: step, wish: wish, acme: acme,
	}
}

// issued is a certificate with its chain and key.
type issued struct {
	chain, key []byte // PEM
	leaf       *x509.Certificate
	secret     *corev1.Secret // it was read from; nil when it was not
}

// parseIssued checks that chain and key are what they should be.
func parseIssued(chain, key []byte) (*issued, error) {
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, sdk.Internal("A certificate and its key do not belong together, or are damaged.")
	}
	return &issued{chain: chain, key: key, leaf: pair.Leaf}, nil
}

// covers tells whether the certificate is for exactly these names.
func (c *issued) covers(names []string) bool {
	have := slices.Clone(c.leaf.DNSNames)
	slices.Sort(have)
	return slices.Equal(slices.Compact(have), names)
}

// is tells whether both are one certificate with one key.
func (c *issued) is(other *issued) bool {
	return other != nil && bytes.Equal(c.chain, other.chain) && bytes.Equal(c.key, other.key)
}

// shortHash is a hash for names of objects.
func shortHash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:5])
}

// accountName is the Secret with the account of this Berth at the authority.
func (s *store) accountName() string {
	return "berth-acme-" + shortHash(s.acme.directory, s.step.Installation)
}

// certificateName is the Secret that keeps the certificate, and the Lease under
// which it is ordered. Environments of an app that want the same names mean the
// same one with `wildcard: app`.
func (s *store) certificateName() string {
	parts := []string{s.acme.directory, s.step.Installation, s.step.App}
	if s.wish.reach != reachApp {
		parts = append(parts, s.step.Env, s.step.Part)
	}
	const most = 40 // leaves room for the rest within the 253 of a name, and within a screen
	app := kube.LabelValue(s.step.App)
	return "berth-tls-" + strings.Trim(app[:min(len(app), most)], "-") + "-" + shortHash(append(parts, s.wish.names...)...)
}

func (s *store) orderName() string { return s.certificateName() + "-order" }

// labels mark what the store keeps at home. What is the app's has no environment.
func (s *store) labels(keeps string) map[string]string {
	mine := kube.StepOwner(s.step)
	l := map[string]string{kube.LabelManagedBy: kube.ManagedBy, labelKeeps: keeps}
	if mine.Installation != "" {
		l[kube.LabelInstallation] = mine.Installation
	}
	if keeps == keepsAccount {
		return l
	}
	l[kube.LabelApp] = mine.App
	if s.wish.reach != reachApp {
		l[kube.LabelEnvironment], l[kube.LabelPart] = mine.Env, mine.Part
	}
	return l
}

// read gets a Secret of the home namespace, nil when there is none. One that
// lacks the marks is refused, whatever its name.
func (s *store) read(ctx context.Context, name, keeps string) (*corev1.Secret, error) {
	secret, err := s.secrets(s.home).get(ctx, name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	marks := s.labels(keeps)
	for _, key := range sorted(marks) {
		if got, want := secret.Labels[key], marks[key]; got != want {
			return nil, sdk.Invalid("The Secret %q in namespace %q, where Berth keeps certificates, is not what Berth keeps there (its label %s is %q, not %q): rename or delete it.", name, s.home, key, got, want)
		}
	}
	return secret, nil
}

// create makes a Secret of the home namespace.
func (s *store) create(ctx context.Context, name, keeps string, kind corev1.SecretType, data map[string][]byte, annotations map[string]string) (*corev1.Secret, error) {
	made, err := s.secrets(s.home).create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.home, Labels: s.labels(keeps), Annotations: annotations},
		Type:       kind, Data: data,
	})
	return made, s.homeless(err)
}

// homeless is err of making something in the home namespace, or that there is
// none.
func (s *store) homeless(err error) error {
	if apierrors.IsNotFound(err) {
		return sdk.Invalid("There is no namespace %q to keep certificates in: create it in the cluster, or set another `namespace` under `acme` in the settings of the dns executor.", s.home)
	}
	return err
}

// kept is the certificate that is kept for the wish, nil when there is none.
func (s *store) kept(ctx context.Context) (*issued, error) {
	secret, err := s.read(ctx, s.certificateName(), keepsCertificate)
	if secret == nil || err != nil {
		return nil, err
	}
	c, err := parseIssued(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, sdk.Invalid("The Secret %q in namespace %q does not hold the certificate that Berth keeps there any more: delete it, and a new certificate is ordered.", secret.Name, s.home)
	}
	c.secret = secret
	return c, nil
}

// keep puts a new certificate where before was, nil for nothing. It fails with a
// conflict when something else is there by now.
func (s *store) keep(ctx context.Context, c, before *issued) error {
	data := map[string][]byte{corev1.TLSCertKey: c.chain, corev1.TLSPrivateKeyKey: c.key}
	if before == nil {
		_, err := s.create(ctx, s.certificateName(), keepsCertificate, corev1.SecretTypeTLS, data, c.annotations())
		return err
	}
	next := before.secret.DeepCopy()
	next.Data = data
	next.Annotations = annotated(next.Annotations, c)
	_, err := s.secrets(s.home).update(ctx, next)
	return err
}

// annotations tell people what the certificate is without a look into it.
func (c *issued) annotations() map[string]string {
	return map[string]string{annotationNames: strings.Join(c.leaf.DNSNames, " "), annotationEnds: c.leaf.NotAfter.UTC().Format(time.RFC3339)}
}

func annotated(have map[string]string, c *issued) map[string]string {
	out := maps.Clone(have)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, c.annotations())
	return out
}

// copied is the Secret in the environment's namespace, nil when there is none.
// One that the step did not make is refused.
func (s *store) copied(ctx context.Context) (*corev1.Secret, error) {
	secret, err := s.secrets(s.wish.namespace).get(ctx, s.wish.secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return secret, s.refuse(secret)
}

// refuse says why the Secret is not the step's to change, nil when it is.
func (s *store) refuse(secret *corev1.Secret) error {
	o, mine := kube.LabelsOwner(secret.Labels), kube.StepOwner(s.step)
	switch {
	case secret.Labels[kube.LabelManagedBy] != kube.ManagedBy || !o.Known():
		return sdk.Invalid("The Secret %q in namespace %q is there already, and Berth did not make it. Delete or rename it, or give the certificate another `secret`.", secret.Name, secret.Namespace)
	case !o.Is(mine):
		return sdk.Invalid("The Secret %q in namespace %q is that of environment %s: give the certificate another `secret` or `namespace`.", secret.Name, secret.Namespace, o.Toward(mine))
	case secret.Type != corev1.SecretTypeTLS:
		return sdk.Invalid("The Secret %q in namespace %q is of type %s and cannot become one of type %s: delete it, or give the certificate another `secret`.", secret.Name, secret.Namespace, secret.Type, corev1.SecretTypeTLS)
	}
	return nil
}

// holds tells whether a Secret has the certificate. What else others put into it,
// such as the root, is theirs.
func holds(secret *corev1.Secret, c *issued) bool {
	return secret != nil && bytes.Equal(secret.Data[corev1.TLSCertKey], c.chain) && bytes.Equal(secret.Data[corev1.TLSPrivateKeyKey], c.key)
}

// copy puts c into the environment's namespace and tells what it did there: ""
// when it was there.
func (s *store) copy(ctx context.Context, c *issued) (sdk.Change, error) {
	for try := 1; ; try++ {
		change, err := s.tryCopy(ctx, c)
		if err == nil || try == storeTries || !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return change, err
		}
	}
}

func (s *store) tryCopy(ctx context.Context, c *issued) (sdk.Change, error) {
	have, err := s.copied(ctx)
	if err != nil || holds(have, c) {
		return "", err
	}
	data := map[string][]byte{corev1.TLSCertKey: c.chain, corev1.TLSPrivateKeyKey: c.key}
	if have != nil {
		next := have.DeepCopy()
		if next.Data == nil {
			next.Data = map[string][]byte{}
		}
		maps.Copy(next.Data, data)
		next.Annotations = annotated(have.Annotations, c)
		_, err := s.secrets(s.wish.namespace).update(ctx, next)
		return sdk.ChangeUpdate, err
	}
	labels := kube.StepOwner(s.step).Labels()
	labels[kube.LabelManagedBy], labels[labelKeeps] = kube.ManagedBy, keepsCertificate
	_, err = s.secrets(s.wish.namespace).create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: s.wish.secret, Namespace: s.wish.namespace, Labels: labels, Annotations: c.annotations()},
		Type:       corev1.SecretTypeTLS, Data: data,
	})
	if apierrors.IsNotFound(err) {
		return "", sdk.Invalid("There is no namespace %q to put the certificate's Secret %q into: let the part need one that makes the namespace, or set another `namespace` of the certificate.", s.wish.namespace, s.wish.secret)
	}
	return sdk.ChangeCreate, err
}

// remove deletes a Secret that was looked at, and nothing that has its name since.
func (s *store) remove(ctx context.Context, secret *corev1.Secret) error {
	if secret == nil {
		return nil
	}
	err := s.secrets(secret.Namespace).remove(ctx, secret)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // it is gone, or another by now
	}
	return err
}

// orderRecord is what is known of an order while it is under way, so that
// another process can end it. It is written before what it tells of is done.
type orderRecord struct {
	URL      string    `json:"url,omitempty"` // "" until the authority has answered
	Names    []string  `json:"names"`
	Serial   string    `json:"serial,omitempty"` // of the certificate that it replaces
	Replaces string    `json:"replaces,omitempty"`
	Free     bool      `json:"free,omitempty"` // it counts against no limit
	At       time.Time `json:"at"`
	// Challenges are the texts that may be in the zone.
	Challenges []challengeText `json:"challenges,omitempty"`
	// Over says that all that is left is to take the challenges away.
	Over bool `json:"over,omitempty"`

	key    *ecdsa.PrivateKey
	secret *corev1.Secret
}

// order is the record of the order under way, nil when there is none.
func (s *store) order(ctx context.Context) (*orderRecord, error) {
	secret, err := s.read(ctx, s.orderName(), keepsOrder)
	if secret == nil || err != nil {
		return nil, err
	}
	r := &orderRecord{secret: secret}
	if err := json.Unmarshal(secret.Data[keyOrder], r); err == nil {
		r.key, err = parseKey(secret.Data[corev1.TLSPrivateKeyKey])
		if err == nil {
			return r, nil
		}
	}
	return nil, sdk.Invalid("The Secret %q in namespace %q, which records an order of a certificate, is damaged: delete it, and a new order is made.", secret.Name, s.home)
}

// saveOrder writes the record; a conflict means that another process has taken
// the order over.
func (s *store) saveOrder(ctx context.Context, r *orderRecord) error {
	text, err := json.Marshal(r)
	if err != nil {
		return sdk.Internal("An order of a certificate cannot be recorded: %w", err)
	}
	key, err := encodeKey(r.key)
	if err != nil {
		return err
	}
	data := map[string][]byte{keyOrder: text, corev1.TLSPrivateKeyKey: key}
	if r.secret == nil {
		r.secret, err = s.create(ctx, s.orderName(), keepsOrder, corev1.SecretTypeOpaque, data, nil)
		return err
	}
	next := r.secret.DeepCopy()
	next.Data = data
	updated, err := s.secrets(s.home).update(ctx, next)
	if err == nil {
		r.secret = updated
	}
	return err
}

// newKey makes a key of the kind that every authority and every client takes,
// and that is quick.
func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, sdk.Internal("A key cannot be made: %w", err)
	}
	return key, nil
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, sdk.Internal("A key cannot be written.") // what failed could show it
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, sdk.Internal("A key that was kept is not in PEM form.")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if k, ok := key.(*ecdsa.PrivateKey); ok && err == nil {
		return k, nil
	}
	return nil, sdk.Internal("A key that was kept cannot be read.")
}
