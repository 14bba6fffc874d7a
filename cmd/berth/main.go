// Berth gives every pull request its own environment. This is the one program:
// `berth serve` is the bot, and the other commands talk to one over its API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/apiclient"
)

// version is what this is. A release sets it when it links the program.
var version = "0.1.0-dev"

// The exit codes. Scripts rely on them.
const (
	exitFailed      = 1 // the action failed
	exitUsage       = 2 // bad usage or config
	exitWaiting     = 3 // waiting for approval, and --wait was not given
	exitRefused     = 4 // denied or refused
	exitUnreachable = 5 // the server cannot be reached
)

// exitError says which code the program ends with. With a nil err, all has been
// said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program: it returns the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if text := complaint(err); text != "" {
		fmt.Fprintln(errOut, "berth: "+bot.Plain(text))
	}
	return exitCode(err)
}

// complaint is what a person is told about err.
func complaint(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*exitError](err); ok && e.err == nil {
		return ""
	}
	if _, ok := errors.AsType[*actions.Error](err); ok {
		return actions.Message(err)
	}
	return err.Error()
}

// exitCode is the code that the program ends with.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*apiclient.Unreachable](err); ok {
		return exitUnreachable
	}
	if _, ok := errors.AsType[*actions.Error](err); !ok {
		return exitFailed
	}
	switch actions.CodeOf(err) {
	case actions.CodeInvalid:
		return exitUsage
	case actions.CodeForbidden, actions.CodeUnauthenticated, actions.CodeNotFound, actions.CodeConflict, actions.CodeStale:
		return exitRefused
	case actions.CodeUnavailable:
		return exitUnreachable
	default:
		return exitFailed
	}
}
