package awstest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

var iamOps = map[string]func(*call) (params, *apiError){
	"CreateRole": createRole, "GetRole": getRole, "DeleteRole": deleteRole, "ListRoles": listRoles, "UpdateRole": updateRole,
	"UpdateAssumeRolePolicy": updateTrust, "PutRolePolicy": putRolePolicy, "GetRolePolicy": getRolePolicy, "DeleteRolePolicy": deleteRolePolicy,
	"ListRolePolicies": listRolePolicies, "AttachRolePolicy": attachRolePolicy, "DetachRolePolicy": detachRolePolicy,
	"ListAttachedRolePolicies": listAttached, "TagRole": tagRole, "UntagRole": untagRole, "ListRoleTags": listRoleTags,
	"PutRolePermissionsBoundary": putBoundary, "DeleteRolePermissionsBoundary": deleteBoundary, "GetOpenIDConnectProvider": getProvider,
}

// AddPolicy makes a customer managed policy, as whoever runs the account does,
// and tells its ARN. AWS's own are there all.
func (s *Server) AddPolicy(account, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := "arn:aws:iam::" + account + ":policy/" + name
	s.add(&thing{given: true, account: account, region: "aws-global", service: "iam", kind: "policy", id: name, arn: arn, body: params{}})
	return arn
}

func (c *call) policyKnown(arn string) bool {
	if strings.HasPrefix(arn, "arn:aws:iam::aws:policy/") {
		return true
	}
	return len(c.s.pick(func(th *thing) bool { return th.kind == "policy" && th.arn == arn && th.account == c.account })) > 0
}

func (c *call) role() (*thing, *apiError) {
	for _, th := range c.all("role") { // names are the same whatever their letters' case
		if strings.EqualFold(th.id, c.in.str("RoleName")) {
			return th, nil
		}
	}
	return nil, fail("NoSuchEntityException", "The role with name %s cannot be found.", c.in.str("RoleName"))
}

// checkPolicy holds a policy to the grammar, so far as a machine that decides
// nothing by it has to.
func checkPolicy(text string, trust bool) *apiError {
	var doc struct {
		Version   string
		Statement json.RawMessage
	}
	bad := func(why string) *apiError { return fail("MalformedPolicyDocumentException", "%s", why) }
	if json.Unmarshal([]byte(text), &doc) != nil || len(doc.Statement) == 0 {
		return bad("Syntax errors in policy.")
	}
	if doc.Version != "2012-10-17" && doc.Version != "2008-10-17" && doc.Version != "" {
		return bad("Policy version is not valid.")
	}
	var statements []map[string]any
	if json.Unmarshal(doc.Statement, &statements) != nil {
		var one map[string]any
		if json.Unmarshal(doc.Statement, &one) != nil {
			return bad("Syntax errors in policy.")
		}
		statements = append(statements, one)
	}
	for _, st := range statements {
		has := func(k string) bool { _, ok := st[k]; return ok }
		switch {
		case st["Effect"] != "Allow" && st["Effect"] != "Deny":
			return bad("Missing required field Effect cannot be empty!")
		case !has("Action") && !has("NotAction"):
			return bad("Policy statement must contain actions.")
		case trust && !has("Principal"):
			return bad("Missing required field Principal")
		case trust && has("Resource"):
			return bad("Has prohibited field Resource")
		case !trust && has("Principal"):
			return bad("Policy document should not specify a principal.")
		case !trust && !has("Resource") && !has("NotResource"):
			return bad("Policy statement must contain resources.")
		}
	}
	return nil
}

func createRole(c *call) (params, *apiError) {
	if _, err := c.role(); err == nil {
		return nil, fail("EntityAlreadyExistsException", "Role with name %s already exists.", c.in.str("RoleName"))
	}
	if err := checkPolicy(c.in.str("AssumeRolePolicyDocument"), true); err != nil {
		return nil, err
	}
	name, path, boundary := c.in.str("RoleName"), c.in.or("Path", "/"), c.in.str("PermissionsBoundary")
	if boundary != "" && !c.policyKnown(boundary) {
		return nil, fail("InvalidInputException", "Scope ARN: %s does not exist or is not attachable.", boundary)
	}
	arn := "arn:aws:iam::" + c.account + ":role" + path + name
	duration := c.in.num("MaxSessionDuration")
	if duration == 0 {
		duration = defaultSession
	}
	body := params{"RoleName": name, "Path": path, "Arn": arn, "RoleId": fmt.Sprintf("AROA%017d", c.s.number()), "CreateDate": c.s.now(), "MaxSessionDuration": duration}
	th := c.new("role", name, arn, tagsOf(c.in, "Tags"), body.with(c.in.take("Description")))
	if boundary != "" {
		th.body["PermissionsBoundary"] = params{"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": boundary}
	}
	th.hidden["trust"] = c.in.str("AssumeRolePolicyDocument")
	th.hidden["inline"], th.hidden["attached"] = params{}, params{}
	return params{"Role": shownRole(th)}, nil
}

// shownRole is a role as GetRole shows it: its documents are URL-encoded.
func shownRole(th *thing) params {
	return th.body.with(params{"AssumeRolePolicyDocument": encoded(th.hidden.str("trust")), "Tags": tagList(th.tags)})
}

func encoded(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func getRole(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	return params{"Role": shownRole(th)}, nil
}

// deleteRole refuses a role with policies, as AWS does.
func deleteRole(c *call) (params, *apiError) {
	th, err := c.role()
	switch {
	case err != nil:
		return nil, err
	case len(th.hidden.sub("attached")) > 0:
		return nil, fail("DeleteConflictException", "Cannot delete entity, must detach all policies first.")
	case len(th.hidden.sub("inline")) > 0:
		return nil, fail("DeleteConflictException", "Cannot delete entity, must delete policies first.")
	}
	c.s.drop(th)
	return nil, nil
}

// listRoles tells neither tags nor boundaries, as AWS does not.
func listRoles(c *call) (params, *apiError) {
	var all []*thing
	for _, th := range c.all("role") {
		if strings.HasPrefix(th.body.str("Path"), c.in.or("PathPrefix", "/")) {
			all = append(all, th)
		}
	}
	got, next := page(all, c.in.str("Marker"), int(c.in.num("MaxItems")), c.s.opts.Page)
	list := []any{}
	for _, th := range got {
		role := shownRole(th)
		delete(role, "Tags")
		delete(role, "PermissionsBoundary")
		list = append(list, role)
	}
	out := params{"Roles": list, "IsTruncated": next != ""}
	if next != "" {
		out["Marker"] = next
	}
	return out, nil
}

func updateRole(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	for k, v := range c.in.take("Description", "MaxSessionDuration") {
		th.body[k] = v
	}
	return params{}, nil
}

func updateTrust(c *call) (params, *apiError) {
	th, err := c.role()
	if err == nil {
		err = checkPolicy(c.in.str("PolicyDocument"), true)
	}
	if err != nil {
		return nil, err
	}
	th.hidden["trust"] = c.in.str("PolicyDocument")
	return nil, nil
}

// maxInline is how many characters the inline policies of a role have in all,
// without white space.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const maxInline = 10240

func putRolePolicy(c *call) (params, *apiError) {
	th, err := c.role()
	if err == nil {
		err = checkPolicy(c.in.str("PolicyDocument"), false)
	}
	if err != nil {
		return nil, err
	}
	length := len(c.in.str("PolicyDocument"))
	for k, v := range th.hidden.sub("inline") {
		if text, _ := v.(string); k != c.in.str("PolicyName") {
			length += len(text)
		}
	}
	if length > maxInline {
		return nil, fail("LimitExceededException", "Maximum policy size of %d bytes exceeded for role %s", maxInline, th.id)
	}
	th.hidden.sub("inline")[c.in.str("PolicyName")] = c.in.str("PolicyDocument")
	return nil, nil
}

func (c *call) inline() (*thing, string, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, "", err
	}
	text := th.hidden.sub("inline").str(c.in.str("PolicyName"))
	if text == "" {
		return nil, "", fail("NoSuchEntityException", "The role policy with name %s cannot be found.", c.in.str("PolicyName"))
	}
	return th, text, nil
}

func getRolePolicy(c *call) (params, *apiError) {
	th, text, err := c.inline()
	if err != nil {
		return nil, err
	}
	return params{"RoleName": th.id, "PolicyName": c.in.str("PolicyName"), "PolicyDocument": encoded(text)}, nil
}

func deleteRolePolicy(c *call) (params, *apiError) {
	th, _, err := c.inline()
	if err != nil {
		return nil, err
	}
	delete(th.hidden.sub("inline"), c.in.str("PolicyName"))
	return nil, nil
}

func listRolePolicies(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	return params{"PolicyNames": anys(sortedKeys(th.hidden.sub("inline"))), "IsTruncated": false}, nil
}

// maxAttached is how many managed policies a role may have. Source: as above.
const maxAttached = 10

func attachRolePolicy(c *call) (params, *apiError) {
	th, err := c.role()
	arn := c.in.str("PolicyArn")
	switch {
	case err != nil:
		return nil, err
	case !c.policyKnown(arn):
		return nil, fail("NoSuchEntityException", "Policy %s does not exist or is not attachable.", arn)
	}
	th.hidden.sub("attached")[arn] = true
	if len(th.hidden.sub("attached")) > maxAttached {
		delete(th.hidden.sub("attached"), arn)
		return nil, fail("LimitExceededException", "Cannot exceed quota for PoliciesPerRole: %d", maxAttached)
	}
	return nil, nil
}

func detachRolePolicy(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	if !th.hidden.sub("attached").has(c.in.str("PolicyArn")) {
		return nil, fail("NoSuchEntityException", "Policy %s was not found.", c.in.str("PolicyArn"))
	}
	delete(th.hidden.sub("attached"), c.in.str("PolicyArn"))
	return nil, nil
}

func listAttached(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, arn := range sortedKeys(th.hidden.sub("attached")) {
		list = append(list, params{"PolicyArn": arn, "PolicyName": arn[strings.LastIndex(arn, "/")+1:]})
	}
	return params{"AttachedPolicies": list, "IsTruncated": false}, nil
}

func tagRole(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	return nil, setTags(th, tagsOf(c.in, "Tags"), "InvalidInputException")
}

func untagRole(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	for _, k := range c.in.strs("TagKeys") {
		delete(th.tags, k)
	}
	return nil, nil
}

func listRoleTags(c *call) (params, *apiError) {
	th, err := c.role()
	if err != nil {
		return nil, err
	}
	return params{"Tags": tagList(th.tags), "IsTruncated": false}, nil
}

func putBoundary(c *call) (params, *apiError) {
	th, err := c.role()
	arn := c.in.str("PermissionsBoundary")
	switch {
	case err != nil:
		return nil, err
	case !c.policyKnown(arn):
		return nil, fail("InvalidInputException", "Scope ARN: %s does not exist or is not attachable.", arn)
	}
	th.body["PermissionsBoundary"] = params{"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}
	return nil, nil
}

func deleteBoundary(c *call) (params, *apiError) {
	th, err := c.role()
	switch {
	case err != nil:
		return nil, err
	case !th.body.has("PermissionsBoundary"):
		return nil, fail("NoSuchEntityException", "Role %s does not have a permission boundary.", th.id)
	}
	delete(th.body, "PermissionsBoundary")
	return nil, nil
}

func getProvider(c *call) (params, *apiError) {
	for _, th := range c.all("oidc-provider") {
		if th.arn == c.in.str("OpenIDConnectProviderArn") {
			return th.body.with(params{"Tags": tagList(th.tags)}), nil
		}
	}
	return nil, fail("NoSuchEntityException", "OpenIDConnect Provider not found for arn %s", c.in.str("OpenIDConnectProviderArn"))
}
