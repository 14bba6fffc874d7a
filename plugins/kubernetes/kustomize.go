package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// kustomizing keeps builds apart: kustomize keeps the schema of a build in a
// variable of its package.
var kustomizing sync.Mutex

func isKustomization(name string) bool {
	switch path.Base(name) {
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return true
	}
	return false
}

// kustomize builds a kustomization. It sees a copy of the folder in memory and
// nothing else: no other files, no network, no programs.
func (src *sources) kustomize(from any) error {
	root, inside, err := kustomizeAt(from)
	if err != nil {
		return err
	}
	files, err := readFolder(root, func(name string, folder bool) bool { return !folder || path.Base(name) != ".git" })
	if err != nil {
		return err
	}
	if err := checkAliases(files); err != nil {
		return err
	}
	memory := filesys.MakeFsInMemory()
	for _, f := range files {
		if err := memory.WriteFile("/"+f.path, f.data); err != nil {
			return sdk.Internal("The kustomization cannot be copied: %w", err)
		}
	}
	at := path.Join("/", inside)
	if err := (&kustomizeGuard{files: memory, seen: map[string]bool{}}).check(at); err != nil {
		return err
	}
	kustomizing.Lock()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, at)
	kustomizing.Unlock()
	if err != nil {
		return &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The kustomization cannot be built: " + kube.Clip(strings.Join(strings.Fields(err.Error()), " "), 500), Err: err}
	}
	text, err := made.AsYaml()
	if err != nil {
		return sdk.Internal("What the kustomization gave cannot be read: %w", err)
	}
	if len(text) > maxSource {
		return tooMuch("What the kustomization gives")
	}
	objects, err := parseManifests("what the kustomization gives", text)
	if err != nil {
		return err
	}
	if src.objects = append(src.objects, objects...); len(src.objects) > maxObjects {
		return tooMany()
	}
	src.digests["kustomize"] = digestFiles(append(files, file{path: "kustomization at " + at}))
	return nil
}

// kustomizeAt is the folder that may be read, and where in it the kustomization
// is.
func kustomizeAt(from any) (root, inside string, err error) {
	switch from := from.(type) {
	case string:
		root, inside = from, "."
	case map[string]any:
		root, _ = from["root"].(string)
		inside, _ = from["path"].(string)
	}
	switch {
	case root == "" || inside == "":
		return "", "", sdk.Invalid("`kustomize` is neither a path nor a `root` with a `path` in it.")
	case strings.HasPrefix(root, "repo:"):
		return "", "", sdk.Invalid("`kustomize` is %q, a path in the app's repository, and there is no repository at a commit here.", kube.Clip(root, 120))
	case !filepath.IsLocal(inside):
		return "", "", sdk.Invalid("The `path` of `kustomize` is %q, which leads out of its `root`.", kube.Clip(inside, 120))
	}
	info, err := os.Stat(root)
	if err != nil {
		return "", "", cannotRead(root, err)
	}
	if !info.IsDir() {
		return "", "", sdk.Invalid("`kustomize` names %q, which is no folder: name the one that has the kustomization.yaml.", kube.Clip(filepath.Base(root), 80))
	}
	return root, filepath.ToSlash(inside), nil
}

// kustomizeGuard refuses what would make kustomize reach out: its loader clones
// what looks like a repository and fetches what looks like a URL, wherever a path
// may be, and cannot be told not to. So every path that it will meet is looked at
// before it does.
type kustomizeGuard struct {
	files filesys.FileSystem
	seen  map[string]bool
}

// check looks at the kustomization in a folder, and at those that it names.
func (g *kustomizeGuard) check(at string) error {
	if g.seen[at] {
		return nil
	}
	g.seen[at] = true
	var found []string
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		if file := path.Join(at, name); g.files.Exists(file) && !g.files.IsDir(file) {
			found = append(found, file)
		}
	}
	if len(found) != 1 {
		if len(found) > 1 {
			return sdk.Invalid("The folder %q has several kustomizations; keep one.", kube.Clip(at, 120))
		}
		return sdk.Invalid("The folder %q has no kustomization.yaml.", kube.Clip(at, 120))
	}
	data, err := g.files.ReadFile(found[0])
	if err != nil {
		return sdk.Internal("The kustomization cannot be read: %w", err)
	}
	var k types.Kustomization
	if err := k.Unmarshal(data); err != nil {
		return sdk.Invalid("%q is no kustomization: %s.", kube.Clip(found[0], 120), kube.Clip(strings.Join(strings.Fields(err.Error()), " "), 300))
	}
	if err := plain(&k); err != nil {
		return sdk.Invalid("%q %v.", kube.Clip(found[0], 120), err)
	}
	for _, p := range pathsOf(&k) {
		if remote(p) {
			return sdk.Invalid("%q names %q, which is not in the folder: a kustomization is built from what is in the repository alone.", kube.Clip(found[0], 120), kube.Clip(p, 120))
		}
	}
	for _, p := range slices.Concat(k.Resources, k.Bases, k.Components) { //nolint:staticcheck // What is deprecated is still read.
		inner := path.Join(at, p)
		if inside := path.Join(strings.TrimPrefix(at, "/"), p); filepath.IsLocal(inside) && g.files.IsDir(inner) {
			if err := g.check(inner); err != nil {
				return err
			}
		} else if !filepath.IsLocal(inside) || !g.files.Exists(inner) {
			return sdk.Invalid("%q names %q, which is not in the folder that the kustomization may read; where it is beside it, give `kustomize` as a `root` and a `path`.", kube.Clip(found[0], 120), kube.Clip(p, 120))
		}
	}
	return nil
}

// plain refuses what runs programs or configures plugins.
func plain(k *types.Kustomization) error {
	for what, is := range map[string]bool{
		"generators": len(k.Generators) > 0, "transformers": len(k.Transformers) > 0, "validators": len(k.Validators) > 0,
		"helmCharts": len(k.HelmCharts)+len(k.HelmChartInflationGenerator) > 0 || k.HelmGlobals != nil,
	} {
		if is {
			return fmt.Errorf("has %s, which are not run here: build them before, or use the helm executor", what)
		}
	}
	if k.OpenAPI["path"] == "" && len(k.OpenAPI) > 0 && k.OpenAPI["version"] == "" {
		return errors.New("has an openapi that says neither path nor version")
	}
	return nil
}

// pathsOf is everything in a kustomization that its loader takes for a path.
func pathsOf(k *types.Kustomization) []string {
	var out []string
	out = slices.Concat(out, k.Resources, k.Bases, k.Components, k.Crds, k.Configurations) //nolint:staticcheck // What is deprecated is still read.
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {                        //nolint:staticcheck // The same.
		out = append(out, p.Path)
	}
	for _, p := range k.PatchesStrategicMerge { //nolint:staticcheck // The same.
		if !strings.Contains(string(p), "\n") { // else it is the patch itself
			out = append(out, string(p))
		}
	}
	for _, r := range k.Replacements {
		out = append(out, r.Path)
	}
	pairs := func(a types.GeneratorArgs) {
		for _, f := range a.FileSources {
			out = append(out, f)
			if _, file, named := strings.Cut(f, "="); named {
				out = append(out, file)
			}
		}
		out = append(append(out, a.EnvSources...), a.EnvSource)
	}
	for _, a := range k.ConfigMapGenerator {
		pairs(a.GeneratorArgs)
	}
	for _, a := range k.SecretGenerator {
		pairs(a.GeneratorArgs)
	}
	return append(out, k.OpenAPI["path"])
}

// remote tells whether kustomize could take a path for something elsewhere: a
// scheme, a user or an scp-like host, or the one host that needs none of these.
// Source: sigs.k8s.io/kustomize/api/internal/git, repospec.go, and loader, fileloader.go.
func remote(p string) bool {
	if strings.ContainsAny(p, ":@?\n") || strings.Contains(p, "//") {
		return true
	}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(p)), "/")
	if first == "github.com" || first == "www.github.com" {
		return true
	}
	u, err := url.Parse(p)
	return err != nil || u.Scheme != ""
}

// decodeLoose reads one value of the settings into a type, for those that may
// be of several.
func decodeLoose(from, to any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(to)
}
