// Command pack writes the example payloads of the npm package
// @octokit/webhooks-examples (MIT) compactly: its api.github.com/index.json
// becomes gzipped lines of JSON, each with an event's name and one payload.
//
//	go run ./bot/github/githubtest/internal/pack index.json bot/github/githubtest/testdata/webhooks.json.gz
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack index.json out.json.gz")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	raw, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var events []struct {
		Name     string
		Examples []json.RawMessage
	}
	if err := json.Unmarshal(raw, &events); err != nil {
		return fmt.Errorf("read %s: %w", in, err)
	}
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(zw)
	enc.SetEscapeHTML(false)
	n := 0
	for _, e := range events {
		for _, payload := range e.Examples {
			if err := enc.Encode(map[string]any{"event": e.Name, "payload": payload}); err != nil {
				return fmt.Errorf("pack %s: %w", e.Name, err)
			}
			n++
		}
	}
	if err := zw.Close(); err != nil {
		return err
	}
	fmt.Printf("%d payloads of %d events: %d bytes\n", n, len(events), buf.Len())
	return os.WriteFile(out, buf.Bytes(), 0o644)
}
