package kubernetes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// The defaults of settings that a part may leave out.
const (
	defaultTimeout  = 10 * time.Minute
	defaultFailFast = 20 * time.Second
	defaultJobLimit = 10 * time.Minute
)

// maxReplicas is the most pods of one workload that can be asked for, so that a
// slip of the finger does not fill a cluster.
const maxReplicas = 1000

// settings are a part's `with` and the executor's own settings, with defaults
// filled in.
type settings struct {
	raw      with
	platform platform
	timeout  time.Duration
	failFast time.Duration
	rules    *rules
	images   []imageRule
	replicas map[string]int64
	scaled   map[string]bool   // workloads, as Kind/name, whose pods an autoscaler counts
	values   map[string]string // of ${NAME}
}

// with is a part's `with` as it is written.
type with struct {
	Namespace  *namespaceBlock        `json:"namespace"`
	Manifests  any                    `json:"manifests"`
	Kustomize  any                    `json:"kustomize"`
	Substitute map[string]any         `json:"substitute"`
	Images     map[string]imageChange `json:"images"`
	Replicas   map[string]int64       `json:"replicas"`
	Vars       struct {
		ConfigMap string `json:"config_map"`
		Secret    string `json:"secret"`
	} `json:"vars"`
	Secrets         []secretBlock     `json:"secrets"`
	Jobs            []jobBlock        `json:"jobs"`
	Wait            []waitBlock       `json:"wait"`
	Ready           map[string]string `json:"ready"`
	Prune           *bool             `json:"prune"`
	Force           bool              `json:"force"`
	Recreate        []string          `json:"recreate"`
	Timeout         string            `json:"timeout"`
	FailFast        string            `json:"fail_fast"`
	OnArchive       string            `json:"on_archive"`
	URL             string            `json:"url"`
	CreateNamespace *bool             `json:"create_namespace"`
}

// platform is what whoever answers for the platform sets for all parts.
type platform struct {
	Namespace            namespaceBlock `json:"namespace"`
	IngressNamespaces    []string       `json:"ingress_namespaces"`
	PullSecretNamespaces []string       `json:"pull_secret_namespaces"`
	Allow                []allowance    `json:"allow"`
	Kinds                []string       `json:"kinds"`
	AWS                  struct {
		Endpoint string `json:"endpoint"`
	} `json:"aws"`
}

// allowance lets parts work outside of their environment's namespace.
type allowance struct {
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Apps      []string `json:"apps"`
}

type secretBlock struct {
	Name string         `json:"name"`
	Type string         `json:"type"`
	Data map[string]any `json:"data"`
	From string         `json:"from"`
}

type imageChange struct {
	Name    string `json:"name"`
	NewName string `json:"new_name"`
	Tag     string `json:"tag"`
	Digest  string `json:"digest"`
}

type waitBlock struct {
	APIVersion string `json:"api_version"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Namespace  string `json:"namespace"`
	Ready      string `json:"ready"`
	Failed     string `json:"failed"`
	Timeout    string `json:"timeout"`
}

// readSettings checks what the schemas say and what they cannot say, whether or
// not the caller has checked them.
func readSettings(step sdk.Step) (*settings, error) {
	s := &settings{values: map[string]string{}, replicas: map[string]int64{}}
	if err := decode(step.With, &s.raw, "The part's settings"); err != nil {
		return nil, err
	}
	if err := decode(step.Settings, &s.platform, "The executor's `settings`"); err != nil {
		return nil, err
	}
	if s.platform.IngressNamespaces == nil {
		s.platform.IngressNamespaces = []string{"ingress-nginx", "traefik", "istio-system", "kube-system"}
	}
	if s.raw.OnArchive != "" && s.raw.OnArchive != "keep" && s.raw.OnArchive != "snapshot" {
		return nil, sdk.Invalid("`on_archive` is %q; write keep or snapshot.", kube.Clip(s.raw.OnArchive, 40))
	}
	var err error
	if s.timeout, err = readDuration("timeout", s.raw.Timeout, defaultTimeout); err != nil {
		return nil, err
	}
	if s.timeout == 0 {
		return nil, sdk.Invalid("`timeout` is 0, which leaves no time for anything; write a length such as 10m.")
	}
	if s.failFast, err = readDuration("fail_fast", s.raw.FailFast, defaultFailFast); err != nil {
		return nil, err
	}
	if errs := validation.IsDNS1123Label(step.Namespace); len(errs) > 0 {
		return nil, sdk.Invalid("The namespace %q is no name of one: %s.", kube.Clip(step.Namespace, 80), errs[0])
	}
	for _, check := range []func(sdk.Step) error{s.readNamespace, s.readSecrets, s.readJobs, s.readRules, s.readChanges, s.applySet} {
		if err := check(step); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// looseSettings are the settings of a step that looks at or takes away what is
// there. It needs no sources: an environment that was found by its marks alone
// has no settings, and paths in it may be gone.
func looseSettings(step sdk.Step) (*settings, error) {
	kept := map[string]any{}
	for _, key := range []string{"timeout", "fail_fast", "url", "ready", "wait", "on_archive"} {
		if v, ok := step.With[key]; ok {
			kept[key] = v
		}
	}
	step.With, step.Set = kept, nil
	return readSettings(step)
}

// decode reads settings strictly: an unknown key is a mistake.
func decode(from map[string]any, to any, what string) error {
	if from == nil {
		return nil
	}
	data, err := json.Marshal(from)
	if err != nil {
		return sdk.Invalid("%s cannot be read: %v.", what, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return sdk.Invalid("%s are not as they should be: %s.", what, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func readDuration(name, text string, def time.Duration) (time.Duration, error) {
	if text == "" {
		return def, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, sdk.Invalid("`%s` is %q, which is no length of time; write one such as 90s or 10m.", name, kube.Clip(text, 40))
	}
	return d, nil
}

func (s *settings) prunes() bool { return s.raw.Prune == nil || *s.raw.Prune }

// readName checks the name of an object that the settings give.
func readName(what, name string) error {
	if errs := validation.IsDNS1123Subdomain(name); len(errs) > 0 {
		return sdk.Invalid("%s is %q, which is no name of an object: %s.", what, kube.Clip(name, 80), errs[0])
	}
	return nil
}

func (s *settings) readSecrets(sdk.Step) error {
	seen := map[string]bool{}
	for _, b := range s.raw.Secrets {
		if err := readName("The `name` of a secret", b.Name); err != nil {
			return err
		}
		if seen[b.Name] {
			return sdk.Invalid("`secrets` has %q twice.", b.Name)
		}
		seen[b.Name] = true
		for _, key := range slices.Sorted(maps.Keys(b.Data)) {
			value := b.Data[key]
			if errs := validation.IsConfigMapKey(key); len(errs) > 0 {
				return sdk.Invalid("%q is no key of a Secret: %s.", kube.Clip(key, 80), errs[0])
			}
			if _, plain := value.(string); plain {
				continue
			}
			if _, err := sdk.SecretOf(value, "the secret "+b.Name+"/"+key); err != nil {
				return err
			}
		}
		if b.From != "" {
			if _, err := readARN(b.From); err != nil {
				return err
			}
		}
		if len(b.Data) == 0 && b.From == "" {
			return sdk.Invalid("The secret %q has neither `data` nor `from`.", b.Name)
		}
	}
	for _, name := range []string{s.raw.Vars.ConfigMap, s.raw.Vars.Secret} {
		if name == "" {
			continue
		}
		if err := readName("A name under `vars`", name); err != nil {
			return err
		}
	}
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (s *settings) readChanges(sdk.Step) error {
	for _, name := range slices.Sorted(maps.Keys(s.raw.Substitute)) {
		if !variableName.MatchString(name) {
			return sdk.Invalid("%q under `substitute` is no name of a variable: write letters, digits and _.", kube.Clip(name, 80))
		}
		s.values[name] = plainText(s.raw.Substitute[name])
	}
	for _, name := range slices.Sorted(maps.Keys(s.raw.Images)) {
		c := s.raw.Images[name]
		if c.Name == "" {
			return sdk.Invalid("The image %q has no `name`: say which image of the manifests it is.", kube.Clip(name, 80))
		}
		if c.Tag != "" && c.Digest != "" {
			return sdk.Invalid("The image %q has both a `tag` and a `digest`; leave one out.", kube.Clip(name, 80))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.raw.Replicas)) {
		n := s.raw.Replicas[name]
		if n < 0 || n > maxReplicas {
			return sdk.Invalid("`replicas` of %q is %d; write a number from 0 to %d.", kube.Clip(name, 80), n, maxReplicas)
		}
		s.replicas[name] = n
	}
	return nil
}

// plainText is a scalar of YAML as text.
func plainText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprint(int64(v))
		}
	}
	return fmt.Sprint(v)
}
