package dns

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// maxName is the longest name in characters, without a dot at its end.
	// Source: RFC 1035, section 2.3.4 (255 octets on the wire).
	maxName = 253
	// maxLabel is the longest part between dots. Source: the same.
	maxLabel = 63
	// ownerLabel begins the names of ownership records. No part can have a name
	// with it.
	ownerLabel = "_berth"
	// wildcardLabel stands for "*" in names of ownership records.
	wildcardLabel = "wildcard"
)

// label is what may stand between two dots, once it is in lower case and ASCII.
var label = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$`)

// toASCII makes names with letters beyond ASCII what servers know them by. It
// lets underscores pass, which label checks.
var toASCII = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.Transitional(false))

// asciiName is text in lower case and ASCII, checked label by label. What says
// what it is, for messages.
func asciiName(what, text string) (string, error) {
	shown := quoted(text)
	switch {
	case text == "":
		return "", sdk.Invalid("%s is empty.", what)
	case len(text) > 4*maxName || !utf8.ValidString(text):
		return "", sdk.Invalid("%s %s is no name: it is too long or not text.", what, shown)
	case strings.ContainsAny(text, `\"'`+"`"):
		return "", sdk.Invalid("%s %s has a character that names cannot have; escapes are not understood.", what, shown)
	}
	stars, rest := "", text
	if after, ok := strings.CutPrefix(text, "*."); ok {
		stars, rest = "*.", after
	}
	ascii, err := toASCII.ToASCII(rest)
	if err != nil {
		return "", sdk.Invalid("%s %s is no name that can be written in ASCII.", what, shown)
	}
	for l := range strings.SplitSeq(ascii, ".") {
		switch {
		case l == "":
			return "", sdk.Invalid("%s %s has nothing between two dots, or a dot at an end.", what, shown)
		case len(l) > maxLabel:
			return "", sdk.Invalid("%s %s has a part of %d characters between dots; %d is the most.", what, shown, len(l), maxLabel)
		case !label.MatchString(l):
			return "", sdk.Invalid("%s %s is no name: between dots there can be a-z, 0-9, \"-\" and \"_\", with no \"-\" at an end, and \"*\" alone at the very front.", what, shown)
		}
	}
	if name := stars + ascii; len(name) <= maxName {
		return name, nil
	}
	return "", sdk.Invalid("%s %s is longer than the %d characters that a name can have.", what, shown, maxName)
}

// hostName is the normal form of the name of a host somewhere, with or without a
// dot at its end, such as what a CNAME points at.
func hostName(what, text string) (string, error) {
	name, err := asciiName(what, strings.TrimSuffix(text, "."))
	if err == nil && strings.HasPrefix(name, "*") {
		return "", sdk.Invalid("%s %s cannot be a wildcard.", what, quoted(text))
	}
	return name, err
}

// parseName is the absolute name that text means in zone, which is absolute
// itself: relative to zone, "@" for zone itself, or absolute with a dot at its
// end and then within zone.
func parseName(zone, text string) (string, error) {
	const what = "The name"
	if text == "@" {
		return zone, nil
	}
	if text == "" {
		return "", sdk.Invalid("The name is empty; write \"@\" for the zone itself.")
	}
	whole, isAbsolute := strings.CutSuffix(text, ".")
	if !isAbsolute {
		whole += "." + zone
	}
	name, err := asciiName(what, whole)
	if err != nil {
		return "", err
	}
	if !within(name, zone) {
		return "", sdk.Invalid("The name %s is not in the zone %s: leave the dot at its end out if it is meant relative to the zone.", quoted(text), zone)
	}
	return name, checkOwnable(name, zone)
}

// checkOwnable says why name cannot be a part's, nil when it can: its record of
// ownership must have a name of its own.
func checkOwnable(name, zone string) error {
	relative := strings.TrimSuffix(strings.TrimSuffix(name, zone), ".")
	labels := strings.Split(relative, ".")
	for _, l := range labels {
		if l == ownerLabel {
			return sdk.Invalid("The name %s cannot be had: %q is for the records that say whose a name is.", quoted(name), ownerLabel)
		}
	}
	if labels[0] == wildcardLabel {
		return sdk.Invalid("The name %s cannot be had: %q stands for \"*\" in the records that say whose a name is. Take another first word.", quoted(name), wildcardLabel)
	}
	if owner := ownerName(name); len(owner) > maxName {
		return sdk.Invalid("The name %s is too long: with %q before it, for the record that says whose it is, it has %d characters, and %d is the most.", quoted(name), ownerLabel, len(owner), maxName)
	}
	return nil
}

// within tells whether name is zone or below it. Both are absolute.
func within(name, zone string) bool { return name == zone || strings.HasSuffix(name, "."+zone) }

// ownerName is where the record is that says whose name is.
func ownerName(name string) string {
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		return ownerLabel + "." + wildcardLabel + "." + rest
	}
	return ownerLabel + "." + name
}

// ownedName is the name that an ownership record at name speaks of; false when
// name is not that of one.
func ownedName(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, ownerLabel+".")
	if !ok {
		return "", false
	}
	if of, ok := strings.CutPrefix(rest, wildcardLabel+"."); ok {
		return "*." + of, true
	}
	return rest, true
}

// quoted is outside text for a message: on one line, not too long, in quotes.
func quoted(s string) string {
	const most = 80
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || (r >= 0x80 && r < 0xa0) || r == '\u2028' || r == '\u2029' || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return '?'
		}
		return r
	}, s)
	if r := []rune(clean); len(r) > most {
		clean = string(r[:most]) + "…"
	}
	return `"` + clean + `"`
}
