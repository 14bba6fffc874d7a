package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/apiclient"
	"github.com/berth-dev/berth/bot/command"
)

// newSaid is the command of a verb whose answer is words.
func newSaid(verb string) *cobra.Command {
	cmd := withOutput(fromGrammar(verb, "ask"))
	cmd.Args, cmd.ValidArgsFunction = arguments(0, 1), completeEnvironments
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := line(cmd, verb, args)
		if err != nil {
			return err
		}
		return say(cmd, c)
	}
	return cmd
}

// newDeny is `berth deny`, whose words after an environment or an id are the
// reason.
func newDeny() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbDeny, "ask"))
	cmd.Args, cmd.ValidArgsFunction = arguments(0, command.MaxWords), completeEnvironments
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var target []string
		if len(args) > 0 {
			if c, err := command.Parse(bot.VerbDeny + " " + bot.Quote(args[0])); err == nil && c.Reason == "" {
				target, args = args[:1], args[1:]
			}
		}
		c, err := line(cmd, bot.VerbDeny, target)
		if err != nil {
			return err
		}
		if reason := strings.Join(args, " "); reason != "" {
			if c.Reason != "" {
				return usageError(fmt.Errorf("%q would be a second reason besides --reason; give one", reason))
			}
			c.Reason = reason
			if c, err = command.Parse(c.String()); err != nil {
				return err
			}
		}
		return say(cmd, c)
	}
	return cmd
}

// newLink is `berth link`.
func newLink() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbLink, "ask"))
	cmd.Args = arguments(0, 2)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		words := []string{bot.VerbLink}
		for _, arg := range args {
			words = append(words, bot.Quote(arg))
		}
		c, err := command.Parse(strings.Join(words, " "))
		if err != nil {
			return err
		}
		return say(cmd, c)
	}
	return cmd
}

// say runs a command and prints its answer.
func say(cmd *cobra.Command, c bot.Command) error {
	if _, err := outputOf(cmd); err != nil {
		return err
	}
	server, err := client(cmd)
	if err != nil {
		return err
	}
	answer, err := server.Command(cmd.Context(), c.String(), apiclient.NewKey())
	if err != nil {
		return err
	}
	var data any = answer
	switch {
	case answer.Request != nil:
		data = answer.Request
	case answer.Environment != nil:
		data = answer.Environment
	}
	return show(cmd, data, func(w io.Writer) { words(w, answer.Text) })
}
