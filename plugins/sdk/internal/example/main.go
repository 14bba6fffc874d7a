// Command berth-page publishes a text as a file: the executor of README.md.
package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-dev/berth/plugins/sdk"
)

type page struct{ root string }

func main() { sdk.Serve(page{root: os.Getenv("PAGE_ROOT")}) }

func (page) Describe() sdk.Description {
	return sdk.Description{
		Name: "page", Version: "1.0.0", Verbs: []sdk.Verb{sdk.Deploy, sdk.Cleanup},
		Schema: map[string]any{
			"type": "object", "required": []any{"text"}, "additionalProperties": false,
			"properties": map[string]any{"text": map[string]any{"type": "string", "description": "What the page says."}},
		},
	}
}

func (p page) file(s sdk.Step) string { return filepath.Join(p.root, s.App, s.Env, s.Part+".txt") }

// Run makes or removes the file. Both are success when it is already so.
func (p page) Run(_ context.Context, s sdk.Step, out sdk.Events) error {
	text, ok := s.With["text"].(string)
	if !ok {
		return sdk.Invalid("A page needs `text`.")
	}
	file := p.file(s)
	if s.Verb == sdk.Cleanup {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sdk.Downstream("The page cannot be removed: %w", err).WithRetry()
		}
		return nil
	}
	out.Progress("writing "+file, 0, 0)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		return sdk.Downstream("The page cannot be written: %w", err).WithRetry()
	}
	out.Output("file", file)
	return nil
}

// Observe is optional, as is Plan.
func (p page) Observe(_ context.Context, s sdk.Step) (sdk.Observation, error) {
	switch _, err := os.Stat(p.file(s)); {
	case err == nil:
		return sdk.Observation{Health: sdk.Healthy, Links: []sdk.Link{{Name: "page", URL: "file://" + p.file(s)}}}, nil
	case errors.Is(err, fs.ErrNotExist):
		return sdk.Observation{Health: sdk.Absent}, nil
	default:
		return sdk.Observation{}, sdk.Downstream("The page cannot be looked at: %w", err).WithRetry()
	}
}
