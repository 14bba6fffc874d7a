package actions

import (
	"fmt"
	"io"
	"strings"
)

// WriteStateDiagram writes the table of states as a Mermaid state diagram. An
// arrow is labelled with the verb that starts it, or with how the action ended.
// Actions that stay in a state are listed below it as a note.
func WriteStateDiagram(w io.Writer) error {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    direction LR\n")
	type arrow struct{ from, to State }
	labels, order := map[arrow][]string{}, []arrow(nil)
	stays := map[State][]string{}
	states := []State(nil)
	for _, t := range Transitions() {
		if t.From == t.To {
			if t.On == Started {
				stays[t.From] = append(stays[t.From], string(t.Verb))
				if len(stays[t.From]) == 1 {
					states = append(states, t.From)
				}
			}
			continue
		}
		a, label := arrow{t.From, t.To}, string(t.On)
		if t.On == Started {
			label = string(t.Verb)
		}
		if !t.From.Pending() && t.On != Started {
			label = string(t.Verb) + " " + label
		}
		if labels[a] == nil {
			order = append(order, a)
		}
		if !strings.Contains(" / "+strings.Join(labels[a], " / ")+" / ", " / "+label+" / ") {
			labels[a] = append(labels[a], label)
		}
	}
	node := func(s State) string {
		if s == StateNone {
			return "[*]"
		}
		return string(s)
	}
	for _, a := range order {
		fmt.Fprintf(&b, "    %s --> %s : %s\n", node(a.from), node(a.to), strings.Join(labels[a], " / "))
	}
	for _, s := range states {
		fmt.Fprintf(&b, "    note right of %s : stays on %s\n", s, strings.Join(stays[s], ", "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteStateTable writes the table of states in Markdown, a row for each verb
// and state that it starts from.
func WriteStateTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| from | verb | meanwhile | succeeded | failed | failed, but what ran before serves on | failed, and all of it was taken back |\n|---|---|---|---|---|---|---|\n")
	ends := func(from State, v Verb, on Moment) string {
		if to, ok := next(from, v, on); ok {
			return string(to)
		}
		return "–"
	}
	for _, v := range Verbs() {
		for _, t := range Transitions() {
			if t.Verb != v || t.On != Started {
				continue
			}
			from := string(t.From)
			if t.From == StateNone {
				from = "(none)"
			}
			kept, undone := "–", "–"
			if t.From == StateRunning || (t.From == StateFailure && makesRevision(v)) { // what did not run serves on when it was brought back
				kept = ends(t.To, v, Kept)
			}
			if t.From != StateFailure { // nobody can say what it was
				undone = ends(t.To, v, Undone)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", from, v, t.To, ends(t.To, v, Succeeded), ends(t.To, v, Failed), kept, undone)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
