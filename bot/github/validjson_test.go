package github

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestValidObject(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	tests := map[string]struct {
		in   string
		want bool
	}{
		"an empty object":                        {`{}`, true},
		"space around everything":                {" { \"a\" : [ 1 , 2 ] , \"b\" : { } } \r\n\t", true},
		"all kinds of values":                    {`{"a":true,"b":false,"c":null,"d":-1.5e+3,"e":"\u00e4\n","f":[[],{}]}`, true},
		"a string longer than a word":            {`{"a":"0123456789abcdef0123456789abcdef"}`, true},
		"text outside ASCII":                     {`{"a":"grüße, 世界, and more than eight bytes"}`, true},
		"an array is no object":                  {`[]`, false},
		"nothing":                                {``, false},
		"cut off":                                {`{"a":"b"`, false},
		"a comma too many":                       {`{"a":1,}`, false},
		"two values":                             {`{}{}`, false},
		"a bare control character":               {"{\"a\":\"0123456\x01 89\"}", false},
		"a wrong escape":                         {`{"a":"\x41"}`, false},
		"a leading zero":                         {`{"a":01}`, false},
		"brackets that do not match":             {`{"a":[}]`, false},
		"nested as deep as encoding/json allows": {deep(maxDepth - 1), true},
		"nested deeper":                          {deep(maxDepth), false},
		"25 MiB of brackets":                     {`{"a":` + strings.Repeat("[", 25<<20), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := validObject([]byte(tt.in)); got != tt.want {
				t.Errorf("validObject = %v, want %v", got, tt.want)
			}
		})
	}
}

// FuzzValidObject holds validObject to encoding/json's opinion.
func FuzzValidObject(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,-2.5e3,"x\"y\u0041",null,true,{"b":{}}]}`, `{"a":"01234567\t89"}`, "{\"a\":\"\x7f\x80\xff12345678\"}", ` {"":""} `, `{"a":[[[]]],"b":-0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		trimmed := strings.TrimLeft(string(data), " \t\r\n")
		want := json.Valid(data) && strings.HasPrefix(trimmed, "{")
		if got := validObject(data); got != want {
			t.Errorf("validObject(%q) = %v, encoding/json says %v", data, got, want)
		}
	})
}
