package aws

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	testRegion  = "eu-central-1"
	testCluster = "prod"
)

// TestMain gives the tests the stand-in's key, and nothing of the machine's own
// configuration.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "berth-aws-")
	if err != nil {
		panic(err)
	}
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": awstest.Key, "AWS_SECRET_ACCESS_KEY": awstest.Secret, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(dir, "config"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "credentials"),
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// everyKind is a part's settings for each kind, and some for several at once.
var everyKind = map[string]map[string]any{
	"a secret":                              {"secret": map[string]any{"generate": map[string]any{"password": int64(24)}, "values": map[string]any{"username": "shop"}}},
	"a queue with one for its dead letters": {"sqs": map[string]any{"dead_letters": map[string]any{"after": int64(3)}, "visibility_seconds": int64(60)}},
	"a topic with a queue that gets its messages": {
		"sqs": map[string]any{"fifo": true}, "sns": map[string]any{"fifo": true, "queue": map[string]any{"raw": true, "filter": map[string]any{"kind": []any{"order"}}}},
	},
	"a repository": {"ecr": map[string]any{"immutable": true, "scan_on_push": true, "keep_images": int64(10)}},
	"a role that may use a bucket": {
		"s3": map[string]any{}, "iam_role": map[string]any{
			"service_account": map[string]any{"name": "web", "namespace": "shop-pr-42", "cluster": testCluster}, "access": map[string]any{"s3": "write"},
			"policies": map[string]any{"more": map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"}}}},
			"managed":  []any{"arn:aws:iam::aws:policy/ReadOnlyAccess"},
		},
	},
	"a role by Pod Identity": {"iam_role": map[string]any{"service_account": map[string]any{"name": "web", "namespace": "shop-pr-42", "cluster": testCluster, "via": "pod_identity"}}},
	"a stack":                {"stack": map[string]any{"parameters": map[string]any{"Delay": int64(5)}, "template": testTemplate}},
	"a bucket":               {"s3": map[string]any{"versioning": true, "expire_days": int64(30)}},
	"a database instance":    {"rds": map[string]any{"engine": "postgres", "version": "16", "class": "db.t4g.micro"}},
	"an Aurora cluster":      {"aurora": map[string]any{"engine": "aurora-postgresql", "instances": int64(2)}},
	"a database and a secret side by side": {
		"rds": map[string]any{"engine": "postgres"}, "secret": map[string]any{}, "tags": map[string]any{"team": "shop"},
	},
}

// world is a stand-in for AWS and what a test needs to work on it.
type world struct {
	*awstest.Server
	clock       func() time.Time
	callTimeout time.Duration // long, for a busy machine is not AWS being away
}

func newWorld(t *testing.T, opts awstest.Options) *world {
	t.Helper()
	w := &world{Server: awstest.New(t, opts), clock: time.Now, callTimeout: 30 * time.Second}
	w.AddCluster(awstest.Cluster{Account: awstest.Account, Region: testRegion, Name: testCluster})
	t.Cleanup(func() {
		for _, v := range w.Violations() {
			t.Errorf("a request that AWS's models do not allow: %s", v)
		}
	})
	return w
}

// Things lists what there is but the cluster that every world begins with.
func (w *world) Things() []string {
	return slices.DeleteFunc(w.Server.Things(), func(s string) bool {
		return strings.HasPrefix(s, "eks:cluster ") || strings.HasPrefix(s, "iam:oidc-provider ")
	})
}

// executor is one that loses no time: it waits for nothing but AWS's answers.
func (w *world) executor() *Executor { return New(w.options()) }

func (w *world) options() Options {
	return Options{
		Getenv: os.Getenv, Clock: func() time.Time { return w.clock() }, CallTimeout: w.callTimeout,
		Retryer: func() awssdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 6, time.Millisecond })
		},
		Pause: func(ctx context.Context, d time.Duration) error { // which passes on the stand-in's clock alone
			w.Advance(d)
			runtime.Gosched()
			return ctx.Err()
		},
	}
}

func (w *world) settings() map[string]any {
	return map[string]any{"region": testRegion, "endpoint": w.URL}
}

func (w *world) step(verb sdk.Verb, with map[string]any) sdk.Step {
	return sdk.Step{
		ID: "step-" + string(verb), App: "shop", Env: "pr-42", Part: "db", Verb: verb, With: with, Settings: w.settings(), Installation: "berth-1", AsWas: verb == sdk.Restore,
	}
}

// run does a step with an executor that knows of no other, and tells what it said.
func (w *world) run(t *testing.T, step sdk.Step) (*said, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &said{outputs: map[string]string{}}
	return out, w.executor().Run(ctx, step, out)
}

func (w *world) must(t *testing.T, step sdk.Step) *said {
	t.Helper()
	out, err := w.run(t, step)
	if err != nil {
		t.Fatalf("%s: %v", step.Verb, err)
	}
	return out
}

// finalHash is what tells apart the last snapshots of two lives of a database.
var finalHash = regexp.MustCompile(`-final-[0-9a-f]+`)

// owned is what bears Berth's tags, in order, such that two worlds can be
// compared.
func (w *world) owned() string {
	all := w.Owned()
	slices.Sort(all)
	return finalHash.ReplaceAllString(strings.Join(all, "\n"), "-final")
}

// said is what a step has said.
type said struct {
	mu       sync.Mutex
	lines    []string
	outputs  map[string]string
	receipts []sdk.Resource
}

func (s *said) Log(line string) { s.add(line) }

func (s *said) Progress(text string, _, _ int) { s.add(text) }

func (s *said) Output(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outputs[key] = value
}

func (s *said) Receipt(r sdk.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receipts = append(s.receipts, r)
}

func (s *said) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}
