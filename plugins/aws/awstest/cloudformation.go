package awstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var stackOps = map[string]func(*call) (params, *apiError){
	"CreateStack": createStack, "UpdateStack": updateStack, "DeleteStack": deleteStack, "DescribeStacks": describeStacks,
	"DescribeStackEvents": stackEvents, "ListStackResources": stackResources, "GetTemplate": getTemplate,
	"ValidateTemplate": validateTemplate, "UpdateTerminationProtection": protectStack, "ContinueUpdateRollback": continueRollback,
}

// stackName is what a stack may be called.
// Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
var stackName = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)

// maxTemplate is how long a template in a request may be, in bytes.
// Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const maxTemplate = 51200

// asked is what a call wants of a stack, in a form that two can be compared by.
type asked struct {
	Text   string
	Params map[string]string
	Tags   map[string]string
	tmpl   *template
}

func (c *call) asked(old *thing) (asked, *apiError) {
	a := asked{Text: c.in.str("TemplateBody"), Tags: tagsOf(c.in, "Tags")}
	was := asked{}
	if old != nil {
		was, _ = old.hidden["asked"].(asked)
		if c.in.flag("UsePreviousTemplate") {
			a.Text = was.Text
		}
		if !c.in.has("Tags") {
			a.Tags = was.Tags
		}
	}
	if a.Text == "" || len(a.Text) > maxTemplate {
		return a, fail("ValidationError", "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to %d and greater than 0", maxTemplate)
	}
	var err *apiError
	if a.tmpl, err = readTemplate(a.Text); err != nil {
		return a, err
	}
	if a.Params, err = a.tmpl.parameters(c.in.subs("Parameters"), was.Params); err != nil {
		return a, err
	}
	for _, need := range a.tmpl.capabilities() {
		have := c.in.strs("Capabilities")
		if !slices.Contains(have, need) && (need != "CAPABILITY_IAM" || !slices.Contains(have, "CAPABILITY_NAMED_IAM")) {
			return a, fail("InsufficientCapabilitiesException", "Requires capabilities : [%s]", need)
		}
	}
	return a, nil
}

// stack is one by its name or, gone ones included, by its ID.
func (c *call) stack(name string) *thing {
	if th := c.find("stack", name); th != nil {
		return th
	}
	for _, kind := range []string{"stack", "deleted-stack"} {
		for _, th := range c.all(kind) {
			if th.arn == name {
				return th
			}
		}
	}
	return nil
}

// token tells whether a call with the same token was done already, and refuses
// one that was used for something else.
func (c *call) token(stack string) (again bool, err *apiError) {
	token := c.in.str("ClientRequestToken")
	if token == "" {
		return false, nil
	}
	data, e := json.Marshal(c.in)
	if e != nil {
		return false, fail("InternalFailure", "%v", e)
	}
	key, use := strings.Join([]string{c.account, c.region, stack, token}, "/"), c.op+string(data)
	old, used := c.s.tokens[key]
	if used && old != use {
		return false, fail("TokenAlreadyExistsException", "A client request token already exists: %s", token)
	}
	c.s.tokens[key] = use
	return used, nil
}

func createStack(c *call) (params, *apiError) {
	name := c.in.str("StackName")
	if !stackName.MatchString(name) {
		return nil, fail("ValidationError", "1 validation error detected: Value '%s' at 'stackName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*", name)
	}
	old := c.find("stack", name)
	if old != nil {
		if again, err := c.token(name); again || err != nil {
			return params{"StackId": old.arn}, err
		}
		return nil, fail("AlreadyExistsException", "Stack [%s] already exists", name)
	}
	want, err := c.asked(nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.token(name); err != nil {
		return nil, err
	}
	arn := c.arn(fmt.Sprintf("stack/%s/00000000-0000-4000-b000-%012x", name, c.s.number()))
	th := c.new("stack", name, arn, maps.Clone(want.Tags), params{
		"StackId": arn, "StackName": name, "CreationTime": c.s.now(), "EnableTerminationProtection": c.in.flag("EnableTerminationProtection"),
		"DisableRollback": c.in.flag("DisableRollback") || c.in.str("OnFailure") == "DO_NOTHING",
	})
	e := &engine{s: c.s, stack: th, account: c.account, region: c.region, token: c.in.str("ClientRequestToken"), made: map[string]made{}}
	th.hidden["made"] = e.made
	e.status("CREATE_IN_PROGRESS", "User Initiated")
	c.s.after(th, func() { e.create(want) })
	return params{"StackId": arn}, nil
}

func updateStack(c *call) (params, *apiError) {
	th := c.find("stack", c.in.str("StackName"))
	if th == nil {
		th = c.stack(c.in.str("StackName"))
	}
	if th == nil || th.kind != "stack" {
		return nil, fail("ValidationError", "Stack [%s] does not exist", c.in.str("StackName"))
	}
	status := th.body.str("StackStatus")
	if again, err := c.token(th.id); again || err != nil {
		return params{"StackId": th.arn}, err
	}
	if !slices.Contains([]string{"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED", "IMPORT_COMPLETE"}, status) {
		return nil, fail("ValidationError", "Stack:%s is in %s state and can not be updated.", th.arn, status)
	}
	want, err := c.asked(th)
	if err != nil {
		return nil, err
	}
	was, _ := th.hidden["asked"].(asked)
	if was.Text == want.Text && maps.Equal(was.Params, want.Params) && maps.Equal(was.Tags, want.Tags) {
		return nil, fail("ValidationError", "No updates are to be performed.")
	}
	e := c.engine(th)
	e.status("UPDATE_IN_PROGRESS", "User Initiated")
	c.s.after(th, func() { e.update(was, want) })
	return params{"StackId": th.arn}, nil
}

func (c *call) engine(th *thing) *engine {
	all, _ := th.hidden["made"].(map[string]made)
	return &engine{s: c.s, stack: th, account: c.account, region: c.region, token: c.in.str("ClientRequestToken"), made: all}
}

func deleteStack(c *call) (params, *apiError) {
	th := c.stack(c.in.str("StackName"))
	if th == nil || th.kind != "stack" {
		return nil, nil // as AWS: what is not there is deleted
	}
	status := th.body.str("StackStatus")
	switch {
	case th.body.flag("EnableTerminationProtection"):
		return nil, fail("ValidationError", "Stack [%s] cannot be deleted while TerminationProtection is enabled", th.id)
	case status == "DELETE_IN_PROGRESS":
		return nil, nil
	case c.in.has("RetainResources") && status != "DELETE_FAILED":
		return nil, fail("ValidationError", "Invalid operation on stack [%s]. Resources can be retained only if the stack is in the DELETE_FAILED state.", th.id)
	}
	e := c.engine(th)
	e.status("DELETE_IN_PROGRESS", "User Initiated")
	retain := c.in.strs("RetainResources")
	c.s.after(th, func() { e.delete(retain) })
	return nil, nil
}

// continueRollback skips what could not be brought back.
func continueRollback(c *call) (params, *apiError) {
	th := c.stack(c.in.str("StackName"))
	if th == nil || th.body.str("StackStatus") != "UPDATE_ROLLBACK_FAILED" {
		return nil, fail("ValidationError", "Stack [%s] is not in UPDATE_ROLLBACK_FAILED", c.in.str("StackName"))
	}
	c.engine(th).status("UPDATE_ROLLBACK_COMPLETE", "")
	return params{}, nil
}

func describeStacks(c *call) (params, *apiError) {
	all := c.all("stack")
	if name := c.in.str("StackName"); name != "" {
		th := c.stack(name)
		if th == nil {
			return nil, fail("ValidationError", "Stack with id %s does not exist", name)
		}
		c.s.look(th)
		if th = c.stack(name); th == nil {
			return nil, fail("ValidationError", "Stack with id %s does not exist", name)
		}
		return params{"Stacks": []any{shownStack(th)}}, nil
	}
	got, next := page(all, c.in.str("NextToken"), 0, c.s.opts.Page)
	list := []any{}
	for _, th := range got {
		list = append(list, shownStack(th))
	}
	out := params{"Stacks": list}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

func shownStack(th *thing) params {
	want, _ := th.hidden["asked"].(asked)
	list := []any{}
	for _, k := range sortedKeys(want.Params) {
		v := want.Params[k]
		if want.tmpl.noEcho(k) {
			v = "****"
		}
		list = append(list, params{"ParameterKey": k, "ParameterValue": v})
	}
	return th.body.with(params{"Tags": tagList(th.tags), "Parameters": list})
}

// stackEvents are told newest first.
func stackEvents(c *call) (params, *apiError) {
	th := c.stack(c.in.str("StackName"))
	if th == nil {
		return nil, fail("ValidationError", "Stack [%s] does not exist", c.in.str("StackName"))
	}
	all := slices.Clone(th.hidden.list("events"))
	slices.Reverse(all)
	from := 0
	if _, err := fmt.Sscan(c.in.str("NextToken"), &from); err != nil {
		from = 0
	}
	to := min(from+c.s.opts.Page, len(all))
	out := params{"StackEvents": all[min(from, to):to]}
	if to < len(all) {
		out["NextToken"] = fmt.Sprint(to)
	}
	return out, nil
}

func stackResources(c *call) (params, *apiError) {
	th := c.stack(c.in.str("StackName"))
	if th == nil {
		return nil, fail("ValidationError", "Stack with id %s does not exist", c.in.str("StackName"))
	}
	all, _ := th.hidden["made"].(map[string]made)
	list := []any{}
	for _, name := range sortedKeys(all) {
		m := all[name]
		list = append(list, params{"LogicalResourceId": name, "PhysicalResourceId": m.Physical, "ResourceType": m.Type, "ResourceStatus": m.Status, "LastUpdatedTimestamp": c.s.now()})
	}
	return params{"StackResourceSummaries": list}, nil
}

func getTemplate(c *call) (params, *apiError) {
	th := c.stack(c.in.str("StackName"))
	if th == nil {
		return nil, fail("ValidationError", "Stack with id %s does not exist", c.in.str("StackName"))
	}
	want, _ := th.hidden["asked"].(asked)
	return params{"TemplateBody": want.Text, "StagesAvailable": []any{"Original", "Processed"}}, nil
}

func validateTemplate(c *call) (params, *apiError) {
	t, err := readTemplate(c.in.str("TemplateBody"))
	if err != nil {
		return nil, err
	}
	declared, _ := t.doc["Parameters"].(map[string]any)
	list := []any{}
	for _, k := range sortedKeys(declared) {
		list = append(list, params{"ParameterKey": k, "NoEcho": t.noEcho(k)})
	}
	return params{"Parameters": list, "Capabilities": anys(t.capabilities())}, nil
}

func protectStack(c *call) (params, *apiError) {
	th := c.find("stack", c.in.str("StackName"))
	if th == nil {
		return nil, fail("ValidationError", "Stack [%s] does not exist", c.in.str("StackName"))
	}
	th.body["EnableTerminationProtection"] = c.in.flag("EnableTerminationProtection")
	return params{"StackId": th.arn}, nil
}
