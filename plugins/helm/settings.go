package helm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// The defaults of settings that a part may leave out.
const (
	defaultTimeout  = 10 * time.Minute
	defaultFailFast = 20 * time.Second
	defaultVarsKey  = "env"
)

// maxReleaseName is the longest name of a release, in bytes.
// Source: helm.sh/helm/v3/pkg/chartutil, validate_name.go.
const maxReleaseName = 53

// settings are a part's `with`, with its defaults filled in.
type settings struct {
	Chart           string
	Version         string
	Repo            string
	Values          map[string]any
	Release         string
	VarsKey         string // "" keeps the variables away from the chart
	Timeout         time.Duration
	FailFast        time.Duration
	Wait            bool
	PlainHTTP       bool
	CreateNamespace bool
	URL             string
	PinImages       bool
}

// plainRegistry is the registry that speaks HTTP without TLS, as far as the
// settings say so: the chart's, whose images are often beside it.
func (s settings) plainRegistry() string {
	if !s.PlainHTTP {
		return ""
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(s.Chart, "oci://"), "/")
	return host
}

// withSchema is the JSON Schema of a part's `with`.
func withSchema() map[string]any {
	text := func(about string) map[string]any {
		return map[string]any{"type": "string", "description": about}
	}
	flag := func(about string, def bool) map[string]any {
		return map[string]any{"type": "boolean", "description": about, "default": def}
	}
	duration := func(about, def string) map[string]any {
		return map[string]any{"type": "string", "description": about, "default": def, "pattern": `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`}
	}
	chart := text("folder or archive of the chart, repo:PATH in the app's repository, oci://HOST/PATH, or a name when repo is set")
	chart["minLength"] = 1
	release := text("name of the Helm release; by default made of app, environment and part")
	release["maxLength"] = maxReleaseName
	varsKey := text("where the app's variables and secrets go in the values; empty keeps them out")
	varsKey["default"] = defaultVarsKey
	return map[string]any{
		"$schema":              "https://json-schema.org/draft/2020-12/schema",
		"type":                 "object",
		"additionalProperties": false,
		"required":             []any{"chart"},
		"properties": map[string]any{
			"chart":            chart,
			"version":          text("version of the chart, or a range such as ^1.2; without it the newest"),
			"repo":             text("address of the HTTP repository that has the chart"),
			"values":           map[string]any{"type": "object", "description": "values, over the chart's own"},
			"release":          release,
			"vars_key":         varsKey,
			"timeout":          duration("how long the whole step may take", "10m"),
			"fail_fast":        duration("how long a pod may stay stuck before the step fails early; 0s waits for the timeout", "20s"),
			"wait":             flag("wait until everything is ready", true),
			"plain_http":       flag("the OCI registry speaks HTTP without TLS", false),
			"create_namespace": flag("make the namespace when it is not there", true),
			"pin_images":       flag("deploy images that are named by a tag by the digest that the tag meant in the plan", true),
			"url":              text("address that people open, when no Ingress, Gateway or Service tells it"),
		},
	}
}

// rawSettings is `with` as it is written.
type rawSettings struct {
	Chart           string         `json:"chart"`
	Version         string         `json:"version"`
	Repo            string         `json:"repo"`
	Values          map[string]any `json:"values"`
	Release         string         `json:"release"`
	VarsKey         *string        `json:"vars_key"`
	Timeout         string         `json:"timeout"`
	FailFast        string         `json:"fail_fast"`
	Wait            *bool          `json:"wait"`
	PlainHTTP       bool           `json:"plain_http"`
	CreateNamespace *bool          `json:"create_namespace"`
	URL             string         `json:"url"`
	PinImages       *bool          `json:"pin_images"`
}

// readSettings checks what the schema says and what it cannot say, whether or
// not the caller has checked the schema.
func readSettings(step sdk.Step) (settings, error) {
	var raw rawSettings
	data, err := json.Marshal(step.With)
	if err != nil {
		return settings{}, sdk.Invalid("The part's settings cannot be read: %v.", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&raw); err != nil {
		return settings{}, invalidSettings(err)
	}
	s := settings{
		Chart: strings.TrimSpace(raw.Chart), Version: raw.Version, Repo: raw.Repo, Values: raw.Values, Release: raw.Release,
		VarsKey: defaultVarsKey, Wait: true, PlainHTTP: raw.PlainHTTP, CreateNamespace: true, URL: raw.URL, PinImages: true,
	}
	if raw.PinImages != nil {
		s.PinImages = *raw.PinImages
	}
	if raw.VarsKey != nil {
		s.VarsKey = *raw.VarsKey
	}
	if raw.Wait != nil {
		s.Wait = *raw.Wait
	}
	if raw.CreateNamespace != nil {
		s.CreateNamespace = *raw.CreateNamespace
	}
	if s.Timeout, err = readDuration("timeout", raw.Timeout, defaultTimeout); err != nil {
		return settings{}, err
	}
	if s.Timeout == 0 {
		return settings{}, sdk.Invalid("`timeout` must be more than nothing; write it as 10m.")
	}
	if s.FailFast, err = readDuration("fail_fast", raw.FailFast, defaultFailFast); err != nil {
		return settings{}, err
	}
	if s.Chart == "" {
		return settings{}, sdk.Invalid("A helm part needs `chart`: a folder, repo:PATH, oci://HOST/PATH, or a name with `repo`.")
	}
	if step.Namespace == "" {
		return settings{}, sdk.Invalid("A helm part needs a namespace, and the app's environment has none.")
	}
	if s.Release == "" {
		s.Release = releaseName(step.App, step.Env, step.Part)
	}
	if chartutil.ValidateReleaseName(s.Release) != nil {
		return settings{}, sdk.Invalid("%q cannot name a Helm release: use at most %d of a-z, 0-9, \"-\" and \".\", beginning and ending with a letter or digit.", kube.Clip(s.Release, 60), maxReleaseName)
	}
	return s, nil
}

// invalidSettings says which setting is wrong.
func invalidSettings(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return sdk.Invalid("`%s` is a %s, which a helm part cannot use there; see its settings in the documentation.", wrong.Field, wrong.Value)
	}
	if _, name, ok := strings.Cut(err.Error(), "unknown field "); ok {
		return sdk.Invalid("A helm part has no setting %s.", name)
	}
	return sdk.Invalid("The part's settings cannot be read: %v.", err)
}

func readDuration(name, text string, def time.Duration) (time.Duration, error) {
	if text == "" {
		return def, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, sdk.Invalid("`%s` is %q, which is no duration; write it as 30s or 10m.", name, kube.Clip(text, 40))
	}
	return d, nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

// releaseName is app-env-part. Where that is too long or has characters that a
// release's name cannot have, the end is a hash of the whole, so that two parts
// never share a release.
func releaseName(app, env, part string) string {
	whole := app + "-" + env + "-" + part
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(whole), "-"), "-")
	if name == whole && len(name) <= maxReleaseName {
		return name
	}
	sum := sha256.Sum256([]byte(app + "/" + env + "/" + part))
	hash := hex.EncodeToString(sum[:4])
	if most := maxReleaseName - len(hash) - 1; len(name) > most {
		name = strings.TrimRight(name[:most], "-")
	}
	return strings.TrimLeft(fmt.Sprintf("%s-%s", name, hash), "-")
}
