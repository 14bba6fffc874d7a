package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/github"
	"github.com/berth-dev/berth/configs"
)

// doctorPatience bounds all of `berth doctor`.
const doctorPatience = 45 * time.Second

// newConfig is `berth config`, whose one command is `check`.
func newConfig() *cobra.Command {
	var path string
	check := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with the config, each fault with its line",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := loadConfig(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is right: %s.\n", path, contents(cfg))
			// A file is often checked where its secrets are not, as in CI.
			if _, err := readSecrets(cfg); err != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "Note: to serve with it here, %v\n", err)
			}
			return nil
		},
	}
	check.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	cmd := &cobra.Command{
		Use: "config", Short: "Look at a config file", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("%q is nothing to do with a config; it is written `berth config check`", args[0]))
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(check)
	return cmd
}

// contents counts what a config names.
func contents(c *configs.Config) string {
	return plural(len(c.Apps), "app", "apps") + ", " + plural(len(c.Clusters), "cluster", "clusters")
}

// newDoctor is `berth doctor`.
func newDoctor() *cobra.Command {
	var path string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is configured, reachable and permitted, and what to fix",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.DiscardHandler)
			if verbose {
				log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			redis.SetLogger(redisLog{log})
			cfg, apps, err := loadConfig(path)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorPatience)
			defer cancel()
			checks, err := examine(ctx, cfg, apps, log)
			if err != nil {
				return err
			}
			ok := bot.Check{Name: "config", OK: true, Needed: true, Detail: path + ": " + contents(cfg)}
			return report(cmd, append([]bot.Check{ok}, checks...))
		},
	}
	withOutput(cmd)
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what is done, to standard error")
	return cmd
}

// examine looks at everything that the config names. It needs no server to
// run, and disturbs none that does.
func examine(ctx context.Context, cfg *configs.Config, apps *catalog, log *slog.Logger) ([]bot.Check, error) {
	values, err := readSecrets(cfg)
	checks := missing(err)
	c := checkup{apps: apps, log: log}
	switch {
	case cfg.Redis == nil:
		checks = append(checks, checkRedisServer(ctx))
	case values.whole || cfg.Redis.Password.IsZero():
		if c.redis, err = dialRedis(cfg.Redis); err != nil {
			return nil, usageError(err)
		}
		defer func() { _ = c.redis.Close() }()
		checks = append(checks, c.checkRedis(ctx))
	}
	plugins, err := newHost(cfg, log)
	if err != nil {
		return nil, err
	}
	defer closeHost(plugins, log) //nolint:contextcheck // they are stopped in order however the looking ended
	// Which of them came up is what checkPlugins tells.
	_ = plugins.Start(ctx, apps.uses())
	c.host = plugins
	checks = append(checks, c.checkPlugins(ctx)...)
	// Without its secrets GitHub would say no more than that they are missing.
	if cfg.GitHub != nil && values.whole {
		surface, err := github.New(githubOptions(cfg, values, apps, log))
		if err != nil {
			return nil, usageError(fmt.Errorf("github: %w", err))
		}
		c.github = surface
	}
	if values.whole {
		if err := c.chatsOf(cfg, values, log); err != nil {
			return nil, usageError(err)
		}
	}
	checks = append(checks, c.look(ctx)...)
	return append(checks, c.permits(ctx)...), nil
}

// missing tells of each secret that could not be read.
func missing(err error) []bot.Check {
	faults, _ := errors.AsType[configs.Faults](err)
	var out []bot.Check
	for _, fault := range faults {
		out = append(out, bot.Check{
			Name: fault.Path, Needed: true, Detail: fault.Msg, Fix: "Set it where Berth is started; the config only refers to it.",
		})
	}
	return out
}

// checkRedisServer tells what Berth would start when the config names no Redis.
func checkRedisServer(ctx context.Context) bot.Check {
	check := bot.Check{Name: "redis", Needed: true, OK: true}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		check.Detail = "none is configured and redis-server is not installed: state would be in memory only"
		check.Fix = "Install it (apt-get install redis-server), or set redis.addrs."
		return check
	}
	version, err := exec.CommandContext(ctx, program, "--version").Output() //nolint:gosec // redis-server as PATH has it
	if err != nil {
		check.OK, check.Detail = false, program+" does not run"
		check.Fix = "Install it again, or set redis.addrs."
		return check
	}
	check.Detail = "Berth starts its own: " + strings.TrimSpace(string(version))
	return check
}

// report prints the checks; what is not as it should be makes it fail.
func report(cmd *cobra.Command, checks []bot.Check) error {
	bad := 0
	for _, check := range checks {
		if !check.OK {
			bad++
		}
	}
	err := show(cmd, checks, func(out io.Writer) {
		wide := 0
		for _, check := range checks {
			wide = max(wide, width(oneLine(check.Name)))
		}
		for _, check := range checks {
			mark, name := "ok  ", oneLine(check.Name)
			if !check.OK {
				mark = "BAD "
			}
			indent := strings.Repeat(" ", wide-width(name)+2)
			fmt.Fprintf(out, "%s%s%s%s\n", mark, name, indent, oneLine(check.Detail))
			if check.Fix != "" {
				fmt.Fprintf(out, "    %s  -> %s\n", strings.Repeat(" ", wide), oneLine(check.Fix))
			}
			for line := range strings.Lines(check.Paste) {
				fmt.Fprintf(out, "       %s\n", strings.TrimRight(bot.Plain(line), "\n"))
			}
		}
	})
	if err == nil && bad > 0 {
		err = &exitError{code: exitFailed, err: errors.New(plural(bad, "thing needs", "things need") + " a hand")}
	}
	return err
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// githubOptions are what the GitHub surface needs from the config.
func githubOptions(c *configs.Config, values secrets, apps *catalog, log *slog.Logger) github.Options {
	opts := github.Options{
		WebhookSecret: []byte(values.webhook), Token: values.token, APIURL: c.GitHub.APIURL, PublicURL: publicURL(c),
		MinPermission: c.GitHub.Permission, Catalog: apps, Groups: policyGroups(c), Log: log,
	}
	if app := c.GitHub.App; app != nil {
		opts.App = &github.AppCredentials{ID: app.ID, Key: []byte(values.appKey), InstallationID: app.InstallationID}
	}
	return opts
}

// policyGroups are all groups of people that policies name.
func policyGroups(c *configs.Config) (groups []string) {
	for _, p := range c.Policies {
		groups = append(groups, p.BreakGlass...)
		if p.Approve == nil {
			continue
		}
		groups = append(groups, p.Approve.From...)
		for _, need := range p.Approve.All {
			groups = append(groups, need.From...)
		}
		if p.Approve.Escalate != nil {
			groups = append(groups, p.Approve.Escalate.To...)
		}
	}
	return groups
}
