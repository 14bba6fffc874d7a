package approvals

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// moves is the state machine of a request: where it may go from each state. A
// state that leads to itself is one in which the record may be changed without
// leaving it: a decision is added to a pending request, a wish to stop to a
// running one. The states that are not here are ends.
//
// The script that changes a record holds the same table (see luaMoves), so that
// no process, old or new, can make a move that is not in it.
var moves = map[State][]State{
	StatePlanning: {StatePending, StateReleased, StateSucceeded, StateFailed, StateRefused, StateSuperseded, StateCancelled},
	StatePending:  {StatePending, StateReleased, StateRefused, StateDenied, StateExpired, StateSuperseded, StateCancelled},
	StateReleased: {StateRunning, StatePending, StateRefused, StateDenied, StateExpired, StateSuperseded, StateCancelled},
	StateRunning:  {StateRunning, StatePlanning, StateSucceeded, StateFailed, StateCancelled},
}

// States lists all states in the order of a request's life.
func States() []State {
	return []State{
		StatePlanning, StatePending, StateReleased, StateRunning, StateSucceeded, StateFailed,
		StateDenied, StateExpired, StateSuperseded, StateCancelled, StateRefused,
	}
}

// Ended tells whether a request in state s will never change again.
func (s State) Ended() bool { return len(moves[s]) == 0 }

// Waiting tells whether a request in state s has neither ended nor begun to run.
func (s State) Waiting() bool { return !s.Ended() && s != StateRunning }

// CanMove tells whether a request in state s may be in state to next.
func (s State) CanMove(to State) bool { return slices.Contains(moves[s], to) }

// luaMoves is moves as a text that a script looks a move up in, which costs it less
// than a table: "|planning>pending|…|".
func luaMoves() string {
	var b strings.Builder
	b.WriteString("|")
	for _, from := range slices.Sorted(maps.Keys(moves)) {
		for _, to := range moves[from] {
			fmt.Fprintf(&b, "%s>%s|", from, to)
		}
	}
	return b.String()
}
