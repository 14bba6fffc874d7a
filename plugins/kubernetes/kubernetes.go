// Package kubernetes is the executor that applies manifests: inline, from the
// application's repository, or built by kustomize. It makes the environment's
// namespace with its limits, applies server-side, prunes what is no longer there,
// runs Jobs once, and waits for whatever can be ready, so that an Argo CD
// Application or a Crossplane claim is a part like any other.
package kubernetes

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Version is the executor's own version, independent of Kubernetes'.
const Version = "0.1.0"

// Options is what New needs. The zero value works.
type Options struct {
	// Log receives what people need not see; nil discards it.
	Log *slog.Logger
	// Getenv looks up the environment; nil sees nothing. The variables that secrets
	// refer to are asked for, and those that AWS's SDK knows.
	Getenv func(string) string
}

// Executor applies manifests. It is safe for concurrent use; connections and
// discovery results are kept between calls.
type Executor struct {
	log      *slog.Logger
	clusters *kube.Clusters
	getenv   func(string) string
	aws      *vault
	masking  []byte // keys the short hashes that stand for secrets in diffs; of this process alone
}

var (
	_ sdk.Executor  = (*Executor)(nil)
	_ sdk.Planner   = (*Executor)(nil)
	_ sdk.Inventory = (*Executor)(nil)
)

// New makes an executor. It reaches out to nothing.
func New(o Options) *Executor {
	kube.Silence()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	return &Executor{
		log:      o.Log,
		clusters: kube.NewClusters("berth-kubernetes/" + Version),
		getenv:   o.Getenv,
		aws:      newVault(),
		masking:  kube.RandomKey(),
	}
}

// act is what is done for a verb: how it is planned, and how it is run.
type act struct {
	verb sdk.Verb
	run  func(*Executor, context.Context, sdk.Step, sdk.Events) error
	plan func(*Executor, context.Context, sdk.Step) (sdk.Plan, error)
}

// acts are the verbs that the executor has.
func acts() []act {
	return append([]act{
		{sdk.Deploy, (*Executor).deploy, (*Executor).planDeploy},
		{sdk.Cleanup, (*Executor).cleanup, (*Executor).planCleanup},
	}, laterActs()...)
}

// Describe implements sdk.Executor.
func (x *Executor) Describe() sdk.Description {
	var verbs []sdk.Verb
	for _, a := range acts() {
		verbs = append(verbs, a.verb)
	}
	return sdk.Description{Name: "kubernetes", Version: Version, Verbs: verbs, Schema: withSchema(), SettingsSchema: settingsSchema()}
}

// Run implements sdk.Executor.
func (x *Executor) Run(ctx context.Context, step sdk.Step, out sdk.Events) error {
	a, err := x.act(step.Verb)
	if err != nil {
		return err
	}
	ctx = x.withMask(ctx, step)
	return x.finish(ctx, step, a.run(x, ctx, step, out))
}

// Plan implements sdk.Planner.
func (x *Executor) Plan(ctx context.Context, step sdk.Step) (sdk.Plan, error) {
	a, err := x.act(step.Verb)
	if err != nil {
		return sdk.Plan{}, err
	}
	ctx = x.withMask(ctx, step)
	made, err := a.plan(x, ctx, step)
	maskOf(ctx).Plan(&made)
	return made, x.finish(ctx, step, err)
}

// act is what is done for a verb, an error for one that Describe does not name.
func (x *Executor) act(verb sdk.Verb) (act, error) {
	all := acts()
	if i := slices.IndexFunc(all, func(a act) bool { return a.verb == verb }); i >= 0 {
		return all[i], nil
	}
	var known []string
	for _, a := range all {
		known = append(known, string(a.verb))
	}
	return act{}, sdk.Invalid("The kubernetes executor cannot %q; it can %s.", kube.Clip(string(verb), 40), strings.Join(known, ", "))
}

// maskKey is where a call's masker is in its context.
type maskKey struct{}

// withMask gives a call a masker that all of it shares: what one part of it
// learns is hidden by the others.
func (x *Executor) withMask(ctx context.Context, step sdk.Step) context.Context {
	step.With = withoutNames(step.With)
	return context.WithValue(ctx, maskKey{}, kube.StepMasker(x.masking, step))
}

// withoutNames is settings without the names of Secrets: these stand under the key
// `secret`, and would be taken for secrets and hidden wherever they appear.
func withoutNames(with map[string]any) map[string]any {
	out := maps.Clone(with)
	delete(out, "vars")
	if _, there := out["jobs"]; !there {
		return out
	}
	var jobs []any
	for _, j := range kube.Maps(out["jobs"]) {
		j = maps.Clone(j)
		delete(j, "env_from")
		jobs = append(jobs, j)
	}
	out["jobs"] = jobs
	return out
}

// maskOf is the call's masker.
func maskOf(ctx context.Context) *kube.Masker {
	m, _ := ctx.Value(maskKey{}).(*kube.Masker)
	return m
}

// finish turns whatever went wrong into an error that people can read.
func (x *Executor) finish(ctx context.Context, step sdk.Step, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	mask := maskOf(ctx)
	e := kube.Explain(err, step.Cluster)
	e.Msg = mask.Text(e.Msg)
	if e.Err != nil {
		if text := mask.Text(e.Err.Error()); text != e.Err.Error() {
			e.Err = errors.New(text)
		}
	}
	x.log.Info("step failed", "step", step.ID, "env", step.App+"/"+step.Env, "part", step.Part, "verb", string(step.Verb), "error", e.Error())
	return e
}

// timedOut keeps the step's own limit apart from somebody's cancelling it.
func timedOut(limited, outer context.Context, err error) error {
	if _, told := errors.AsType[*sdk.Error](err); told || err == nil {
		return err
	}
	if outer.Err() == nil && limited.Err() != nil {
		return &sdk.Error{Fault: sdk.FaultDownstream, Msg: kube.TimedOut, Err: err}
	}
	return err
}
