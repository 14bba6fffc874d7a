package dns

import (
	"context"
	"crypto/ecdsa"
	"slices"

	"github.com/mholt/acmez/v3/acme"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Keys of the account's Secret.
const (
	keyAccount    = "account.key" // PEM
	keyAccountURL = "account.url" // "" or absent until the authority has answered
	keyLedger     = "ledger"      // see ledger
	keyDirectory  = "directory"   // for people
)

// accountSecret is the account's Secret. Where there is none it is made, with a
// new key: the key is kept before the authority hears of it, so that an account
// is never lost. Two steps that do so at once use the key of whoever was first.
func (s *store) accountSecret(ctx context.Context) (*corev1.Secret, error) {
	for try := 1; ; try++ {
		secret, err := s.read(ctx, s.accountName(), keepsAccount)
		if secret != nil || err != nil {
			return secret, err
		}
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		pem, err := encodeKey(key)
		if err != nil {
			return nil, err
		}
		data := map[string][]byte{keyAccount: pem, keyDirectory: []byte(s.acme.directory)}
		secret, err = s.create(ctx, s.accountName(), keepsAccount, corev1.SecretTypeOpaque, data, nil)
		if !apierrors.IsAlreadyExists(err) || try == storeTries {
			return secret, err
		}
	}
}

// changeAccount changes the data of the account's Secret and begins anew when
// another was faster.
func (s *store) changeAccount(ctx context.Context, change func(data map[string][]byte) error) error {
	for try := 1; ; try++ {
		secret, err := s.accountSecret(ctx)
		if err != nil {
			return err
		}
		next := secret.DeepCopy()
		if err := change(next.Data); err != nil {
			return err
		}
		_, err = s.secrets(s.home).update(ctx, next)
		if !apierrors.IsConflict(err) || try == storeTries {
			return err
		}
	}
}

// account is the account to order with, registered with the authority if need
// be. To register a key again gives the account that it has (RFC 8555, section
// 7.3.1), so a crash in between does no harm.
func (i *issuing) account(ctx context.Context) (acme.Account, error) {
	secret, err := i.store.accountSecret(ctx)
	if err != nil {
		return acme.Account{}, err
	}
	key, err := parseKey(secret.Data[keyAccount])
	if err != nil {
		return acme.Account{}, sdk.Invalid("The key of the ACME account in the Secret %q in namespace %q is damaged: delete the Secret, and a new account is made.", secret.Name, secret.Namespace)
	}
	if url := string(secret.Data[keyAccountURL]); url != "" {
		return acme.Account{Status: acme.StatusValid, Location: url, PrivateKey: key}, nil
	}
	return i.register(ctx, key)
}

// register makes the account at the authority, or finds the one of the key.
func (i *issuing) register(ctx context.Context, key *ecdsa.PrivateKey) (acme.Account, error) {
	account := acme.Account{TermsOfServiceAgreed: true, PrivateKey: key}
	if i.acme.email != "" {
		account.Contact = []string{"mailto:" + i.acme.email}
	}
	if eab := i.acme.eab; eab != nil {
		mac, err := i.secret(ctx, eab.key)
		if err != nil {
			return account, err
		}
		if err := account.SetExternalAccountBinding(ctx, i.client, acme.EAB{KeyID: eab.keyID, MACKey: mac}); err != nil {
			if ctx.Err() == nil && !reached(err) {
				return account, sdk.Invalid("The key of the external account binding is not in the form that authorities give it in, base64url without \"=\" at its end.")
			}
			return account, ofAuthority(err)
		}
	}
	i.out.Log("certificate: making an account at " + i.acme.authority())
	account, err := i.client.NewAccount(ctx, account)
	if err != nil {
		return account, ofAuthority(err)
	}
	if account.Status != "" && account.Status != acme.StatusValid {
		return account, sdk.Downstream("%s has closed the account (it is %s): delete the Secret %q in namespace %q, and a new one is made.", capitalized(i.acme.authority()), said(account.Status, 40), i.store.accountName(), i.store.home)
	}
	account.PrivateKey = key
	return account, i.store.changeAccount(ctx, func(data map[string][]byte) error {
		data[keyAccountURL] = []byte(account.Location)
		return nil
	})
}

// forgetAccount has the key registered again: the authority does not know the
// account any more, as after a test server began anew.
func (i *issuing) forgetAccount(ctx context.Context, account acme.Account) error {
	return i.store.changeAccount(ctx, func(data map[string][]byte) error {
		if string(data[keyAccountURL]) == account.Location {
			delete(data, keyAccountURL)
		}
		return nil
	})
}

// count changes the ledger beside the account.
func (i *issuing) count(ctx context.Context, change func(l *ledger) error) error {
	return i.store.changeAccount(ctx, func(data map[string][]byte) error {
		l, err := readLedger(data[keyLedger])
		if err != nil {
			return err
		}
		if err := change(l); err != nil {
			return err
		}
		data[keyLedger], err = l.write(i.now())
		return err
	})
}

// charges are all that an order for names counts against.
func (a acmeLimits) charges(names []string) []charge {
	return slices.Concat([]charge{a.orderCharge()}, a.certificateCharges(names))
}
