package awstest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// apiError is an error of AWS: the name of a shape that the operation declares,
// or a code that every service has.
type apiError struct {
	code   string
	msg    string
	status int // 0: what the shape says, or 400
}

func (e *apiError) Error() string { return e.code + ": " + e.msg }

func fail(code, format string, args ...any) *apiError {
	return &apiError{code: code, msg: fmt.Sprintf(format, args...)}
}

func (e *apiError) withStatus(status int) *apiError {
	e.status = status
	return e
}

// everywhere are the codes that no operation declares and every service may
// answer. Source: "Common Errors" of the API references of AWS' services; RDS and
// CloudFormation answer the InvalidParameter and Validation ones throughout.
var everywhere = []string{
	"AccessDenied", "AccessDeniedException", "ExpiredToken", "ExpiredTokenException", "IncompleteSignature",
	"InternalFailure", "InternalError", "InternalServerError", "InvalidAction", "InvalidClientTokenId",
	"InvalidParameterCombination", "InvalidParameterValue", "MissingAuthenticationToken", "MissingParameter",
	"RequestExpired", "SerializationException", "ServiceUnavailable", "SignatureDoesNotMatch", "SlowDown",
	"Throttling", "ThrottlingException", "UnknownOperationException", "UnrecognizedClientException",
	"ValidationError", "ValidationException", "InvalidInput", "RequestThrottled",
}

// declared tells whether op may fail with e, and fills in what the model says of it.
func (m *model) declared(op *operation, e *apiError) (*shape, bool) {
	if op != nil {
		for _, r := range op.Errors {
			s := m.Shapes[r.Shape]
			if r.Shape == e.code || s.Error.Code == e.code {
				return s, true
			}
		}
	}
	if m.Metadata.EndpointPrefix == "s3" { // whose model declares next to nothing
		return nil, true
	}
	return nil, slices.Contains(everywhere, e.code)
}

// writeError answers with e in the service's own form.
func (m *model) writeError(w http.ResponseWriter, op *operation, e *apiError, id string) {
	s, _ := m.declared(op, e)
	code, status, fault := e.code, e.status, "Sender"
	if s != nil {
		if s.Error.Code != "" {
			code = s.Error.Code
		}
		if status == 0 {
			status = s.Error.HTTPStatusCode
		}
	}
	if status == 0 {
		status = http.StatusBadRequest
	}
	if status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	w.Header().Set("X-Amzn-Requestid", id)
	switch m.Metadata.Protocol {
	case "json", "rest-json":
		m.writeJSONError(w, e, s, code, status, fault)
	default:
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = w.Write(m.xmlError(e, code, fault, id))
	}
}

func (m *model) writeJSONError(w http.ResponseWriter, e *apiError, s *shape, code string, status int, fault string) {
	field := "message"
	if s != nil {
		for _, name := range s.names {
			if strings.EqualFold(name, "message") {
				field = name
			}
		}
	}
	name := e.code // the protocol names the shape, not the code of the query protocol
	if s == nil {
		name = code
	}
	body, _ := json.Marshal(map[string]string{"__type": name, field: e.msg})
	w.Header().Set("Content-Type", "application/x-amz-json-"+m.Metadata.JSONVersion)
	if m.Metadata.Protocol == "rest-json" {
		w.Header().Set("X-Amzn-Errortype", name)
	}
	if m.Metadata.AWSQueryCompatible != nil {
		if old, ok := queryCodes[name]; ok {
			code = old
		}
		w.Header().Set("X-Amzn-Query-Error", code+";"+fault)
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// queryCodes are the codes that SQS had before it spoke JSON; clients still tell
// them. Source: the Smithy model of SQS, trait awsQueryError.
var queryCodes = map[string]string{
	"QueueDoesNotExist":    "AWS.SimpleQueueService.NonExistentQueue",
	"QueueDeletedRecently": "AWS.SimpleQueueService.QueueDeletedRecently",
	"QueueNameExists":      "QueueAlreadyExists",
	"UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}

func (m *model) xmlError(e *apiError, code, fault, id string) []byte {
	var b bytes.Buffer
	text := func(name, s string) {
		open(&b, name)
		_ = xml.EscapeText(&b, []byte(s))
		shut(&b, name)
	}
	b.WriteString(xml.Header)
	switch {
	case m.Metadata.EndpointPrefix == "s3":
		open(&b, "Error")
		text("Code", code)
		text("Message", e.msg)
		text("RequestId", id)
		shut(&b, "Error")
	case code == "InvalidChangeBatch": // Route 53's own form
		b.WriteString(`<InvalidChangeBatch xmlns="` + m.Metadata.XMLNamespace + `"><Messages>`)
		for line := range strings.SplitSeq(e.msg, "\n") {
			text("Message", line)
		}
		b.WriteString("</Messages>")
		text("RequestId", id)
		b.WriteString("</InvalidChangeBatch>")
	default:
		b.WriteString(`<ErrorResponse xmlns="` + m.Metadata.XMLNamespace + `"><Error>`)
		text("Type", fault)
		text("Code", code)
		text("Message", e.msg)
		b.WriteString("</Error>")
		text("RequestId", id)
		b.WriteString("</ErrorResponse>")
	}
	return b.Bytes()
}
