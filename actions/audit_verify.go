package actions

import (
	"encoding/json"
	"fmt"
	"slices"
)

// AuditBreak is where an audit chain is not what was written.
type AuditBreak struct {
	Env    Name   `json:"environment,omitzero"` // whose chain; zero when it is the chain of anchors
	Anchor bool   `json:"anchor,omitempty"`     // it is the chain of anchors, and Seq an anchor's number
	Seq    int64  `json:"seq"`                  // of the first record that is not as it was written
	Line   int    `json:"line,omitempty"`       // of an export, from 1; 0 when Redis was read
	What   string `json:"what"`                 // what about it: "is missing", "was changed", "is out of order: …"
}

// Error is the break in words, without a full stop.
func (b *AuditBreak) Error() string {
	line := ""
	if b.Line > 0 {
		line = fmt.Sprintf(" (line %d)", b.Line)
	}
	if b.Anchor {
		return fmt.Sprintf("anchor %d%s %s", b.Seq, line, b.What)
	}
	return fmt.Sprintf("record %d of the audit of %s%s %s", b.Seq, ChainName(b.Env), line, b.What)
}

// maxBreaks bounds how many breaks of one chain are told: what is written over
// as a whole need not be told record by record.
const maxBreaks = 100

// chainCheck walks a chain, from its first record to its last, and goes on
// after a break with what stands there.
type chainCheck struct {
	env    Name
	anchor bool               // it is the chain of anchors; env is zero
	next   int64              // the Seq that must come now
	prev   string             // the Hash of the record before it
	blind  bool               // prev is not known, since the record before was changed
	gaps   [][2]int64         // numbers that were passed over, from and to, and have not come yet
	points []mark             // what anchors vouch for, in the order of seq
	sound  int64              // the last point that held, or where the chain begins
	forged mark               // the first point that did not
	fresh  int64              // records after the last point
	breaks int                // told so far
	tell   func(b AuditBreak) // told at once, in the order in which they are seen
}

func (c *chainCheck) fault(seq int64, format string, args ...any) {
	if c.breaks++; c.breaks <= maxBreaks {
		c.tell(AuditBreak{Env: c.env, Anchor: c.anchor, Seq: seq, What: fmt.Sprintf(format, args...)})
	}
}

// from puts the check behind at: the chain begins there, since retention
// removed what came before.
func (c *chainCheck) from(at mark) {
	c.next, c.prev, c.sound = at.seq+1, at.hash, at.seq
	for len(c.points) > 0 && c.points[0].seq <= at.seq {
		if p := c.points[0]; p.seq == at.seq && p.hash != at.hash {
			c.fault(at.seq, "was changed: the checkpoint that stands for it and all before it is not what was anchored")
		}
		c.points = c.points[1:]
	}
}

// readRecord reads a stored record, and tells whether it is as it was written:
// its hash is right, and there is nothing besides what the hash covers.
func readRecord(text []byte) (r Record, sound bool) {
	if err := json.Unmarshal(text, &r); err != nil {
		return Record{}, false
	}
	again, canonical, err := r.hashed()
	return r, err == nil && again.Hash == r.Hash && string(canonical) == string(text)
}

// step looks at the record that stands where c.next must.
func (c *chainCheck) step(r Record, sound bool) {
	switch {
	case !sound || r.Env != c.env || r.Seq < 1 || r.Seq > maxSeq:
		c.fault(c.next, "was changed")
		c.next, c.blind = c.next+1, true
		return
	case r.Seq < c.next:
		c.late(r)
		return
	case r.Seq > c.next:
		if len(c.gaps) >= maxBreaks { // so that no chain is ever slow to walk
			c.missing(c.gaps[0])
			c.gaps = c.gaps[1:]
		}
		c.gaps = append(c.gaps, [2]int64{c.next, r.Seq - 1})
	case !c.blind && r.Prev != c.prev && c.next == 1:
		c.fault(1, "was changed: it says that a record comes before it")
	case !c.blind && r.Prev != c.prev:
		c.fault(c.next-1, "was changed: record %d does not follow it", c.next)
	}
	c.next, c.prev, c.blind = r.Seq+1, r.Hash, false
	c.meet(r)
}

// missing tells of records that did not come.
func (c *chainCheck) missing(gap [2]int64) {
	if gap[0] == gap[1] {
		c.fault(gap[0], "is missing")
	} else {
		c.fault(gap[0], "is missing, and so are those after it up to record %d", gap[1])
	}
}

// late is step for a record whose number has been passed.
func (c *chainCheck) late(r Record) {
	for i, gap := range c.gaps {
		if r.Seq < gap[0] || r.Seq > gap[1] {
			continue
		}
		rest := slices.DeleteFunc([][2]int64{{gap[0], r.Seq - 1}, {r.Seq + 1, gap[1]}}, func(g [2]int64) bool { return g[0] > g[1] })
		c.gaps = slices.Replace(c.gaps, i, i+1, rest...)
		c.fault(r.Seq, "is out of order: it stands after record %d", c.next-1)
		c.meet(r)
		return
	}
	c.fault(c.next, "is out of order: another record %d stands in its place", r.Seq)
}

// meet compares a record with what anchors vouch for.
func (c *chainCheck) meet(r Record) {
	c.fresh++
	for i, p := range c.points {
		if p.seq < r.Seq {
			continue
		}
		for _, p := range c.points[i:] {
			if p.seq > r.Seq {
				break
			}
			switch {
			case p.hash != r.Hash && c.forged == (mark{}):
				c.forged = p
			case p.hash == r.Hash && c.forged == (mark{}):
				c.sound = r.Seq
			}
			c.fresh = 0
		}
		break
	}
	for len(c.points) > 0 && c.points[0].seq <= r.Seq && len(c.gaps) == 0 {
		c.points = c.points[1:]
	}
}

// end compares the chain's end with its head. known is false for a chain of
// which no head is known.
func (c *chainCheck) end(head string, known bool) {
	last := c.next - 1
	at, ok := parseMark(head)
	switch {
	case !known:
	case head == unreadable:
		c.fault(max(last, 1), "has no head that vouches for it: the key of the head holds no text")
	case !ok || (head == "" && last > 0):
		c.fault(max(last, 1), "has no head that vouches for it")
	case at.seq > last:
		c.gaps = append(c.gaps, [2]int64{last + 1, at.seq})
		last = at.seq
	case at.seq < last:
		c.fault(at.seq+1, "was added")
	case at.hash != c.prev && !c.blind:
		c.fault(last, "was changed")
	}
	if n := len(c.points); n > 0 && c.points[n-1].seq > last {
		from := last + 1
		c.gaps = append(c.gaps, [2]int64{from, c.points[n-1].seq})
	}
	for _, gap := range c.gaps {
		c.missing(gap)
	}
	if c.forged != (mark{}) {
		c.fault(c.sound+1, "%s", c.forgery())
	}
}

// forgery is what is wrong with the records between the last one that held and
// the first one that an anchor knows otherwise.
func (c *chainCheck) forgery() string {
	which, who := "", fmt.Sprintf("an anchor vouches for another record %d", c.forged.seq)
	if c.anchor {
		who = fmt.Sprintf("this Berth saw another anchor %d before", c.forged.seq)
	}
	if c.forged.seq > c.sound+1 {
		which = fmt.Sprintf("or one after it up to %d ", c.forged.seq)
	}
	return which + "was changed, and every later hash was computed anew: " + who
}
