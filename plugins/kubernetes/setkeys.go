package kubernetes

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// imageRule puts another image in the place of one that manifests name.
type imageRule struct {
	key     string // what the settings call it
	name    string // as manifests have it, without a tag or digest
	newName string
	suffix  string // ":tag" or "@sha256:…"; "" keeps what the manifest has
}

var (
	// imageTag is a tag. Source: the OCI distribution specification 1.1, "Pulling manifests".
	imageTag    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	imageDigest = regexp.MustCompile(`^@?(sha256:[0-9a-f]{64})$`)
)

// applySet puts what the requester set over the settings. What it can change are
// images.NAME (a tag, or a digest written sha256:…), replicas.NAME and
// substitute.NAME, of names that the settings have: nothing that is set this way
// can make or reshape an object.
func (s *settings) applySet(step sdk.Step) error {
	tags := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(step.Set)) {
		value := step.Set[key]
		group, name, ok := strings.Cut(key, ".")
		switch {
		case ok && group == "images" && s.raw.Images[name].Name != "":
			if !imageTag.MatchString(value) && !imageDigest.MatchString(value) {
				return sdk.Invalid("%s is set to %q, which is neither a tag nor a digest.", key, kube.Clip(value, 80))
			}
			tags[name] = value
		case ok && group == "replicas" && name != "":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 || n > maxReplicas {
				return sdk.Invalid("%s is set to %q; write a number from 0 to %d.", kube.Clip(key, 80), kube.Clip(value, 40), maxReplicas)
			}
			s.replicas[name] = n
		case ok && group == "substitute" && s.raw.Substitute[name] != nil:
			s.values[name] = value
		default:
			return sdk.Invalid("%q cannot be set: this part takes %s.", kube.Clip(key, 80), s.settable())
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.raw.Images)) {
		c := s.raw.Images[key]
		r := imageRule{key: key, name: c.Name, newName: c.NewName}
		switch {
		case imageDigest.MatchString(tags[key]):
			r.suffix = "@" + strings.TrimPrefix(tags[key], "@")
		case tags[key] != "":
			r.suffix = ":" + tags[key]
		case c.Digest != "":
			r.suffix = "@" + c.Digest
		case c.Tag != "":
			if !imageTag.MatchString(c.Tag) {
				return sdk.Invalid("The `tag` of image %q is %q, which is none.", kube.Clip(key, 80), kube.Clip(c.Tag, 80))
			}
			r.suffix = ":" + c.Tag
		}
		s.images = append(s.images, r)
	}
	return nil
}

// settable names the keys that can be set.
func (s *settings) settable() string {
	var keys []string
	for name := range s.raw.Images {
		keys = append(keys, "images."+name)
	}
	for name := range s.raw.Substitute {
		keys = append(keys, "substitute."+name)
	}
	slices.Sort(keys)
	return kube.Clip(strings.Join(append(keys, "replicas.NAME of a workload"), ", "), 400)
}

// change gives objects the images and replicas that the settings want, and notes
// in used which of them it had a use for.
func (s *settings) change(objects []*unstructured.Unstructured, used map[string]bool) error {
	for _, o := range objects {
		for _, spec := range kube.PodSpecs(o.Object) {
			for _, field := range []string{"containers", "initContainers", "ephemeralContainers"} {
				items, _ := spec[field].([]any)
				for _, item := range items {
					s.changeImage(item, used)
				}
			}
		}
		switch o.GetKind() {
		case "Deployment", "StatefulSet", "ReplicaSet":
			if n, ok := s.replicas[o.GetName()]; ok {
				if err := unstructured.SetNestedField(o.Object, n, "spec", "replicas"); err != nil {
					return sdk.Invalid("%s %s has a `spec` that is none.", o.GetKind(), o.GetName())
				}
				used["replicas."+o.GetName()] = true
			}
		}
	}
	return nil
}

// allUsed refuses an image or a workload's name that no object has: it is a
// mistake, and who made it would take it for done.
func (s *settings) allUsed(used map[string]bool) error {
	for _, r := range s.images {
		if !used["images."+r.key] {
			return sdk.Invalid("`images` has %q, and no container of the manifests or jobs has the image %q.", r.key, kube.Clip(r.name, 120))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.replicas)) {
		if !used["replicas."+name] {
			return sdk.Invalid("`replicas` has %q, and the manifests have no Deployment, StatefulSet or ReplicaSet of that name.", kube.Clip(name, 80))
		}
	}
	return nil
}

func (s *settings) changeImage(container any, used map[string]bool) {
	c, _ := container.(map[string]any)
	image, _ := c["image"].(string)
	name, suffix := splitImage(image)
	for _, r := range s.images {
		if name == "" || name != r.name {
			continue
		}
		used["images."+r.key] = true
		if r.newName != "" {
			name = r.newName
		}
		if r.suffix != "" {
			suffix = r.suffix
		}
		c["image"] = name + suffix
		return
	}
}

// splitImage is an image's name and its tag or digest, with what sets it apart.
func splitImage(image string) (name, suffix string) {
	if i := strings.Index(image, "@"); i >= 0 {
		name, suffix = image[:i], image[i:]
		if j := strings.LastIndex(name, ":"); j > strings.LastIndex(name, "/") {
			name = name[:j]
		}
		return name, suffix
	}
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[:i], image[i:]
	}
	return image, ""
}
