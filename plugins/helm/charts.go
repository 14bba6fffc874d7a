package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/ignore"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// Limits of a chart. A Helm release is stored in a Kubernetes Secret of at most
// 1 MiB, so every chart that can be installed is far below them.
const (
	maxArchive   = 20 << 20 // bytes of a chart's archive, packed
	maxFiles     = 10_000   // files of a chart
	maxUnpacked  = 100 << 20
	maxChartFile = 5 << 20 // bytes of one file; the same as Helm's loader.MaxDecompressedFileSize
	maxCached    = 64 << 20
)

// source is a chart's content, before it is parsed. It is never changed, so it
// can be kept; parsing makes a new chart each time, since Helm changes charts
// while it renders them.
type source struct {
	files  []*loader.BufferedFile
	size   int
	digest string // "sha256:…" over names and contents of files, however they were packed
}

func newSource(files []*loader.BufferedFile) *source {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b *loader.BufferedFile) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	size := 0
	for _, f := range files {
		// Lengths keep a name and a content from being read as each other.
		fmt.Fprintf(h, "%d:%s%d:", len(f.Name), f.Name, len(f.Data))
		h.Write(f.Data)
		size += len(f.Data)
	}
	return &source{files: files, size: size, digest: "sha256:" + hex.EncodeToString(h.Sum(nil))}
}

// chart parses the content and checks that the chart can be installed alone.
func (s *source) chart() (*chart.Chart, error) {
	ch, err := loader.LoadFiles(s.files)
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The chart cannot be read: " + kube.OneLine(err) + ". `helm lint` says more.", Err: err}
	}
	if ch.Metadata.Type == "library" {
		return nil, sdk.Invalid("The chart %q is a library, which other charts use; it cannot be deployed itself.", ch.Name())
	}
	have := map[string]bool{}
	for _, dep := range ch.Dependencies() {
		have[dep.Name()] = true
	}
	var missing []string
	for _, dep := range ch.Metadata.Dependencies {
		if !have[dep.Name] {
			missing = append(missing, dep.Name)
		}
	}
	if len(missing) > 0 {
		return nil, sdk.Invalid("The chart %q needs %s, which its charts/ folder does not have: run `helm dependency build` and commit the charts/ folder.", ch.Name(), strings.Join(missing, ", "))
	}
	return ch, nil
}

// charts finds charts and keeps those that came over the network.
type charts struct {
	http        *http.Client
	credentials string // folder of a Docker config.json, or ""

	mu      sync.Mutex
	kept    []keptChart // most recently used last
	size    int
	indexes map[string]*index
}

type keptChart struct {
	key string
	src *source
}

func newCharts(client *http.Client, credentials string) *charts {
	return &charts{http: client, credentials: credentials, indexes: map[string]*index{}}
}

// find gets the chart that the settings name.
func (c *charts) find(ctx context.Context, s settings) (*source, error) {
	switch {
	case strings.HasPrefix(s.Chart, "oci://"):
		return c.fromRegistry(ctx, s)
	case s.Repo != "":
		return c.fromRepository(ctx, s)
	case strings.HasPrefix(s.Chart, "repo:"):
		return nil, sdk.Invalid("The chart %q is in the app's repository, and the app has no repository to fetch it from.", kube.Clip(s.Chart, 80))
	}
	return fromDisk(s)
}

// remembered returns the chart kept under key.
func (c *charts) remembered(key string) *source {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, k := range c.kept {
		if k.key == key {
			c.kept = append(slices.Delete(c.kept, i, i+1), k)
			return k.src
		}
	}
	return nil
}

// remember keeps src, and forgets those that were not used for longest.
func (c *charts) remember(key string, src *source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if src.size > maxCached || slices.ContainsFunc(c.kept, func(k keptChart) bool { return k.key == key }) {
		return
	}
	c.kept = append(c.kept, keptChart{key, src})
	c.size += src.size
	for c.size > maxCached {
		c.size -= c.kept[0].src.size
		c.kept = slices.Delete(c.kept, 0, 1)
	}
}

// fromDisk reads a folder or an archive. It is read anew each time: a folder
// can change, and reading one costs a millisecond.
func fromDisk(s settings) (*source, error) {
	info, err := os.Stat(s.Chart)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, sdk.Invalid("There is no chart at %q: check the path, or name a repository with `repo`.", showPath(s.Chart))
		}
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The chart at %q cannot be read: check its permissions.", showPath(s.Chart)), Err: err}
	}
	var src *source
	if info.IsDir() {
		src, err = fromFolder(s.Chart)
	} else {
		src, err = fromArchiveFile(s.Chart, info)
	}
	if err != nil {
		return nil, err
	}
	if s.Version != "" {
		ch, err := src.chart()
		if err != nil {
			return nil, err
		}
		if !versionMatches(s.Version, ch.Metadata.Version) {
			return nil, sdk.Invalid("The chart at %q has version %s, but `version` asks for %s.", showPath(s.Chart), ch.Metadata.Version, s.Version)
		}
	}
	return src, nil
}

// fromFolder reads a chart's folder through os.Root: charts come from
// applications' repositories, and a link in one must not reach other files.
func fromFolder(dir string) (*source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The chart at %q cannot be read: check its permissions.", showPath(dir)), Err: err}
	}
	defer func() { _ = root.Close() }()
	if _, err := root.Stat("Chart.yaml"); errors.Is(err, fs.ErrNotExist) {
		return nil, sdk.Invalid("There is no chart at %q: the folder has no Chart.yaml.", showPath(dir))
	}
	rules, err := ignoreRules(root)
	if err != nil {
		return nil, err
	}
	var files []*loader.BufferedFile
	size := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if rules.Ignore(name, info) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		data, err := readChartFile(root, name)
		if err != nil {
			return err
		}
		files = append(files, &loader.BufferedFile{Name: filepath.ToSlash(name), Data: data})
		if size += len(data); size > maxUnpacked || len(files) > maxFiles {
			return sdk.Invalid("The chart at %q is too large: a chart has at most %d files and %d MiB. A .helmignore file leaves out what is not the chart's.", showPath(dir), maxFiles, maxUnpacked>>20)
		}
		return nil
	})
	if err != nil {
		if _, ok := errors.AsType[*sdk.Error](err); ok {
			return nil, err
		}
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The chart at %q cannot be read: check its files.", showPath(dir)), Err: err}
	}
	if newAllowance().spendPacked(files) != nil {
		return nil, grows(showPath(dir))
	}
	return newSource(files), nil
}

func readChartFile(root *os.Root, name string) ([]byte, error) {
	info, err := root.Stat(name) // follows links, inside the folder only
	if err != nil || !info.Mode().IsRegular() {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The chart has %q, which is not a file of its own: links may only point at files inside the chart.", kube.Clip(name, 80)), Err: err}
	}
	if info.Size() > maxChartFile {
		return nil, sdk.Invalid("The chart's file %q is larger than %d MiB, the most that a chart's file may be.", kube.Clip(name, 80), maxChartFile>>20)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxChartFile))
	return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), err
}

// ignoreRules are those of the chart's .helmignore and Helm's own.
func ignoreRules(root *os.Root) (*ignore.Rules, error) {
	rules := ignore.Empty()
	data, err := root.ReadFile(ignore.HelmIgnore)
	if err == nil {
		if rules, err = ignore.Parse(bytes.NewReader(data)); err != nil {
			return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: "The chart's .helmignore cannot be read: " + kube.OneLine(err) + ".", Err: err}
		}
	}
	rules.AddDefaults()
	return rules, nil
}

func fromArchiveFile(path string, info fs.FileInfo) (*source, error) {
	if !info.Mode().IsRegular() {
		return nil, sdk.Invalid("The chart %q is neither a folder nor an archive.", showPath(path))
	}
	if info.Size() > maxArchive {
		return nil, tooLarge(path)
	}
	data, err := os.ReadFile(path) //nolint:gosec // the path is the part's setting; what is read must be a chart
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("The chart at %q cannot be read: check its permissions.", showPath(path)), Err: err}
	}
	return unpack(data, showPath(path))
}

// unpack reads a chart's archive, with Helm's own guards against paths that
// leave the chart, and Berth's against archives that grow.
func unpack(data []byte, name string) (*source, error) {
	if newAllowance().spend(data) != nil {
		return nil, grows(name)
	}
	files, err := loader.LoadArchiveFiles(bytes.NewReader(data))
	if err != nil {
		return nil, &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("%q is not a chart's archive: %s.", name, kube.OneLine(err)), Err: err}
	}
	return newSource(files), nil
}

func grows(name string) error {
	return sdk.Invalid("The chart %q is too large when it is unpacked: a chart has at most %d files and %d MiB, with the charts in it.", kube.Clip(name, 120), maxFiles, maxUnpacked>>20)
}

func tooLarge(name string) error {
	return sdk.Invalid("The chart %q is larger than %d MiB, the most that a chart may be.", showPath(name), maxArchive>>20)
}

// showPath is a path for a message: the end tells the chart, the beginning only
// where Berth keeps its copies.
func showPath(p string) string {
	parts := strings.Split(filepath.ToSlash(filepath.Clean(p)), "/")
	if filepath.IsAbs(p) && len(parts) > 3 {
		return "…/" + strings.Join(parts[len(parts)-2:], "/")
	}
	return kube.Clip(p, 120)
}
