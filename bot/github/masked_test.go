package github

import "testing"

func TestAnAnswerRepeatsNoValueOfSet(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"a line without one":          {"status shop/pr-1", "status shop/pr-1"},
		"one value":                   {"deploy --set db.password=hunter2", "deploy --set …"},
		"what follows is cut as well": {"deploy --set a=x --ref main --set b=y", "deploy --set …"},
		"with an equals sign":         {"deploy --set=db.password=hunter2", "deploy --set …"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := withoutValues(c.line); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
