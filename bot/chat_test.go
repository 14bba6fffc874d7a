package bot

import "testing"

func TestAnIconWithoutATitleStandsBeforeTheFirstWords(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		m          ChatMessage
		icon, text string
	}{
		"words":              {ChatMessage{Icon: "👍", Text: "On it."}, "", "👍 On it."},
		"code within words":  {ChatMessage{Icon: "⛔", Text: "`shop/pr-7` is locked."}, "", "⛔ `shop/pr-7` is locked."},
		"strong words":       {ChatMessage{Icon: "⛔", Text: "**Nobody** may."}, "", "⛔ **Nobody** may."},
		"a list stays one":   {ChatMessage{Icon: "👍", Text: "- a\n- b"}, "👍", "- a\n- b"},
		"numbers stay so":    {ChatMessage{Icon: "👍", Text: "1. a"}, "👍", "1. a"},
		"a block of code":    {ChatMessage{Icon: "👍", Text: "```\na\n```"}, "👍", "```\na\n```"},
		"no words":           {ChatMessage{Icon: "👍"}, "👍", ""},
		"a title has it":     {ChatMessage{Icon: "👍", Title: "Done", Text: "It is."}, "👍", "It is."},
		"no icon, no change": {ChatMessage{Text: "It is."}, "", "It is."},
	}
	for name, tt := range tests {
		if got := tt.m.Led(); got.Icon != tt.icon || got.Text != tt.text || got.Title != tt.m.Title {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
