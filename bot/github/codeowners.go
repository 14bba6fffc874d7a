package github

import (
	"regexp"
	"slices"
	"strings"
)

// maxOwnersFile is the longest CODEOWNERS file that GitHub reads, in bytes.
// Source: https://docs.github.com/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners#codeowners-file-size
const maxOwnersFile = 3 << 20

// ownersPaths is where a CODEOWNERS file may be; the first that is there holds.
// Source: the same page, "CODEOWNERS file location".
var ownersPaths = []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}

// ownerRule is a line of a CODEOWNERS file.
type ownerRule struct {
	pattern pathPattern
	owners  []string // "@ana", "@acme/ops", "ana@example.org"; none takes ownership away
}

var (
	ownerTeam = regexp.MustCompile(`^@[A-Za-z0-9](?:[A-Za-z0-9]|-[A-Za-z0-9]){0,38}/[A-Za-z0-9._-]{1,100}$`)
	ownerMail = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
)

// parseOwners reads a CODEOWNERS file. Like GitHub it leaves out the lines that
// it cannot read.
func parseOwners(text string) []ownerRule {
	var rules []ownerRule
	for line := range strings.Lines(text) {
		words := ownerWords(line)
		if len(words) == 0 {
			continue
		}
		pattern, ok := parsePattern(words[0])
		if !ok || slices.ContainsFunc(words[1:], func(w string) bool { return !validOwner(w) }) {
			continue
		}
		rules = append(rules, ownerRule{pattern: pattern, owners: words[1:]})
	}
	return rules
}

func validOwner(w string) bool {
	if name, ok := strings.CutPrefix(w, "@"); ok && loginPattern.MatchString(name) {
		return true
	}
	return ownerTeam.MatchString(w) || ownerMail.MatchString(w)
}

// ownerWords are the words of a line, without its comment. A space with a
// backslash before it is part of a word, which keeps the backslash.
func ownerWords(line string) []string {
	var words []string
	var word strings.Builder
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	escaped := false
	for _, r := range strings.TrimPrefix(line, "\ufeff") {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			word.WriteRune(r)
			escaped = true
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			end()
		case r == '#' && word.Len() == 0: // a # within a name is part of it
			return words
		default:
			word.WriteRune(r)
		}
	}
	end()
	return words
}

// ownersOf are the owners of a file: those of the last rule that matches it.
func ownersOf(rules []ownerRule, file string) []string {
	segments := strings.Split(file, "/")
	for _, rule := range slices.Backward(rules) {
		if rule.pattern.match(segments) {
			return rule.owners
		}
	}
	return nil
}

// pathPattern is a pattern by its segments, where anyDepth is any number of
// segments, none as well.
type pathPattern []string

const anyDepth = "**"

// parsePattern reads a pattern of a CODEOWNERS file. It is one of gitignore but
// for negation (!) and ranges of characters ([ ]), which GitHub does not take.
//
// Source: https://docs.github.com/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners#codeowners-syntax
// and https://git-scm.com/docs/gitignore#_pattern_format
func parsePattern(text string) (pathPattern, bool) {
	if text == "/" || strings.HasPrefix(text, "!") || strings.ContainsAny(text, "[]") || strings.Contains(text, "***") {
		return nil, false
	}
	body, rooted := strings.CutPrefix(text, "/")
	body, folder := strings.CutSuffix(body, "/")
	segments := strings.Split(body, "/")
	if slices.Contains(segments, "") {
		return nil, false
	}
	var p pathPattern
	if !rooted && len(segments) == 1 {
		p = append(p, anyDepth) // a name alone is looked for everywhere
	}
	last := segments[len(segments)-1]
	switch {
	case folder && last != anyDepth: // all that is in it
		p = append(append(p, segments...), "*", anyDepth)
	case last == anyDepth: // a folder does not match itself
		p = append(append(p, segments[:len(segments)-1]...), "*", anyDepth)
	case last == "*": // what is in a folder, but not in those below
		p = append(p, segments...)
	default: // a file, or all that is in a folder of that name
		p = append(append(p, segments...), anyDepth)
	}
	return p, true
}

// match tells whether the pattern matches the path of these segments. It goes
// back to the last anyDepth only, which is enough, so that no pattern takes
// more than the product of both lengths.
func (p pathPattern) match(path []string) bool {
	return wild(len(p), len(path),
		func(i int) bool { return p[i] == anyDepth },
		func(i, k int) bool { return matchName(p[i], path[k]) })
}

// matchName matches one segment, in which * is any text, ? any character, and
// a backslash takes the meaning away from what follows it.
func matchName(pattern, name string) bool {
	if !strings.ContainsAny(pattern, `*?\`) {
		return pattern == name
	}
	if pattern == "*" {
		return name != ""
	}
	type mark struct {
		r    rune
		wild bool
	}
	var marks []mark
	escaped := false
	for _, r := range pattern {
		if r == '\\' && !escaped {
			escaped = true
			continue
		}
		marks = append(marks, mark{r, !escaped && (r == '*' || r == '?')})
		escaped = false
	}
	text := []rune(name)
	return wild(len(marks), len(text),
		func(i int) bool { return marks[i].wild && marks[i].r == '*' },
		func(i, k int) bool { return marks[i].wild && marks[i].r == '?' || marks[i].r == text[k] })
}

// wild matches n things with m others in their order. A star matches any number
// of those; same tells whether a thing that is no star matches one.
func wild(n, m int, star func(i int) bool, same func(i, k int) bool) bool {
	i, k, lastStar, from := 0, 0, -1, 0
	for k < m {
		switch {
		case i < n && star(i):
			lastStar, from = i, k
			i++
		case i < n && same(i, k):
			i, k = i+1, k+1
		case lastStar >= 0:
			from++
			i, k = lastStar+1, from
		default:
			return false
		}
	}
	for i < n && star(i) {
		i++
	}
	return i == n
}
