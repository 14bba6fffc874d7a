package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/apiclient"
)

// defaultServer is where a Berth listens whose config says nothing else.
const defaultServer = "http://127.0.0.1:8080"

// clientCommands are the commands that talk to a server.
func clientCommands() []*cobra.Command {
	cmds := []*cobra.Command{
		newList(), newStatus(), newLogs(), newDiff(), newHistory(), newVars(), newSet(bot.VerbSet), newSet(bot.VerbUnset), newRequests(), newRetry(), newAudit(), newLogin(), newLogout(), newImport(),
	}
	for _, verb := range actions.Verbs() {
		cmds = append(cmds, newAction(string(verb)))
	}
	cmds = append(cmds, newDeny(), newLink())
	for _, verb := range []string{bot.VerbApprove, bot.VerbCancel, bot.VerbLock, bot.VerbUnlock, bot.VerbExplain} {
		cmds = append(cmds, newSaid(verb))
	}
	return cmds
}

// connection is what the login file holds.
type connection struct {
	Server string `json:"server"`
	Token  string `json:"token"`
}

// client makes the client that flags, environment and login file ask for. The
// token of the login file goes to the server that it is for, and to no other.
func client(cmd *cobra.Command) (*apiclient.Client, error) {
	saved, err := readLogin()
	if err != nil {
		return nil, err
	}
	server := cmd.Flag("server").Value.String()
	for _, other := range []string{os.Getenv("BERTH_SERVER"), saved.Server, defaultServer} {
		if server == "" {
			server = other
		}
	}
	token := os.Getenv("BERTH_TOKEN")
	if token == "" && strings.TrimRight(server, "/") == saved.Server {
		token = saved.Token
	}
	return apiclient.New(apiclient.Options{Server: server, Token: token, Version: version})
}

// loginFile is where `berth login` keeps server and token.
func loginFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usageError(fmt.Errorf("no folder for the login file: %w", err))
	}
	return filepath.Join(dir, "berth", "login.json"), nil
}

// readLogin reads the login file; without one, nothing is known.
func readLogin() (connection, error) {
	path, err := loginFile()
	if err != nil {
		return connection{}, nil // without a home there is no login, which is fine
	}
	data, err := os.ReadFile(path) //nolint:gosec // the person's own file, in their own folder
	if errors.Is(err, fs.ErrNotExist) {
		return connection{}, nil
	}
	if err != nil {
		return connection{}, usageError(fmt.Errorf("the login file cannot be read: %w", err))
	}
	var c connection
	if err := json.Unmarshal(data, &c); err != nil {
		return connection{}, usageError(fmt.Errorf("%s is not a login file; run `berth login` again", path))
	}
	return c, nil
}

// writeLogin writes the login file, readable by its owner alone.
func writeLogin(c connection) (string, error) {
	path, err := loginFile()
	if err != nil {
		return "", err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	temp, err := os.CreateTemp(dir, ".login-*") // with mode 0600
	if err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it is not there any more when all went well
	_, err = temp.Write(append(data, '\n'))
	if err := errors.Join(err, temp.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(temp.Name(), path)
}
