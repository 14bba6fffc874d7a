package githubtest

import (
	"bytes"
	"compress/gzip"
	_ "embed" // The payloads.
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Example is a webhook as GitHub sent it to somebody.
type Example struct {
	Event   string // X-GitHub-Event
	Action  string // empty if the event has none
	Payload json.RawMessage
}

//go:embed testdata/webhooks.json.gz
var examplesGz []byte

// Examples are the 329 payloads, of 58 events, of the npm package
// @octokit/webhooks-examples 7.6.1 (MIT licence), compactly written. The slice
// is the caller's; the payloads are shared and must not be changed.
func Examples() []Example {
	all, err := loadExamples()
	if err != nil {
		// The bytes are part of the program and a test reads them.
		panic(err)
	}
	return slices.Clone(all)
}

var loadExamples = sync.OnceValues(func() ([]Example, error) {
	zr, err := gzip.NewReader(bytes.NewReader(examplesGz))
	if err != nil {
		return nil, fmt.Errorf("githubtest: the embedded examples: %w", err)
	}
	var all []Example
	for dec := json.NewDecoder(zr); ; {
		var line struct {
			Event   string
			Payload json.RawMessage
		}
		if err := dec.Decode(&line); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("githubtest: the embedded examples: %w", err)
		}
		var head struct{ Action string }
		// Some payloads have an action of another kind, or none.
		_ = json.Unmarshal(line.Payload, &head)
		all = append(all, Example{Event: line.Event, Action: head.Action, Payload: line.Payload})
	}
})
