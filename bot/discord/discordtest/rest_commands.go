package discordtest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Types of commands.
const (
	commandChat    = 1
	commandMessage = 3
)

// Types of a command's options.
// Source: https://docs.discord.com/developers/interactions/application-commands#application-command-object-application-command-option-type
const (
	optionSubcommand = 1
	optionGroup      = 2
	optionString     = 3
	optionInteger    = 4
	optionBoolean    = 5
	optionUser       = 6
	optionNumber     = 10
)

// Limits of commands.
// Source: https://docs.discord.com/developers/interactions/application-commands
const (
	maxCommands           = 100  // chat commands of a guild or globally
	maxMenuCommands       = 5    // message commands, and as many for users
	maxCommandOptions     = 25   // options, subcommands, groups and choices alike
	maxCommandName        = 32   // of options, too
	maxCommandDescription = 100  // of options, too
	maxCommandTotal       = 8000 // names, descriptions and values of one command
)

// command is one that is registered.
type command struct {
	ID                       string   `json:"id"`
	ApplicationID            string   `json:"application_id"`
	GuildID                  string   `json:"guild_id,omitempty"`
	Version                  string   `json:"version"`
	Type                     int      `json:"type"`
	Name                     string   `json:"name"`
	NameLocalizations        any      `json:"name_localizations"`
	Description              string   `json:"description"`
	DescriptionLocalizations any      `json:"description_localizations"`
	DefaultMemberPermissions any      `json:"default_member_permissions"`
	DMPermission             *bool    `json:"dm_permission,omitempty"`
	NSFW                     bool     `json:"nsfw"`
	Options                  []option `json:"options,omitempty"`
	IntegrationTypes         []int    `json:"integration_types,omitempty"`
	Contexts                 []int    `json:"contexts"`
}

// option is one of a command.
type option struct {
	Type         int      `json:"type"`
	Name         string   `json:"name"`
	Description  string   `json:"description"`
	Required     bool     `json:"required,omitempty"`
	Choices      []Choice `json:"choices,omitempty"`
	Options      []option `json:"options,omitempty"`
	Autocomplete bool     `json:"autocomplete,omitempty"`
	MinValue     *float64 `json:"min_value,omitempty"`
	MaxValue     *float64 `json:"max_value,omitempty"`
	MinLength    *int     `json:"min_length,omitempty"`
	MaxLength    *int     `json:"max_length,omitempty"`
}

// Choice is a value that an option may have, or that was suggested for it.
type Choice struct {
	Name  string `json:"name"`
	Value any    `json:"value"` // a string or a number
}

// scope is the guild whose commands a route is about; "" is global.
func (s *Server) scope(c *call) (string, *refusal) {
	if c.params["application"] != s.app.id {
		return "", unknownApplication
	}
	g := c.params["guild"]
	if g == "" {
		return "", nil
	}
	if s.guilds[g] == nil {
		return "", missingAccess
	}
	return g, nil
}

func (s *Server) getCommands(c *call) (any, *refusal) {
	scope, no := s.scope(c)
	if no != nil {
		return nil, no
	}
	return list(s.commands[scope]), nil
}

func (s *Server) commandOf(c *call) (*command, string, *refusal) {
	scope, no := s.scope(c)
	if no != nil {
		return nil, "", no
	}
	for _, cmd := range s.commands[scope] {
		if cmd.ID == c.params["command"] {
			return cmd, scope, nil
		}
	}
	return nil, "", unknownCommand
}

func (s *Server) getCommand(c *call) (any, *refusal) {
	cmd, _, no := s.commandOf(c)
	return cmd, no
}

// createCommand makes a command, or replaces the one of that name and type.
func (s *Server) createCommand(c *call) (any, *refusal) {
	scope, no := s.scope(c)
	if no != nil {
		return nil, no
	}
	cmd := s.newCommand(c.body, scope)
	var bs breaches
	limitCommand(cmd, nil, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	existing := slices.IndexFunc(s.commands[scope], func(o *command) bool { return o.Name == cmd.Name && o.Type == cmd.Type })
	if existing < 0 {
		if !fits(append(slices.Clone(s.commands[scope]), cmd)) {
			return nil, tooManyCommands
		}
		s.commands[scope] = append(s.commands[scope], cmd)
		c.status = 201
	} else {
		cmd.ID = s.commands[scope][existing].ID
		s.commands[scope][existing] = cmd
	}
	s.touch()
	return cmd, nil
}

// replaceCommands makes the list the whole of what there is. Commands that keep
// their name and type keep their id.
func (s *Server) replaceCommands(c *call) (any, *refusal) {
	scope, no := s.scope(c)
	if no != nil {
		return nil, no
	}
	bodies := into[[]obj](c.value)
	var bs breaches
	var all []*command
	for i, b := range bodies {
		cmd := s.newCommand(b, scope)
		limitCommand(cmd, []string{fmt.Sprint(i)}, &bs)
		if slices.ContainsFunc(all, func(o *command) bool { return o.Name == cmd.Name && o.Type == cmd.Type }) {
			bs.add([]string{fmt.Sprint(i), "name"}, "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
		}
		for _, old := range s.commands[scope] {
			if old.Name == cmd.Name && old.Type == cmd.Type {
				cmd.ID = old.ID
				if old.same(cmd) {
					cmd.Version = old.Version
				}
			}
		}
		all = append(all, cmd)
	}
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	if !fits(all) {
		return nil, tooManyCommands
	}
	s.commands[scope] = all
	s.touch()
	return list(all), nil
}

// same tells whether two commands differ in their version alone.
func (cmd *command) same(o *command) bool {
	a, b := *cmd, *o
	a.Version, b.Version = "", ""
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func (s *Server) editCommand(c *call) (any, *refusal) {
	old, scope, no := s.commandOf(c)
	if no != nil {
		return nil, no
	}
	merged := into[obj](old)
	for name, v := range c.body {
		merged[name] = v
	}
	cmd := s.newCommand(merged, scope)
	cmd.ID, cmd.Type = old.ID, old.Type
	var bs breaches
	limitCommand(cmd, nil, &bs)
	if no := s.judge(c.route.name, bs); no != nil {
		return nil, no
	}
	*old = *cmd
	s.touch()
	return old, nil
}

func (s *Server) deleteCommand(c *call) (any, *refusal) {
	old, scope, no := s.commandOf(c)
	if no != nil {
		return nil, no
	}
	s.commands[scope] = slices.DeleteFunc(s.commands[scope], func(o *command) bool { return o == old })
	s.touch()
	return nil, nil
}

// newCommand reads a command with what Discord fills in.
func (s *Server) newCommand(from obj, scope string) *command {
	cmd := into[command](from)
	cmd.ID, cmd.ApplicationID, cmd.GuildID, cmd.Version = s.newID(), s.app.id, scope, s.newID()
	if cmd.Type == 0 {
		cmd.Type = commandChat
	}
	if cmd.IntegrationTypes == nil { // a guild's commands come back with it, too
		cmd.IntegrationTypes = []int{0}
	}
	if scope == "" && cmd.DMPermission == nil {
		yes := true
		cmd.DMPermission = &yes
	}
	return &cmd
}

func fits(all []*command) bool {
	n := map[int]int{}
	for _, cmd := range all {
		n[cmd.Type]++
	}
	return n[commandChat] <= maxCommands && n[2] <= maxMenuCommands && n[commandMessage] <= maxMenuCommands
}

// commandName is what chat commands and options may be called.
// Source: https://docs.discord.com/developers/interactions/application-commands#application-command-object-application-command-naming
var commandName = regexp.MustCompile(`^[-_'\p{L}\p{N}\p{Devanagari}\p{Thai}]{1,32}$`)

func limitName(name string, path []string, bs *breaches) {
	if !commandName.MatchString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.ToLower(r) != r }) {
		bs.add(at(path, "name"), "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")
	}
}

func limitCommand(cmd *command, path []string, bs *breaches) {
	if cmd.Type == commandChat {
		limitName(cmd.Name, path, bs)
		bs.between(at(path, "description"), cmd.Description, 1, maxCommandDescription)
	} else {
		bs.between(at(path, "name"), cmd.Name, 1, maxCommandName)
		if cmd.Description != "" {
			bs.add(at(path, "description"), "APPLICATION_COMMAND_DESCRIPTION_NOT_ALLOWED", "Context menu commands cannot have description")
		}
		if len(cmd.Options) > 0 {
			bs.add(at(path, "options"), "APPLICATION_COMMAND_OPTIONS_NOT_ALLOWED", "Context menu commands cannot have options")
		}
	}
	if cmd.GuildID != "" && len(cmd.Contexts) > 0 {
		bs.odd(at(path, "contexts"), "contexts are for global commands alone")
	}
	total := length(cmd.Name) + length(cmd.Description) + limitOptions(cmd.Options, 0, at(path, "options"), bs)
	if total > maxCommandTotal {
		bs.add(path, "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (%d)", maxCommandTotal)
	}
}

// limitOptions checks a level of options and returns their size.
func limitOptions(options []option, depth int, path []string, bs *breaches) (total int) {
	if len(options) > maxCommandOptions {
		bs.add(path, "BASE_TYPE_MAX_LENGTH", "Must be %d or fewer in length.", maxCommandOptions)
	}
	seen := map[string]bool{}
	optional := false
	nested := len(options) > 0 && options[0].nests()
	for i, o := range options {
		here := at(path, i)
		limitName(o.Name, here, bs)
		bs.between(at(here, "description"), o.Description, 1, maxCommandDescription)
		total += length(o.Name) + length(o.Description)
		if seen[o.Name] {
			bs.add(at(here, "name"), "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option with that name already exists")
		}
		seen[o.Name] = true
		if o.nests() != nested {
			bs.add(at(here, "type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-command and sub-command group option types are mutually exclusive to all other types")
		}
		if o.nests() {
			if depth > 1 || depth == 1 && o.Type == optionGroup {
				bs.add(at(here, "type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Subcommands nest in groups, and groups in commands")
			}
			total += limitOptions(o.Options, depth+1+optionGroup-o.Type, at(here, "options"), bs)
			continue
		}
		if o.Required && optional {
			bs.add(at(here, "required"), "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", "Required options must be placed before non-required options")
		}
		optional = optional || !o.Required
		total += limitOption(o, here, bs)
	}
	return total
}

func (o option) nests() bool { return o.Type == optionSubcommand || o.Type == optionGroup }

func limitOption(o option, path []string, bs *breaches) (total int) {
	limitChoices(o.Choices, o.Type, at(path, "choices"), bs)
	for _, c := range o.Choices {
		total += length(c.Name) + length(fmt.Sprint(c.Value))
	}
	completes := o.Type == optionString || o.Type == optionInteger || o.Type == optionNumber
	if o.Autocomplete && (len(o.Choices) > 0 || !completes) {
		bs.add(at(path, "autocomplete"), "APPLICATION_COMMAND_AUTOCOMPLETE_INVALID", "autocomplete is for strings and numbers without choices")
	}
	if len(o.Choices) > 0 && !completes {
		bs.add(at(path, "choices"), "APPLICATION_COMMAND_OPTIONS_CHOICES_INVALID", "choices are for strings and numbers")
	}
	return total
}
