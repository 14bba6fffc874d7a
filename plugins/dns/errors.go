package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/miekg/dns"

	"github.com/berth-dev/berth/plugins/sdk"
)

// explain makes err one that says in plain words what is wrong and what to do.
func (x *Executor) explain(step sdk.Step, err error) error {
	if _, ok := errors.AsType[*sdk.Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: err}
	if refusal, ok := errors.AsType[*rcodeError](err); ok {
		e.Msg, e.Retry = refusal.explain()
		return e
	}
	if errors.Is(err, errMoved) {
		e.Msg, e.Retry = "Others keep changing the same records, so that nothing was changed. Try again.", true
		return e
	}
	if told := explainAPI(err); told != nil {
		return told
	}
	if failed, ok := errors.AsType[*serverError](err); ok {
		e.Msg, e.Retry = failed.explain()
		return e
	}
	x.log.Warn("an error without a sentence for people", "env", step.App+"/"+step.Env, "part", step.Part, "error", err)
	e.Msg, e.Retry = fmt.Sprintf("The name servers cannot be used: %s.", networkCause(err)), true
	return e
}

// explain is what a server's refusal means.
func (e *rcodeError) explain() (msg string, retry bool) {
	switch e.rcode {
	case dns.RcodeRefused:
		if e.update {
			return fmt.Sprintf("The name server %s refuses to change the zone %s: let the TSIG key of Berth's settings change it (in BIND: `update-policy { grant KEY zonesub ANY; };`).", e.server, e.zone), false
		}
		return fmt.Sprintf("The name server %s refuses to answer for the zone %s: it does not serve it, or not to Berth.", e.server, e.zone), false
	case dns.RcodeNotAuth, dns.RcodeNotZone, dns.RcodeNameError:
		return fmt.Sprintf("The name server %s is not one that the zone %s is changed at: check `server` in the settings of the dns executor, and that the zone is there.", e.server, e.zone), false
	case dns.RcodeNotImplemented:
		return fmt.Sprintf("The name server %s takes no updates: switch dynamic updates on for the zone %s.", e.server, e.zone), false
	case dns.RcodeServerFailure:
		return fmt.Sprintf("The name server %s could not do it just now (SERVFAIL) for the zone %s: look at its log if that goes on.", e.server, e.zone), true
	}
	return fmt.Sprintf("The name server %s refuses for the zone %s: %s.", e.server, e.zone, dns.RcodeToString[e.rcode]), false
}

// explain is why a server could not be spoken with.
func (e *serverError) explain() (msg string, retry bool) {
	signing, isSigning := errors.AsType[*signingError](e.err)
	switch {
	case isSigning && signing.rcode == dns.RcodeBadTime:
		return fmt.Sprintf("The name server %s does not accept Berth's signature because their clocks differ by more than %d s: set them right.", e.server, tsigFudge), true
	case isSigning && signing.rcode == dns.RcodeBadKey:
		return fmt.Sprintf("The name server %s does not know the TSIG key of Berth's settings, or not with that algorithm: give both the same `key`.", e.server), false
	case isSigning:
		return fmt.Sprintf("The name server %s does not accept Berth's signature: the secret of the TSIG key is not the server's.", e.server), false
	case errors.Is(e.err, dns.ErrSig), errors.Is(e.err, errUnsigned), errors.Is(e.err, dns.ErrAuth), errors.Is(e.err, dns.ErrTime), errors.Is(e.err, dns.ErrKeyAlg), errors.Is(e.err, dns.ErrKey):
		return fmt.Sprintf("What answers as the name server %s does not sign with the TSIG key of Berth's settings, so it is not believed: give both the same `key`.", e.server), false
	case strings.Contains(e.err.Error(), "zone transfer") && strings.Contains(e.err.Error(), "xfr rcode"):
		return fmt.Sprintf("The name server %s does not let Berth list the zone: allow zone transfers with the TSIG key (in BIND: `allow-transfer { key KEY; };`).", e.server), false
	}
	return fmt.Sprintf("The name server %s cannot be reached: %s. Check that it runs and that Berth's machine may connect to it.", e.server, networkCause(e.err)), true
}

// networkCause is a few words on why there was no answer.
func networkCause(err error) string {
	isDNS, ok := errors.AsType[*net.DNSError](err)
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case ok && isDNS.IsNotFound:
		return "its name is not known"
	case isNet && netErr.Timeout(), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "there was no answer in time"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to it in the network"
	case errors.Is(err, errAnswer):
		return "what came back is no answer to what was asked"
	}
	return "the connection broke"
}
