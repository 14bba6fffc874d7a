package aws

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// kind is one kind of thing that a part can ask AWS for: a key of its `with`.
// All that the executor knows is in the slice that kinds returns.
type kind struct {
	name   string         // the key in `with`: "rds"
	title  string         // what people read: "RDS instance"
	schema map[string]any // JSON Schema (2020-12) of the key's value
	// after names the kinds of the same part that have to be there before this one:
	// its outputs are built with theirs. Cleanup goes the other way.
	after []string
	// global is set for a service that is one for all regions of an account; it is
	// listed in the account's first region alone.
	global bool
	// open reads the settings and makes the thing that they are about, without
	// reaching out. It is Invalid when the settings are wrong.
	open func(s *session, in input) (thing, error)
	// list finds what bears Berth's tags in the session's account and region. When
	// it cannot see all of it, it fails: what is not seen is not gone. It may leave
	// out what is surely not s.owner's, when that names an environment.
	list func(ctx context.Context, s *session) ([]found, error)
}

// kinds is everything that a part can ask for, in the order in which it is told.
func kinds() []kind {
	return []kind{
		secretKind(), s3Kind(), sqsKind(), snsKind(), ecrKind(), iamKind(), stackKind(),
		rdsKind(),
		auroraKind(),
	}
}

// input is what a thing is opened with.
type input struct {
	// settings is the value of the kind's key. It is nil when the part names the
	// kind no more, or when nothing is known of the part but what was found: what
	// is opened so is only observed and removed.
	settings map[string]any
	// name is that of what list found. "" means the one that the settings say, or
	// s.name.
	name string
}

// thing is one thing at AWS, such as a database instance, with the settings that
// a part has for it. Its methods look before they act, and AWS's present state
// is all that they go by: none remembers anything between two calls, so that a
// step that a crash cut off is carried on by the next.
type thing interface {
	// title names the thing for people: `RDS instance "berth-shop-pr-42-db"`.
	title() string
	// plan says what the verb would change, and changes nothing. It refuses what
	// the verb would be refused for, so far as that can be seen.
	plan(ctx context.Context, verb sdk.Verb) (proposal, error)
	// deploy takes the thing one step nearer to what the settings say: it starts
	// what is missing, at most once, and tells what is waited for. It is called
	// again, after a pause, until it says done. What is right already is done
	// without a change.
	deploy(ctx context.Context) (progress, error)
	// remove does the same toward nothing being left. What is not there is done;
	// what is another's is left alone, and done as well.
	remove(ctx context.Context) (progress, error)
	// outputs are what other parts may use of a thing that deploy was done with.
	// Never a secret, but its ARN.
	outputs(ctx context.Context) (map[string]string, error)
	// observe looks at the thing.
	observe(ctx context.Context) (report, error)
}

// archiver is a thing that costs while it is there, and can be kept as a
// snapshot. What is none is left as it is by archive: a bucket or a queue costs
// nothing worth its loss.
type archiver interface {
	// archive keeps the data and takes away the rest.
	archive(ctx context.Context) (progress, error)
	// restore brings back what archive kept: with asWas exactly as it was,
	// otherwise with the present settings. It is Invalid, before anything is done,
	// when what was kept is gone; plan says so, too.
	restore(ctx context.Context, asWas bool) (progress, error)
}

// sleeper is a thing that can be stopped and started.
type sleeper interface {
	sleep(ctx context.Context) (progress, error)
	wake(ctx context.Context) (progress, error)
}

// restarter is a thing that can be started anew.
type restarter interface {
	// restart is called again until it says done, with the ID of the step. AWS's
	// state does not tell whether it has been done, so the thing is tagged with the
	// ID by then: the same step does it once.
	restart(ctx context.Context, stepID string) (progress, error)
}

// progress is how far a step has come.
type progress struct {
	done bool
	text string // what is waited for: `RDS instance "berth-…" is creating`
	// lines are passed on to the step's log, such as the events of a stack.
	lines []string
}

// finished is a step that has nothing left to do.
func finished() (progress, error) { return progress{done: true}, nil }

// waiting is a step that has to be looked at again.
func waiting(format string, args ...any) (progress, error) {
	return progress{text: fmt.Sprintf(format, args...)}, nil
}

// proposal is what a verb would do to one thing.
type proposal struct {
	// lines are those of a diff: they begin with "+ ", "- ", "~ " or, for what stays
	// as it is, "  ". Values that are secret are left out.
	lines     []string
	resources []sdk.Resource    // what is made, changed and taken away; none when nothing is
	inputs    map[string]string // what decides the result and can move: "snapshot": its ARN
	monthly   float64           // US dollars for a month of what is there afterwards, an estimate; 0 when it cannot be told
	asks      string            // what that is for: "db.t4g.micro, 20 GiB gp3"; "" when it costs nothing while it is idle
}

// report is what is seen of one thing.
type report struct {
	health sdk.Health // Absent when it is not there; "" counts as Healthy
	text   string     // why, when not healthy
	drift  []string
	facts  []sdk.Fact
	links  []sdk.Link
}

// found is something that bears Berth's tags.
type found struct {
	kind      string // filled in by the executor
	name      string // what input.name takes
	owner     owner
	createdAt time.Time // zero when the service does not tell
	// retained is when something that a cleanup left on purpose, such as a
	// snapshot, may go. Until then it belongs to nobody's environment. The zero
	// time is what was not left so.
	retained time.Time
}
