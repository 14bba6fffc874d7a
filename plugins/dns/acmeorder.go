package dns

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/mholt/acmez/v3/acme"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-dev/berth/plugins/sdk"
)

// tidyLimit is how long taking challenges away may take after a step has ended,
// for whatever reason.
const tidyLimit = 30 * time.Second

// issuing is one step's work on one order, under the certificate's lock.
type issuing struct {
	acme       acmeSettings
	names      []string
	store      *store
	challenges *challenges
	client     *acme.Client
	transport  *acmeTransport
	secret     func(ctx context.Context, ref sdk.SecretRef) (string, error)
	now        func() time.Time
	out        sdk.Events
}

func (i *issuing) explain(ctx context.Context, err error) error {
	return i.acme.explain(ctx, err, i.transport.asked())
}

// reached tells whether err came from beyond the network.
func reached(err error) bool {
	_, isProblem := problemOf(err)
	_, isNet := errors.AsType[net.Error](err)
	return isProblem || isNet
}

// issue orders a certificate, or goes on with an order that another process had
// begun, and keeps it in place of before, which is nil for a first one.
func (i *issuing) issue(ctx context.Context, before *issued) (*issued, error) {
	account, err := i.account(ctx)
	if err != nil {
		return nil, i.explain(ctx, err)
	}
	c, err := i.once(ctx, account, before)
	if p, ok := problemOf(err); ok && p.Type == acme.ProblemTypeAccountDoesNotExist {
		if err := i.forgetAccount(ctx, account); err != nil {
			return nil, err
		}
		if account, err = i.account(ctx); err != nil {
			return nil, i.explain(ctx, err)
		}
		c, err = i.once(ctx, account, before)
	}
	return c, i.explain(ctx, err)
}

func (i *issuing) once(ctx context.Context, account acme.Account, before *issued) (*issued, error) {
	record, order, err := i.resume(ctx, account, before)
	if err == nil && record == nil {
		record, order, err = i.begin(ctx, account, before)
	}
	var chain []byte
	if err == nil {
		chain, err = i.fulfil(ctx, account, record, &order)
	}
	// Whatever happened, no challenge stays in the zone: it is taken away here, or
	// by whoever finds the record of the order.
	tidied := i.tidy(ctx, record)
	if err != nil {
		return nil, i.failed(ctx, record, order, err)
	}
	c, err := i.checked(chain, record)
	if err != nil {
		return nil, errors.Join(err, i.drop(ctx, record, false))
	}
	if err := i.store.keep(ctx, c, before); err != nil {
		return nil, overtaken(err)
	}
	if tidied == nil {
		return c, i.store.remove(ctx, record.secret)
	}
	i.out.Log("certificate: it is there, but its proof could not be taken out of the zone yet; the next deploy does")
	record.Over = true
	return c, overtaken(i.store.saveOrder(ctx, record))
}

// overtaken says of a conflict that another process has taken the order over.
func overtaken(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return (&sdk.Error{Fault: sdk.FaultDownstream, Err: err, Msg: "Another step works on the same certificate, though this one held its lock: it must have stood still for long. Try again."}).WithRetry()
	}
	return err
}

// resume finds the order that another process had begun; no record when there is
// none that can be gone on with.
func (i *issuing) resume(ctx context.Context, account acme.Account, before *issued) (*orderRecord, acme.Order, error) {
	record, err := i.store.order(ctx)
	if record == nil || err != nil {
		return nil, acme.Order{}, err
	}
	if record.Over || !slices.Equal(record.Names, i.names) || record.Serial != serialOf(before) {
		return nil, acme.Order{}, i.drop(ctx, record, false)
	}
	i.out.Log("certificate: going on with the order of " + timeText(record.At))
	if record.URL == "" {
		// The authority may have made the order or not. To ask for it again is
		// answered with the same, or with one that takes its place.
		order, err := i.ask(ctx, account, record)
		return record, order, err
	}
	order, err := i.client.GetOrder(ctx, account, acme.Order{Location: record.URL})
	p, isProblem := problemOf(err)
	switch {
	case isProblem && p.Type == acme.ProblemTypeAccountDoesNotExist:
		return record, order, ofAuthority(err)
	case isProblem && p.Status >= 400 && p.Status < 500 && p.Type != acme.ProblemTypeRateLimited,
		err == nil && order.Status == acme.StatusInvalid:
		i.out.Log("certificate: that order is over, and another one is made")
		return nil, order, i.drop(ctx, record, true)
	}
	return record, order, ofAuthority(err)
}

// drop ends a record of an order: its challenges first. Refunded is what it has
// counted against limits without a certificate.
func (i *issuing) drop(ctx context.Context, record *orderRecord, refund bool) error {
	if err := i.challenges.remove(ctx, record.Challenges); err != nil {
		return err
	}
	if err := i.store.remove(ctx, record.secret); err != nil {
		return err
	}
	if !refund || record.Free {
		return nil
	}
	return i.count(ctx, func(l *ledger) error {
		l.refund(i.acme.limits.certificateCharges(record.Names)...)
		return nil
	})
}

// begin makes a new order: within the limits, its key and record kept first.
func (i *issuing) begin(ctx context.Context, account acme.Account, before *issued) (*orderRecord, acme.Order, error) {
	key, err := newKey()
	if err != nil {
		return nil, acme.Order{}, err
	}
	record := &orderRecord{Names: i.names, Serial: serialOf(before), At: i.now().UTC(), key: key}
	record.Replaces, record.Free = i.replaces(ctx, before)
	limits := i.acme.limits
	err = i.count(ctx, func(l *ledger) error {
		due := limits.failureCharges(i.names)
		if !record.Free {
			due = append(due, limits.charges(i.names)...)
		}
		if err := l.refusal(i.now(), i.names, due...); err != nil {
			return err
		}
		if !record.Free {
			l.spend(i.now(), limits.charges(i.names)...)
		}
		return nil
	})
	if err != nil {
		return nil, acme.Order{}, err
	}
	if err := i.store.saveOrder(ctx, record); err != nil {
		return nil, acme.Order{}, overtaken(err)
	}
	order, err := i.ask(ctx, account, record)
	return record, order, err
}

// replaces is how an order says which certificate it replaces, "" when it does
// not. An authority that knows such orders counts them against no limit.
// Source: https://letsencrypt.org/docs/rate-limits/#non-ari-renewals
func (i *issuing) replaces(ctx context.Context, before *issued) (id string, free bool) {
	if before == nil {
		return "", false
	}
	directory, err := i.client.GetDirectory(ctx)
	if err != nil || directory.RenewalInfo == "" || !before.covers(i.names) {
		return "", false
	}
	id, err = acme.ARIUniqueIdentifier(before.leaf)
	return id, err == nil
}

// ask makes the order at the authority, and records where it is.
func (i *issuing) ask(ctx context.Context, account acme.Account, record *orderRecord) (acme.Order, error) {
	i.out.Log(fmt.Sprintf("certificate: ordering one for %s at %s", namesText(i.names), i.acme.authority()))
	want := acme.Order{Profile: i.acme.profile, Replaces: record.Replaces}
	for _, name := range i.names {
		want.Identifiers = append(want.Identifiers, acme.Identifier{Type: "dns", Value: name})
	}
	order, err := i.client.NewOrder(ctx, account, want)
	err = ofAuthority(err)
	if p, ok := problemOf(err); ok && record.Replaces != "" && p.Type != acme.ProblemTypeRateLimited && p.Type != acme.ProblemTypeAccountDoesNotExist {
		// It was replaced already, or by another account: an order like any other.
		if err := i.drop(ctx, record, false); err != nil {
			return order, err
		}
		record.Replaces, record.Free, record.secret = "", false, nil
		err := i.count(ctx, func(l *ledger) error {
			if err := l.refusal(i.now(), i.names, i.acme.limits.charges(i.names)...); err != nil {
				return err
			}
			l.spend(i.now(), i.acme.limits.charges(i.names)...)
			return nil
		})
		if err != nil {
			return order, err
		}
		if err := i.store.saveOrder(ctx, record); err != nil {
			return order, overtaken(err)
		}
		return i.ask(ctx, account, record)
	}
	if err != nil {
		return order, err
	}
	record.URL = order.Location
	return order, overtaken(i.store.saveOrder(ctx, record))
}

// fulfil proves the names and gets the certificate's chain.
func (i *issuing) fulfil(ctx context.Context, account acme.Account, record *orderRecord, order *acme.Order) ([]byte, error) {
	if order.Status == acme.StatusPending {
		if err := i.prove(ctx, account, record, *order); err != nil {
			return nil, err
		}
	}
	if order.Status != acme.StatusValid {
		csr, err := request(record.key, i.names)
		if err != nil {
			return nil, err
		}
		i.out.Progress("certificate: the names are proved; waiting for the certificate", 0, 0)
		if *order, err = i.client.FinalizeOrder(ctx, account, *order, csr); err != nil {
			return nil, ofAuthority(err)
		}
	}
	chains, err := i.client.GetCertificateChain(ctx, account, order.Certificate)
	if err != nil {
		return nil, ofAuthority(err)
	}
	return chains[0].ChainPEM, nil // the authority's own choice comes first
}

// request is the signing request for the names (RFC 2986), in DER.
func request(key *ecdsa.PrivateKey, names []string) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return nil, sdk.Internal("The request for the certificate cannot be made: %w", err)
	}
	return der, nil
}

// prove shows the authority that the order's names are ours.
func (i *issuing) prove(ctx context.Context, account acme.Account, record *orderRecord, order acme.Order) error {
	var open []acme.Authorization
	var proofs []acme.Challenge
	var texts []challengeText
	for _, url := range order.Authorizations {
		authorization, err := i.client.GetAuthorization(ctx, account, url)
		if err != nil {
			return ofAuthority(err)
		}
		if authorization.Status == acme.StatusValid {
			continue // proved for an earlier order
		}
		at := slices.IndexFunc(authorization.Challenges, func(c acme.Challenge) bool { return c.Type == acme.ChallengeTypeDNS01 })
		if at < 0 {
			return sdk.Downstream("%s does not take a proof by DNS for %s: use another authority.", capitalized(i.acme.authority()), quoted(authorization.IdentifierValue()))
		}
		proof := authorization.Challenges[at]
		if !slices.ContainsFunc(i.names, func(n string) bool { return strings.TrimPrefix(n, "*.") == proof.Identifier.Value }) {
			return sdk.Downstream("%s wants a proof for %s, which was not ordered.", capitalized(i.acme.authority()), quoted(proof.Identifier.Value))
		}
		open, proofs = append(open, authorization), append(proofs, proof)
		texts = append(texts, challengeText{Name: challengeName(proof.Identifier.Value), Value: proof.DNS01KeyAuthorization()})
	}
	if len(open) == 0 {
		return nil
	}
	// What an earlier process put there for the same order stays in the record
	// until it has been taken away.
	for _, text := range texts {
		if !slices.Contains(record.Challenges, text) {
			record.Challenges = append(record.Challenges, text)
		}
	}
	if err := i.store.saveOrder(ctx, record); err != nil {
		return overtaken(err)
	}
	if err := i.challenges.put(ctx, texts); err != nil {
		return err
	}
	if err := i.challenges.await(ctx, texts, i.out); err != nil {
		return err
	}
	for _, proof := range proofs {
		if proof.Status != acme.StatusPending {
			continue // it was begun before
		}
		if _, err := i.client.InitiateChallenge(ctx, account, proof); err != nil {
			return ofAuthority(err)
		}
	}
	i.out.Progress("certificate: waiting until "+i.acme.authority()+" has seen the proof", 0, 0)
	for _, authorization := range open {
		if _, err := i.client.PollAuthorization(ctx, account, authorization); err != nil {
			return i.refused(ctx, authorization, ofAuthority(err))
		}
	}
	return nil
}

// refusedError is a proof that the authority did not accept: the order is over.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

// refused counts a name that failed its validation.
func (i *issuing) refused(ctx context.Context, authorization acme.Authorization, err error) error {
	if _, ok := problemOf(err); !ok {
		return err
	}
	counted := i.count(ctx, func(l *ledger) error {
		l.spend(i.now(), i.acme.limits.failureCharges([]string{authorization.Identifier.Value})...)
		return nil
	})
	return refusedError{errors.Join(err, counted)}
}

// tidy takes the order's challenges away, even when the step was cancelled.
// Where that fails the record keeps them, for whoever comes next.
func (i *issuing) tidy(ctx context.Context, record *orderRecord) error {
	if record == nil || len(record.Challenges) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyLimit)
	defer cancel()
	if err := i.challenges.remove(ctx, record.Challenges); err != nil {
		return err
	}
	record.Challenges = nil
	return nil
}

// failed ends the record of an order that came to nothing, and tells what is
// known from the failure. What may still become something is kept.
func (i *issuing) failed(ctx context.Context, record *orderRecord, order acme.Order, err error) error {
	p, isProblem := problemOf(err)
	_, wasRefused := errors.AsType[refusedError](err)
	over := wasRefused || order.Status == acme.StatusInvalid || isProblem && p.Status >= 400 && p.Status < 500
	if record == nil || record.secret == nil || ctx.Err() != nil || !over || p.Type == acme.ProblemTypeAccountDoesNotExist {
		return err
	}
	if wait := i.transport.asked(); isProblem && p.Type == acme.ProblemTypeRateLimited && wait > 0 {
		until := i.now().Add(wait)
		if counted := i.count(ctx, func(l *ledger) error {
			if until.After(l.Until) {
				l.Until = until
			}
			return nil
		}); counted != nil {
			return errors.Join(err, counted)
		}
	}
	if dropped := i.drop(ctx, record, true); dropped != nil {
		sdk.Logger().Warn("the record of an order stays", "secret", i.store.orderName(), "error", dropped)
	}
	return err
}

// checked is the certificate, if it is what was ordered.
func (i *issuing) checked(chain []byte, record *orderRecord) (*issued, error) {
	key, err := encodeKey(record.key)
	if err != nil {
		return nil, err
	}
	c, err := parseIssued(chain, key)
	if err == nil && c.covers(i.names) {
		return c, nil
	}
	return nil, sdk.Downstream("%s gave a certificate that is not the one that was ordered.", capitalized(i.acme.authority()))
}

func serialOf(c *issued) string {
	if c == nil {
		return ""
	}
	return c.leaf.SerialNumber.Text(16)
}
