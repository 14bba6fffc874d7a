package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/apiclient"
)

// newLogin is `berth login`.
func newLogin() *cobra.Command {
	return &cobra.Command{
		Use: "login [SERVER]", Short: "Keep a server's address and a token for it", GroupID: "run", Args: arguments(0, 1),
		Long: "Asks for a token, or reads it from standard input, tries it, and keeps it with the server's\n" +
			"address in a file that only you can read. A token never stands on the command line, where\nothers on the machine could see it.",
		Example: "  berth login https://berth.example.org\n  pass berth | berth login https://berth.example.org",
		RunE: func(cmd *cobra.Command, args []string) error {
			server := cmd.Flag("server").Value.String()
			if len(args) > 0 {
				server = args[0]
			}
			if server == "" {
				server = os.Getenv("BERTH_SERVER")
			}
			if server == "" {
				return usageError(errors.New("which server? It is written `berth login https://berth.example.org`"))
			}
			return login(cmd, server)
		},
	}
}

func login(cmd *cobra.Command, server string) error {
	if _, err := apiclient.New(apiclient.Options{Server: server}); err != nil {
		return err
	}
	token, err := readToken(cmd.InOrStdin(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	c, err := apiclient.New(apiclient.Options{Server: server, Token: token, Version: version})
	if err != nil {
		return err
	}
	who, err := c.Whoami(cmd.Context())
	if err != nil {
		return err
	}
	path, err := writeLogin(connection{Server: c.Server(), Token: token})
	if err != nil {
		return fmt.Errorf("the login could not be kept: %w", err)
	}
	roles := "no role"
	if len(who.Roles) > 0 {
		roles = "roles " + strings.Join(who.Roles, ", ")
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "You are %s at %s (%s). Kept in %s.\n", bot.Plain(who.Actor), c.Server(), bot.Plain(roles), path)
	return err
}

// readToken asks for a token without showing it, or reads the first line of
// what is piped in.
func readToken(in io.Reader, prompt io.Writer) (string, error) {
	var token string
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		fmt.Fprint(prompt, "Token: ")
		data, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(prompt)
		if err != nil {
			return "", usageError(fmt.Errorf("the token could not be read: %w", err))
		}
		token = string(data)
	} else {
		text, err := bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", usageError(fmt.Errorf("the token could not be read: %w", err))
		}
		token = text
	}
	if token = strings.TrimSpace(token); token == "" {
		return "", usageError(errors.New("no token came; type it, or pipe it in"))
	}
	return token, nil
}

// newLogout is `berth logout`.
func newLogout() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget the server and token that login kept", GroupID: "run", Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := loginFile()
			if err != nil {
				return err
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("the login could not be forgotten: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "Forgotten.")
			return err
		},
	}
}

// canceled tells whether a person stopped the program.
func canceled(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
