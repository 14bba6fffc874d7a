package discord

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/berth-dev/berth/actions"
)

// commandsAt keeps the commands of one scope as Discord does.
type commandsAt struct{ list []map[string]any }

func (c *commandsAt) serve(api *rest, path string) {
	api.answer("GET "+path, func([]byte) (int, string) {
		text, _ := json.Marshal(c.list)
		return 200, string(text)
	})
	api.answer("PUT "+path, func(body []byte) (int, string) {
		var all []map[string]any
		if err := json.Unmarshal(body, &all); err != nil {
			return 400, `{"code":50109}`
		}
		for i, command := range all {
			// Discord adds what it knows itself, and answers with defaults.
			if command["id"] == nil {
				command["id"] = fmt.Sprint(900 + i)
			}
			command["application_id"], command["version"] = testApp, "1"
			for _, field := range []string{"default_member_permissions", "name_localizations", "description_localizations"} {
				if command[field] == nil {
					command[field] = nil
				}
			}
			if command["nsfw"] == nil {
				command["nsfw"] = false
			}
		}
		c.list = all
		return 200, "[]"
	})
}

func TestRegisterWritesOnlyWhatIsNotRight(t *testing.T) {
	t.Parallel()
	const path = "applications/" + testApp + "/commands"
	api := newRest(t)
	there := &commandsAt{list: []map[string]any{
		{"id": "7", "type": 1, "name": "other", "description": "somebody's", "application_id": testApp, "version": "3", "options": []any{map[string]any{"type": 3, "name": "x", "description": "y"}}},
	}}
	there.serve(api, path)
	s, _ := surfaceOf(t, api, &taken{}, nil)

	report, err := s.Register(t.Context(), nil, true)
	want := ScopeReport{Added: []string{"berth", "Deploy with Berth"}, Changed: []string{}, Same: []string{}, Foreign: []string{"other"}}
	if err != nil || !reflect.DeepEqual(report.Scopes, []ScopeReport{want}) || api.count("PUT "+path) != 0 {
		t.Fatalf("dry: %+v %v", report, err)
	}
	if report, err = s.Register(t.Context(), nil, false); err != nil || !reflect.DeepEqual(report.Scopes, []ScopeReport{want}) || api.count("PUT "+path) != 1 {
		t.Fatalf("first: %+v %v", report, err)
	}
	report, err = s.Register(t.Context(), nil, false)
	if err != nil || !report.Scopes[0].Synced() || len(report.Scopes[0].Same) != 2 || api.count("PUT "+path) != 1 {
		t.Fatalf("again: %+v %v", report, err)
	}
	for _, c := range there.list {
		switch c["name"] {
		case "other":
			if c["id"] != "7" || c["description"] != "somebody's" || len(c["options"].([]any)) != 1 {
				t.Errorf("the other command changed: %v", c)
			}
		case "berth":
			c["options"].([]any)[0].(map[string]any)["description"] = "edited"
			if fmt.Sprint(c["contexts"]) != "[0 1]" || fmt.Sprint(c["integration_types"]) != "[0]" {
				t.Errorf("%v", c)
			}
		}
	}
	report, err = s.Register(t.Context(), nil, false)
	if err != nil || !reflect.DeepEqual(report.Scopes[0].Changed, []string{"berth"}) || api.count("PUT "+path) != 2 {
		t.Fatalf("edited: %+v %v", report, err)
	}
}

func TestRegisterWaitsAsDiscordWants(t *testing.T) {
	t.Parallel()
	const path = "applications/" + testApp + "/commands"
	api := newRest(t)
	(&commandsAt{list: []map[string]any{}}).serve(api, path)
	put := api.routes["PUT "+path]
	tries := 0
	api.answer("PUT "+path, func(body []byte) (int, string) {
		if tries++; tries < 3 {
			return 429, `{"message":"You are being rate limited.","retry_after":0.01,"global":false}`
		}
		return put(body)
	})
	s, _ := surfaceOf(t, api, &taken{}, func(o *Options) { o.Now = time.Now })
	if _, err := s.Register(t.Context(), nil, false); err != nil || tries != 3 {
		t.Errorf("%d tries: %v", tries, err)
	}
}

func TestRegisterWritesNothingForWhatOnlyDiscordSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		guild string
		say   func(command map[string]any) // what Discord answers with
	}{
		"where a guild's command can be used": {"1", func(c map[string]any) { c["integration_types"], c["contexts"] = []int{0}, nil }},
		"what it has no word for":             {"", func(c map[string]any) { delete(c, "integration_types"); delete(c, "contexts") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := "applications/" + testApp + "/commands"
			var guilds []string
			if c.guild != "" {
				path, guilds = "applications/"+testApp+"/guilds/"+c.guild+"/commands", []string{c.guild}
			}
			api := newRest(t)
			there := &commandsAt{}
			there.serve(api, path)
			s, _ := surfaceOf(t, api, &taken{}, nil)
			for range 2 {
				if _, err := s.Register(t.Context(), guilds, false); err != nil {
					t.Fatal(err)
				}
				for _, command := range there.list {
					c.say(command)
				}
			}
			if n := api.count("PUT " + path); n != 1 {
				t.Errorf("written %d times", n)
			}
		})
	}
}

func TestRegisterInGuilds(t *testing.T) {
	t.Parallel()
	api := newRest(t)
	a, b := &commandsAt{list: []map[string]any{}}, &commandsAt{list: []map[string]any{}}
	a.serve(api, "applications/"+testApp+"/guilds/1/commands")
	b.serve(api, "applications/"+testApp+"/guilds/2/commands")
	s, _ := surfaceOf(t, api, &taken{}, nil)
	report, err := s.Register(t.Context(), []string{"1", "2"}, false)
	if err != nil || len(report.Scopes) != 2 || len(a.list) != 2 || len(b.list) != 2 || a.list[0]["contexts"] != nil {
		t.Errorf("%+v %v %v", report, err, a.list)
	}
	if _, err := s.Register(t.Context(), []string{"x"}, false); err == nil {
		t.Error("a guild that is none was taken")
	}
}

func TestRegisterSaysWhatHasToBeMended(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		code   actions.Code
		say    string
	}{
		"a token that is refused":        {401, `{"code":0,"message":"401: Unauthorized"}`, actions.CodeInvalid, "discord.bot_token"},
		"another application's token":    {403, `{"code":20012,"message":"no"}`, actions.CodeInvalid, "discord.application_id"},
		"a guild where Berth is not":     {403, `{"code":50001,"message":"Missing Access"}`, actions.CodeInvalid, "guild_id=77"},
		"a guild that there is not":      {404, `{"code":10004,"message":"Unknown Guild"}`, actions.CodeInvalid, "guild_id=77"},
		"Discord that is not as it is":   {503, `{}`, actions.CodeUnavailable, "Discord does not answer"},
		"a guild that wants a long wait": {429, `{"retry_after":300,"global":false}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := newRest(t)
			(&commandsAt{list: []map[string]any{}}).serve(api, "applications/"+testApp+"/guilds/5/commands")
			api.on("GET applications/"+testApp+"/guilds/77/commands", c.status, c.body)
			s, _ := surfaceOf(t, api, &taken{}, nil)
			report, err := s.Register(t.Context(), []string{"5", "77"}, false)
			if err == nil || actions.CodeOf(err) != c.code && c.code != "" || !strings.Contains(actions.Message(err), c.say) {
				t.Errorf("%v: %s", err, actions.Message(err))
			}
			text, _ := json.Marshal(report)
			if want := `{"scopes":[{"guild":"5","added":["berth","Deploy with Berth"],"changed":[],"same":[],"foreign":[]}]}`; string(text) != want {
				t.Errorf("%s", text)
			}
		})
	}
}

func TestCommandsStayWithinDiscordsLimits(t *testing.T) {
	t.Parallel()
	s, _ := surfaceOf(t, nil, &taken{}, nil)
	long := strings.Repeat("long words ", 20)
	s.verbs = nil
	for v := range 25 {
		verb := Verb{Name: fmt.Sprintf("verb%d", v), Summary: long}
		for o := range 8 {
			verb.Flags = append(verb.Flags, Option{Name: fmt.Sprintf("flag%d", o), Summary: long})
		}
		verb.Flags = append(verb.Flags, Option{Name: "needed", Summary: "`x`", Required: true})
		s.verbs = append(s.verbs, verb)
	}
	all, err := s.commands(true)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	var walk func(name, description string, options []slashOption)
	walk = func(name, description string, options []slashOption) {
		if n := utf8.RuneCountInString(description); n < 1 || n > maxDescription || len(options) > maxOptions {
			t.Errorf("%s: a description of %d, %d options", name, n, len(options))
		}
		total += utf8.RuneCountInString(name) + utf8.RuneCountInString(description)
		for i, o := range options {
			if i > 0 && o.Required && !options[i-1].Required {
				t.Errorf("%s %s: needed, but behind one that is not", name, o.Name)
			}
			walk(o.Name, o.Description, o.Options)
		}
	}
	walk(all[0].Name, all[0].Description, all[0].Options)
	if total > maxCommand || total < maxCommand-400 {
		t.Errorf("%d characters in all", total)
	}
	s.verbs = append(s.verbs, Verb{Name: "more", Summary: "x"})
	if _, err := s.commands(true); err == nil {
		t.Error("26 subcommands are taken")
	}
	for _, name := range []string{"", "Big", "a b", strings.Repeat("x", 33)} {
		s.verbs = []Verb{{Name: name, Summary: "x"}}
		if _, err := s.commands(true); err == nil {
			t.Errorf("the name %q is taken", name)
		}
	}
}
