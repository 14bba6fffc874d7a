// Command prune makes the description that discordtest checks by: what
// ts-json-schema-generator writes for types.ts, without prose, with short names
// and packed.
//
//	npm install discord-api-types@0.38.57 ts-json-schema-generator@2
//	sed -i '/_AddUndefinedToPossiblyUndefinedPropertiesOfInterface<Base> = {/,/};/c export type _AddUndefinedToPossiblyUndefinedPropertiesOfInterface<Base> = Base;' node_modules/discord-api-types/utils/internals.d.ts
//	npx ts-json-schema-generator --path types.ts --type Types --no-type-check -o schema.json
//	go run ./internal/prune schema.json testdata/discord.json.gz
//
// The generator does not see through the one type that sed replaces.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: prune SCHEMA.json OUT.json.gz")
		os.Exit(2)
	}
	if err := prune(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "prune:", err)
		os.Exit(1)
	}
}

func prune(in, out string) error {
	raw, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var doc struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	types, ok := doc.Definitions["Types"]["properties"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s has no Types", in)
	}
	delete(doc.Definitions, "Types")
	var names []string
	for name := range doc.Definitions {
		names = append(names, name)
	}
	slices.Sort(names)
	p := pruner{short: map[string]string{}}
	for i, name := range names {
		p.short[name] = strconv.FormatInt(int64(i), 36)
	}
	packed := struct {
		Types       map[string]any `json:"types"`
		Definitions map[string]any `json:"definitions"`
	}{map[string]any{}, map[string]any{}}
	for name, schema := range types {
		packed.Types[name] = p.schema(schema)
	}
	for name, schema := range doc.Definitions {
		if strings.HasSuffix(name, "Flags") {
			delete(schema, "const") // There is one flag so far, which may be absent.
		}
		packed.Definitions[p.short[name]] = p.schema(schema)
	}
	text, err := json.Marshal(packed)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(out, buf.Bytes(), 0o644)
}

type pruner struct{ short map[string]string }

// schema drops what no check reads and shortens references.
func (p pruner) schema(v any) any {
	from, ok := v.(map[string]any)
	if !ok {
		return v
	}
	to := map[string]any{}
	for key, value := range from {
		switch key {
		case "enum":
			if list, ok := value.([]any); ok && !areFlags(list) {
				to[key] = value
			}
		case "type", "const", "required", "minItems", "maxItems":
			to[key] = value
		case "$ref":
			name, err := url.PathUnescape(strings.TrimPrefix(value.(string), "#/definitions/"))
			if err != nil || p.short[name] == "" {
				fmt.Fprintln(os.Stderr, "prune: nothing is called", name)
			}
			to["ref"] = p.short[name]
		case "properties":
			props := map[string]any{}
			for name, sub := range value.(map[string]any) {
				props[name] = p.schema(sub)
			}
			to[key] = props
		case "items", "additionalProperties":
			if list, ok := value.([]any); ok {
				value = list[0] // A tuple; minItems and maxItems say its length.
			}
			to[key] = p.schema(value)
		case "anyOf":
			var list []any
			for _, sub := range value.([]any) {
				list = append(list, p.schema(sub))
			}
			to[key] = list
		}
	}
	return to
}

// areFlags tells whether the values of an enum are bits, which may be combined.
func areFlags(list []any) bool {
	if len(list) < 3 {
		return false
	}
	var sum float64
	for _, v := range list {
		n, ok := v.(float64)
		if !ok || n < 1 || math.Exp2(math.Round(math.Log2(n))) != n {
			return false
		}
		sum += n
	}
	return sum > 7 // Else 1, 2 and 4 might be kinds.
}
