package discord

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// moment is a time as bot.Moment writes it, and stamped one as Discord does.
var (
	moment  = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC\b`)
	stamped = regexp.MustCompile(`^<t:([0-9]{1,11}):[fR]>`)
)

const momentForm = "2006-01-02 15:04 MST"

// stamp has Discord write a time in the time zone of whoever reads it: f is the
// whole of it, R how far away it is.
// Source: https://docs.discord.com/developers/reference#message-formatting-timestamp-styles
func stamp(t time.Time, style string) string { return fmt.Sprintf("<t:%d:%s>", t.Unix(), style) }

// localTimes makes the times in Discord's Markdown such as every reader sees in
// their own zone, whoever wrote them. Code and links stay as they are.
func localTimes(s string) string {
	if !strings.Contains(s, " UTC") {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	inWord := false
	for i := 0; i < len(s); {
		rest, n := s[i:], 1
		switch c := rest[0]; {
		case c == '\\' && len(rest) > 1:
			n = 2
		case c == '`':
			n = codeLength(rest)
		case strings.HasPrefix(rest, "<http"):
			n = max(strings.IndexByte(rest, '>')+1, 1)
		case !inWord && c >= '0' && c <= '9':
			found := moment.FindString(rest)
			if t, err := time.Parse(momentForm, found); found != "" && err == nil && t.Unix() >= 0 {
				b.WriteString(stamp(t, "f"))
				i += len(found)
				continue
			}
		}
		last := rest[n-1]
		inWord = last >= '0' && last <= '9' || last >= 'a' && last <= 'z' || last >= 'A' && last <= 'Z' || last >= 0x80
		b.WriteString(rest[:n])
		i += n
	}
	return b.String()
}

// spelled is the time that s begins with in words, and how many bytes of s it has;
// 0 where there is none.
func spelled(s string) (words string, n int) {
	found := stamped.FindStringSubmatchIndex(s)
	if found == nil || found[0] != 0 {
		return "", 0
	}
	unix, err := strconv.ParseInt(s[found[2]:found[3]], 10, 64)
	if err != nil {
		return "", 0
	}
	return time.Unix(unix, 0).UTC().Format(momentForm), found[1]
}

// timeAtEnd takes the time from the end of a small line, for a footer, which shows
// one beside its text.
func timeAtEnd(small string) (rest string, at string) {
	begins := strings.LastIndex(small, "<t:")
	if begins < 0 || begins > 0 && small[begins-1] == '\\' {
		return small, ""
	}
	words, n := spelled(small[begins:])
	t, err := time.Parse(momentForm, words)
	if n != len(small)-begins || err != nil {
		return small, ""
	}
	return strings.TrimRight(small[:begins], " ·"), t.UTC().Format(time.RFC3339)
}
