package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// MaxSecret is the longest value of a secret, in bytes.
	MaxSecret = 64 << 10
	// MinSecret is the shortest, in characters. Shorter ones are refused: they are
	// in every other line by chance, so that they can be neither hidden nor kept.
	MinSecret = 4
)

// Secrets looks up the values behind a step's Secrets. The zero value finds
// files alone.
type Secrets struct {
	// Getenv looks up the executor's own environment, as os.Getenv does.
	Getenv func(name string) string
	// Kubernetes reads a key of a Kubernetes Secret in the step's cluster. It says
	// with an error that wraps fs.ErrNotExist that there is none; any other error
	// is passed on as it is. The namespace of ref is filled in.
	Kubernetes func(ctx context.Context, ref SecretRef) ([]byte, error)
}

// Resolve is the value of each of the step's Secrets, by the name of its
// variable. A line's end at the end of a file is not part of the value.
//
// With the ctx that Plan, Observe or Run was called with, the values are hidden
// in all that the call tells from then on, in the forms that SecretForms has.
//
// Errors: Invalid, naming the reference and never a value, when there is
// nothing, when it is no text, or when it is too short or too long; and what
// Kubernetes fails with.
func (s Secrets) Resolve(ctx context.Context, step Step) (map[string]string, error) {
	if len(step.Secrets) == 0 {
		return nil, nil
	}
	values := make(map[string]string, len(step.Secrets))
	for _, name := range slices.Sorted(maps.Keys(step.Secrets)) { // the same fault first, every time
		value, err := s.Value(ctx, step, step.Secrets[name])
		if err != nil {
			return nil, err
		}
		values[name] = value
	}
	return values, nil
}

// Value is what one reference of a step stands for. Errors are those of Resolve.
func (s Secrets) Value(ctx context.Context, step Step, ref SecretRef) (string, error) {
	if ref.SecretName != "" && ref.SecretNamespace == "" {
		ref.SecretNamespace = step.Namespace
	}
	value, err := s.read(ctx, ref)
	if err != nil {
		return "", err
	}
	Hide(ctx, value)
	switch {
	case value == "":
		return "", Invalid("%s is empty.", ref)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return "", Invalid("%s is not text, and only text can be a variable.", ref)
	case len(value) > MaxSecret:
		return "", tooLong(ref)
	case utf8.RuneCountInString(strings.TrimSpace(value)) < MinSecret:
		return "", Invalid("%s is too short to be kept secret: it needs at least %d characters. What is no secret can be a plain variable.", ref, MinSecret)
	}
	return value, nil
}

func (s Secrets) read(ctx context.Context, ref SecretRef) (string, error) {
	switch {
	case ref.Env != "":
		if s.Getenv == nil || s.Getenv(ref.Env) == "" {
			return "", Invalid("%s is not there: the variable is not set for this executor. Set it for Berth, and name it in `env` of the executor's section under `plugins`.", ref)
		}
		return s.Getenv(ref.Env), nil
	case ref.File != "":
		return readSecretFile(ref)
	case ref.SecretName != "":
		if s.Kubernetes == nil {
			return "", Invalid("%s cannot be read: this executor does not look into Kubernetes. Use `env` or `file`.", ref)
		}
		data, err := s.Kubernetes(ctx, ref)
		if errors.Is(err, fs.ErrNotExist) {
			return "", Invalid("%s is not there: make that Secret, with that key, in the cluster of the environment.", ref)
		}
		return string(data), err
	}
	return "", Invalid("%s says neither `env`, `file` nor `kubernetes`.", ref)
}

// readSecretFile reads a file that is one: a pipe or a device could keep the
// step waiting for ever.
func readSecretFile(ref SecretRef) (string, error) {
	failed := func(err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return Invalid("%s is not there: the executor finds no such file.", ref)
		}
		return &Error{Fault: FaultInvalid, Msg: ref.String() + " cannot be read: check the file's permissions.", Err: err}
	}
	info, err := os.Stat(ref.File)
	if err != nil {
		return "", failed(err)
	}
	if !info.Mode().IsRegular() {
		return "", Invalid("%s cannot be read: it is not a regular file.", ref)
	}
	f, err := os.Open(ref.File)
	if err != nil {
		return "", failed(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxSecret+3)) // room for a line's end, and for one byte too many
	if err != nil {
		return "", failed(err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if len(text) > MaxSecret {
		return "", tooLong(ref)
	}
	return text, nil
}

func tooLong(ref SecretRef) error {
	return Invalid("%s is longer than %d KiB, the most that a secret may be.", ref, MaxSecret>>10)
}

// String names the reference for people: it tells where the value is, and
// nothing of the value. It is also what stands for the value in what decides a
// result, so that a value that is changed where it is kept voids nothing.
func (r SecretRef) String() string {
	name := "The secret"
	if r.Name != "" {
		name = fmt.Sprintf("The secret %q", shown(r.Name))
	}
	switch {
	case r.Env != "":
		return fmt.Sprintf("%s (variable %s)", name, shown(r.Env))
	case r.File != "":
		return fmt.Sprintf("%s (file %s)", name, shown(r.File))
	case r.SecretName != "":
		return fmt.Sprintf("%s (Kubernetes Secret %s/%s, key %s)", name, shown(r.SecretNamespace), shown(r.SecretName), shown(r.SecretKey))
	}
	return name
}

// shown is a word of the config for a message.
func shown(s string) string {
	const most = 200
	return clean(strings.Join(strings.Fields(s), " "), most)
}
