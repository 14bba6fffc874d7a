package actions

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRecordsAreWrittenAsEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "ana", "<b>&\"\\", "\u2028", "\xff\xfe", "a\tb", "\x7f", "é", "\x00"}))
	rapid.Check(t, func(rt *rapid.T) {
		r := Record{
			Seq: rapid.Int64().Draw(rt, "seq"), Time: time.Unix(rapid.Int64Range(-1e9, 1e11).Draw(rt, "time"), rapid.Int64Range(0, 999_999_999).Draw(rt, "nanos")).UTC(),
			Env: Name{App: text.Draw(rt, "app"), Env: text.Draw(rt, "env")}, Kind: text.Draw(rt, "kind"), Actor: text.Draw(rt, "actor"),
			Identity: text.Draw(rt, "identity"), Surface: text.Draw(rt, "surface"), Address: text.Draw(rt, "address"), RequestID: text.Draw(rt, "request"),
			RunID: text.Draw(rt, "run"), Digest: text.Draw(rt, "digest"), Detail: rapid.MapOf(text, text).Draw(rt, "detail"),
			Prev: text.Draw(rt, "prev"), Hash: text.Draw(rt, "hash"),
		}
		for key := range r.Detail { // the order of keys that are not valid is nobody's business: sealing makes them valid
			if short(key, maxDetail) != key {
				delete(r.Detail, key)
			}
		}
		want, err := json.Marshal(r)
		if err != nil {
			rt.Fatal(err)
		}
		if got, err := r.text(); err != nil || string(got) != string(want) {
			rt.Fatalf("%v\n%s\nwant\n%s", err, got, want)
		}
	})
}
