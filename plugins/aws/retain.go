package aws

import (
	"regexp"
	"strconv"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// retention is how long the last snapshot of what a cleanup took away is kept.
// The zero value keeps none.
type retention struct {
	forever bool
	keep    time.Duration
}

// The tags that say what becomes of a snapshot.
const (
	// tagRetain is on a database: the retention that cleanup goes by when it knows
	// nothing else of the part.
	tagRetain = "berth:retain"
	// tagRetained is on a snapshot that a cleanup left: until when, RFC 3339 in UTC,
	// or "forever".
	tagRetained = "berth:retained-until"
)

const forever = "forever"

var retainPattern = regexp.MustCompile(`^([1-9]\d{0,3})([dh])$`)

// readRetain reads `none`, `forever`, `7d` or `36h`; "" is otherwise.
func readRetain(text string, otherwise retention) (retention, error) {
	switch text {
	case "":
		return otherwise, nil
	case "none":
		return retention{}, nil
	case forever:
		return retention{forever: true}, nil
	}
	m := retainPattern.FindStringSubmatch(text)
	if m == nil {
		return retention{}, sdk.Invalid("`retain` is %q; write none, forever, or a time such as 7d or 36h.", clip(text, 40))
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return retention{}, sdk.Internal("`retain` cannot be read: %w", err)
	}
	unit := time.Hour
	if m[2] == "d" {
		unit = 24 * time.Hour
	}
	return retention{keep: time.Duration(n) * unit}, nil
}

// none tells whether nothing is kept.
func (r retention) none() bool { return !r.forever && r.keep <= 0 }

// until is the value of tagRetained for what is kept from now on.
func (r retention) until(now time.Time) string {
	if r.forever {
		return forever
	}
	return now.Add(r.keep).UTC().Format(time.RFC3339)
}

// span is for a plan, which says the same whenever it is made: when the time
// begins is not known before it runs.
func (r retention) span() string {
	if r.forever {
		return "until somebody deletes it"
	}
	return "for " + r.String()
}

// String is as it is written in settings.
func (r retention) String() string {
	switch {
	case r.forever:
		return forever
	case r.keep <= 0:
		return "none"
	case r.keep%(24*time.Hour) == 0:
		return strconv.Itoa(int(r.keep/(24*time.Hour))) + "d"
	}
	return strconv.Itoa(int(r.keep/time.Hour)) + "h"
}
