package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

// maxFiles is how many files a folder of sources may have.
const maxFiles = 5000

// file is one file of a folder, by its path in there, with slashes.
type file struct {
	path string
	data []byte
}

// readFolder reads the files of a folder that want accepts, in the order of their
// paths; want is asked for folders too. Nothing outside of the folder is read: a
// link that leads out is refused.
func readFolder(at string, want func(path string, folder bool) bool) ([]file, error) {
	root, err := os.OpenRoot(at)
	if err != nil {
		return nil, cannotRead(at, err)
	}
	defer func() { _ = root.Close() }()
	var out []file
	left := int64(maxSource)
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return cannotRead(name, err)
		}
		wanted := name == "." || want(name, entry.IsDir())
		switch {
		case entry.IsDir() && !wanted:
			return fs.SkipDir
		case entry.IsDir() || !wanted:
			return nil
		}
		data, err := readIn(root, name, left)
		if err != nil {
			return err
		}
		left -= int64(len(data))
		out = append(out, file{path: name, data: data})
		if len(out) > maxFiles {
			return sdk.Invalid("The folder %q has more than %d files.", kube.Clip(filepath.Base(at), 80), maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return out, nil
}

// readIn reads a file of at most limit bytes in root.
func readIn(root *os.Root, name string, limit int64) ([]byte, error) {
	info, err := root.Stat(name) // follows links, and fails for one that leads out
	if err != nil {
		return nil, cannotRead(name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, sdk.Invalid("%q is neither a file nor a link to one in the same folder; name what it leads to.", kube.Clip(name, 120))
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, cannotRead(name, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, cannotRead(name, err)
	}
	if int64(len(data)) > limit {
		return nil, tooMuch("The folder")
	}
	return data, nil
}

func cannotRead(name string, err error) error {
	if _, told := errors.AsType[*sdk.Error](err); told {
		return err
	}
	why := "cannot be read: check its permissions"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "is not there"
	case strings.Contains(err.Error(), "escapes"):
		why = "is a link that leads out of its folder, and such are not followed"
	}
	return &sdk.Error{Fault: sdk.FaultInvalid, Msg: fmt.Sprintf("%q %s.", kube.Clip(name, 120), why), Err: err}
}

// folder reads the objects of a file, or of all YAML and JSON files of a folder
// and the folders in it.
func (src *sources) folder(at string) error {
	info, err := os.Stat(at)
	if err != nil {
		return cannotRead(at, err)
	}
	var files []file
	if info.IsDir() {
		if files, err = readFolder(at, isManifest); err != nil {
			return err
		}
	} else {
		// The folder's root keeps a link in it from leading elsewhere.
		root, err := os.OpenRoot(filepath.Dir(at))
		if err != nil {
			return cannotRead(at, err)
		}
		defer func() { _ = root.Close() }()
		data, err := readIn(root, filepath.Base(at), maxSource)
		if err != nil {
			return err
		}
		files = []file{{path: filepath.Base(at), data: data}}
	}
	if len(files) == 0 {
		return sdk.Invalid("The folder %q has no manifests: no file whose name ends with .yaml, .yml or .json.", kube.Clip(filepath.Base(at), 80))
	}
	for _, f := range files {
		if isKustomization(f.path) {
			return sdk.Invalid("%q is a kustomization: name its folder as `kustomize`, not as `manifests`.", kube.Clip(f.path, 120))
		}
		objects, err := parseManifests(fmt.Sprintf("%q", kube.Clip(f.path, 120)), f.data)
		if err != nil {
			return err
		}
		if src.objects = append(src.objects, objects...); len(src.objects) > maxObjects {
			return tooMany()
		}
	}
	src.digests["manifests"] = digestFiles(files)
	return nil
}

// isManifest tells whether a file has manifests, or a folder may have such files.
func isManifest(name string, folder bool) bool {
	if strings.HasPrefix(path.Base(name), ".") {
		return false
	}
	if folder {
		return true
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// digestFiles is a digest over names and contents.
func digestFiles(files []file) string {
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d:%s%d:", len(f.path), f.path, len(f.data))
		h.Write(f.data)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
