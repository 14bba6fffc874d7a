package api

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

type commandInput struct {
	Key  string `header:"Idempotency-Key" maxLength:"255" doc:"The same key with the same command is one request, however often it is sent (for seven days)."`
	Body struct {
		Command string `json:"command" minLength:"1" maxLength:"4096" doc:"What one types anywhere, without a slash." example:"deploy shop/pr-42 --ref abc"`
	}
}

type decisionInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Decision   string `json:"decision" enum:"approve,deny"`
		Reason     string `json:"reason,omitempty" maxLength:"500"`
		Digest     string `json:"digest,omitempty" maxLength:"128" doc:"Of the plan that was looked at, as the request told it: a decision on another plan than would run now is answered 409."`
		BreakGlass bool   `json:"break_glass,omitempty" doc:"Sets aside the rules that the caller may set aside. It needs a reason, which everybody will read."`
	}
}

type cancelInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"500"`
	}
}

// writeOperations registers what changes something.
func (a *API) writeOperations(h huma.API) {
	wrong := []int{
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
	}
	create := operation("create-request", http.MethodPost, "/api/v1/requests", "Ask for an action", wrong...)
	create.DefaultStatus = http.StatusAccepted
	create.Description = "Takes commands that are actions: deploy, archive, restore, cleanup and so on. What happens is told by the request and its run."
	huma.Register(h, create, a.create)

	run := operation("run-command", http.MethodPost, "/api/v1/commands", "Run any command and have it answered in words", wrong...)
	run.Description = "The answer is the one that the command gets on every surface. A refusal is a problem."
	huma.Register(h, run, a.command)

	huma.Register(h, operation("decide-request", http.MethodPost, "/api/v1/requests/{id}/decisions", "Approve or deny a request", wrong...), a.decide)
	retry := operation("retry-request", http.MethodPost, "/api/v1/requests/{id}/retry", "Ask again for what a failed request asked for", wrong...)
	retry.DefaultStatus = http.StatusAccepted
	retry.Description = "The answer is the new request. A failed request is retried once, whoever asks: retried again, it is answered with the request that there is, and with 409 when that failed too; then that one is retried."
	huma.Register(h, retry, a.retry)
	huma.Register(h, operation("cancel-request", http.MethodPost, "/api/v1/requests/{id}/cancel", "Withdraw a request, or stop what runs", wrong...), a.cancel)
}

// create makes a request of a command.
func (a *API) create(ctx context.Context, in *commandInput) (*body[Request], error) {
	c, err := a.service.Parse(in.Body.Command)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if !slices.Contains(actions.Verbs(), actions.Verb(c.Verb)) && c.Verb != bot.VerbDiff {
		return nil, problem(actions.CodeInvalid, "`"+c.Verb+"` is no action, so it makes no request; send it to /api/v1/commands.")
	}
	reply, err := a.execute(ctx, in)
	if err != nil {
		return nil, err
	}
	if reply.Request == nil {
		return nil, problem(actions.CodeInvalid, "This command is answered without a request; send it to /api/v1/commands.")
	}
	return &body[Request]{toRequest(reply.Request)}, nil
}

// command runs any command.
func (a *API) command(ctx context.Context, in *commandInput) (*body[Answer], error) {
	reply, err := a.execute(ctx, in)
	if err != nil {
		return nil, err
	}
	out := Answer{Tone: string(reply.Tone), Text: reply.Text}
	if reply.Request != nil {
		r := toRequest(reply.Request)
		out.Request = &r
	}
	if reply.Environment != nil {
		e := toEnvironment(a.service.App(reply.Environment.Name.App), reply.Environment, nil)
		out.Environment = &e
	}
	return &body[Answer]{out}, nil
}

func (a *API) execute(ctx context.Context, in *commandInput) (bot.Reply, error) {
	who := from(ctx)
	if err := a.claim(ctx, who, in.Key, in.Body.Command); err != nil {
		return bot.Reply{}, err
	}
	reply, err := a.service.Execute(ctx, who.input(in.Body.Command, in.Key))
	if err != nil {
		return bot.Reply{}, a.fail(ctx, err)
	}
	if reply.Tone == bot.ToneRefused {
		return bot.Reply{}, refused(reply)
	}
	return reply, nil
}

// claim binds an Idempotency-Key to the command that first came with it.
// Requests know their keys within one environment only, and a key sent again
// with a command for another one must be refused as well.
func (a *API) claim(ctx context.Context, who caller, header, command string) error {
	if header == "" {
		return nil
	}
	same, err := a.service.Claim(ctx, who.key(header), command)
	if err != nil {
		return a.fail(ctx, err)
	}
	if !same {
		return problem(actions.CodeInvalid, "That Idempotency-Key was sent with another command before; use a new one for each command.")
	}
	return nil
}

func (a *API) decide(ctx context.Context, in *decisionInput) (*body[Request], error) {
	return a.change(ctx, bot.Command{Verb: in.Body.Decision, ID: in.ID, Reason: in.Body.Reason, Glass: in.Body.BreakGlass}, in.Body.Digest)
}

func (a *API) cancel(ctx context.Context, in *cancelInput) (*body[Request], error) {
	c := bot.Command{Verb: bot.VerbCancel, ID: in.ID}
	if in.Body != nil {
		c.Reason = in.Body.Reason
	}
	return a.change(ctx, c, "")
}

// change runs a command about one request and answers with the request. digest is
// of the plan that it is about, "" for the one that there is.
func (a *API) change(ctx context.Context, c bot.Command, digest string) (*body[Request], error) {
	if _, err := a.service.Request(ctx, c.ID); err != nil {
		return nil, a.fail(ctx, err)
	}
	input := from(ctx).input(c.String(), "")
	input.Digest = digest
	reply, err := a.service.Execute(ctx, input)
	switch {
	case err != nil:
		return nil, a.fail(ctx, err)
	case reply.Tone == bot.ToneRefused:
		return nil, refused(reply)
	}
	return &body[Request]{toRequest(reply.Request)}, nil
}
