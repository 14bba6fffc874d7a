package main

import (
	"crypto/sha256"
	"io/fs"
	"strings"
	"testing"

	"github.com/berth-dev/berth/configs"
)

func TestAFileIsTakenUpOnceItHasSettled(t *testing.T) {
	sum := func(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }
	f := &inForce{sum: sum("old"), seen: sum("old")}
	for i, look := range []struct {
		text string
		take bool
	}{
		{"old", false}, {"half", false}, {"whole", false}, {"whole", true}, {"whole", false}, {"old", false}, {"whole", false}, {"new", false}, {"new", true},
	} {
		if got := f.take(sum(look.text), false); got != look.take {
			t.Errorf("look %d at %q: taken up %t", i+1, look.text, got)
		}
	}
	if !f.take(sum("told"), true) || f.take(sum("told"), false) || f.take(sum("told"), false) {
		t.Error("what somebody said is to be read is not read once")
	}
	f.wrong("line 3: a fault")
	f.unreadable(&fs.PathError{Op: "open", Path: "berth.yaml", Err: fs.ErrNotExist})
	if f.check().OK || f.take(sum("told"), false) || !f.take(sum("told"), false) {
		t.Error("a file that is back is not read anew, and so its faults are not told")
	}
}

func TestAConfigThatHasLostASectionIsNotTakenUpByItself(t *testing.T) {
	parse := func(text string) *configs.Config {
		c, err := configs.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	whole := parse("server: {}\nactors: [{name: ana, roles: [sre]}]\npolicies: [{name: no-no, refuse: No.}]\n")
	tests := map[string]struct{ text, want string }{
		"the same":                     {"server: {}\nactors: [{name: ana, roles: [sre]}]\npolicies: [{name: no-no, refuse: Never.}]\n", ""},
		"the policies are empty":       {"server: {}\nactors: []\npolicies: []\n", ""},
		"the policies are gone":        {"server: {}\nactors: [{name: ana, roles: [sre]}]\n", "no policies any more"},
		"everything is gone":           {"", "no actors and no policies any more"},
		"another section is new there": {"server: {}\nactors: [{name: ana}]\npolicies: [{name: no-no, refuse: No.}]\ntokens: []\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := lost(whole, parse(tt.text))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it says %v, want %q", err, tt.want)
			}
		})
	}
}
