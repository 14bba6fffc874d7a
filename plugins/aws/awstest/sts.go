package awstest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

var stsOps = map[string]func(*call) (params, *apiError){
	"GetCallerIdentity": func(c *call) (params, *apiError) {
		return params{"Account": c.account, "Arn": c.who.arn, "UserId": c.who.user}, nil
	},
	"AssumeRole": assumeRole,
}

// defaultSession is how long a role is assumed when the caller does not say.
// Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
const defaultSession = int64(3600)

// assumeRole gives out a key of the role's account, for roles that the options
// name and for those of IAM. What their trust policies say is not looked at.
func assumeRole(c *call) (params, *apiError) {
	arn, session := c.in.str("RoleArn"), c.in.str("RoleSessionName")
	known := slices.Contains(c.s.opts.Roles, arn) || len(c.s.pick(func(th *thing) bool { return th.service == "iam" && th.kind == "role" && th.arn == arn })) > 0
	parts := strings.SplitN(arn, ":", 6)
	if !known || len(parts) != 6 {
		return nil, fail("AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.who.arn, arn).withStatus(http.StatusForbidden)
	}
	seconds := c.in.num("DurationSeconds")
	if seconds == 0 {
		seconds = defaultSession
	}
	n := c.s.number()
	role := parts[5][strings.LastIndex(parts[5], "/")+1:]
	cred := credential{
		secret: fmt.Sprintf("secret-of-session-%d", n), token: fmt.Sprintf("token-of-session-%d", n), account: parts[4],
		arn:  fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", parts[4], role, session),
		user: fmt.Sprintf("AROA%016d:%s", n, session), until: c.s.now().Add(time.Duration(seconds) * time.Second),
	}
	key := fmt.Sprintf("ASIA%016d", n)
	c.s.keys[key] = cred
	return params{
		"Credentials":     params{"AccessKeyId": key, "SecretAccessKey": cred.secret, "SessionToken": cred.token, "Expiration": cred.until},
		"AssumedRoleUser": params{"AssumedRoleId": cred.user, "Arn": cred.arn},
	}, nil
}
