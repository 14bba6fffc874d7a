package awstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

const (
	// Account is the account of the key that Config signs with.
	Account = "111122223333"
	// Key is that key's ID.
	Key = "AKIABERTHTESTEXAMPLE"
	// Secret is its secret part.
	Secret = "berth-test-secret-access-key"
)

// Options say how a server is.
type Options struct {
	// Polls is how many looks at a thing it takes AWS to get on with it: 0 means
	// that the first look finds it done.
	Polls int
	// Page is the most that a page of a list has; 0 means 100.
	Page int
	// Roles are the ARNs of roles, of whatever account, that Account may assume.
	Roles []string
}

// Call is one call that was made.
type Call struct {
	Account, Region, Service, Operation string
	Change                              bool // whether it changes something
}

// Name is the call as policies name actions: "rds:CreateDBInstance".
func (c Call) Name() string { return c.Service + ":" + c.Operation }

// Server is an AWS. Its methods are safe for concurrent use.
type Server struct {
	URL string

	t    testing.TB
	opts Options
	s3   *s3Server

	mu               sync.Mutex
	things           map[string]*thing
	keys             map[string]credential
	faults           Faults
	counted, changed int
	dead             bool
	ahead            time.Duration
	calls            []Call
	violations       []string
	serial           int
	gone             map[string]time.Time // names that were deleted, and when
	tokens           map[string]string    // idempotency tokens, and what they were used for
	done             chan struct{}        // closed with the server
}

// New starts a server that ends with the test.
func New(t testing.TB, opts Options) *Server {
	t.Helper()
	if opts.Page == 0 {
		opts.Page = 100
	}
	s := &Server{
		t: t, opts: opts, things: map[string]*thing{}, gone: map[string]time.Time{}, tokens: map[string]string{},
		done: make(chan struct{}),
		keys: map[string]credential{Key: {secret: Secret, account: Account, arn: "arn:aws:iam::" + Account + ":user/berth", user: "AIDABERTHTESTEXAMPLE"}},
	}
	s.s3 = newS3(s)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("awstest: %v", err)
	}
	s.URL = "http://" + l.Addr().String()
	srv := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("awstest: %v", err)
		}
	}()
	t.Cleanup(func() {
		close(s.done)
		_ = srv.Close()
	})
	return s
}

// Config is a configuration whose clients talk to the server, as Account.
func (s *Server) Config(region string) aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: aws.String(s.URL),
		Credentials: credentials.NewStaticCredentialsProvider(Key, Secret, ""),
	}
}

// Calls are all calls that were done or refused, in order.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Changes counts the calls so far that could change something.
func (s *Server) Changes() int {
	n := 0
	for _, c := range s.Calls() {
		if c.Change {
			n++
		}
	}
	return n
}

// Violations are requests that AWS' models do not allow. Reading them empties them.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.violations
	s.violations = nil
	return v
}

// call is one call while it is done.
type call struct {
	s                        *Server
	account, region, service string
	op                       string
	in                       params
	who                      credential
	raw                      *http.Request
	body                     []byte
}

// arn is that of a thing of the caller's account and region.
func (c *call) arn(rest string) string {
	return "arn:aws:" + c.service + ":" + c.region + ":" + c.account + ":" + rest
}

// handlers are the operations that the server does, by service.
var handlers = map[string]map[string]func(*call) (params, *apiError){
	"sts": stsOps, "rds": rdsOps, "secretsmanager": secretOps, "tagging": taggingOps, "route53": zoneOps, "eks": eksOps,
	"sqs": queueOps, "iam": iamOps, "cloudformation": stackOps, "sns": topicOps, "ecr": registryOps,
}

// ServeHTTP answers as AWS.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller went away
	}
	query := r.URL.Query()
	sig, bad := signatureOf(r, query)
	m, err := modelOf(sig.service)
	if err != nil || versions[sig.service] == "" {
		s.t.Errorf("awstest: nobody serves %q (%v): %s %s", sig.service, err, r.Method, r.URL)
		http.Error(w, "unknown service", http.StatusBadRequest)
		return
	}
	id := s.requestID()
	if bad != nil {
		s.violation(sig.service + ": " + bad.msg)
		m.writeError(w, nil, bad, id)
		return
	}
	op, in, err := m.decode(r, query, body)
	if global := map[string]bool{"iam": true, "route53": true}; global[sig.service] {
		sig.region = "aws-global"
	}
	c := &call{s: s, region: sig.region, service: sig.service, in: in, raw: r, body: body}
	if op != nil {
		c.op = op.Name
	}
	answer := s.perform(c, m, op, sig, err)
	if answer.then != nil {
		answer.then()
	}
	switch answer.fate {
	case hung:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		fallthrough
	case cut, cutFirst:
		reset(w)
	default:
		s.answer(w, m, op, answer, id)
	}
}

// outcome is what is to be answered.
type outcome struct {
	fate fate
	then func()
	out  params
	err  *apiError
	raw  *http.Response // of gofakes3
}

// perform does a call, unless its fate is another.
func (s *Server) perform(c *call, m *model, op *operation, sig signature, wrong error) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	who, denial := s.caller(sig)
	c.who, c.account = who, who.account
	change := changes(c.op)
	if !s.dead {
		s.calls = append(s.calls, Call{c.account, c.region, c.service, c.op, change})
	}
	o := outcome{}
	o.fate, o.then = s.fateOf(c.service+":"+c.op, change)
	switch {
	case o.fate == cutFirst:
		return o
	case o.fate == throttled:
		o.err = throttle(m)
	case o.fate == failed:
		o.err = failure(m)
	case denial != nil:
		o.err = denial
	case o.fate == denied:
		o.err = fail("AccessDenied", "User: %s is not authorized to perform: %s:%s because no identity-based policy allows the action", who.arn, c.service, c.op).withStatus(http.StatusForbidden)
		if strings.HasSuffix(m.Metadata.Protocol, "json") {
			o.err.code = "AccessDeniedException"
		}
	default:
		if o.err = s.check(c, m, op, wrong); o.err == nil {
			o.out, o.raw, o.err = s.do(c, m, op)
		}
	}
	return o
}

// check holds a call to the model.
func (s *Server) check(c *call, m *model, op *operation, wrong error) *apiError {
	if wrong == nil {
		if in := m.input(op); in != nil {
			wrong = m.validate(in, c.in, c.op)
		}
	}
	if wrong == nil {
		return nil
	}
	s.violations = append(s.violations, c.service+":"+c.op+": "+wrong.Error())
	if strings.HasSuffix(m.Metadata.Protocol, "json") {
		return fail("ValidationException", "%v", wrong)
	}
	return fail("ValidationError", "%v", wrong)
}

// do has the handler do a call.
func (s *Server) do(c *call, m *model, op *operation) (params, *http.Response, *apiError) {
	if c.service == "s3" {
		return s.s3.do(c)
	}
	h := handlers[c.service][c.op]
	if h == nil {
		s.t.Errorf("awstest: %s:%s is not served", c.service, c.op)
		return nil, nil, failure(m)
	}
	out, err := h(c)
	if err != nil {
		if _, ok := m.declared(op, err); !ok {
			s.t.Errorf("awstest: %s:%s does not declare %s (%s)", c.service, c.op, err.code, err.msg)
		}
		return nil, nil, err
	}
	if shape := m.output(op); shape != nil {
		if bad := m.unknown(shape, out, c.op); bad != "" {
			s.t.Errorf("awstest: the model has no %s", bad)
		}
	}
	return out, nil, nil
}

func (s *Server) requestID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("00000000-0000-4000-8000-%012x", s.number())
}

// number is another one each time.
func (s *Server) number() int {
	s.serial++
	return s.serial
}

func (s *Server) violation(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, text)
}

// decode finds the operation and reads what goes in.
func (m *model) decode(r *http.Request, query url.Values, body []byte) (*operation, params, error) {
	switch m.Metadata.Protocol {
	case "query":
		form := query
		if r.Method == http.MethodPost {
			f, err := url.ParseQuery(string(body))
			if err != nil {
				return nil, nil, fmt.Errorf("the form cannot be read: %w", err)
			}
			form = f
		}
		op := m.Operations[form.Get("Action")]
		if op == nil || form.Get("Version") != m.Metadata.APIVersion {
			return nil, nil, fmt.Errorf("the model knows no action %q of version %q", form.Get("Action"), form.Get("Version"))
		}
		in, err := m.decodeQuery(form, m.input(op))
		return op, in, err
	case "json":
		name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), m.Metadata.TargetPrefix+".")
		op := m.Operations[name]
		if !ok || op == nil || r.Header.Get("Content-Type") != "application/x-amz-json-"+m.Metadata.JSONVersion {
			return nil, nil, fmt.Errorf("the model knows no target %q as %q", r.Header.Get("X-Amz-Target"), r.Header.Get("Content-Type"))
		}
		in, err := m.decodeJSON(body, m.input(op))
		return op, in, err
	}
	return m.decodeREST(r, query, body)
}

// answer writes what came of a call.
func (s *Server) answer(w http.ResponseWriter, m *model, op *operation, o outcome, id string) {
	switch {
	case o.err != nil:
		m.writeError(w, op, o.err, id)
	case o.raw != nil:
		for k, v := range o.raw.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(o.raw.StatusCode)
		_, _ = io.Copy(w, o.raw.Body)
		_ = o.raw.Body.Close()
	case m.Metadata.Protocol == "query":
		var b bytes.Buffer
		root := op.Name + "Response"
		fmt.Fprintf(&b, "<%s xmlns=%q>", root, m.Metadata.XMLNamespace)
		if out := m.output(op); out != nil {
			open(&b, op.Output.ResultWrapper)
			m.membersToXML(&b, out, o.out)
			shut(&b, op.Output.ResultWrapper)
		}
		fmt.Fprintf(&b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%s>", id, root)
		w.Header().Set("Content-Type", "text/xml")
		_, _ = w.Write(b.Bytes())
	case m.Metadata.Protocol == "json":
		w.Header().Set("Content-Type", "application/x-amz-json-"+m.Metadata.JSONVersion)
		w.Header().Set("X-Amzn-Requestid", id)
		m.writeJSON(w, op, o.out)
	default:
		m.writeREST(w, op, o.out, id)
	}
}

// reset cuts a connection in a way that its other end notices at once.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
