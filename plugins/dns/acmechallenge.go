package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// challengeTTL is how long caches may keep a challenge, in seconds.
	challengeTTL = 60
	// challengeLife is when a challenge is one that somebody left: no order takes
	// that long.
	challengeLife = 24 * time.Hour
	// challengeRounds is how often a challenge is tried again while others change
	// the same name. Each round has tries of its own, see edit.
	challengeRounds = 6
	// spreadLook is how often a server that lacks a challenge is asked again.
	spreadLook = 500 * time.Millisecond
)

// challengeText is a text that proves to the authority that a name is ours.
type challengeText struct {
	Name  string `json:"name"`  // where it is: "_acme-challenge.shop.preview.example.org"
	Value string `json:"value"` // a digest of the account's key and the challenge's token
}

// challenges are the texts of one order in the zone. Several orders may have
// texts at one name at the same time, and each has a line in the record of
// ownership beside them that says whose it is; authorities look for the text
// that they know among all that are there, and the lines are at another name. A
// text is added and removed by itself, so that nobody takes away another's.
type challenges struct {
	zone  provider
	at    zoneSettings
	net   network
	owner string // the line of ownership, but for the text that it is about
	now   func() time.Time
}

// The fields that a line about a challenge has beside the marks.
const (
	fieldChallenge = ",challenge="
	fieldSince     = ",since="
)

// line is what the record of ownership says of a challenge.
func (c *challenges) line(value string) string {
	return c.owner + fieldChallenge + value + fieldSince + c.now().UTC().Format(time.RFC3339)
}

// challengeLine takes apart what line made; false for anything else.
func challengeLine(line string) (owner, value string, since time.Time, ok bool) {
	owner, rest, ok := strings.Cut(line, fieldChallenge)
	if !ok || !strings.HasPrefix(owner, heritage) {
		return "", "", time.Time{}, false
	}
	value, at, ok := strings.Cut(rest, fieldSince)
	if !ok {
		return "", "", time.Time{}, false
	}
	since, err := time.Parse(time.RFC3339, at)
	return owner, value, since, err == nil
}

// put adds the texts, and takes away what was left at their names: by whoever
// has c's marks, and by anybody of Berth's long ago.
func (c *challenges) put(ctx context.Context, texts []challengeText) error {
	for _, name := range challengeNames(texts) {
		mine := valuesAt(texts, name)
		err := c.change(ctx, name, func(values, lines []string) ([]string, []string) {
			for _, line := range slices.Clone(lines) {
				owner, value, since, ok := challengeLine(line)
				if ok && !slices.Contains(mine, value) && (owner == c.owner || c.now().Sub(since) > challengeLife) {
					values, lines = without(values, value), without(lines, line)
				}
			}
			for _, value := range mine {
				if !slices.Contains(values, value) {
					values = append(values, value)
				}
				if !slices.ContainsFunc(lines, c.mine(value)) { // else it is another's who began the order
					lines = append(slices.DeleteFunc(slices.Clone(lines), lineAbout(value)), c.line(value))
				}
			}
			return values, lines
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// remove takes the texts away, with the lines that speak of them. It goes on
// after a failure.
func (c *challenges) remove(ctx context.Context, texts []challengeText) error {
	var failed []error
	for _, name := range challengeNames(texts) {
		mine := valuesAt(texts, name)
		failed = append(failed, c.change(ctx, name, func(values, lines []string) ([]string, []string) {
			for _, value := range mine {
				values, lines = without(values, value), slices.DeleteFunc(slices.Clone(lines), lineAbout(value))
			}
			return values, lines
		}))
	}
	return errors.Join(failed...)
}

// removeOwn takes away all that c's marks are on at the names.
func (c *challenges) removeOwn(ctx context.Context, names []string) error {
	var failed []error
	for _, name := range names {
		failed = append(failed, c.change(ctx, name, func(values, lines []string) ([]string, []string) {
			for _, line := range slices.Clone(lines) {
				if owner, value, _, ok := challengeLine(line); ok && owner == c.owner {
					values, lines = without(values, value), without(lines, line)
				}
			}
			return values, lines
		}))
	}
	return errors.Join(failed...)
}

// change makes of the texts and lines at name what become says.
func (c *challenges) change(ctx context.Context, name string, become func(values, lines []string) (v, l []string)) error {
	text, marks, alias := key{name, typeTXT}, key{ownerName(name), typeTXT}, key{name, typeCNAME}
	for round := 1; ; round++ {
		_, err := edit(ctx, c.zone, []key{text, marks, alias}, func(found map[key]*rrset) ([]change, error) {
			values, lines := become(slices.Clone(valuesOf(found[text])), slices.Clone(valuesOf(found[marks])))
			if found[alias] != nil && len(values) > 0 {
				return nil, sdk.Invalid("The name %s is a CNAME, so that no proof for a certificate can be put there: take the CNAME away.", name)
			}
			return []change{
				{key: marks, before: found[marks], after: textSet(marks, found[marks], lines), mark: true},
				{key: text, before: found[text], after: textSet(text, found[text], values)},
			}, nil
		})
		if !errors.Is(err, errMoved) || round == challengeRounds {
			return err
		}
		// Many orders at once for one name: let the others go first by chance.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(time.Duration(round) * 200 * time.Millisecond)): //nolint:gosec // no secret depends on it
		}
	}
}

// textSet is the RRset with the values, nil without any. It keeps the TTL of what
// was there: records of one name and type have one.
func textSet(k key, old *rrset, values []string) *rrset {
	if len(values) == 0 {
		return nil
	}
	ttl := uint32(challengeTTL)
	if old != nil {
		ttl = old.ttl
	}
	slices.Sort(values)
	return &rrset{key: k, ttl: ttl, values: slices.Compact(values)}
}

func without(list []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(other string) bool { return other == s })
}

func lineAbout(value string) func(line string) bool {
	return func(line string) bool {
		_, about, _, ok := challengeLine(line)
		return ok && about == value
	}
}

// mine tells whether a line says that value is c's.
func (c *challenges) mine(value string) func(line string) bool {
	return func(line string) bool {
		owner, about, _, ok := challengeLine(line)
		return ok && about == value && owner == c.owner
	}
}

func challengeNames(texts []challengeText) []string {
	var out []string
	for _, t := range texts {
		out = append(out, t.Name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func valuesAt(texts []challengeText, name string) []string {
	var out []string
	for _, t := range texts {
		if t.Name == name {
			out = append(out, t.Value)
		}
	}
	return out
}

// await returns when every authoritative server has all the texts: an authority
// asks any of them, and one refusal too many locks the name out for an hour.
func (c *challenges) await(ctx context.Context, texts []challengeText, out sdk.Events) error {
	servers, err := zoneServers(ctx, c.zone, c.at)
	if err != nil {
		return err
	}
	if len(servers) == 0 {
		return sdk.Downstream("The zone's name servers are not known, so that it cannot be told when they have the proof for the certificate.")
	}
	out.Progress(fmt.Sprintf("certificate: waiting until all %d name servers have the proof", len(servers)), 0, 0)
	wait := cmp.Or(c.at.wait, defaultWait) // a zone that nobody waits for is waited for here
	limit, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	group, side := errgroup.WithContext(limit)
	for _, s := range servers {
		group.Go(func() error { return c.awaitServer(side, s, texts, wait) })
	}
	err = group.Wait()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// awaitServer asks one server until it has all the texts.
func (c *challenges) awaitServer(ctx context.Context, s server, texts []challengeText, wait time.Duration) error {
	var last error
	for {
		missing := ""
		for _, name := range challengeNames(texts) {
			have, err := query(ctx, c.net, s, key{name, typeTXT})
			if err != nil {
				if missing = name; !over(ctx) { // else it only was too late for an answer
					last = err
				}
				break
			}
			if slices.ContainsFunc(valuesAt(texts, name), func(v string) bool { return !slices.Contains(have, v) }) {
				last, missing = nil, name
				break
			}
		}
		if missing == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err() // another server failed, or the step ended
			}
			why := "it does not have what was written"
			if last != nil {
				why = said(last.Error(), 200)
			}
			return (&sdk.Error{Fault: sdk.FaultDownstream, Err: last, Msg: fmt.Sprintf(
				"The name server %s did not have the proof for the certificate at %s within %v: %s. Check that it is in step with the server that Berth writes to, or give the zone a longer `wait`.", s.name, missing, wait, why)}).WithRetry()
		case <-time.After(spreadLook):
		}
	}
}
