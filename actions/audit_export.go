package actions

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxRecord is more than the longest record takes as JSON, in bytes. Longer
// lines of an export are not read.
const maxRecord = 1 << 20

// ExportSummary is what an export holds.
type ExportSummary struct {
	Records int64 `json:"records"`
	Chains  int   `json:"chains"`
	Breaks  int   `json:"breaks"`
	// Later are the chains that begin after their first record, since retention
	// removed earlier ones or the export left them out. What came before them
	// cannot be told from the export.
	Later []ChainStart `json:"later,omitempty"`
}

// ChainStart is where a chain begins.
type ChainStart struct {
	Env  Name   `json:"environment"`
	Seq  int64  `json:"seq"`  // of the first record that is there
	Prev string `json:"prev"` // the hash of the record before it
}

// VerifyRecords checks an export: one audit record a line, of any number of
// chains in any order, the records of one chain oldest first. It tells each
// break that it finds and goes on. Its error is that of r, or that r is no
// export at all (CodeInvalid), as one without a record is none; a break is not an error.
//
// An export is checked by itself: whether it ends where the chain does, and
// whether all its hashes were computed anew, only a head or an anchor that is
// known from elsewhere can tell.
func VerifyRecords(r io.Reader, tell func(AuditBreak)) (ExportSummary, error) {
	x := exportCheck{chains: map[Name]*chainCheck{}, tell: tell}
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, long, err := readLine(lines)
		if len(line) > 0 || long {
			x.number++
			if err := x.line(bytes.TrimSpace(line), long); err != nil {
				return x.sum, err
			}
		} else if err == nil {
			x.number++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return x.sum, Wrap("audit.verify_export", CodeUnavailable, err, "The export could not be read to its end.")
		}
	}
	if x.sum.Records == 0 {
		return x.sum, Errorf("audit.verify_export", CodeInvalid, "The export holds no record; there is nothing to check.")
	}
	for _, env := range x.order {
		x.number = 0
		x.chains[env].end("", false)
	}
	x.sum.Chains = len(x.order)
	return x.sum, nil
}

// readLine reads a line of up to maxRecord bytes, without its end; of a longer
// one it tells that it was.
func readLine(r *bufio.Reader) (line []byte, long bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if !long {
			line = append(line, part...)
		}
		if len(line) > maxRecord {
			line, long = nil, true
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(line, "\r\n"), long, err
		}
	}
}

// exportCheck walks the chains of an export side by side.
type exportCheck struct {
	chains map[Name]*chainCheck
	order  []Name // of their first records
	last   *chainCheck
	number int
	sum    ExportSummary
	tell   func(AuditBreak)
}

func (x *exportCheck) report(b AuditBreak) {
	b.Line = x.number
	x.sum.Breaks++
	x.tell(b)
}

// line looks at one line. It fails only on a first line that is no record.
func (x *exportCheck) line(text []byte, long bool) error {
	if len(text) == 0 && !long {
		return nil
	}
	r, sound := exported(text)
	if !sound && (long || r.Seq == 0 || r.Env.App == "") {
		return x.stray()
	}
	x.sum.Records++
	c := x.chains[r.Env]
	if c == nil {
		c = &chainCheck{env: r.Env, next: 1, tell: x.report}
		x.chains[r.Env], x.order = c, append(x.order, r.Env)
		if r.Seq > 1 && r.Seq <= maxSeq {
			at, ok := parseMark(mark{r.Seq - 1, r.Prev}.String())
			if !ok {
				c.fault(r.Seq, "was changed: it does not say which record comes before it")
			}
			c.next, c.prev, c.sound = r.Seq, r.Prev, r.Seq-1
			x.sum.Later = append(x.sum.Later, ChainStart{Env: r.Env, Seq: r.Seq, Prev: at.hash})
		}
	}
	x.last = c
	c.step(r, sound)
	return nil
}

// stray tells of a line that is no record. It stands for the next record of the
// chain that the line before belongs to.
func (x *exportCheck) stray() error {
	if x.last == nil {
		return Errorf("audit.verify_export", CodeInvalid, "Line %d is no audit record; give the export as NDJSON, one record a line.", x.number)
	}
	x.sum.Records++
	x.last.step(Record{}, false)
	return nil
}

// exported reads a line of an export. White space and the way in which other
// programs write strings do not matter, all else does.
func exported(text []byte) (Record, bool) {
	var r Record
	if r, sound := readRecord(text); sound {
		return r, true
	}
	if json.Unmarshal(text, &r) != nil {
		return Record{}, false
	}
	var compact, plain bytes.Buffer
	if json.Compact(&compact, text) != nil {
		return r, false
	}
	json.HTMLEscape(&plain, compact.Bytes())
	again, sound := readRecord(plain.Bytes())
	if sound {
		return again, true
	}
	return r, false
}

// String is one line for people.
func (s ExportSummary) String() string {
	return fmt.Sprintf("%d records of %d chains, %d breaks", s.Records, s.Chains, s.Breaks)
}
