package main

import (
	"strings"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/command"
	"github.com/berth-dev/berth/bot/discord"
)

// discordVerbs is the grammar as Discord offers it. It has room for 25
// subcommands, so those about variables stand under one word.
func discordVerbs() []discord.Verb {
	var verbs []discord.Verb
	for _, name := range command.Verbs() {
		verb := discord.Verb{Name: name, Summary: summary(command.Short(name)), Arguments: discordArguments(command.Argument(name))}
		switch name {
		case bot.VerbVars:
			verb.Group, verb.As = bot.VerbVars, "show"
		case bot.VerbSet, bot.VerbUnset:
			verb.Group, verb.As = bot.VerbVars, name
		}
		for _, flag := range command.Flags(name) {
			if flag != "wait" { // only a terminal waits
				verb.Flags = append(verb.Flags, discordFlag(flag))
			}
		}
		verbs = append(verbs, verb)
	}
	return verbs
}

// discordArguments are what may stand after a verb, in the grammar's words.
func discordArguments(kind string) []discord.Option {
	target := discord.Option{Name: "target", Summary: "The environment, such as shop/pr-42", Suggest: discord.SuggestTarget}
	switch kind {
	case "TARGET":
		return []discord.Option{target}
	case "APP":
		return []discord.Option{{Name: "app", Summary: "The app", Suggest: discord.SuggestApp}}
	case "REQUEST":
		return []discord.Option{{Name: "request", Summary: "The request's id", Required: true, Suggest: discord.SuggestRequest}}
	case "TARGET | ID":
		target.Summary = "The environment, such as shop/pr-42, or the id of a request or a run"
		return []discord.Option{target}
	case "TARGET | ID, REASON":
		target.Summary, target.Suggest = "The request's id, or its environment", discord.SuggestRequest
		return []discord.Option{target} // the reason is a flag: as loose words it could be taken for a target
	case "ACCOUNT | CODE":
		return []discord.Option{{Name: "account", Summary: "An account (github:LOGIN), the code that another one got, or `remove ACCOUNT`", Kind: discord.OptionWords}}
	case "VERB":
		return []discord.Option{{Name: "verb", Summary: "What to say more about", Suggest: discord.SuggestVerb}}
	case "TARGET, VARIABLES":
		return []discord.Option{target, {Name: "variables", Summary: "KEY=VALUE, or KEY alone to take it back; several with spaces between", Kind: discord.OptionWords, Required: true}}
	}
	return nil
}

// discordFlag is a flag as an option.
func discordFlag(name string) discord.Option {
	takes, text := command.Flag(name)
	option := discord.Option{Name: name, Summary: summary(text)}
	switch {
	case takes == "":
		option.Kind = discord.OptionSwitch
	case takes == "REVISION" || takes == "LINES":
		option.Kind = discord.OptionNumber
	case strings.Contains(takes, "="):
		option.Kind, option.Summary = discord.OptionWords, summary(takes+": "+text)
	}
	if name == "ref" {
		option.Suggest = discord.SuggestRef
	}
	return option
}

// summary is a text of the grammar as one plain line that begins with a capital.
func summary(markdown string) string {
	text := bot.Plain(strings.ReplaceAll(markdown, "`", ""))
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
