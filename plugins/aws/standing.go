package aws

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/berth-dev/berth/plugins/sdk"
)

// standing is what a look at a thing found that is there or not and has no
// states between, such as a queue or a bucket.
type standing struct {
	there   bool
	tags    map[string]string
	changes []string // what a deploy would change: "gets other tags"
	data    bool     // whether data goes with it
	facts   []sdk.Fact
}

// tagged tells whether tags has all that the session wants.
func (s *session) tagged(tags map[string]string) bool {
	for key, value := range s.tags() {
		if have, ok := tags[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// propose is the plan for something standing. kind and name are what people
// read of it, made is what a deploy makes of it: "with a dead-letter queue".
func (s *session) propose(verb sdk.Verb, kind, name, made string, at standing) (proposal, error) {
	title := kind + ` "` + name + `"`
	mine := at.there && s.mine(at.tags)
	p := proposal{}
	add := func(sign, text string, change sdk.Change, destructive bool) {
		p.lines = append(p.lines, strings.TrimSpace(sign+" "+title+" "+text))
		p.resources = append(p.resources, sdk.Resource{Kind: kind, Name: name, Change: change, Destructive: destructive})
	}
	switch {
	case verb == sdk.Cleanup && !mine:
	case verb == sdk.Cleanup:
		add("-", "", sdk.ChangeDelete, at.data)
	case !at.there && verb == sdk.Deploy:
		add("+", made, sdk.ChangeCreate, false)
	case !at.there:
		return p, sdk.Invalid("The %s is gone, so that it cannot be brought back. Deploy instead: it is made anew, without what was in it.", title)
	case !mine:
		return p, s.refuse(title, at.tags)
	case verb == sdk.Deploy && len(at.changes) > 0:
		add("~", listed(at.changes), sdk.ChangeUpdate, false)
	}
	return p, nil
}

// reportOf is what is seen of something standing.
func (s *session) reportOf(title string, at standing) report {
	switch {
	case !at.there:
		return report{health: sdk.Absent}
	case !s.mine(at.tags):
		return report{health: sdk.Unhealthy, text: "The " + title + " is not Berth's: its tags are gone or another's."}
	}
	r := report{facts: at.facts}
	for _, c := range at.changes {
		r.drift = append(r.drift, "The "+title+" is not as it was deployed: with a deploy it "+c+".")
	}
	return r
}

// vanished is the error for what was there a moment ago.
func vanished(title string) error {
	return sdk.Downstream("The %s went away while it was worked on. Try again.", title).WithRetry()
}

// partition is the part of AWS that the session's region is in, as ARNs have it.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
func (s *session) partition() string {
	switch {
	case strings.HasPrefix(s.place.region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(s.place.region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// sameJSON tells whether two texts are the same JSON, whatever its order and
// white space.
func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// saidBy is what AWS itself says of an error, "" for one that is not AWS's.
func saidBy(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorMessage()
	}
	return ""
}
