package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/sdk/kube"
)

const (
	// inputImage begins the input that tells the digest which an image's tag
	// means; the image as the manifest writes it follows.
	inputImage = "image "
	// byTag is that input's value when the digest could not be found: what was
	// agreed on then is the tag.
	byTag = "by its tag"
)

// pinner gives images that are named by a tag the digest that the tag means, so
// that what was agreed on is what runs, be the tag moved the next moment or the
// image pulled again a week later.
//
// Which digest that is, in this order: the one that was agreed on; else what
// the registry says. An image whose tag was agreed on stays with its tag: the
// plan said that what runs may differ. Once a digest is agreed on it stands
// whatever becomes of the registry, because nothing needs to be asked for it;
// only a registry that names another digest voids it, which the check before
// the run finds (see recheck).
type pinner struct {
	images    *images
	ctx       context.Context // of the step; Helm's interfaces have no place for one
	plainHTTP string
	agreed    map[string]string // by image: a digest, or byTag
	found     map[string]answer // by image
}

// newPinner makes a pinner for a step; nil when the settings want none.
func (x *Executor) newPinner(ctx context.Context, s settings, agreed map[string]string) *pinner {
	if !s.PinImages {
		return nil
	}
	p := &pinner{images: x.images, ctx: ctx, plainHTTP: s.plainRegistry(), agreed: map[string]string{}, found: map[string]answer{}}
	for key, value := range agreed {
		if name, ok := strings.CutPrefix(key, inputImage); ok {
			p.agreed[name] = value
		}
	}
	return p
}

// loopback tells whether a registry is on this machine, where registries speak
// HTTP without TLS, as container engines take them to.
func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	name = strings.Trim(name, "[]")
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// lookUp finds the digests of images that have none yet.
func (p *pinner) lookUp(names []string) {
	var open []string
	for _, name := range names {
		if _, known := p.found[name]; known {
			continue
		}
		switch was, ok := p.agreed[name]; {
		case ok && was == byTag:
			p.found[name] = answer{why: "it was agreed on by its tag"}
		case ok:
			p.found[name] = answer{digest: was}
		default:
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		maps.Copy(p.found, p.images.resolve(p.ctx, open, p.plainHTTP, false))
	}
}

// inputs add what the images decide to a plan's inputs.
func (p *pinner) inputs(into map[string]string) {
	for name, found := range p.found {
		into[inputImage+name] = found.digest
		if found.digest == "" {
			into[inputImage+name] = byTag
		}
	}
}

// notes has a sentence for each image that keeps its tag.
func (p *pinner) notes() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.found)) {
		if found := p.found[name]; found.digest == "" {
			out = append(out, fmt.Sprintf("image %s is named by a tag that could not be resolved (%s); what runs may differ", kube.Clip(name, 120), found.why))
		}
	}
	return out
}

// pin gives the images of an object their digests. It tells whether anything
// changed.
func (p *pinner) pin(content map[string]any) bool {
	changed := false
	eachImage(content, func(holder map[string]any, field, name string) {
		if digest := p.found[name].digest; digest != "" {
			holder[field] = name + "@" + digest
			changed = true
		}
	})
	return changed
}

// objects pins what a rendering gave, all of it looked up at once.
func (p *pinner) objects(lists ...[]*unstructured.Unstructured) error {
	names := map[string]bool{}
	for _, list := range lists {
		for _, o := range list {
			imagesOf(o.Object, names)
		}
	}
	p.lookUp(sortedNames(names))
	if err := p.ctx.Err(); err != nil {
		return err
	}
	for _, list := range lists {
		for _, o := range list {
			p.pin(o.Object)
		}
	}
	return nil
}

// Run is Helm's post-renderer: it pins the objects of a manifest.
func (p *pinner) Run(manifest *bytes.Buffer) (*bytes.Buffer, error) {
	pinned, err := p.text(manifest.String())
	return bytes.NewBufferString(pinned), err
}

// text pins the objects of a manifest. A document in which nothing is to be
// pinned stays as it is, and so does one that cannot be read: Helm says what is
// wrong with it.
func (p *pinner) text(manifest string) (string, error) {
	docs := documents(manifest)
	contents := make([]map[string]any, len(docs))
	names := map[string]bool{}
	for i, doc := range docs {
		if contents[i] = exactly(doc); contents[i] != nil {
			imagesOf(contents[i], names)
		}
	}
	if len(names) == 0 {
		return manifest, nil
	}
	p.lookUp(sortedNames(names))
	if err := p.ctx.Err(); err != nil {
		return "", err // nothing is to be deployed by its tag for want of time
	}
	var b strings.Builder
	for i, doc := range docs {
		if contents[i] != nil && p.pin(contents[i]) {
			written, err := written(contents[i])
			if err != nil {
				return "", err
			}
			doc = headOf(doc) + written
		}
		b.WriteString("---\n" + strings.TrimSuffix(doc, "\n") + "\n")
	}
	return b.String(), nil
}

// documents are those of a manifest, in their order.
func documents(manifest string) []string {
	docs := releaseutil.SplitManifests(manifest)
	keys := slices.Collect(maps.Keys(docs))
	sort.Sort(releaseutil.BySplitManifestsOrder(keys))
	out := make([]string, len(keys))
	for i, key := range keys {
		out[i] = docs[key]
	}
	return out
}

// exactly reads a document without touching its numbers; nil when it is no
// object.
func exactly(doc string) map[string]any {
	data, err := yaml.YAMLToJSON([]byte(doc))
	if err != nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var content map[string]any
	if dec.Decode(&content) != nil {
		return nil
	}
	return content
}

// written is a document with content, as YAML.
func written(content map[string]any) (string, error) {
	data, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	text, err := yaml.JSONToYAML(data)
	return string(text), err
}

// headOf are the comments that a document begins with: Helm's own, which says
// where it is from, is among them.
func headOf(doc string) string {
	head := ""
	for line := range strings.Lines(doc) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		head += line
	}
	return head
}

// imagesOf adds the images of an object that are named by a tag.
func imagesOf(content map[string]any, names map[string]bool) {
	eachImage(content, func(_ map[string]any, _, name string) { names[name] = true })
}

// eachImage calls visit with each place of an object at which an image is named
// by a tag: those of containers of every sort, and of volumes that are images.
// Names that are none, such as one that is not known yet, are left out.
func eachImage(content map[string]any, visit func(holder map[string]any, field, name string)) {
	see := func(holder map[string]any, field string) {
		name, _ := holder[field].(string)
		if ref, err := parseImage(name); name != "" && err == nil && !ref.pinned {
			visit(holder, field, name)
		}
	}
	for _, spec := range kube.PodSpecs(content) {
		for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
			for _, c := range kube.Maps(spec[list]) {
				see(c, "image")
			}
		}
		for _, v := range kube.Maps(spec["volumes"]) {
			if image, ok := v["image"].(map[string]any); ok {
				see(image, "reference")
			}
		}
	}
}

// records is where the release's records are kept, with what Berth adds to how
// Helm writes them.
type records struct {
	driver.Driver
	pinner *pinner           // pins hooks; nil pins nothing
	labels map[string]string // go into the record that is made next, if set
	mask   *kube.Masker      // hides secrets in what `helm status` shows
	keep   int               // the revision that an archive remembers, which stays however many follow
}

// Create implements driver.Driver. Hooks are pinned before they are recorded:
// Helm hands them to no post-renderer, and runs them as the record has them,
// those of a later cleanup included.
func (r *records) Create(key string, rel *release.Release) error {
	if r.pinner != nil {
		for _, hook := range rel.Hooks {
			if testsOnly(hook) {
				continue // Berth does not run it
			}
			pinned, err := r.pinner.text(hook.Manifest)
			if err != nil {
				return err
			}
			hook.Manifest = pinned
		}
	}
	if r.labels != nil {
		rel.Labels = maps.Clone(r.labels) // Helm's rollback would take those of the step that made the earlier one
	}
	r.hide(rel)
	return r.Driver.Create(key, rel)
}

// Update implements driver.Driver.
func (r *records) Update(key string, rel *release.Release) error {
	r.hide(rel)
	return r.Driver.Update(key, rel)
}

// hide takes secrets out of the texts of a record: a chart's notes are shown to
// whoever may look at the release, and a failure may repeat a value.
func (r *records) hide(rel *release.Release) {
	if r.mask == nil || rel.Info == nil {
		return
	}
	rel.Info.Notes = r.mask.ExactText(rel.Info.Notes)
	rel.Info.Description = r.mask.Text(rel.Info.Description)
}

// Delete implements driver.Driver. Helm prunes the oldest revisions before it
// adds one; the one that is to come back is not pruned.
func (r *records) Delete(key string) (*release.Release, error) {
	if r.keep > 0 && strings.HasSuffix(key, fmt.Sprintf(".v%d", r.keep)) {
		return r.Get(key)
	}
	return r.Driver.Delete(key)
}

// testsOnly tells whether a hook is only for `helm test`.
func testsOnly(h *release.Hook) bool {
	return !slices.ContainsFunc(h.Events, func(e release.HookEvent) bool { return e != release.HookTest })
}

// recheck adds to the inputs of a plan that checks what was agreed on what its
// images are now. They need not be found by rendering: the same chart with the
// same values names the same images, and with others the plan has changed
// already. A registry that does not answer, or has lost the tag, voids nothing,
// since what was agreed on is deployed by its digest; one that has another
// digest under the tag does.
func (p *pinner) recheck(inputs map[string]string) {
	var open []string
	for name, was := range p.agreed {
		inputs[inputImage+name] = was
		if was != byTag {
			open = append(open, name)
		}
	}
	if len(open) == 0 {
		return
	}
	slices.Sort(open)
	for name, found := range p.images.resolve(p.ctx, open, p.plainHTTP, true) {
		if found.digest != "" {
			inputs[inputImage+name] = found.digest
		}
	}
}
