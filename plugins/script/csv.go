package script

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// maxPairs bounds what a script can list.
const maxPairs = 10_000

// pair is a line of what scripts print as CSV.
type pair struct{ Name, Value string }

// parsePairs reads headerless CSV of two columns (RFC 4180). Line ends are LF or
// CRLF; empty lines and a byte order mark are passed over.
func parsePairs(text string) ([]pair, error) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	r.FieldsPerRecord = 2
	var out []pair
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			if p, ok := errors.AsType[*csv.ParseError](err); ok {
				return nil, fmt.Errorf("line %d is not two columns of CSV: %w", p.Line, p.Err)
			}
			return nil, err
		}
		if len(out) == maxPairs {
			return nil, fmt.Errorf("it lists more than %d lines", maxPairs)
		}
		out = append(out, pair{record[0], record[1]})
	}
}

// parseConfigs are the defaults that a script prints as CSV.
func parseConfigs(text string) ([]config, error) {
	pairs, err := parsePairs(text)
	if err != nil {
		return nil, err
	}
	var out []config
	at := map[string]int{}
	for _, p := range pairs {
		key, err := cleanKey(p.Name)
		if err != nil {
			return nil, fmt.Errorf("%q cannot be a key: %w", clip(p.Name, 60), err)
		}
		if strings.ContainsRune(p.Value, 0) {
			return nil, fmt.Errorf("the value of %q holds a NUL character", clip(key, 60))
		}
		c := config{Key: key, Value: secretOr{Text: p.Value}}
		if i, again := at[key]; again {
			out[i] = c // the later one counts
			continue
		}
		at[key] = len(out)
		out = append(out, c)
	}
	return out, nil
}

// parseKeys reads one key a line.
func parseKeys(text string) map[string]bool {
	keys := map[string]bool{}
	for line := range strings.Lines(text) {
		if key, err := cleanKey(line); err == nil {
			keys[key] = true
		}
	}
	return keys
}

// cleanKey is a dotted path as Octopod takes it: each segment trimmed, empty ones
// dropped.
func cleanKey(key string) (string, error) {
	var segments []string
	for s := range strings.SplitSeq(key, ".") {
		if s = strings.TrimSpace(s); s != "" {
			segments = append(segments, s)
		}
	}
	clean := strings.Join(segments, ".")
	switch {
	case clean == "":
		return "", errors.New("it is empty")
	case strings.ContainsRune(clean, '='):
		return "", errors.New("it holds an equals sign, behind which scripts read the value")
	case strings.ContainsFunc(clean, unicode.IsControl):
		return "", errors.New("it holds a control character")
	}
	return clean, nil
}

// overlay is the full configuration: the overrides, then the defaults that none
// of them replaces; deleted keys are left out.
func overlay(overrides, defaults []config) []config {
	over := map[string]bool{}
	var out []config
	for _, c := range overrides {
		over[c.Key] = true
		if !c.Deleted {
			out = append(out, c)
		}
	}
	for _, c := range defaults {
		if !over[c.Key] {
			out = append(out, c)
		}
	}
	return out
}
