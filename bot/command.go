package bot

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
)

// The verbs of commands that are no actions. Those of actions are
// actions.Verbs.
const (
	VerbStatus  = "status"
	VerbList    = "list"
	VerbLogs    = "logs"
	VerbDiff    = "diff"
	VerbApprove = "approve"
	VerbDeny    = "deny"
	VerbCancel  = "cancel"
	VerbRetry   = "retry"
	VerbLock    = "lock"
	VerbUnlock  = "unlock"
	VerbExplain = "explain"
	VerbLink    = "link"
	VerbHelp    = "help"
	VerbHistory = "history" // the revisions of an environment, and what was done to it
	VerbVars    = "vars"    // the variables of an environment
	VerbSet     = "set"     // sets variables of an environment
	VerbUnset   = "unset"   // takes them back
)

// MaxCommands is how many commands of one comment are carried out. People type
// one or two; more is most likely something pasted.
const MaxCommands = 5

// Command is one line, understood. Which fields a verb fills is said by the
// grammar (package command); the others are zero.
type Command struct {
	Verb   string
	App    string            // of the target; "" when the place has to imply it
	Env    string            // of the target; "" when the place has to imply it
	ID     string            // of a request or a run, in lower case
	Topic  string            // help: the verb that it is about
	Help   string            // help: what there is to say, in Markdown
	Ref    string            // --ref
	Set    map[string]string // --set; of the verb set, the variables
	Unset  []string          // unset: the variables
	Secret string            // set --secret: the offered secret that the one variable is set to
	With   map[string]string // --with: what components are taken from, by component
	// Cluster is --cluster; To the revision of rollback --to; Keep is extend --keep.
	Cluster string
	To      int
	Keep    bool
	TTL     time.Duration // --ttl; 0 when not given
	Reason  string        // --reason
	Glass   bool          // --break-glass
	DryRun  bool          // --dry-run
	Wait    bool          // --wait
	// Printed is what logs shows of what an environment's programs print; nil means
	// the log of a run.
	Printed *Printed
	// What link is about: an account to link, or with Remove to take away, or the
	// code that links this one.
	Account string
	Code    string
	Remove  bool
}

// Printed says which lines of an environment's programs are wanted.
type Printed struct {
	Part      string        // --part; "" means all
	Pod       string        // --pod: a pod's name, or how it begins
	Container string        // --container
	Since     time.Duration // --since: no older than this; 0 means all
	Tail      int           // --tail: the last so many of each container; 0 means all
	Contains  string        // --grep
}

// Query is p as of now. A nil p is not one.
func (p Printed) Query(now time.Time) actions.LogQuery {
	q := actions.LogQuery{Pod: p.Pod, Container: p.Container, Tail: p.Tail, Contains: p.Contains}
	if p.Since > 0 {
		q.Since = now.Add(-p.Since)
	}
	return q
}

// words are the flags that p is written with.
func (p *Printed) words() []string {
	if p == nil {
		return nil
	}
	words := []string{"--pods"}
	for _, f := range []struct{ name, value string }{
		{"--part", p.Part}, {"--pod", p.Pod}, {"--container", p.Container}, {"--grep", p.Contains},
	} {
		if f.value != "" {
			words = append(words, f.name, Quote(f.value))
		}
	}
	if p.Since > 0 {
		words = append(words, "--since", FormatTTL(p.Since))
	}
	if p.Tail > 0 {
		words = append(words, "--tail", strconv.Itoa(p.Tail))
	}
	return words
}

// Target is "app/name", "app" or "".
func (c Command) Target() string {
	if c.Env == "" {
		return c.App
	}
	return c.App + "/" + c.Env
}

// String is the command in its normal form: one space between words, flags in
// a fixed order, quotes only where they are needed. Parsing it gives the same
// command.
func (c Command) String() string {
	return c.text(Quote)
}

// Hidden stands for a value that was set where the command is shown.
const Hidden = "…"

// Masked is String with Hidden in place of each value of --set and of the verb
// set: values may be secrets, and commands are shown where more people read than
// may know them, such as on a public pull request.
func (c Command) Masked() string {
	return c.text(func(string) string { return Hidden })
}

// Masked is set with Hidden in place of each value.
func Masked(set map[string]string) map[string]string {
	if set == nil {
		return nil
	}
	out := make(map[string]string, len(set))
	for key := range set {
		out[key] = Hidden
	}
	return out
}

// text writes the command, and each value that it sets as shown writes it.
func (c Command) text(shown func(value string) string) string {
	words := []string{c.Verb}
	if c.Remove {
		words = append(words, "remove")
	}
	for _, w := range []string{c.Target(), c.ID, c.Topic, c.Account, c.Code} {
		if w != "" {
			words = append(words, w)
		}
	}
	words = append(words, c.variables(shown)...)
	flag := func(name, value string) {
		if value != "" {
			words = append(words, name, Quote(value))
		}
	}
	flag("--secret", c.Secret)
	flag("--ref", c.Ref)
	flag("--cluster", c.Cluster)
	for _, component := range slices.Sorted(maps.Keys(c.With)) {
		words = append(words, "--with", component+"="+Quote(c.With[component]))
	}
	if c.Verb != VerbSet {
		for _, key := range slices.Sorted(maps.Keys(c.Set)) {
			words = append(words, "--set", key+"="+shown(c.Set[key]))
		}
	}
	if c.To > 0 {
		words = append(words, "--to", strconv.Itoa(c.To))
	}
	words = append(words, c.Printed.words()...)
	if c.TTL > 0 {
		words = append(words, "--ttl", FormatTTL(c.TTL))
	}
	flag("--reason", c.Reason)
	for _, on := range []struct {
		name string
		is   bool
	}{{"--keep", c.Keep}, {"--break-glass", c.Glass}, {"--dry-run", c.DryRun}, {"--wait", c.Wait}} {
		if on.is {
			words = append(words, on.name)
		}
	}
	return strings.Join(words, " ")
}

// variables are the words of the verbs set and unset that name variables. The
// first key of unset is quoted where it could be taken for an app.
func (c Command) variables(shown func(value string) string) []string {
	var words []string
	if c.Verb == VerbSet {
		for _, key := range slices.Sorted(maps.Keys(c.Set)) {
			if c.Secret != "" {
				words = append(words, key)
			} else {
				words = append(words, key+"="+shown(c.Set[key]))
			}
		}
	}
	for i, key := range c.Unset {
		if i == 0 && c.App == "" && actions.ValidName(key) {
			key = `"` + key + `"`
		}
		words = append(words, key)
	}
	return words
}

// FormatTTL writes a lifetime as the commands take it: 48h, 90m, 1h30m.
func FormatTTL(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Quote puts s between quotes when the grammar would not read it as one word.
func Quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:,+@%#-", r)
	}
	if s != "" && !strings.HasPrefix(s, "-") && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Nearest is the one of the words that word most probably was meant to be, or
// "" when none is close: one slip (a letter wrong, missing, too many, or two
// swapped) in a short word, two in one of six letters or more, and none between
// words of three letters, of which many are alike.
func Nearest(word string, among []string) string {
	word = strings.ToLower(word)
	if len(word) > 64 {
		return ""
	}
	best, least := "", 3
	for _, candidate := range among {
		most := 1
		switch {
		case min(len(candidate), len(word)) >= 6:
			most = 2
		case max(len(candidate), len(word)) <= 3:
			most = 0
		}
		if d := distance(word, candidate, most); d <= most && d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the Damerau-Levenshtein distance (optimal string alignment)
// between a and b, or most+1 when it is larger than most.
func distance(a, b string, most int) int {
	x, y := []rune(a), []rune(b)
	if d := len(x) - len(y); d > most || -d > most {
		return most + 1
	}
	before, row, next := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		next[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row, next = row, next, before
	}
	return min(row[len(y)], most+1)
}

// clip shortens outside text that is repeated in a sentence.
func clip(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// number writes n with its noun: "1 part", "3 parts".
func number(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
