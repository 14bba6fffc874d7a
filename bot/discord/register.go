package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// The commands that Berth has in Discord.
const (
	slashCommand  = "berth"
	deployCommand = "Deploy with Berth" // of messages
)

// The limits of commands, in characters.
// Source: https://docs.discord.com/developers/interactions/application-commands#slash-commands
const (
	maxOptions     = 25   // of a command, a group or a subcommand
	maxDescription = 100  // of a command or an option
	maxCommand     = 8000 // of all names and descriptions of a command together
)

// namesOption is how subcommands and options are called.
// Source: https://docs.discord.com/developers/interactions/application-commands#application-command-object-application-command-naming
var namesOption = regexp.MustCompile(`^[-_'\p{L}\p{N}]{1,32}$`)

const opRegister = "discord.register"

// Report is what Register found, and what it did.
type Report struct {
	Scopes []ScopeReport `json:"scopes"`
}

// ScopeReport is what Register found and did for one guild, or globally.
type ScopeReport struct {
	Guild string `json:"guild,omitempty"` // "" is all guilds and direct messages
	// Added, Changed and Same are Berth's own commands, by name: those that were
	// missing, those that were another way, and those that were right.
	Added   []string `json:"added"`
	Changed []string `json:"changed"`
	Same    []string `json:"same"`
	// Foreign are the application's other commands, which stay as they are.
	Foreign []string `json:"foreign"`
}

// Synced tells whether nothing had to be changed.
func (r ScopeReport) Synced() bool { return len(r.Added)+len(r.Changed) == 0 }

// Register makes Berth's commands in Discord what they are to be: in the guilds,
// or, without any, globally. It changes nothing that is right already, and
// nothing at all when dry. The other commands of the application stay. The report
// is of what was done until an error: CodeInvalid for what the config or whoever
// names a guild has to mend, CodeUnavailable where Discord does not answer.
func (s *Surface) Register(ctx context.Context, guilds []string, dry bool) (Report, error) {
	var report Report
	if len(guilds) == 0 {
		guilds = []string{""}
	}
	for _, guild := range guilds {
		if guild != "" && !isID(guild) {
			return report, actions.Errorf(opRegister, actions.CodeInvalid, "%.40q is no server of Discord's; write its number.", guild)
		}
		done, err := s.registerIn(ctx, guild, dry)
		if err != nil {
			return report, err
		}
		report.Scopes = append(report.Scopes, done)
	}
	return report, nil
}

// registerIn is Register for one scope.
func (s *Surface) registerIn(ctx context.Context, guild string, dry bool) (ScopeReport, error) {
	report := ScopeReport{Guild: guild, Added: []string{}, Changed: []string{}, Same: []string{}, Foreign: []string{}}
	wanted, err := s.commands(guild == "")
	if err != nil {
		return report, err
	}
	path := "applications/" + s.app + "/commands"
	if guild != "" {
		path = "applications/" + s.app + "/guilds/" + guild + "/commands"
	}
	var there []map[string]json.RawMessage
	if err := s.patiently(ctx, http.MethodGet, path+"?with_localizations=true", nil, &there); err != nil {
		return report, fmt.Errorf("the commands that there are could not be read: %w", s.registerError(guild, err))
	}
	all := make([]any, 0, len(wanted)+len(there))
	for i := range wanted {
		all = append(all, &wanted[i])
	}
	known := map[string]bool{}
	for _, raw := range there {
		found, err := readCommand(raw)
		if err != nil {
			return report, err
		}
		i := slices.IndexFunc(wanted, func(c slash) bool { return c.Name == found.Name && c.Type == found.Type })
		if i < 0 {
			report.Foreign = append(report.Foreign, found.Name)
			all = append(all, again(raw))
			continue
		}
		known[found.Name] = true
		if wanted[i].equal(found.settled(wanted[i], raw)) {
			report.Same = append(report.Same, found.Name)
		} else {
			report.Changed = append(report.Changed, found.Name)
		}
		wanted[i].ID = found.ID
	}
	for _, c := range wanted {
		if !known[c.Name] {
			report.Added = append(report.Added, c.Name)
		}
	}
	if dry || report.Synced() {
		return report, nil
	}
	if err := s.patiently(ctx, http.MethodPut, path, all, nil); err != nil {
		return report, fmt.Errorf("the commands could not be written: %w", s.registerError(guild, err))
	}
	return report, nil
}

// codeNotOwner says that the token is not of the application whose commands are
// asked for.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json-json-error-codes
const codeNotOwner = 20012

// registerError says what a refusal means where commands are registered.
func (s *Surface) registerError(guild string, err error) error {
	refused, ok := errors.AsType[*apiError](err)
	if !ok {
		return err
	}
	invalid := func(format string, args ...any) error {
		return actions.Wrap(opRegister, actions.CodeInvalid, err, fmt.Sprintf(format, args...))
	}
	switch {
	case refused.Status == http.StatusUnauthorized:
		return invalid("Discord does not take discord.bot_token; make a new one on the application's page Bot and put it into the config.")
	case refused.Code == codeNotOwner:
		return invalid("The token is not of the application %s; make discord.application_id and discord.bot_token those of one application.", s.app)
	case guild != "" && (refused.Status == http.StatusForbidden || refused.Status == http.StatusNotFound):
		return invalid("Berth may make no commands in the server %s: it is not there, or was added without them. Add it: %s", guild, InviteURL(s.app, guild))
	}
	return err
}

// patiently calls the API, and again after the pauses that Discord wants, as long
// as they are short: somebody waits for it.
func (s *Surface) patiently(ctx context.Context, method, path string, in, out any) error {
	for try := 1; ; try++ {
		err := s.client.call(ctx, method, path, in, out)
		limited, ok := errors.AsType[*bot.Limited](err)
		if !ok || try == 5 || limited.After > 20*time.Second || ctx.Err() != nil {
			return err
		}
		s.sleep(ctx, limited.After)
	}
}

// slash is an application command, as it is compared and written.
type slash struct {
	ID          string        `json:"id,omitempty"`
	Type        int           `json:"type"`
	Name        string        `json:"name"`
	Description string        `json:"description,omitempty"` // those of messages have none
	Options     []slashOption `json:"options,omitempty"`
	// Only global commands have these two.
	Integrations []int `json:"integration_types,omitempty"`
	Contexts     []int `json:"contexts,omitempty"`
	// Berth's commands have none of these; who may use a command is said in the
	// server's settings, and what they may do by Berth.
	Names        map[string]string `json:"name_localizations,omitempty"`
	Descriptions map[string]string `json:"description_localizations,omitempty"`
	Permissions  *string           `json:"default_member_permissions,omitempty"`
	NSFW         bool              `json:"nsfw,omitempty"`
}

// slashOption is a subcommand, a group of them, or what can be given to one.
type slashOption struct {
	Type         int               `json:"type"`
	Name         string            `json:"name"`
	Description  string            `json:"description"`
	Required     bool              `json:"required,omitempty"`
	Autocomplete bool              `json:"autocomplete,omitempty"`
	MinValue     *int              `json:"min_value,omitempty"`
	MaxValue     *int              `json:"max_value,omitempty"`
	MinLength    *int              `json:"min_length,omitempty"`
	MaxLength    *int              `json:"max_length,omitempty"`
	Choices      []choiceValue     `json:"choices,omitempty"`
	Options      []slashOption     `json:"options,omitempty"`
	Names        map[string]string `json:"name_localizations,omitempty"`
	Descriptions map[string]string `json:"description_localizations,omitempty"`
}

// readCommand reads a command that is there.
func readCommand(raw map[string]json.RawMessage) (slash, error) {
	text, err := json.Marshal(raw)
	if err != nil {
		return slash{}, err
	}
	c := slash{Type: commandSlash}
	if err := json.Unmarshal(text, &c); err != nil {
		return slash{}, actions.Wrap(opRegister, actions.CodeDownstream, err, "Discord answered with a command that cannot be read.")
	}
	return c, nil
}

// settled is a command that is there without what cannot be another way than
// wanted. A guild's come back with where the application can be added to, which
// is not said for them; and what does not come back at all says nothing.
func (c slash) settled(wanted slash, raw map[string]json.RawMessage) slash {
	if _, said := raw["integration_types"]; !said || wanted.Integrations == nil {
		c.Integrations = wanted.Integrations
	}
	if _, said := raw["contexts"]; !said || wanted.Contexts == nil {
		c.Contexts = wanted.Contexts
	}
	return c
}

// equal compares what can be written, whatever the ids.
func (c slash) equal(d slash) bool {
	c.ID, d.ID = "", ""
	a, errA := json.Marshal(c)
	b, errB := json.Marshal(d)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// writable are the fields of a command that can be written.
// Source: https://docs.discord.com/developers/interactions/application-commands#bulk-overwrite-global-application-commands
var writable = []string{"id", "type", "name", "name_localizations", "description", "description_localizations", "options",
	"default_member_permissions", "integration_types", "contexts", "nsfw", "handler"}

// again is a command that is there, as it is written to stay as it is.
func again(raw map[string]json.RawMessage) map[string]json.RawMessage {
	kept := map[string]json.RawMessage{}
	for _, name := range writable {
		if v, ok := raw[name]; ok && string(v) != "null" {
			kept[name] = v
		}
	}
	return kept
}

// commands are Berth's, as they are to be.
func (s *Surface) commands(global bool) ([]slash, error) {
	berth := slash{Type: commandSlash, Name: slashCommand, Description: "Deploys, looks at and takes away environments"}
	for _, v := range s.verbs {
		if err := berth.add(v); err != nil {
			return nil, err
		}
	}
	if err := berth.fit(); err != nil {
		return nil, err
	}
	deploy := slash{Type: commandMessage, Name: deployCommand}
	all := []slash{berth, deploy}
	if global {
		for i := range all {
			all[i].Integrations = []int{0} // where it was added to a server
			all[i].Contexts = []int{0, 1}  // servers, and direct messages with Berth
		}
	}
	return all, nil
}

// add makes a Verb a subcommand.
func (c *slash) add(v Verb) error {
	sub := slashOption{Type: optionSubcommand, Name: v.path()[len(v.path())-1], Description: sentence(v.Summary)}
	for _, o := range v.options() {
		sub.Options = append(sub.Options, o.slash())
	}
	// Discord wants what must be given first.
	slices.SortStableFunc(sub.Options, func(a, b slashOption) int {
		switch {
		case a.Required == b.Required:
			return 0
		case a.Required:
			return -1
		}
		return 1
	})
	if v.Group == "" {
		c.Options = append(c.Options, sub)
		return nil
	}
	i := slices.IndexFunc(c.Options, func(o slashOption) bool { return o.Name == v.Group })
	if i < 0 {
		c.Options = append(c.Options, slashOption{Type: optionGroup, Name: v.Group, Description: sentence(v.Summary)})
		i = len(c.Options) - 1
	}
	if c.Options[i].Type != optionGroup {
		return actions.Errorf(opRegister, actions.CodeInternal, "%q is a verb and a group of verbs.", v.Group)
	}
	c.Options[i].Options = append(c.Options[i].Options, sub)
	return nil
}

// slash is an Option as Discord has it.
func (o Option) slash() slashOption {
	out := slashOption{Type: optionString, Name: o.Name, Description: sentence(o.Summary), Required: o.Required, Autocomplete: o.Suggest != ""}
	switch o.Kind {
	case OptionNumber:
		least := 0
		out.Type, out.Autocomplete, out.MinValue = optionInteger, false, &least
	case OptionSwitch:
		out.Type, out.Autocomplete = optionBoolean, false
	}
	return out
}

// sentence is a description: one line of plain text that is not empty.
func sentence(text string) string {
	text = strings.ReplaceAll(oneLine(text), "`", "")
	if text == "" {
		return "–"
	}
	return clipRunes(text, maxDescription)
}

// fit holds the command within Discord's limits: too many options are an error,
// and of too much text the longest descriptions of options are shortened.
func (c *slash) fit() error {
	var descriptions []*string
	total := utf8.RuneCountInString(c.Name + c.Description)
	var walk func(options []slashOption, depth int) error
	walk = func(options []slashOption, depth int) error {
		if len(options) > maxOptions {
			return actions.Errorf(opRegister, actions.CodeInternal, "Discord takes %d options at once, and there are %d.", maxOptions, len(options))
		}
		seen := map[string]bool{}
		for i := range options {
			o := &options[i]
			if !namesOption.MatchString(o.Name) || o.Name != strings.ToLower(o.Name) || seen[o.Name] {
				return actions.Errorf(opRegister, actions.CodeInternal, "Discord takes no option of the name %q there.", o.Name)
			}
			seen[o.Name] = true
			total += utf8.RuneCountInString(o.Name + o.Description)
			if o.Type > optionGroup {
				descriptions = append(descriptions, &o.Description)
			}
			if err := walk(o.Options, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(c.Options, 0); err != nil {
		return err
	}
	for most := maxDescription; total > maxCommand && most >= 10; most-- {
		for _, d := range descriptions {
			before := utf8.RuneCountInString(*d)
			*d = clipRunes(*d, most)
			total -= before - utf8.RuneCountInString(*d)
		}
	}
	if total > maxCommand {
		return actions.Errorf(opRegister, actions.CodeInternal, "Discord takes %d characters for a command, and there are %d.", maxCommand, total)
	}
	return nil
}
