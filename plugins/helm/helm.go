// Package helm is the executor that deploys Helm charts. It uses Helm's own
// library for rendering, three-way merges, hooks and release records, so that
// `helm list` and `helm history` show what it did; waiting, recovery after a
// crash, explanations and cleaning up are its own.
package helm

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Version is the executor's own version, independent of Helm's.
const Version = "0.1.0"

// Options is what New needs. The zero value works.
type Options struct {
	// Log receives what people need not see; nil discards it.
	Log *slog.Logger
	// HTTP fetches from chart repositories, and from registries of charts and
	// images; nil is a client with
	// timeouts of its own.
	HTTP *http.Client
	// Getenv looks up the environment; nil sees nothing. DOCKER_CONFIG is asked
	// for, the folder with credentials for OCI registries, and the variables that
	// a step's Secrets name.
	Getenv func(string) string
}

// Executor deploys charts. It is safe for concurrent use; connections,
// discovery results and fetched charts are kept between calls.
type Executor struct {
	log      *slog.Logger
	clusters *kube.Clusters
	charts   *charts
	images   *images
	getenv   func(string) string
	masking  []byte // keys the short hashes that stand for secrets in diffs; of this process alone
}

var (
	_ sdk.Executor = (*Executor)(nil)
	_ sdk.Planner  = (*Executor)(nil)
	_ sdk.Observer = (*Executor)(nil)
)

// New makes an executor. It reaches out to nothing.
func New(o Options) *Executor {
	kube.Silence()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HTTP == nil {
		o.HTTP = newFetchClient()
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	return &Executor{
		log:      o.Log,
		clusters: kube.NewClusters("berth-helm/" + Version),
		charts:   newCharts(o.HTTP, o.Getenv("DOCKER_CONFIG")),
		images:   newImages(o.HTTP, o.Getenv("DOCKER_CONFIG")),
		getenv:   o.Getenv,
		masking:  kube.RandomKey(),
	}
}

// Describe implements sdk.Executor.
func (x *Executor) Describe() sdk.Description {
	return sdk.Description{
		Name:    "helm",
		Version: Version,
		Verbs:   slices.Concat([]sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore, sdk.Cleanup, sdk.Rollback}, workloadVerbs),
		Schema:  withSchema(),
	}
}

// Run implements sdk.Executor.
func (x *Executor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	var do func(context.Context, sdk.Step, sdk.Events) error
	switch step.Verb {
	case sdk.Deploy:
		do = x.deploy
	case sdk.Cleanup:
		do = x.cleanup
	case sdk.Archive:
		do = x.archive
	case sdk.Restore:
		do = x.restore
	case sdk.Rollback:
		do = x.rollback
	case sdk.Sleep:
		do = x.sleep
	case sdk.Wake:
		do = x.wake
	case sdk.Restart:
		do = x.restart
	default:
		return x.cannot(step.Verb)
	}
	ctx = x.withMasker(ctx, step)
	return x.finish(ctx, step, do(ctx, step, out))
}

// Plan implements sdk.Planner.
func (x *Executor) Plan(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	var plan func(context.Context, sdk.Step) (sdk.Plan, error)
	switch step.Verb {
	case sdk.Deploy:
		plan = x.planDeploy
	case sdk.Cleanup:
		plan = x.planCleanup
	case sdk.Archive:
		plan = x.planArchive
	case sdk.Restore:
		plan = x.planRestore
	case sdk.Rollback:
		plan = x.planRollback
	case sdk.Sleep:
		plan = x.planSleep
	case sdk.Wake:
		plan = x.planWake
	case sdk.Restart:
		plan = x.planRestart
	default:
		return sdk.Plan{}, x.cannot(step.Verb)
	}
	ctx = x.withMasker(ctx, step)
	made, err := plan(ctx, step)
	x.maskerFor(ctx, step).Plan(&made)
	return made, x.finish(ctx, step, err)
}

// cannot refuses a verb that Describe does not name.
func (x *Executor) cannot(verb sdk.Verb) error {
	var known []string
	for _, v := range x.Describe().Verbs {
		known = append(known, string(v))
	}
	return sdk.Invalid("The helm executor cannot %q; it can %s.", kube.Clip(string(verb), 40), strings.Join(known, ", "))
}

// finish turns whatever went wrong into an error that people can read.
func (x *Executor) finish(ctx context.Context, step sdk.Step, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e := x.explained(ctx, err, step)
	x.log.Info("step failed", "step", step.ID, "env", step.App+"/"+step.Env, "part", step.Part, "verb", string(step.Verb), "error", e.Error())
	return e
}

// explained is err in plain words, without the secrets that the step was given.
func (x *Executor) explained(ctx context.Context, err error, step sdk.Step) *sdk.Error {
	mask := x.maskerFor(ctx, step)
	e := explain(err, step.Cluster)
	e.Msg = mask.Text(e.Msg)
	if e.Err != nil {
		if text := mask.Text(e.Err.Error()); text != e.Err.Error() {
			e.Err = errors.New(text)
		}
	}
	return e
}
