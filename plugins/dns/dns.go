// Package dns is the executor that gives environments their names: records of
// type A, AAAA, CNAME and TXT in zones that the settings name, at servers that
// take updates by RFC 2136, at Route 53 and at Cloudflare. Beside each name is a
// record that says whose it is, and what lacks that record is left alone.
package dns

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/route53"
	pacing "golang.org/x/time/rate"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Version is the executor's own version.
const Version = "0.1.0"

// Options is what New needs. The zero value works.
type Options struct {
	// Log receives what people need not see; nil discards it.
	Log *slog.Logger
	// Getenv looks up the environment, for secrets and for AWS's usual variables;
	// nil sees nothing.
	Getenv func(string) string
	// HTTP speaks with providers that have an API; nil is a client with time-outs of
	// its own.
	HTTP *http.Client
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Executor manages records. It is safe for concurrent use and keeps nothing
// between calls but what it may find out again.
type Executor struct {
	log     *slog.Logger
	getenv  func(string) string
	http    *http.Client
	now     func() time.Time
	net     network
	annexes []annex
	// clusters are ways into those of steps, for Secrets and certificates.
	clusters *kube.Clusters

	insyncPoll time.Duration
	pace       *pacing.Limiter // of calls to Cloudflare

	clientsMu sync.Mutex
	clients   map[route53Settings]*route53.Client
}

var (
	_ sdk.Executor  = (*Executor)(nil)
	_ sdk.Planner   = (*Executor)(nil)
	_ sdk.Observer  = (*Executor)(nil)
	_ sdk.Inventory = (*Executor)(nil)
)

// annex is what a part can have beside its records, such as a certificate.
type annex interface {
	// check says what is wrong with the part's settings, reaching out to nothing.
	check(j *job) error
	// wanted tells whether the part's settings ask for it at all: a part without
	// records needs an annex.
	wanted(j *job) bool
	// plan adds to p what run would do. Of a brief plan only p.Inputs count.
	plan(ctx context.Context, j *job, p *sdk.Plan) error
	// run does the step: after the records where it makes, before them where it takes
	// away. Without wanted it takes away what an earlier deploy left.
	run(ctx context.Context, j *job, out sdk.Events) error
	// observe adds what it sees to o; its Health is then the worse of both.
	observe(ctx context.Context, j *job, o *sdk.Observation) error
	// inventory is what it owns, as sdk.Inventory says.
	inventory(ctx context.Context, scope sdk.Scope) ([]sdk.Owned, error)
}

// New makes an executor. It reaches out to nothing.
func New(o Options) *Executor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: time.Minute}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	x := &Executor{log: o.Log, getenv: o.Getenv, http: o.HTTP, now: o.Now, net: sockets{}, insyncPoll: insyncPoll, pace: pacing.NewLimiter(cloudflareRate, cloudflareBurst), clients: map[route53Settings]*route53.Client{}, clusters: kube.NewClusters("berth-dns/" + Version)}
	x.annexes = []annex{newCertificates(x)}
	return x
}

// Describe implements sdk.Executor.
func (x *Executor) Describe() sdk.Description {
	return sdk.Description{
		Name:           "dns",
		Version:        Version,
		Verbs:          []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore, sdk.Cleanup},
		Schema:         withSchema(),
		SettingsSchema: settingsSchema(),
	}
}

// job is one step with its settings read and checked.
type job struct {
	x        *Executor
	step     sdk.Step
	settings settings
	zone     zoneSettings // of the part; its name is "" when the step has no With
	part     part
	me       owner
}

// job reads what the step says, and refuses what is wrong with it before
// anything is asked or changed. A step without With is a cleanup of what was
// found without a record.
func (x *Executor) job(step sdk.Step) (*job, error) {
	s, err := readSettings(step.Settings)
	if err != nil {
		return nil, err
	}
	j := &job{x: x, step: step, settings: s, me: stepOwner(step)}
	if len(step.With) == 0 && step.Verb == sdk.Cleanup {
		return j, nil
	}
	if j.zone, j.part, err = readPart(s, step); err != nil {
		return j.remains(err)
	}
	wanted := len(j.part.sets) > 0
	for _, a := range x.annexes {
		if err := a.check(j); err != nil {
			return j.remains(err)
		}
		wanted = wanted || a.wanted(j)
	}
	if !wanted {
		return j.remains(sdk.Invalid("A dns part needs a record: `cname`, `a`, `aaaa` or `txt` beside `name`, or a list of `records`."))
	}
	return j, nil
}

// remains is what can be done although the part's settings are not, or no longer,
// right: what is the part's is taken away by its marks. A zone that the settings
// lack is the exception, since nobody can say what is left in it.
func (j *job) remains(err error) (*job, error) {
	if j.step.Verb != sdk.Cleanup && j.step.Verb != sdk.Archive && (j.step.Verb != sdk.Restore || !j.step.AsWas) {
		return nil, err
	}
	text, _ := j.step.With["zone"].(string)
	name, nameErr := hostName("The zone", text)
	if nameErr != nil {
		return nil, err
	}
	zone, ok := j.settings.zones[name]
	if !ok {
		return nil, err
	}
	j.zone, j.part = zone, part{}
	return j, nil
}

// secrets looks up the values of references in the settings. The cluster is
// opened only where one is in it.
func (x *Executor) secrets(step sdk.Step) sdk.Secrets {
	return x.clusters.Secrets(step.Cluster, x.getenv)
}

// open makes the provider of a zone, with its secret.
func (x *Executor) open(ctx context.Context, step sdk.Step, z zoneSettings) (provider, error) {
	secret := func(ref sdk.SecretRef) (string, error) {
		value, err := x.secrets(step).Value(ctx, step, ref)
		if _, told := errors.AsType[*sdk.Error](err); err != nil && !told && ctx.Err() == nil {
			return "", kube.Explain(err, step.Cluster)
		}
		return value, err
	}
	switch {
	case z.rfc2136 != nil:
		value := ""
		if z.rfc2136.keyName != "" {
			var err error
			if value, err = secret(z.rfc2136.secret); err != nil {
				return nil, err
			}
		}
		return newRFC2136(x.net, z, value)
	case z.route53 != nil:
		return newRoute53(ctx, x, z)
	case z.cloud != nil:
		token, err := secret(z.cloud.token)
		if err != nil {
			return nil, err
		}
		return newCloudflare(x, z, token)
	}
	return nil, sdk.Internal("The zone %s has no provider.", z.name)
}

// Run implements sdk.Executor.
func (x *Executor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	err := x.run(ctx, step, out)
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return x.explain(step, err)
}

func (x *Executor) run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	j, err := x.job(step)
	if err != nil {
		return err
	}
	annexes := func() error {
		for _, a := range x.annexes {
			if err := a.run(ctx, j, out); err != nil {
				return err
			}
		}
		return nil
	}
	switch step.Verb {
	case sdk.Deploy, sdk.Restore:
		if err := j.deploy(ctx, out); err != nil {
			return err
		}
		return annexes()
	case sdk.Archive:
		if err := annexes(); err != nil {
			return err
		}
		return j.archive(ctx, out)
	case sdk.Cleanup:
		if err := annexes(); err != nil {
			return err
		}
		return j.cleanup(ctx, out)
	}
	return sdk.Invalid("The dns executor cannot %s a part.", quoted(string(step.Verb)))
}
