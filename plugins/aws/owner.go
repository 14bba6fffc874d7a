package aws

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// The tags that mark what Berth made. Nothing without them is changed or deleted.
const (
	tagApp          = "berth:app"
	tagEnvironment  = "berth:environment"
	tagPart         = "berth:part"
	tagInstallation = "berth:installation"
	tagPrefix       = "berth:"
)

// namePrefix begins the names of all that Berth makes.
const namePrefix = "berth-"

// owner is whose a thing is, as its tags say.
type owner struct {
	app, env, part string
	installation   string // "" when it is not told
}

// stepOwner is the owner of what step makes.
func stepOwner(step sdk.Step) owner {
	return owner{app: step.App, env: step.Env, part: step.Part, installation: step.Installation}
}

// tagsOwner is the owner that tags name, the zero owner when Berth's are not all
// there.
func tagsOwner(tags map[string]string) owner {
	o := owner{app: tags[tagApp], env: tags[tagEnvironment], part: tags[tagPart], installation: tags[tagInstallation]}
	// What a CloudFormation stack made has the stack's tags, and is the stack's alone.
	if o.app == "" || o.env == "" || o.part == "" || tags["aws:cloudformation:stack-id"] != "" {
		return owner{}
	}
	return o
}

// tags are what mark a thing as o's.
func (o owner) tags() map[string]string {
	out := map[string]string{tagApp: o.app, tagEnvironment: o.env, tagPart: o.part}
	if o.installation != "" {
		out[tagInstallation] = o.installation
	}
	return out
}

// known tells whether Berth's tags were there at all.
func (o owner) known() bool { return o.app != "" }

// is tells whether both are the same. Where one of them does not tell its
// installation, the names alone decide.
func (o owner) is(other owner) bool {
	if o.installation == "" || other.installation == "" {
		o.installation, other.installation = "", ""
	}
	return o == other
}

// String is "shop/pr-42 (part db)".
func (o owner) String() string { return o.app + "/" + o.env + " (part " + o.part + ")" }

// refuse says why a thing with tags may not be changed for o, nil when it is
// o's. title names the thing: `S3 bucket "berth-shop-pr-42-files"`.
func (o owner) refuse(title string, tags map[string]string) error {
	whose := tagsOwner(tags)
	switch {
	case whose.is(o):
		return nil
	case !whose.known():
		return sdk.Invalid("The %s is there already, and Berth did not make it: it lacks Berth's tags, so it is neither changed nor deleted. Rename or delete it, or hand it over to Berth with the tags %s.",
			title, o.tagList())
	case whose.installation != "" && o.installation != "" && whose.installation != o.installation:
		return sdk.Invalid("The %s belongs to environment %s of another Berth. Give this part or its app another name, or use another account or region.", title, whose)
	}
	return sdk.Invalid("The %s belongs to environment %s, and environments do not share one. Give this part or its app another name.", title, whose)
}

// tagList is o's tags for a message: "berth:app=shop, berth:environment=pr-42".
func (o owner) tagList() string {
	tags := o.tags()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, key+"="+tags[key])
	}
	return strings.Join(out, ", ")
}

var (
	notInNames = regexp.MustCompile(`[^a-z0-9-]+`)
	hyphens    = regexp.MustCompile(`-{2,}`)
)

// name is berth-app-env-part, for a service whose names are at most so long.
// Where that is too long, or has what names cannot have (other characters than
// a-z, 0-9 and single hyphens), its end is a hash of the whole, so that two
// parts do not come to share one.
func (o owner) name(most int) string {
	whole := namePrefix + o.app + "-" + o.env + "-" + o.part
	if name := plainName(whole); name == whole && len(name) <= most {
		return name
	}
	return o.uniqueName(most)
}

// uniqueName is name with the hash whatever its length, for a service whose names
// are shared with strangers, as those of S3 buckets are.
func (o owner) uniqueName(most int) string {
	const hashBytes = 5 // 40 bits
	sum := sha256.Sum256([]byte(strings.Join([]string{o.installation, o.app, o.env, o.part}, "/")))
	hash := hex.EncodeToString(sum[:hashBytes])
	name := plainName(namePrefix + o.app + "-" + o.env + "-" + o.part)
	if room := most - len(hash) - 1; len(name) > room {
		name = strings.TrimRight(name[:room], "-")
	}
	return name + "-" + hash
}

func plainName(s string) string {
	s = notInNames.ReplaceAllString(strings.ToLower(s), "-")
	return strings.Trim(hyphens.ReplaceAllString(s, "-"), "-")
}

// token is a client token for one act on what o owns: the same for every try of
// the same act, and another for any other. It is 64 characters of hex.
func (o owner) token(act ...string) string {
	words := append([]string{o.installation, o.app, o.env, o.part}, act...)
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:])
}
