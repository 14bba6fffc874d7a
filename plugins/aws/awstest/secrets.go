package awstest

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

var secretOps = map[string]func(*call) (params, *apiError){
	"CreateSecret": createSecret, "DescribeSecret": describeSecret, "GetSecretValue": getSecretValue,
	"PutSecretValue": putSecretValue, "UpdateSecret": updateSecret, "DeleteSecret": deleteSecret,
	"RestoreSecret": restoreSecret, "TagResource": tagSecret, "UntagResource": untagSecret,
	"ListSecrets": listSecrets, "GetRandomPassword": randomPassword,
}

// secretName is what a secret may be called.
// Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
var secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@-]{1,512}$`)

func (c *call) secret() (*thing, *apiError) {
	id := c.in.str("SecretId")
	for _, th := range c.all("secret") {
		// A secret is also found by its ARN without the six characters at its end.
		if th.id == id || th.arn == id || strings.HasPrefix(th.arn, "arn:") && th.arn[:len(th.arn)-7] == id {
			return th, nil
		}
	}
	return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

// living is a secret that is not on its way out.
func (c *call) living() (*thing, *apiError) {
	th, err := c.secret()
	if err == nil && th.body.has("DeletedDate") {
		return nil, fail("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	return th, err
}

func createSecret(c *call) (params, *apiError) {
	name := c.in.str("Name")
	if !secretName.MatchString(name) {
		return nil, fail("InvalidParameterException", "The name %q has characters that it must not have.", name)
	}
	if old := c.find("secret", name); old != nil {
		switch {
		case old.body.has("DeletedDate"):
			return nil, fail("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
		case c.in.str("ClientRequestToken") != "" && old.hidden.str("token") == c.in.str("ClientRequestToken") && sameValue(old.hidden, c.in):
			return params{"ARN": old.arn, "Name": name, "VersionId": old.hidden.str("version")}, nil
		}
		return nil, fail("ResourceExistsException", "The operation failed because the secret %s already exists.", name)
	}
	if c.in.has("SecretString") && c.in.has("SecretBinary") {
		return nil, fail("InvalidParameterException", "You can't specify both a binary secret value and a string secret value in the same secret.")
	}
	arn := c.arn(fmt.Sprintf("secret:%s-%s", name, suffix(c.s.number())))
	th := c.new("secret", name, arn, tagsOf(c.in, "Tags"), c.in.take("Name", "Description", "KmsKeyId").with(params{"ARN": arn, "CreatedDate": c.s.now()}))
	c.setValue(th)
	out := params{"ARN": arn, "Name": name}
	if v := th.hidden.str("version"); v != "" {
		out["VersionId"] = v
	}
	return out, nil
}

// suffix is the six characters that AWS adds to the ARN of a secret.
func suffix(n int) string {
	const letters = "AbCdEfGhIjKlMnOpQrStUvWxYz"
	out := make([]byte, 6)
	for i := range out {
		out[i] = letters[n%len(letters)]
		n = n/len(letters) + i + 1
	}
	return string(out)
}

func sameValue(old, in params) bool {
	b, _ := old["SecretBinary"].([]byte)
	n, _ := in["SecretBinary"].([]byte)
	return old.str("SecretString") == in.str("SecretString") && bytes.Equal(b, n)
}

// setValue keeps the value that a call has, if it has one.
func (c *call) setValue(th *thing) {
	if !c.in.has("SecretString") && !c.in.has("SecretBinary") {
		return
	}
	token := c.in.or("ClientRequestToken", fmt.Sprintf("00000000-0000-4000-9000-%012x", c.s.number()))
	for _, k := range []string{"SecretString", "SecretBinary"} {
		delete(th.hidden, k)
		if v, ok := c.in[k]; ok {
			th.hidden[k] = v
		}
	}
	th.hidden["token"], th.hidden["version"] = token, token
	th.body["LastChangedDate"] = c.s.now()
}

func putSecretValue(c *call) (params, *apiError) {
	th, err := c.living()
	if err != nil {
		return nil, err
	}
	token := c.in.str("ClientRequestToken")
	if token == "" || th.hidden.str("token") != token {
		c.setValue(th)
	} else if !sameValue(th.hidden, c.in) {
		return nil, fail("ResourceExistsException", "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", token, th.arn)
	}
	return params{"ARN": th.arn, "Name": th.id, "VersionId": th.hidden.str("version"), "VersionStages": []any{"AWSCURRENT"}}, nil
}

func updateSecret(c *call) (params, *apiError) {
	th, err := c.living()
	if err != nil {
		return nil, err
	}
	for k, v := range c.in.take("Description", "KmsKeyId") {
		th.body[k] = v
	}
	if c.in.has("SecretString") || c.in.has("SecretBinary") {
		return putSecretValue(c)
	}
	return params{"ARN": th.arn, "Name": th.id}, nil
}

func describeSecret(c *call) (params, *apiError) {
	th, err := c.secret()
	if err != nil {
		return nil, err
	}
	return shownSecret(th), nil
}

func shownSecret(th *thing) params {
	out := th.body.with(params{"Tags": tagList(th.tags)})
	if v := th.hidden.str("version"); v != "" {
		out["VersionIdsToStages"] = params{v: []any{"AWSCURRENT"}}
	}
	return out
}

func getSecretValue(c *call) (params, *apiError) {
	th, err := c.secret()
	switch {
	case err != nil:
		return nil, err
	case th.body.has("DeletedDate"):
		return nil, fail("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	case th.hidden.str("version") == "":
		return nil, fail("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT")
	}
	return th.hidden.take("SecretString", "SecretBinary").with(params{
		"ARN": th.arn, "Name": th.id, "VersionId": th.hidden.str("version"), "VersionStages": []any{"AWSCURRENT"}, "CreatedDate": th.body["CreatedDate"],
	}), nil
}

func deleteSecret(c *call) (params, *apiError) {
	days, force := c.in.num("RecoveryWindowInDays"), c.in.flag("ForceDeleteWithoutRecovery")
	switch {
	case force && c.in.has("RecoveryWindowInDays"):
		return nil, fail("InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case c.in.has("RecoveryWindowInDays") && (days < 7 || days > 30):
		return nil, fail("InvalidParameterException", "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
	}
	th, err := c.secret()
	switch {
	case err != nil && force: // that there is none is what was asked for
		id := c.in.str("SecretId")
		return params{"Name": id, "ARN": c.arn("secret:" + id + "-" + suffix(0)), "DeletionDate": c.s.now()}, nil
	case err != nil:
		return nil, err
	case th.tags["aws:secretsmanager:owningService"] != "":
		return nil, fail("InvalidRequestException", "You can't delete a secret that is managed by another service.")
	case force:
		c.s.drop(th)
		return params{"Name": th.id, "ARN": th.arn, "DeletionDate": c.s.now()}, nil
	case th.body.has("DeletedDate"):
		return nil, fail("InvalidRequestException", "You tried to perform the operation on a secret that's currently marked deleted.")
	}
	if days == 0 {
		days = 30
	}
	th.body["DeletedDate"] = c.s.now()
	return params{"Name": th.id, "ARN": th.arn, "DeletionDate": c.s.now().Add(time.Duration(days) * 24 * time.Hour)}, nil
}

func restoreSecret(c *call) (params, *apiError) {
	th, err := c.secret()
	if err != nil {
		return nil, err
	}
	delete(th.body, "DeletedDate")
	return params{"ARN": th.arn, "Name": th.id}, nil
}

func tagSecret(c *call) (params, *apiError) {
	th, err := c.living()
	if err != nil {
		return nil, err
	}
	return nil, setTags(th, tagsOf(c.in, "Tags"), "InvalidParameterException")
}

func untagSecret(c *call) (params, *apiError) {
	th, err := c.living()
	if err != nil {
		return nil, err
	}
	for _, k := range c.in.strs("TagKeys") {
		delete(th.tags, k)
	}
	return nil, nil
}

// maxTags is how many tags a thing may have.
// Source: https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
const maxTags = 50

// setTags adds tags, or fails with code.
func setTags(th *thing, tags map[string]string, code string) *apiError {
	for k := range tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return fail(code, "Tag keys cannot start with aws:")
		}
	}
	for k, v := range tags {
		th.tags[k] = v
	}
	if len(th.tags) > maxTags {
		return fail(code, "There are more than %d tags.", maxTags)
	}
	return nil
}

func listSecrets(c *call) (params, *apiError) {
	var all []*thing
	for _, th := range c.all("secret") {
		if (!th.body.has("DeletedDate") || c.in.flag("IncludePlannedDeletion")) && secretMatches(th, c.in.subs("Filters")) {
			all = append(all, th)
		}
	}
	got, next := page(all, c.in.str("NextToken"), int(c.in.num("MaxResults")), c.s.opts.Page)
	list := []any{}
	for _, th := range got {
		list = append(list, th.body.with(params{"Tags": tagList(th.tags)}))
	}
	out := params{"SecretList": list}
	if next != "" {
		out["NextToken"] = next
	}
	return out, nil
}

// secretMatches filters as AWS does: each value is a prefix, and one that begins
// with ! is what must not be.
func secretMatches(th *thing, filters []params) bool {
	for _, f := range filters {
		fits := func(v string) bool {
			has := func(text string) bool { return strings.HasPrefix(text, v) }
			switch f.str("Key") {
			case "name":
				return has(th.id)
			case "tag-key":
				return slices.ContainsFunc(sortedKeys(th.tags), has)
			case "tag-value":
				return slices.ContainsFunc(sortedKeys(th.tags), func(k string) bool { return has(th.tags[k]) })
			}
			return false
		}
		if !slices.ContainsFunc(f.strs("Values"), fits) {
			return false
		}
	}
	return true
}

func randomPassword(c *call) (params, *apiError) {
	n := c.in.num("PasswordLength")
	if n == 0 {
		n = 32
	}
	text := strings.Repeat(fmt.Sprintf("Pw%dx", c.s.number()), int(n))
	return params{"RandomPassword": text[:n]}, nil
}
