package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/command"
)

// newRoot is the whole command line.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "Every pull request its own environment",
		Long: "Berth gives every pull request its own environment, and takes it away again.\n\n" +
			"`berth serve` runs the bot. The other commands talk to one: it is found by --server,\nBERTH_SERVER or `berth login`; the token is taken from BERTH_TOKEN or `berth login`.\n\n" +
			"Exit codes: 0 done, 1 the action failed, 2 bad usage or config, 3 waiting for approval\n(without --wait), 4 denied or refused, 5 the server cannot be reached.",
		Version: version, SilenceErrors: true, SilenceUsage: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.SetVersionTemplate("berth {{ .Version }}\n")
	root.PersistentFlags().String("server", "", "the server's address (BERTH_SERVER)")
	root.SetFlagErrorFunc(unknownFlag)
	root.AddGroup(&cobra.Group{ID: "act", Title: "Environments:"}, &cobra.Group{ID: "ask", Title: "Requests:"}, &cobra.Group{ID: "run", Title: "The server and this program:"})
	for _, cmd := range clientCommands() {
		root.AddCommand(cmd)
	}
	for _, cmd := range []*cobra.Command{newServe(), newConfig(), newPolicy(), newSlack(), newDiscord(), newAccess(), newDoctor(), newVersion()} {
		cmd.GroupID = "run"
		root.AddCommand(cmd)
	}
	root.SetHelpCommand(newHelp(root))
	root.SetCompletionCommandGroupID("run")
	return root
}

// newHelp is `berth help`, which answers a mistyped command as the command
// itself does.
func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command", GroupID: "run",
		ValidArgsFunction: func(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var found []cobra.Completion
			for _, cmd := range root.Commands() {
				if len(args) == 0 && cmd.IsAvailableCommand() && strings.HasPrefix(cmd.Name(), typed) {
					found = append(found, cobra.CompletionWithDesc(cmd.Name(), cmd.Short))
				}
			}
			return found, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			switch {
			case err != nil:
				return err
			case len(rest) > 0 && cmd == root:
				return unknownCommand(root, rest[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// newVersion is `berth version`.
func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "berth "+version)
			return err
		},
	}
}

// unknownCommand answers a mistyped command with the nearest one.
func unknownCommand(root *cobra.Command, word string) error {
	var names []string
	for _, cmd := range root.Commands() {
		names = append(names, cmd.Name())
	}
	text := fmt.Sprintf("%q is not a command.", word)
	if near := bot.Nearest(word, names); near != "" {
		text += fmt.Sprintf(" Did you mean `berth %s`?", near)
	}
	return usageError(fmt.Errorf("%s `berth help` lists them all", text))
}

// unknownFlag answers a mistyped flag with the nearest one.
func unknownFlag(cmd *cobra.Command, err error) error {
	text := err.Error()
	name, unknown := strings.CutPrefix(text, "unknown flag: --")
	if !unknown {
		return usageError(fmt.Errorf("%s; `%s --help` says how it is written", text, cmd.CommandPath()))
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	text = fmt.Sprintf("`%s` has no flag --%s.", cmd.CommandPath(), name)
	if near := bot.Nearest(name, names); near != "" {
		text += fmt.Sprintf(" Did you mean --%s?", near)
	}
	return usageError(fmt.Errorf("%s `%s --help` lists them", text, cmd.CommandPath()))
}

// arguments says how many arguments a command takes.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > most:
			return usageError(fmt.Errorf("%q is too much: it is written `%s`", args[most], cmd.UseLine()))
		case len(args) < least:
			return usageError(fmt.Errorf("something is missing: it is written `%s`", cmd.UseLine()))
		}
		return nil
	}
}

// fromGrammar is the start of a command that stands for a verb of the grammar,
// with the words that the verb has everywhere.
func fromGrammar(verb, group string) *cobra.Command {
	long, example := command.Long(verb)
	short := command.Short(verb)
	short = strings.ToUpper(short[:1]) + short[1:]
	if long != "" {
		long = short + ". " + long
	}
	cmd := &cobra.Command{Use: command.Usage(verb), Short: short, Long: long, Example: "  berth " + example, GroupID: group}
	flagsFromGrammar(cmd, command.Flags(verb))
	return cmd
}

// flagsFromGrammar gives cmd flags of the grammar, with the words that they have
// everywhere.
func flagsFromGrammar(cmd *cobra.Command, names []string) {
	for _, name := range names {
		takes, text := command.Flag(name)
		text = strings.ReplaceAll(text, "`", "") // which would name what the flag takes
		switch {
		case takes == "":
			cmd.Flags().Bool(name, false, text)
			continue
		case name == "set", name == "with":
			cmd.Flags().StringArray(name, nil, text)
		default:
			cmd.Flags().String(name, "", text)
		}
		f := cmd.Flags().Lookup(name)
		f.Value, f.DefValue = taking{f.Value, takes}, ""
	}
}

// taking is a flag's value with an example of it in the help, where there would
// be a type.
type taking struct {
	pflag.Value
	takes string
}

// Type is the example.
func (t taking) Type() string { return t.takes }

// all is every value of a flag that may be repeated.
func (t taking) all() []string {
	if list, ok := t.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{t.String()}
}

// line is the command line of a verb in the grammar's own form, checked by the
// grammar before it is sent anywhere.
func line(cmd *cobra.Command, verb string, args []string) (bot.Command, error) {
	c := bot.Command{Verb: verb}
	if len(args) > 0 {
		if strings.ContainsAny(args[0], " \t\n\"'") || strings.HasPrefix(args[0], "-") || args[0] == "" {
			return c, usageError(fmt.Errorf("%q is no target; it is written `%s`", args[0], cmd.UseLine()))
		}
		c.App = args[0]
	}
	text := func(name string) string {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			return f.Value.String()
		}
		return ""
	}
	on := func(name string) bool { return text(name) == "true" }
	c.Ref, c.Reason, c.DryRun, c.Wait, c.Glass = text("ref"), text("reason"), on("dry-run"), on("wait"), on("break-glass")
	if ttl := text("ttl"); ttl != "" {
		d, err := command.ParseTTL(ttl)
		if err != nil {
			return c, err
		}
		c.TTL = d
	}
	c.Cluster, c.Keep = text("cluster"), on("keep")
	var err error
	if to := text("to"); to != "" {
		if c.To, err = strconv.Atoi(to); err != nil || c.To < 1 {
			return c, usageError(fmt.Errorf("--to takes the number of a revision, as `berth history` shows them; %q is none", to))
		}
	}
	if c.With, err = pairs(cmd.Flags().Lookup("with")); err != nil {
		return c, err
	}
	if c.Set, err = pairs(cmd.Flags().Lookup("set")); err != nil {
		return c, err
	}
	return command.Parse(strings.Join(append([]string{c.String()}, printing(cmd)...), " "))
}

// printing is what cmd says of the lines of pods that are wanted, as the grammar
// has it.
func printing(cmd *cobra.Command) (words []string) {
	for _, name := range []string{"pods", "part", "pod", "container", "since", "tail", "grep"} {
		f := cmd.Flags().Lookup(name)
		switch {
		case f == nil || !f.Changed:
		case name != "pods":
			words = append(words, "--"+name, bot.Quote(f.Value.String()))
		case f.Value.String() == "true":
			words = append(words, "--pods")
		}
	}
	return words
}

// pairs are the keys and values of --set or --with; nil when there are none.
func pairs(f *pflag.Flag) (map[string]string, error) {
	if f == nil || !f.Changed {
		return nil, nil
	}
	value, ok := f.Value.(taking)
	if !ok {
		return nil, fmt.Errorf("--%s is a %T", f.Name, f.Value)
	}
	set := map[string]string{}
	for _, pair := range value.all() {
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := set[key]; !ok || twice || strings.ContainsAny(key, " \t\n\"'") {
			return nil, usageError(fmt.Errorf("--%s takes key=value, each key once; %q is not that", f.Name, pair))
		}
		set[key] = value
	}
	return set, nil
}
