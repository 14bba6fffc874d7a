package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// rendering is what a chart's templates give.
type rendering struct {
	objects []*unstructured.Unstructured
	hooks   []*unstructured.Unstructured // but for those of `helm test` alone
}

// render runs the chart's templates against the cluster, as an install or
// upgrade would, and changes nothing. The chart is used up by it.
func render(ctx context.Context, cl *kube.Cluster, ch *chart.Chart, values map[string]any, o chartutil.ReleaseOptions) (*rendering, error) {
	caps, err := capabilities(ctx, cl)
	if err != nil {
		return nil, err
	}
	if want := ch.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, caps.KubeVersion.String()) {
		return nil, sdk.Invalid("The chart %q is for Kubernetes %s, and the cluster has %s.", ch.Name(), kube.Clip(want, 60), caps.KubeVersion.String())
	}
	if err := chartutil.ProcessDependenciesWithMerge(ch, values); err != nil {
		return nil, valuesError(err)
	}
	top, err := chartutil.ToRenderValuesWithSchemaValidation(ch, values, o, caps, true)
	if err != nil {
		return nil, valuesError(err)
	}
	type answer struct {
		files map[string]string
		err   error
	}
	// Templates can run for as long as they like and take no context.
	answers := make(chan answer, 1)
	go func() {
		files, err := engine.New(cl.Config(ctx)).Render(ch, top)
		answers <- answer{files, err}
	}()
	var files map[string]string
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case a := <-answers:
		if a.err != nil {
			return nil, templateError(a.err)
		}
		files = a.files
	}
	for name := range files {
		if path.Base(name) == "NOTES.txt" {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, caps.APIVersions, releaseutil.InstallOrder)
	if err != nil {
		return nil, templateError(err)
	}
	var b strings.Builder
	for _, m := range manifests {
		fmt.Fprintf(&b, "---\n# Source: %s\n%s\n", m.Name, m.Content)
	}
	r := &rendering{}
	if r.objects, err = parseManifest(b.String()); err != nil {
		return nil, templateError(err)
	}
	for _, h := range hooks {
		if testsOnly(h) {
			continue
		}
		objects, err := parseManifest(h.Manifest)
		if err != nil {
			return nil, templateError(err)
		}
		r.hooks = append(r.hooks, objects...)
	}
	return r, nil
}

// templatePlace finds the place and the cause in what text/template and sprig
// say, which is a chain with one link for every template on the way.
var templatePlace = regexp.MustCompile(`([\w./-]+/templates/[\w./-]+):(\d+)`)

// templateError says which template failed and why: the last link of the chain.
func templateError(err error) error {
	text := kube.OneLine(err)
	cause := text
	for _, mark := range []string{"error calling fail: ", "error calling required: ", "error calling "} {
		if i := strings.LastIndex(text, mark); i >= 0 {
			cause = text[i+len(mark):]
			break
		}
	}
	if cause == text {
		if i := strings.LastIndex(text, ">: "); i >= 0 {
			cause = text[i+3:]
		}
	}
	where := ""
	if m := templatePlace.FindStringSubmatch(text); m != nil {
		where = fmt.Sprintf(" (%s, line %s)", kube.Clip(m[1], 120), m[2])
	}
	return &sdk.Error{
		Fault: sdk.FaultInvalid,
		Msg:   fmt.Sprintf("The chart cannot be rendered with these values%s: %s. Correct the values, or the chart.", where, kube.Redact(kube.Clip(cause, 500))),
		Err:   err,
	}
}

func valuesError(err error) error {
	return &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The values do not fit the chart: " + kube.Redact(kube.Clip(kube.OneLine(err), 500)) + ".", Err: err}
}

// checkSchema holds the values against the chart's values.schema.json and those
// of its subcharts. Helm's own check would follow references in a schema to any
// file or address, and schemas come from applications' repositories.
func checkSchema(src *source, values map[string]any) error {
	ch, err := src.chart()
	if err != nil {
		return err
	}
	values, _ = kube.CopyValue(values).(map[string]any)
	// Leaves out the subcharts that are turned off.
	if err := chartutil.ProcessDependenciesWithMerge(ch, values); err != nil {
		return valuesError(err)
	}
	whole, err := chartutil.CoalesceValues(ch, values)
	if err != nil {
		return valuesError(err)
	}
	var faults []string
	if err := schemaFaults(ch, whole.AsMap(), "", &faults); err != nil {
		return err
	}
	if len(faults) == 0 {
		return nil
	}
	const most = 5
	if n := len(faults); n > most {
		faults = append(faults[:most], fmt.Sprintf("and %d more", n-most))
	}
	return sdk.Invalid("The values do not fit the chart %q: %s. Correct them in the part's `values`, the app's `vars` or `--set`.", ch.Name(), kube.Redact(strings.Join(faults, "; ")))
}

func schemaFaults(ch *chart.Chart, values map[string]any, prefix string, faults *[]string) error {
	if ch.Schema != nil {
		if err := validateOne(ch, values, prefix, faults); err != nil {
			return err
		}
	}
	for _, sub := range ch.Dependencies() {
		inner, ok := values[sub.Name()].(map[string]any)
		if !ok {
			continue
		}
		if err := schemaFaults(sub, inner, prefix+sub.Name()+".", faults); err != nil {
			return err
		}
	}
	return nil
}

func validateOne(ch *chart.Chart, values map[string]any, prefix string, faults *[]string) error {
	broken := func(err error) error {
		return &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The values.schema.json of the chart %q cannot be used: %s.", ch.Name(), kube.Clip(kube.OneLine(err), 300)), Err: err}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(ch.Schema))
	if err != nil {
		return broken(err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	const name = "file:///values.schema.json"
	if err := c.AddResource(name, doc); err != nil {
		return broken(err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return broken(err)
	}
	// Through JSON: values may hold any of Go's types of numbers.
	data, err := json.Marshal(values)
	if err != nil {
		return valuesError(err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return valuesError(err)
	}
	err = compiled.Validate(plain)
	if wrong, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		collectFaults(wrong, prefix, faults)
		return nil
	}
	return err
}

// noLoader refuses to follow references out of a schema.
type noLoader struct{}

func (noLoader) Load(address string) (any, error) {
	return nil, fmt.Errorf("it refers to %s, and only references inside it are followed", kube.Clip(address, 120))
}

var english = message.NewPrinter(language.English)

// collectFaults takes the leaves: the branches only say that a leaf failed.
func collectFaults(e *jsonschema.ValidationError, prefix string, faults *[]string) {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			collectFaults(cause, prefix, faults)
		}
		return
	}
	at := prefix + strings.Join(e.InstanceLocation, ".")
	if at == "" {
		at = "the values"
	}
	*faults = append(*faults, kube.Clip(at, 120)+": "+kube.Clip(e.ErrorKind.LocalizedString(english), 200))
}
