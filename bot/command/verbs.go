package command

import (
	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// argument says what may stand after a verb.
type argument int

const (
	argTarget  argument = iota // app/name, app or nothing
	argApp                     // app or nothing
	argRequest                 // a request's id, which must be there
	argAny                     // a target, or the id of a run or request
	argReason                  // an environment or a request's id, and then words that are the reason
	argLink                    // an account or a code, or "remove" and an account
	argTopic                   // a verb
	argSet                     // a target, and then variables with their values; with --secret one variable
	argUnset                   // a target, and then variables
)

// usage is how each kind of argument is written in help.
var usage = map[argument]string{
	argTarget: "[TARGET]", argApp: "[APP]", argRequest: "REQUEST", argAny: "[TARGET | ID]", argReason: "[TARGET | ID] [REASON…]",
	argLink: "[ACCOUNT | CODE | remove ACCOUNT]", argTopic: "[VERB]",
	argSet: "[TARGET] KEY=VALUE…", argUnset: "[TARGET] KEY…",
}

// entry is one verb of the grammar. All that is said about a verb anywhere is
// said here.
type entry struct {
	verb    string
	arg     argument
	flags   []string // by name, without dashes
	short   string   // what it does, for the list
	long    string   // what else there is to know
	example string
}

// flagHelp says what each flag takes and means. An empty takes means that the
// flag has no value.
var flagHelp = map[string]struct{ takes, text string }{
	"ref":         {"SHA|branch", "what to deploy; left out, the pull request's head, or the default branch"},
	"set":         {"key=value", "sets a value that the app's `allow_set` allows; may be repeated"},
	"with":        {"component=REF", "takes a component of the app from a branch, tag, commit or pull request (`api=acme/api#12`); may be repeated"},
	"cluster":     {"NAME", "where to deploy it, of the clusters that the app may use"},
	"to":          {"REVISION", "the revision to go back to, as `history` counts them"},
	"keep":        {"", "it no longer expires, and schedules leave it alone, until it is extended by a time"},
	"secret":      {"NAME", "sets the variable to a secret that the app offers, instead of a value that people can read"},
	"ttl":         {"48h", "how long the environment is to live: hours (`48h`), days (`3d`), minutes (`90m`)"},
	"pods":        {"", "what the environment's pods print"},
	"part":        {"PART", "of this part alone"},
	"pod":         {"POD", "of the pods alone whose names begin so"},
	"container":   {"NAME", "of the containers of that name alone"},
	"since":       {"10m", "no lines that are older"},
	"tail":        {"LINES", "the last so many lines of each container"},
	"grep":        {"TEXT", "lines with that text in them alone"},
	"reason":      {`"…"`, "why, for the record"},
	"break-glass": {"", "sets aside what may be set aside by you; needs `--reason`, which everybody will read"},
	"dry-run":     {"", "plans, shows what would change, and changes nothing"},
	"wait":        {"", "in a terminal: stays until it has ended"},
}

// flagOrder is the order in which help shows flags.
var flagOrder = []string{"ref", "with", "cluster", "set", "to", "ttl", "keep", "secret", "pods", "part", "pod", "container", "since", "tail", "grep", "reason", "break-glass", "dry-run", "wait"}

var printing = []string{"pods", "part", "pod", "container", "since", "tail", "grep"}

var acting = []string{"reason", "break-glass", "dry-run", "wait"}

// entries is the grammar, in the order of help.
var entries = []entry{
	{verb: string(actions.VerbDeploy), flags: append([]string{"ref", "with", "cluster", "set", "ttl"}, acting...),
		short: "creates an environment, or updates it", example: "deploy shop/pr-42 --ref main",
		long: "Deploying what is already deployed changes nothing but the time that it expires. Components that `--with` does not name stay as they are."},
	{verb: string(actions.VerbArchive), flags: acting,
		short: "takes an environment down and keeps what is needed to restore it", example: "archive shop/pr-42",
		long: "Compute is given back; data stays, and so does the record of what ran."},
	{verb: string(actions.VerbRestore), flags: append([]string{"ref", "ttl"}, acting...),
		short: "brings an archived environment back", example: "restore shop/pr-42",
		long: "Without `--ref` exactly what was archived comes back; with it, that commit on the data that was kept."},
	{verb: string(actions.VerbCleanup), flags: acting,
		short: "removes an environment with all its data", example: `cleanup shop/pr-42 --reason "merged"`},
	{verb: string(actions.VerbRollback), flags: append([]string{"to"}, acting...),
		short: "goes back to a revision that was good", example: "rollback shop/pr-42 --to 3",
		long: "Without `--to` it is the one before what runs, or, when an update failed halfway, what ran before it."},
	{verb: string(actions.VerbRestart), flags: acting,
		short: "restarts an environment's workloads", example: "restart shop/pr-42"},
	{verb: string(actions.VerbSleep), flags: acting,
		short: "scales an environment down until it is woken", example: "sleep shop/pr-42",
		long: "Data stays. A deploy wakes it too."},
	{verb: string(actions.VerbWake), flags: acting,
		short: "scales a sleeping environment up again", example: "wake shop/pr-42"},
	{verb: string(actions.VerbExtend), flags: append([]string{"ttl", "keep"}, acting...),
		short: "lets an environment live longer", example: "extend shop/pr-42 --ttl 3d",
		long: "Without `--ttl` it is the app's own lifetime that is added."},
	{verb: bot.VerbStatus,
		short: "says how an environment is", example: "status shop/pr-42"},
	{verb: bot.VerbHistory,
		short: "shows an environment's revisions, and what was done to it", example: "history shop/pr-42",
		long: "`rollback --to REVISION` goes back to one of them."},
	{verb: bot.VerbVars,
		short: "shows an environment's variables and who set them", example: "vars shop/pr-42",
		long: "Values are shown to those alone who may set them, and only where nobody else reads along."},
	{verb: bot.VerbSet, arg: argSet, flags: []string{"secret", "reason"},
		short: "sets variables of an environment", example: "set shop/pr-42 LOG_LEVEL=debug",
		long: "They take effect with its next deploy. What is typed can be read where it is typed; `set KEY --secret NAME` takes a secret that the app offers."},
	{verb: bot.VerbUnset, arg: argUnset, flags: []string{"reason"},
		short: "takes variables of an environment back", example: "unset shop/pr-42 LOG_LEVEL",
		long: "What the app gives counts again from the next deploy on. A variable in small letters that could be an app is put in quotes, or behind a target."},
	{verb: bot.VerbList, arg: argApp,
		short: "lists environments", example: "list shop"},
	{verb: bot.VerbLogs, arg: argAny, flags: printing,
		short: "shows the log of an environment's last run, or of a run; or what its pods print", example: "logs shop/pr-42 --pods --since 10m",
		long: "--pods, or any flag that narrows it down, means what the environment's own programs print, all of them merged, and not the log of a run."},
	{verb: bot.VerbDiff, arg: argAny, flags: []string{"ref", "with", "cluster", "set"},
		short: "shows what a deploy would change, or what a request changes", example: "diff shop/pr-42 --ref main",
		long: "Where what runs is not what was deployed any more, it says so first."},
	{verb: bot.VerbApprove, arg: argAny, flags: []string{"reason", "break-glass"},
		short: "agrees to a request", example: "approve 01jd3m6tq8c5x0v9b7n2k4h1wz",
		long: "Without an id it is the one request of the environment that waits."},
	{verb: bot.VerbDeny, arg: argReason, flags: []string{"reason"},
		short: "says no to a request", example: "deny shop/pr-42 freeze until Monday",
		long: "Without an id it is the one request of the environment that waits. Words that are no `app/name` and no id are the reason."},
	{verb: bot.VerbCancel, arg: argAny, flags: []string{"reason"},
		short: "withdraws a request, or stops what runs", example: "cancel shop/pr-42",
		long: "With a target it is the environment's newest request that has not ended. What waits is withdrawn at once; what runs stops at its next safe point."},
	{verb: bot.VerbRetry, arg: argRequest, flags: []string{"wait"},
		short: "asks again for what failed", example: "retry 01jd3m6tq8c5x0v9b7n2k4h1wz",
		long: "It is a new request, with the options of the one that failed and today's commit. A request is retried once, whoever asks; a retry that fails too is retried itself."},
	{verb: bot.VerbLock, flags: []string{"reason"},
		short: "keeps everybody's actions away from an environment", example: `lock shop/pr-42 --reason "demo at 3"`},
	{verb: bot.VerbUnlock, flags: []string{"reason"},
		short: "lets actions at an environment again", example: "unlock shop/pr-42"},
	{verb: bot.VerbExplain, arg: argAny,
		short: "says why a request is where it is: rules, what is missing, who can give it", example: "explain 01jd3m6tq8c5x0v9b7n2k4h1wz"},
	{verb: bot.VerbLink, arg: argLink,
		short: "links your accounts, so that they count as one person", example: "link github:ana",
		long: "Alone it shows what is linked. `link ACCOUNT`, typed in a terminal, gives a code; `link CODE`, typed by that account, links the two."},
	{verb: bot.VerbHelp, arg: argTopic,
		short: "says what can be typed", example: "help deploy"},
}

// Verbs are all verbs of the grammar in the order of help.
func Verbs() []string {
	verbs := make([]string, len(entries))
	for i, e := range entries {
		verbs[i] = e.verb
	}
	return verbs
}

// find is the entry of a verb.
func find(verb string) (entry, bool) {
	for _, e := range entries {
		if e.verb == verb {
			return e, true
		}
	}
	return entry{}, false
}

// Nearest is the verb that word was probably meant to be, or "".
func Nearest(word string) string { return bot.Nearest(word, Verbs()) }

// argumentNames are the kinds of arguments for programs that offer them apart.
var argumentNames = map[argument]string{
	argTarget: "TARGET", argApp: "APP", argRequest: "REQUEST", argAny: "TARGET | ID", argReason: "TARGET | ID, REASON",
	argLink: "ACCOUNT | CODE", argTopic: "VERB", argSet: "TARGET, VARIABLES", argUnset: "TARGET, VARIABLES",
}

// Argument is what may stand after a verb: TARGET, APP, REQUEST, "TARGET | ID",
// "TARGET | ID, REASON", "ACCOUNT | CODE", VERB, "TARGET, VARIABLES", or "".
func Argument(verb string) string {
	e, ok := find(verb)
	if !ok {
		return ""
	}
	return argumentNames[e.arg]
}

// Flags are the names of the flags that a verb takes, without dashes, in the
// order of help.
func Flags(verb string) []string {
	e, _ := find(verb)
	return e.flags
}

// Flag is what help says of a flag: what it takes ("" for one without a value)
// and what it means.
func Flag(name string) (takes, text string) {
	f := flagHelp[name]
	return f.takes, f.text
}
