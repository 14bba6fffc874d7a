package actions

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// zlibbed is a chunk of these bytes, whatever they are.
func zlibbed(plain []byte) []byte {
	var out bytes.Buffer
	out.WriteByte(chunkVersion)
	w := zlib.NewWriter(&out)
	_, _ = w.Write(plain)
	_ = w.Close()
	return out.Bytes()
}

func TestChunksThatNobodyWroteAreRefused(t *testing.T) {
	t.Parallel()
	good, err := packLines([]logLine{{logID{5, 1}, "a"}, {logID{5, 2}, "b"}})
	if err != nil {
		t.Fatal(err)
	}
	line := func(ms, seq, length uint64, text string) []byte {
		b := binary.AppendUvarint(nil, ms)
		b = binary.AppendUvarint(b, seq)
		return append(binary.AppendUvarint(b, length), text...)
	}
	tests := map[string][]byte{
		"nothing":                          nil,
		"an unknown version":               append([]byte{9}, good[1:]...),
		"no zlib":                          {chunkVersion, 1, 2, 3},
		"a chunk that is cut":              good[:len(good)-3],
		"a chunk with another byte in it":  append(append(slices.Clone(good[:8]), good[8]^1), good[9:]...),
		"an empty one":                     zlibbed(nil),
		"more than a chunk can hold":       zlibbed(make([]byte, maxChunk+1)),
		"a number that is cut":             zlibbed([]byte{0x80}),
		"a line that is longer than it is": zlibbed(line(1, 1, 100, "short")),
		"lines out of order":               zlibbed(append(line(5, 2, 1, "a"), line(0, 1, 1, "b")...)),
		"the same ID twice":                zlibbed(append(line(5, 2, 1, "a"), line(0, 2, 1, "b")...)),
		"time that runs over":              zlibbed(append(line(1<<63, 0, 1, "a"), line(1<<63, 0, 1, "b")...)),
		"more lines than a chunk has":      zlibbed(bytes.Repeat(line(1, 0, 0, ""), chunkEvents+1)),
	}
	for name, chunk := range tests {
		if lines, err := unpackLines(chunk); err == nil {
			t.Errorf("%s was read as %d lines", name, len(lines))
		}
	}
}

func FuzzUnpackLines(f *testing.F) {
	for _, lines := range [][]logLine{
		{{logID{1, 0}, "{}"}},
		{{logID{1, 0}, ""}, {logID{1, 1}, "x"}, {logID{1 << 40, 0}, strings.Repeat("y", 300)}},
	} {
		chunk, err := packLines(lines)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(chunk)
	}
	f.Add(zlibbed([]byte{1, 2, 3}))
	f.Add(zlibbed([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0}))
	f.Fuzz(func(t *testing.T, chunk []byte) {
		checkUnpacked(t, chunk)
		checkUnpacked(t, zlibbed(chunk)) // else hardly anything gets past the checksum
	})
}

// checkUnpacked checks that what can be read of a chunk is a chunk's.
func checkUnpacked(t *testing.T, chunk []byte) {
	lines, err := unpackLines(chunk)
	if err != nil {
		return
	}
	if len(lines) == 0 || len(lines) > chunkEvents {
		t.Fatalf("%d lines", len(lines))
	}
	for i, l := range lines[1:] {
		if !l.id.after(lines[i].id) {
			t.Fatalf("%v after %v", l.id, lines[i].id)
		}
	}
	packed, err := packLines(lines)
	if err != nil {
		t.Fatal(err)
	}
	again, err := unpackLines(packed)
	if err != nil || !slices.Equal(again, lines) {
		t.Fatalf("packed again it is %v, %v", again, err)
	}
}

func FuzzParseLogID(f *testing.F) {
	for _, s := range []string{"", "1-2", "-", "1-", "18446744073709551615-18446744073709551615", "+1-2", "01-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := parseLogID(s)
		if !ok {
			return
		}
		if same, ok := parseLogID(id.String()); !ok || same != id || id.next() == id {
			t.Fatalf("%q is %v", s, id)
		}
	})
}
