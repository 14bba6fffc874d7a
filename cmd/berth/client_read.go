package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/apiclient"
)

// pageSize is how many things are asked for at once.
const pageSize = 100

// items is a whole list, in the form of the API's pages.
type items[T any] struct {
	Items []T `json:"items"`
}

// collect reads pages until there are no more, or limit things are there.
func collect[T any](limit int, page func(cursor string, limit int) (*api.Page[T], error)) (items[T], error) {
	all := items[T]{Items: []T{}}
	for cursor := ""; ; {
		n := pageSize
		if limit > 0 {
			n = min(n, limit-len(all.Items))
		}
		p, err := page(cursor, n)
		if err != nil {
			return all, err
		}
		all.Items = append(all.Items, p.Items...)
		if cursor = p.Next; cursor == "" || (limit > 0 && len(all.Items) >= limit) {
			return all, nil
		}
	}
}

// newList is `berth list`.
func newList() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbList, "act"))
	var f apiclient.EnvironmentFilter
	cmd.Flags().BoolVar(&f.All, "all", false, "those that are gone too")
	cmd.Flags().StringVar(&f.State, "state", "", "only those in this state, such as Running")
	cmd.Flags().IntVar(&f.PullRequest, "pr", 0, "only those of the pull request of this number, their own or a component's")
	cmd.Flags().StringVar(&f.Repo, "repo", "", "only those of this repository, such as acme/shop, their own or a component's")
	cmd.Args = arguments(0, 1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := line(cmd, bot.VerbList, args)
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("pr") && f.PullRequest < 1 {
			return usageError(fmt.Errorf("--pr %d is no number of a pull request", f.PullRequest))
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		f.App = c.App
		all, err := collect(0, func(cursor string, limit int) (*apiPage, error) {
			f.Cursor, f.Limit = cursor, limit
			return server.Environments(cmd.Context(), f)
		})
		if err != nil {
			return err
		}
		return show(cmd, all, func(w io.Writer) { printList(w, all.Items) })
	}
	return cmd
}

type apiPage = api.Page[api.Environment]

func printList(w io.Writer, envs []api.Environment) {
	if len(envs) == 0 {
		fmt.Fprintln(w, "There is no environment. `berth deploy app/name` makes one.")
		return
	}
	rows := [][]string{{"ENVIRONMENT", "STATE", "COMMIT", "EXPIRES", "URL"}}
	for _, e := range envs {
		commit := ""
		if e.Commit != "" {
			commit = bot.Short(e.Commit)
		}
		rows = append(rows, []string{e.App + "/" + e.Name, stateOf(e), commit, expires(e), e.URL})
	}
	table(w, rows)
}

// expires says when an environment's time is over.
func expires(e api.Environment) string {
	if e.Keep {
		return "kept"
	}
	return until(time.Now(), e.ExpiresAt)
}

func stateOf(e api.Environment) string {
	text := e.State
	if e.Sleeping {
		text += ", sleeping"
	}
	if e.Lock != nil {
		text += ", locked"
	}
	if l := e.LastAction; l != nil && l.State == string(actions.RunFailed) && e.State != string(actions.StateFailure) {
		text += ", last " + l.Verb + " failed"
	}
	for _, p := range e.Parts {
		if len(p.Drift) > 0 {
			return text + ", drifted"
		}
	}
	return text
}

// newStatus is `berth status`.
func newStatus() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbStatus, "act"))
	cmd.Args, cmd.ValidArgsFunction = arguments(0, 1), completeEnvironments
	cmd.RunE = sayOrShow(bot.VerbStatus, func(ctx context.Context, server *apiclient.Client, env actions.Name) (any, error) {
		return server.Environment(ctx, env)
	})
	return cmd
}

// sayOrShow carries out a verb that asks about an environment: in words, as
// everywhere, or, where the output is for programs, as the API's data that read
// gives. A target that is no environment is answered in words.
func sayOrShow(verb string, read func(ctx context.Context, server *apiclient.Client, env actions.Name) (any, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := line(cmd, verb, args)
		if err != nil {
			return err
		}
		format, err := outputOf(cmd)
		if err != nil {
			return err
		}
		if format == "table" || c.Env == "" {
			return say(cmd, c)
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		data, err := read(cmd.Context(), server, actions.Name{App: c.App, Env: c.Env})
		if err != nil {
			return err
		}
		return show(cmd, data, nil)
	}
}

// newLogs is `berth logs`.
func newLogs() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbLogs, "act"))
	follow := cmd.Flags().BoolP("follow", "f", false, "stays until the run has ended; with what pods print, until it is stopped")
	cmd.Args, cmd.ValidArgsFunction = arguments(1, 1), completeEnvironments
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := line(cmd, bot.VerbLogs, args)
		if err != nil {
			return err
		}
		if c.Printed != nil {
			return printed(cmd, c, *follow)
		}
		return logs(cmd, c, *follow)
	}
	return cmd
}

// printed shows what an environment's pods print.
func printed(cmd *cobra.Command, c bot.Command, follow bool) error {
	format, err := outputOf(cmd)
	if err != nil {
		return err
	}
	if c.ID != "" || c.Env == "" {
		return usageError(errors.New("whose pods? It is written `berth logs app/name --pods`, such as `berth logs shop/pr-42 --pods`"))
	}
	server, err := client(cmd)
	if err != nil {
		return err
	}
	q := c.Printed.Query(time.Now())
	q.Follow = follow
	all, lines := items[actions.LogLine]{Items: []actions.LogLine{}}, json.NewEncoder(cmd.OutOrStdout())
	err = server.Logs(cmd.Context(), actions.Name{App: c.App, Env: c.Env}, c.Printed.Part, q, func(l actions.LogLine) error {
		switch {
		case format == "table":
			_, err := fmt.Fprintln(cmd.OutOrStdout(), oneLine(bot.PrintedLine(l)))
			return err
		case follow:
			return lines.Encode(l) // what has no end is told as it comes
		}
		all.Items = append(all.Items, l)
		return nil
	})
	if follow && canceled(cmd.Context()) {
		return nil // who looks may leave
	}
	if err != nil || follow || format == "table" {
		return err
	}
	return show(cmd, all, nil)
}

func logs(cmd *cobra.Command, c bot.Command, follow bool) error {
	format, err := outputOf(cmd)
	if err != nil {
		return err
	}
	server, err := client(cmd)
	if err != nil {
		return err
	}
	runID, err := runOf(cmd, server, c)
	if err != nil {
		return err
	}
	all := items[actions.Event]{Items: []actions.Event{}}
	shown := &plainProgress{out: cmd.OutOrStdout(), now: time.Now}
	take := func(e actions.Event) error {
		if format == "table" {
			shown.event(e)
		} else {
			all.Items = append(all.Items, e)
		}
		return nil
	}
	if follow {
		_, err = server.Watch(cmd.Context(), runID, take)
		if canceled(cmd.Context()) {
			err = nil // who looks may leave
		}
	} else {
		err = server.Events(cmd.Context(), runID, take)
	}
	if err != nil || format == "table" {
		return err
	}
	return show(cmd, all, nil)
}

// runOf is the run that is meant: the one of that id or of the request of that
// id, or the newest of an environment.
func runOf(cmd *cobra.Command, server *apiclient.Client, c bot.Command) (string, error) {
	ctx := cmd.Context()
	if c.ID != "" {
		r, err := server.Request(ctx, c.ID)
		if actions.CodeOf(err) == actions.CodeNotFound {
			return c.ID, nil
		}
		if err != nil {
			return "", err
		}
		// A request that was only just made runs in a moment.
		f := &follower{cmd: cmd, server: server}
		for r.RunID == "" && (r.State == "planning" || r.State == "released" || r.State == "running") {
			sleep(ctx, lookFast)
			if r, err = f.look(ctx, r); err != nil {
				return "", err
			}
		}
		if r.RunID == "" {
			return "", &exitError{code: exitRefused, err: fmt.Errorf("request %s has not run: it is %s. %s", r.ID, r.State, oneLine(r.Reason))}
		}
		return r.RunID, nil
	}
	if c.Env == "" {
		return "", usageError(fmt.Errorf("which environment? It is written `berth logs app/name`, such as `berth logs shop/pr-42`"))
	}
	env, err := server.Environment(ctx, actions.Name{App: c.App, Env: c.Env})
	if err != nil {
		return "", err
	}
	if len(env.History) == 0 {
		return "", &exitError{code: exitRefused, err: fmt.Errorf("nothing has run for %s yet", c.Target())}
	}
	return env.History[0].RunID, nil
}

// newDiff is `berth diff`.
func newDiff() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbDiff, "act"))
	cmd.Args, cmd.ValidArgsFunction = arguments(1, 1), completeEnvironments
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := line(cmd, bot.VerbDiff, args)
		if err != nil {
			return err
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		if c.ID == "" {
			if err := submit(cmd, c, false); err != nil || c.Env == "" {
				return err
			}
			return drifted(cmd, server, actions.Name{App: c.App, Env: c.Env})
		}
		r, err := server.Request(cmd.Context(), c.ID)
		if err != nil {
			return err
		}
		return show(cmd, r, func(w io.Writer) { printPlan(w, r) })
	}
	return cmd
}

// drifted says besides a plan how what runs differs from what was deployed.
func drifted(cmd *cobra.Command, server *apiclient.Client, name actions.Name) error {
	if format, err := outputOf(cmd); err != nil || format != "table" {
		return err // the data is the request alone; that of the environment has the drift
	}
	env, err := server.Environment(cmd.Context(), name)
	if actions.CodeOf(err) == actions.CodeNotFound {
		return nil // there is none yet
	}
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, p := range env.Parts {
		if len(p.Drift) == 0 {
			continue
		}
		when := "is not what was deployed any more"
		if p.DriftAt != nil {
			when = "was not what was deployed when it was last seen, " + p.DriftAt.UTC().Format("2006-01-02 15:04 UTC")
		}
		fmt.Fprintf(&b, "\n%s %s:\n", oneLine(p.Name), when)
		for _, difference := range p.Drift {
			fmt.Fprintf(&b, "  %s\n", oneLine(difference))
		}
	}
	return emit(cmd.OutOrStdout(), b.String())
}

// newRequests is `berth requests`.
func newRequests() *cobra.Command {
	cmd := withOutput(&cobra.Command{
		Use: "requests [TARGET | APP]", Short: "List requests, the newest first", GroupID: "ask",
		Args: arguments(0, 1), ValidArgsFunction: completeEnvironments, Example: "  berth requests shop/pr-42\n  berth requests --state pending\n  berth requests --failed",
	})
	var f apiclient.RequestFilter
	cmd.Flags().StringVar(&f.State, "state", "", "only those in this state, such as pending")
	failed := cmd.Flags().Bool("failed", false, "only those that failed and were not retried; `berth retry REQUEST` asks again")
	every := cmd.Flags().Bool("all", false, "with --failed: those that were retried too, with the request that asks again")
	limit := cmd.Flags().Int("limit", 50, "how many at most")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := positive(*limit); err != nil {
			return err
		}
		if *failed && f.State != "" && f.State != string(approvals.StateFailed) {
			return usageError(fmt.Errorf("--failed and --state %s are two states; give one", f.State))
		}
		if *every && !*failed {
			return usageError(errors.New("--all belongs to --failed; without it, all are listed anyway"))
		}
		if *failed {
			f.State, f.Open = string(approvals.StateFailed), !*every
		}
		c, err := line(cmd, bot.VerbStatus, args)
		if err != nil {
			return err
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		if f.App = c.App; c.Env != "" {
			f.App, f.Environment = "", c.Target()
		}
		all, err := collect(*limit, func(cursor string, n int) (*requestPage, error) {
			f.Cursor, f.Limit = cursor, n
			return server.Requests(cmd.Context(), f)
		})
		if err != nil {
			return err
		}
		return show(cmd, all, func(w io.Writer) { printRequests(w, all.Items) })
	}
	return cmd
}

type requestPage = api.Page[api.Request]

func printRequests(w io.Writer, requests []api.Request) {
	if len(requests) == 0 {
		fmt.Fprintln(w, "There is no such request.")
		return
	}
	rows := [][]string{{"REQUEST", "STATE", "BY", "AGE", "COMMAND", "REASON"}}
	for _, r := range requests {
		rows = append(rows, []string{r.ID, r.State, r.Requester, bot.Span(time.Since(r.CreatedAt)), cut(oneLine(r.Command), 60), cut(retried(r)+oneLine(r.Reason), 60)})
	}
	table(w, rows)
}

// retried says which request asks anew for r, if one does.
func retried(r api.Request) string {
	if r.RetriedAs == "" {
		return ""
	}
	return "Retried as " + r.RetriedAs + ". "
}

func positive(limit int) error {
	if limit < 1 {
		return usageError(fmt.Errorf("--limit %d is no number of things", limit))
	}
	return nil
}
