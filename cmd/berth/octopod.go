package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/apiclient"
)

// postgresVariable is where the address of Octopod's database can be, so that its
// password is in no list of processes.
const postgresVariable = "OCTOPOD_POSTGRES"

// newImport is `berth import`.
func newImport() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Take environments of another tool under Berth's care", GroupID: "run", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImportOctopod())
	return cmd
}

// octopodOptions are the flags of `berth import octopod`.
type octopodOptions struct {
	postgres string
	app      string
	apply    bool
	rename   map[string]string
	leaveOut []string
	only     []string
	tagKey   string
	prefix   string
	timeout  time.Duration
}

// newImportOctopod is `berth import octopod`.
func newImportOctopod() *cobra.Command {
	var o octopodOptions
	cmd := withOutput(&cobra.Command{
		Use: "octopod --app APP --postgres URL", Short: "Make environments of what is in Octopod's database", Args: arguments(0, 0),
		Long: "Reads Octopod's database and says which environments would be made of its deployments.\nWith --apply they are made; nothing is run, neither by Octopod's scripts nor by Berth.\n" +
			"Those that are there already stay as they are, so that it can be repeated.\n\nOctopod's overrides become what --set would have set: those of the application under their\nown keys, those of the deployment behind \"deployment.\". The app has to allow these keys\n(allow_set), and its part needs `use: script` with `contract: v2` or v1: see docs/scripts.md.\n\n" +
			"It reads in one read-only transaction. Stop Octopod before --apply, so that two do not\nanswer for the same deployments.",
		Example: "  OCTOPOD_POSTGRES=postgres://octopod@db/octopod berth import octopod --app shop\n  berth import octopod --app shop --postgres postgres://octopod@db/octopod --rename Orca=orca --apply",
	})
	f := cmd.Flags()
	f.StringVar(&o.postgres, "postgres", "", "address of Octopod's database ("+postgresVariable+")")
	f.StringVar(&o.app, "app", "", "the app, as Berth's config calls it")
	f.BoolVar(&o.apply, "apply", false, "make the environments; without it they are only shown")
	f.StringToStringVar(&o.rename, "rename", nil, "another name for a deployment, OLD=NEW")
	f.StringSliceVar(&o.only, "only", nil, "only these deployments")
	f.StringArrayVar(&o.leaveOut, "leave-out", nil, "an override's key, as Berth would have it, that is not taken over")
	f.StringVar(&o.tagKey, "tag-key", "", "the key that a tag becomes; by default tag for a database of version 1, image.tag for one of version 2")
	f.StringVar(&o.prefix, "deployment-prefix", "deployment.", "what stands before the keys of deployment overrides; as in the part's settings")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long a query may take")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return importOctopod(cmd, o) }
	return cmd
}

func importOctopod(cmd *cobra.Command, o octopodOptions) error {
	if o.postgres == "" {
		o.postgres = os.Getenv(postgresVariable)
	}
	switch {
	case o.app == "":
		return usageError(errors.New("--app is missing: which app of Berth's config the deployments belong to"))
	case o.postgres == "":
		return usageError(fmt.Errorf("--postgres is missing: the address of Octopod's database, such as postgres://octopod@db.example.org/octopod, here or in %s", postgresVariable))
	}
	server, err := client(cmd)
	if err != nil {
		return err
	}
	found, err := readOctopod(cmd.Context(), o.postgres, o.timeout)
	if err != nil {
		return withoutPassword(err, o.postgres)
	}
	result, err := o.take(found)
	if err != nil {
		return err
	}
	known, err := knownEnvironments(cmd, server, o.app)
	if err != nil {
		if _, wrong := errors.AsType[*exitError](err); wrong || o.apply {
			return err
		}
		result.Unasked = true // a look at the database alone is of use as well
		fmt.Fprintln(cmd.ErrOrStderr(), "berth: the server could not be asked which environments there are: "+complaint(err))
	}
	for i := range result.Items {
		if item := &result.Items[i]; item.Action == importMake && known[item.Name] {
			item.Action, item.Reason = importExists, "there is one already"
		}
	}
	failed := error(nil)
	if o.apply {
		failed = o.send(cmd, server, result)
	}
	if err := show(cmd, result, func(w io.Writer) { printOctopod(w, result, o.apply) }); err != nil {
		return err
	}
	return failed
}

// knownEnvironments are the names of the app's environments that are not gone.
func knownEnvironments(cmd *cobra.Command, server *apiclient.Client, app string) (map[string]bool, error) {
	apps, err := server.Apps(cmd.Context())
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(apps, func(a api.App) bool { return a.Name == app }) {
		return nil, &exitError{code: exitUsage, err: fmt.Errorf("Berth's config has no app %q; add it first, as docs/scripts.md says", app)} //nolint:staticcheck // Berth is a name.
	}
	f := apiclient.EnvironmentFilter{App: app}
	all, err := collect(0, func(cursor string, limit int) (*apiPage, error) {
		f.Cursor, f.Limit = cursor, limit
		return server.Environments(cmd.Context(), f)
	})
	known := map[string]bool{}
	for _, e := range all.Items {
		known[e.Name] = true
	}
	return known, err
}

// send makes the environments, one after the other. It goes on after one that is
// refused, and not when the server is gone.
func (o octopodOptions) send(cmd *cobra.Command, server *apiclient.Client, result *octopodImport) error {
	var failed error
	for i := range result.Items {
		item := &result.Items[i]
		if item.Action != importMake {
			continue
		}
		_, err := server.Import(cmd.Context(), item.body)
		switch code := actions.CodeOf(err); {
		case err == nil:
			item.Action = importMade
			continue
		case code == actions.CodeConflict:
			item.Action, item.Reason = importExists, "there is one already"
			continue
		case failed == nil:
			failed = &exitError{code: exitFailed}
		}
		item.Action, item.Reason = importFailed, complaint(err)
		if _, gone := errors.AsType[*apiclient.Unreachable](err); gone || cmd.Context().Err() != nil || actions.CodeOf(err) == actions.CodeUnauthenticated || actions.CodeOf(err) == actions.CodeForbidden {
			return err // the others would fail in the same way
		}
	}
	return failed
}

// withoutPassword is err without the password of the address that it is about.
func withoutPassword(err error, address string) error {
	text := strings.ReplaceAll(err.Error(), address, "the address")
	if u, parseErr := url.Parse(address); parseErr == nil && u.User != nil {
		if password, ok := u.User.Password(); ok && password != "" {
			for _, form := range []string{password, url.QueryEscape(password), url.PathEscape(password), strings.TrimPrefix(url.UserPassword("", password).String(), ":")} {
				text = strings.ReplaceAll(text, form, "***")
			}
		}
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return &exitError{code: e.code, err: errors.New(text)}
	}
	return errors.New(text)
}

// printOctopod is the table for people.
func printOctopod(w io.Writer, r *octopodImport, applied bool) {
	if len(r.Items) == 0 {
		fmt.Fprintln(w, "Octopod's database has no deployments.")
		return
	}
	rows := [][]string{{"DEPLOYMENT", "STATUS", "ENVIRONMENT", "STATE", "OVERRIDES", "LINKS", "HISTORY", "WHAT"}}
	counts := map[string]int{}
	for _, i := range r.Items {
		counts[i.Action]++
		what := i.Action
		if i.Reason != "" {
			what += ": " + i.Reason
		}
		if i.Suggested != "" {
			what += fmt.Sprintf("; use --rename %s", quoted(oneLine(i.Deployment)+"="+i.Suggested))
		}
		rows = append(rows, []string{i.Deployment, i.Status, i.Name, i.State, fmt.Sprint(len(i.Set)), fmt.Sprint(len(i.Links)), fmt.Sprint(i.History), what})
	}
	table(w, rows)
	for _, i := range r.Items {
		for _, note := range i.Notes {
			fmt.Fprintf(w, "%s: %s\n", oneLine(i.Deployment), oneLine(note))
		}
	}
	if len(r.Keys) > 0 {
		fmt.Fprintf(w, "\nThe app needs `allow_set: [%s]`, or leave keys out with --leave-out.\n", strings.Join(r.Keys, ", "))
	}
	printDeploys(w, r)
	var said []string
	for _, action := range []string{importMake, importMade, importExists, importSkip, importFailed} {
		if n := counts[action]; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, map[string]string{importMake: "to make", importMade: "made", importExists: "there already", importSkip: "left out", importFailed: "failed"}[action]))
		}
	}
	fmt.Fprintf(w, "\n%s.", strings.Join(said, ", "))
	if !applied && counts[importMake] > 0 {
		fmt.Fprint(w, " Nothing was changed; --apply makes them.")
	}
	fmt.Fprintln(w)
}

// printDeploys says how overrides outlive the first deploy.
func printDeploys(w io.Writer, r *octopodImport) {
	first := true
	for _, i := range r.Items {
		if i.Deploy == "" || i.Action != importMake && i.Action != importMade {
			continue
		}
		if first {
			fmt.Fprintln(w, "\nThe first deploy keeps these overrides; one with --set has those alone that it is given. Written out, they are:")
			first = false
		}
		fmt.Fprintln(w, "  "+oneLine(i.Deploy))
	}
}

// isLeftOut tells whether a key is not to be taken over.
func (o octopodOptions) isLeftOut(key string) bool { return slices.Contains(o.leaveOut, key) }

// bodyOf is the deployment as the API takes it.
func (o octopodOptions) bodyOf(d octopodDeployment, name, state string, set map[string]string, notes []string) api.Import {
	note := fmt.Sprintf("Imported from Octopod, where it was %s with the status %s.", clipped(oneLine(d.Name)), d.Status)
	for _, n := range notes {
		if len(note)+len(n) < 900 {
			note += " " + n
		}
	}
	in := api.Import{App: o.app, Name: name, State: state, Set: set, Note: note}
	if created := d.CreatedAt.UTC(); created.Unix() > 0 { // else it is not known
		in.CreatedAt = &created
	}
	links := openable(d.Links)
	for _, l := range links[:min(len(links), maxOctopodLinks)] {
		in.Links = append(in.Links, actions.Link{Name: l.Name, URL: l.URL})
	}
	for _, a := range d.Log {
		verb, ok := octopodVerbs[a.Action]
		if !ok || a.At.Unix() <= 0 {
			continue
		}
		h := api.ImportedAction{Verb: verb, By: "octopod", At: a.At.UTC(), Took: a.Took.Seconds(), OK: a.Exit == 0}
		if a.Exit != 0 {
			h.Error = fmt.Sprintf("Octopod's script ended with exit status %d.", a.Exit)
		}
		in.History = append(in.History, h)
	}
	return in
}
