package actions_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
)

// filled sets every field of v, and of what it holds, to something of its own.
func filled(v reflect.Value, n *int) {
	*n++
	if _, ok := v.Interface().(time.Time); ok {
		v.Set(reflect.ValueOf(time.Date(2026, 5, 1, 12, 0, *n, *n, time.UTC)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			filled(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			filled(key, n)
			filled(value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			filled(v.Field(i), n)
		}
	default:
		panic("a field of a kind that this test does not know: " + v.Kind().String())
	}
}

func whole() actions.Environment {
	var env actions.Environment
	filled(reflect.ValueOf(&env).Elem(), new(int))
	return env
}

// Each field that a record has is one that the quick way reads: a new one that it
// does not know would cost each page most of what it gains.
func TestEveryFieldOfARecordIsReadTheQuickWay(t *testing.T) {
	for name, env := range map[string]actions.Environment{
		"all of it":   whole(),
		"none of it":  {},
		"as deployed": *preview(7, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)),
		"what is escaped": {Name: shop42, URL: "https://a.example/?a=<b>&c=\"d\\\"", Vars: map[string]string{"ключ\n\u2028": "\x00\x7f", "": "🚢"},
			Commit: actions.Commit{Message: "a\tb\xff", Time: time.Date(2026, 5, 1, 1, 2, 3, 4, time.FixedZone("", 3600))}},
	} {
		text, err := json.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		var want actions.Environment
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if got := actions.ReadQuickly(string(text)); got == nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %s\n is read as %+v,\nwant %+v", name, text, got, want)
		}
	}
}

// What encoding/json has to say is said as before.
func TestARecordThatBerthDidNotWriteIsReadAsItStands(t *testing.T) {
	tests := map[string]struct {
		text string
		want *actions.Environment // nil when it cannot be read
	}{
		"a field of a later version":   {`{"environment":{"app":"shop","name":"pr-42","later":1},"later":{"a":[1]},"revision":3}`, &actions.Environment{Name: shop42, Revision: 3}},
		"a name in another case":       {`{"Revision":3}`, &actions.Environment{Revision: 3}},
		"null for what is not there":   {`{"revision":3,"links":null,"lock":null,"url":null,"expires_at":null}`, &actions.Environment{Revision: 3}},
		"a field twice":                {`{"vars":{"a":"1"},"vars":{"b":"2"},"state":"x","state":"Running"}`, &actions.Environment{State: actions.StateRunning, Vars: map[string]string{"a": "1", "b": "2"}}},
		"half a surrogate":             {`{"url":"\ud800"}`, &actions.Environment{URL: "\ufffd"}},
		"spaces":                       {" {\n\"revision\" : 3 } \n", &actions.Environment{Revision: 3}},
		"empty maps and lists":         {`{"vars":{},"links":[],"parts":{}}`, &actions.Environment{Vars: map[string]string{}, Links: []actions.Link{}, Parts: map[string]actions.PartStatus{}}},
		"a number that is none":        {`{"revision":"3"}`, nil},
		"a part of a number":           {`{"revision":3.5}`, nil},
		"a number that is too large":   {`{"revision":9223372036854775808}`, nil},
		"more after it":                {`{"revision":3}{}`, nil},
		"half of it":                   {`{"revision":3,"url":"htt`, nil},
		"nothing":                      {``, nil},
		"null":                         {`null`, nil},
		"another kind":                 {`[]`, nil},
		"what is no time":              {`{"created_at":"yesterday"}`, nil},
		"a time that is written oddly": {`{"created_at":"2026-05-01T12:00:00\u005a"}`, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := actions.ReadEnvironment(tc.text)
			if (err != nil) != (tc.want == nil) || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

// FuzzReadingARecord holds that a record means what encoding/json says, whatever
// stands in it.
func FuzzReadingARecord(f *testing.F) {
	for _, env := range []actions.Environment{whole(), {}, *preview(7, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))} {
		text, err := json.Marshal(env)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
		f.Add(strings.ReplaceAll(string(text), `":`, `" : `))
	}
	for _, text := range []string{`{"url":"\ud83d\ude00\ud800"}`, `{"ttl":-0}`, `{"ttl":-9223372036854775808}`, `{"ttl":01}`, `{"links":[,]}`, `{"vars":{"a":"1",}}`, "{\"url\":\"\xff\"}", `{"vars":{"a":"1","a":"2"}}`, `{"parts":{"a":{"use":"x"},"a":{"text":"y"}}}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := actions.ReadQuickly(text)
		if got == nil {
			return
		}
		var want actions.Environment
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q is read, but %v", text, err)
		}
		if !reflect.DeepEqual(*got, want) {
			t.Fatalf("%q is read as %+v, want %+v", text, *got, want)
		}
	})
}

// What an environment says stays as it is when its reader has gone on.
func TestAReaderKeepsWhatItHasRead(t *testing.T) {
	var records []string
	for i := range 20 {
		text, err := json.Marshal(preview(i, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)))
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, string(text))
	}
	for i, env := range actions.ReadAll(records) {
		if text, err := json.Marshal(env); err != nil || string(text) != records[i] {
			t.Errorf("%s, want %s, %v", text, records[i], err)
		}
	}
}
