package actions

import "slices"

// Verb is what can be done to an environment.
type Verb string

// The verbs of actions. The first four reach every part's executor.
const (
	VerbDeploy   Verb = "deploy"
	VerbArchive  Verb = "archive"
	VerbRestore  Verb = "restore"
	VerbCleanup  Verb = "cleanup"
	VerbRollback Verb = "rollback"
	VerbRestart  Verb = "restart"
	VerbSleep    Verb = "sleep"
	VerbWake     Verb = "wake"
	VerbExtend   Verb = "extend"
)

// Verbs lists all verbs in the order in which help shows them.
func Verbs() []Verb {
	return []Verb{VerbDeploy, VerbArchive, VerbRestore, VerbCleanup, VerbRollback, VerbRestart, VerbSleep, VerbWake, VerbExtend}
}

// ParseVerb returns CodeInvalid for a word that is no verb.
func ParseVerb(s string) (Verb, error) {
	if v := Verb(s); slices.Contains(Verbs(), v) {
		return v, nil
	}
	return "", Errorf("verb.parse", CodeInvalid, "%q is not an action.", clip(s))
}

// Down tells whether v goes down the list of parts (a part after those that it
// needs). The others go back up it.
func (v Verb) Down() bool { return v != VerbArchive && v != VerbCleanup && v != VerbSleep }

// TakesCommit tells whether v runs a commit that a person may choose.
func (v Verb) TakesCommit() bool { return v == VerbDeploy || v == VerbRestore }
