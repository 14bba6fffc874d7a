package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/berth-dev/berth/plugins/sdk"
)

const (
	// ledgerVariable names the ledger's address to the executor. It also marks
	// the executors of one chaos among all processes of the machine.
	ledgerVariable = "CHAOS_LEDGER"
	// versionInput is the input of a plan that says what would be put there.
	versionInput = "version"
	// executorName is what parts say that they use.
	executorName = "cloud"
)

// executor does its steps in the ledger, as others do theirs in a cloud: each
// with its id as the token by which a repetition is known.
type executor struct {
	ledger string // "http://127.0.0.1:40001"
	http   *http.Client
}

func newExecutor(ledger string) executor { return executor{ledger: ledger, http: &http.Client{}} }

// Describe says that all verbs are done.
func (executor) Describe() sdk.Description {
	return sdk.Description{
		Name: executorName, Version: "1.0.0",
		Verbs:  []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore, sdk.Cleanup, sdk.Restart, sdk.Sleep, sdk.Wake},
		Schema: map[string]any{"type": "object", "additionalProperties": false},
	}
}

// Plan says which version would be put there. It moves, as tags do.
func (x executor) Plan(ctx context.Context, s sdk.Step) (sdk.Plan, error) {
	var now versionReply
	address := x.ledger + "/version?" + url.Values{"app": {s.App}}.Encode()
	if err := x.call(ctx, http.MethodGet, address, nil, &now); err != nil {
		return sdk.Plan{}, err
	}
	return sdk.Plan{
		Summary: fmt.Sprintf("%s %s at version %s", s.Verb, s.Part, now.Version), Destructive: s.Verb == sdk.Cleanup,
		Inputs: map[string]string{versionInput: now.Version},
	}, nil
}

// Run does the step: the version that was agreed on, whatever is newest by now.
func (x executor) Run(ctx context.Context, s sdk.Step, out sdk.Events) error {
	work := workRequest{
		Step: s.ID, App: s.App, Env: s.Env, Part: s.Part, Verb: string(s.Verb), Version: s.Agreed[versionInput], PID: os.Getpid(),
	}
	var done workReply
	if err := x.call(ctx, http.MethodPost, x.ledger+"/work", work, &done); err != nil {
		return err
	}
	out.Output("receipt", done.Receipt)
	return nil
}

// call asks the ledger. Only a refusal of the work itself is final.
func (x executor) call(ctx context.Context, method, address string, in, out any) error {
	content, err := json.Marshal(in)
	if err != nil {
		return sdk.Internal("The step cannot be told: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(content))
	if err != nil {
		return sdk.Internal("The cloud cannot be asked: %w", err)
	}
	res, err := x.http.Do(req)
	if err != nil {
		return sdk.Downstream("The cloud does not answer: %w", err).WithRetry()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return sdk.Downstream("The cloud's answer broke off: %w", err).WithRetry()
	case res.StatusCode == http.StatusUnprocessableEntity:
		return sdk.Invalid("The cloud does not do this: %s", text)
	case res.StatusCode != http.StatusOK:
		return sdk.Downstream("The cloud says %s.", res.Status).WithRetry()
	}
	if err := json.Unmarshal(text, out); err != nil {
		return sdk.Downstream("The cloud's answer cannot be read: %w", err)
	}
	return nil
}
