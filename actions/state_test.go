package actions_test

import (
	"testing"

	"github.com/berth-dev/berth/actions"
)

func TestTheTableOfStatesIsWhole(t *testing.T) {
	t.Parallel()
	seen := map[actions.Transition]bool{}
	type start struct {
		from actions.State
		verb actions.Verb
		on   actions.Moment
	}
	to := map[start]actions.State{}
	for _, tr := range actions.Transitions() {
		key := start{tr.From, tr.Verb, tr.On}
		if _, twice := to[key]; twice || seen[tr] {
			t.Errorf("%+v is there twice", tr)
		}
		seen[tr], to[key] = true, tr.To
		if _, err := actions.ParseVerb(string(tr.Verb)); err != nil {
			t.Error(err)
		}
	}
	for key, state := range to {
		if key.on != actions.Started {
			continue
		}
		for _, on := range []actions.Moment{actions.Succeeded, actions.Failed} {
			end, ok := to[start{state, key.verb, on}]
			if !ok {
				t.Errorf("%s from %q cannot have %s", key.verb, key.from, on)
			}
			if end.Pending() {
				t.Errorf("%s from %q ends as %s", key.verb, key.from, end)
			}
		}
	}
	for _, v := range actions.Verbs() {
		used := false
		for key := range to {
			used = used || key.verb == v
		}
		if !used {
			t.Errorf("%s is not in the table", v)
		}
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	in := func(s actions.State) *actions.Environment { return &actions.Environment{Name: shop42, State: s} }
	half := &actions.Environment{Name: shop42, State: actions.StateFailure, HasArchive: true}
	asleep := &actions.Environment{Name: shop42, State: actions.StateRunning, Sleeping: true}
	locked := &actions.Environment{Name: shop42, State: actions.StateRunning, Lock: &actions.Lock{By: "ana"}}
	tests := map[string]struct {
		env  *actions.Environment
		verb actions.Verb
		code actions.Code
		msg  string
	}{
		"what is not there can be deployed":             {nil, actions.VerbDeploy, "", ""},
		"what is not there cannot sleep":                {nil, actions.VerbSleep, actions.CodeNotFound, "There is no environment shop/pr-42; deploy it first."},
		"what is gone can be deployed":                  {in(actions.StateCleaned), actions.VerbDeploy, "", ""},
		"what is gone cannot be cleaned up":             {in(actions.StateCleaned), actions.VerbCleanup, actions.CodeConflict, "shop/pr-42 is cleaned up already; there is nothing left to do."},
		"what is gone cannot wake":                      {in(actions.StateCleaned), actions.VerbWake, actions.CodeConflict, "shop/pr-42 was cleaned up; deploy it to have it anew."},
		"what is archived is restored, not deployed":    {in(actions.StateArchived), actions.VerbDeploy, actions.CodeConflict, "shop/pr-42 is archived; restore it first."},
		"what is archived is not archived":              {in(actions.StateArchived), actions.VerbArchive, actions.CodeConflict, "shop/pr-42 is archived already; restore it when you need it."},
		"what failed can be deployed":                   {in(actions.StateFailure), actions.VerbDeploy, "", ""},
		"what failed has no archive":                    {in(actions.StateFailure), actions.VerbRestore, actions.CodeConflict, "shop/pr-42 has no archive to restore; deploy it again."},
		"what failed halfway to its archive":            {half, actions.VerbDeploy, actions.CodeConflict, "shop/pr-42 may have parts that are archived, which a deploy would start empty; restore it or clean it up first."},
		"what failed halfway is restored":               {half, actions.VerbRestore, "", ""},
		"what failed cannot be restarted":               {in(actions.StateFailure), actions.VerbRestart, actions.CodeConflict, "shop/pr-42 is not running, because its last action failed; deploy it again before you restart it."},
		"what sleeps cannot sleep":                      {asleep, actions.VerbSleep, actions.CodeConflict, "shop/pr-42 sleeps already; wake it when you need it."},
		"what sleeps cannot be restarted":               {asleep, actions.VerbRestart, actions.CodeConflict, "shop/pr-42 sleeps; wake it instead."},
		"what sleeps can be deployed":                   {asleep, actions.VerbDeploy, "", ""},
		"what is awake cannot wake":                     {in(actions.StateRunning), actions.VerbWake, actions.CodeConflict, "shop/pr-42 is awake already; restart it if it does not answer, or deploy it if somebody scaled it down."},
		"a lock keeps everyone away":                    {locked, actions.VerbDeploy, actions.CodeConflict, "shop/pr-42 is locked by ana; unlock it first."},
		"what is being made can be asked to sleep":      {in(actions.StateCreatePending), actions.VerbSleep, "", ""},
		"what is being made cannot be restored":         {in(actions.StateCreatePending), actions.VerbRestore, actions.CodeConflict, "shop/pr-42 is running, so there is nothing to restore; deploy it to update it."},
		"what is being archived can be restored after":  {in(actions.StateArchivePending), actions.VerbRestore, "", ""},
		"what is being cleaned up can be deployed then": {in(actions.StateCleanupPending), actions.VerbDeploy, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := actions.Allowed(shop42, tc.env, tc.verb)
			wantCode(t, err, tc.code)
			if err != nil && actions.Message(err) != tc.msg {
				t.Errorf("message %q, want %q", actions.Message(err), tc.msg)
			}
		})
	}
}
