package kube

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Explainer knows what an error means. It gets the beginning of a sentence about
// the cluster and gives a message for people, whether trying again can help, and
// false for an error that it does not know.
type Explainer func(err error, cluster string) (msg string, retry, ok bool)

// Explain makes err one that says in plain words what is wrong and what to do.
// What the API server said itself goes to the log with it, without what looks
// like a secret. An *sdk.Error stays what it is. Those that an executor passes
// are asked before the rules about what API servers refuse.
func Explain(err error, cluster sdk.Cluster, own ...Explainer) *sdk.Error {
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return &sdk.Error{Fault: e.Fault, Msg: Redact(e.Msg), Err: redacted(e.Err), Retry: e.Retry, After: e.After}
	}
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: redacted(err)}
	for _, try := range slices.Concat([]Explainer{explainNetwork}, own, []Explainer{explainRefusal, explainRest}) {
		msg, retry, ok := try(err, ClusterName(cluster))
		if ok {
			e.Msg, e.Retry = Redact(msg), retry
			return e
		}
	}
	e.Msg = Redact("The cluster refused: " + Clip(OneLine(err), 600) + ".")
	return e
}

// redacted keeps the text of err for the log, and its type for errors.Is where
// nothing had to be taken out.
func redacted(err error) error {
	if err == nil {
		return nil
	}
	if text := Redact(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// ClusterName begins a sentence about a cluster, by the name that people know.
func ClusterName(c sdk.Cluster) string {
	if name := cmp.Or(c.Name, c.Context); name != "" {
		return fmt.Sprintf("The cluster %q", Clip(name, 60))
	}
	return "The cluster"
}

// kubeconfigName begins a sentence about the file with the way into a cluster.
func kubeconfigName(c sdk.Cluster) string {
	if c.Name != "" {
		return fmt.Sprintf("The kubeconfig of cluster %q", Clip(c.Name, 60))
	}
	return "The kubeconfig"
}

// errSlow is a request whose answer did not begin in time.
var errSlow = errors.New("no answer in time")

// explainNetwork is about clusters that cannot be reached. Trying again can
// help with all of them but a certificate.
func explainNetwork(err error, cluster string) (msg string, retry, ok bool) {
	cause := NetworkCause(err)
	switch {
	case cause == "":
		return "", false, false
	case strings.Contains(cause, "certificate"):
		return cluster + " cannot be reached safely: " + cause + ". Renew or correct the certificates in its kubeconfig.", false, true
	}
	return cluster + " cannot be reached: " + cause + ". Check that it runs and that Berth's machine may connect to it.", true, true
}

// NetworkCause is a few words on why a connection failed, "" if none did: "the
// connection was refused".
func NetworkCause(err error) string {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	netErr, isNet := errors.AsType[net.Error](err)
	invalidCert, isCert := errors.AsType[x509.CertificateInvalidError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) || has("connection refused"):
		return "the connection was refused"
	case isDNS && dns.IsNotFound || has("no such host"):
		return "its name is not known"
	case isCert && invalidCert.Reason == x509.Expired || has("certificate has expired"):
		return "its certificate has expired or is not yet valid"
	case has("tls: expired certificate"):
		return "the client certificate has expired"
	case has("x509:", "tls: failed to verify certificate", "remote error: tls:"):
		return "its certificate is not one that is trusted"
	case errors.Is(err, errSlow), isNet && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded),
		has("i/o timeout", "TLS handshake timeout", "Client.Timeout exceeded", errSlow.Error()):
		return "there was no answer in time"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), has("no route to host", "network is unreachable"):
		return "there is no way to it in the network"
	case errors.Is(err, syscall.ECONNRESET), has("connection reset by peer", "unexpected EOF", "server closed idle connection", "use of closed network connection", "http2: client connection lost"):
		return "the connection broke"
	}
	if isNet {
		return "the connection failed"
	}
	return ""
}

// forbidden reads the API server's sentence, which libraries often keep only as text.
// Source: k8s.io/apiserver/pkg/endpoints/handlers/responsewriters, errors.go.
var forbidden = regexp.MustCompile(`is forbidden: User "([^"]*)" cannot (\w+) resource "([^"]*)" in API group "([^"]*)"(?: in the namespace "([^"]*)")?( at the cluster scope)?`)

// explainRefusal is about what an API server that was reached said.
func explainRefusal(err error, cluster string) (msg string, retry, ok bool) {
	text := err.Error()
	if m := forbidden.FindStringSubmatch(text); m != nil {
		return forbiddenMessage(m, cluster), false, true
	}
	immutable := strings.Contains(text, "field is immutable") || strings.Contains(text, "updates to statefulset spec for fields other than")
	switch {
	case apierrors.IsUnauthorized(err) || strings.Contains(text, "the server has asked for the client to provide credentials"):
		return cluster + " does not accept Berth's credentials: they are wrong or have expired. Renew them in its kubeconfig.", false, true
	case immutable:
		return "An object cannot be changed in place: " + Clip(OneLine(err), 400) + ". Clean the environment up and deploy it again, or undo that change.", false, true
	case strings.Contains(text, "exceeded quota"):
		return "The namespace's quota does not allow it: " + Clip(after(text, "exceeded quota:"), 300) + ". Ask for less, free some, or raise the quota.", false, true
	case strings.Contains(text, "because it is being terminated"):
		return "The namespace is being deleted. Deploy again when it is gone.", true, true
	case strings.Contains(text, "violates PodSecurity"):
		return "The namespace's pod security rules do not allow it: " + Clip(after(text, "violates PodSecurity"), 300) + ".", false, true
	case strings.Contains(text, "admission webhook"):
		return "An admission webhook of the cluster refused: " + Clip(OneLine(err), 400) + ".", false, true
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || strings.Contains(text, " is invalid: "):
		return "The cluster does not accept an object: " + Clip(OneLine(err), 600) + ". Correct it where it is written, or the values that it is made from.", false, true
	case apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err), apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err), apierrors.IsTimeout(err), apierrors.IsConflict(err):
		return cluster + " could not do it just now: " + Clip(OneLine(err), 300) + ". Try again.", true, true
	}
	return "", false, false
}

func forbiddenMessage(m []string, cluster string) string {
	user, verb, resource, group, namespace := m[1], m[2], m[3], m[4], m[5]
	if group != "" {
		resource += "." + group
	}
	where, binding := fmt.Sprintf("in namespace %q", namespace), "a Role and RoleBinding there"
	if namespace == "" {
		where, binding = "in the whole cluster", "a ClusterRole and ClusterRoleBinding"
	}
	return fmt.Sprintf("%s does not let Berth %s %s %s (it acts as %q). Grant it the verb %q on %s, with %s.",
		cluster, verb, resource, where, Clip(user, 100), verb, resource, binding)
}

// unknownKind is what the REST mapper says of a kind that the cluster lacks.
var unknownKind = regexp.MustCompile(`no matches for kind "([^"]+)" in version "([^"]+)"`)

// explainRest is about kinds that the cluster lacks, and about time that is over.
func explainRest(err error, cluster string) (msg string, retry, ok bool) {
	text := err.Error()
	if m := unknownKind.FindStringSubmatch(text); m != nil || meta.IsNoMatchError(err) {
		kind := "a kind of object that is to be there"
		if m != nil {
			kind = fmt.Sprintf("%s (%s)", m[1], m[2])
		}
		return cluster + " does not know " + kind + ": install what defines it, or take it out.", false, true
	}
	if errors.Is(err, context.DeadlineExceeded) || strings.Contains(text, context.DeadlineExceeded.Error()) {
		return TimedOut, false, true
	}
	return "", false, false
}

// TimedOut is what people are told when a step's own limit on time is over.
const TimedOut = "The step did not end within its `timeout`. Look at the log of the run, or give it more time."

func after(text, mark string) string {
	if _, rest, ok := strings.Cut(text, mark); ok {
		text = rest
	}
	return strings.TrimSpace(strings.Join(strings.Fields(text), " "))
}

// oneOf is how a list of a single error begins.
var oneOf = regexp.MustCompile(`\b1 error occurred: \* `)

// OneLine is err's text without line breaks and without a period at its end.
func OneLine(err error) string {
	text := strings.TrimRight(strings.Join(strings.Fields(err.Error()), " "), ". ")
	return oneOf.ReplaceAllString(text, "")
}

// Clip shortens outside text that is repeated in a message, to that many characters.
func Clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
