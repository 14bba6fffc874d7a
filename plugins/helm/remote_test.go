package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/registry"
	"helm.sh/helm/v3/pkg/repo"
	"oras.land/oras-go/v2/registry/remote"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/plugins/sdk"
)

// packed is charts/preview as an archive, under another version.
func packed(t *testing.T, version string) []byte {
	t.Helper()
	ch, err := loader.LoadDir("../../charts/preview")
	if err != nil {
		t.Fatal(err)
	}
	ch.Metadata.Version = version
	path, err := chartutil.Save(ch, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// repository is an HTTP chart repository that counts what is asked for.
type repository struct {
	*httptest.Server
	mu       sync.Mutex
	archives map[string][]byte // by file name
	index    *repo.IndexFile
	fetched  atomic.Int64
	fresh    atomic.Int64
}

func newRepository(t *testing.T, versions ...string) *repository {
	t.Helper()
	r := &repository{archives: map[string][]byte{}, index: repo.NewIndexFile()}
	for _, v := range versions {
		name := "preview-" + v + ".tgz"
		r.archives[name] = packed(t, v)
		ch, err := loader.LoadArchive(bytes.NewReader(r.archives[name]))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.index.MustAdd(ch.Metadata, name, "", digest.FromBytes(r.archives[name]).Encoded()); err != nil {
			t.Fatal(err)
		}
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		name := filepath.Base(req.URL.Path)
		if name == "index.yaml" {
			if req.Header.Get("If-None-Match") == `"1"` {
				r.fresh.Add(1)
				w.WriteHeader(http.StatusNotModified)
				return
			}
			w.Header().Set("ETag", `"1"`)
			data, _ := yaml.Marshal(r.index)
			_, _ = w.Write(data)
			return
		}
		data, ok := r.archives[name]
		if !ok {
			http.NotFound(w, req)
			return
		}
		r.fetched.Add(1)
		_, _ = w.Write(data)
	}))
	t.Cleanup(r.Close)
	return r
}

func TestChartsFromAnHTTPRepository(t *testing.T) {
	t.Parallel()
	r := newRepository(t, "1.0.0", "1.1.0", "2.0.0-rc.1")
	c := New(Options{}).charts
	for name, tt := range map[string]struct{ version, want string }{
		"the newest":       {"", "1.1.0"},
		"an exact version": {"1.0.0", "1.0.0"},
		"a range":          {"~1.0", "1.0.0"},
		"a pre-release":    {"2.0.0-rc.1", "2.0.0-rc.1"},
	} {
		for range 2 {
			src, err := c.find(t.Context(), settings{Chart: "preview", Repo: r.URL, Version: tt.version})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if ch, err := src.chart(); err != nil || ch.Metadata.Version != tt.want {
				t.Errorf("%s is %v, %v", name, ch.Metadata.Version, err)
			}
		}
	}
	if n := r.fetched.Load(); n != 3 {
		t.Errorf("fetched %d archives, not 3", n)
	}
	if r.fresh.Load() == 0 {
		t.Error("the index was never found fresh")
	}

	_, err := c.find(t.Context(), settings{Chart: "nope", Repo: r.URL})
	fault(t, err, sdk.FaultInvalid, `has no chart "nope"`)
	_, err = c.find(t.Context(), settings{Chart: "preview", Repo: r.URL, Version: "9.0.0"})
	fault(t, err, sdk.FaultInvalid, "9.0.0", "check `version`")
	_, err = c.find(t.Context(), settings{Chart: "preview", Repo: "ftp://x"})
	fault(t, err, sdk.FaultInvalid, "no address of a chart repository")

	r.mu.Lock()
	r.archives["preview-1.1.0.tgz"] = packed(t, "6.6.6")
	r.mu.Unlock()
	_, err = New(Options{}).charts.find(t.Context(), settings{Chart: "preview", Repo: r.URL})
	fault(t, err, sdk.FaultDownstream, "checksums differ")
	r.Close()
	_, err = c.find(t.Context(), settings{Chart: "preview", Repo: r.URL})
	if e := fault(t, err, sdk.FaultDownstream, "cannot be reached", "refused"); !e.Retry {
		t.Error("trying again can help")
	}
}

func TestArchivesAreLimited(t *testing.T) {
	t.Parallel()
	big := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if filepath.Base(req.URL.Path) == "index.yaml" {
			_, _ = fmt.Fprint(w, "apiVersion: v1\nentries: {big: [{name: big, version: 1.0.0, urls: [big.tgz]}, null]}\n")
			return
		}
		_, _ = io.Copy(w, io.LimitReader(zeros{}, maxArchive+1))
	}))
	defer big.Close()
	_, err := New(Options{}).charts.find(t.Context(), settings{Chart: "big", Repo: big.URL})
	fault(t, err, sdk.FaultInvalid, "more than 20 MiB")
	path := filepath.Join(t.TempDir(), "big.tgz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxArchive + 1); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	_, err = fromDisk(settings{Chart: path})
	fault(t, err, sdk.FaultInvalid, "larger than 20 MiB")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := unpack(data, "fuzz")
		if err != nil {
			return
		}
		for _, file := range src.files {
			if filepath.IsAbs(file.Name) || strings.HasPrefix(filepath.Clean(file.Name), "..") {
				t.Fatalf("the path %q leaves the chart", file.Name)
			}
		}
		_, _ = src.chart()
	})
}

// ociRegistry serves as much of the OCI distribution API as pushing and pulling
// take. Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
func ociRegistry(t *testing.T) string {
	t.Helper()
	var mu sync.Mutex
	blobs, manifests := map[string][]byte{}, map[string][]byte{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(req.Body)
		dir, last := filepath.Split(req.URL.Path)
		serve := func(data []byte, ok bool, kind string) {
			if !ok {
				http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Docker-Content-Digest", digest.FromBytes(data).String())
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			if req.Method != http.MethodHead {
				_, _ = w.Write(data)
			}
		}
		switch {
		case req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/blobs/uploads/"):
			w.Header().Set("Location", req.URL.Path+"session")
			w.WriteHeader(http.StatusAccepted)
		case req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/uploads/"):
			blobs[req.URL.Query().Get("digest")] = body
			w.WriteHeader(http.StatusCreated)
		case req.Method == http.MethodPut:
			manifests[last], manifests[digest.FromBytes(body).String()] = body, body
			w.WriteHeader(http.StatusCreated)
		case strings.HasSuffix(dir, "/blobs/"):
			data, ok := blobs[last]
			serve(data, ok, "application/octet-stream")
		case strings.HasSuffix(dir, "/manifests/"):
			data, ok := manifests[last]
			serve(data, ok, ocispec.MediaTypeImageManifest)
		case strings.HasSuffix(req.URL.Path, "/tags/list"):
			tags := []string{}
			for name := range manifests {
				if !strings.HasPrefix(name, "sha256:") {
					tags = append(tags, name)
				}
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"tags": tags})
		default:
			http.NotFound(w, req)
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// push puts an archive under a tag, as `helm push` does.
func push(t *testing.T, name, tag, layerType string, archive []byte) {
	t.Helper()
	ctx := context.Background()
	r, err := remote.NewRepository(name)
	if err != nil {
		t.Fatal(err)
	}
	r.PlainHTTP = true
	put := func(kind string, data []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: kind, Digest: digest.FromBytes(data), Size: int64(len(data))}
		if err := r.Push(ctx, d, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	config := put(registry.ConfigMediaType, []byte("{}"))
	layer := put(layerType, archive)
	manifest, err := json.Marshal(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{layer}})
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	if err := r.PushReference(ctx, d, bytes.NewReader(manifest), tag); err != nil {
		t.Fatal(err)
	}
}

func TestChartsFromAnOCIRegistry(t *testing.T) {
	t.Parallel()
	host := ociRegistry(t)
	name := host + "/charts/preview"
	push(t, name, "1.0.0", registry.ChartLayerMediaType, packed(t, "1.0.0"))
	push(t, name, "1.2.0_build.1", registry.ChartLayerMediaType, packed(t, "1.2.0+build.1"))
	push(t, name, "latest", registry.ChartLayerMediaType, packed(t, "0.9.0"))
	push(t, name, "3.0.0", "application/octet-stream", []byte("not a chart"))
	c := New(Options{}).charts
	find := func(version string) (*source, error) {
		return c.find(t.Context(), settings{Chart: "oci://" + name, Version: version, PlainHTTP: true})
	}
	for version, want := range map[string]string{"1.0.0": "1.0.0", "~1": "1.2.0+build.1", "1.2.0+build.1": "1.2.0+build.1", "<1.1": "1.0.0"} {
		src, err := find(version)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if ch, err := src.chart(); err != nil || ch.Metadata.Version != want {
			t.Errorf("%q is %v, %v", version, ch.Metadata.Version, err)
		}
	}
	_, err := find("7.0.0")
	fault(t, err, sdk.FaultInvalid, "has no chart", "7.0.0")
	_, err = find("3.0.0")
	fault(t, err, sdk.FaultInvalid, "no Helm chart in it")
	_, err = find("not a version")
	fault(t, err, sdk.FaultInvalid, "neither a version nor a range")
	_, err = c.find(t.Context(), settings{Chart: "oci://" + name, Version: "1.0.0"})
	fault(t, err, sdk.FaultInvalid, "plain_http: true")
	_, err = c.find(t.Context(), settings{Chart: "oci://" + name + ":1.0.0", PlainHTTP: true})
	fault(t, err, sdk.FaultInvalid, "with the tag in `version`")

	// The same content has the same digest however it comes.
	src, err := find("1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	viaHTTP, err := c.find(t.Context(), settings{Chart: "preview", Repo: newRepository(t, "1.0.0").URL})
	if err != nil || viaHTTP.digest != src.digest {
		t.Errorf("digests differ: %v, %v", viaHTTP, err)
	}
}

func TestDeployFromARegistry(t *testing.T) {
	t.Parallel()
	name := ociRegistry(t) + "/charts/preview"
	push(t, name, "1.0.0", registry.ChartLayerMediaType, packed(t, "1.0.0"))
	step := preview(t, with("chart", "oci://"+name), with("plain_http", true), with("version", "1.0.0"))
	out := run(t, New(Options{}), step)
	if !strings.Contains(out.Text(), "chart preview 1.0.0") {
		t.Errorf("got:\n%s", out.Text())
	}
}
