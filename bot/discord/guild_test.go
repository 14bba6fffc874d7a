package discord

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const (
	berthMe   = "500"
	berthRole = "600"
)

// guildJSON is a guild in which everybody and Berth's role may do this, with one
// channel, whose overwrites these are.
func guildJSON(everybody, role uint64, overwrites string) string {
	return fmt.Sprintf(`{"id":"1","owner_id":"9","roles":[{"id":"1","permissions":"%d"},{"id":%q,"permissions":"%d"},{"id":"7","permissions":"8"}],
		"members":[{"user":{"id":%q},"roles":[%q]}],"channels":[{"id":"10","type":0,"last_message_id":"100","permission_overwrites":[%s]}],"threads":[]}`,
		everybody, berthRole, role, berthMe, berthRole, overwrites)
}

func change(id string, allow, deny uint64) string {
	return fmt.Sprintf(`{"id":%q,"type":0,"allow":"%d","deny":"%d"}`, id, allow, deny)
}

func TestWhereBerthCanReadWhatItMissed(t *testing.T) {
	t.Parallel()
	const both = mayView | mayReadHistory
	channel := func(more string) string {
		return strings.Replace(guildJSON(both, 0, ""), `"type":0,"last_message_id":"100"`, more, 1)
	}
	thread := func(everybody uint64, more string) string {
		return strings.Replace(guildJSON(everybody, 0, ""), `"threads":[]`, `"threads":[{"id":"20","type":11,"parent_id":"10",`+more+`}]`, 1)
	}
	tests := map[string]struct {
		guild string
		want  string
	}{
		"everybody may read it":                             {guildJSON(both, 0, ""), "10"},
		"a role of Berth's may":                             {guildJSON(0, both, ""), "10"},
		"another role may":                                  {guildJSON(0, 0, ""), ""}, // 7 may do everything
		"it may see it, but not what was said":              {guildJSON(mayView, 0, ""), ""},
		"it may do everything":                              {guildJSON(0, mayAdminister, change("1", 0, both)), "10"},
		"the channel is closed to everybody":                {guildJSON(both, 0, change("1", 0, mayView)), ""},
		"the channel is open to Berth's role":               {guildJSON(both, 0, change("1", 0, mayView)+","+change(berthRole, mayView, 0)), "10"},
		"the channel is closed to the role, and open to it": {guildJSON(both, 0, change(berthMe, mayView, 0)+","+change(berthRole, 0, mayView)), "10"},
		"the channel is closed to it":                       {guildJSON(both, 0, change(berthMe, 0, mayReadHistory)+","+change(berthRole, both, 0)), ""},
		"another's role is told of":                         {guildJSON(mayReadHistory, 0, change("7", mayView, 0)), ""},
		"the guild is its own":                              {strings.Replace(guildJSON(0, 0, ""), `"owner_id":"9"`, `"owner_id":"`+berthMe+`"`, 1), "10"},
		"it is not said who it is":                          {strings.Replace(guildJSON(0, 0, ""), berthMe, "501", 1), "10"},
		"nothing new was said":                              {channel(`"type":0,"last_message_id":"99"`), ""},
		"nothing was ever said":                             {channel(`"type":0,"last_message_id":null`), ""},
		"an announcement":                                   {channel(`"type":5,"last_message_id":"100"`), "10"},
		"a voice channel that it may not join":              {channel(`"type":2,"last_message_id":"100"`), ""},
		"a forum, whose last message is a thread":           {channel(`"type":15,"last_message_id":"100"`), ""},
		"a thread": {thread(both, `"last_message_id":"101"`), "10 20"},
		"a thread of a channel that it cannot read":           {thread(mayView, `"last_message_id":"101"`), ""},
		"a thread of a channel that nobody knows":             {strings.Replace(thread(both, `"last_message_id":"101"`), `"parent_id":"10"`, `"parent_id":"11"`, 1), "10"},
		"permissions that are numbers, and some that are not": {`{"id":"1","owner_id":"9","roles":[{"id":"1","permissions":66560},{"id":"2","permissions":null}],"members":[{"user":{"id":"500"},"roles":["2"]}],"channels":[{"id":"10","last_message_id":"100"}]}`, "10"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !json.Valid([]byte(test.guild)) {
				t.Fatalf("no JSON: %s", test.guild)
			}
			g, err := decodeGuild([]byte(test.guild))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, u := range g.unread(berthMe, 99) {
				got = append(got, u.channel.ID)
				if u.guild != "1" || u.after != 99 || u.channel.GuildID != "1" {
					t.Errorf("%+v", u)
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("%v, want %s", got, test.want)
			}
		})
	}
}

func FuzzGuild(f *testing.F) {
	f.Add([]byte(guildJSON(1<<10|1<<16, 8, change("1", 0, 1<<10))))
	f.Add([]byte(`{"id":"1","threads":[{"id":"2","parent_id":"2","last_message_id":"18446744073709551615"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		g, err := decodeGuild(raw)
		if err != nil {
			return
		}
		for _, u := range g.unread(berthMe, 5) {
			if !isID(u.channel.ID) || u.last <= 5 || u.guild != g.ID {
				t.Errorf("%+v", u)
			}
		}
	})
}
