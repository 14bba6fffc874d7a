// Command demo shows the whole of Berth on one machine: a Kubernetes control
// plane, stand-ins for GitHub, Slack and Discord, and `berth serve`. It
// comments /deploy, waits for the environment, asks for its status, and closes
// the pull request, which takes the environment away.
//
// `make demo` builds what it needs and starts it. KEEP=1 leaves everything up,
// so that a person can type commands on the pull request's page.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"
)

// patience bounds each thing that the demo waits for.
const patience = 3 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

// run plays the demo from start to end.
func run(ctx context.Context) error {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	terminal := err == nil
	if !terminal {
		width = 100
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	d := &demo{programs: filepath.Dir(self), out: newTeller(os.Stdout, width, terminal && os.Getenv("NO_COLOR") == ""), keep: os.Getenv("KEEP") != ""}
	defer d.stop() //nolint:contextcheck // what was started is stopped after the context has ended, too
	d.out.title("Berth gives every pull request its own environment. Watch one come and go.")
	for _, step := range []func(context.Context) error{
		d.startCluster, d.startGitHub, d.startChats, d.startBerth,
		d.deploy, d.showCluster, d.status, d.approve, d.chat,
	} {
		if err := step(ctx); err != nil {
			return d.explain(err)
		}
	}
	if d.keep {
		return d.stayUp(ctx)
	}
	if err := d.closePullRequest(ctx); err != nil {
		return d.explain(err)
	}
	d.out.title("That was all of it.")
	d.out.plain("What to try next:")
	d.out.plain("  make demo KEEP=1     stay up, and type commands on the pull request's page yourself")
	d.out.plain("  make test            every test, against a real Redis and a real Kubernetes API")
	d.out.plain("  README.md            point Berth at your own cluster and repository")
	return nil
}

// explain adds where to look to an error.
func (d *demo) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("stopped")
	}
	if d.berth == nil {
		return err
	}
	return fmt.Errorf("%w\nthe log of berth serve ends:\n%s", err, d.berth.tail())
}

// stayUp waits for Ctrl-C.
func (d *demo) stayUp(ctx context.Context) error {
	d.out.title("It stays up until Ctrl-C.")
	d.out.plain("  " + d.page + "   type /help, /status, /deploy there")
	d.out.plain("  " + d.chats.slack.URL() + "   Slack: type /berth deploy pr-7, and click")
	d.out.plain("  " + d.chats.discord.URL() + "   Discord: the same")
	d.out.plain("  export BERTH_SERVER=" + d.server + " BERTH_TOKEN=" + d.token)
	d.out.plain("  bin/berth status " + d.env())
	d.out.plain("  kubectl --kubeconfig " + d.kubeconfig + " get pods -A")
	<-ctx.Done()
	return nil
}
