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
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

var (
	idPattern = regexp.MustCompile(`^[0-7][0-9a-hjkmnp-tv-z]{25}$`) // a ULID in lower case
	// codePattern is what a code of link looks like (approvals/people makes them).
	codePattern = regexp.MustCompile(`^[a-z2-7]{4}(-[a-z2-7]{4}){3}$`)
	// accountPattern is an account that can be linked: the platform, and the login
	// or id there.
	accountPattern = regexp.MustCompile(`^(github|slack|discord|mattermost|oidc|token):[A-Za-z0-9][A-Za-z0-9._@+-]{0,126}$`)
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
