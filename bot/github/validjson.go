package github

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep a payload may nest. It is encoding/json's limit, so
// that whatever passes here can be decoded later.
const maxDepth = 10_000

// validObject tells whether data is exactly one JSON object, as encoding/json
// defines JSON. The intake looks at every byte of every delivery with it before
// it answers, so it neither decodes nor allocates, and nesting costs one bit.
func validObject(data []byte) bool {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '{' {
		return false
	}
	end, ok := scanValue(data, i)
	return ok && skipSpace(data, end) == len(data)
}

// scanValue walks over the value that begins at i and returns where it ends.
// The stack holds a bit for each open bracket: set for an object.
func scanValue(data []byte, i int) (int, bool) {
	var stack [maxDepth/64 + 1]uint64
	depth := 0
	for {
		// A value is due here.
		i = skipSpace(data, i)
		if i == len(data) {
			return i, false
		}
		ok := true
		switch c := data[i]; c {
		case '{', '[':
			if depth == maxDepth {
				return i, false
			}
			object := c == '{'
			push(&stack, depth, object)
			depth++
			i = skipSpace(data, i+1)
			if i < len(data) && data[i] == c+2 { // "{}" or "[]": the brackets are two apart in ASCII
				break // the closing bracket is handled below
			}
			if object {
				if i, ok = scanKey(data, i); !ok {
					return i, false
				}
			}
			continue
		case '"':
			i, ok = scanString(data, i+1)
		case 't':
			i, ok = scanWord(data, i, "true")
		case 'f':
			i, ok = scanWord(data, i, "false")
		case 'n':
			i, ok = scanWord(data, i, "null")
		default:
			i, ok = scanNumber(data, i)
		}
		if !ok {
			return i, false
		}
		// A value has ended; close what ends with it.
		for {
			if depth == 0 {
				return i, true
			}
			i = skipSpace(data, i)
			if i == len(data) {
				return i, false
			}
			object := stack[(depth-1)/64]>>((depth-1)%64)&1 == 1
			if data[i] == ',' {
				i = skipSpace(data, i+1)
				if object {
					if i, ok = scanKey(data, i); !ok {
						return i, false
					}
				}
				break
			}
			if (object && data[i] != '}') || (!object && data[i] != ']') {
				return i, false
			}
			depth--
			i++
		}
	}
}

func push(stack *[maxDepth/64 + 1]uint64, depth int, object bool) {
	bit := uint64(1) << (depth % 64)
	if object {
		stack[depth/64] |= bit
	} else {
		stack[depth/64] &^= bit
	}
}

// scanKey walks over a member's name and its colon.
func scanKey(data []byte, i int) (int, bool) {
	if i >= len(data) || data[i] != '"' {
		return i, false
	}
	i, ok := scanString(data, i+1)
	if !ok {
		return i, false
	}
	i = skipSpace(data, i)
	if i == len(data) || data[i] != ':' {
		return i, false
	}
	return i + 1, true
}

// scanString walks over a string whose opening quote lies before i, eight
// bytes at a time where nothing in them is special.
func scanString(data []byte, i int) (int, bool) {
	for {
		for i+8 <= len(data) {
			found := special(binary.LittleEndian.Uint64(data[i:]))
			if found == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(found) / 8
			break
		}
		if i >= len(data) {
			return i, false
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, true
		case c < 0x20:
			return i, false
		case c == '\\':
			n := escapeLength(data[i:])
			if n == 0 {
				return i, false
			}
			i += n
		default:
			i++
		}
	}
}

// special marks the bytes of w that are a control character, a quote or a
// backslash: the lowest bit that is set lies in the first of them, and none is
// set when there is none.
// Source: "Bit Twiddling Hacks", "determine if a word has a byte less than n".
func special(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & tops
}

// escapeLength is the length of the escape that data begins with, 0 when it is
// none.
func escapeLength(data []byte) int {
	if len(data) < 2 {
		return 0
	}
	switch data[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(data) < 6 {
			return 0
		}
		for _, c := range data[2:6] {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return 0
			}
		}
		return 6
	}
	return 0
}

func scanWord(data []byte, i int, word string) (int, bool) {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		return i, false
	}
	return i + len(word), true
}

func scanNumber(data []byte, i int) (int, bool) {
	if i < len(data) && data[i] == '-' {
		i++
	}
	switch start := i; {
	case i < len(data) && data[i] == '0':
		i++
	default:
		if i = skipDigits(data, i); i == start {
			return i, false
		}
	}
	if i < len(data) && data[i] == '.' {
		start := i + 1
		if i = skipDigits(data, start); i == start {
			return i, false
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		start := i
		if i = skipDigits(data, i); i == start {
			return i, false
		}
	}
	return i, true
}

func skipDigits(data []byte, i int) int {
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	return i
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}
