package dns

import (
	"context"
	"errors"
	"slices"
	"time"
)

// recordType is a type of record that a part can have.
type recordType string

// The types of records that parts can have, and that Berth looks at and changes.
const (
	typeA     recordType = "A"
	typeAAAA  recordType = "AAAA"
	typeCNAME recordType = "CNAME"
	typeTXT   recordType = "TXT"
)

// recordTypes are all of them, in the order in which people are told of them.
var recordTypes = []recordType{typeA, typeAAAA, typeCNAME, typeTXT}

// key names an RRset of a zone.
type key struct {
	// name is absolute, in lower case and ASCII, without a dot at its end:
	// "pr-1.shop.preview.example.org". See parseName.
	name string
	kind recordType
}

// rrset is all that is at one name and type.
type rrset struct {
	key
	ttl uint32 // seconds
	// values are in their normal form (see normalValue) and in order: addresses as
	// netip writes them, host names like names above, texts as they are, whatever
	// pieces a server keeps them in.
	values []string
	// native is what the provider itself read, for it to say later which records it
	// means; nil in what is to be written.
	native any
}

// same tells whether both say the same. Nil is an RRset that is not there.
func (s *rrset) same(other *rrset) bool {
	if s == nil || other == nil {
		return s == other
	}
	return s.key == other.key && s.ttl == other.ttl && slices.Equal(s.values, other.values)
}

// change is what becomes of one RRset. Before is what was read, nil when there
// was nothing; after is what shall be, nil when there shall be nothing. Where
// both are the same nothing is written, but the whole change set holds only if it
// is still so.
type change struct {
	key
	before, after *rrset
	// mark says that this is a record of ownership. Where a provider cannot change
	// everything at once, marks are written before what they speak of, and removed
	// after it.
	mark bool
	last bool // of a mark that is changed in two steps: the one after its records
}

// writes tells whether c changes anything.
func (c change) writes() bool { return !c.before.same(c.after) }

// errMoved is what apply fails with, having changed nothing, when something is no
// longer as it was read: read it again, and decide anew.
var errMoved = errors.New("the zone changed since it was read")

// provider reads and changes one zone. It is safe for concurrent use.
type provider interface {
	// read looks up RRsets at the server that takes changes. What is not there is
	// not in the answer; what a wildcard makes up for a name is not there.
	read(ctx context.Context, keys []key) (map[key]*rrset, error)
	// others are types of records at name beyond recordTypes, such as "MX"; a CNAME
	// cannot be beside them.
	others(ctx context.Context, name string) ([]string, error)
	// apply makes all the changes or, where the provider can do so, none: errMoved
	// when something is not as it was read. Without changes that write it does nothing.
	apply(ctx context.Context, changes []change) error
	// servers are the addresses, host:port, of the zone's authoritative servers, by
	// the names that people know them by.
	servers(ctx context.Context) ([]server, error)
	// negative is how long others may remember that a name does not exist.
	// Source: RFC 2308, section 5.
	negative(ctx context.Context) (time.Duration, error)
	// list is all RRsets of recordTypes in the zone.
	list(ctx context.Context) ([]*rrset, error)
}

// server is an authoritative name server.
type server struct {
	name    string // "ns1.example.org", or an address
	address string // host:port
}

// edit reads keys, lets decide say what shall become of them, and applies that;
// it begins anew when somebody else was faster. It returns what was applied last.
func edit(ctx context.Context, p provider, keys []key, decide func(map[key]*rrset) ([]change, error)) ([]change, error) {
	for try := 1; ; try++ {
		found, err := p.read(ctx, keys)
		if err != nil {
			return nil, err
		}
		changes, err := decide(found)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(changes, change.writes) {
			return changes, nil
		}
		err = p.apply(ctx, changes)
		if err == nil || !errors.Is(err, errMoved) || try == changeTries {
			return changes, err
		}
	}
}
