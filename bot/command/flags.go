package command

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// MaxTTL is the longest lifetime that a command may ask for: the longest that an
// environment may have.
const MaxTTL = actions.MaxTTL

var (
	keyPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.\[\]-]*[A-Za-z0-9_\]])?$`)
	// namePattern is what clusters, components and secrets are called in the config.
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	// pullPattern is a pull request as GitHub writes it: acme/api#12.
	pullPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}#[1-9][0-9]{0,8}$`)
	ttlPattern  = regexp.MustCompile(`^(?:([0-9]{1,4})w)?(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?$`)
)

// flagName is the part of a flag after its dashes. Phones turn two dashes into
// one long one, so that is a flag too.
func flagName(w word) (string, bool) {
	if w.quoted {
		return "", false
	}
	if name, ok := strings.CutPrefix(w.text, "—"); ok {
		return name, true
	}
	if name, ok := strings.CutPrefix(w.text, "–"); ok {
		return name, true
	}
	if !strings.HasPrefix(w.text, "-") {
		return "", false
	}
	return strings.TrimPrefix(strings.TrimPrefix(w.text, "-"), "-"), true
}

// flag reads the flag at the head of rest and returns what follows it.
func (e entry) flag(c *bot.Command, text string, rest []word) ([]word, error) {
	name, value, hasValue := strings.Cut(text, "=")
	name = strings.ToLower(name)
	rest = rest[1:]
	if err := e.takes(name); err != nil {
		return nil, err
	}
	if flagHelp[name].takes == "" {
		if hasValue {
			return nil, invalid("`--%s` takes no value.", name)
		}
		switch name {
		case "pods":
			printed(c)
		case "wait":
			c.Wait = true
		case "keep":
			c.Keep = true
		case "break-glass":
			c.Glass = true
		default:
			c.DryRun = true
		}
		return rest, nil
	}
	if !hasValue {
		if len(rest) == 0 {
			return nil, invalid("`--%s` needs a value: `%s`.", name, flagUsage(name))
		}
		if next, isFlag := flagName(rest[0]); isFlag {
			return nil, invalid("`--%s` needs a value, and what follows it is the flag %s. Write `--%s=…` for a value that begins with a dash.", name, show("--"+before(next, "=")), name)
		}
		value, rest = rest[0].text, rest[1:]
	}
	return rest, setFlag(c, name, value)
}

// takes tells whether the verb has the flag.
func (e entry) takes(name string) error {
	for _, f := range e.flags {
		if f == name {
			return nil
		}
	}
	_, known := flagHelp[name]
	near := bot.Nearest(name, e.flags)
	if near == "" && !known {
		near = bot.Nearest(name, allFlags())
	}
	switch {
	case known && len(e.flags) == 0:
		return invalid("`%s` takes no flags, so `--%s` cannot stand here.", e.verb, name)
	case known:
		return invalid("`%s` does not take `--%s`; it takes %s.", e.verb, name, e.flagList())
	case near != "":
		return invalid("%s is not a flag. Did you mean `--%s`?", show("--"+name), near)
	case len(e.flags) == 0:
		return invalid("%s is not a flag, and `%s` takes none.", show("--"+name), e.verb)
	default:
		return invalid("%s is not a flag; `%s` takes %s.", show("--"+name), e.verb, e.flagList())
	}
}

func (e entry) flagList() string {
	names := make([]string, len(e.flags))
	for i, f := range e.flags {
		names[i] = "`--" + f + "`"
	}
	return bot.Join(names, "and")
}

func setFlag(c *bot.Command, name, value string) error {
	switch name {
	case "ref":
		if c.Ref != "" {
			return twice(name)
		}
		c.Ref = value
		return checkRef(value)
	case "ttl":
		if c.TTL != 0 {
			return twice(name)
		}
		d, err := ParseTTL(value)
		c.TTL = d
		return err
	case "reason":
		if c.Reason != "" {
			return twice(name)
		}
		return setReason(c, value)
	case "with":
		return addWith(c, value)
	case "cluster", "secret":
		return setName(c, name, value)
	case "to":
		if c.To != 0 {
			return twice(name)
		}
		revision, err := strconv.Atoi(value)
		if err != nil || revision < 1 || revision > MaxRevision {
			return invalid("%s is no revision; `--to` takes a number that `history` shows, such as `--to 3`.", show(value))
		}
		c.To = revision
		return nil
	case "part", "pod", "container", "since", "tail", "grep":
		return setPrinted(c, name, value)
	default:
		return addSet(c, value)
	}
}

// setName sets the flags that take the name of something in the config.
func setName(c *bot.Command, name, value string) error {
	field := &c.Cluster
	if name == "secret" {
		field = &c.Secret
	}
	if *field != "" {
		return twice(name)
	}
	if !namePattern.MatchString(value) {
		if name == "secret" {
			// It is not repeated: somebody may have typed the secret itself.
			return invalid("`--secret` takes the name of a secret that the app offers, such as `--secret stripe`, and never the secret itself.")
		}
		return invalid("%s cannot be a cluster; `--cluster` takes a name of the config, such as `--cluster staging`.", show(value))
	}
	*field = value
	return nil
}

// addWith reads what a component is taken from.
func addWith(c *bot.Command, pair string) error {
	component, ref, ok := strings.Cut(pair, "=")
	switch {
	case !ok:
		return invalid("`--with` needs a component and what to take it from, such as `--with api=acme/api#12`; %s has no \"=\".", show(pair))
	case !namePattern.MatchString(component):
		return invalid("%s cannot be a component; `--with` takes a name of the config, such as `--with api=acme/api#12`.", show(component))
	case !pullPattern.MatchString(ref) && badRef(ref):
		return invalid("%s is nothing that a component can be taken from; write a branch, tag or commit (`--with %s=main`), or a pull request (`--with %s=acme/api#12`).", show(ref), component, component)
	case len(c.With) == MaxWith:
		return invalid("A command may have %d `--with` at most.", MaxWith)
	}
	if _, there := c.With[component]; there {
		return invalid("`--with %s` is given twice; give it once.", component)
	}
	if c.With == nil {
		c.With = map[string]string{}
	}
	c.With[component] = ref
	return nil
}

func setReason(c *bot.Command, text string) error {
	if n := utf8.RuneCountInString(text); n > MaxReason {
		return invalid("A reason may be %d characters long at most; this one has %d.", MaxReason, n)
	}
	if c.Reason = strings.TrimSpace(text); c.Reason == "" {
		return invalid("`--reason` needs words: `--reason \"why\"`.")
	}
	return nil
}

func twice(name string) error {
	return invalid("`--%s` is given twice; give it once.", name)
}

func addSet(c *bot.Command, pair string) error {
	key, value, ok := strings.Cut(pair, "=")
	switch {
	case !ok:
		return invalid("`--set` needs a key and a value, such as `--set image.tag=v2`; %s has no \"=\".", show(pair))
	case len(key) > MaxKey || !keyPattern.MatchString(key):
		return invalid("%s cannot be a key of `--set`: use letters, digits, \"_\", \"-\" and dots, such as `image.tag`.", show(key))
	case len(value) > MaxValue:
		return invalid("The value of `--set %s` may be %d bytes long at most; it has %d.", key, MaxValue, len(value))
	case value == bot.Hidden:
		return invalid("`--set %s=%s` is how a value is shown that Berth does not tell; write the value itself.", key, bot.Hidden)
	case len(c.Set) == MaxSets:
		return invalid("A command may have %d `--set` at most.", MaxSets)
	}
	if _, there := c.Set[key]; there {
		return invalid("`--set %s` is given twice; give it once.", key)
	}
	if c.Set == nil {
		c.Set = map[string]string{}
	}
	c.Set[key] = value
	return nil
}

// checkRef refuses what cannot name a branch, tag or commit, so that no text
// but a name reaches GitHub's API.
// Source: https://git-scm.com/docs/git-check-ref-format
func checkRef(ref string) error {
	if badRef(ref) {
		return invalid("%s cannot be a branch, tag or commit; `--ref` takes one, such as `--ref main`.", show(ref))
	}
	return nil
}

func badRef(ref string) bool {
	return ref == "" || len(ref) > MaxRef || strings.HasPrefix(ref, "-") || strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, ".") ||
		strings.HasSuffix(ref, "/") || strings.HasSuffix(ref, ".") || strings.HasSuffix(ref, ".lock") || ref == "@" ||
		strings.ContainsAny(ref, " ~^:?*[\\%#") || strings.Contains(ref, "..") || strings.Contains(ref, "//") || strings.Contains(ref, "/.") || strings.Contains(ref, "@{")
}

// ParseTTL reads a lifetime: weeks, days, hours, minutes and seconds in that
// order, such as 48h, 3d or 1d12h. It returns CodeInvalid for anything else,
// for nothing at all and for more than MaxTTL.
func ParseTTL(s string) (time.Duration, error) {
	m := ttlPattern.FindStringSubmatch(strings.ToLower(s))
	if m == nil || s == "" {
		return 0, invalid("%s is not a time; write hours (`48h`), days (`3d`) or minutes (`90m`).", show(s))
	}
	var d time.Duration
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if m[i+1] != "" {
			n, err := strconv.Atoi(m[i+1])
			if err != nil {
				return 0, invalid("%s is not a time that can be.", show(s))
			}
			d += time.Duration(n) * unit
		}
	}
	if d <= 0 || d > MaxTTL {
		return 0, invalid("%s is not a time that an environment can live; it is more than nothing and %d days at most.", show(s), MaxTTL/(24*time.Hour))
	}
	return d, nil
}
