package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/apiclient"
	"github.com/berth-dev/berth/bot/command"
)

// newHistory is `berth history`.
func newHistory() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbHistory, "act"))
	cmd.Args, cmd.ValidArgsFunction = arguments(1, 1), completeEnvironments
	limit := cmd.Flags().Int("limit", 50, "how many at most; 500 are kept")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := positive(*limit); err != nil {
			return err
		}
		c, err := line(cmd, bot.VerbHistory, args)
		if err != nil {
			return err
		}
		if c.Env == "" {
			return say(cmd, c) // which says what a target is, and which apps there are
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		past, err := server.History(cmd.Context(), actions.Name{App: c.App, Env: c.Env}, min(*limit, actions.HistoryKept))
		if err != nil {
			return err
		}
		return show(cmd, items[api.Past]{Items: past}, func(w io.Writer) { printHistory(w, c.Target(), past) })
	}
	return cmd
}

func printHistory(w io.Writer, env string, past []api.Past) {
	if len(past) == 0 {
		fmt.Fprintf(w, "Nothing has ended at %s yet.\n", env)
		return
	}
	rows := [][]string{{"REVISION", "ACTION", "STATE", "COMMIT", "BY", "ENDED", "RUN", ""}}
	back, made, over := 0, false, false
	for _, p := range past {
		if p.State == string(actions.RunSucceeded) {
			// What was archived is restored first, and what a cleanup ended is no more.
			over = over || p.Verb == string(actions.VerbCleanup) || p.Verb == string(actions.VerbArchive) && !made
			made = made || p.Revision > 0
		}
		revision, action, ended := "", p.Verb, ""
		if p.Revision > 0 {
			revision = strconv.Itoa(p.Revision)
		}
		if p.Current {
			revision += " (runs now)"
		} else if back == 0 && p.Kept && !over {
			back = p.Revision
		}
		if p.Back > 0 {
			action += " to " + strconv.Itoa(p.Back)
		}
		if p.EndedAt != nil {
			ended = p.EndedAt.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{revision, action, p.State, bot.Short(p.Commit), oneLine(p.By), ended, p.RunID, cut(oneLine(p.Error), 80)})
	}
	table(w, rows)
	if back > 0 {
		fmt.Fprintf(w, "\n`berth rollback %s --to %d` goes back to revision %d.\n", env, back, back)
	}
}

// newVars is `berth vars`.
func newVars() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbVars, "act"))
	cmd.Args, cmd.ValidArgsFunction = arguments(1, 1), completeEnvironments
	cmd.RunE = sayOrShow(bot.VerbVars, func(ctx context.Context, server *apiclient.Client, env actions.Name) (any, error) {
		all, err := server.Variables(ctx, env)
		return items[api.Variable]{Items: all}, err
	})
	return cmd
}

// newSet is `berth set` and `berth unset`.
func newSet(verb string) *cobra.Command {
	cmd := withOutput(fromGrammar(verb, "act"))
	cmd.Args, cmd.ValidArgsFunction = arguments(2, command.MaxWords), completeEnvironments
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := actions.ParseName(strings.ToLower(args[0])); err != nil {
			return usageError(fmt.Errorf("which environment? It is written `%s`, such as `%s`", cmd.UseLine(), strings.TrimSpace(cmd.Example)))
		}
		if verb == bot.VerbSet && slices.ContainsFunc(args[1:], long) {
			return setLong(cmd, args)
		}
		words := []string{verb}
		for _, arg := range args {
			key, value, ok := strings.Cut(arg, "=")
			if strings.ContainsAny(key, " \t\n\"'") || strings.HasPrefix(key, "-") || key == "" {
				return usageError(fmt.Errorf("one of the words is no variable; it is written `%s`", cmd.UseLine())) // it is not repeated: it may be a value
			}
			if ok {
				key += "=" + bot.Quote(value)
			}
			words = append(words, key)
		}
		for _, name := range command.Flags(verb) {
			if f := cmd.Flags().Lookup(name); f.Changed {
				words = append(words, "--"+name, bot.Quote(f.Value.String()))
			}
		}
		c, err := command.Parse(strings.Join(words, " "))
		if err != nil {
			return err
		}
		return say(cmd, c)
	}
	return cmd
}

// long tells whether a variable's value is one that no command holds: of more
// than one line, or so long that the line would be too long.
func long(arg string) bool {
	_, value, _ := strings.Cut(arg, "=")
	return len(value) > command.MaxLine/4 || strings.ContainsFunc(value, unicode.IsControl)
}

// setLong sets variables one by one, as the API takes them.
func setLong(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("secret") || cmd.Flags().Changed("reason") {
		return usageError(errors.New("a value of several lines, or so long a one, is set without --secret and --reason"))
	}
	name, err := actions.ParseName(strings.ToLower(args[0]))
	if err != nil {
		return err
	}
	values := map[string]string{}
	for _, arg := range args[1:] {
		key, value, ok := strings.Cut(arg, "=")
		if _, twice := values[key]; !ok || twice || !actions.ValidVariable(key) {
			return usageError(fmt.Errorf("one of the words is no variable, or one is given twice; it is written `%s`", cmd.UseLine()))
		}
		values[key] = value
	}
	server, err := client(cmd)
	if err != nil {
		return err
	}
	all := items[api.Variable]{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		v, err := server.SetVariable(cmd.Context(), name, key, values[key])
		if err != nil {
			return err
		}
		all.Items = append(all.Items, *v)
	}
	return show(cmd, all, func(w io.Writer) {
		for _, v := range all.Items {
			fmt.Fprintf(w, "%s of %s is set. It takes effect with the next deploy: `berth deploy %s`.\n", v.Name, name, name)
		}
	})
}
