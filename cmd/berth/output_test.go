package main

import (
	"bytes"
	"testing"
)

// TestEncodeYAML holds that YAML has the order and the types of the JSON.
func TestEncodeYAML(t *testing.T) {
	tests := map[string]struct {
		data any
		want string
	}{
		"fields keep the API's names and order": {
			struct {
				Name string   `json:"name"`
				At   *string  `json:"ended_at"`
				Tags []string `json:"a_list"`
			}{"pr-1", nil, []string{"b", "a"}},
			"name: pr-1\nended_at: null\na_list:\n  - b\n  - a\n",
		},
		"an empty list is one":                       {map[string]any{"items": []int{}}, "items: []\n"},
		"texts that look like something else stay":   {map[string]any{"a": "true", "b": "12", "c": "", "d": "null", "e": "2026-01-02T03:04:05Z", "f": "012"}, "a: \"true\"\nb: \"12\"\nc: \"\"\nd: \"null\"\ne: \"2026-01-02T03:04:05Z\"\nf: \"012\"\n"},
		"numbers and truths stay":                    {map[string]any{"a": true, "b": 12, "c": 1.5}, "a: true\nb: 12\nc: 1.5\n"},
		"several lines are a block":                  {map[string]any{"a": "x\ny\n"}, "a: |\n  x\n  y\n"},
		"characters of other scripts and of no form": {map[string]any{"a": "ünï 日本 <b>", "b": "\x1b"}, "a: ünï 日本 <b>\nb: \"\\e\"\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := encode(&b, "yaml", tt.data); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
