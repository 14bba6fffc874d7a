package kubernetes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

// folderOf writes files by their paths.
func folderOf(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// bare is a step without a cluster.
func bare(with map[string]any) sdk.Step {
	return sdk.Step{App: "shop", Env: "pr-42", Part: "web", Namespace: "shop-pr-42", With: with}
}

// gathered is what a step without a cluster wants.
func gathered(t testing.TB, step sdk.Step) (*wanted, error) {
	t.Helper()
	s, err := readSettings(step)
	if err != nil {
		return nil, err
	}
	return New(Options{}).gather(s, step)
}

const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: \"${COLOR}-$${COLOR}-${OTHER}\"}\n"

func TestSources(t *testing.T) {
	t.Parallel()
	dir := folderOf(t, map[string]string{"k8s/a.yaml": cm, "k8s/deep/b.json": `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"}}]}`, "k8s/notes.txt": "no"})
	for name, with := range map[string]map[string]any{
		"text":            {"manifests": cm + "---\n# nothing\n---\n" + strings.Replace(cm, "name: a", "name: b", 1)},
		"a list":          {"manifests": []any{map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "a"}}, map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "b"}}}},
		"a folder":        {"manifests": filepath.Join(dir, "k8s")},
		"a kustomization": {"kustomize": folderOf(t, map[string]string{"kustomization.yaml": "resources: [a.yaml, b.yaml]\nnamePrefix: x-\n", "a.yaml": cm, "b.yaml": strings.Replace(cm, "name: a", "name: b", 1)})},
		"a kustomization with a base beside it": {"kustomize": map[string]any{"path": "over/preview", "root": folderOf(t, map[string]string{
			"base/kustomization.yaml": "resources: [a.yaml]\nconfigMapGenerator: [{name: b, envs: [.env]}]\n", "base/a.yaml": cm, "base/.env": "A=1\n",
			"over/preview/kustomization.yaml": "resources: [../../base]\n",
		})}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := gathered(t, bare(with))
			if err != nil || len(w.objects) != 2 {
				t.Fatalf("%v, error %v", w, err)
			}
			again, err := gathered(t, bare(with))
			if err != nil || again.inputs[inputObjects] != w.inputs[inputObjects] {
				t.Errorf("the second time: %v, error %v", again, err)
			}
		})
	}
}

func TestSourcesThatAreRefused(t *testing.T) {
	t.Parallel()
	outside := folderOf(t, map[string]string{"secret.yaml": cm})
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(outside, "secret.yaml"), filepath.Join(linked, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	kustomization := func(text string) map[string]any {
		return map[string]any{"kustomize": folderOf(t, map[string]string{"kustomization.yaml": text, "a.yaml": cm})}
	}
	for name, c := range map[string]struct {
		with map[string]any
		says string
	}{
		"text that is no YAML":               {map[string]any{"manifests": "a: [\n"}, "document 1"},
		"a key that is there twice":          {map[string]any{"manifests": "kind: A\nkind: B\n"}, "already"},
		"something that is no object":        {map[string]any{"manifests": "a: 1\nb: 2\n"}, "no object"},
		"an object without a name":           {map[string]any{"manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n"}, "no name"},
		"a generated name":                   {map[string]any{"manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n"}, "jobs"},
		"a label that is a number":           {map[string]any{"manifests": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: 1}}\n"}, "not text"},
		"the same object twice":              {map[string]any{"manifests": cm + "---\n" + cm}, "twice"},
		"a path that is not there":           {map[string]any{"manifests": "/none/such"}, "not there"},
		"a path in no repository":            {map[string]any{"manifests": "repo:k8s"}, "no repository"},
		"a folder without manifests":         {map[string]any{"manifests": t.TempDir()}, "no manifests"},
		"a link that leads out":              {map[string]any{"manifests": linked}, "leads out"},
		"a link that leads out of kustomize": {map[string]any{"kustomize": linked}, "leads out"},
		"a kustomization as manifests":       {map[string]any{"manifests": folderOf(t, map[string]string{"kustomization.yaml": "resources: []\n"})}, "`kustomize`"},
		"no kustomization":                   {map[string]any{"kustomize": outside}, "no kustomization.yaml"},
		"a base from the network":            {kustomization("resources: ['https://example.org/base']\n"), "not in the folder"},
		"a base from GitHub":                 {kustomization("resources: [GitHub.com/acme/base]\n"), "not in the folder"},
		"a base by ssh":                      {kustomization("components: ['git@example.org:acme/base']\n"), "not in the folder"},
		"a file from the network":            {kustomization("configMapGenerator: [{name: x, files: ['k=http://169.254.169.254/latest']}]\n"), "not in the folder"},
		"a patch from the network":           {kustomization("resources: [a.yaml]\npatches: [{path: 'HTTPS://example.org/p'}]\n"), "not in the folder"},
		"a base outside":                     {kustomization("resources: [../../..]\n"), "not in the folder"},
		"a Helm chart in a kustomization":    {kustomization("helmCharts: [{name: x}]\n"), "not run here"},
		"a generator":                        {kustomization("generators: [a.yaml]\n"), "not run here"},
		"a path that leaves the root":        {map[string]any{"kustomize": map[string]any{"root": outside, "path": "../.."}}, "leads out"},
		"a value that nothing uses":          {map[string]any{"manifests": cm, "substitute": map[string]any{"NONE": "x"}}, "${NONE}"},
		"an image that nothing uses":         {map[string]any{"manifests": cm, "images": map[string]any{"web": map[string]any{"name": "acme/web", "tag": "1"}}}, "acme/web"},
		"replicas of nothing":                {map[string]any{"manifests": cm, "replicas": map[string]any{"web": 2}}, "replicas"},
		"an unknown key":                     {map[string]any{"manifest": cm}, "unknown field"},
		"CEL that is none":                   {map[string]any{"ready": map[string]any{"A": "object."}}, "cannot be used"},
		"CEL that gives a number":            {map[string]any{"ready": map[string]any{"A": "1 + 1"}}, "true or false"},
		"a secret that is written nowhere":   {map[string]any{"secrets": []any{map[string]any{"name": "a", "data": map[string]any{"k": map[string]any{"file": ""}}}}}, "secret"},
		"a reference that is no ARN":         {map[string]any{"secrets": []any{map[string]any{"name": "a", "from": "arn:aws:s3:::x"}}}, "ARN"},
		"a job without an image":             {map[string]any{"jobs": []any{map[string]any{"name": "a"}}}, "image"},
		"a wrong time":                       {map[string]any{"timeout": "soon"}, "length of time"},
		"a pull secret from elsewhere":       {map[string]any{"namespace": map[string]any{"pull_secrets": []any{"infra/reg"}}}, "pull_secret_namespaces"},
		"a quota that is none":               {map[string]any{"namespace": map[string]any{"quota": map[string]any{"pods": "many"}}}, "quantity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := gathered(t, bare(c.with))
			failedWith(t, err, sdk.FaultInvalid, c.says)
		})
	}
}

func TestSubstitutionReachesTextsAlone(t *testing.T) {
	t.Parallel()
	step := bare(map[string]any{"manifests": cm, "substitute": map[string]any{"COLOR": "blue\n  y: injected ${OTHER}"}})
	w, err := gathered(t, step)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := w.objects[0].Object["data"].(map[string]any)
	if want := "blue\n  y: injected ${OTHER}-${COLOR}-${OTHER}"; len(data) != 1 || data["x"] != want {
		t.Errorf("the data are %q; want x: %q", data, want)
	}
}

func TestWhatCanBeSet(t *testing.T) {
	t.Parallel()
	with := map[string]any{
		"manifests": web + "---\n" + strings.ReplaceAll(cm, "OTHER", "COLOR"), "substitute": map[string]any{"COLOR": "blue"},
		"images": map[string]any{"shop": map[string]any{"name": "ghcr.io/acme/shop", "tag": "1"}},
	}
	step := bare(with)
	digest := "sha256:" + strings.Repeat("ab", 32)
	for value, image := range map[string]string{"2.0": "ghcr.io/acme/shop:2.0", digest: "ghcr.io/acme/shop@" + digest} {
		step.Set = map[string]string{"images.shop": value, "replicas.web": "3", "substitute.COLOR": "red"}
		w, err := gathered(t, step)
		if err != nil {
			t.Fatal(err)
		}
		text, err := w.objects[0].MarshalJSON()
		if err != nil || !strings.Contains(string(text), image) || !strings.Contains(string(text), `"replicas":3`) {
			t.Errorf("%s, error %v", text, err)
		}
	}
	for key, value := range map[string]string{
		"images.shop": "1; rm -rf", "images.none": "1", "replicas.web": "-1", "replicas.none": "1", "substitute.NONE": "x", "manifests": "x", "images": "x", "namespace.quota": "x",
	} {
		step.Set = map[string]string{key: value}
		_, err := gathered(t, step)
		failedWith(t, err, sdk.FaultInvalid)
	}
}

func FuzzManifests(f *testing.F) {
	f.Add([]byte(cm))
	f.Add([]byte(web))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: [{kind: List, apiVersion: v1, items: [1]}]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := parseManifests("x", data)
		if err != nil {
			return
		}
		for _, o := range objects {
			if o.GetName() == "" || o.GetKind() == "" {
				t.Errorf("an object without a name or kind: %v", o)
			}
		}
		if err := substitute(objects, map[string]string{"A": "b"}); err == nil && len(objects) > 0 {
			_ = substitute(objects, map[string]string{"B": "c"})
		}
	})
}

func FuzzRemotePathsAreNeverBuilt(f *testing.F) {
	for _, p := range []string{"https://x", "github.com/a/b", "git@x:y", "a.yaml", "../x", "ssh://x", "file:///etc", "git::x"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		lower := strings.ToLower(p)
		for _, bad := range []string{"http:", "https:", "ssh:", "file:", "git::"} {
			if strings.HasPrefix(lower, bad) && !remote(p) {
				t.Errorf("%q is taken for a path in the folder", p)
			}
		}
	})
}
