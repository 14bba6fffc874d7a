package discord

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestChecks(t *testing.T) {
	t.Parallel()
	public, _ := testKey()
	app := func(id, key, endpoint string) string {
		return `{"id":"` + id + `","name":"Berth","verify_key":"` + key + `","interactions_endpoint_url":"` + endpoint + `","flags":0}`
	}
	right := app(testApp, public, "https://berth.example.org/discord/interactions")
	for name, c := range map[string]struct {
		app    string
		status int
		guilds string
		change func(*Options)
		ok     bool
		say    string
	}{
		"all is right":                      {app: right, ok: true, say: "Berth, in 1 servers"},
		"a token that is refused":           {app: `{"code":0,"message":"401: Unauthorized"}`, status: 401, say: "discord.bot_token"},
		"Discord down":                      {status: 503, say: "can be reached"},
		"another application's token":       {app: app("9", public, "https://x"), say: "application_id"},
		"another application's key":         {app: app(testApp, strings.Repeat("0", 64), "https://x"), say: "public_key"},
		"no way for commands to come":       {app: app(testApp, public, ""), change: func(o *Options) { o.PublicURL = "https://b.example/" }, say: "https://b.example/discord/interactions"},
		"an endpoint where the gateway is":  {app: right, change: func(o *Options) { o.PublicKey = "" }, say: "Interactions Endpoint URL"},
		"a server that Berth is not in":     {app: right, change: func(o *Options) { o.Guilds = []string{"77"} }, say: "guild_id=77"},
		"a role that is there":              {app: right, change: func(o *Options) { o.Groups = []string{"discord-role:10/30", "slack-group:S1"} }, ok: true, say: "Berth"},
		"a role that is not there":          {app: right, change: func(o *Options) { o.Groups = []string{"discord-role:10/31"} }, say: "does not have"},
		"a role of a server without Berth":  {app: right, change: func(o *Options) { o.Groups = []string{"discord-role:11/30"} }, say: "guild_id=11"},
		"a role that is written wrong":      {app: right, change: func(o *Options) { o.Groups = []string{"discord-role:ops"} }, say: "SERVER/ROLE"},
		"a gateway that is only looked at":  {app: app(testApp, public, ""), change: func(o *Options) { o.Gateway = true }, ok: true, say: "/readyz"},
		"a gateway that is another's to do": {app: app(testApp, public, ""), change: listens, ok: true, say: "another replica holds the gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newRest(t)
			status := c.status
			if status == 0 {
				status = 200
			}
			api.on("GET applications/@me", status, c.app)
			api.on("GET users/@me/guilds", 200, `[{"id":"10","name":"x"}]`)
			api.on("GET guilds/10/roles", 200, `[{"id":"10"},{"id":"30"}]`)
			s, _ := surfaceOf(t, api, &taken{}, c.change)
			got := s.Checks(t.Context())
			if len(got) != 1 || got[0].Name != "discord" || got[0].Needed || got[0].OK != c.ok || !strings.Contains(got[0].Detail+" "+got[0].Fix, c.say) || (got[0].Fix == "") != c.ok {
				t.Errorf("%+v", got)
			}
			s.Checks(t.Context())
			if n := api.count("GET applications/@me"); n != 1 {
				t.Errorf("Discord was asked %d times", n)
			}
		})
	}
}

func TestChecksLookAgainAfterAWhile(t *testing.T) {
	t.Parallel()
	now := testNow
	api := newRest(t)
	s, _ := surfaceOf(t, api, &taken{}, func(o *Options) { o.Now = func() time.Time { return now } })
	s.Checks(t.Context())
	now = now.Add(checkEvery)
	s.Checks(t.Context())
	if n := api.count("GET applications/@me"); n != 2 {
		t.Errorf("Discord was asked %d times", n)
	}
}

// listens has the gateway on, whose shards nobody gives to this replica.
func listens(o *Options) {
	o.Gateway = true
	o.Lead = func(ctx context.Context, _ string, _ func(context.Context)) error { <-ctx.Done(); return nil }
}
