package configs

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write schema.json anew")

// TestSchemaIsTheTypes holds schema.json, which editors use, in step with the
// types and their comments. `go test ./configs -run Schema -update` writes it.
func TestSchemaIsTheTypes(t *testing.T) {
	reflector := &jsonschema.Reflector{ExpandedStruct: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if t == reflect.TypeFor[Duration]() {
			return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+d|([0-9]+(\.[0-9]+)?(h|m|s|ms))+|0)$`}
		}
		if t == reflect.TypeFor[Time]() {
			return &jsonschema.Schema{Type: "string", Format: "date-time"}
		}
		switch t {
		case reflect.TypeFor[Value]():
			return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}, {Type: "null"}, only("secret")}}
		case reflect.TypeFor[Address]():
			return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", Pattern: "^https?://"}, only("env"), only("file")}}
		}
		return nil
	}}
	if err := reflector.AddGoComments("github.com/berth-dev/berth/configs", "./"); err != nil {
		t.Fatal(err)
	}
	schema := reflector.Reflect(&Config{})
	schema.ID = ""
	schema.Title = "Berth's config"
	want, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("schema.json is not what the types say; run: go test ./configs -run Schema -update")
	}
}

// only is a mapping with one key and text under it.
func only(key string) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), Required: []string{key}, AdditionalProperties: jsonschema.FalseSchema}
	s.Properties.Set(key, &jsonschema.Schema{Type: "string"})
	return s
}

func TestTheExampleSatisfiesTheSchema(t *testing.T) {
	schema, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	if err := compiler.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	check := func(raw string) error {
		var value any
		if err := yaml.Unmarshal([]byte(raw), &value); err != nil {
			t.Fatal(err)
		}
		return compiled.Validate(value)
	}
	if err := check(string(raw)); err != nil {
		t.Error(err)
	}
	if err := check(strings.Replace(string(raw), "ttl: 72h", "ttl: soon", 1)); err == nil {
		t.Error("the schema takes any text for a length of time")
	}
	whole := wholeExample(t)
	if err := check(whole); err != nil {
		t.Error(err)
	}
	if err := check(strings.Replace(whole, "{secret: mail}", "{value: mail}", 1)); err == nil {
		t.Error("the schema takes any mapping for a variable")
	}
}
