package main

import (
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot/api"
)

func TestHistoryOffersWhatCanBeGoneBackTo(t *testing.T) {
	t.Parallel()
	past := func(verb string, revision int) api.Past {
		return api.Past{Verb: verb, State: "succeeded", Revision: revision, Kept: true}
	}
	for name, c := range map[string]struct {
		past []api.Past
		want string
	}{
		"the newest that does not run":         {[]api.Past{{Verb: "deploy", State: "succeeded", Revision: 2, Current: true}, past("deploy", 1)}, "--to 1"},
		"nothing where all was cleaned up":     {[]api.Past{past("cleanup", 0), past("deploy", 1)}, ""},
		"nothing of a life before":             {[]api.Past{{Verb: "deploy", State: "succeeded", Revision: 2, Current: true}, past("cleanup", 0), past("deploy", 1)}, ""},
		"nothing while it is archived":         {[]api.Past{past("archive", 0), past("deploy", 1)}, ""},
		"nothing after a restore that failed":  {[]api.Past{{Verb: "restore", State: "failed"}, past("archive", 0), past("deploy", 1)}, ""},
		"what was before an archive":           {[]api.Past{{Verb: "restore", State: "succeeded", Revision: 2, Current: true}, past("archive", 0), past("deploy", 1)}, "--to 1"},
		"after an archive that did not happen": {[]api.Past{{Verb: "archive", State: "failed"}, past("deploy", 1)}, "--to 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			printHistory(&b, "shop/pr-42", c.past)
			_, got, _ := strings.Cut(b.String(), "berth rollback shop/pr-42 ")
			if got, _, _ = strings.Cut(got, "`"); got != c.want {
				t.Errorf("it offers %q, want %q", got, c.want)
			}
		})
	}
}
