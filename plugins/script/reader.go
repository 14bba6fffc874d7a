package script

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// reader reads values of `with` and of the settings; the first fault stays.
type reader struct {
	m   map[string]any
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = sdk.Invalid(format, args...)
	}
}

func (r *reader) text(key string) string {
	switch v := r.m[key].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		r.fail("`%s` has to be a text.", key)
		return ""
	}
}

func (r *reader) flag(key string) bool {
	b, ok := r.m[key].(bool)
	if r.m[key] != nil && !ok {
		r.fail("`%s` has to be true or false.", key)
	}
	return b
}

func (r *reader) duration(key string, def time.Duration) time.Duration {
	return r.durationOf(key, r.text(key), def)
}

func (r *reader) durationOf(key, text string, def time.Duration) time.Duration {
	if text == "" {
		return def
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		r.fail("`%s` is %q, which is no length of time; write it as 30s or 10m.", key, clip(text, 40))
	}
	return d
}

func (r *reader) object(key string) map[string]any {
	m, ok := r.m[key].(map[string]any)
	if r.m[key] != nil && !ok {
		r.fail("`%s` has to be a mapping.", key)
	}
	return m
}

// scalar is v as a text: YAML makes numbers and booleans of what scripts take
// for text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool, int64, int, float64:
		return fmt.Sprint(v), true
	}
	return "", false
}

// value is a text or a secret's reference; it is never repeated in a message.
func (r *reader) value(what string, v any) secretOr {
	if text, ok := scalar(v); ok {
		if strings.ContainsRune(text, 0) {
			r.fail("%s holds a NUL character, which no program can be given.", what)
		}
		return secretOr{Text: text}
	}
	ref, err := sdk.SecretOf(v, what)
	if err != nil {
		r.fail("%s has to be a text or refer to a secret by {env: NAME} or {file: PATH}.", what)
	}
	return secretOr{Ref: &ref}
}

func (r *reader) env(key string) map[string]secretOr {
	out := map[string]secretOr{}
	m := r.object(key)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !envName.MatchString(name) {
			r.fail("%q in `%s` cannot name a variable of the environment: use letters, digits and \"_\".", clip(name, 40), key)
		}
		if reserved(name) {
			r.fail("%s in `%s` is the executor's own to set; take another name.", name, key)
		}
		out[name] = r.value("`"+key+"."+name+"`", m[name])
	}
	return out
}

func (r *reader) configs(of map[string]any, key string) []config {
	m, ok := of[key].(map[string]any)
	if of[key] != nil && !ok {
		r.fail("`overrides.%s` has to be a mapping of keys and values.", key)
	}
	var out []config
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k, err := cleanKey(name)
		if err != nil {
			r.fail("%q in `overrides.%s` cannot be a key: %s.", clip(name, 60), key, err)
			continue
		}
		c := config{Key: k, Deleted: m[name] == nil}
		if !c.Deleted {
			c.Value = r.value(fmt.Sprintf("`overrides.%s.%s`", key, clip(name, 60)), m[name])
		}
		out = append(out, c)
	}
	return out
}

var (
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	reservedEnv = []string{"HOME", "TMPDIR", "PWD"}
)

// reserved are the names that the executor sets itself.
func reserved(name string) bool {
	return slices.Contains(reservedEnv, name) || strings.HasPrefix(name, "BERTH_")
}
