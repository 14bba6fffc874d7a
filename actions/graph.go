package actions

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ValidateApp checks what the configuration alone can show to be wrong with an
// app: its name, its templates and its parts. It reports all faults at once,
// each an *Error with CodeInvalid, joined.
func ValidateApp(a *App) error {
	var faults []error
	if !ValidName(a.Name) {
		faults = append(faults, Errorf("app.validate", CodeInvalid, "%q cannot be the name of an app: use 2 to 40 of a-z, 0-9 and \"-\", starting with a letter.", clip(a.Name)))
	}
	if _, err := parseTemplate(a.Namespace, nil); err != nil {
		faults = append(faults, Wrap("app.validate", CodeInvalid, err, fmt.Sprintf("namespace: %s.", templateFault(err))))
	}
	if a.TTL < 0 || a.TTL > MaxTTL {
		faults = append(faults, Errorf("app.validate", CodeInvalid, "ttl: %s is out of range; use 0 (for ever) to %s.", a.TTL, days(MaxTTL)))
	}
	faults = append(faults, ValidateParts(a.Parts))
	return errors.Join(faults...)
}

// ValidateParts checks that parts have names of their own, that what they need
// is there and forms no cycle, and that their templates can be read. It reports
// all faults at once, each an *Error with CodeInvalid, joined.
func ValidateParts(parts []Part) error {
	const op = "parts.validate"
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, Errorf(op, CodeInvalid, format, args...)) }
	known := map[string]bool{}
	for i, p := range parts {
		switch {
		case !ValidName(p.Name):
			fault("part %d: %q cannot be a name: use 2 to 40 of a-z, 0-9 and \"-\", starting with a letter.", i+1, clip(p.Name))
		case known[p.Name]:
			fault("part %s: there are two parts of that name; rename one.", p.Name)
		}
		known[p.Name] = true
		if p.Use == "" {
			fault("part %s: use is missing; name the executor that handles it.", p.Name)
		}
		faults = append(faults, templateFaults(p)...)
	}
	for _, p := range parts {
		for i, n := range p.Needs {
			switch {
			case n == p.Name:
				fault("part %s: it needs itself; remove that.", p.Name)
			case !known[n]:
				fault("part %s: it needs %q, which is no part; there are %s.", p.Name, clip(n), names(parts))
			case slices.Contains(p.Needs[:i], n):
				fault("part %s: it needs %s twice; name it once.", p.Name, n)
			}
		}
	}
	if cycle := findCycle(parts); cycle != nil {
		fault("parts %s need each other in a circle; remove one of these needs.", strings.Join(cycle, " → "))
	}
	return errors.Join(faults...)
}

func names(parts []Part) string {
	list := make([]string, len(parts))
	for i, p := range parts {
		list[i] = p.Name
	}
	return strings.Join(list, ", ")
}

// findCycle returns the parts of one cycle, the first of them again at the end,
// or nil. A part that needs itself is reported elsewhere.
func findCycle(parts []Part) []string {
	const visiting, done = 1, 2
	byName := map[string]Part{}
	for _, p := range parts {
		byName[p.Name] = p
	}
	mark, path := map[string]int{}, []string(nil)
	var visit func(name string) []string
	visit = func(name string) []string {
		mark[name], path = visiting, append(path, name)
		for _, n := range byName[name].Needs {
			if _, known := byName[n]; !known || n == name || mark[n] == done {
				continue
			}
			if mark[n] == visiting {
				return append(slices.Clone(path[slices.Index(path, n):]), n)
			}
			if cycle := visit(n); cycle != nil {
				return cycle
			}
		}
		mark[name], path = done, path[:len(path)-1]
		return nil
	}
	for _, p := range parts {
		if mark[p.Name] == 0 {
			if cycle := visit(p.Name); cycle != nil {
				return cycle
			}
		}
	}
	return nil
}

// waitsFor tells, for each part, the indexes of the parts whose steps must be
// done before its own: those that it needs on the way down, and those that need
// it on the way up. parts must be valid; a need that is no part is left out.
func waitsFor(parts []Part, down bool) [][]int {
	index := map[string]int{}
	for i, p := range parts {
		index[p.Name] = i
	}
	waits := make([][]int, len(parts))
	for i, p := range parts {
		for _, n := range p.Needs {
			j, ok := index[n]
			switch {
			case !ok:
			case down:
				waits[i] = append(waits[i], j)
			default:
				waits[j] = append(waits[j], i)
			}
		}
	}
	return waits
}
