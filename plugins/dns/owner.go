package dns

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// owner is whose a name is, as the TXT record beside it says:
// "heritage=berth,app=shop,environment=pr-42,part=url,installation=…".
type owner struct {
	app, env, part string
	installation   string // "" when it is not told, which means ours
}

func stepOwner(step sdk.Step) owner {
	return owner{app: step.App, env: step.Env, part: step.Part, installation: step.Installation}
}

// text is what marks a name as o's.
func (o owner) text() string {
	out := heritage + ",app=" + url.QueryEscape(o.app) + ",environment=" + url.QueryEscape(o.env) + ",part=" + url.QueryEscape(o.part)
	if o.installation != "" {
		out += ",installation=" + url.QueryEscape(o.installation)
	}
	return out
}

// parseOwner reads what text wrote; false for any other text.
func parseOwner(text string) (owner, bool) {
	rest, ok := strings.CutPrefix(text, heritage+",")
	if !ok {
		return owner{}, false
	}
	var o owner
	fields := map[string]*string{"app": &o.app, "environment": &o.env, "part": &o.part, "installation": &o.installation}
	for pair := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			return owner{}, false
		}
		if field := fields[strings.TrimSpace(name)]; field != nil {
			*field = value
		}
	}
	return o, o.app != "" && o.env != "" && o.part != ""
}

// is tells whether both are the same. What was marked before installations were
// told apart is whoever's has its names.
func (o owner) is(other owner) bool {
	if o.installation == "" || other.installation == "" {
		o.installation, other.installation = "", ""
	}
	return o == other
}

// of names o to somebody who expected mine.
func (o owner) of(mine owner) string {
	text := fmt.Sprintf("%s/%s (part %s)", clip(o.app), clip(o.env), clip(o.part))
	if o.installation != "" && mine.installation != "" && o.installation != mine.installation {
		text += " of another Berth"
	}
	return text
}

// clip is a word of outside for a message, without quotes.
func clip(s string) string { return strings.Trim(quoted(s), `"`) }

// markOf is the owner that an RRset of ownership names, and how many there are.
func markOf(s *rrset) (o owner, marks int) {
	for _, v := range valuesOf(s) {
		if found, ok := parseOwner(v); ok {
			o, marks = found, marks+1
		}
	}
	return o, marks
}

// remarked is s with o's mark in place of those in it; other texts stay, and keep
// their TTL. Without o it is s without marks.
func remarked(s *rrset, name string, o *owner) *rrset {
	out := &rrset{key: key{ownerName(name), typeTXT}, ttl: markTTL}
	for _, v := range valuesOf(s) {
		if _, ok := parseOwner(v); !ok {
			out.values, out.ttl = append(out.values, v), s.ttl
		}
	}
	if o != nil {
		out.values = append(out.values, o.text())
	}
	if len(out.values) == 0 {
		return nil
	}
	slices.Sort(out.values)
	return out
}

// markTTL is the TTL of ownership records, in seconds. Berth asks the
// authoritative server alone, so nobody waits for it.
const markTTL = 300

// manifest is what a part has in a zone, as its own TXT record there says: what
// was deployed, for a later deploy to take away what is no longer wanted, and for
// a restore to bring back what was archived. It is changed in one go with the
// records.
type manifest struct {
	archived bool
	moving   bool     // the part may still have something in another zone
	sets     []*rrset // in the order in which they were deployed
}

// arrived tells whether the part is in m's zone, and in no other any more.
func (m *manifest) arrived() bool { return m != nil && len(m.sets) > 0 && !m.moving }

// manifestName is where o's manifest in zone is. Names of parts would be too long
// for it, and a hash is not.
func manifestName(o owner, zone string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{o.installation, o.app, o.env, o.part}, "\x00")))
	return hex.EncodeToString(sum[:10]) + "." + ownerLabel + "." + zone
}

const (
	manifestRecord  = "record="   // begins a text about a record that is there
	manifestArchive = "archived=" // begins one about a record that an archive took away
	manifestMoving  = "moving"    // is there until what was in another zone is gone
)

// set is the RRset that says m; nil says that the part has nothing.
func (m *manifest) set(o owner, zone string) *rrset {
	if m == nil || len(m.sets) == 0 {
		return nil
	}
	out := &rrset{key: key{manifestName(o, zone), typeTXT}, ttl: markTTL, values: []string{o.text()}}
	if m.moving {
		out.values = append(out.values, manifestMoving)
	}
	begin := manifestRecord
	if m.archived {
		begin = manifestArchive
	}
	for i, s := range m.sets {
		for _, v := range s.values {
			out.values = append(out.values, fmt.Sprintf("%s%d %s %s %d %s", begin, i, relative(s.name, zone), s.kind, s.ttl, v))
		}
	}
	slices.Sort(out.values)
	return out
}

// parseManifest reads what set wrote, nil without one that is o's. What is not
// understood in it is left out: it claims nothing.
func parseManifest(s *rrset, o owner, zone string) *manifest {
	mark, marks := markOf(s)
	if marks != 1 || !mark.is(o) {
		return nil
	}
	m := &manifest{moving: slices.Contains(s.values, manifestMoving)}
	type place struct {
		n int
		key
	}
	sets, live, gone := map[place]*rrset{}, false, false
	for _, v := range s.values {
		text, isLive := strings.CutPrefix(v, manifestRecord)
		if !isLive {
			var isGone bool
			if text, isGone = strings.CutPrefix(v, manifestArchive); !isGone {
				continue
			}
		}
		n, set, ok := parseManifestRecord(text, zone)
		if !ok {
			continue
		}
		live, gone = live || isLive, gone || !isLive
		at := place{n, set.key}
		if earlier := sets[at]; earlier != nil {
			set.values = append(set.values, earlier.values...)
			slices.Sort(set.values)
			set.values = slices.Compact(set.values)
		}
		sets[at] = set
	}
	// Where changes are made one by one, an archive that was cut off has both.
	m.archived = gone && !live
	order := slices.SortedFunc(maps.Keys(sets), func(a, b place) int { return cmp.Or(cmp.Compare(a.n, b.n), compareKeys(a.key, b.key)) })
	for _, at := range order {
		if !slices.ContainsFunc(m.sets, func(s *rrset) bool { return s.key == at.key }) {
			m.sets = append(m.sets, sets[at])
		}
	}
	return m
}

// parseManifestRecord reads "NUMBER NAME TYPE TTL VALUE".
func parseManifestRecord(text, zone string) (int, *rrset, bool) {
	words := strings.SplitN(text, " ", 5)
	if len(words) < 5 {
		return 0, nil, false
	}
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return 0, nil, false
	}
	name, err := parseName(zone, words[1])
	if err != nil {
		return 0, nil, false
	}
	ttl, err := strconv.ParseUint(words[3], 10, 31)
	if err != nil {
		return 0, nil, false
	}
	kind := recordType(words[2])
	value, err := normalValue(kind, words[4])
	if err != nil {
		return 0, nil, false
	}
	return n, &rrset{key: key{name, kind}, ttl: uint32(ttl), values: []string{value}}, true
}

// relative is an absolute name as a part would say it.
func relative(name, zone string) string {
	if name == zone {
		return "@"
	}
	return strings.TrimSuffix(name, "."+zone)
}
