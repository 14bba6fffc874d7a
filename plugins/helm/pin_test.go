package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/berth-dev/berth/plugins/sdk"
)

// imageRegistry is a real registry, in this process.
type imageRegistry struct {
	*httptest.Server
	host  string
	asked atomic.Int64 // requests so far
	login atomic.Bool  // it wants one: ana, with the password s3cret
	stuck atomic.Bool  // it accepts requests and never answers
}

func newImageRegistry(t *testing.T) *imageRegistry {
	t.Helper()
	r := &imageRegistry{}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		if r.stuck.Load() {
			<-req.Context().Done()
			return
		}
		if user, password, _ := req.BasicAuth(); r.login.Load() && (user != "ana" || password != "s3cret") {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, req)
	}))
	t.Cleanup(r.Close)
	r.host = strings.TrimPrefix(r.URL, "http://")
	return r
}

// put makes tag mean an image with that content, and returns its digest.
func (r *imageRegistry) put(t *testing.T, repository, tag, content string) string {
	t.Helper()
	repo := r.repository(t, repository)
	blob := func(kind, text string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: kind, Digest: digest.FromString(text), Size: int64(len(text))}
		if err := repo.Push(t.Context(), d, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	return r.manifest(t, repository, tag, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: blob(ocispec.MediaTypeImageConfig, `{"os":"linux"}`), Layers: []ocispec.Descriptor{blob(ocispec.MediaTypeImageLayer, content)},
	})
}

func (r *imageRegistry) manifest(t *testing.T, repository, tag, kind string, m any) string {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: kind, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := r.repository(t, repository).PushReference(t.Context(), d, bytes.NewReader(data), tag); err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

func (r *imageRegistry) repository(t *testing.T, name string) *remote.Repository {
	t.Helper()
	repo, err := remote.NewRepository(r.host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	return repo
}

func TestNamesOfImages(t *testing.T) {
	for name, want := range map[string]string{
		"nginx":                         "docker.io/library/nginx:latest",
		"nginx:1.27":                    "docker.io/library/nginx:1.27",
		"acme/shop:1":                   "docker.io/acme/shop:1",
		"index.docker.io/acme/shop":     "docker.io/acme/shop:latest",
		"docker.io/nginx":               "docker.io/library/nginx:latest",
		"localhost/shop":                "localhost/shop:latest",
		"localhost:5000/shop:1":         "localhost:5000/shop:1",
		"ghcr.io/acme/shop:v1.2.3":      "ghcr.io/acme/shop:v1.2.3",
		"[::1]:5000/shop:1":             "[::1]:5000/shop:1",
		"registry.example:443/a/b/c:1":  "registry.example:443/a/b/c:1",
		"":                              "",
		"nginx:":                        "",
		":1":                            "",
		"Nginx":                         "",
		"(known after db)":              "",
		"ghcr.io/acme/shop: 1":          "",
		"ghcr.io/acme/shop:1\n- x":      "",
		"https://ghcr.io/acme/shop:1":   "",
		"ghcr.io/acme/../../etc:1":      "",
		"ghcr.io/acme/shop@sha256:beef": "",
	} {
		ref, err := parseImage(name)
		if got := ref.String(); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%q is %q, %v; want %q", name, got, err, want)
		}
	}
	digest := "@sha256:" + strings.Repeat("ab", 32)
	for name, want := range map[string]bool{"nginx" + digest: true, "ghcr.io/acme/shop:1" + digest: true, "ghcr.io/acme/shop:1": false} {
		if ref, err := parseImage(name); err != nil || ref.pinned != want {
			t.Errorf("%q is pinned: %v, %v", name, ref.pinned, err)
		}
	}
}

func FuzzParseImage(f *testing.F) {
	for _, s := range []string{"nginx", "a/b:c", "localhost:1/x@sha256:" + strings.Repeat("0", 64), "//", "a@b@c", "[::1]/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		ref, err := parseImage(name)
		if err != nil {
			return
		}
		if ref.Registry == "" || ref.Repository == "" || ref.Reference.Reference == "" || strings.ContainsAny(ref.String(), " \n\t\"'{}") {
			t.Errorf("%q was taken for %q", name, ref)
		}
		if pinned, err := parseImage(name + "@sha256:" + strings.Repeat("0", 64)); !ref.pinned && (err != nil || !pinned.pinned || pinned.Repository != ref.Repository) {
			t.Errorf("%q with a digest is %v, %v", name, pinned, err)
		}
	})
}

func TestTagsAreResolved(t *testing.T) {
	t.Parallel()
	r := newImageRegistry(t)
	one := r.put(t, "acme/shop", "1", "one")
	index := r.manifest(t, "acme/many", "1", ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(r.put(t, "acme/many", "amd64", "a")), Size: 1, Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64"}}},
	})
	stuck := newImageRegistry(t)
	stuck.stuck.Store(true)
	gone := newImageRegistry(t)
	gone.Close()
	names := []string{r.host + "/acme/shop:1", r.host + "/acme/many:1", r.host + "/acme/shop:2", stuck.host + "/a:1", gone.host + "/a:1", "not an image"}
	x := New(Options{})
	began := time.Now()
	got := x.images.resolve(t.Context(), names, "", false)
	if took := time.Since(began); took > time.Minute { // a registry that never answers would take for ever
		t.Errorf("it took %s", took)
	}
	for i, want := range []answer{
		{digest: one}, {digest: index}, {why: "its registry has no such tag"}, {why: "its registry did not answer in time"},
		{why: "its registry cannot be reached"}, {why: "it is no image's name"},
	} {
		if a := got[names[i]]; a.digest != want.digest || a.why != want.why {
			t.Errorf("%s is %+v, want %+v", names[i], a, want)
		}
	}

	// A tag that moves is seen at once. A failure is believed for a moment, so
	// that plans stay quick, but not right before a run.
	moved := r.put(t, "acme/shop", "1", "two")
	if now := x.images.resolve(t.Context(), names[:1], "", false); now[names[0]].digest != moved {
		t.Errorf("after the tag moved: %+v", now)
	}
	late := r.put(t, "acme/shop", "2", "late")
	if again := x.images.resolve(t.Context(), names[2:4], "", false); again[names[2]].digest != "" || again[names[3]].why != "its registry did not answer in time" {
		t.Errorf("asked again at once: %+v", again)
	}
	if now := x.images.resolve(t.Context(), names[2:3], "", true); now[names[2]].digest != late {
		t.Errorf("asked afresh: %+v", now)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	x.images.resolve(stopped, names[:1], "", true)
	if now := x.images.resolve(t.Context(), names[:1], "", false); now[names[0]].digest != moved {
		t.Errorf("after somebody who did not wait: %+v", now)
	}
	base := x.images.now()
	x.images.now = func() time.Time { return base.Add(believed) }
	stuck.stuck.Store(false)
	if now := x.images.resolve(t.Context(), names[3:4], "", false)[names[3]]; now.why != "its registry has no such tag" {
		t.Errorf("a moment later: %+v", now)
	}

	r.login.Store(true)
	if now := x.images.resolve(t.Context(), names[:1], "", true)[names[0]]; now.why != "its registry shows it with a login alone" {
		t.Errorf("without a login: %+v", now)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`{"auths":{%q:{"auth":"YW5hOnMzY3JldA=="}}}`, r.host) // ana:s3cret
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	x = New(Options{Getenv: func(string) string { return dir }})
	if now := x.images.resolve(t.Context(), names[:1], "", true)[names[0]]; now.digest != moved {
		t.Errorf("with a login: %+v", now)
	}
}

// everywhere is a chart with images in every place that there is.
func everywhere(t *testing.T, r *imageRegistry) string {
	t.Helper()
	dir := t.TempDir()
	image := func(name string) string { return r.host + "/acme/" + name + ":1" }
	pod := "      containers: [{name: a, image: " + image("app") + "}]\n      restartPolicy: %s\n"
	write(t, dir, map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: everywhere\nversion: 1.0.0\n",
		"values.yaml": "env: {}\n",
		"templates/web.yaml": `# A comment of the chart's author.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: i, image: ` + image("init") + `}]
      containers:
        - name: a
          image: &app "` + image("app") + `"
          resources: {requests: {cpu: 250m, memory: 64Mi}}
        - {name: b, image: *app}
        - {name: c, image: "` + image("app") + "@sha256:" + strings.Repeat("0", 64) + `"}
`,
		"templates/cron.yaml":  "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: cron}\nspec:\n  schedule: '0 0 1 1 *'\n  jobTemplate:\n   spec:\n    template:\n     spec:\n" + fmt.Sprintf(pod, "Never"),
		"templates/plain.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\ndata: {image: '" + image("app") + "'} # stays\n",
		"templates/hook.yaml":  "apiVersion: batch/v1\nkind: Job\nmetadata: {name: before, annotations: {helm.sh/hook: 'pre-install,pre-upgrade'}}\nspec:\n  template:\n    spec:\n" + strings.ReplaceAll(fmt.Sprintf(pod, "Never"), "app:1", "hook:1"),
		"templates/last.yaml":  "apiVersion: batch/v1\nkind: Job\nmetadata: {name: last, annotations: {helm.sh/hook: pre-delete}}\nspec:\n  template:\n    spec:\n" + strings.ReplaceAll(fmt.Sprintf(pod, "Never"), "app:1", "last:1"),
		"templates/test.yaml":  "apiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\nspec: {containers: [{name: t, image: " + image("never-asked-for") + "}]}\n",
	})
	return dir
}

func TestWhatWasAgreedOnIsDeployedByItsDigest(t *testing.T) {
	t.Parallel()
	r := newImageRegistry(t)
	digests := map[string]string{}
	for _, name := range []string{"app", "init", "hook", "last"} {
		digests[name] = r.put(t, "acme/"+name, "1", name)
	}
	pinned := func(name string) string { return r.host + "/acme/" + name + ":1@" + digests[name] }
	x := New(Options{})
	step := preview(t, with("chart", everywhere(t, r)), with("pin_images", true))
	first := plan(t, x, step)
	for name, digest := range digests {
		if got := first.Inputs[inputImage+r.host+"/acme/"+name+":1"]; got != digest {
			t.Errorf("the input of %s is %q, want %s", name, got, digest)
		}
	}
	if len(first.Inputs) != 3+len(digests) {
		t.Errorf("inputs %v", first.Inputs)
	}
	if !strings.Contains(first.Diff, pinned("app")) || strings.Contains(first.Summary, "tag") {
		t.Errorf("plan %+v", first)
	}
	brief := step
	brief.Brief = true
	if p := plan(t, New(Options{}), brief); !maps.Equal(p.Inputs, first.Inputs) {
		t.Errorf("a brief plan has other inputs: %v", p.Inputs)
	}
	check := brief
	check.Agreed, check.Cluster.Kubeconfig = first.Inputs, "/none/such"
	if p := plan(t, x, check); !maps.Equal(p.Inputs, first.Inputs) {
		t.Errorf("a check has other inputs: %v", p.Inputs)
	}

	// The tag moves between the check and the step: what was agreed on runs.
	agreedApp := digests["app"]
	moved := r.put(t, "acme/app", "1", "another")
	step.Agreed = first.Inputs
	out := run(t, x, step)
	if strings.Contains(out.Text(), "could not be resolved") {
		t.Errorf("log:\n%s", out.Text())
	}
	cs := client(t)
	web, err := cs.AppsV1().Deployments(step.Namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := web.Spec.Template.Spec
	if pod.Containers[0].Image != pinned("app") || pod.Containers[1].Image != pinned("app") || pod.InitContainers[0].Image != pinned("init") ||
		!strings.HasSuffix(pod.Containers[2].Image, "@sha256:"+strings.Repeat("0", 64)) {
		t.Errorf("deployed: %+v", pod)
	}
	cron, err := cs.BatchV1().CronJobs(step.Namespace).Get(t.Context(), "cron", metav1.GetOptions{})
	if err != nil || cron.Spec.JobTemplate.Spec.Template.Spec.Containers[0].Image != pinned("app") {
		t.Errorf("the CronJob: %v, %+v", err, cron.Spec)
	}
	job, err := cs.BatchV1().Jobs(step.Namespace).Get(t.Context(), "before", metav1.GetOptions{})
	if err != nil || job.Spec.Template.Spec.Containers[0].Image != pinned("hook") {
		t.Errorf("the hook: %v, %+v", err, job.Spec)
	}
	plain, err := cs.CoreV1().ConfigMaps(step.Namespace).Get(t.Context(), "plain", metav1.GetOptions{})
	if err != nil || plain.Data["image"] != r.host+"/acme/app:1" {
		t.Errorf("a text that is no pod's image was changed: %v, %v", err, plain.Data)
	}
	_, past, err := x.installed(t.Context(), step, mustRead(t, step))
	if err != nil {
		t.Fatal(err)
	}
	if rel := last(past); !strings.Contains(rel.Manifest, pinned("app")) || !strings.Contains(rel.Manifest, "# Source: everywhere/templates/web.yaml") {
		t.Errorf("the record has:\n%s", rel.Manifest)
	}
	for _, hook := range last(past).Hooks {
		if hook.Name == "last" && !strings.Contains(hook.Manifest, pinned("last")) {
			t.Errorf("a cleanup would run by a tag:\n%s", hook.Manifest)
		}
	}
	if o, err := x.Observe(t.Context(), step); err != nil || len(o.Drift) > 0 {
		t.Errorf("observed %+v, %v", o, err)
	}

	// The check notices that the tag moved, and the next plan shows it.
	key := inputImage + r.host + "/acme/app:1"
	if p := plan(t, x, check); p.Inputs[key] != moved {
		t.Errorf("the check has %s, want %s", p.Inputs[key], moved)
	}
	next := step
	next.Agreed = nil
	if p := plan(t, New(Options{}), next); p.Inputs[key] != moved || !strings.Contains(p.Diff, "-      - image: "+r.host+"/acme/app:1@"+agreedApp) || !strings.Contains(p.Diff, "1@"+moved) {
		t.Errorf("the next plan: %v\n%s", p.Inputs, p.Diff)
	}

	// The registry goes away: what was agreed on still holds, and is deployed.
	r.stuck.Store(true)
	if p := plan(t, New(Options{}), check); !maps.Equal(p.Inputs, first.Inputs) {
		t.Errorf("while the registry is away the check has %v", p.Inputs)
	}
	step.ID += "-again"
	asked := r.asked.Load()
	run(t, New(Options{}), step)
	if r.asked.Load() != asked {
		t.Error("deploying what was agreed on asked the registry")
	}
	run(t, x, verb(step, sdk.Cleanup))
}

func mustRead(t *testing.T, step sdk.Step) settings {
	t.Helper()
	s, err := readSettings(step)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTagsThatCannotBeResolvedAreSaid(t *testing.T) {
	t.Parallel()
	r := newImageRegistry(t)
	x := New(Options{})
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: one\nversion: 1.0.0\n",
		"templates/a.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: " + r.host + "/a:1}]}\n",
	})
	step := preview(t, with("chart", dir), with("pin_images", true), with("vars_key", ""))
	p := plan(t, x, step)
	if want := "install chart one 1.0.0: 1 object; image " + r.host + "/a:1 is named by a tag that could not be resolved (its registry has no such tag); what runs may differ"; p.Summary != want {
		t.Errorf("summary\n%s\nwant\n%s", p.Summary, want)
	}
	key := inputImage + r.host + "/a:1"
	if p.Inputs[key] != byTag {
		t.Errorf("inputs %v", p.Inputs)
	}
	// The tag that was agreed on stays what was agreed on, also when it could be
	// resolved now.
	r.put(t, "a", "1", "late")
	check := step
	check.Brief, check.Agreed = true, p.Inputs
	if now := plan(t, New(Options{}), check); !maps.Equal(now.Inputs, p.Inputs) {
		t.Errorf("the check has %v", now.Inputs)
	}
	step.Agreed = p.Inputs
	out := run(t, New(Options{}), step)
	if !strings.Contains(out.Text(), "(it was agreed on by its tag)") {
		t.Errorf("log:\n%s", out.Text())
	}
	if pod, err := client(t).CoreV1().Pods(step.Namespace).Get(t.Context(), "a", metav1.GetOptions{}); err != nil || pod.Spec.Containers[0].Image != r.host+"/a:1" {
		t.Errorf("deployed %v, %v", pod, err)
	}

	off := preview(t, with("chart", dir), with("vars_key", ""))
	asked := r.asked.Load()
	if p := plan(t, New(Options{}), off); p.Inputs[key] != "" || p.Summary != "install chart one 1.0.0: 1 object" || r.asked.Load() != asked {
		t.Errorf("with pin_images: false: %+v", p)
	}
}

func TestImagesWithDigestsAskNobody(t *testing.T) {
	t.Parallel()
	r := newImageRegistry(t)
	dir := t.TempDir()
	image := r.host + "/a:1@sha256:" + strings.Repeat("12", 32)
	write(t, dir, map[string]string{
		"Chart.yaml":       "apiVersion: v2\nname: one\nversion: 1.0.0\n",
		"templates/a.yaml": "# kept\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: '" + image + "'}]}\n",
	})
	step := preview(t, with("chart", dir), with("pin_images", true), with("vars_key", ""))
	x := New(Options{})
	step.Agreed = plan(t, x, step).Inputs
	run(t, x, step)
	if r.asked.Load() != 0 {
		t.Errorf("the registry was asked %d times", r.asked.Load())
	}
	_, past, err := x.installed(t.Context(), step, mustRead(t, step))
	if err != nil || !strings.Contains(last(past).Manifest, "# kept") {
		t.Errorf("a manifest in which nothing is pinned was rewritten: %v", err)
	}
}

func TestEveryPlaceOfAnImage(t *testing.T) {
	pod := `{"containers":[{"image":"a"},{"image":7},"x"],"initContainers":[{"image":"b"}],"ephemeralContainers":[{"image":"c"}],"volumes":[{"image":{"reference":"d"}},{"emptyDir":{}}]}`
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"a Pod":                      {`{"kind":"Pod","spec":` + pod + `}`, []string{"a", "b", "c", "d"}},
		"a Deployment":               {`{"kind":"Deployment","spec":{"template":{"spec":` + pod + `}}}`, []string{"a", "b", "c", "d"}},
		"a CronJob":                  {`{"kind":"CronJob","spec":{"jobTemplate":{"spec":{"template":{"spec":` + pod + `}}}}}`, []string{"a", "b", "c", "d"}},
		"a PodTemplate":              {`{"kind":"PodTemplate","template":{"spec":` + pod + `}}`, []string{"a", "b", "c", "d"}},
		"a Rollout":                  {`{"kind":"Rollout","apiVersion":"argoproj.io/v1alpha1","spec":{"template":{"spec":` + pod + `}}}`, []string{"a", "b", "c", "d"}},
		"a List of them":             {`{"kind":"List","items":[{"kind":"Pod","spec":` + pod + `}]}`, []string{"a", "b", "c", "d"}},
		"something else with a spec": {`{"kind":"Database","spec":` + pod + `}`, nil},
		"a template that is a text":  {`{"kind":"Workflow","spec":{"template":"x"}}`, nil},
		"nothing":                    {`{}`, nil},
	} {
		var content map[string]any
		if err := json.Unmarshal([]byte(tc.text), &content); err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		imagesOf(content, names)
		if got := sortedNames(names); !slices.Equal(got, tc.want) {
			t.Errorf("%s has %v, want %v", name, got, tc.want)
		}
	}
}

func TestPinningChangesNothingElse(t *testing.T) {
	p := &pinner{ctx: t.Context(), agreed: map[string]string{}, found: map[string]answer{"a:1": {digest: "sha256:1"}, "b": {why: "so"}}}
	const untouched = "# Source: x/y.yaml\nkind: ConfigMap # text\nmetadata: {name: c}\ndata: {image: 'a:1', on: \"yes\"}\n"
	const pod = "# Source: x/z.yaml\n# more\nkind: Pod\nmetadata: {name: p, annotations: {'on': \"on\", 'n': '012', long: '9007199254740993'}}\nspec: {big: 9007199254740993, small: 0.1, calm: no, containers: [{image: 'a:1', args: ['--- x', 'a:1']}, {image: b}]}\n"
	got, err := p.text("---\n" + untouched + "---\n" + pod + "---\n{not yaml\n")
	if err != nil {
		t.Fatal(err)
	}
	const want = "---\n" + untouched + `---
# Source: x/z.yaml
# more
kind: Pod
metadata:
  annotations:
    long: "9007199254740993"
    "n": "012"
    "on": "on"
  name: p
spec:
  big: 9007199254740993
  calm: false
  containers:
  - args:
    - '--- x'
    - a:1
    image: a:1@sha256:1
  - image: b
  small: 0.1
---
{not yaml
`
	if got != want {
		t.Errorf("pinned\n%s\nwant\n%s", got, want)
	}
	if again, err := p.text(got); err != nil || again != got {
		t.Errorf("pinned again, %v:\n%s", err, again)
	}
	if notes := p.notes(); len(notes) != 1 || !strings.HasPrefix(notes[0], "image b is named by a tag that could not be resolved (so)") {
		t.Errorf("notes %q", notes)
	}
}

func TestNobodyIsAskedWhereCloudsHandOutCredentials(t *testing.T) {
	for address, allowed := range map[string]bool{
		"169.254.169.254:80": false, "[fe80::1%eth0]:443": false, "[::ffff:169.254.169.254]:80": false, "[fd00:ec2::254]:80": false,
		"10.0.0.1:5000": true, "127.0.0.1:5000": true, "[2001:db8::1]:443": true, "nonsense": false,
	} {
		if err := notLinkLocal("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
	const image = "169.254.169.254:80/latest/meta-data:1"
	if got := New(Options{}).images.resolve(t.Context(), []string{image}, "169.254.169.254:80", false)[image]; got.why != "its registry cannot be reached" {
		t.Errorf("answer %+v", got)
	}
}
