package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// jobBlock is a Job that runs once for each change of what it is.
type jobBlock struct {
	Name           string         `json:"name"`
	When           string         `json:"when"`
	Image          string         `json:"image"`
	Command        []string       `json:"command"`
	Args           []string       `json:"args"`
	Env            map[string]any `json:"env"`
	EnvFrom        []envFrom      `json:"env_from"`
	ServiceAccount string         `json:"service_account"`
	Resources      map[string]any `json:"resources"`
	Pod            map[string]any `json:"pod"`
	Retries        int64          `json:"retries"`
	Timeout        string         `json:"timeout"`

	limit time.Duration
}

type envFrom struct {
	ConfigMap string `json:"config_map"`
	Secret    string `json:"secret"`
}

// When a job runs.
const (
	before = "before" // the workloads are applied
	after  = "after"  // they are ready
)

// maxRetries is how often a Job that fails is tried again by itself.
const maxRetries = 20

var jobName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$`)

func (s *settings) readJobs(sdk.Step) error {
	seen := map[string]bool{}
	for i := range s.raw.Jobs {
		b := &s.raw.Jobs[i]
		switch {
		case !jobName.MatchString(b.Name):
			return sdk.Invalid("The job %q has no name that it can have: up to 40 of a-z, 0-9 and -.", kube.Clip(b.Name, 80))
		case seen[b.Name]:
			return sdk.Invalid("`jobs` has %q twice.", b.Name)
		case b.When != "" && b.When != before && b.When != after:
			return sdk.Invalid("`when` of the job %q is %q; write before or after.", b.Name, kube.Clip(b.When, 40))
		case b.Image == "" && len(kube.Maps(b.Pod["containers"])) == 0:
			return sdk.Invalid("The job %q has neither an `image` nor a `pod` with containers.", b.Name)
		case b.Image == "" && len(b.Command)+len(b.Args)+len(b.Env)+len(b.EnvFrom)+len(b.Resources) > 0:
			return sdk.Invalid("The job %q has no `image`: its command, args, env, env_from and resources are of a container with that image, so say them in `pod`.", b.Name)
		case b.Retries < 0 || b.Retries > maxRetries:
			return sdk.Invalid("`retries` of the job %q is %d; write a number from 0 to %d.", b.Name, b.Retries, maxRetries)
		}
		seen[b.Name] = true
		var err error
		if b.limit, err = readDuration("timeout", b.Timeout, defaultJobLimit); err != nil {
			return err
		}
		if b.limit < time.Second {
			return sdk.Invalid("`timeout` of the job %q is shorter than a second.", b.Name)
		}
		b.When = orWord(b.When, before)
	}
	return nil
}

// container is what the short form of a job runs.
func (b *jobBlock) container() map[string]any {
	c := map[string]any{"name": b.Name, "image": b.Image}
	if len(b.Command) > 0 {
		c["command"] = anys(b.Command)
	}
	if len(b.Args) > 0 {
		c["args"] = anys(b.Args)
	}
	if len(b.Resources) > 0 {
		c["resources"] = kube.CopyValue(b.Resources)
	}
	var env, from []any
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		env = append(env, map[string]any{"name": name, "value": plainText(b.Env[name])})
	}
	for _, f := range b.EnvFrom {
		if f.ConfigMap != "" {
			from = append(from, map[string]any{"configMapRef": map[string]any{"name": f.ConfigMap}})
		}
		if f.Secret != "" {
			from = append(from, map[string]any{"secretRef": map[string]any{"name": f.Secret}})
		}
	}
	if env != nil {
		c["env"] = env
	}
	if from != nil {
		c["envFrom"] = from
	}
	return c
}

// job is the Job of a block. Its name has a digest of what it is: the same work has the
// same name, and what has been done is not done again.
func (s *settings) job(b *jobBlock, owner kube.Owner, used map[string]bool) (*unstructured.Unstructured, error) {
	pod, _ := kube.CopyValue(b.Pod).(map[string]any)
	if pod == nil {
		pod = map[string]any{}
	}
	if b.Image != "" {
		others, _ := pod["containers"].([]any)
		pod["containers"] = append([]any{b.container()}, others...)
	}
	if b.ServiceAccount != "" {
		pod["serviceAccountName"] = b.ServiceAccount
	}
	if pod["restartPolicy"] == nil {
		pod["restartPolicy"] = "Never"
	}
	for _, field := range []string{"containers", "initContainers"} {
		items, _ := pod[field].([]any)
		for _, item := range items {
			s.changeImage(item, used)
		}
	}
	labels := texts(owner.Labels())
	labels[labelJob] = b.Name
	spec := map[string]any{
		"backoffLimit":          b.Retries,
		"activeDeadlineSeconds": int64(b.limit / time.Second),
		"template":              map[string]any{"metadata": map[string]any{"labels": labels}, "spec": pod},
	}
	data, err := json.Marshal(map[string]any{"spec": spec, "name": b.Name})
	if err != nil {
		return nil, sdk.Invalid("The job %q cannot be read: %v.", b.Name, err)
	}
	sum := sha256.Sum256(data)
	return kube.ObjectOf(map[string]any{
		"apiVersion": "batch/v1", "kind": "Job",
		"metadata": map[string]any{"name": b.Name + "-" + hex.EncodeToString(sum[:5]), "labels": map[string]any{labelJob: b.Name}},
		"spec":     spec,
	}), nil
}
