package actions_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/berth-dev/berth/actions"
)

// chain makes the lines of a chain's records from one number to another.
func chain(t testing.TB, env actions.Name, from, to int) []string {
	t.Helper()
	var lines []string
	prev := ""
	for seq := 1; seq <= to; seq++ {
		text, err := actions.Rehash(actions.Record{
			Seq: int64(seq), Time: time.Date(2026, 1, 2, 3, 4, seq, 5, time.UTC), Env: env, Kind: "word.set", Actor: "ana <a&b> \u2028 é",
			Detail: map[string]string{"word": fmt.Sprint(seq)}, Prev: prev,
		})
		if err != nil {
			t.Fatal(err)
		}
		var r actions.Record
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if prev = r.Hash; seq >= from {
			lines = append(lines, text)
		}
	}
	return lines
}

func TestAnExportIsVerifiedOffline(t *testing.T) {
	one, two, later := chain(t, pr1, 1, 6), chain(t, pr2, 1, 3), chain(t, shop42, 4, 6)
	edit := func(lines []string, at int, from, to string) []string {
		c := append([]string{}, lines...)
		c[at] = strings.Replace(c[at], from, to, 1)
		return c
	}
	join := func(parts ...[]string) (all []string) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	var mixed []string
	for i := range 3 {
		mixed = append(mixed, one[i], two[i])
	}
	loose := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&", ",", ", ", ":{", ": {").Replace(one[0])
	for name, c := range map[string]struct {
		lines []string
		want  []string
		later int
	}{
		"whole chains one after another":                   {join(one, two), nil, 0},
		"chains side by side":                              {mixed, nil, 0},
		"a chain that begins later says so":                {join(one, later), nil, 1},
		"empty lines do not count":                         {join([]string{""}, one[:1], []string{"", "\r"}, one[1:]), nil, 0},
		"another program's white space and way of strings": {join([]string{loose}, one[1:]), nil, 0},
		"a word was changed":                               {edit(one, 2, "ana", "eve"), []string{"record 3 of the audit of shop/pr-1 (line 3) was changed"}, 0},
		"two words were changed":                           {edit(edit(one, 1, "ana", "eve"), 4, "ana", "eve"), []string{"record 2 of the audit of shop/pr-1 (line 2) was changed", "record 5 of the audit of shop/pr-1 (line 5) was changed"}, 0},
		"a member was added":                               {edit(one, 2, `"kind"`, `"kind":"x","kind"`), []string{"record 3 of the audit of shop/pr-1 (line 3) was changed"}, 0},
		"a record was removed":                             {join(one[:2], one[3:]), []string{"record 3 of the audit of shop/pr-1 is missing"}, 0},
		"records change places":                            {join(one[:2], one[3:4], one[2:3], one[4:]), []string{"record 3 of the audit of shop/pr-1 (line 4) is out of order: it stands after record 4"}, 0},
		"a record stands there twice":                      {join(one[:2], one[1:]), []string{"record 3 of the audit of shop/pr-1 (line 3) is out of order: another record 2 stands in its place"}, 0},
		"a line is no record":                              {join(one[:2], []string{"{}"}, one[3:]), []string{"record 3 of the audit of shop/pr-1 (line 3) was changed"}, 0},
		"a line is longer than a record can be":            {join(one[:2], []string{strings.Repeat("x", 2<<20)}, one[3:]), []string{"record 3 of the audit of shop/pr-1 (line 3) was changed"}, 0},
		"a later chain does not say what came before": {func() []string {
			text, _ := actions.Rehash(actions.Record{Seq: 5, Env: pr1, Kind: "x"})
			return []string{text}
		}(), []string{"record 5 of the audit of shop/pr-1 (line 1) was changed: it does not say which record comes before it"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var breaks []actions.AuditBreak
			sum, err := actions.VerifyRecords(strings.NewReader(strings.Join(c.lines, "\n")), func(b actions.AuditBreak) { breaks = append(breaks, b) })
			if err != nil || len(breaks) != len(c.want) || sum.Breaks != len(breaks) || len(sum.Later) != c.later {
				t.Fatalf("%+v, %v, breaks %+v; want %q", sum, err, breaks, c.want)
			}
			for i, want := range c.want {
				if breaks[i].Error() != want {
					t.Errorf("break %q, want %q", breaks[i].Error(), want)
				}
			}
		})
	}
}

func TestAnExportThatIsNoneIsSaidToBeNone(t *testing.T) {
	for name, text := range map[string]string{"a picture": "\x89PNG\r\n", "a page of the API": `{"items":[]}`, "words": "hello\n", "nothing": "", "empty lines": "\n\n"} {
		t.Run(name, func(t *testing.T) {
			_, err := actions.VerifyRecords(strings.NewReader(text), func(actions.AuditBreak) { t.Error("a break was told") })
			if actions.CodeOf(err) != actions.CodeInvalid {
				t.Errorf("error %v, want %s", err, actions.CodeInvalid)
			}
		})
	}
	broken := io.MultiReader(strings.NewReader(chain(t, pr1, 1, 1)[0]+"\n"), iotest.ErrReader(errors.New("disk gone")))
	if sum, err := actions.VerifyRecords(broken, func(actions.AuditBreak) {}); actions.CodeOf(err) != actions.CodeUnavailable || sum.Records != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func FuzzVerifyRecords(f *testing.F) {
	good := strings.Join(append(chain(f, pr1, 1, 3), chain(f, pr2, 2, 3)...), "\n")
	f.Add([]byte(good))
	f.Add([]byte("{}\n\n" + good))
	f.Add([]byte(strings.Replace(good, `"seq":2`, `"seq":-9223372036854775808`, 1)))
	f.Add([]byte(strings.Replace(good, `"seq":2`, `"seq":9223372036854775807`, 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		breaks := 0
		sum, _ := actions.VerifyRecords(bytes.NewReader(text), func(b actions.AuditBreak) {
			if breaks++; b.Error() == "" || b.Seq < 1 || b.Line < 0 {
				t.Errorf("break %+v", b)
			}
		})
		if sum.Breaks != breaks || sum.Records < int64(sum.Chains) {
			t.Errorf("%+v with %d breaks", sum, breaks)
		}
	})
}
