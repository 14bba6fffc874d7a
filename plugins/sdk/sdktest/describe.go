package sdktest

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/proto"

	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
	"github.com/berth-dev/berth/plugins/sdk"
)

var (
	// namePattern is what Berth takes for an executor's name.
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9]$`)
	// versionPattern is the start of a semantic version. Source: semver.org 2.0.0.
	versionPattern = regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-+].*)?$`)
)

func (b *bench) describe(t *testing.T) {
	d, err := b.client.Describe(b.context(t), &executorv1.DescribeRequest{})
	if err != nil {
		t.Fatalf("Describe: %v", err)
	}
	for what, x := range map[string]*client{"the second time": b.client, "after another start": connect(t, b.Suite, b.seen)} {
		again, err := x.Describe(b.context(t), &executorv1.DescribeRequest{})
		if err != nil || !proto.Equal(d, again) {
			t.Errorf("Describe says something else %s: %v, %v, error %v", what, d, again, err)
		}
	}
	b.seen.text("Describe", fmt.Sprint(d))
	if !namePattern.MatchString(d.GetName()) {
		t.Errorf("the name %q is none: 2 to 40 of a-z, 0-9 and \"-\", a letter first", d.GetName())
	}
	if !versionPattern.MatchString(d.GetVersion()) {
		t.Errorf("the version %q is not a semantic one, such as 1.2.3", d.GetVersion())
	}
	b.about = d
	for _, v := range d.GetVerbs() {
		for name, w := range wireVerbs {
			if w != v {
				continue
			}
			if b.can(name) {
				t.Errorf("the verb %s is described twice", name)
			}
			b.description.Verbs = append(b.description.Verbs, name)
		}
	}
	if !b.can(sdk.Deploy) || !b.can(sdk.Cleanup) {
		t.Errorf("an executor deploys and cleans up; this one describes %v", b.description.Verbs)
	}
	step := wire(t, b.Step)
	if d.GetSchema() != nil {
		schema, err := compile(d.GetSchema().AsMap())
		if err != nil {
			t.Fatalf("the schema is not a JSON Schema: %v", err)
		}
		if err := schema.Validate(step.GetWith().AsMap()); err != nil {
			t.Errorf("the schema refuses the suite's own settings: %v", err)
		}
	}
	if d.GetSettingsSchema() == nil {
		if len(b.Step.Settings) > 0 {
			t.Error("the suite's step has settings of the executor, and the executor describes no schema of them, which says that it takes none")
		}
		return
	}
	schema, err := compile(d.GetSettingsSchema().AsMap())
	if err != nil {
		t.Fatalf("the schema of the executor's settings is not a JSON Schema: %v", err)
	}
	if err := schema.Validate(step.GetSettings().AsMap()); err != nil {
		t.Errorf("the schema of the executor's settings refuses those of the suite: %v", err)
	}
	b.settings = schema
}

func compile(s map[string]any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(noLoader{})
	if err := c.AddResource("executor:with", s); err != nil {
		return nil, err
	}
	return c.Compile("executor:with")
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s; a schema has to stand for itself", url)
}
