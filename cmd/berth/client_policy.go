package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/command"
)

// newPolicyExplain is `berth policy explain`.
func newPolicyExplain() *cobra.Command {
	cmd := withOutput(&cobra.Command{
		Use: "explain [--as WHO] VERB TARGET [--flag value]…", Short: "Say what the policies would say of a command, without doing it",
		Long: "Say what the policies would say of a command, without doing it: the server plans it, asks its policies and tells\n" +
			"which rules match, what would be missing and who could give it. Nothing is changed.\n\n" +
			"--as takes the name of an actor in the server's config, or an account such as github:ana. Flags of this command\nstand before the verb, those of the simulated command after it.",
		Args:    arguments(1, command.MaxWords),
		Example: "  berth policy explain --as ana deploy shop/pr-1\n  berth policy explain cleanup shop/demo --reason \"over\"",
	})
	as := cmd.Flags().String("as", "", "who would type it; left out, whoever the token stands for")
	cmd.Flags().SetInterspersed(false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := outputOf(cmd); err != nil {
			return err
		}
		line := make([]string, len(args))
		for i, arg := range args {
			line[i] = typed(arg)
		}
		c, err := command.Parse(strings.Join(line, " "))
		if err != nil {
			return err
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		told, err := server.Simulate(cmd.Context(), c.String(), *as)
		if err != nil {
			return err
		}
		return show(cmd, told, func(w io.Writer) { words(w, told.Text) })
	}
	return cmd
}

// typed is an argument, which a shell has taken the quotes off, as the grammar
// takes it.
func typed(arg string) string {
	if strings.HasPrefix(arg, "-") {
		if name, value, ok := strings.Cut(arg, "="); ok {
			return name + "=" + bot.Quote(value)
		}
		return arg
	}
	if key, value, ok := strings.Cut(arg, "="); ok && value != "" { // of --set
		return key + "=" + bot.Quote(value)
	}
	return bot.Quote(arg)
}
