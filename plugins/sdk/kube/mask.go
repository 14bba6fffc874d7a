package kube

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
)

// hidden stands for a secret in text.
const hidden = "***"

// minSecret is the shortest value that is hidden wherever it appears. Shorter
// ones would take "1" or "true" out of every line.
const minSecret = 6

// secretName is how names of secret things end.
var secretName = regexp.MustCompile(`(?i)(passw(or)?d|passphrase|pwd|token|secret|api[-_.]?key|access[-_.]?key|private[-_.]?key|encryption[-_.]?key|signing[-_.]?key|credentials?|client[-_.]?secret|connection[-_.]?string|dsn)s?$`)

// secretRef is how names end whose value is the name of a Secret.
var secretRef = regexp.MustCompile(`(?i)(existing|pull|image|tls|ca)[-_]?secrets?$`)

// LooksSecret tells whether a value of that name is to be hidden.
func LooksSecret(name string) bool {
	return secretName.MatchString(name) && !secretRef.MatchString(name)
}

// secretShapes are secrets that can be told by how they look.
var secretShapes = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`(://[^/\s:@]*):[^/\s@]+@`), "$1:" + hidden + "@"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "$1 " + hidden},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), hidden},
	{regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16}|sk_live_[A-Za-z0-9]{16,})`), hidden},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`), hidden},
	{regexp.MustCompile(`(?i)\b([a-z0-9_.-]*(?:password|passwd|token|secret|api[-_]?key|access[-_]?key|private[-_]?key))(["']?\s*[=:]\s*["']?)[^\s"'&,;]{3,}`), "$1$2" + hidden},
}

// Redact hides what looks like a secret.
func Redact(text string) string {
	for _, s := range secretShapes {
		text = s.pattern.ReplaceAllString(text, s.with)
	}
	return text
}

// Masker hides the secrets of one step: those that look like it, and those that
// it has learned. It is safe for concurrent use.
type Masker struct {
	key []byte

	mu    sync.RWMutex
	known map[string]bool
	exact map[string]bool   // values that are secrets because somebody said so, not by how they look
	forms map[string]bool   // how those are written
	hide  *strings.Replacer // all that is known; nil while nothing is
	only  *strings.Replacer // forms alone
}

// NewMasker knows what values and objects hold.
func NewMasker(key []byte, values map[string]any, objects ...[]*unstructured.Unstructured) *Masker {
	m := &Masker{key: key, known: map[string]bool{}, exact: map[string]bool{}, forms: map[string]bool{}}
	m.LearnValues(values)
	for _, list := range objects {
		m.LearnObjects(list)
	}
	return m
}

// LearnValues learns what is under a secret's name.
func (m *Masker) LearnValues(values map[string]any) {
	var found []string
	collectSecrets(values, func(s string) { found = append(found, s) })
	m.Learn(found)
}

// LearnObjects learns the data of Secrets.
func (m *Masker) LearnObjects(objects []*unstructured.Unstructured) {
	var found []string
	for _, o := range objects {
		if o.GetKind() != "Secret" {
			continue
		}
		for _, text := range stringMap(o.Object["stringData"]) {
			found = append(found, text)
		}
		for _, text := range stringMap(o.Object["data"]) {
			found = append(found, text)
			if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
				found = append(found, string(plain))
			}
		}
	}
	m.Learn(found)
}

// Learn learns secrets that are hidden as they are written here, where they are
// long enough to be told from other text.
func (m *Masker) Learn(secrets []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.known)
	for _, s := range secrets {
		if s = strings.TrimSpace(s); len(s) >= minSecret {
			m.known[s] = true
		}
	}
	if len(m.known) != before {
		m.hide = replacerOf(m.known, m.forms)
	}
}

// LearnExact learns secrets that were given as such: they are hidden however
// short they are, in all the ways in which they may be written, and everywhere.
func (m *Masker) LearnExact(secrets []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.exact)
	for _, s := range secrets {
		if s == "" || m.exact[s] {
			continue
		}
		m.exact[s] = true
		for _, form := range sdk.SecretForms(s) {
			m.forms[form] = true
		}
	}
	if len(m.exact) != before {
		m.hide, m.only = replacerOf(m.known, m.forms), replacerOf(m.forms)
	}
}

// Like makes m know the secrets that other was given.
func (m *Masker) Like(other *Masker) *Masker {
	other.mu.RLock()
	given := slices.Collect(maps.Keys(other.exact))
	other.mu.RUnlock()
	m.LearnExact(given)
	return m
}

// replacerOf hides all of the sets' texts.
func replacerOf(sets ...map[string]bool) *strings.Replacer {
	all := map[string]bool{}
	for _, set := range sets {
		maps.Copy(all, set)
	}
	// The longest first: one secret may be a part of another.
	list := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(list))
	for _, s := range list {
		pairs = append(pairs, s, hidden)
	}
	return strings.NewReplacer(pairs...)
}

// ExactText hides the secrets that were given as such, and nothing else.
func (m *Masker) ExactText(s string) string {
	m.mu.RLock()
	only := m.only
	m.mu.RUnlock()
	if only != nil {
		return only.Replace(s)
	}
	return s
}

func (m *Masker) isExact(s string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.exact[s]
}

// Text hides secrets in a line.
func (m *Masker) Text(s string) string {
	m.mu.RLock()
	hide := m.hide
	m.mu.RUnlock()
	if hide != nil {
		s = hide.Replace(s)
	}
	return Redact(s)
}

// stand is what a diff shows for a secret: two that differ look different, and
// nothing can be learned from either, since the key is this process's own.
func (m *Masker) stand(secret string) string {
	mac := hmac.New(sha256.New, m.key)
	mac.Write([]byte(secret))
	return hidden + " (" + hex.EncodeToString(mac.Sum(nil)[:4]) + ")"
}

func collectSecrets(v any, learn func(string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if text, ok := value.(string); ok && LooksSecret(name) {
				learn(text)
			}
			collectSecrets(value, learn)
		}
	case []any:
		for _, value := range v {
			collectSecrets(value, learn)
		}
	}
}

// Object is a copy of an object's content without its secrets.
func (m *Masker) Object(o *unstructured.Unstructured) map[string]any {
	content, _ := CopyValue(o.Object).(map[string]any)
	if o.GetKind() == "Secret" {
		for _, field := range []string{"data", "stringData"} {
			data, _ := content[field].(map[string]any)
			for name, value := range data {
				text, _ := value.(string)
				data[name] = m.stand(text)
			}
		}
	}
	masked, _ := m.maskValue(content).(map[string]any)
	return masked
}

func (m *Masker) maskValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		name, named := v["name"].(string)
		for key, value := range v {
			text, isText := value.(string)
			switch {
			case isText && strings.HasPrefix(text, hidden+" ("):
			case isText && (m.isExact(text) || LooksSecret(key) || key == "value" && named && LooksSecret(name)):
				v[key] = m.stand(text)
			default:
				v[key] = m.maskValue(value)
			}
		}
		return v
	case []any:
		for i, value := range v {
			v[i] = m.maskValue(value)
		}
		return v
	case string:
		if m.isExact(v) {
			return m.stand(v)
		}
		return m.Text(v)
	default:
		return v
	}
}

func stringMap(v any) map[string]string {
	m, _ := v.(map[string]any)
	out := make(map[string]string, len(m))
	for key, value := range m {
		if text, ok := value.(string); ok {
			out[key] = text
		}
	}
	return out
}

// StepMasker knows the secrets that a step was given.
func StepMasker(key []byte, step sdk.Step) *Masker {
	m := NewMasker(key, step.With)
	var found []string
	for name, value := range step.Vars {
		if LooksSecret(name) {
			found = append(found, value)
		}
	}
	for name, value := range step.Set {
		if LooksSecret(name) {
			found = append(found, value)
		}
	}
	m.Learn(found)
	return m
}

// RandomKey is a key of 32 bytes that nobody else has.
func RandomKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its documentation
	return key
}
