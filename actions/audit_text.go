package actions

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// text is r as encoding/json writes it, which the hash of a record is defined by
// (a test holds the two equal). Written by hand it takes a fraction of the time,
// and there are some records in the life of each request.
func (r *Record) text() ([]byte, error) {
	at, err := r.Time.MarshalText() // fails after the year 9999
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 512)
	b = strconv.AppendInt(append(b, `{"seq":`...), r.Seq, 10)
	b = append(append(append(b, `,"time":"`...), at...), '"')
	b = appendText(append(b, `,"environment":{"app":`...), r.Env.App)
	b = appendText(append(b, `,"name":`...), r.Env.Env)
	b = appendText(append(b, `},"kind":`...), r.Kind)
	for _, member := range [...]struct{ name, value string }{
		{`,"actor":`, r.Actor}, {`,"identity":`, r.Identity}, {`,"surface":`, r.Surface}, {`,"address":`, r.Address},
		{`,"request_id":`, r.RequestID}, {`,"run_id":`, r.RunID}, {`,"digest":`, r.Digest},
	} {
		if member.value != "" {
			b = appendText(append(b, member.name...), member.value)
		}
	}
	if len(r.Detail) > 0 {
		b = append(b, `,"detail":`...)
		next := byte('{')
		for _, key := range slices.Sorted(maps.Keys(r.Detail)) {
			b = append(appendText(append(b, next), key), ':')
			b = appendText(b, r.Detail[key])
			next = ','
		}
		b = append(b, '}')
	}
	if r.Prev != "" {
		b = appendText(append(b, `,"prev":`...), r.Prev)
	}
	if r.Hash != "" {
		b = appendText(append(b, `,"hash":`...), r.Hash)
	}
	return append(b, '}'), nil
}

// appendText appends s as a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // strings cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// plain tells whether s is short enough for a record, and in ASCII, which most is.
func plain(s string) bool {
	if len(s) > maxDetail {
		return false
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// shortDetail is detail with short keys and values; detail itself when it is so.
func shortDetail(detail map[string]string) map[string]string {
	fits := true
	for k, v := range detail {
		fits = fits && plain(k) && plain(v)
	}
	if fits {
		return detail
	}
	cut := make(map[string]string, len(detail))
	for k, v := range detail {
		cut[short(k, maxDetail)] = short(v, maxDetail)
	}
	return cut
}
