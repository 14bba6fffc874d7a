package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/api"
	"github.com/berth-dev/berth/bot/apiclient"
)

const (
	lookFast = 100 * time.Millisecond // between looks at a request that moves
	lookSlow = time.Second            // at one that waits for people
	// outage is how long a wait outlives its server, for a restart.
	outage = 2 * time.Minute
)

// newAction is the command of an action. Without --wait it returns once the
// request runs, or is in the queue to.
func newAction(verb string) *cobra.Command {
	cmd := withOutput(fromGrammar(verb, "act"))
	cmd.Args, cmd.ValidArgsFunction = arguments(0, 1), completeEnvironments
	if cmd.Flags().Lookup("wait") == nil {
		cmd.Flags().Bool("wait", false, "stays until it has ended")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := line(cmd, verb, args)
		if err != nil {
			return err
		}
		if c.Env == "" {
			return usageError(fmt.Errorf("which environment? It is written `berth %s app/name`, such as `berth %s shop/pr-42`", verb, verb))
		}
		wait, err := cmd.Flags().GetBool("wait")
		if err != nil {
			return err
		}
		return submit(cmd, c, wait)
	}
	return cmd
}

// newRetry is `berth retry`.
func newRetry() *cobra.Command {
	cmd := withOutput(fromGrammar(bot.VerbRetry, "ask"))
	cmd.Args = arguments(1, 1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := line(cmd, bot.VerbRetry, args)
		if err != nil {
			return err
		}
		format, err := outputOf(cmd)
		if err != nil {
			return err
		}
		server, err := client(cmd)
		if err != nil {
			return err
		}
		r, err := server.Retry(cmd.Context(), c.ID)
		if err != nil {
			return err
		}
		return followed(cmd, server, r, format, c.Wait)
	}
	return cmd
}

// submit sends a command and follows its request as far as is wanted.
func submit(cmd *cobra.Command, c bot.Command, wait bool) error {
	format, err := outputOf(cmd)
	if err != nil {
		return err
	}
	server, err := client(cmd)
	if err != nil {
		return err
	}
	c.Wait = false
	r, err := server.Submit(cmd.Context(), c.String(), apiclient.NewKey())
	if err != nil {
		return err
	}
	return followed(cmd, server, r, format, wait)
}

// followed follows a request that was just made as far as is wanted.
func followed(cmd *cobra.Command, server *apiclient.Client, r *api.Request, format string, wait bool) error {
	f := &follower{cmd: cmd, server: server, plain: format != "table"}
	out := cmd.OutOrStdout()
	if f.plain {
		out = cmd.ErrOrStderr() // standard output is for the data
	}
	if wait {
		f.shown = newProgress(out, r.Verb+" "+r.Environment)
	}
	r, err := f.follow(r, wait || r.DryRun)
	if f.shown != nil {
		f.shown.stop()
	}
	if err != nil {
		return err
	}
	return f.outcome(r)
}

// follower follows one request.
type follower struct {
	cmd    *cobra.Command
	server *apiclient.Client
	shown  progress // nil when nothing is shown on the way
	plain  bool     // -o json or yaml
}

func (f *follower) note(format string, args ...any) {
	if f.shown != nil {
		f.shown.note(fmt.Sprintf(format, args...))
	}
}

// follow looks at the request until it has ended or, without wait, until it is
// clear that it runs or waits for people.
func (f *follower) follow(r *api.Request, wait bool) (*api.Request, error) {
	ctx, told, watched := f.cmd.Context(), "", ""
	for {
		state := approvals.State(r.State)
		unseen := wait && r.RunID != "" && r.RunID != watched
		if !unseen && (state.Ended() || (!wait && state != approvals.StatePlanning)) {
			return r, nil
		}
		if r.State != told && !state.Ended() {
			told = r.State
			f.note("%s", f.waiting(r))
		}
		if unseen {
			switch err := f.watch(ctx, r.RunID); {
			case err == nil:
				watched = r.RunID
			case actions.CodeOf(err) != actions.CodeNotFound:
				return r, f.stopped(r, err)
			case state.Ended(): // before its run began
				return r, nil
			default: // Its run has yet to begin, or it is planned again.
				sleep(ctx, lookSlow)
			}
		} else {
			pause := lookFast
			if state == approvals.StatePending {
				pause = lookSlow
			}
			sleep(ctx, pause)
		}
		var err error
		if r, err = f.look(ctx, r); err != nil {
			return r, f.stopped(r, err)
		}
	}
}

// waiting says what a request waits for.
func (f *follower) waiting(r *api.Request) string {
	switch approvals.State(r.State) {
	case approvals.StatePlanning:
		return "request " + r.ID + ": planning"
	case approvals.StatePending:
		return "waiting for approval: `berth approve " + r.ID + "`"
	case approvals.StateReleased:
		return "waiting for its turn"
	default:
		return r.State
	}
}

// look reads the request again. A server that is away for a moment is waited
// for.
func (f *follower) look(ctx context.Context, r *api.Request) (*api.Request, error) {
	for since := time.Now(); ; {
		next, err := f.server.Request(ctx, r.ID)
		if err == nil {
			return next, nil
		}
		if !actions.Retryable(err) || time.Since(since) > outage || ctx.Err() != nil {
			return r, err
		}
		f.note("%s", actions.Message(err))
		sleep(ctx, lookSlow)
	}
}

func (f *follower) watch(ctx context.Context, runID string) error {
	if f.shown == nil {
		_, err := f.server.Watch(ctx, runID, func(actions.Event) error { return nil })
		return err
	}
	if run, err := f.server.Run(ctx, runID); err == nil { // else the events alone tell of it
		f.shown.begin(run)
	}
	_, err := f.server.Watch(ctx, runID, func(e actions.Event) error {
		f.shown.event(e)
		return nil
	})
	return err
}

// stopped says that the request goes on without anybody watching, when it was a
// person who stopped.
func (f *follower) stopped(r *api.Request, err error) error {
	if !canceled(f.cmd.Context()) {
		return err
	}
	return &exitError{code: exitFailed, err: fmt.Errorf("stopped watching; request %s goes on. `berth status %s` says how, `berth cancel %s` stops it", r.ID, r.Environment, r.ID)}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// outcome prints what has become of the request and returns how the program
// ends.
func (f *follower) outcome(r *api.Request) error {
	var end error
	switch approvals.State(r.State) {
	case approvals.StateSucceeded, approvals.StateReleased, approvals.StateRunning, approvals.StatePlanning:
	case approvals.StatePending:
		end = &exitError{code: exitWaiting}
	case approvals.StateDenied, approvals.StateRefused, approvals.StateExpired:
		end = f.failure(exitRefused, r)
	default:
		end = f.failure(exitFailed, r)
	}
	if err := show(f.cmd, r, func(w io.Writer) { f.told(w, r) }); err != nil {
		return err
	}
	return end
}

// shownReason is how much of a request's reason a person is shown, in columns; the
// log has all of it.
const shownReason = 1000

// failure is how the program ends for a request that did not succeed.
func (f *follower) failure(code int, r *api.Request) error {
	reason := cut(oneLine(r.Reason), shownReason)
	if reason == "" {
		reason = "no reason is known."
	}
	reason = strings.TrimSpace(reason + " " + oneLine(actions.Whereabouts(r.Left)))
	text := fmt.Sprintf("%s %s is %s: %s", r.Verb, r.Environment, r.State, reason)
	if r.State == string(approvals.StateFailed) {
		text = fmt.Sprintf("%s %s failed: %s", r.Verb, r.Environment, reason)
	}
	if r.RunID != "" {
		text += fmt.Sprintf("\n`berth logs %s` shows what happened.", r.RunID)
	}
	return &exitError{code: code, err: errors.New(text)}
}

// told says to a person what has become of the request.
func (f *follower) told(w io.Writer, r *api.Request) {
	switch approvals.State(r.State) {
	case approvals.StateSucceeded:
		if r.DryRun {
			printPlan(w, r)
			return
		}
		f.done(w, r)
	case approvals.StatePending:
		fmt.Fprintf(w, "%s waits for approval (request %s). `berth approve %s` agrees, `berth explain %s` says who can.\n", oneLine(r.Command), r.ID, r.ID, r.ID)
		if r.Reason != "" {
			fmt.Fprintln(w, oneLine(r.Reason))
		}
		for _, change := range r.Changed {
			fmt.Fprintln(w, "It was planned again: "+oneLine(change))
		}
	case approvals.StatePlanning, approvals.StateReleased, approvals.StateRunning:
		fmt.Fprintf(w, "On it: %s (request %s).\n`berth status %s` says how it goes, `berth logs -f %s` shows it, `berth cancel %s` stops it.\n",
			oneLine(r.Command), r.ID, r.Environment, r.ID, r.ID)
	}
}

// done says how the environment is after an action.
func (f *follower) done(w io.Writer, r *api.Request) {
	name, err := actions.ParseName(r.Environment)
	if err == nil {
		var env *api.Environment
		if env, err = f.server.Environment(f.cmd.Context(), name); err == nil {
			fmt.Fprintf(w, "%s %s.\n", r.Environment, oneLine(env.Summary))
			if env.URL != "" {
				fmt.Fprintln(w, oneLine(env.URL))
			}
			return
		}
	}
	fmt.Fprintf(w, "%s %s: done.\n", r.Verb, r.Environment)
}

// printPlan prints what a request changes.
func printPlan(w io.Writer, r *api.Request) {
	if r.Plan == nil {
		fmt.Fprintf(w, "There is no plan of request %s: it is %s. %s\n", r.ID, r.State, oneLine(r.Reason))
		return
	}
	fmt.Fprintln(w, oneLine(r.Plan.Summary))
	if r.Plan.Destructive {
		fmt.Fprintln(w, "This takes data away.")
	}
	for _, p := range r.Plan.Parts {
		fmt.Fprintf(w, "\n%s (%s): %s\n", oneLine(p.Part), oneLine(p.Use), oneLine(p.Summary))
		if p.Cost != "" {
			fmt.Fprintln(w, "Cost: "+oneLine(p.Cost))
		}
		if p.Provisional {
			fmt.Fprintln(w, "It uses what another part has yet to tell, so this can still change.")
		}
		if p.Diff != "" {
			fmt.Fprint(w, bot.Plain(p.Diff))
			if p.Diff[len(p.Diff)-1] != '\n' {
				fmt.Fprintln(w)
			}
		}
	}
}
