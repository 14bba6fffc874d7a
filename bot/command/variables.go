package command

import (
	"slices"
	"strings"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// set reads the variables that are to be set. Nothing of what was typed is
// repeated but names that can be no value: the answer may stand where more people
// read than may know a value.
func (e entry) set(c *bot.Command, words []word) error {
	if c.Secret != "" {
		return e.setSecret(c, words)
	}
	if len(words) > 0 && !words[0].quoted && !strings.Contains(words[0].text, "=") {
		if err := e.place(c, words[0].text); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return invalid("Which variable? It is written `%s`, such as `%s`, or `set KEY --secret NAME` for a secret that the app offers.", e.usage(), e.example)
	}
	c.Set = make(map[string]string, len(words))
	for i, w := range words {
		key, value, ok := strings.Cut(w.text, "=")
		switch {
		case !ok, key == "":
			return invalid("A variable is written `KEY=VALUE` without spaces around the \"=\", and the %s is not. Put a value with spaces in quotes: `KEY=\"two words\"`.", ordinal(i+1, "variable"))
		case !actions.ValidVariable(key):
			return invalid("The %s has a name that cannot be: names are letters, digits and \"_\", and do not begin with a digit, such as `LOG_LEVEL`.", ordinal(i+1, "variable"))
		case value == bot.Hidden:
			return invalid("`%s=%s` is how a value is shown that Berth does not tell; write the value itself.", key, bot.Hidden)
		case len(value) > actions.MaxOverrideValue:
			return invalid("The value of `%s` may be %d bytes long at most; it has %d.", key, actions.MaxOverrideValue, len(value))
		}
		if _, twice := c.Set[key]; twice {
			return invalid("`%s` is given twice; give it once.", key)
		}
		c.Set[key] = value
	}
	return nil
}

// setSecret reads the one variable that is to be set to a secret.
func (e entry) setSecret(c *bot.Command, words []word) error {
	if len(words) == 2 && !words[0].quoted {
		if err := e.place(c, words[0].text); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) != 1 {
		return invalid("With `--secret` one variable is set: `set [TARGET] KEY --secret NAME`.")
	}
	key := words[0].text
	if strings.Contains(key, "=") {
		return invalid("A variable is set to a value (`KEY=VALUE`) or to a secret (`KEY --secret NAME`), not to both.")
	}
	if !actions.ValidVariable(key) {
		return invalid("%s cannot be a variable: names are letters, digits and \"_\", and do not begin with a digit, such as `API_KEY`.", show(key))
	}
	c.Set = map[string]string{key: ""}
	return nil
}

// unset reads the variables that are to be taken back. The first word is a target
// when it has a "/", or when it is written as an app's name is, is in no quotes
// and more words follow.
func (e entry) unset(c *bot.Command, words []word) error {
	if len(words) > 0 && !words[0].quoted {
		first := words[0].text
		if strings.Contains(first, "/") || len(words) > 1 && actions.ValidName(first) {
			if err := e.place(c, first); err != nil {
				return err
			}
			words = words[1:]
		}
	}
	if len(words) == 0 {
		return invalid("Which variable? It is written `%s`, such as `%s`; `vars` shows those that there are.", e.usage(), e.example)
	}
	for _, w := range words {
		key := w.text
		switch {
		case strings.Contains(key, "="):
			return invalid("`unset` takes names alone, such as `%s`.", e.example)
		case !actions.ValidVariable(key):
			return invalid("%s cannot be a variable: names are letters, digits and \"_\", and do not begin with a digit.", show(key))
		case slices.Contains(c.Unset, key):
			return invalid("`%s` is given twice; give it once.", key)
		}
		c.Unset = append(c.Unset, key)
	}
	slices.Sort(c.Unset)
	return nil
}

// place reads the target of a command that takes more words. A word that is none
// is not repeated: somebody may have left the "=" out.
func (e entry) place(c *bot.Command, text string) error {
	text = strings.ToLower(text)
	if strings.Contains(text, "/") {
		name, err := actions.ParseName(text)
		if err == nil {
			c.App, c.Env = name.App, name.Env
			return nil
		}
	} else if actions.ValidName(text) {
		c.App = text
		return nil
	}
	return invalid("The first word is neither an environment (`app/name`, such as `shop/pr-42`) nor a variable; it is written `%s`, such as `%s`.", e.usage(), e.example)
}

// ordinal counts things in a sentence: "second variable".
func ordinal(n int, noun string) string {
	words := []string{"first", "second", "third", "fourth", "fifth"}
	if n <= len(words) {
		return words[n-1] + " " + noun
	}
	return "one of the later " + noun + "s"
}

// before is s up to the first sep.
func before(s, sep string) string {
	head, _, _ := strings.Cut(s, sep)
	return head
}
