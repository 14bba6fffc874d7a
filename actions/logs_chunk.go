package actions

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

const (
	// chunkEvents is how many events a chunk of a log holds at most, and chunkBytes
	// at how many bytes, before they are compressed, it takes no more of them.
	chunkEvents, chunkBytes = 500, 1 << 20
	// maxChunk is the most that a chunk can be when it is unpacked: chunkBytes,
	// and one event more whose every byte JSON writes as six.
	maxChunk = chunkBytes + 16*maxLine
	// chunkVersion begins every chunk, so that a later format can be told.
	chunkVersion = 1
)

// logID is the ID of an event: that of its entry in the stream, milliseconds
// and a number.
type logID struct{ ms, seq uint64 }

// parseLogID reads an ID; one without a number is the first of its millisecond.
func parseLogID(s string) (logID, bool) {
	left, right, both := strings.Cut(s, "-")
	ms, err := strconv.ParseUint(left, 10, 64)
	if err != nil {
		return logID{}, false
	}
	if !both {
		return logID{ms: ms}, true
	}
	seq, err := strconv.ParseUint(right, 10, 64)
	return logID{ms, seq}, err == nil
}

func (id logID) String() string {
	return strconv.FormatUint(id.ms, 10) + "-" + strconv.FormatUint(id.seq, 10)
}

func (id logID) after(o logID) bool { return id.ms > o.ms || (id.ms == o.ms && id.seq > o.seq) }

// next is the first ID that comes after id.
func (id logID) next() logID {
	if id.seq++; id.seq == 0 {
		id.ms++
	}
	return id
}

// logLine is an event as it is stored.
type logLine struct {
	id   logID
	text string // JSON
}

// packers are writers that wait to be used again: each has tables of 800 KB.
var packers = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}

// packLines makes a chunk of lines, whose IDs ascend.
//
// A chunk is a version byte and a zlib stream (RFC 1950, which has a checksum) of
// lines: the milliseconds since the line before, the number within its millisecond
// and the length of the text as varints, then the text.
func packLines(lines []logLine) ([]byte, error) {
	out := bytes.NewBuffer([]byte{chunkVersion})
	w, _ := packers.Get().(*zlib.Writer)
	defer packers.Put(w)
	w.Reset(out)
	var head []byte
	var ms uint64
	for _, l := range lines {
		head = binary.AppendUvarint(head[:0], l.id.ms-ms)
		head = binary.AppendUvarint(head, l.id.seq)
		head = binary.AppendUvarint(head, uint64(len(l.text)))
		ms = l.id.ms
		if _, err := w.Write(head); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, l.text); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// unpackLines reads a chunk. It returns an error for anything that packLines did
// not write, and unpacks no more than a chunk can hold.
func unpackLines(chunk []byte) ([]logLine, error) {
	if len(chunk) == 0 || chunk[0] != chunkVersion {
		return nil, errors.New("it has no version that is known")
	}
	r, err := zlib.NewReader(bytes.NewReader(chunk[1:]))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxChunk+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > maxChunk {
		return nil, fmt.Errorf("it unpacks to more than %d bytes", maxChunk)
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	return readLines(plain)
}

// readLines reads what packLines compressed.
func readLines(plain []byte) ([]logLine, error) {
	var lines []logLine
	var last logID
	for len(plain) > 0 {
		var numbers [3]uint64
		for i := range numbers {
			n, size := binary.Uvarint(plain)
			if size <= 0 {
				return nil, errors.New("a number in it is cut")
			}
			numbers[i], plain = n, plain[size:]
		}
		id := logID{last.ms + numbers[0], numbers[1]}
		if id.ms < last.ms || (len(lines) > 0 && !id.after(last)) {
			return nil, errors.New("its lines are out of order")
		}
		if numbers[2] > uint64(len(plain)) || len(lines) == chunkEvents {
			return nil, errors.New("a line in it is cut, or there are too many")
		}
		lines = append(lines, logLine{id, string(plain[:numbers[2]])})
		last, plain = id, plain[numbers[2]:]
	}
	if len(lines) == 0 {
		return nil, errors.New("it is empty")
	}
	return lines, nil
}
