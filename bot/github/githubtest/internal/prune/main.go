// Command prune cuts GitHub's API description down to the operations that the
// stand-in speaks, with just the components that these need, and writes it
// gzipped. The description is MIT-licensed and comes as
// generated/api.github.com.json in the npm package @octokit/openapi.
//
//	go run ./bot/github/githubtest/internal/prune api.github.com.json bot/github/githubtest/testdata/api.github.com.json.gz
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/berth-dev/berth/bot/github/githubtest/internal/operations"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: prune api.github.com.json out.json.gz")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "prune:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	raw, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("read %s: %w", in, err)
	}
	pruned, err := prune(doc)
	if err != nil {
		return err
	}
	// Marshal sorts keys and the gzip header has no time, so the same input
	// gives the same bytes.
	slim, err := json.Marshal(pruned)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := zw.Write(slim); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	fmt.Printf("%d paths: %d bytes, %d gzipped\n", len(operations.All), len(slim), buf.Len())
	return os.WriteFile(out, buf.Bytes(), 0o644)
}

func prune(doc map[string]any) (map[string]any, error) {
	paths, ok := doc["paths"].(map[string]any)
	if !ok {
		return nil, errors.New("the description has no paths")
	}
	p := &pruner{doc: doc, components: map[string]any{}}
	kept := map[string]any{}
	for path, methods := range operations.All {
		item, ok := paths[path].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("the description has no path %s", path)
		}
		slim := map[string]any{}
		for _, method := range methods {
			op, ok := item[method]
			if !ok {
				return nil, fmt.Errorf("the description has no operation %s %s", method, path)
			}
			slim[method] = p.keep(op, false)
		}
		kept[path] = slim
	}
	if p.err != nil {
		return nil, p.err
	}
	if err := correct(kept); err != nil {
		return nil, err
	}
	return map[string]any{
		"openapi":    doc["openapi"],
		"info":       doc["info"],
		"paths":      kept,
		"components": p.components,
	}, nil
}

// correct mends what the description has wrong about GitHub. In the list of
// installations it says that an account is a user and an enterprise at once
// (allOf), which no answer can satisfy; the single installation has it right.
func correct(paths map[string]any) error {
	at := paths["/app/installations"]
	for _, key := range []string{
		"get", "responses", "200", "content", "application/json", "schema", "items", "properties", "account",
	} {
		o, _ := at.(map[string]any)
		at = o[key]
	}
	account, ok := at.(map[string]any)
	if !ok || account["allOf"] == nil {
		return errors.New("the list of installations has changed; look whether its correction is still needed")
	}
	account["anyOf"] = account["allOf"]
	delete(account, "allOf")
	return nil
}

// pruner copies values of doc, dropping what no validator reads and pulling in
// the components that the copies refer to.
type pruner struct {
	doc        map[string]any
	components map[string]any
	err        error
}

// noise is what only people read.
var noise = map[string]bool{
	"summary": true, "description": true, "example": true, "examples": true,
	"externalDocs": true, "tags": true, "title": true, "deprecated": true,
}

// keep copies v. In a map of names (the properties of an object, say) keys are
// somebody's words rather than keywords, so none of them is dropped.
func (p *pruner) keep(v any, names bool) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = p.keep(v[i], false)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			extension := strings.HasPrefix(key, "x-") && key != "x-multi-segment"
			if !names && (noise[key] || extension) {
				continue
			}
			if ref, ok := value.(string); ok && key == "$ref" && !names {
				p.pull(ref)
			}
			if !names && (key == "enum" || key == "default") {
				out[key] = value
				continue
			}
			out[key] = p.keep(value, !names && (key == "properties" || key == "responses" || key == "content"))
		}
		return out
	default:
		return v
	}
}

// pull copies the component that ref names, once.
func (p *pruner) pull(ref string) {
	parts := strings.Split(strings.TrimPrefix(ref, "#/components/"), "/")
	if len(parts) != 2 {
		p.err = errors.Join(p.err, fmt.Errorf("cannot follow %s", ref))
		return
	}
	kind, name := parts[0], parts[1]
	group, _ := p.components[kind].(map[string]any)
	if group == nil {
		group = map[string]any{}
		p.components[kind] = group
	}
	if _, done := group[name]; done {
		return
	}
	all, _ := p.doc["components"].(map[string]any)
	from, _ := all[kind].(map[string]any)
	component, ok := from[name]
	if !ok {
		p.err = errors.Join(p.err, fmt.Errorf("%s is not in the description", ref))
		return
	}
	group[name] = nil // Seen, before its own references lead back here.
	group[name] = p.keep(component, false)
}
