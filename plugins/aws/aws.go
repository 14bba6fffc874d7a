// Package aws is the executor that makes what an environment needs at AWS:
// databases, buckets, queues, secrets, roles, and whatever a CloudFormation
// template can say. Each key of a part's `with` is a kind (see kind.go); what a
// part asks for is made side by side.
package aws

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/berth-dev/berth/plugins/sdk"
)

// Version is the executor's own.
const Version = "1.0.0"

// Options are what the executor is made of. The zero value works.
type Options struct {
	Log    *slog.Logger             // nil logs nothing
	Getenv func(name string) string // for secrets by `env`; nil finds none
	Clock  func() time.Time         // nil is time.Now
	// Pause waits between two looks at AWS; nil waits that long, or until ctx ends.
	Pause func(ctx context.Context, d time.Duration) error
	// Retryer says which calls are tried again, and when; nil is the SDK's standard
	// one, with ten tries at most and up to 20 s between two of them.
	Retryer func() awssdk.Retryer
	// Transport makes the calls; nil is AWS's own, which keeps connections.
	Transport http.RoundTripper
	// CallTimeout bounds one try of a call; 0 is 60 s.
	CallTimeout time.Duration
}

// Executor is the aws executor. It keeps clients, and nothing of what it made:
// that is what AWS's tags tell.
type Executor struct {
	o Options

	mu     sync.Mutex
	places map[string]*clients
}

// New makes an executor. It reaches out for nothing.
func New(o Options) *Executor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Pause == nil {
		o.Pause = pause
	}
	if o.Retryer == nil {
		o.Retryer = patient
	}
	o.CallTimeout = cmp.Or(o.CallTimeout, time.Minute)
	return &Executor{o: o, places: map[string]*clients{}}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Describe says what the executor is.
func (x *Executor) Describe() sdk.Description {
	return sdk.Description{
		Name: "aws", Version: Version,
		Verbs:  []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore, sdk.Cleanup, sdk.Restart, sdk.Sleep, sdk.Wake},
		Schema: withSchema(), SettingsSchema: settingsSchema(),
	}
}
