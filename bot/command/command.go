// Package command is the grammar of what people type to Berth. It is the same
// on every surface, so that a command that works in one place can be pasted in
// another:
//
//	VERB [TARGET] [--flag value]…
//
// A surface takes off what it adds itself ("/" on GitHub, "/berth" in chat).
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
	idPattern  = regexp.MustCompile(`^[0-7][0-9a-hjkmnp-tv-z]{25}$`) // a ULID in lower case
	keyPattern = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.\[\]-]*[A-Za-z0-9_\]])?$`)
	// namePattern is what clusters, components and secrets are called in the config.
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	// pullPattern is a pull request as GitHub writes it: acme/api#12.
	pullPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}#[1-9][0-9]{0,8}$`)
	// codePattern is what a code of link looks like (approvals/people makes them).
	codePattern = regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`)
	// accountPattern is an account that can be linked: the platform, and the login
	// or id there.
	accountPattern = regexp.MustCompile(`^(github|slack|discord|mattermost|oidc|token):[A-Za-z0-9][A-Za-z0-9._@+-]{0,126}$`)
	ttlPattern     = regexp.MustCompile(`^(?:([0-9]{1,4})w)?(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?$`)
)

// IsID tells whether s, in lower case, has the shape of a request's or run's
// id. No app's name has it, since names begin with a letter.
func IsID(s string) bool { return idPattern.MatchString(s) }

// invalid makes the one kind of error that this package returns.
func invalid(format string, args ...any) error {
	return actions.Errorf("command.parse", actions.CodeInvalid, format, args...)
}

// Parse understands one line. It returns CodeInvalid with a sentence that says
// what is wrong and how it is written right.
func Parse(line string) (bot.Command, error) {
	words, err := split(line)
	if err != nil {
		return bot.Command{}, err
	}
	if len(words) == 0 {
		return bot.Command{}, invalid("No command is there. Try `help`.")
	}
	first := strings.ToLower(strings.TrimPrefix(words[0].text, "/"))
	e, ok := find(first)
	if !ok {
		return bot.Command{}, unknownVerb(first)
	}
	c := bot.Command{Verb: e.verb}
	var arguments []word
	for rest := words[1:]; len(rest) > 0; {
		name, isFlag := flagName(rest[0])
		if !isFlag {
			arguments = append(arguments, rest[0])
			rest = rest[1:]
			continue
		}
		if rest, err = e.flag(&c, name, rest); err != nil {
			return bot.Command{}, err
		}
	}
	if err := e.argument(&c, arguments); err != nil {
		return bot.Command{}, err
	}
	if c.Keep && c.TTL > 0 {
		return bot.Command{}, invalid("`--keep` is for ever and `--ttl` for a time; give one of them.")
	}
	if c.Glass && c.Reason == "" {
		return bot.Command{}, invalid("`--break-glass` needs a reason that everybody will read: `%s --break-glass --reason \"why\"`.", c.Verb)
	}
	if c.Verb == bot.VerbHelp {
		c.Help = Help(c.Topic)
	}
	return c, nil
}

func unknownVerb(word string) error {
	shown := show(word)
	if near := Nearest(word); near != "" {
		return invalid("%s is not a command. Did you mean `%s`? `help` lists them all.", shown, near)
	}
	return invalid("%s is not a command. `help` lists them all.", shown)
}

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

// argument reads what stands after the verb and is no flag.
func (e entry) argument(c *bot.Command, words []word) error {
	arguments := make([]string, len(words))
	for i, w := range words {
		arguments[i] = w.text
	}
	switch e.arg {
	case argReason:
		return e.reason(c, words)
	case argLink:
		return e.link(c, arguments)
	case argSet:
		return e.set(c, words)
	case argUnset:
		return e.unset(c, words)
	}
	if len(arguments) > 1 {
		return invalid("%s is too much: it is written `%s`. Put text with spaces in quotes.", show(arguments[1]), e.usage())
	}
	if len(arguments) == 0 {
		if e.arg == argRequest {
			return invalid("Which request? It is written `%s`, such as `%s`.", e.usage(), e.example)
		}
		return nil
	}
	text := strings.ToLower(arguments[0])
	if text == "" {
		return invalid("The target is empty; it is written `%s`.", e.usage())
	}
	switch {
	case e.arg == argTopic:
		topic := strings.TrimPrefix(text, "/")
		if _, ok := find(topic); !ok {
			return unknownVerb(topic)
		}
		c.Topic = topic
		return nil
	case (e.arg == argRequest || e.arg == argAny) && IsID(text):
		c.ID = text
		return nil
	case e.arg == argRequest:
		return invalid("%s is not the id of a request; those have 26 letters and digits. It is written `%s`.", show(arguments[0]), e.usage())
	}
	return e.target(c, text)
}

// reason reads an environment or an id, when the first word is one, and takes the
// other words for the reason. A word in quotes is always of the reason.
func (e entry) reason(c *bot.Command, words []word) error {
	if len(words) > 0 && !words[0].quoted {
		first := strings.ToLower(words[0].text)
		if name, err := actions.ParseName(first); err == nil {
			c.App, c.Env = name.App, name.Env
			words = words[1:]
		} else if IsID(first) {
			c.ID = first
			words = words[1:]
		}
	}
	if len(words) == 0 {
		return nil
	}
	if c.Reason != "" {
		return invalid("%s and what follows would be a second reason besides `--reason`; give one. It is written `%s`.", show(words[0].text), e.usage())
	}
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = w.text
	}
	return setReason(c, strings.Join(texts, " "))
}

// link reads what link is about.
func (e entry) link(c *bot.Command, arguments []string) error {
	if len(arguments) > 0 && strings.EqualFold(arguments[0], "remove") {
		c.Remove, arguments = true, arguments[1:]
		if len(arguments) == 0 {
			return invalid("Which account? It is written `link remove ACCOUNT`, such as `link remove github:ana`.")
		}
	}
	switch {
	case len(arguments) == 0:
		return nil
	case len(arguments) > 1:
		return invalid("%s is too much: it is written `%s`.", show(arguments[1]), e.usage())
	case codePattern.MatchString(strings.ToLower(arguments[0])) && !c.Remove:
		c.Code = strings.ToLower(arguments[0])
		return nil
	}
	kind, name, _ := strings.Cut(arguments[0], ":")
	if kind = strings.ToLower(kind); !accountPattern.MatchString(kind + ":" + name) {
		return invalid("%s is no account and no code. An account is written `github:ana`, `slack:U0123`, `discord:987` or `token:ana`; a code looks like `abcd-efgh-2345-wxyz`.", show(arguments[0]))
	}
	c.Account = kind + ":" + name
	return nil
}

func (e entry) target(c *bot.Command, text string) error {
	if IsID(text) {
		return invalid("`%s` takes an environment, and %s is the id of a request or run. It is written `%s`, such as `%s`.", e.verb, show(text), e.usage(), e.example)
	}
	if app, env, ok := strings.Cut(text, "/"); ok && e.arg == argApp && actions.ValidName(app) {
		return invalid("`%s` takes an app alone, such as `%s`; for one environment try `status %s`.", e.verb, e.example, clean(app+"/"+env))
	}
	if !strings.Contains(text, "/") {
		if !actions.ValidName(text) {
			return invalid("%s cannot be an app: names are 2 to 40 of a-z, 0-9 and \"-\", starting with a letter. A target is `app/name`, such as `shop/pr-42`.", show(text))
		}
		c.App = text
		return nil
	}
	name, err := actions.ParseName(text)
	if err != nil {
		return invalid("%s cannot be an environment: it is written `app/name`, such as `shop/pr-42`, each of 2 to 40 of a-z, 0-9 and \"-\", starting with a letter.", show(text))
	}
	c.App, c.Env = name.App, name.Env
	return nil
}

// show repeats what somebody typed as a piece of code in a sentence: short,
// and without anything that could end the code or ping a person.
func show(s string) string { return "`" + clean(s) + "`" }

func clean(s string) string {
	const most = 40
	r := []rune(strings.Map(func(r rune) rune {
		if r == '`' {
			return '\''
		}
		return r
	}, s))
	if len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(r)
}
