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

// mostStackName is the longest name of a stack, in characters.
// Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
const mostStackName = 128

// stackKind is a CloudFormation stack: whatever a template can say.
func stackKind() kind {
	return kind{
		name: "stack", title: "CloudFormation stack",
		schema: object("A CloudFormation stack. Its outputs become the part's.", map[string]any{
			"template":     map[string]any{"type": []any{"object", "string"}, "description": "The template, as it is or as text."},
			"path":         text("The template's file, in place of `template`."),
			"parameters":   texts("The template's parameters.", map[string]any{"type": []any{"string", "number", "boolean"}}),
			"secrets":      texts("Parameters whose values are looked up. The template has them as NoEcho.", sdk.SecretSchema()),
			"capabilities": list("What the template may do; settings have to allow it.", choice("A capability.", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND")),
		}),
		open: openStack, list: listStacks,
	}
}

// stack is the thing that the kind opens.
type stack struct {
	s    *session
	name string
	stackSettings
	text string // of the template
	tmpl template
	refs map[string]sdk.SecretRef // by parameter
	// told are the events that were passed on as lines. It decides nothing: a step
	// that is carried on after a crash tells them once more.
	told map[string]bool
}

type stackSettings struct {
	Template     any            `json:"template"`
	Path         string         `json:"path"`
	Parameters   map[string]any `json:"parameters"`
	Secrets      map[string]any `json:"secrets"`
	Capabilities []string       `json:"capabilities"`
}

func openStack(s *session, in input) (thing, error) {
	t := &stack{s: s, name: s.name(mostStackName), refs: map[string]sdk.SecretRef{}, told: map[string]bool{}}
	if err := strict(in.settings, &t.stackSettings, "`stack` of an aws part"); err != nil {
		return nil, err
	}
	if in.name != "" {
		t.name = in.name
	}
	if in.settings == nil || s.step.Verb == sdk.Cleanup { // which needs no template, and may have none any more
		return t, nil
	}
	for _, c := range t.Capabilities {
		if !slices.Contains(s.capabilities, c) {
			return nil, sdk.Invalid("`stack` asks for %s, which the aws executor's settings do not allow: have it added to `capabilities` there.", clip(c, 60))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.Secrets)) {
		ref, err := sdk.SecretOf(t.Secrets[key], "the parameter "+key+" of `stack`")
		if err != nil {
			return nil, err
		}
		t.refs[key] = ref
	}
	var err error
	if t.text, err = readTemplateText(t.Template, t.Path); err != nil {
		return nil, err
	}
	if t.tmpl, err = parseTemplate(t.text); err != nil {
		return nil, err
	}
	return t, t.checkParameters()
}

// checkParameters refuses what the template does not have, and a secret that it
// would show.
func (t *stack) checkParameters() error {
	for _, key := range slices.Sorted(maps.Keys(t.Parameters)) {
		if _, both := t.refs[key]; both {
			return sdk.Invalid("The parameter %q of `stack` is there twice: it is plain or looked up.", clip(key, 60))
		}
		if _, ok := t.tmpl.parameters[key]; !ok {
			return sdk.Invalid("The template of `stack` has no parameter %q.", clip(key, 60))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.refs)) {
		if p, ok := t.tmpl.parameters[key]; !ok || !p.noEcho {
			return sdk.Invalid("The template of `stack` has no parameter %q with `NoEcho: true`, which a secret needs: AWS shows all others.", clip(key, 60))
		}
	}
	return nil
}

func (s *session) cloudFormation() *cloudformation.Client {
	return clientOf(s, "cloudformation", func(c awssdk.Config) *cloudformation.Client { return cloudformation.NewFromConfig(c) })
}

func (t *stack) title() string { return fmt.Sprintf("CloudFormation stack %q", t.name) }

func noStack(err error) bool {
	return isCode(err, "ValidationError") && strings.Contains(saidBy(err), "does not exist")
}

// get is the stack as AWS has it, nil when there is none.
func (t *stack) get(ctx context.Context) (*types.Stack, error) {
	out, err := t.s.cloudFormation().DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &t.name})
	if noStack(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(out.Stacks) == 0 || out.Stacks[0].StackStatus == types.StackStatusDeleteComplete {
		return nil, nil
	}
	return &out.Stacks[0], nil
}

func stackTags(tags []types.Tag) map[string]string {
	return tagMap(tags, func(t types.Tag) (k, v *string) { return t.Key, t.Value })
}

func (t *stack) asTags() []types.Tag {
	return tagList(t.s.tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

// token is the client token of one act of this step. AWS tells it with the events
// of what the act came to, so that a step that is carried on knows its own.
func (t *stack) token(act string) string {
	return t.s.owner.token("stack", t.name, t.s.step.ID, act, digestOf(t.text))
}

// values are the parameters as AWS takes them; without secrets those are left
// out, as in a plan.
func (t *stack) values(ctx context.Context, secrets bool) ([]types.Parameter, error) {
	all := map[string]string{}
	for key, value := range t.Parameters {
		all[key] = parameterText(value)
	}
	if secrets {
		for _, key := range slices.Sorted(maps.Keys(t.refs)) {
			value, err := t.s.value(ctx, t.refs[key])
			if err != nil {
				return nil, err
			}
			all[key] = value
		}
	}
	var out []types.Parameter
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := all[key]
		out = append(out, types.Parameter{ParameterKey: &key, ParameterValue: &value})
	}
	return out, nil
}

func (t *stack) capable() []types.Capability {
	var out []types.Capability
	for _, c := range t.Capabilities {
		out = append(out, types.Capability(c))
	}
	return out
}

func (t *stack) deploy(ctx context.Context) (progress, error) {
	there, err := t.get(ctx)
	if err != nil {
		return progress{}, err
	}
	if there == nil {
		return t.create(ctx)
	}
	if err := t.s.refuse(t.title(), stackTags(there.Tags)); err != nil {
		return progress{}, err
	}
	status := string(there.StackStatus)
	last, err := t.lastAct(ctx)
	if err != nil {
		return progress{}, err
	}
	own := last.token != "" && (last.token == t.token("create") || last.token == t.token("update"))
	switch {
	case status == string(types.StackStatusReviewInProgress): // a change set of somebody's, and nothing else
		return t.begin(ctx, t.delete)
	case strings.HasSuffix(status, "_IN_PROGRESS"):
		return t.follow(status, last), nil
	case own && strings.HasSuffix(status, "_COMPLETE") && !strings.Contains(status, "ROLLBACK"):
		at := t.follow(status, last)
		at.done = true
		return at, nil
	case own || last.token == t.token("delete"):
		return t.follow(status, last), t.failed(there, last)
	case slices.Contains([]string{"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}, status):
		// It never came to be, or is half gone: CloudFormation updates no such stack.
		return t.begin(ctx, t.delete)
	case status == string(types.StackStatusUpdateRollbackFailed):
		return progress{}, sdk.Downstream("The %s could not be brought back after an update (%s). Put right what holds it, have it go on with `aws cloudformation continue-update-rollback --stack-name %s`, and deploy again.",
			t.title(), clip(oneLine(awssdk.ToString(there.StackStatusReason)), 300), t.name)
	}
	return t.update(ctx, there)
}

// begin does what starts something, which is then followed.
func (t *stack) begin(ctx context.Context, start func(context.Context) error) (progress, error) {
	if err := start(ctx); err != nil {
		return progress{}, err
	}
	return waiting("%s is worked on", t.title())
}

func (t *stack) create(ctx context.Context) (progress, error) {
	values, err := t.values(ctx, true)
	if err != nil {
		return progress{}, err
	}
	_, err = t.s.cloudFormation().CreateStack(ctx, &cloudformation.CreateStackInput{
		StackName: &t.name, TemplateBody: &t.text, Parameters: values, Capabilities: t.capable(), Tags: t.asTags(), ClientRequestToken: awssdk.String(t.token("create")),
	})
	if err != nil && !isCode(err, "AlreadyExistsException") {
		return progress{}, t.refused(err)
	}
	return waiting("%s is created", t.title())
}

// update has CloudFormation look for what is different, where that cannot be
// told from here: it shows no NoEcho parameter.
func (t *stack) update(ctx context.Context, there *types.Stack) (progress, error) {
	diff, err := t.differences(ctx, there)
	if err != nil {
		return progress{}, err
	}
	if len(diff.lines) == 0 && len(t.refs) == 0 {
		return finished()
	}
	values, err := t.values(ctx, true)
	if err != nil {
		return progress{}, err
	}
	_, err = t.s.cloudFormation().UpdateStack(ctx, &cloudformation.UpdateStackInput{
		StackName: &t.name, TemplateBody: &t.text, Parameters: values, Capabilities: t.capable(), Tags: t.asTags(), ClientRequestToken: awssdk.String(t.token("update")),
	})
	switch {
	case isCode(err, "ValidationError") && strings.Contains(saidBy(err), "No updates"):
		return finished()
	case isCode(err, "ValidationError") && strings.Contains(saidBy(err), "can not be updated"): // somebody was faster
		return waiting("%s is worked on", t.title())
	case err != nil:
		return progress{}, t.refused(err)
	}
	return waiting("%s is updated", t.title())
}

// refused is err in the words of the part's settings.
func (t *stack) refused(err error) error {
	switch {
	case isCode(err, "InsufficientCapabilitiesException", "InsufficientCapabilities"):
		return &sdk.Error{Fault: sdk.FaultInvalid, Err: err, Msg: "The template of the " + t.title() + " makes IAM resources or uses macros: name that in `capabilities` of `stack`, which settings have to allow (" + clip(oneLine(saidBy(err)), 200) + ")."}
	case isCode(err, "ValidationError"):
		return &sdk.Error{Fault: sdk.FaultInvalid, Err: err, Msg: "CloudFormation refused the " + t.title() + ": " + clip(oneLine(saidBy(err)), 400) + "."}
	}
	return err
}

func (t *stack) delete(ctx context.Context) error {
	_, err := t.s.cloudFormation().DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: &t.name, ClientRequestToken: awssdk.String(t.token("delete"))})
	if noStack(err) {
		return nil
	}
	return err
}

// remove deletes the stack. What its template retains stays, and is named.
func (t *stack) remove(ctx context.Context) (progress, error) {
	there, err := t.get(ctx)
	if err != nil || there == nil || !t.s.mine(stackTags(there.Tags)) {
		return progress{done: err == nil}, err
	}
	last, err := t.lastAct(ctx)
	if err != nil {
		return progress{}, err
	}
	status := string(there.StackStatus)
	switch {
	case awssdk.ToBool(there.EnableTerminationProtection):
		return progress{}, t.protected()
	case status == "DELETE_FAILED" && last.token == t.token("delete"):
		return t.follow(status, last), t.failed(there, last)
	case strings.HasSuffix(status, "_IN_PROGRESS") && status != "CREATE_IN_PROGRESS" && status != "REVIEW_IN_PROGRESS":
		return t.follow(status, last), nil
	}
	return t.begin(ctx, t.delete)
}

func (t *stack) protected() error {
	return sdk.Invalid("The %s is protected against its deletion. If it may go, run `aws cloudformation update-termination-protection --no-enable-termination-protection --stack-name %s` and clean up again.", t.title(), t.name)
}

func (t *stack) outputs(ctx context.Context) (map[string]string, error) {
	there, err := t.get(ctx)
	if err != nil {
		return nil, err
	}
	if there == nil {
		return nil, vanished(t.title())
	}
	out := map[string]string{"name": t.name, "arn": awssdk.ToString(there.StackId)}
	for _, one := range there.Outputs {
		if key := awssdk.ToString(one.OutputKey); !t.tmpl.secret(key) {
			out[key] = awssdk.ToString(one.OutputValue)
		}
	}
	return out, nil
}

func (t *stack) observe(ctx context.Context) (report, error) {
	there, err := t.get(ctx)
	switch {
	case err != nil:
		return report{}, err
	case there == nil:
		return report{health: sdk.Absent}, nil
	case !t.s.mine(stackTags(there.Tags)):
		return t.s.reportOf(t.title(), standing{there: true, tags: stackTags(there.Tags)}), nil
	}
	status := string(there.StackStatus)
	r := report{facts: []sdk.Fact{{Name: "stack", Text: status}}}
	switch {
	case strings.HasSuffix(status, "_FAILED"), status == "ROLLBACK_COMPLETE":
		r.health, r.text = sdk.Unhealthy, "The "+t.title()+" is "+status+": "+clip(oneLine(awssdk.ToString(there.StackStatusReason)), 300)+"."
	case strings.HasSuffix(status, "_IN_PROGRESS"):
		r.health, r.text = sdk.Degraded, "The "+t.title()+" is "+status+"."
	}
	return r, nil
}

// listStacks finds stacks by their tags. What a stack made has its tags as well,
// and is the stack's.
func listStacks(ctx context.Context, s *session) ([]found, error) {
	var out []found
	pages := cloudformation.NewDescribeStacksPaginator(s.cloudFormation(), &cloudformation.DescribeStacksInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Stacks {
			tags := stackTags(one.Tags)
			if one.StackStatus != types.StackStatusDeleteComplete && one.ParentId == nil && s.ours(tags) {
				out = append(out, found{name: awssdk.ToString(one.StackName), owner: tagsOwner(tags), createdAt: awssdk.ToTime(one.CreationTime)})
			}
		}
	}
	return out, nil
}
