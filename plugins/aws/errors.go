package aws

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/berth-dev/berth/plugins/sdk"
)

// explain makes err one that says in plain words what is wrong and what to do.
// title is the thing that it is about, "" for none. What AWS said itself goes to
// the log with it.
func explain(err error, title string) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	about := ""
	if title != "" {
		about = " (about the " + title + ")"
	}
	api, isAPI := errors.AsType[smithy.APIError](err)
	if !isAPI {
		return explainTransport(err, about)
	}
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: err}
	said := clip(oneLine(api.ErrorMessage()), 500)
	code := api.ErrorCode()
	switch {
	case slices.Contains(denied, code):
		e.Msg = deniedMessage(err, said, about)
	case slices.Contains(unauthenticated, code):
		e.Msg = "AWS does not accept Berth's credentials: they are wrong or have expired (" + code + "). Renew what AWS_PROFILE, AWS_ACCESS_KEY_ID or the pod's role gives the aws executor."
	case isThrottled(err):
		e.Msg, e.Retry = "AWS has throttled Berth for longer than was waited ("+code+")"+about+". Try again in a while.", true
	case isIll(err):
		e.Msg, e.Retry = "AWS could not do it just now ("+code+")"+about+". Try again.", true
	case strings.Contains(code, "Quota") || strings.Contains(code, "LimitExceeded"):
		e.Msg = "A quota of the AWS account does not allow it" + about + ": " + said + ". Clean something up, or have AWS raise the quota."
	case strings.Contains(code, "Insufficient"):
		e.Msg, e.Retry = "AWS has no capacity for it just now"+about+": "+said+". Try again, or ask for another class or zone.", true
	case stateCode.MatchString(code):
		e.Msg, e.Retry = "It is not in a state for that"+about+": "+said+". Try again.", true
	default:
		e.Fault = sdk.FaultInvalid
		e.Msg = fmt.Sprintf("AWS refused it%s: %s (%s). Correct the part's settings.", about, said, code)
	}
	return e
}

// Codes of AWS's services that mean the same.
var (
	denied          = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized", "KMSKeyNotAccessibleFault", "KMS.AccessDeniedException"}
	unauthenticated = []string{
		"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
		"MissingAuthenticationToken", "IncompleteSignature", "InvalidAccessKeyId", "AuthFailure", "RequestExpired",
	}
	throttled = []string{
		"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException", "TooManyRequestsException", "RequestLimitExceeded",
		"BandwidthLimitExceeded", "RequestThrottled", "SlowDown", "PriorRequestNotComplete", "ProvisionedThroughputExceededException", "TransactionInProgressException",
	}
	stateCode = regexp.MustCompile(`^Invalid\w*State|OperationAborted|ConcurrentModification|ResourceInUse|OperationInProgress|QueueDeletedRecently`)
)

// notAuthorized is AWS's sentence on a right that is missing.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
var notAuthorized = regexp.MustCompile(`User: (\S+) is not authorized to perform: (\S+)(?: on resource: (\S+))?`)

func deniedMessage(err error, said, about string) string {
	m := notAuthorized.FindStringSubmatch(said)
	if m == nil {
		what := said
		if op, ok := errors.AsType[*smithy.OperationError](err); ok {
			what = strings.ToLower(op.Service()) + ":" + op.Operation() + ": " + said
		}
		return "AWS does not let Berth do that" + about + ": " + what + ". Grant it as docs/aws.md shows."
	}
	who, action, resource := m[1], strings.TrimRight(m[2], ",."), strings.TrimRight(m[3], ",.")
	if resource == "" {
		resource = "*"
	}
	if action == "sts:AssumeRole" {
		return fmt.Sprintf("AWS does not let Berth take the role %s (it acts as %s). Let the role's trust policy name that account, allow sts:AssumeRole to it, and check `external_id`.", resource, who)
	}
	return fmt.Sprintf("AWS does not let Berth do %s on %s%s (it acts as %s). Allow that action on that resource in a policy of its role; docs/aws.md has the least one.", action, resource, about, who)
}

// explainTransport is about calls that no service answered.
func explainTransport(err error, about string) error {
	text := err.Error()
	e := &sdk.Error{Fault: sdk.FaultDownstream, Err: err, Retry: true}
	netErr, isNet := errors.AsType[net.Error](err)
	op, isOp := errors.AsType[*smithy.OperationError](err)
	service := "AWS"
	if isOp {
		service = "AWS (" + op.Service() + ")"
	}
	switch {
	case strings.Contains(text, "failed to retrieve credentials"), strings.Contains(text, "get identity"), strings.Contains(text, "no EC2 IMDS role found"):
		e.Retry = false
		e.Msg = "The aws executor has no credentials. Give it AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role of its pod or machine, and name the variables in `env` of its section under `plugins`."
	case isNet && netErr.Timeout(), errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "Client.Timeout"):
		e.Msg = service + " did not answer in time" + about + ". Try again."
	case statusOf(err) >= http.StatusInternalServerError:
		e.Msg = service + " could not do it just now" + about + ". Try again."
	case isNet, strings.Contains(text, "request send failed"), strings.Contains(text, "EOF"), strings.Contains(text, "connection re"):
		e.Msg = service + " cannot be reached" + about + ". Check that Berth's machine may connect to it, and the region."
	default:
		e.Fault, e.Retry = sdk.FaultInternal, false
		e.Msg = "A call of " + service + " failed" + about + ". Berth's log has the details."
	}
	return e
}

// statusOf is the HTTP status of an answer, 0 when there was none.
func statusOf(err error) int {
	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return r.HTTPStatusCode()
	}
	return 0
}

// isThrottled tells whether AWS had too many calls.
func isThrottled(err error) bool {
	return isCode(err, throttled...) || statusOf(err) == http.StatusTooManyRequests
}

// isIll tells whether AWS says that the failure is its own.
func isIll(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (statusOf(err) >= http.StatusInternalServerError || api.ErrorFault() == smithy.FaultServer)
}

// passing tells whether AWS answered, and may well answer otherwise in a minute.
func passing(err error) bool { return isThrottled(err) || isIll(err) }

// inBetween tells whether AWS refused for the thing's present state alone.
func inBetween(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && stateCode.MatchString(api.ErrorCode())
}

// oneLine is text without line breaks and without a period at its end.
func oneLine(text string) string {
	return strings.TrimRight(strings.Join(strings.Fields(text), " "), ". ")
}

// isCode tells whether err is an answer of AWS with one of the codes.
func isCode(err error, codes ...string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode())
}
