package command

import (
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/berth-dev/berth/bot"
)

const (
	// MaxTail is the most lines of a container that can be asked for by number.
	MaxTail = 100_000
	// MaxGrep is the longest text that lines are looked through for, in characters.
	MaxGrep = 200
	// maxPod is the longest name of a pod, in bytes. Source: RFC 1123.
	maxPod = 253
)

// podPattern is what Kubernetes calls a pod or a container, or how that begins.
// Source: RFC 1123, as Kubernetes takes it for names.
var podPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)

// printed is the command's Printed, made when it is not there.
func printed(c *bot.Command) *bot.Printed {
	if c.Printed == nil {
		c.Printed = &bot.Printed{}
	}
	return c.Printed
}

// setPrinted sets one of the flags that say which lines of pods are wanted. Any
// of them means that lines of pods are.
func setPrinted(c *bot.Command, name, value string) error {
	p := printed(c)
	switch name {
	case "since":
		if p.Since != 0 {
			return twice(name)
		}
		since, err := ParseTTL(value)
		p.Since = since
		return err
	case "tail":
		lines, err := strconv.Atoi(value)
		switch {
		case p.Tail != 0:
			return twice(name)
		case err != nil || lines < 1 || lines > MaxTail:
			return invalid("`--tail` takes a number of lines, up to %d, such as `--tail 100`.", MaxTail)
		}
		p.Tail = lines
		return nil
	case "grep":
		switch n := utf8.RuneCountInString(value); {
		case p.Contains != "":
			return twice(name)
		case n == 0 || n > MaxGrep:
			return invalid("`--grep` takes a text of %d characters at most to look for, such as `--grep error`.", MaxGrep)
		}
		p.Contains = value
		return nil
	}
	field := map[string]*string{"part": &p.Part, "pod": &p.Pod, "container": &p.Container}[name]
	switch {
	case *field != "":
		return twice(name)
	case len(value) > maxPod, !podPattern.MatchString(value):
		return invalid("%s is no name of a %s.", show(value), name)
	}
	*field = value
	return nil
}
