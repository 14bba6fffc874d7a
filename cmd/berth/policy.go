package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/configs"
)

// newPolicy is `berth policy`.
func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Try the policies of a config out", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			text := fmt.Sprintf("%q is nothing to do with policies", args[0])
			if near := bot.Nearest(args[0], []string{"test", "explain"}); near != "" {
				return usageError(fmt.Errorf("%s; did you mean `berth policy %s`?", text, near))
			}
			return usageError(fmt.Errorf("%s; `berth policy --help` lists what is", text))
		},
	}
	cmd.AddCommand(newPolicyTest(), newPolicyExplain())
	return cmd
}

// newPolicyTest is `berth policy test`. It needs neither a server nor a Redis.
func newPolicyTest() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Run a file of cases against the policies of the config",
		Long: "Run a file of cases, each a request and what is to become of it, against the policies\nof the config. No server is needed: a case says what there is.\n\n" +
			"Exit codes: 0 all cases are as expected, 1 some are not, 2 the file or the config is wrong.",
		Example: "  berth policy test policies_test.yaml --config berth.yaml",
		Args:    arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, apps, err := loadConfig(path)
			if err != nil {
				return err
			}
			file, err := loadCases(args[0], cfg, apps)
			if err != nil {
				return err
			}
			report, err := file.run(cmd.Context(), cfg, apps)
			if err != nil {
				return err
			}
			if err := show(cmd, report, report.write); err != nil {
				return err
			}
			if report.Failed > 0 {
				return &exitError{code: exitFailed}
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	return withOutput(cmd)
}

// loadCases reads the file of cases at path.
func loadCases(path string, cfg *configs.Config, apps *catalog) (*policyCases, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // whoever runs it says which file it is
	if err != nil {
		return nil, usageError(fmt.Errorf("the cases cannot be read: %w", err))
	}
	file, err := readCases(raw, cfg, apps)
	if faults, ok := errors.AsType[configs.Faults](err); ok {
		return nil, usageError(fmt.Errorf("%s is not right, %s:\n%w", path, plural(len(faults), "fault", "faults"), faults))
	}
	if err != nil {
		return nil, usageError(err)
	}
	return file, nil
}

// casesReport is what came of a file of cases.
type casesReport struct {
	Passed int          `json:"passed"`
	Failed int          `json:"failed"`
	Cases  []caseReport `json:"cases"`
}

// caseReport is what came of one case.
type caseReport struct {
	Name        string           `json:"name"`
	OK          bool             `json:"ok"`
	Effect      approvals.Effect `json:"effect,omitempty"`
	Rules       []string         `json:"rules"`
	Missing     int              `json:"missing"`
	Reason      string           `json:"reason,omitempty"`
	Error       string           `json:"error,omitempty"` // why it could not be told
	Differences []caseDifference `json:"differences,omitempty"`
}

// caseDifference is what was not as expected.
type caseDifference struct {
	Of   string `json:"of"` // what the case calls it
	Want string `json:"want"`
	Got  string `json:"got"`
}

// run asks the policies about every case.
func (f *policyCases) run(ctx context.Context, cfg *configs.Config, apps *catalog) (casesReport, error) {
	report := casesReport{Cases: []caseReport{}}
	for i := range f.Cases {
		c := &f.Cases[i]
		w := f.world(cfg, apps, c)
		engine, err := w.engine(cfg)
		if err != nil {
			return report, usageError(err)
		}
		outcome, err := engine.Evaluate(ctx, w.request(c))
		one := c.compare(outcome, err)
		if one.OK {
			report.Passed++
		} else {
			report.Failed++
		}
		report.Cases = append(report.Cases, one)
	}
	return report, nil
}

// compare says how what came of a case differs from what it wants.
func (c *policyCase) compare(o approvals.Outcome, err error) caseReport {
	out := caseReport{Name: c.Name, Effect: o.Effect, Reason: o.Reason, Rules: []string{}}
	var ignored, breakers []string
	for _, r := range o.Rules {
		out.Rules = append(out.Rules, r.Rule)
		for _, group := range r.Groups {
			out.Missing += group.Missing
		}
		for _, i := range r.Ignored {
			ignored = append(ignored, i.By)
		}
		if r.BrokenBy != "" {
			breakers = append(breakers, r.BrokenBy)
		}
	}
	differs := func(of, want, got string) {
		out.Differences = append(out.Differences, caseDifference{Of: of, Want: want, Got: got})
	}
	if err != nil {
		out.Error = actions.Message(err)
	}
	want := c.Want
	switch {
	case want.Error != "" && err == nil:
		differs("error", want.Error, "none: "+string(o.Effect))
	case want.Error != "" && !strings.Contains(out.Error, want.Error), want.Error == "" && err != nil:
		differs("error", want.Error, out.Error)
	case err == nil:
		if string(o.Effect) != want.Effect {
			differs("effect", want.Effect, string(o.Effect))
		}
		if want.Rules != nil && !slices.Equal(sortedNames(want.Rules), sortedNames(out.Rules)) {
			differs("rules", list(want.Rules), list(out.Rules))
		}
		if want.Missing != nil && *want.Missing != out.Missing {
			differs("missing", strconv.Itoa(*want.Missing), strconv.Itoa(out.Missing))
		}
		if !strings.Contains(o.Reason, want.Reason) {
			differs("reason", want.Reason, o.Reason)
		}
		if want.Ignored != nil && !slices.Equal(sortedNames(want.Ignored), sortedNames(ignored)) {
			differs("ignored", list(want.Ignored), list(ignored))
		}
		if want.BrokenBy != "" && !slices.Contains(breakers, want.BrokenBy) {
			differs("broken_by", want.BrokenBy, list(breakers))
		}
	}
	out.OK = len(out.Differences) == 0
	return out
}

// write prints the report for people: a line for each case, and below those that
// are not as expected how they differ.
func (r casesReport) write(w io.Writer) {
	for _, c := range r.Cases {
		if c.OK {
			fmt.Fprintf(w, "ok    %s\n", oneLine(c.Name))
			continue
		}
		fmt.Fprintf(w, "FAIL  %s\n", oneLine(c.Name))
		explained := false
		for _, d := range c.Differences {
			fmt.Fprintf(w, "      %s\n        want %s\n        got  %s\n", d.Of, orNothing(d.Want), orNothing(d.Got))
			explained = explained || d.Of == "reason" || d.Of == "error"
		}
		if c.Reason != "" && !explained {
			fmt.Fprintf(w, "      it says: %s\n", oneLine(c.Reason))
		}
	}
	fmt.Fprintf(w, "%s: %d as expected, %d not.\n", plural(len(r.Cases), "case", "cases"), r.Passed, r.Failed)
}

func orNothing(s string) string {
	if s = oneLine(s); s == "" {
		return "nothing"
	}
	return s
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// sortedNames are names in order, each once.
func sortedNames(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return slices.Compact(out)
}
