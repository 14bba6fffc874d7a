package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// defaultTimeout is how long a step waits for AWS. A large snapshot takes the
	// better part of an hour.
	defaultTimeout = 90 * time.Minute
	// defaultPoll is the first pause between two looks at what AWS is doing.
	defaultPoll = 5 * time.Second
	// slowestPoll is how many times the first pause the longest one is.
	slowestPoll = 6
)

// platform is what `settings` say: what whoever answers for the platform sets
// for all apps.
type platform struct {
	Region     string             `json:"region"`
	Regions    []string           `json:"regions"`
	Role       string             `json:"role"`
	ExternalID string             `json:"external_id"`
	Accounts   map[string]account `json:"accounts"`
	Kinds      []string           `json:"kinds"`
	Retain     string             `json:"retain"`
	Tags       map[string]string  `json:"tags"`
	Boundary   string             `json:"permissions_boundary"`
	// Capabilities are what templates of stacks may ask for.
	Capabilities []string `json:"capabilities"`
	Endpoint     string   `json:"endpoint"`
	Poll         string   `json:"poll"`

	poll time.Duration
}

// account is an AWS account that parts may name, with the role to take in it.
type account struct {
	Role       string   `json:"role"`
	ExternalID string   `json:"external_id"`
	Region     string   `json:"region"`
	Regions    []string `json:"regions"`
}

// place is a region of an account, and how to get there.
type place struct {
	account    string // what settings call it; "" is the executor's own, or that of settings' role
	role       string // ARN; "" is the executor's own credentials
	externalID string
	region     string
}

// String is "eu-central-1", or "eu-central-1 of account prod".
func (p place) String() string {
	if p.account == "" {
		return p.region
	}
	return p.region + " of account " + p.account
}

// asked is what `with` says beside its kinds.
type asked struct {
	region, account, role string
	retain                string
	tags                  map[string]string
	timeout               time.Duration
	kinds                 map[string]map[string]any // by name
}

var (
	regionPattern = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-\d{1,2}$`)
	rolePattern   = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}$`)
)

// readPlatform checks what the schema says and what it cannot say.
func readPlatform(raw map[string]any) (platform, error) {
	var p platform
	if err := strict(raw, &p, "The aws executor's `settings`"); err != nil {
		return p, err
	}
	p.poll = defaultPoll
	if p.Poll != "" {
		d, err := time.ParseDuration(p.Poll)
		if err != nil || d <= 0 {
			return p, sdk.Invalid("`poll` in the aws executor's settings is %q, which is no duration; write it as 10s.", clip(p.Poll, 40))
		}
		p.poll = d
	}
	for _, name := range p.Kinds {
		if !slices.ContainsFunc(kinds(), func(k kind) bool { return k.name == name }) {
			return p, sdk.Invalid("`kinds` in the aws executor's settings names %q, which it does not know.", clip(name, 40))
		}
	}
	if _, err := readRetain(p.Retain, retention{}); err != nil {
		return p, err
	}
	for _, region := range p.allRegions() {
		if !regionPattern.MatchString(region) {
			return p, sdk.Invalid("%q in the aws executor's settings is no AWS region; write it as eu-central-1.", clip(region, 40))
		}
	}
	for _, role := range p.allRoles() {
		if !rolePattern.MatchString(role) {
			return p, sdk.Invalid("%q in the aws executor's settings is no role; write its ARN, as arn:aws:iam::123456789012:role/berth.", clip(role, 80))
		}
	}
	return p, checkTags(p.Tags)
}

func (p platform) allRegions() []string {
	var out []string
	add := func(one string, more []string) {
		for _, r := range append([]string{one}, more...) {
			if r != "" {
				out = append(out, r)
			}
		}
	}
	add(p.Region, p.Regions)
	for _, name := range slices.Sorted(maps.Keys(p.Accounts)) {
		add(p.Accounts[name].Region, p.Accounts[name].Regions)
	}
	return out
}

func (p platform) allRoles() []string {
	var out []string
	if p.Role != "" {
		out = append(out, p.Role)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Accounts)) {
		if role := p.Accounts[name].Role; role != "" {
			out = append(out, role)
		}
	}
	return out
}

// places is everywhere that parts may be, by account, its first region first.
func (p platform) places() []place {
	out := p.placesOf("")
	for _, name := range slices.Sorted(maps.Keys(p.Accounts)) {
		out = append(out, p.placesOf(name)...)
	}
	return out
}

// placesOf are the regions of an account, "" for the one without a name.
func (p platform) placesOf(name string) []place {
	one := place{role: p.Role, externalID: p.ExternalID}
	regions := append([]string{p.Region}, p.Regions...)
	if name != "" {
		a := p.Accounts[name]
		one = place{account: name, role: a.Role, externalID: a.ExternalID}
		if a.Region != "" || len(a.Regions) > 0 {
			regions = append([]string{a.Region}, a.Regions...)
		}
	}
	var out []place
	for _, region := range regions {
		if one.region = region; region != "" && !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	return out
}

// placeOf is where a part is. What settings do not name is refused: nothing
// could be found there again.
func (p platform) placeOf(a asked) (place, error) {
	name := a.account
	if a.role != "" {
		var err error
		if name, err = p.accountOf(a.role, name); err != nil {
			return place{}, err
		}
	}
	if _, ok := p.Accounts[name]; name != "" && !ok {
		return place{}, sdk.Invalid("The account %q is not one of the aws executor's `accounts`: name one of %s, or have it added to the settings.", clip(name, 60), listed(slices.Sorted(maps.Keys(p.Accounts))))
	}
	places := p.placesOf(name)
	if len(places) == 0 {
		return place{}, sdk.Invalid("The aws executor's settings name no region: have `region` set there, as eu-central-1.")
	}
	if a.region == "" {
		return places[0], nil
	}
	var regions []string
	for _, one := range places {
		if one.region == a.region {
			return one, nil
		}
		regions = append(regions, one.region)
	}
	return place{}, sdk.Invalid("The region %q is not among those that the aws executor's settings allow here (%s).", clip(a.region, 40), listed(regions))
}

// accountOf is the account whose role a part names by its ARN.
func (p platform) accountOf(role, name string) (string, error) {
	if name != "" && p.Accounts[name].Role == role || name == "" && p.Role == role {
		return name, nil
	}
	for _, known := range slices.Sorted(maps.Keys(p.Accounts)) {
		if name == "" && p.Accounts[known].Role == role {
			return known, nil
		}
	}
	return "", sdk.Invalid("The role %s is not one that the aws executor's settings name: have it added to `accounts` there.", clip(role, 120))
}

// enabled are the kinds that this installation uses.
func (p platform) enabled() []kind {
	all := kinds()
	if len(p.Kinds) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(k kind) bool { return !slices.Contains(p.Kinds, k.name) })
}

// readAsked checks a part's `with` but for what its kinds say.
func readAsked(with map[string]any, p platform) (asked, error) {
	a := asked{timeout: defaultTimeout, retain: p.Retain, tags: maps.Clone(p.Tags), kinds: map[string]map[string]any{}}
	if a.tags == nil {
		a.tags = map[string]string{}
	}
	rest := maps.Clone(with)
	for _, k := range kinds() {
		v, ok := rest[k.name]
		if !ok {
			continue
		}
		delete(rest, k.name)
		m, isMap := v.(map[string]any)
		if v != nil && !isMap {
			return a, sdk.Invalid("`%s` of an aws part holds settings, such as {} for none.", k.name)
		}
		if m == nil {
			m = map[string]any{}
		}
		if len(p.Kinds) > 0 && !slices.Contains(p.Kinds, k.name) {
			return a, sdk.Invalid("The aws executor's settings do not allow `%s`: its `kinds` are %s.", k.name, listed(p.Kinds))
		}
		a.kinds[k.name] = m
	}
	var raw struct {
		Region  string            `json:"region"`
		Account string            `json:"account"`
		Role    string            `json:"role"`
		Retain  string            `json:"retain"`
		Tags    map[string]string `json:"tags"`
		Timeout string            `json:"timeout"`
	}
	if err := strict(rest, &raw, "An aws part"); err != nil {
		return a, err
	}
	a.region, a.account, a.role = raw.Region, raw.Account, raw.Role
	if raw.Retain != "" {
		a.retain = raw.Retain
	}
	if _, err := readRetain(a.retain, retention{}); err != nil {
		return a, err
	}
	if raw.Timeout != "" {
		d, err := time.ParseDuration(raw.Timeout)
		if err != nil || d <= 0 {
			return a, sdk.Invalid("`timeout` is %q, which is no duration; write it as 90m.", clip(raw.Timeout, 40))
		}
		a.timeout = d
	}
	maps.Copy(a.tags, raw.Tags)
	return a, checkTags(a.tags)
}

// unknown tells whether a text is not known before another part is there: in a
// plan, that is what stands for its outputs.
func unknown(text string) bool { return strings.Contains(text, "(known after ") }

// tagPattern is what AWS takes in tags of every service.
// Source: https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html
var tagPattern = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

func checkTags(tags map[string]string) error {
	const mostKey, mostValue, mostTags = 128, 256, 30 // 50 is AWS's limit; Berth's own need room
	if len(tags) > mostTags {
		return sdk.Invalid("An aws part takes at most %d tags.", mostTags)
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		lower := strings.ToLower(key)
		switch {
		case strings.HasPrefix(lower, tagPrefix) || strings.HasPrefix(lower, "aws:"):
			return sdk.Invalid("The tag %q cannot be given: tags that begin with %q are Berth's, and those with \"aws:\" AWS's.", clip(key, 60), tagPrefix)
		case key == "" || len([]rune(key)) > mostKey || len([]rune(value)) > mostValue || !tagPattern.MatchString(key) || !tagPattern.MatchString(value) && !unknown(value):
			return sdk.Invalid("The tag %q is not one that AWS takes: letters, digits, spaces and _.:/=+-@, at most %d characters in its name and %d in its value.", clip(key, 60), mostKey, mostValue)
		}
	}
	return nil
}

// strict reads settings into a struct and refuses what it has no field for. who
// begins the sentence: "An aws part".
func strict(raw map[string]any, into any, who string) error {
	data, err := json.Marshal(raw)
	if err != nil {
		return sdk.Invalid("%s cannot be read: %v.", who, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return sdk.Invalid("%s cannot have a %s as `%s`; see docs/aws.md.", who, wrong.Value, wrong.Field)
		}
		if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
			return sdk.Invalid("%s has no setting %s; see docs/aws.md.", who, clip(name, 60))
		}
		return sdk.Invalid("%s cannot be read: %v.", who, err)
	}
	return nil
}

// clip shortens outside text that is repeated in a message.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// listed is "a", "a and b", "a, b and c".
func listed(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}
