package awstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// made is a resource that a stack made.
type made struct {
	Type, Physical, Status string
	Props                  map[string]any
	Attrs                  map[string]string
	Keep                   bool // DeletionPolicy: Retain
	key                    string
}

// engine does what a stack's template says, by the calls that are served here.
type engine struct {
	s               *Server
	stack           *thing
	account, region string
	token           string
	made            map[string]made
}

func (e *engine) event(logical, physical, kind, status, reason string) {
	ev := params{
		"StackId": e.stack.arn, "StackName": e.stack.id, "EventId": fmt.Sprintf("%s-%06d", logical, e.s.number()), "Timestamp": e.s.now(),
		"LogicalResourceId": logical, "PhysicalResourceId": physical, "ResourceType": kind, "ResourceStatus": status,
	}
	if reason != "" {
		ev["ResourceStatusReason"] = reason
	}
	if e.token != "" {
		ev["ClientRequestToken"] = e.token
	}
	e.stack.hidden["events"] = append(e.stack.hidden.list("events"), ev)
}

func (e *engine) status(status, reason string) {
	e.stack.body["StackStatus"] = status
	if delete(e.stack.body, "StackStatusReason"); reason != "" {
		e.stack.body["StackStatusReason"] = reason
	}
	e.event(e.stack.id, e.stack.arn, "AWS::CloudFormation::Stack", status, reason)
}

func (e *engine) scope(want asked) scope {
	sc := scope{params: want.Params, physical: map[string]string{}, attrs: map[string]map[string]string{}, pseudo: map[string]string{
		"AWS::AccountId": e.account, "AWS::Region": e.region, "AWS::StackName": e.stack.id, "AWS::StackId": e.stack.arn, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com",
	}}
	for name, m := range e.made {
		sc.physical[name], sc.attrs[name] = m.Physical, m.Attrs
	}
	return sc
}

// create makes all resources, or takes back those that were made.
func (e *engine) create(want asked) {
	if failed := e.makeAll(want, nil); failed != "" {
		if e.stack.body.flag("DisableRollback") {
			e.status("CREATE_FAILED", "The following resource(s) failed to create: ["+failed+"].")
			return
		}
		e.status("ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: ["+failed+"]. Rollback requested by user.")
		e.s.after(e.stack, func() {
			e.dropAll(nil, true)
			e.status("ROLLBACK_COMPLETE", "")
		})
		return
	}
	e.finish(want)
	e.status("CREATE_COMPLETE", "")
}

// finish keeps what was asked for, and tells the outputs.
func (e *engine) finish(want asked) {
	e.stack.hidden["asked"], e.stack.tags = want, maps.Clone(want.Tags)
	if outs, _ := want.tmpl.doc["Outputs"].(map[string]any); len(outs) > 0 {
		list := []any{}
		for _, k := range sortedKeys(outs) {
			o, _ := outs[k].(map[string]any)
			list = append(list, params{"OutputKey": k, "OutputValue": fmt.Sprint(e.scope(want).eval(o["Value"]))})
		}
		e.stack.body["Outputs"] = list
		return
	}
	delete(e.stack.body, "Outputs")
}

// makeAll makes or changes the resources of a template; it tells the first that
// failed. was are those that were there before.
func (e *engine) makeAll(want asked, was map[string]made) string {
	for _, name := range want.tmpl.order {
		res := want.tmpl.resources[name]
		kind, _ := res["Type"].(string)
		props, _ := e.scope(want).eval(res["Properties"]).(map[string]any)
		old, there := was[name]
		if there && fmt.Sprint(old.Props) == fmt.Sprint(props) {
			continue
		}
		verb := "CREATE"
		if there {
			verb = "UPDATE"
		}
		e.event(name, "", kind, verb+"_IN_PROGRESS", "")
		m, err := e.make(name, kind, props, want.Tags, old)
		if err != nil {
			e.event(name, "", kind, verb+"_FAILED", fmt.Sprintf("Resource handler returned message: %q (RequestToken: 00000000, HandlerErrorCode: InvalidRequest)", err.msg))
			return name
		}
		m.Type, m.Props, m.Status, m.Keep = kind, props, verb+"_COMPLETE", res["DeletionPolicy"] == "Retain"
		e.made[name] = m
		e.event(name, m.Physical, kind, verb+"_COMPLETE", "")
	}
	return ""
}

// calls are the resources that are made by a call, and where its name is.
var calls = map[string]struct {
	service, op string
	kind        string // of the thing that comes of it
	name        string // where the call has the name
	property    string // where the template has it
	do          func(*call) (params, *apiError)
}{
	"AWS::SQS::Queue":             {"sqs", "CreateQueue", "queue", "QueueName", "QueueName", createQueue},
	"AWS::SNS::Topic":             {"sns", "CreateTopic", "topic", "Name", "TopicName", createTopic},
	"AWS::SecretsManager::Secret": {"secretsmanager", "CreateSecret", "secret", "Name", "Name", createSecret},
	"AWS::ECR::Repository":        {"ecr", "CreateRepository", "repository", "repositoryName", "RepositoryName", createRepository},
}

// make makes one resource. What this package has no service for is kept as a
// thing without any.
func (e *engine) make(logical, kind string, props map[string]any, tags map[string]string, old made) (made, *apiError) {
	all := maps.Clone(tags)
	if all == nil {
		all = map[string]string{}
	}
	all["aws:cloudformation:stack-id"], all["aws:cloudformation:stack-name"], all["aws:cloudformation:logical-id"] = e.stack.arn, e.stack.id, logical
	how, known := calls[kind]
	if !known {
		how.service, how.op = "cfn", strings.ReplaceAll(kind, "::", "-")
	}
	id, _ := props[how.property].(string)
	if old.Physical != "" {
		return old, e.change(old, how.op, props) // its properties changed: it stays the same thing
	}
	if id == "" {
		id = strings.ToLower(fmt.Sprintf("%s-%s-%06d", e.stack.id, logical, e.s.number()))
	}
	c := &call{s: e.s, account: e.account, region: e.region, service: how.service, op: how.op, in: params{how.name: id}}
	if known {
		return e.byCall(c, kind, props, all)
	}
	arn := "arn:aws:" + how.service + ":" + e.region + ":" + e.account + ":" + how.op + "/" + id
	th := c.new(how.op, id, arn, all, params{"Properties": fmt.Sprint(props)})
	return made{Physical: id, Attrs: map[string]string{"Arn": arn, "Name": id}, key: th.key()}, nil
}

// byCall makes a resource as a client would, and marks it with the stack's tags.
func (e *engine) byCall(c *call, kind string, props map[string]any, tags map[string]string) (made, *apiError) {
	how := calls[kind]
	if c.op == "CreateQueue" {
		attrs := params{}
		for k, v := range props {
			if k != "QueueName" && k != "Tags" {
				attrs[k] = fmt.Sprint(v)
			}
		}
		c.in["Attributes"] = attrs
	}
	name := c.in.str(how.name)
	if c.find(how.kind, name) != nil {
		return made{}, fail("AlreadyExists", "Resource of type '%s' with identifier '%s' already exists.", kind, name)
	}
	if s, ok := props["SecretString"].(string); ok {
		c.in["SecretString"] = s
	}
	if _, err := how.do(c); err != nil {
		return made{}, err
	}
	th := c.find(how.kind, name)
	th.tags = tags
	m := made{Physical: th.arn, Attrs: map[string]string{"Arn": th.arn, "QueueName": th.id, "TopicName": th.id}, key: th.key()}
	switch how.kind {
	case "queue":
		m.Physical = c.queueURL(th.id)
	case "repository":
		m.Physical = th.id
	}
	return m, nil
}

// change gives a resource other properties, so far as that is understood.
func (e *engine) change(old made, op string, props map[string]any) *apiError {
	th := e.s.things[old.key]
	if th == nil || op != "CreateQueue" {
		return nil
	}
	attrs := params{}
	for k, v := range props {
		if k != "QueueName" && k != "Tags" {
			attrs[k] = fmt.Sprint(v)
		}
	}
	c := &call{s: e.s, account: e.account, region: e.region, service: "sqs", op: "SetQueueAttributes", in: params{"QueueUrl": old.Physical, "Attributes": attrs}}
	_, err := setQueueAttributes(c)
	return err
}

// dropAll takes away what was made, but for what is kept; what cannot be taken
// away is told. A stack that never came to be keeps nothing but what cannot go.
func (e *engine) dropAll(only []string, always bool) (stuck []string) {
	for _, name := range slices.Backward(sortedKeys(e.made)) {
		m := e.made[name]
		if only != nil && !slices.Contains(only, name) {
			continue
		}
		if m.Keep && !always {
			e.event(name, m.Physical, m.Type, "DELETE_SKIPPED", "")
			delete(e.made, name)
			continue
		}
		e.event(name, m.Physical, m.Type, "DELETE_IN_PROGRESS", "")
		if th := e.s.things[m.key]; th != nil && len(th.hidden.list("images")) > 0 {
			e.event(name, m.Physical, m.Type, "DELETE_FAILED", "The repository cannot be deleted because it still contains images")
			stuck = append(stuck, name)
			continue
		} else if th != nil {
			e.s.drop(th)
		}
		delete(e.made, name)
		e.event(name, m.Physical, m.Type, "DELETE_COMPLETE", "")
	}
	return stuck
}

// update makes what is new, changes what is other, and then drops what is no
// longer said; or brings back what was.
func (e *engine) update(was, want asked) {
	before := maps.Clone(e.made)
	if failed := e.makeAll(want, before); failed != "" {
		e.status("UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed to update: ["+failed+"].")
		e.s.after(e.stack, func() {
			var fresh []string
			for name := range e.made {
				if _, there := before[name]; !there {
					fresh = append(fresh, name)
				}
			}
			if len(fresh) > 0 {
				e.dropAll(fresh, true)
			}
			e.makeAll(was, maps.Clone(e.made))
			e.finish(was)
			e.status("UPDATE_ROLLBACK_COMPLETE", "")
		})
		return
	}
	e.finish(want)
	e.status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")
	e.s.after(e.stack, func() {
		gone := []string{}
		for name := range e.made {
			if want.tmpl.resources[name] == nil {
				gone = append(gone, name)
			}
		}
		e.dropAll(gone, false)
		e.status("UPDATE_COMPLETE", "")
	})
	e.stack.body["LastUpdatedTime"] = e.s.now()
}

// delete takes the stack away, which is remembered by its ID.
func (e *engine) delete(retain []string) {
	for _, name := range retain {
		delete(e.made, name)
	}
	if stuck := e.dropAll(nil, false); len(stuck) > 0 {
		e.status("DELETE_FAILED", "The following resource(s) failed to delete: ["+strings.Join(stuck, ", ")+"].")
		return
	}
	e.status("DELETE_COMPLETE", "")
	e.stack.body["DeletionTime"] = e.s.now()
	e.s.drop(e.stack)
	gone := *e.stack
	gone.kind, gone.id, gone.tags = "deleted-stack", e.stack.arn[strings.LastIndex(e.stack.arn, "/")+1:], map[string]string{}
	e.s.add(&gone)
}
