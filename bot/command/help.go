package command

import (
	"fmt"
	"slices"
	"strings"
)

// Help is what there is to say of a verb, in Markdown, or of all of them for
// "" and for a word that is no verb.
func Help(verb string) string {
	if e, ok := find(strings.ToLower(verb)); ok {
		return e.help()
	}
	var b strings.Builder
	b.WriteString("A command is `VERB [TARGET] [--flag value]…`. The target is `app/name`; on a pull request it can be left out.\n\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "- `%s` %s\n", e.usage(), e.short)
	}
	b.WriteString("\nFlags:\n\n")
	for _, name := range flagOrder {
		fmt.Fprintf(&b, "- `%s` %s\n", flagUsage(name), flagHelp[name].text)
	}
	b.WriteString("\n`help VERB` says more about one of them.")
	return b.String()
}

// Usage is how a verb is written: "deploy [TARGET]".
func Usage(verb string) string {
	e, _ := find(verb)
	return e.usage()
}

// Short is what a verb does, in a few words.
func Short(verb string) string {
	e, _ := find(verb)
	return e.short
}

// Long is what else there is to know of a verb, and Example a command with it.
func Long(verb string) (long, example string) {
	e, _ := find(verb)
	return e.long, e.example
}

func (e entry) usage() string {
	if u := usage[e.arg]; u != "" {
		return e.verb + " " + u
	}
	return e.verb
}

// help is all that there is to say of one verb.
func (e entry) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s` %s.", e.usage(), e.short)
	if e.long != "" {
		b.WriteString(" " + e.long)
	}
	b.WriteString("\n")
	for i, name := range e.flags {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- `%s` %s\n", flagUsage(name), flagHelp[name].text)
	}
	fmt.Fprintf(&b, "\nExample: `%s`", e.example)
	return b.String()
}

func flagUsage(name string) string {
	if takes := flagHelp[name].takes; takes != "" {
		return "--" + name + " " + takes
	}
	return "--" + name
}

// allFlags are the names of all flags, sorted.
func allFlags() []string {
	names := slices.Clone(flagOrder)
	slices.Sort(names)
	return names
}
