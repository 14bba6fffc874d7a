package discord

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/bot"
)

// Verb is a command of the grammar, as Discord offers it: a subcommand of
// /berth.
type Verb struct {
	Name    string // as it is typed: "deploy"
	Summary string // one line of plain text
	// Group puts it under another word, since Discord has room for 25 subcommands:
	// with Group "vars" and As "set" it is "/berth vars set". Both are empty for
	// most.
	Group, As string
	Arguments []Option // in the order in which they stand after the verb
	Flags     []Option // by name, without dashes
}

// OptionKind is how an Option's value becomes words of a command.
type OptionKind int

// The kinds of Options.
const (
	OptionText   OptionKind = iota // one word, in quotes where it needs them
	OptionNumber                   // a whole number
	OptionSwitch                   // a flag without a value: there or not
	OptionWords                    // several words as they are typed; as a flag it is given once for each
)

// What Options are completed with while somebody types; those of Suggester.
const (
	SuggestVerb        = "verb"
	SuggestApp         = "app"
	SuggestEnvironment = "environment"
	SuggestRequest     = "request"
	SuggestRef         = "ref"
	SuggestTarget      = "target"
)

// Option is what can be given to a Verb.
type Option struct {
	Name     string
	Summary  string // one line of plain text
	Kind     OptionKind
	Required bool
	Suggest  string // SuggestRef and so on; "" means nothing
}

// path is how a Verb is called below /berth: {"deploy"} or {"vars", "set"}.
func (v Verb) path() []string {
	name := v.Name
	if v.As != "" {
		name = v.As
	}
	if v.Group != "" {
		return []string{v.Group, name}
	}
	return []string{name}
}

// verbAt finds the Verb that was called so.
func (s *Surface) verbAt(path []string) (Verb, bool) {
	i := slices.IndexFunc(s.verbs, func(v Verb) bool { return slices.Equal(v.path(), path) })
	if i < 0 {
		return Verb{}, false
	}
	return s.verbs[i], true
}

// unknown finds something given that the Verb has no option for.
func (v Verb) unknown(given map[string]value) (name string, odd bool) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.ContainsFunc(v.options(), func(o Option) bool { return o.Name == name }) {
			return name, true
		}
	}
	return "", false
}

// options are all that can be given to the Verb, in the order of help.
func (v Verb) options() []Option { return slices.Concat(v.Arguments, v.Flags) }

// line writes a Verb with what was given to it as it would be typed.
func (v Verb) line(given map[string]value) string {
	words := []string{v.Name}
	for _, o := range v.Arguments {
		if g, ok := given[o.Name]; ok {
			words = append(words, o.words(g)...)
		}
	}
	for _, o := range v.Flags {
		g, ok := given[o.Name]
		switch {
		case !ok, o.Kind == OptionSwitch && !g.on:
		case o.Kind == OptionSwitch:
			words = append(words, "--"+o.Name)
		default:
			for _, word := range o.words(g) {
				words = append(words, "--"+o.Name, word)
			}
		}
	}
	return strings.Join(words, " ")
}

// words are those that a value becomes.
func (o Option) words(g value) []string {
	switch o.Kind {
	case OptionNumber:
		return []string{strconv.FormatInt(g.number, 10)}
	case OptionWords:
		return pieces(oneLine(g.text))
	default:
		return []string{bot.Quote(oneLine(g.text))}
	}
}

// pieces cuts text at its spaces, but not between double quotes. They stay as
// they were typed, for the grammar to read.
func pieces(text string) []string {
	quoted := false
	return strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

// oneLine is text on one line, trimmed, as commands are.
func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\r', '\t', '\u2028', '\u2029', '\u0085':
			return ' '
		}
		return r
	}, bot.Plain(strings.ReplaceAll(text, "\r\n", "\n"))))
}
