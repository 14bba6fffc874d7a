package discordtest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// usable are the commands that a channel offers: the guild's and global ones.
func (s *Server) usable(ch *channel) []*command {
	var all []*command
	if ch.guild != nil {
		all = append(all, s.commands[ch.guild.id]...)
	}
	for _, cmd := range s.commands[""] {
		direct := cmd.DMPermission == nil || *cmd.DMPermission
		if cmd.Contexts != nil {
			direct = slices.Contains(cmd.Contexts, 1)
		}
		inGuild := cmd.Contexts == nil || slices.Contains(cmd.Contexts, 0)
		if ch.guild == nil && direct || ch.guild != nil && inGuild {
			all = append(all, cmd)
		}
	}
	return all
}

// word is one that was typed.
type word struct {
	text   string
	quoted bool
	end    bool // the text ends with it, without a space behind it
}

// split takes a text apart at spaces outside of quotation marks.
func split(text string) []word {
	var words []word
	var b strings.Builder
	open, quoted, started := false, false, false
	flush := func(end bool) {
		if started {
			words = append(words, word{b.String(), quoted, end})
		}
		b.Reset()
		quoted, started = false, false
	}
	for _, r := range text {
		switch {
		case r == '"':
			open, quoted, started = !open, true, true
		case r == ' ' && !open:
			flush(false)
		default:
			b.WriteRune(r)
			started = true
		}
	}
	flush(true)
	return words
}

// typing is a command that is being typed.
type typing struct {
	command *command
	given   []given
	path    []given // the subcommands, outermost first
	options []option
	typed   map[string]string
	order   []string
	last    string // the option that the text ends in
	partial string
}

// read matches what was typed with the registered commands. Values stand as
// name:value, --name value, or without a name in the options' order.
func (s *Server) read(ch *channel, text string) (*typing, error) {
	text, ok := strings.CutPrefix(strings.TrimLeft(text, " "), "/")
	if !ok {
		return nil, errors.New("a command begins with /")
	}
	words := split(text)
	if len(words) == 0 {
		return nil, errors.New("no command was typed")
	}
	t := &typing{typed: map[string]string{}}
	for _, cmd := range s.usable(ch) {
		if cmd.Type == commandChat && cmd.Name == words[0].text {
			t.command = cmd
			break
		}
	}
	if t.command == nil {
		return nil, fmt.Errorf("there is no command /%s here", words[0].text)
	}
	words, t.options = words[1:], t.command.Options
	for len(t.options) > 0 && t.options[0].nests() {
		if len(words) == 0 {
			return nil, fmt.Errorf("/%s needs one of its subcommands: %s", t.command.Name, names(t.options))
		}
		i := slices.IndexFunc(t.options, func(o option) bool { return o.Name == words[0].text })
		if i < 0 {
			return nil, fmt.Errorf("/%s has no subcommand %q; it has %s", t.command.Name, words[0].text, names(t.options))
		}
		t.path = append(t.path, given{Name: t.options[i].Name, Type: t.options[i].Type})
		words, t.options = words[1:], t.options[i].Options
	}
	if err := t.assign(words); err != nil {
		return nil, err
	}
	return t, nil
}

func names(options []option) string {
	var all []string
	for _, o := range options {
		all = append(all, o.Name)
	}
	return strings.Join(all, ", ")
}

func (t *typing) option(name string) *option {
	for i := range t.options {
		if t.options[i].Name == name {
			return &t.options[i]
		}
	}
	return nil
}

// assign gives words to options.
func (t *typing) assign(words []word) error {
	current := "" // takes the words that follow, until it has one (--name) or all (name:)
	greedy := false
	for _, w := range words {
		if !w.quoted || strings.Contains(w.text, ":") {
			if name, value, ok := strings.Cut(w.text, ":"); ok && t.option(name) != nil {
				current, greedy = name, true
				t.put(name, value, w.end)
				continue
			}
		}
		if name, ok := strings.CutPrefix(w.text, "--"); ok && !w.quoted {
			name, value, has := strings.Cut(name, "=")
			o := t.option(name)
			if o == nil {
				return fmt.Errorf("there is no option %q", name)
			}
			current, greedy = name, false
			switch {
			case has:
				t.put(name, value, w.end)
				current = ""
			case o.Type == optionBoolean:
				t.put(name, "true", w.end)
				current = ""
			default:
				t.put(name, "", false)
			}
			continue
		}
		if current != "" && (greedy || t.typed[current] == "") {
			t.more(current, w)
			continue
		}
		free := slices.IndexFunc(t.options, func(o option) bool { _, taken := t.typed[o.Name]; return !taken })
		switch {
		case free >= 0 && (t.options[free].Required || len(t.typed) == 0):
			current, greedy = "", false
			t.put(t.options[free].Name, w.text, w.end)
		case len(t.order) > 0:
			t.more(t.order[len(t.order)-1], w)
		default:
			return fmt.Errorf("%q is one word too many", w.text)
		}
	}
	return nil
}

func (t *typing) put(name, value string, end bool) {
	if _, known := t.typed[name]; !known {
		t.order = append(t.order, name)
	}
	t.typed[name] = value
	t.last, t.partial = "", ""
	if end {
		t.last, t.partial = name, value
	}
}

func (t *typing) more(name string, w word) {
	t.put(name, strings.TrimPrefix(t.typed[name]+" "+w.text, " "), w.end)
}

// parseTyped reads a whole command, as the client does when it is sent.
func (s *Server) parseTyped(ch *channel, text string) (*command, []given, error) {
	t, err := s.read(ch, text)
	if err != nil {
		return nil, nil, err
	}
	var values []given
	for _, o := range t.options {
		typed, ok := t.typed[o.Name]
		if !ok || typed == "" {
			if o.Required {
				return nil, nil, fmt.Errorf("%s: this option is required: %s", o.Name, o.Description)
			}
			continue
		}
		value, err := s.convert(o, typed)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		values = append(values, given{Name: o.Name, Type: o.Type, Value: value})
	}
	return t.command, t.nest(values), nil
}

// nest puts options into their subcommands.
func (t *typing) nest(values []given) []given {
	for _, step := range slices.Backward(t.path) {
		step.Options = values
		values = []given{step}
	}
	return values
}

// convert makes an option's value of what was typed.
func (s *Server) convert(o option, typed string) (any, error) {
	for _, c := range o.Choices {
		if c.Name == typed || fmt.Sprint(c.Value) == typed {
			return c.Value, nil
		}
	}
	if len(o.Choices) > 0 {
		return nil, errors.New("this is none of the choices")
	}
	switch o.Type {
	case optionInteger:
		n, err := strconv.ParseInt(typed, 10, 64)
		if err != nil {
			return nil, errors.New("this is no whole number")
		}
		return n, nil
	case optionNumber:
		n, err := strconv.ParseFloat(typed, 64)
		if err != nil {
			return nil, errors.New("this is no number")
		}
		return n, nil
	case optionBoolean:
		b, err := strconv.ParseBool(typed)
		if err != nil {
			return nil, errors.New("this is neither true nor false")
		}
		return b, nil
	case optionUser:
		id := strings.Trim(typed, "<@!>")
		for _, u := range s.users {
			if u.id == id || "@"+u.name == typed || u.name == typed {
				return u.id, nil
			}
		}
		return nil, errors.New("there is no such user")
	case optionString:
		n := length(typed)
		if o.MinLength != nil && n < *o.MinLength || o.MaxLength != nil && n > *o.MaxLength || n > 6000 {
			return nil, errors.New("this has a wrong length")
		}
		return typed, nil
	}
	return nil, errors.New("the stand-in does not know options of this type")
}

// completing finds the option that somebody is typing, if it is one that the
// application completes.
func (s *Server) completing(ch *channel, text string) (*typing, bool) {
	t, err := s.read(ch, text)
	if err != nil {
		return nil, false
	}
	name, partial := t.last, t.partial
	if name == "" && strings.HasSuffix(text, " ") {
		// The next one begins: the one that was named, or the first that is free.
		for _, o := range t.options {
			if typed, ok := t.typed[o.Name]; ok && typed == "" || !ok && name == "" && len(t.typed) == 0 {
				name = o.Name
				break
			}
		}
	}
	o := t.option(name)
	if o == nil || !o.Autocomplete {
		return nil, false
	}
	var values []given
	for _, each := range t.options {
		typed, ok := t.typed[each.Name]
		switch {
		case each.Name == name:
			values = append(values, given{Name: name, Type: each.Type, Value: partial, Focused: true})
		case ok && typed != "":
			if value, err := s.convert(each, typed); err == nil {
				values = append(values, given{Name: each.Name, Type: each.Type, Value: value})
			}
		}
	}
	t.given = t.nest(values)
	return t, true
}
