package dns

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"
	"unicode"

	"github.com/mholt/acmez/v3/acme"

	"github.com/berth-dev/berth/plugins/sdk"
)

// authorityError is a failure of the authority, or of the way to it.
type authorityError struct{ error }

func (e authorityError) Unwrap() error { return e.error }

// ofAuthority marks err as one of the authority.
func ofAuthority(err error) error {
	if err == nil {
		return nil
	}
	return authorityError{err}
}

// explain makes a failure of the authority one that says in plain words what is
// wrong and what to do; any other comes back as it is. wait is what the authority
// asked to wait, 0 for nothing.
func (a acmeSettings) explain(ctx context.Context, err error, wait time.Duration) error {
	if _, ok := errors.AsType[authorityError](err); !ok || ctx.Err() != nil {
		return err
	}
	if _, ok := errors.AsType[*sdk.Error](err); ok {
		return err
	}
	who := capitalized(a.authority())
	if p, ok := problemOf(err); ok {
		e := a.explainProblem(who, p, wait)
		e.Err = errors.New(said(err.Error(), 2000))
		return e
	}
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: err, Retry: true}
	_, unknownAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	_, wrongName := errors.AsType[x509.HostnameError](err)
	_, isNet := errors.AsType[net.Error](err)
	switch {
	case unknownAuthority, wrongName:
		e.Retry = false
		e.Msg = who + " cannot be reached safely: its own certificate is not one that is trusted. Name the file with its authority as `ca_file` under `acme` in the settings of the dns executor."
	case isNet:
		e.Msg = who + " cannot be reached. Check that it runs and that Berth's machine may connect to it."
	case errors.Is(err, errLongAnswer):
		e.Retry = false
		e.Msg = who + " gave an answer that is too long to be one of an authority. Check `directory` under `acme` in the settings of the dns executor."
	default:
		e.Msg = who + " did not do as it should: " + said(err.Error(), 300) + "."
	}
	return e
}

// problemOf is the problem document in err. It is there as a value or a pointer.
func problemOf(err error) (acme.Problem, bool) {
	if p, ok := errors.AsType[acme.Problem](err); ok {
		return innermost(p), true
	}
	if p, ok := errors.AsType[*acme.Problem](err); ok && p != nil {
		return innermost(*p), true
	}
	return acme.Problem{}, false
}

// innermost is the first of the problems that a compound one is made of.
func innermost(p acme.Problem) acme.Problem {
	if p.Type == acme.ProblemTypeCompound && len(p.Subproblems) > 0 {
		return p.Subproblems[0].Problem
	}
	return p
}

// advice is what to do about problems that trying again does not mend, by their
// type. Source of the types: RFC 8555, section 6.7.
var advice = map[string]string{
	acme.ProblemTypeCAA:                     "does not find itself allowed by the zone's CAA records: %s. Add one for it, or take those that forbid it away.",
	acme.ProblemTypeRejectedIdentifier:      "gives no certificates for such a name: %s. Use another name or another authority.",
	acme.ProblemTypeUnsupportedIdentifier:   "gives no certificates for such a name: %s. Use another name or another authority.",
	acme.ProblemTypeExternalAccountRequired: "wants an account that it knows already: %s. Set `eab` under `acme` in the settings of the dns executor.",
	acme.ProblemTypeInvalidContact:          "does not take the email address: %s. Correct `email` under `acme` in the settings of the dns executor.",
	acme.ProblemTypeUnsupportedContact:      "does not take the email address: %s. Correct `email` under `acme` in the settings of the dns executor.",
	acme.ProblemTypeUserActionRequired:      "wants something of a person first: %s. Open the page that it names, and try again.",
	acme.ProblemTypeUnauthorized:            "did not find the proof that the name is ours: %s. Check that the whole internet sees the name servers that Berth writes to: the zone must be delegated to them, and all of them must be in step.",
	acme.ProblemTypeIncorrectResponse:       "did not find the proof that the name is ours: %s. Check that the whole internet sees the name servers that Berth writes to: the zone must be delegated to them, and all of them must be in step.",
	acme.ProblemTypeDNS:                     "could not look the name up: %s. Check that the zone is delegated to its name servers, that they answer to the whole internet, and that its DNSSEC, if any, is right.",
	acme.ProblemTypeBadPublicKey:            "does not take the key: %s. If it is the account's, delete the account's Secret, and a new one is made.",
	acme.ProblemTypeBadCSR:                  "does not take the request for the certificate: %s. Check `profile` under `acme` in the settings of the dns executor, and the certificate's names.",
	acme.ProblemTypeMalformed:               "does not understand what it is asked: %s. Check `directory` and `profile` under `acme` in the settings of the dns executor.",
}

func (a acmeSettings) explainProblem(who string, p acme.Problem, wait time.Duration) *sdk.Error {
	detail := said(p.Detail, 400)
	if detail == "" {
		detail = said(strings.TrimPrefix(p.Type, acme.ProblemTypeNamespace), 100)
	}
	if p.Type == acme.ProblemTypeRateLimited {
		msg := who + " has had too many requests of late: " + detail + "."
		if wait > 0 {
			msg += " It takes the next one in " + waitText(wait) + "."
		}
		e := sdk.Downstream("%s", msg+" One wildcard for the whole app (`wildcard: app`) needs the fewest certificates.")
		if wait <= soon {
			return e.WithRetryAfter(max(wait, time.Minute))
		}
		return e
	}
	if words, ok := advice[p.Type]; ok {
		return sdk.Downstream("%s", who+" "+strings.Replace(words, "%s", detail, 1))
	}
	e := sdk.Downstream("%s", who+" refused: "+detail+".")
	if p.Status >= 500 || p.Type == acme.ProblemTypeServerInternal || p.Type == acme.ProblemTypeConnection || p.Type == acme.ProblemTypeBadNonce {
		return e.WithRetryAfter(max(wait, 10*time.Second))
	}
	return e
}

// said is outside text for a message: on one line, without what a terminal could
// take for more than text, not too long, without a period at its end.
func said(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	s = strings.TrimRight(strings.Join(strings.Fields(s), " "), ". ")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

func capitalized(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// waitText is a wait in words: not to the second when it is long.
func waitText(d time.Duration) string {
	if d >= time.Hour {
		return d.Round(time.Minute).String()
	}
	return d.Round(time.Second).String()
}
