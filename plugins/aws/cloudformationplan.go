package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"

	"github.com/berth-dev/berth/plugins/sdk"
)

// plan says what becomes of the stack's resources, by comparing templates: a
// change set would say more, but making one changes something.
func (t *stack) plan(ctx context.Context, verb sdk.Verb) (proposal, error) {
	there, err := t.get(ctx)
	if err != nil {
		return proposal{}, err
	}
	if verb == sdk.Cleanup {
		return t.planCleanup(ctx, there)
	}
	inputs := map[string]string{"stack template": digestOf(t.text)}
	if there == nil {
		p, err := t.s.propose(verb, "CloudFormation stack", t.name, "", standing{})
		for _, name := range t.tmpl.resourceNames() {
			p.add("+", t.tmpl.resources[name].kind, name, sdk.ChangeCreate, false)
		}
		p.inputs = inputs
		return p, err
	}
	if err := t.s.refuse(t.title(), stackTags(there.Tags)); err != nil || verb != sdk.Deploy {
		return proposal{}, err
	}
	p, err := t.differences(ctx, there)
	p.inputs = inputs
	if len(t.refs) > 0 {
		p.lines = append(p.lines, "  "+t.title()+" gets the present values of its secrets, which AWS does not show")
	}
	return p, err
}

// add is one resource of the stack.
func (p *proposal) add(sign, kind, name string, change sdk.Change, destructive bool) {
	p.lines = append(p.lines, fmt.Sprintf("%s %s %q", sign, kind, name))
	p.resources = append(p.resources, sdk.Resource{Kind: kind, Name: name, Change: change, Destructive: destructive})
}

// differences are what an update would change. Nothing of a NoEcho parameter.
func (t *stack) differences(ctx context.Context, there *types.Stack) (proposal, error) {
	var p proposal
	out, err := t.s.cloudFormation().GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &t.name, TemplateStage: types.TemplateStageOriginal})
	if err != nil {
		return p, err
	}
	text := awssdk.ToString(out.TemplateBody)
	old, err := parseTemplate(text)
	if err != nil {
		old = template{} // made by hand, or of a stack that never came to be: all of it is other
	}
	for _, name := range t.tmpl.resourceNames() {
		was, ok := old.resources[name]
		switch now := t.tmpl.resources[name]; {
		case !ok:
			p.add("+", now.kind, name, sdk.ChangeCreate, false)
		case was.kind != now.kind: // which takes the old one away
			p.add("~", now.kind, name, sdk.ChangeUpdate, !was.keeps)
		case was.digest != now.digest: // some properties take a new thing, which CloudFormation decides
			p.add("~", now.kind, name, sdk.ChangeUpdate, false)
		}
	}
	for _, name := range old.resourceNames() {
		if _, ok := t.tmpl.resources[name]; !ok {
			p.add("-", old.resources[name].kind, name, sdk.ChangeDelete, !old.resources[name].keeps)
		}
	}
	var what []string
	if len(p.lines) == 0 && strings.TrimSpace(text) != strings.TrimSpace(t.text) {
		what = append(what, "gets another template")
	}
	if names := t.otherParameters(there); len(names) > 0 {
		what = append(what, "gets other parameters: "+listed(names))
	}
	if !t.s.tagged(stackTags(there.Tags)) {
		what = append(what, "gets other tags")
	}
	if len(what) > 0 {
		p.lines = append(p.lines, "~ "+t.title()+" "+listed(what))
	}
	if len(p.lines) > 0 {
		p.resources = append(p.resources, sdk.Resource{Kind: "CloudFormation stack", Name: t.name, Change: sdk.ChangeUpdate})
	}
	return p, nil
}

// otherParameters are the names of parameters that would have other values.
func (t *stack) otherParameters(there *types.Stack) []string {
	have := map[string]string{}
	for _, p := range there.Parameters {
		have[awssdk.ToString(p.ParameterKey)] = awssdk.ToString(p.ParameterValue)
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(t.tmpl.parameters)) {
		spec := t.tmpl.parameters[name]
		want := spec.initial
		if v, ok := t.Parameters[name]; ok {
			want = parameterText(v)
		}
		if old, ok := have[name]; !spec.noEcho && (!ok || old != want) {
			out = append(out, name)
		}
	}
	return out
}

// planCleanup names each resource that goes, and those that stay.
func (t *stack) planCleanup(ctx context.Context, there *types.Stack) (proposal, error) {
	var p proposal
	if there == nil || !t.s.mine(stackTags(there.Tags)) {
		return p, nil
	}
	if awssdk.ToBool(there.EnableTerminationProtection) {
		return p, t.protected()
	}
	var old template
	if out, err := t.s.cloudFormation().GetTemplate(ctx, &cloudformation.GetTemplateInput{StackName: &t.name, TemplateStage: types.TemplateStageOriginal}); err == nil {
		if old, err = parseTemplate(awssdk.ToString(out.TemplateBody)); err != nil {
			old = template{}
		}
	} else if !noStack(err) {
		return p, err
	}
	p.add("-", "CloudFormation stack", t.name, sdk.ChangeDelete, false)
	pages := cloudformation.NewListStackResourcesPaginator(t.s.cloudFormation(), &cloudformation.ListStackResourcesInput{StackName: &t.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if noStack(err) {
			break
		}
		if err != nil {
			return p, err
		}
		for _, one := range page.StackResourceSummaries {
			name, kind := awssdk.ToString(one.LogicalResourceId), awssdk.ToString(one.ResourceType)
			if old.resources[name].keeps {
				p.lines = append(p.lines, fmt.Sprintf("  %s %q: its DeletionPolicy keeps it or its data, as %s", kind, name, awssdk.ToString(one.PhysicalResourceId)))
				continue
			}
			p.add("-", kind, name, sdk.ChangeDelete, true)
		}
	}
	return p, nil
}
