package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"time"

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
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, _, err := loadConfig(path)
			if err != nil {
				return usageError(fmt.Errorf("%s is not right:\n%w", path, err))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is right: %d apps, %d clusters.\n", path, len(cfg.Apps), len(cfg.Clusters))
			// A file is often checked where its secrets are not, as in CI.
			if _, err := readSecrets(cfg); err != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "Note: to serve with it here, %v\n", err)
			}
			return nil
		},
	}
	check.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	cmd := &cobra.Command{Use: "config", Short: "Look at a config file"}
	cmd.AddCommand(check)
	return cmd
}

// newDoctor is `berth doctor`.
func newDoctor() *cobra.Command {
	var path string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is configured, reachable and permitted, and what to fix",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.DiscardHandler)
			if verbose {
				log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), doctorPatience)
			defer cancel()
			checks, err := examine(ctx, path, log)
			if err != nil {
				return err
			}
			return report(cmd, checks)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log what is done, to standard error")
	return cmd
}

// examine looks at everything that the config names. It needs no server to
// run, and disturbs none that does.
func examine(ctx context.Context, path string, log *slog.Logger) ([]bot.Check, error) {
	cfg, apps, err := loadConfig(path)
	if err != nil {
		return nil, usageError(fmt.Errorf("%s is not right:\n%w", path, err))
	}
	values, err := readSecrets(cfg)
	if err != nil {
		return nil, usageError(err)
	}
	checks := []bot.Check{{Name: "config", OK: true, Needed: true, Detail: fmt.Sprintf("%s: %d apps, %d clusters", path, len(cfg.Apps), len(cfg.Clusters))}}
	c := checkup{apps: apps, log: log}
	if cfg.Redis == nil {
		checks = append(checks, checkRedisServer(ctx))
	} else {
		if c.redis, err = dialRedis(cfg.Redis); err != nil {
			return nil, usageError(err)
		}
		defer c.redis.Close()
		checks = append(checks, c.checkRedis(ctx))
	}
	if c.host, err = newHost(cfg, log); err != nil {
		return nil, err
	}
	defer closeHost(c.host, log)
	for _, use := range apps.uses() {
		// Whether it came up is what checkPlugins tells.
		_, _ = c.host.Executor(ctx, use)
	}
	checks = append(checks, c.checkPlugins(ctx)...)
	if cfg.GitHub != nil {
		surface, err := github.New(githubOptions(cfg, values, apps, log))
		if err != nil {
			return nil, usageError(fmt.Errorf("github: %w", err))
		}
		c.github = surface
	}
	return append(checks, c.look(ctx)...), nil
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
	version, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		check.OK, check.Detail = false, program+" does not run"
		check.Fix = "Install it again, or set redis.addrs."
		return check
	}
	check.Detail = "Berth starts its own: " + strings.TrimSpace(string(version))
	return check
}

// report prints the checks; what Berth needs and has not makes it fail.
func report(cmd *cobra.Command, checks []bot.Check) error {
	out, bad := cmd.OutOrStdout(), 0
	for _, check := range checks {
		mark := "ok  "
		if !check.OK {
			mark = "BAD "
			bad++
		}
		fmt.Fprintf(out, "%s%-24s %s\n", mark, check.Name, check.Detail)
		if check.Fix != "" {
			fmt.Fprintf(out, "    %-24s -> %s\n", "", check.Fix)
		}
	}
	if bad > 0 {
		return &exitError{code: exitFailed, err: errors.New(plural(bad, "thing needs", "things need") + " a hand")}
	}
	return nil
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
		MinPermission: c.GitHub.Permission, Catalog: apps, Actor: actorsOf(c), Log: log,
	}
	if app := c.GitHub.App; app != nil {
		opts.App = &github.AppCredentials{ID: app.ID, Key: []byte(values.appKey), InstallationID: app.InstallationID}
	}
	return opts
}

// actorsOf finds the configured actor that an identity belongs to.
func actorsOf(c *configs.Config) func(identity string) (bot.Actor, bool) {
	byIdentity := map[string]bot.Actor{}
	for _, actor := range c.Actors {
		for _, identity := range actor.Identities {
			byIdentity[strings.ToLower(identity)] = bot.Actor{Name: actor.Name, Identity: identity, Roles: actor.Roles}
		}
	}
	return func(identity string) (bot.Actor, bool) {
		actor, ok := byIdentity[strings.ToLower(identity)]
		return actor, ok
	}
}
