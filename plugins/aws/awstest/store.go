package awstest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// thing is something that an account has: a database, a queue, a role.
type thing struct {
	account, region string
	service, kind   string // "rds", "db": as they stand in its ARN
	id, arn         string
	tags            map[string]string
	body            params // what its service shows of it, in the terms of the model
	hidden          params // what it does not show, such as the value of a secret
	given           bool   // by whoever runs the account, through one of the server's Adds
	left            int    // looks until next happens
	next            func() // what happens to it, nil when nothing
}

func (th *thing) key() string {
	return strings.Join([]string{th.account, th.region, th.service, th.kind, th.id}, "/")
}

// String names it for people who read what a test prints.
func (th *thing) String() string {
	return fmt.Sprintf("%s:%s %s (%s %s)", th.service, th.kind, th.id, th.account, th.region)
}

// add keeps a new thing.
func (s *Server) add(th *thing) *thing {
	if th.tags == nil {
		th.tags = map[string]string{}
	}
	if th.hidden == nil {
		th.hidden = params{}
	}
	s.things[th.key()] = th
	return th
}

func (s *Server) drop(th *thing) { delete(s.things, th.key()) }

// find is the thing of the caller's account and region, nil when there is none.
func (c *call) find(kind, id string) *thing {
	return c.s.things[strings.Join([]string{c.account, c.region, c.service, kind, id}, "/")]
}

// all are the things of a kind in the caller's account and region, by name.
func (c *call) all(kind string) []*thing {
	return c.s.pick(func(th *thing) bool {
		return th.account == c.account && th.region == c.region && th.service == c.service && th.kind == kind
	})
}

func (s *Server) pick(want func(*thing) bool) []*thing {
	var out []*thing
	for _, key := range slices.Sorted(maps.Keys(s.things)) {
		if th := s.things[key]; want(th) {
			out = append(out, th)
		}
	}
	return out
}

// new makes a thing of the caller's account and region, with the given tags.
func (c *call) new(kind, id, arn string, tags map[string]string, body params) *thing {
	return c.s.add(&thing{
		account: c.account, region: c.region, service: c.service, kind: kind,
		id: id, arn: arn, tags: tags, body: body,
	})
}

// after has something happen to a thing once it was looked at so often as the
// options say.
func (s *Server) after(th *thing, next func()) { th.left, th.next = s.opts.Polls, next }

// look tells a thing that it is looked at: what goes on with it goes on.
func (s *Server) look(things ...*thing) {
	for _, th := range things {
		switch {
		case th.next == nil:
		case th.left > 0:
			th.left--
		default:
			next := th.next
			th.next = nil
			next()
		}
	}
}

// Settle ends all that is going on, whatever follows from it included.
func (s *Server) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for busy := true; busy; {
		busy = false
		for _, key := range slices.Sorted(maps.Keys(s.things)) {
			if th := s.things[key]; th != nil && th.next != nil {
				next := th.next
				th.next, busy = nil, true
				next()
			}
		}
	}
}

// Dump is all that there is, sorted, in a form that two moments can be compared
// by. Secrets are in it.
func (s *Server) Dump() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s.things)) {
		th := s.things[key]
		if slices.Contains(past, th.kind) {
			continue
		}
		line, err := json.Marshal(map[string]any{"arn": th.arn, "tags": th.tags, "body": th.body, "hidden": th.hidden})
		if err != nil {
			s.t.Errorf("awstest: dump %s: %v", th, err)
		}
		fmt.Fprintf(&b, "%s %s\n", key, line)
	}
	b.WriteString(s.dumpS3())
	return b.String()
}

// The tags that mark what Berth made.
const (
	tagApp         = "berth:app"
	tagEnvironment = "berth:environment"
	tagPart        = "berth:part"
)

// Owned lists what bears Berth's tags, by kind, name and whose it is. What is on
// its way out, such as a secret in its recovery window, is not listed.
func (s *Server) Owned() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, th := range s.pick(func(th *thing) bool { return th.tags[tagApp] != "" && !th.body.has("DeletedDate") }) {
		name := th.id // but for what has another name each time it is made
		if logical := th.tags["aws:cloudformation:logical-id"]; logical != "" {
			name = logical + " of " + th.tags["aws:cloudformation:stack-name"]
		}
		if th.kind == "podidentityassociation" {
			name = th.body.str("clusterName") + "/" + th.body.str("namespace") + "/" + th.body.str("serviceAccount")
		}
		out = append(out, fmt.Sprintf("%s:%s %s %s/%s/%s", th.service, th.kind, name, th.tags[tagApp], th.tags[tagEnvironment], th.tags[tagPart]))
	}
	return out
}

// past are kinds that AWS remembers of what was: they are nothing that is there.
var past = []string{"change", "deleted-stack"}

// Things lists everything that was made by a call, marked or not, as kind and
// name; what a test's Adds put there is not listed.
func (s *Server) Things() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, th := range s.pick(func(th *thing) bool { return !th.given && !slices.Contains(past, th.kind) }) {
		out = append(out, fmt.Sprintf("%s:%s %s", th.service, th.kind, th.id))
	}
	return out
}

// Tag sets and removes (with an empty value) tags of the thing with an ARN, as
// somebody else would behind Berth's back. It tells whether there is such a thing.
func (s *Server) Tag(arn string, tags map[string]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.pick(func(th *thing) bool { return th.arn == arn })
	for _, th := range found {
		for k, v := range tags {
			if th.tags[k] = v; v == "" {
				delete(th.tags, k)
			}
		}
	}
	return len(found) > 0
}

// ARNs lists the ARNs of all that a service has of a kind, such as "rds", "db".
func (s *Server) ARNs(service, kind string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, th := range s.pick(func(th *thing) bool { return th.service == service && th.kind == kind }) {
		out = append(out, th.arn)
	}
	return out
}

// now is the server's clock.
func (s *Server) now() time.Time { return time.Now().Add(s.ahead).UTC().Truncate(time.Millisecond) }

// Advance moves the server's clock on.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// tagsOf reads a list of {Key, Value}.
func tagsOf(p params, name string) map[string]string {
	out := map[string]string{}
	for _, t := range p.subs(name) {
		out[t.str("Key")] = t.str("Value")
	}
	return out
}

// tagList is tags as a list of {Key, Value}.
func tagList(tags map[string]string) []any {
	out := []any{}
	for _, k := range sortedKeys(tags) {
		out = append(out, params{"Key": k, "Value": tags[k]})
	}
	return out
}

// page is one page of a list of things, and where the next begins. Markers are
// their names, as AWS' are opaque.
func page(all []*thing, marker string, limit, most int) (out []*thing, next string) {
	if limit <= 0 || limit > most {
		limit = most
	}
	for i, th := range all {
		if marker != "" && th.id <= marker {
			continue
		}
		if len(out) == limit {
			return out, all[i-1].id
		}
		out = append(out, th)
	}
	return out, ""
}
