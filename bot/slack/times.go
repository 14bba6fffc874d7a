package slack

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// moment is a time as bot.Moment writes it.
var moment = regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC\b`)

const (
	momentForm = "2006-01-02 15:04 MST"
	// inSentence and alone are how Slack is asked to write a time: after "at" or
	// "since", and where it stands by itself.
	// Source: https://docs.slack.dev/messaging/formatting-message-text#date-formatting
	inSentence = "{date_short}, {time}"
	alone      = "{date_short_pretty} at {time}"
)

// localTime has Slack write a time in the time zone of whoever reads it.
func localTime(t time.Time, form string) string { return fmt.Sprintf("!date^%d^%s", t.Unix(), form) }

// findTimes makes spans of their own of the times in a line, whoever wrote them:
// they are the same for every reader.
func (l *textLine) findTimes() {
	if l.code > 0 || !slices.ContainsFunc(l.spans, func(s span) bool { return moment.MatchString(s.text) }) {
		return
	}
	var spans []span
	for _, s := range l.spans {
		if s.inCode() || s.link != "" {
			spans = append(spans, s)
			continue
		}
		rest := s.text
		add := func(text, written string) {
			if text != "" {
				made := s
				made.text, made.time = text, written
				spans = append(spans, made)
			}
		}
		for at := moment.FindStringIndex(rest); at != nil; at = moment.FindStringIndex(rest) {
			written := rest[at[0]:at[1]]
			add(rest[:at[0]], "")
			if t, err := time.Parse(momentForm, written); err == nil {
				add(written, localTime(t, inSentence))
			} else {
				add(written, "") // there is no such day
			}
			rest = rest[at[1]:]
		}
		add(rest, "")
	}
	l.spans = spans
}

// timeFact is a fact that is a time, and what there is to say besides.
func timeFact(at time.Time, far string, more []textLine) []textLine {
	at = at.UTC()
	l := textLine{spans: []span{{text: at.Format(momentForm), time: localTime(at, alone)}}}
	if far != "" {
		l.spans = append([]span{{text: far + ", "}}, l.spans...)
	}
	if len(more) > 0 {
		l.spans = append(append(l.spans, span{text: "; "}), more[0].spans...)
		more = more[1:]
	}
	return append([]textLine{l}, more...)
}
