package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/command"
)

// newPolicyExplain is `berth policy explain`.
func newPolicyExplain() *cobra.Command {
	cmd := withOutput(&cobra.Command{
		Use: "explain VERB TARGET", Short: "Say what the policies would say of a command, without doing it",
		Long: "Say what the policies would say of a command, without doing it: the server plans it, asks its policies and tells\n" +
			"which rules match, what would be missing and who could give it. Nothing is changed.",
		Args:    arguments(1, 2),
		Example: "  berth policy explain --as ana deploy shop/pr-1\n  berth policy explain cleanup shop/demo --break-glass --reason \"it burns\"",
	})
	var flags []string
	for _, verb := range actions.Verbs() {
		for _, name := range command.Flags(string(verb)) {
			if name != "wait" && !slices.Contains(flags, name) {
				flags = append(flags, name)
			}
		}
	}
	flagsFromGrammar(cmd, flags)
	as := cmd.Flags().String("as", "", "who would type it: an actor of the server's config, or an account such as github:ana; left out, whoever the token stands for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := outputOf(cmd); err != nil {
			return err
		}
		if !slices.Contains(actions.Verbs(), actions.Verb(args[0])) {
			text := fmt.Sprintf("%q is no action", args[0])
			if near := command.Nearest(args[0]); near != "" && near != args[0] {
				text += fmt.Sprintf("; did you mean %s", near)
			}
			return usageError(fmt.Errorf("%s. It is written `%s`", text, cmd.UseLine()))
		}
		c, err := line(cmd, args[0], args[1:])
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
