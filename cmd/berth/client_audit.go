package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/apiclient"
)

// newAudit is `berth audit`.
func newAudit() *cobra.Command {
	cmd := withOutput(&cobra.Command{
		Use: "audit [TARGET | APP]", Short: "List what was done, by whom and from where", GroupID: "ask",
		Long: "List what was done, by whom and from where. `-o ndjson` exports the records as they are, one a line,\nwhich `berth audit verify --file` checks without a server. When a record cannot be read, the others come all the same;\nthen the error names it, and the exit code is 1.",
		Args: arguments(0, 1), ValidArgsFunction: completeEnvironments, Example: "  berth audit shop/pr-42 -o json\n  berth audit -o ndjson > audit.ndjson",
	})
	cmd.Flags().Lookup("output").Usage = "table, json, yaml or ndjson"
	own := cmd.Flags().Bool("berth", false, "what belongs to no environment: accounts that were linked, configs that were loaded")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		export := cmd.Flags().Lookup("output").Value.String() == "ndjson"
		if !export {
			if _, err := outputOf(cmd); err != nil {
				return err
			}
		}
		f, err := auditFilter(cmd, args, *own)
		if err != nil {
			return err
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		if export {
			return server.AuditLines(cmd.Context(), f, cmd.OutOrStdout())
		}
		all := items[actions.Record]{Items: []actions.Record{}}
		err = server.AuditAll(cmd.Context(), f, func(r actions.Record) error {
			all.Items = append(all.Items, r)
			return nil
		})
		if err != nil && len(all.Items) == 0 {
			return err
		}
		return cmp.Or(show(cmd, all, func(w io.Writer) { printAudit(w, all.Items) }), err) // what could be read helps, whatever could not
	}
	cmd.AddCommand(newAuditVerify())
	return cmd
}

// auditFilter is the part of the audit that is meant.
func auditFilter(cmd *cobra.Command, args []string, own bool) (apiclient.AuditFilter, error) {
	c, err := line(cmd, bot.VerbStatus, args)
	if err != nil {
		return apiclient.AuditFilter{}, err
	}
	switch {
	case own && len(args) > 0:
		return apiclient.AuditFilter{}, usageError(fmt.Errorf("--berth is what belongs to no environment; leave %q or the flag out", args[0]))
	case own:
		return apiclient.AuditFilter{Environment: actions.ChainName(actions.BerthChain)}, nil
	case c.Env != "":
		return apiclient.AuditFilter{Environment: c.Target()}, nil
	}
	return apiclient.AuditFilter{App: c.App}, nil
}

func printAudit(w io.Writer, records []actions.Record) {
	if len(records) == 0 {
		fmt.Fprintln(w, "There is no record.")
		return
	}
	rows := [][]string{{"TIME", "ENVIRONMENT", "NO", "WHAT", "BY", "FROM", "DETAIL"}}
	for _, r := range records {
		from := strings.TrimSpace(r.Surface + " " + r.Address)
		rows = append(rows, []string{
			r.Time.UTC().Format(time.RFC3339), actions.ChainName(r.Env), strconv.FormatInt(r.Seq, 10), r.Kind, r.Actor, from, cut(details(r), 80),
		})
	}
	table(w, rows)
}

// newAuditVerify is `berth audit verify`.
func newAuditVerify() *cobra.Command {
	cmd := withOutput(&cobra.Command{
		Use: "verify [TARGET | APP]", Short: "Check that no record is missing, changed or out of order",
		Long: "Check that no record is missing, changed or out of order, and say where one is. The exit code is 1 when one is,\n" +
			"and 2 when there is nothing to check: an app or environment without any audit, an export without a record.\n" +
			"With --file an export is checked by itself, without a server.",
		Args: arguments(0, 1), ValidArgsFunction: completeEnvironments,
		Example: "  berth audit verify\n  berth audit verify shop/pr-42\n  berth audit verify --file audit.ndjson",
	})
	file := cmd.Flags().String("file", "", "an export of `berth audit -o ndjson`; - is standard input")
	own := cmd.Flags().Bool("berth", false, "only what belongs to no environment")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := outputOf(cmd); err != nil {
			return err
		}
		if *file != "" {
			if len(args) > 0 || *own {
				return usageError(errors.New("--file is checked as a whole; leave the rest out"))
			}
			return verifyFile(cmd, *file)
		}
		f, err := auditFilter(cmd, args, *own)
		if err != nil {
			return err
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		v, err := server.VerifyAudit(cmd.Context(), f)
		if actions.CodeOf(err) == actions.CodeNotFound {
			return &exitError{code: exitUsage, err: err} // what was misspelt must not pass for sound
		}
		if err != nil {
			return err
		}
		return verified(cmd, v, v.Found, v.Breaks, func(w io.Writer) { printVerified(w, v) })
	}
	return cmd
}

// exported is what `berth audit verify --file` knows of an export.
type exported struct {
	OK bool `json:"ok"`
	actions.ExportSummary
	Found []actions.AuditBreak `json:"found"`
}

// verifyFile checks an export.
func verifyFile(cmd *cobra.Command, path string) error {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the file that the person names
		if err != nil {
			return usageError(err)
		}
		defer f.Close()
		in = f
	}
	out := exported{Found: []actions.AuditBreak{}}
	var err error
	out.ExportSummary, err = actions.VerifyRecords(in, func(b actions.AuditBreak) { out.Found = append(out.Found, b) })
	if err != nil {
		return err
	}
	out.OK = out.Breaks == 0
	return verified(cmd, out, out.Found, out.Breaks, func(w io.Writer) {
		fmt.Fprintf(w, "%s in %s: every record is there, in order and as it was written.\n",
			plural(int(out.Records), "record", "records"), plural(out.Chains, "chain", "chains"))
		for _, c := range out.Later {
			fmt.Fprintf(w, "%s begins with record %d; what came before is not in the export.\n", actions.ChainName(c.Env), c.Seq)
		}
		fmt.Fprintln(w, "Whether an export ends where the audit does, it cannot tell by itself; `berth audit verify` asks the server.")
	})
}

// verified tells how a check ended.
func verified(cmd *cobra.Command, data any, found []actions.AuditBreak, breaks int, fine func(io.Writer)) error {
	err := show(cmd, data, func(w io.Writer) {
		if breaks == 0 {
			fine(w)
			return
		}
		for _, b := range found {
			fmt.Fprintln(w, oneLine(b.Error()))
		}
		if left := breaks - len(found); left > 0 {
			fmt.Fprintf(w, "… and %d more.\n", left)
		}
	})
	if err == nil && breaks > 0 {
		err = &exitError{code: exitFailed, err: fmt.Errorf("the audit is not what was written: %s", plural(breaks, "break", "breaks"))}
	}
	return err
}

func printVerified(w io.Writer, v *api.Verification) {
	fmt.Fprintf(w, "%s in %s: every record is there, in order and as it was written.\n",
		plural(int(v.Records), "record", "records"), plural(v.Chains, "chain", "chains"))
	if v.Anchors == 0 {
		fmt.Fprintln(w, "Nothing is anchored yet.")
		return
	}
	fmt.Fprintf(w, "The newest anchor, number %d of %s, is %s; %s came after it. Whoever keeps that hash elsewhere can show later that nothing before it was written anew.\n",
		v.Anchor.Seq, v.Anchor.Time.UTC().Format(time.RFC3339), v.Anchor.Hash, plural(int(v.Unanchored), "record", "records"))
}
