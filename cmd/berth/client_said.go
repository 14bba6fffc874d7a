package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/apiclient"
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
