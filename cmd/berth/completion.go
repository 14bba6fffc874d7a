package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/apiclient"
)

// completionPatience is how long a shell waits for completions. A person who
// presses tab waits no longer.
const completionPatience = time.Second

// completeEnvironments completes the names of environments, and of apps for
// those that there are not yet. What cannot be asked is not completed.
func completeEnvironments(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 {
		return nil, none
	}
	server, err := client(cmd)
	if err != nil {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completionPatience)
	defer cancel()
	app, _, whole := strings.Cut(typed, "/")
	f := apiclient.EnvironmentFilter{Limit: pageSize}
	if whole {
		f.App = app
	}
	page, err := server.Environments(ctx, f)
	if err != nil {
		return nil, none
	}
	var found []cobra.Completion
	for _, e := range page.Items {
		if name := e.App + "/" + e.Name; strings.HasPrefix(name, typed) {
			found = append(found, cobra.CompletionWithDesc(name, oneLine(e.Summary)))
		}
	}
	if len(found) > 0 || whole {
		return found, none
	}
	apps, err := server.Apps(ctx)
	if err != nil {
		return nil, none
	}
	for _, a := range apps {
		if strings.HasPrefix(a.Name, typed) {
			found = append(found, a.Name+"/")
		}
	}
	return found, none | cobra.ShellCompDirectiveNoSpace
}

// details are the details of an audit record on one line.
func details(r actions.Record) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(r.Detail)) {
		if r.Detail[key] != "" {
			pairs = append(pairs, key+"="+oneLine(r.Detail[key]))
		}
	}
	return strings.Join(pairs, " ")
}
