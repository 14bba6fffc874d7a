package sdk

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// minForm is the shortest form that SecretForms tells, in bytes, but for the
// value itself: shorter ones are in other texts by chance.
const minForm = 6

// SecretForms are the ways in which a secret's value is most often written, for
// an executor to look for in what it says: as it is, each line of one that has
// several, in JSON, in YAML, in an address, and in base64, alone or as a part of
// something longer. The longest comes first.
func SecretForms(value string) []string {
	seen := map[string]bool{}
	add := func(form string, least int) {
		if len(form) >= least {
			seen[form] = true
		}
	}
	plain := []string{value, strings.TrimSpace(value)}
	if lines := strings.Split(strings.TrimSpace(value), "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) > minForm {
				plain = append(plain, line)
			}
		}
	}
	for _, p := range plain {
		add(p, 1)
		add(jsonText(p, true), minForm)
		add(jsonText(p, false), minForm)
		add(strings.ReplaceAll(p, "'", "''"), minForm)
		add(url.QueryEscape(p), minForm)
		add(url.PathEscape(p), minForm)
		add(url.UserPassword("", p).String(), minForm+1)
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			for _, form := range inBase64(e, p) {
				add(form, minForm)
			}
		}
	}
	delete(seen, "")
	out := make([]string, 0, len(seen))
	for form := range seen {
		out = append(out, form)
	}
	slices.SortFunc(out, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return out
}

// jsonText is s as it is within a JSON string.
func jsonText(s string, html bool) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(html)
	if enc.Encode(s) != nil {
		return ""
	}
	text := strings.TrimSuffix(b.String(), "\n")
	return strings.TrimSuffix(strings.TrimPrefix(text, `"`), `"`)
}

// inBase64 is s in base64, and what stays of that when something stands before
// and behind s: base64 writes three bytes as four characters, so that it depends
// on where in a group s begins, and its first and last characters hold bits of
// the neighbours.
func inBase64(e *base64.Encoding, s string) []string {
	out := []string{e.EncodeToString([]byte(s)), e.WithPadding(base64.NoPadding).EncodeToString([]byte(s))}
	for before := range 3 {
		text := e.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, before), s...))
		from := (before*8 + 5) / 6 // the first character that is s's alone
		to := (before + len(s)) * 8 / 6
		if from < to {
			out = append(out, text[from:to])
		}
	}
	return out
}
