package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/bot/discord"
	"github.com/berth-dev/berth/bot/slack"
	"github.com/berth-dev/berth/configs"
)

// newSlack is `berth slack`, whose one command is `manifest`.
func newSlack() *cobra.Command {
	var path, address string
	var socket bool
	manifest := &cobra.Command{
		Use: "manifest", Short: "Print the manifest of Berth's app, to paste where Slack makes apps",
		Long: "Print the manifest of Berth's app, to paste at https://api.slack.com/apps under Create New App, From a manifest.\n" +
			"Left out, --public-url and --socket are as the config says.",
		Args: arguments(0, 0), Example: "  berth slack manifest --public-url https://berth.example.org\n  berth slack manifest --socket",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if address == "" || !cmd.Flags().Changed("socket") {
				cfg, _, err := loadConfig(path)
				if err != nil && (cmd.Flags().Changed("config") || address == "" && !socket) {
					return fmt.Errorf("without a config, --public-url or --socket is needed: %w", err)
				}
				if cfg != nil && address == "" {
					address = cfg.Server.PublicURL
				}
				if cfg != nil && cfg.Slack != nil && !cmd.Flags().Changed("socket") {
					socket = !cfg.Slack.AppToken.IsZero()
				}
			}
			if address == "" && !socket {
				return usageError(fmt.Errorf("Slack must know where Berth is reached: give --public-url or server.public_url, or --socket where Slack need not reach it")) //nolint:staticcheck // it begins with a name
			}
			text, err := slack.Manifest(address, socket)
			if err != nil {
				return usageError(err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	manifest.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	manifest.Flags().StringVar(&address, "public-url", "", "how Slack reaches Berth, https://…")
	manifest.Flags().BoolVar(&socket, "socket", false, "for Socket Mode: Berth connects to Slack")
	return parent("slack", "Set up Slack", manifest)
}

// newDiscord is `berth discord`, whose one command is `register`.
func newDiscord() *cobra.Command {
	var path string
	var guilds []string
	var dry, global bool
	register := withOutput(&cobra.Command{
		Use: "register", Short: "Make Berth's commands in Discord what they should be, and print the address that adds Berth to a server",
		Long: "Make Berth's commands in Discord what they should be: in the guilds of the config, or in those given here, or everywhere.\n" +
			"What is right already is not written. Commands of the same application that are not Berth's stay.",
		Args: arguments(0, 0), Example: "  berth discord register --dry-run\n  berth discord register --guild 998877665544332211",
	})
	register.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := outputOf(cmd); err != nil {
			return err
		}
		surface, cfg, err := discordOf(path)
		if err != nil {
			return err
		}
		in := cfg.Discord.Guilds
		switch {
		case global && len(guilds) > 0:
			return usageError(fmt.Errorf("--global and --guild exclude each other"))
		case global:
			in = nil
		case len(guilds) > 0:
			in = guilds
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		report, err := surface.Register(ctx, in, dry)
		if err != nil && len(report.Scopes) == 0 {
			return err
		}
		shown := show(cmd, report, func(w io.Writer) {
			for _, scope := range report.Scopes {
				fmt.Fprintln(w, registered(scope, dry))
			}
			fmt.Fprintf(w, "To add Berth to a server: %s\n", discord.InviteURL(cfg.Discord.ApplicationID, ""))
		})
		if err != nil { // what was done in the servers before it is shown all the same
			return err
		}
		return shown
	}
	register.Flags().StringVarP(&path, "config", "c", defaultConfigPath(), "the config file")
	register.Flags().StringSliceVar(&guilds, "guild", nil, "the id of a server; may be repeated")
	register.Flags().BoolVar(&global, "global", false, "everywhere, whatever guilds the config names")
	register.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and do nothing")
	return parent("discord", "Set up Discord", register)
}

// parent is a command that is nothing without one of its own.
func parent(name, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("%q is nothing to do here; `%s --help` lists what is", args[0], cmd.CommandPath()))
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(children...)
	return cmd
}

// registered says what became of the commands in one place.
func registered(r discord.ScopeReport, dry bool) string {
	where := "everywhere"
	if r.Guild != "" {
		where = "in server " + r.Guild
	}
	if r.Synced() {
		return fmt.Sprintf("The commands %s are as they should be (%s).", where, strings.Join(r.Same, ", "))
	}
	done := []string{"added", "changed"}
	if dry {
		done = []string{"would be added", "would be changed"}
	}
	var what []string
	for i, names := range [][]string{r.Added, r.Changed} {
		if len(names) > 0 {
			what = append(what, strings.Join(names, ", ")+" "+done[i])
		}
	}
	return fmt.Sprintf("Commands %s: %s.", where, strings.Join(what, "; "))
}

// discordOf makes the surface of a config, only to set it up.
func discordOf(path string) (*discord.Surface, *configs.Config, error) {
	cfg, _, err := loadConfig(path)
	if err != nil {
		return nil, nil, err
	}
	if cfg.Discord == nil {
		return nil, nil, usageError(fmt.Errorf("%s has no section discord; docs/discord.md says what belongs there", path))
	}
	token, err := cfg.Discord.BotToken.Value()
	if err != nil {
		return nil, nil, usageError(fmt.Errorf("discord.bot_token: %w", err))
	}
	surface, err := discord.New(discordOptions(cfg, secrets{discordBot: token}, slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, nil, usageError(err)
	}
	return surface, cfg, nil
}
