package helm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/postrender"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// maxHistory is how many revisions of a release are kept. Each is a Secret of
// up to 1 MiB.
const maxHistory = 10

// Labels of a release, beside the marks of ownership.
const (
	labelStep   = "berth.dev/step"   // a hash of the step that made it
	labelInputs = "berth.dev/inputs" // a hash of what decided it
)

// inputs are what decides a deploy: the chart's content and the values.
type inputs struct {
	src    *source
	name   string // of the chart, and its version
	values map[string]any
	hidden [][]string // paths of values that are secrets
	notes  []string
	digest string // of the values, with references in the place of secrets
}

// gather finds the chart and puts the values together. For a brief plan secrets
// stay what they are referred to as, since nothing is rendered from them.
func (x *Executor) gather(ctx context.Context, s settings, step sdk.Step) (*inputs, error) {
	src, err := x.charts.find(ctx, s)
	if err != nil {
		return nil, err
	}
	ch, err := src.chart()
	if err != nil {
		return nil, err
	}
	in := &inputs{src: src, name: ch.Name() + " " + ch.Metadata.Version}
	if in.hidden, err = secretPaths(s, step); err != nil {
		return nil, err
	}
	if in.values, in.notes, err = layered(ch, s, step, references(step)); err != nil {
		return nil, err
	}
	if in.digest, err = valuesDigest(in.values); err != nil {
		return nil, err
	}
	if len(step.Secrets) > 0 {
		if step.Brief {
			return in, nil
		}
		secrets, err := x.secrets(ctx, step)
		if err != nil {
			return nil, err
		}
		if in.values, in.notes, err = layered(ch, s, step, secrets); err != nil {
			return nil, err
		}
	}
	return in, checkSchema(src, in.values)
}

// fresh is the chart, as it is to be recorded; each use needs one of its own.
func (in *inputs) fresh() (*chart.Chart, error) {
	ch, err := in.src.chart()
	if err != nil {
		return nil, err
	}
	return ch, noteSecrets(ch, in.hidden)
}

// deploy installs or upgrades the release and waits until it is ready.
func (x *Executor) deploy(ctx context.Context, step sdk.Step, out sdk.Events) error {
	s, err := readSettings(step)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	ses, err := x.open(limited, step, s, out)
	if err != nil {
		return err
	}
	var in *inputs
	var past []*release.Release
	// The chart comes from elsewhere than the cluster, and neither needs the
	// other yet.
	group, side := errgroup.WithContext(limited)
	group.Go(func() (err error) {
		if in, err = x.gather(side, s, step); err != nil {
			return err
		}
		return in.stillAgreed(step)
	})
	group.Go(func() (err error) {
		if _, err = ses.cluster.Reach(side); err != nil {
			return err
		}
		if err = ses.space().Ensure(side, s.CreateNamespace); err != nil {
			return err
		}
		if past, err = ses.history(side); err != nil {
			return err
		}
		if err = ses.refuseRelease(past, step); err != nil {
			return err
		}
		return ses.overData(side, past, step)
	})
	if err := group.Wait(); err != nil {
		return timedOut(limited, ctx, err)
	}
	for _, note := range in.notes {
		ses.kube.out.Log(note)
	}
	ses.kube.mask.LearnValues(in.values)
	ses.records.pinner = x.newPinner(limited, s, step.Agreed)
	rel, err := ses.bring(limited, step, in, past)
	if err != nil {
		return timedOut(limited, ctx, ses.kube.failed(err))
	}
	if ses.records.pinner != nil {
		for _, note := range ses.records.pinner.notes() {
			ses.kube.out.Log(note)
		}
	}
	if ses.held != nil || step.Verb == sdk.Restore {
		if err := ses.forget(limited); err != nil {
			return timedOut(limited, ctx, err)
		}
	}
	return ses.tellOutputs(limited, rel)
}

// timedOut keeps the step's own limit apart from somebody's cancelling it.
func timedOut(limited, outer context.Context, err error) error {
	if _, told := errors.AsType[*sdk.Error](err); told || err == nil {
		return err
	}
	if outer.Err() == nil && limited.Err() != nil {
		return &sdk.Error{Fault: sdk.FaultDownstream, Msg: "The step did not end within its `timeout`. Look at the log of the run, or give it more time.", Err: err}
	}
	return err
}

// bring makes the release what in says, from whatever state it is in.
func (s *session) bring(ctx context.Context, step sdk.Step, in *inputs, past []*release.Release) (*release.Release, error) {
	labels := releaseLabels(step, in)
	if rel := last(past); rel != nil && s.alreadyDone(ctx, rel, labels) {
		s.kube.out.Log(fmt.Sprintf("release %s is at revision %d already, made by this very step", rel.Name, rel.Version))
		return rel, nil
	}
	if len(past) > 0 && !releaseOwner(past).Known() {
		s.kube.out.Log("release " + s.settings.Release + " was not made by Berth, and is taken over")
	}
	past, err := s.recover(ctx, past)
	if err != nil {
		return nil, err
	}
	ch, err := in.fresh()
	if err != nil {
		return nil, err
	}
	caps, err := capabilities(ctx, s.cluster)
	if err != nil {
		return nil, err
	}
	cfg := s.helm(ctx)
	if len(ch.CRDObjects()) == 0 {
		cfg.Capabilities = caps // else Helm asks again, once the chart's own kinds are there
	}
	values, _ := kube.CopyValue(in.values).(map[string]any)
	s.kube.unsettled = s.unsettled(past)
	var rel *release.Release
	// Helm is not given ctx: it would return while its work goes on. The client
	// below it ends that work with ctx, and the record is then still written.
	if !everDeployed(past) {
		s.kube.out.Log(fmt.Sprintf("installing chart %s %s as release %s", ch.Name(), ch.Metadata.Version, s.settings.Release))
		a := action.NewInstall(cfg)
		a.ReleaseName, a.Namespace, a.Labels = s.settings.Release, s.namespace, labels
		a.Wait, a.WaitForJobs, a.Timeout = s.settings.Wait, true, s.settings.Timeout
		a.PostRenderer = s.postRenderer()
		a.Replace = true // a first install that failed is tried again, hooks included
		a.SkipSchemaValidation, a.DisableOpenAPIValidation = true, true
		rel, err = a.RunWithContext(context.WithoutCancel(ctx), ch, values)
	} else {
		s.kube.out.Log(fmt.Sprintf("upgrading release %s to chart %s %s", s.settings.Release, ch.Name(), ch.Metadata.Version))
		a := action.NewUpgrade(cfg)
		a.Namespace, a.Labels, a.MaxHistory, a.ResetValues = s.namespace, labels, maxHistory, true
		if isArchive(last(past)) {
			a.Labels[labelArchived] = "null" // Helm takes over the labels of the revision before, but for these
		}
		a.Wait, a.WaitForJobs, a.Timeout = s.settings.Wait, true, s.settings.Timeout
		a.SkipSchemaValidation, a.DisableOpenAPIValidation = true, true
		a.PostRenderer = s.postRenderer()
		rel, err = a.RunWithContext(context.WithoutCancel(ctx), s.settings.Release, ch, values)
	}
	if err != nil {
		return nil, renderFailure(s.kube.failed(err))
	}
	return rel, s.sweep(past, rel)
}

// postRenderer is what Helm passes a chart's manifest through, nil for nothing.
func (s *session) postRenderer() postrender.PostRenderer {
	if s.records.pinner == nil {
		return nil // not the pointer, which would be a post-renderer that is nil
	}
	return s.records.pinner
}

// renderFailure tells a template's failure from the cluster's.
func renderFailure(err error) error {
	text := err.Error()
	if strings.Contains(text, "execution error at") || strings.Contains(text, "template: ") || strings.Contains(text, "parse error at") {
		return templateError(err)
	}
	return err
}

// alreadyDone tells whether rel is what this step made, and is in order.
func (s *session) alreadyDone(ctx context.Context, rel *release.Release, labels map[string]string) bool {
	if rel.Info.Status != release.StatusDeployed || rel.Labels[labelStep] != labels[labelStep] || rel.Labels[labelInputs] != labels[labelInputs] {
		return false
	}
	if !s.settings.Wait {
		return true
	}
	found, err := s.look(ctx, manifestOf(rel))
	return err == nil && found.Health() == sdk.Healthy
}

// releaseLabels mark a release with whose it is and which step made it.
func releaseLabels(step sdk.Step, in *inputs) map[string]string {
	h := sha256.New()
	for _, part := range []string{in.src.digest, in.digest, step.Commit} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	labels := kube.StepOwner(step).Labels()
	labels[labelStep], labels[labelInputs] = kube.StepLabel(step.ID), hex.EncodeToString(h.Sum(nil)[:16])
	return labels
}

// tellOutputs says what parts that need this one can use.
func (s *session) tellOutputs(ctx context.Context, rel *release.Release) error {
	out := s.kube.out
	out.Output("release", rel.Name)
	out.Output("namespace", s.namespace)
	out.Output("revision", strconv.Itoa(rel.Version))
	objects := manifestOf(rel)
	if host := serviceHost(objects, rel.Name, s.namespace); host != "" {
		out.Output("service", host)
	}
	found, err := s.look(ctx, objects)
	if err != nil {
		return err
	}
	if links := s.cluster.Links(ctx, found, s.settings.URL, s.kube.mask); len(links) > 0 {
		out.Output("url", links[0].URL)
	}
	return nil
}

// serviceHost is the name inside the cluster of the release's main Service: the
// one named as the release, else the first that is not headless.
func serviceHost(objects []*unstructured.Unstructured, releaseName, namespace string) string {
	best := ""
	for _, o := range objects {
		if o.GetKind() != "Service" || o.GroupVersionKind().Group != "" {
			continue
		}
		if ip, _, _ := unstructured.NestedString(o.Object, "spec", "clusterIP"); ip == "None" {
			continue
		}
		ns := o.GetNamespace()
		if ns == "" {
			ns = namespace
		}
		host := o.GetName() + "." + ns + ".svc"
		if o.GetName() == releaseName {
			return host
		}
		if best == "" {
			best = host
		}
	}
	return best
}

func last(past []*release.Release) *release.Release {
	if len(past) == 0 {
		return nil
	}
	return past[len(past)-1]
}

// everDeployed tells whether any revision got as far as being deployed.
func everDeployed(past []*release.Release) bool {
	return slices.ContainsFunc(past, func(r *release.Release) bool {
		return r.Info.Status == release.StatusDeployed || r.Info.Status == release.StatusSuperseded
	})
}
