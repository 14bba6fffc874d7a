package actions

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// digestVersion goes up when the same facts come to have another digest, so
// that what was agreed on before is planned again instead of being mistaken.
const digestVersion = "2"

// The keys of a plan's Basis. Those that end in "/" are followed by a name:
// "variable/LOG_LEVEL", "part/web/input/chart". A part's name has no "/" in a
// key, so that no two facts can share one.
const (
	basisVersion   = "version"
	basisVerb      = "verb"
	basisEnv       = "environment"
	basisCommit    = "commit"
	basisRef       = "ref"
	basisNamespace = "namespace"
	basisRevision  = "revision"
	basisLifetime  = "lifetime"
	basisCluster   = "cluster"
	basisContext   = "cluster/context"
	basisServer    = "cluster/server"
	basisKeep      = "keep"
	basisComponent = "component/"
	basisSecret    = "secret/"
	basisVariable  = "variable/"
	basisSet       = "set/"
	basisParts     = "parts"
	basisPart      = "part/"

	partUse      = "use"
	partExecutor = "executor"
	partNeeds    = "needs"
	partSettings = "settings"
	partSetting  = "setting/"
	partInput    = "input/"
)

const (
	// maxShown is the longest value, in bytes, that a Basis holds as it is;
	// longer ones are there as their SHA-256.
	maxShown = 1 << 10
	// maxSettings is how many settings of a part have a fact of their own, and
	// maxSettingPath how long, in bytes, the path of one may be. All of them
	// decide the digest whatever their number, through the fact "settings": the
	// single ones only tell which of them changed.
	maxSettings, maxSettingPath = 200, 200
)

// DigestOf is the digest of what a Basis holds: SHA-256, in lower-case hex, over
// its keys in order, each with its value, both preceded by their length in
// bytes. It is the one way to a plan's Digest, so that a Basis says what its
// digest covers, and all of it.
func DigestOf(basis map[string]string) string {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(basis)) {
		value := basis[key]
		fmt.Fprintf(h, "%d:%s=%d:%s;", len(key), key, len(value), value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// basisOf collects a Basis. Values of variables, of --set and of settings can be
// secrets, and are there as SHA-256 alone, mixed with where they are from so
// that two that are the same cannot be seen to be.
type basisOf struct {
	facts map[string]string
	env   Name
}

// set notes a fact that may be read.
func (b *basisOf) set(key, value string) {
	if value == "" {
		return
	}
	if !utf8.ValidString(value) || len(value) > maxShown {
		value = hashed(value)
	}
	b.facts[readable(key)] = value
}

// hide notes a fact that may not be read.
func (b *basisOf) hide(key, value string) {
	b.facts[readable(key)] = hashed(b.env.String() + "\x00" + key + "\x00" + value)
}

func hashed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// readable is key, or what stands for it when it could not be kept as JSON and
// read again.
func readable(key string) string {
	if utf8.ValidString(key) {
		return key
	}
	return strconv.QuoteToASCII(key)
}

// partKey is the key of a fact about a part.
func partKey(part, fact string) string {
	return basisPart + strings.ReplaceAll(part, "/", "%2F") + "/" + fact
}

// factsOf collects everything that decides what runs. Neither time nor the
// state of the environment is in it, but for the outputs that templates used.
func factsOf(sc *scene, p *Plan) (map[string]string, error) {
	o := sc.order
	b := &basisOf{facts: map[string]string{basisVersion: digestVersion}, env: o.Env}
	b.set(basisVerb, string(o.Verb))
	b.set(basisEnv, o.Env.String())
	b.set(basisCommit, o.Commit.SHA)
	b.set(basisRef, sc.ref)
	b.set(basisNamespace, sc.namespace)
	if n := sc.then.Revision; n > 0 {
		b.set(basisRevision, strconv.Itoa(n))
	}
	b.set(basisLifetime, sc.ttl().String())
	b.set(basisCluster, sc.app.Cluster.Name)
	b.set(basisContext, sc.app.Cluster.Context)
	if server := serverOf(sc.app.Cluster); server != "" {
		b.hide(basisServer, server)
	}
	if o.Keep {
		b.set(basisKeep, "true")
	}
	for name, built := range o.Components {
		b.set(basisComponent+name, strings.Join([]string{built.Repo, built.Ref, strconv.Itoa(built.PullRequest), built.Commit.SHA}, " "))
	}
	for name, value := range sc.app.Vars {
		b.hide(basisVariable+name, value)
	}
	for name, ref := range sc.app.Secrets {
		// Where it is found, not what it is: a secret that is changed is the
		// same one to whoever agreed on it.
		text, err := json.Marshal(ref)
		if err != nil {
			return nil, Wrap("plan.digest", CodeInternal, err, "A reference to a secret cannot be written down.")
		}
		b.hide(basisSecret+name, string(text))
	}
	for name, value := range sc.set {
		b.hide(basisSet+name, value)
	}
	names := make([]string, len(p.Parts))
	for i, planned := range p.Parts {
		names[i] = planned.Part
		if err := b.part(sc, planned); err != nil {
			return nil, inPart(planned.Part, err)
		}
	}
	b.set(basisParts, strings.Join(names, " "))
	return b.facts, nil
}

// part notes what decides one part.
func (b *basisOf) part(sc *scene, planned PartPlan) error {
	part, _ := sc.app.Part(planned.Part)
	with, err := sc.asWritten(part, sc.env)
	if err != nil {
		return err
	}
	b.set(partKey(part.Name, partUse), part.Use)
	b.set(partKey(part.Name, partExecutor), planned.Executor)
	b.set(partKey(part.Name, partNeeds), strings.Join(slices.Sorted(slices.Values(part.Needs)), " "))
	for name, value := range planned.Inputs {
		// As they are, whatever their length, which planPart bounds: what was
		// agreed on is handed back to the executor.
		b.facts[readable(partKey(part.Name, partInput)+name)] = strings.ToValidUTF8(value, "\uFFFD")
	}
	if len(with) == 0 {
		return nil
	}
	text, err := json.Marshal(with)
	if err != nil {
		return Wrap("plan.digest", CodeInvalid, err, "Its configuration holds a value that cannot be written down, such as a number that is none.")
	}
	b.hide(partKey(part.Name, partSettings), string(text))
	leaves := map[string]string{}
	flatten(with, "", leaves)
	named := 0
	for _, path := range slices.Sorted(maps.Keys(leaves)) {
		if named == maxSettings {
			break
		}
		if len(path) <= maxSettingPath {
			b.hide(partKey(part.Name, partSetting)+path, leaves[path])
			named++
		}
	}
	return nil
}

// flatten lists the leaves of a part's settings by their path, as JSON.
func flatten(v any, path string, leaves map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			at := key
			if path != "" {
				at = path + "." + key
			}
			flatten(value, at, leaves)
		}
		if len(v) > 0 || path == "" {
			return
		}
	case []any:
		for i, value := range v {
			flatten(value, path+"["+strconv.Itoa(i)+"]", leaves)
		}
		if len(v) > 0 {
			return
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return // refused with the whole
		}
	}
	text, err := json.Marshal(v)
	if err == nil {
		leaves[path] = string(text)
	}
}

// inputsIn are the inputs that a Basis holds, as the executors said them, by
// part.
func inputsIn(basis map[string]string, parts []Part) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, part := range parts {
		prefix := partKey(part.Name, partInput)
		for key, value := range basis {
			name, ok := strings.CutPrefix(key, prefix)
			if !ok {
				continue
			}
			if out[part.Name] == nil {
				out[part.Name] = map[string]string{}
			}
			out[part.Name][name] = value
		}
	}
	return out
}
