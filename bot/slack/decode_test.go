package slack

import (
	"testing"
	"time"
)

func TestCommandsAreReadAsTheyWereTyped(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a plain command stays":                          {"deploy shop/pr-42", "deploy shop/pr-42"},
		"escapes are undone":                             {"deploy shop --set a=b&amp;c --reason \"x &lt; y &gt; z\"", `deploy shop --set a=b&c --reason "x < y > z"`},
		"each is undone once":                            {"say &amp;lt;b&amp;gt;", "say &lt;b&gt;"},
		"a link that Slack made is the word typed":       {"deploy shop --ref <http://release.example.org|release.example.org>", "deploy shop --ref release.example.org"},
		"a link of one's own is its address":             {"why <https://example.org/a?b=1&amp;c=2|here>", "why https://example.org/a?b=1&c=2"},
		"a bare link is its address":                     {"why <https://example.org/x>", "why https://example.org/x"},
		"an address of mail is as typed":                 {"link oidc:<mailto:ana@x.org|ana@x.org>", "link oidc:ana@x.org"},
		"an account is its id":                           {"explain <@U123>", "explain @U123"},
		"a channel is its name":                          {"explain <#C1|ops>", "explain #ops"},
		"everybody is nobody":                            {"explain <!here>", "explain @here"},
		"a user group is its name":                       {"explain <!subteam^S1|@dbas>", "explain @dbas"},
		"one long dash of Slack's is two":                {"deploy shop —ref main –reason “no more”", "deploy shop --ref main --reason “no more”"},
		"a dash between words stays":                     {"deny x --reason \"late — very\"", "deny x --reason \"late — very\""},
		"a dash within a word stays":                     {"deploy shop --ref a—b", "deploy shop --ref a—b"},
		"code is what is in it":                          {"`deploy shop/pr-1`", "deploy shop/pr-1"},
		"a block of code is what is in it":               {"```deploy shop/pr-1```", "deploy shop/pr-1"},
		"a word of code is the word":                     {"deploy `shop/pr-1` --ref `main`", "deploy shop/pr-1 --ref main"},
		"code in a text stays":                           {"deny `x` --reason \"see `main` first\"", "deny x --reason \"see `main` first\""},
		"code of several words stays":                    {"why `a b`", "why `a b`"},
		"marks without a word stay":                      {"why `` ` ```a```", "why `` ` ```a```"},
		"an unclosed < is not there as Slack escapes it": {"deploy <shop", "deploy <shop"},
		"nothing is nothing":                             {"  ", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := commandText(plainText(tt.text)); got != tt.want {
				t.Errorf("%q is read as %q, not %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestMentionsAreReadAsCommands(t *testing.T) {
	tests := map[string]struct{ text, self, want string }{
		"what follows the mention is the command":    {"<@UBOT> deploy shop/pr-42", "UBOT", "deploy shop/pr-42"},
		"a colon after it is no part":                {"<@UBOT>: status", "UBOT", "status"},
		"words before it are not":                    {"could you <@UBOT> status shop/pr-1", "UBOT", "status shop/pr-1"},
		"a mention at the end is of what is before":  {"status shop/pr-1 <@UBOT>", "UBOT", "status shop/pr-1"},
		"with the bot's name in it it is one":        {"<@UBOT|berth> help", "UBOT", "help"},
		"another's mention is left":                  {"<@U5> said <@UBOT> explain <@U7>", "UBOT", "explain @U7"},
		"before the bot is known the first counts":   {"<@UBOT> help", "", "help"},
		"/berth after it is not needed":              {"<@UBOT> /berth status", "UBOT", "status"},
		"a mention alone is an empty command":        {"<@UBOT>", "UBOT", ""},
		"several lines stay several, to be refused":  {"<@UBOT> list\nstatus", "UBOT", "list\nstatus"},
		"without a mention all of it is the command": {"status", "UBOT", "status"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := mentionText(tt.text, tt.self); got != tt.want {
				t.Errorf("%q is read as %q, not %q", tt.text, got, tt.want)
			}
		})
	}
	if got := directText("explain 01ab --reason \"asked by <@U2>\"", ""); got != `explain 01ab --reason "asked by @U2"` {
		t.Errorf("a direct message with somebody's name in it is read as %q", got)
	}
	if got := directText("<@UBOT> berth list", "UBOT"); got != "list" {
		t.Errorf("a direct message with a mention is read as %q", got)
	}
}

func TestTargetsAreFoundInMessages(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
	}{
		"a link to a pull request":             {"please look at <https://github.com/acme/shop/pull/42|acme/shop#42>", []string{"pr-42"}},
		"one on a server of one's own":         {"https://git.example.org/acme/shop/pull/7/files", []string{"pr-7"}},
		"an environment by its name":           {"is shop/pr-42 broken?", []string{"shop/pr-42"}},
		"a number after #":                     {"merged #9", []string{"pr-9"}},
		"a number after PR":                    {"PR 12 and pr-13", []string{"pr-12", "pr-13"}},
		"names of pull requests before others": {"and/or shop/demo shop/pr-3", []string{"shop/pr-3", "and/or", "shop/demo"}},
		"paths and addresses are no targets":   {"see /etc/passwd https://x.org/a/b docs/a/b.md", nil},
		"an entity is no number":               {"a &amp;#39; b", nil},
		"no more than a few":                   {"#1 #2 #3 #4 #5 #6 #7", []string{"pr-1", "pr-2", "pr-3", "pr-4", "pr-5"}},
		"nothing in nothing":                   {"", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := found(tt.text)
			if len(got) != len(tt.want) {
				t.Fatalf("%q: %q, not %q", tt.text, got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("%q: %q, not %q", tt.text, got, tt.want)
				}
			}
		})
	}
}

func TestWhenItWasDoneIsBelievedWithinReason(t *testing.T) {
	arrived := time.Unix(1_700_000_000, 0).UTC()
	for name, tt := range map[string]struct {
		ts   string
		want time.Time
	}{
		"a moment ago":               {"1699999999.500000", time.Unix(1_699_999_999, 500_000_000).UTC()},
		"as late as Slack delivers":  {"1699913600.000000", time.Unix(1_699_913_600, 0).UTC()},
		"years ago, as in examples":  {"1548426417.840180", arrived},
		"in the future":              {"1700000009.000000", arrived},
		"no time":                    {"", arrived},
		"a time that is none at all": {"x.y", arrived},
	} {
		t.Run(name, func(t *testing.T) {
			if got := doneAt(tt.ts, arrived); !got.Equal(tt.want) {
				t.Errorf("%q was done at %s, not %s", tt.ts, got, tt.want)
			}
		})
	}
}
