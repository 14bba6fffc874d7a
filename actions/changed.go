package actions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mostChanges is how many sentences tell what changed; people stop reading
// before that.
const mostChanges = 20

// Changed says, in sentences for people, what in is is not as it was in was:
// "the commit: abc1234 is now def5678", "web: the image ghcr.io/acme/shop:1 moved
// (sha256:0123456789ab is now sha256:ba9876543210)". It names no values that can
// be secrets. It is nil when both have the same digest.
func Changed(was, is *Plan) []string {
	if was == nil || is == nil || was.Digest == is.Digest {
		return nil
	}
	if DigestOf(was.Basis) == was.Digest && DigestOf(is.Basis) == is.Digest {
		return changedIn(was.Basis, is.Basis)
	}
	// One of them was made before plans said what their digest covers.
	if a, b := was.Order.Commit.SHA, is.Order.Commit.SHA; a != b {
		return []string{fmt.Sprintf("the commit: %s is now %s", orNone(shortSHA(a)), orNone(shortSHA(b)))}
	}
	return []string{"the configuration, a chart, an image or an executor is another"}
}

// changedIn compares two Bases.
func changedIn(was, is map[string]string) []string {
	keys := map[string]bool{}
	for _, m := range []map[string]string{was, is} {
		for key := range m {
			keys[key] = true
		}
	}
	d := &differences{was: was, is: is, whole: map[string]bool{}, single: map[string]bool{}}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, had := was[key]
		b, has := is[key]
		if had != has || a != b {
			d.fact(key, a, b, had, has)
		}
	}
	for part := range d.whole {
		if !d.single[part] {
			d.say(2, "%s: its settings are others", part)
		}
	}
	slices.SortStableFunc(d.found, func(x, y difference) int {
		if x.rank != y.rank {
			return x.rank - y.rank
		}
		return strings.Compare(x.text, y.text)
	})
	var out []string
	for i, f := range d.found {
		if i == mostChanges {
			out = append(out, fmt.Sprintf("and %d more", len(d.found)-i))
			break
		}
		out = append(out, short(f.text, maxDetail))
	}
	return out
}

// builtText is the commit that a component's fact tells.
func builtText(fact string) string { return shortSHA(fact[strings.LastIndexByte(fact, ' ')+1:]) }

type difference struct {
	rank int // what people ask for first comes first
	text string
}

// differences collects what differs between two Bases.
type differences struct {
	was, is map[string]string
	found   []difference
	// By part: that its settings differ, and that one of them was named.
	whole, single map[string]bool
}

func (d *differences) say(rank int, format string, args ...any) {
	d.found = append(d.found, difference{rank, fmt.Sprintf(format, args...)})
}

// fact says that one fact changed.
func (d *differences) fact(key, was, is string, had, has bool) {
	became := "is another"
	switch {
	case !had:
		became = "is new"
	case !has:
		became = "is gone"
	}
	now := fmt.Sprintf("%s is now %s", orNone(was), orNone(is))
	switch key {
	case basisCommit:
		d.say(0, "the commit: %s is now %s", orNone(shortSHA(was)), orNone(shortSHA(is)))
	case basisRef, basisNamespace, basisRevision, basisLifetime, basisVerb, basisEnv:
		d.say(1, "the %s: %s", key, now)
	case basisCluster:
		d.say(1, "the cluster: %s", now)
	case basisContext:
		d.say(1, "the cluster's context: %s", now)
	case basisServer:
		d.say(1, "the cluster: its kubeconfig leads to another API server")
	case basisKeep:
		d.say(1, "whether it is kept for good")
	case basisVersion:
		d.say(1, "Berth: this version covers other things by a digest")
	case basisParts:
		d.parts(strings.Fields(was), strings.Fields(is))
	default:
		if name, ok := strings.CutPrefix(key, basisComponent); ok {
			d.say(0, "the component %s: %s is now %s", name, orNone(builtText(was)), orNone(builtText(is)))
		} else if name, ok := strings.CutPrefix(key, basisSecret); ok {
			d.say(3, "the secret of variable %s %s", name, became)
		} else if name, ok := strings.CutPrefix(key, basisVariable); ok {
			d.say(3, "the variable %s %s", name, became)
		} else if name, ok := strings.CutPrefix(key, basisSet); ok {
			d.say(3, "the value of --set %s %s", name, became)
		} else if rest, ok := strings.CutPrefix(key, basisPart); ok {
			part, fact, _ := strings.Cut(rest, "/")
			d.ofPart(strings.ReplaceAll(part, "%2F", "/"), fact, was, is, became, had, has)
		}
	}
}

// parts says which parts came, went or moved.
func (d *differences) parts(was, is []string) {
	moved := true
	for _, part := range is {
		if !slices.Contains(was, part) {
			d.say(1, "the part %s is new", part)
			moved = false
		}
	}
	for _, part := range was {
		if !slices.Contains(is, part) {
			d.say(1, "the part %s is gone", part)
			moved = false
		}
	}
	if moved {
		d.say(1, "the parts are in another order")
	}
}

// ofPart says that a fact of one part changed. A part that came or went says
// so by itself.
func (d *differences) ofPart(part, fact, was, is, became string, had, has bool) {
	inWas, inIs := slices.Contains(strings.Fields(d.was[basisParts]), part), slices.Contains(strings.Fields(d.is[basisParts]), part)
	if !inWas || !inIs {
		return
	}
	was, is = briefly(was), briefly(is)
	switch fact {
	case partUse:
		d.say(1, "%s: its executor is now %s, it was %s", part, is, was)
	case partExecutor:
		d.say(2, "%s: the executor %s is another program (%s is now %s)", part, d.is[partKey(part, partUse)], orNone(was), orNone(is))
	case partNeeds:
		d.say(2, "%s: it needs %s now, and needed %s", part, orNone(is), orNone(was))
	case partSettings:
		d.whole[part] = true
	default:
		if path, ok := strings.CutPrefix(fact, partSetting); ok {
			d.single[part] = true
			d.say(2, "%s: its setting %s %s", part, path, became)
			return
		}
		name := strings.TrimPrefix(fact, partInput)
		image, isImage := strings.CutPrefix(name, inputImage)
		switch {
		case isImage && had && has:
			d.say(1, "%s: the image %s moved (%s is now %s)", part, image, was, is)
		case isImage:
			d.say(1, "%s: the image %s %s", part, image, became)
		case had && has && was != is:
			d.say(2, "%s: its %s is another (%s is now %s)", part, name, orNone(was), orNone(is))
		default:
			d.say(2, "%s: its %s %s", part, name, became)
		}
	}
}

// inputImage begins the names of inputs that tell what an image's tag means.
const inputImage = "image "

// briefly is a value with the digests in it cut to their first digits.
func briefly(text string) string {
	const mark, digits = "sha256:", 12
	if i := strings.Index(text, mark); i >= 0 && len(text) > i+len(mark)+digits {
		text = text[:i+len(mark)+digits]
	} else if len(text) == 64 && strings.Trim(text, "0123456789abcdef") == "" {
		text = text[:digits]
	}
	return clip(text)
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}
