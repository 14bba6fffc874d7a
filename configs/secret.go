package configs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Secret refers to a secret: an environment variable or a file. The value
// itself is never in the config.
type Secret struct {
	Env  string `yaml:"env" json:"env,omitempty" jsonschema:"oneof_required=env"`
	File string `yaml:"file" json:"file,omitempty" jsonschema:"oneof_required=file"`
}

// IsZero tells whether there is no reference.
func (s Secret) IsZero() bool { return s == Secret{} }

// String is the reference, which says where the secret is and nothing of it.
func (s Secret) String() string {
	switch {
	case s.Env != "":
		return "env:" + s.Env
	case s.File != "":
		return "file:" + s.File
	default:
		return ""
	}
}

// Value reads the secret; white space around it is dropped. The error says
// what is missing and never holds any of it.
func (s Secret) Value() (string, error) {
	switch {
	case s.Env != "":
		if v := strings.TrimSpace(os.Getenv(s.Env)); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("the environment variable %s is not set", s.Env)
	case s.File != "":
		b, err := os.ReadFile(s.File)
		if err != nil {
			return "", fmt.Errorf("the file %s cannot be read: %w", s.File, errors.Unwrap(err))
		}
		if v := strings.TrimSpace(string(b)); v != "" {
			return v, nil
		}
		return "", fmt.Errorf("the file %s is empty", s.File)
	default:
		return "", errors.New("no secret is referred to")
	}
}

// UnmarshalYAML refuses a secret that is written out, without repeating it.
func (s *Secret) UnmarshalYAML(n *yaml.Node) error {
	type plain Secret
	if n.Kind != yaml.MappingNode || n.Decode((*plain)(s)) != nil || (s.Env == "") == (s.File == "") {
		*s = Secret{}
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: a secret is a reference: write {env: NAME} or {file: path}", n.Line)}}
	}
	return nil
}
